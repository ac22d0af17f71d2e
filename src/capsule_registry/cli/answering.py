"""Answering checks from lines, for a host that keeps one process for all of them."""

from __future__ import annotations

import json
import sys
from typing import IO, TYPE_CHECKING, Any, Final

import capsule_registry as library
from capsule_registry.api import json_shapes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capsule_registry import RegistryReader

    Answer = dict[str, Any] | list[dict[str, Any]]

#: The longest line: five hundred questions about long values.
_LONGEST_LINE: Final = 1024 * 1024
_MEMBERS: Final = frozenset({"uuid", "capability", "value"})


def answer_lines(registry: RegistryReader) -> None:
    """Answer each line of standard input by one of standard output, before the next is read."""
    for line in _lines(sys.stdin.buffer):
        sys.stdout.write(f"{json.dumps(_answer(registry, line))}\n")
        sys.stdout.flush()


def _lines(file: IO[bytes]) -> Iterator[bytes | None]:
    """Yield each line; `None` for one that is too long, which is read to its end."""
    while line := file.readline(_LONGEST_LINE):
        if line.endswith(b"\n") or len(line) < _LONGEST_LINE:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(_LONGEST_LINE)
        yield None


def _answer(registry: RegistryReader, line: bytes | None) -> Answer:
    """Return the decision, or the decisions, on a line; whatever fails is denied, and said."""
    try:
        asked = _parsed(line)
        questions = [*map(_question, asked if isinstance(asked, list) else [asked])]
        found = [*map(json_shapes.by_fields, registry.check_many(questions))]
    except library.CapsuleRegistryError as error:
        return {"allowed": False, "why": None, "error": str(error)}
    return found if isinstance(asked, list) else found[0]


def _parsed(line: bytes | None) -> Any:  # noqa: ANN401 - any JSON value
    if line is None:
        raise library.InvalidTextError("line", "too_large", f"more than {_LONGEST_LINE} bytes")
    try:
        return json.loads(line)
    except (RecursionError, ValueError) as error:
        raise library.InvalidTextError("line", "no_json", str(error)) from error


def _question(asked: object) -> tuple[Any, ...]:
    if not isinstance(asked, dict) or not {"uuid", "capability"} <= asked.keys() <= _MEMBERS:
        said = "expected an object with uuid, capability and, if it takes one, value"
        raise library.InvalidTextError("question", "malformed", said)
    return asked["uuid"], asked["capability"], asked.get("value")
