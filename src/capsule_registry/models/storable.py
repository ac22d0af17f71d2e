"""What every database can store; anything else is refused on all of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, overload

from capsule_registry.errors import InvalidManifestError, InvalidTextError
from capsule_registry.plain_values import plain_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from capsule_registry.manifest.part import ManifestPart

    #: A broken rule, and a message.
    Problem = tuple[str, str]
    #: A text's description, the text, and its maximum length.
    Bounded = tuple[str, str, int]

#: The longest name (of an uplink, a platform, a tool), actor, grant or event, and capability that
#: every database can store, and the deepest JSON (MariaDB allows the least).
MAX_NAME: Final = 255
MAX_ACTOR: Final = 255
MAX_GRANT: Final = 512
MAX_CAPABILITY: Final = 1024
MAX_JSON_DEPTH: Final = 31


@overload
def storable_text(field: str, text: str, longest: int | None = None) -> str: ...


@overload
def storable_text(field: str, text: str | None, longest: int | None = None) -> str | None: ...


def storable_text(field: str, text: str | None, longest: int | None = None) -> str | None:
    """
    Return *text*, if any, as a plain `str` that every database can store.

    Raises:
        InvalidTextError: Rule `no_text`, `nul`, `not_utf8` or `too_long`.
    """
    if text is None:
        return None
    plain = plain_text(text)
    if plain is None:
        raise InvalidTextError(field, "no_text", f"a value of type {type(text).__name__}")
    if problem := _unstorable_text(plain):
        raise InvalidTextError(field, *problem)
    if longest is not None and (problem := _too_long(field, plain, longest)):
        raise InvalidTextError(field, *problem)
    return plain


def required_text(field: str, text: str) -> str:
    """
    Return *text* as `storable_text` does.

    Raises:
        InvalidTextError: As that, and for `None`.
    """
    plain = storable_text(field, text)
    if plain is None:
        raise InvalidTextError(field, "no_text", "none is given")
    return plain


def storable_values(part: ManifestPart) -> Any:  # noqa: ANN401 - any JSON value
    """
    Return the values of *part*, under the names of the TOML file.

    Raises:
        InvalidManifestError: Not every database can store a value, unchanged, as JSON.
    """
    try:
        values = part.model_dump(mode="python", by_alias=True, warnings="none")
    except (AttributeError, RecursionError, TypeError, ValueError) as error:
        raise InvalidManifestError(None, "not_json", str(error)) from error
    _refuse_unstorable(values)
    return values


def _refuse_unstorable(value: object, depth: int = 1) -> None:
    if isinstance(value, str):
        _refuse(_unstorable_text(value))
    elif isinstance(value, (dict, list, tuple)):
        if depth > MAX_JSON_DEPTH:
            _refuse(("too_deep", f"values nest more than {MAX_JSON_DEPTH} levels deep"))
        if isinstance(value, dict):
            for key in value:
                _refuse(_unstorable_text(key) if isinstance(key, str) else _not_json(key))
            value = value.values()
        for item in value:
            if item is not None:
                _refuse_unstorable(item, depth + 1)
    elif not _is_storable_scalar(value):
        _refuse(_not_json(value))


def _refuse(problem: Problem | None) -> None:
    if problem is not None:
        raise InvalidManifestError(None, *problem)


def _is_storable_scalar(value: object) -> bool:
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return isinstance(value, float) and math.isfinite(value)


def _not_json(value: object) -> Problem:
    return "not_json", f"a value of type {type(value).__name__} that JSON does not hold as it is"


def _unstorable_text(text: str) -> Problem | None:
    if "\0" in text:
        return "nul", "a text has the character U+0000"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return "not_utf8", f"a text is no valid Unicode (character {error.start})"
    return None


def require_short(texts: Iterable[Bounded]) -> None:
    """
    Refuse the first of *texts* that is too long.

    Raises:
        InvalidManifestError: Rule `too_long`.
    """
    for what, text, longest in texts:
        _refuse(_too_long(what, text, longest))


def _too_long(what: str, text: str, longest: int) -> Problem | None:
    """Return the broken rule if *text* has more than *longest* characters."""
    if len(text) <= longest:
        return None
    return "too_long", f"{what} has {len(text)} characters, at most {longest} can be stored"
