"""Values of subclasses that hold one thing, and show another in everything they do."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

#: What a class needs for its instances to be made.
_KEPT: Final = {*dir(type("Bare", (), {})), "__slots__"} - {
    *("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"),
    *("__hash__", "__str__", "__repr__", "__format__"),
}


def _made_uuid(kind: Any, held: UUID) -> Any:
    made = UUID.__new__(kind)
    vars(UUID)["int"].__set__(made, held.int)
    return made


def _made_time(kind: Any, held: datetime) -> Any:
    time = (held.hour, held.minute, held.second, held.microsecond, held.tzinfo)
    return datetime.__new__(kind, held.year, held.month, held.day, *time)


_MAKERS: Final[dict[type, Callable[[Any, Any], Any]]] = {
    datetime: _made_time,
    int: int.__new__,
    str: str.__new__,
    timedelta: lambda kind, held: timedelta.__new__(kind, held.days, held.seconds),
    UUID: _made_uuid,
}


def two_faced(held: T, shown: T) -> T:
    """Return an instance of a subclass that holds *held*, and answers and compares as *shown*."""
    base = type(held)

    def answer(name: str) -> Any:
        if callable(getattr(base, name)):
            return lambda _, *values, **named: getattr(shown, name)(*values, **named)
        return property(lambda _: getattr(shown, name))

    names = [name for name in dir(base) if name not in _KEPT]
    kind = type(f"TwoFaced_{base.__name__}", (base,), {name: answer(name) for name in names})
    made: T = _MAKERS[base](kind, held)
    return made


def of_two_faced_number(held: UUID, shown: UUID) -> UUID:
    """Return a `UUID` whose integer is two-faced."""
    return UUID(int=two_faced(held.int, shown.int))


class _TextOfAnother(UUID):
    """A UUID that is written as another one."""

    def __str__(self) -> str:
        return str(self.__dict__["shown"])


def of_another_text(held: UUID, shown: UUID) -> UUID:
    """Return a UUID that compares as *held*, and is written as *shown*."""
    made = _TextOfAnother(int=held.int)
    made.__dict__["shown"] = shown
    return made
