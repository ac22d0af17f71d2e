"""Why no connection could be made: which options were refused, without showing their values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import DBAPIError

from capsule_registry.database.driver_errors import UnconnectedError, first_line
from capsule_registry.errors import CapsuleRegistryError, InvalidDatabaseError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from capsule_registry.database.address import Address

#: What drivers raise besides their own errors for options that they do not understand.
MISUNDERSTOOD: Final = (
    *(AttributeError, LookupError, NotImplementedError, OSError, TypeError, ValueError),
)
_PARTS: Final = re.compile(r"[\s=,;]+")


def options_named(said: str, query: Mapping[str, str | Sequence[str]]) -> list[str]:
    """Return the options in *query* that an error has *said*: by name, else by their value."""
    names = [name for name in query if _has_word(said, name)]
    return names or [
        name
        for name, value in query.items()
        if any(_has_word(said, part) for part in _PARTS.split(str(value)))
    ]


def _has_word(said: str, word: str) -> bool:
    return bool(word) and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", said) is not None


def unconnected(error: Exception, address: Address) -> Exception:
    """Return the error for a failed connection, or *error* itself if its code says more."""
    if isinstance(error, CapsuleRegistryError):
        return error
    if not isinstance(error, DBAPIError):
        return misunderstood(address, error)
    dialect, said = address.dialect, first_line(error)
    names = options_named(said, address.url.query)
    if names and dialect.refuses_an_option(error):
        return InvalidDatabaseError(str(address), refusal(names))
    fault = dialect.fault(error)
    has_no_code = fault == "unexpected" and dialect.code(error) is None
    if fault == "unavailable" or has_no_code:
        return UnconnectedError(str(address), said)
    return error


def misunderstood(address: Address, error: Exception) -> InvalidDatabaseError:
    """Return the error for options that made the driver raise *error*, one of `MISUNDERSTOOD`."""
    query = address.url.query
    names = options_named(str(error), query) or [*query]
    reason = refusal(names) if names else f"the driver cannot connect: {error!r}"
    return InvalidDatabaseError(str(address), reason)


def refusal(names: Sequence[str]) -> str:
    """Return the reason that names the refused options."""
    if len(names) == 1:
        return f"the value of its option {names[0]} is refused, or the option unknown"
    return f"one of its options is refused: {', '.join(names)}"
