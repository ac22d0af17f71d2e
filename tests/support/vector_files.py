"""Reading the vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parents[1] / "vectors"


def rows(name: str) -> list[dict[str, Any]]:
    text = (VECTORS / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.rstrip("\n").split("\n")]


def known_part(given: Any, expected: Any) -> Any:
    """Return *given* without keys that *expected* lacks, in whatever table."""
    if isinstance(given, dict) and isinstance(expected, dict):
        return {key: known_part(given[key], expected[key]) for key in expected if key in given}
    if isinstance(given, list) and isinstance(expected, list) and len(given) == len(expected):
        return [known_part(*pair) for pair in zip(given, expected, strict=True)]
    return given
