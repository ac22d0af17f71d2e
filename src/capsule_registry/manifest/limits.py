"""
The limits on a manifest's text: its size, its depth, and how many parts it has.

The text is scanned once, in linear time, before the parser sees it: deep nesting makes `tomllib`
recurse, and one dotted key of 64 KiB keeps it busy for seventeen seconds. Source of the limit on
depth: `toml` 0.8, the original's parser.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from capsule_registry.errors import InvalidManifestError

if TYPE_CHECKING:
    from os import PathLike

MAX_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 80
#: The most dots, commas, brackets and equal signs outside strings: what the parser spends memory
#: on. The largest manifest known has two hundred.
MAX_TOKENS: Final = 20_000

_TOKEN = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*+"{3,5}'
    r"|'''(?:[^']|'(?!''))*+'{3,5}"
    r'|"(?!"")(?:[^"\\\n]|\\.)*+"'
    r"|'(?!'')[^'\n]*+'"
    r"|\#[^\n]*+"
    r"|(?P<unclosed>[\"'])"
    r"|(?P<mark>[\[\]{}.,=\n])",
    re.DOTALL,
)


def refuse_size(size: int, path: str | PathLike[str] | None) -> None:
    """Refuse a text of *size* bytes, or at least so many, if that is too large."""
    if size > MAX_BYTES:
        message = f"the manifest is over {MAX_BYTES // 1024} KiB"
        raise InvalidManifestError(path, "too_large", message)


def refuse_traps(text: str, path: str | PathLike[str] | None) -> None:
    """Refuse text that nests too deeply or has too many parts, before a parser runs on it."""
    depth = dots = tokens = line = 0
    for match in _TOKEN.finditer(text):
        mark = match["mark"]
        if match["unclosed"]:
            return  # The parser stops here too, so the rest costs nothing.
        if mark is None:
            line += match[0].count("\n")
            continue
        if mark == "\n":
            line, dots = line + 1, 0
            continue
        tokens += 1
        if mark in "[{":
            depth, dots = depth + 1, 0
        elif mark in "]}":
            depth, dots = max(depth - 1, 0), 0
        elif mark == ".":
            dots += 1
        else:
            dots = 0
        if depth > MAX_DEPTH or dots >= MAX_DEPTH:
            message = f"recursion limit exceeded (line {line + 1}: over {MAX_DEPTH} levels)"
            raise InvalidManifestError(path, "toml_syntax", message)
        if tokens > MAX_TOKENS:
            message = f"more than {MAX_TOKENS} keys, values and brackets (line {line + 1})"
            raise InvalidManifestError(path, "too_complex", message)
