"""Canonical JSON, for bytes that are hashed or compared."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Returns a value as canonical JSON: keys sorted by code point, no spaces, only required escapes.
#: Raises `ValueError` if a number is nan or infinite.
canonical_json: Final[Callable[[object], str]] = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode
