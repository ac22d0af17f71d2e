"""
Arguments taken by value: what an instance of a caller's subclass says of itself does not count.

Such an instance may compare, hash and print as something else, each time differently. What is
checked, kept in memory or bound to a statement is therefore the plain value that it holds.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Final
from uuid import UUID

#: Reads the integer that a UUID holds, past any attribute of a subclass.
_integer_of: Final[Any] = vars(UUID)["int"].__get__


def plain_text(value: object) -> str | None:
    """Return the text *value* as a plain `str`, or `None` if it is no text."""
    return str.__str__(value) if issubclass(type(value), str) else None


def plain_uuid(value: object) -> UUID | None:
    """Return the UUID *value* as a plain `UUID` of a plain integer, or `None` if it is none."""
    if type(value) is UUID and type(value.int) is int and value.int >> 128 == 0:
        return value
    try:
        return UUID(int=int.__index__(_integer_of(value)))
    except (AttributeError, TypeError, ValueError):
        return None


def plain_time(value: datetime) -> datetime:
    """Return *value* as a plain `datetime` with the same offset, if it has one."""
    if type(value) is datetime and type(value.tzinfo) in (timezone, type(None)):
        return value
    return datetime.fromisoformat(datetime.isoformat(value))


def plain_duration(value: timedelta) -> timedelta:
    """Return *value* as a plain `timedelta`."""
    return timedelta.__pos__(value)
