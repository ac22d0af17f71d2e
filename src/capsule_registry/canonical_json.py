"""The one way in which JSON is written where its bytes are hashed or compared."""

from __future__ import annotations

import hashlib
import json

_encoder = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
)


def canonical_json(value: object) -> str:
    """
    Return *value* as canonical JSON: keys sorted by code point, no spaces, no escapes but JSON's.

    Raises:
        ValueError: A number is nan or infinite.
    """
    return _encoder.encode(value)


def sha256_of_lines(lines: list[str]) -> str:
    """Return what `sha256sum` says of a file of *lines*, each ended by a newline."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()
