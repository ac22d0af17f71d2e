"""Answers that are sent as they come, line by line."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from starlette.responses import StreamingResponse

from capsule_registry.errors import CapsuleRegistryError
from capsule_registry.service import problems
from capsule_registry.service.problems import json_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

logger: Final = logging.getLogger("capsule_registry")


class Lines:
    """
    Streams of lines of one media type.

    An error before the first line is an ordinary answer. A later one ends the stream with a line
    that is an object with the one member `problem`.
    """

    def __init__(self, media_type: str) -> None:
        self.media_type = media_type

    async def of(self, found: AsyncIterator[str]) -> StreamingResponse:
        """Return the response that sends the lines that are *found*."""
        first = await anext(found, None)
        headers = {"Cache-Control": "no-store"}
        return StreamingResponse(self._encoded(first, found), 200, headers, self.media_type)

    async def _encoded(self, first: str | None, rest: AsyncIterator[str]) -> AsyncIterator[bytes]:
        if first is None:
            return
        yield f"{first}\n".encode()
        try:
            async for line in rest:
                yield f"{line}\n".encode()
        except CapsuleRegistryError as error:
            yield json_bytes({"problem": problems.of_error(error)}) + b"\n"


#: Lines of JSON.
lines: Final = Lines("application/x-ndjson")
