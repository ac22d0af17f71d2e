"""Moments as people write them: a revision, or a time."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final, TypedDict

from capsule_registry.errors import InvalidTextError

if TYPE_CHECKING:
    from typing import NotRequired

#: A number of this many digits or more is not a revision.
_MANY_DIGITS: Final = 19


class Moment(TypedDict):
    """The keyword argument of `CapsuleRegistry.at`: one of the two."""

    revision: NotRequired[int]
    time: NotRequired[datetime]


def parse_moment(text: str) -> Moment:
    """
    Return the revision, or the time in ISO 8601 with a zone, that *text* is.

    Raises:
        InvalidTextError: It is neither, or has no zone.
    """
    if text.isascii() and text.isdigit() and len(text) < _MANY_DIGITS:
        return {"revision": int(text)}
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is neither a revision nor a time"
        raise InvalidTextError("moment", "malformed", message) from None
    if time.tzinfo is None:
        message = f"{text!r} has no zone: write {time.isoformat()}Z for UTC"
        raise InvalidTextError("moment", "no_zone", message)
    return {"time": time}


def value_of(moment: Moment) -> int | datetime:
    """Return the revision or the time that *moment* is."""
    (value,) = moment.values()
    return value  # type: ignore[return-value]
