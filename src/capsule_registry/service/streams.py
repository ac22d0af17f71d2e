"""Answers that are sent as they come, line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.responses import StreamingResponse

from capsule_registry.errors import CapsuleRegistryError
from capsule_registry.service import problems
from capsule_registry.service.problems import json_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: The media type of lines of JSON.
NDJSON: Final = "application/x-ndjson"


async def streamed(lines: AsyncIterator[str]) -> StreamingResponse:
    """
    Return the response that sends *lines*, each an object.

    An error before the first is raised, and so an ordinary answer. A later one ends the stream with
    a line that is an object with the one member `problem`.
    """
    first = await anext(lines, None)
    headers = {"Cache-Control": "no-store"}
    return StreamingResponse(_encoded(first, lines), 200, headers, NDJSON)


async def _encoded(first: str | None, rest: AsyncIterator[str]) -> AsyncIterator[bytes]:
    if first is None:
        return
    yield f"{first}\n".encode()
    try:
        async for line in rest:
            yield f"{line}\n".encode()
    except CapsuleRegistryError as error:
        yield json_bytes({"problem": problems.of_error(error)}) + b"\n"
