"""Canonical JSON, for bytes that are hashed or compared."""

from __future__ import annotations

import json
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Returns a value as canonical JSON: keys sorted by code point, no spaces, only required escapes.
#: Raises `ValueError` if a number is nan or infinite.
canonical_json: Final[Callable[[object], str]] = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode


def json_text(value: object) -> str:
    """Return *value* as `canonical_json` does; text, numbers and null at once."""
    kind = type(value)
    if kind is str:
        return encode_basestring(value)  # type: ignore[arg-type]
    if value is None:
        return "null"
    return str(value) if kind is int else canonical_json(value)
