"""Reading what others wrote: never more than a limit at once."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import capsule_registry as library

if TYPE_CHECKING:
    from collections.abc import Iterator


def read_whole(file: IO[bytes], field: str, limit: int) -> str:
    """Return the text of *file*, refused if it has more than *limit* bytes."""
    return _text(file.read(limit + 1), field, limit)


def lines_of(file: IO[bytes], limit: int) -> Iterator[str]:
    """Yield the lines of *file*; refuse one that has more than *limit* bytes."""
    number = 0
    while line := file.readline(limit + 1):
        number += 1
        yield _text(line, f"line {number}", limit)


def _text(data: bytes, field: str, limit: int) -> str:
    if len(data) > limit:
        raise library.InvalidTextError(field, "too_large", f"it has more than {limit} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise library.InvalidTextError(field, "not_utf8", str(error)) from error
