"""What a rule is: how a value is understood, and which entries of manifests cover it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from capsule_registry.plain_values import plain_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


def _allows(asked: object) -> bool:  # noqa: ARG001 - most hosts refuse nothing
    return False


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of pure functions, of a value that is asked for and of an entry."""

    #: Parses a value; `None` if it is malformed.
    understand: Callable[[object], Any]
    #: Returns whether an entry covers what was understood.
    covers: Callable[[str, Any], bool]
    #: Returns whether the host refuses it even where an entry covers it.
    refuses: Callable[[Any], bool] = _allows
    #: Returns the keys of all entries that can cover it, `None` if they are too many; without this,
    #: every entry is looked at.
    keys: Callable[[Any], Collection[str] | None] | None = None
    #: Returns the key of an entry; without this, it is the entry itself.
    key: Callable[[str], str] | None = None


def is_short(text: str, most: int) -> bool:
    """Return whether *text* is UTF-8 of at least one byte and at most so many."""
    try:
        return 0 < len(text.encode()) <= most
    except UnicodeEncodeError:
        return False


def plain_value(value: object) -> str | None:
    """Return *value* if it is a text that is not empty, without NUL."""
    text = plain_text(value)
    return text if text and "\0" not in text else None
