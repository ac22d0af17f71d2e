"""The history as it goes on: Server-Sent Events for browsers, lines of JSON for programs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

from fastapi import Header, Query, Request
from starlette.responses import StreamingResponse

from capsule_registry import InvalidTextError
from capsule_registry.api import json_shapes
from capsule_registry.errors import CapsuleRegistryError
from capsule_registry.service import problems
from capsule_registry.service.access import Current
from capsule_registry.service.history import After
from capsule_registry.service.limits import HEARTBEAT_SECONDS, MOST_WATCHES
from capsule_registry.service.problems import RefusedError, json_bytes
from capsule_registry.service.routing import strict_router
from capsule_registry.service.streams import NDJSON

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from capsule_registry import AsyncWatch, Revision

router: Final = strict_router("history")

_EVENTS: Final = "text/event-stream"
#: How many revisions are kept as JSON for others who follow, and the longest that is.
_KEPT: Final = 256
_LONGEST_KEPT: Final = 100_000


class Followers:
    """Those who follow: at most so many, who share what they are sent, and are told of the end."""

    def __init__(self) -> None:
        #: The tasks that send, and what they follow.
        self._tasks: dict[asyncio.Task[Any], tuple[str, AsyncWatch]] = {}
        self._encoded: dict[str, bytes] = {}
        self.is_leaving = False

    @property
    def followed(self) -> set[str]:
        """The namespaces that are followed."""
        return {name for name, _ in [*self._tasks.values()]}

    def positions(self, namespace: str) -> list[int]:
        """Return up to which revisions those of *namespace* have been sent its history."""
        return [watch.revision for name, watch in [*self._tasks.values()] if name == namespace]

    def require_room(self) -> None:
        """Refuse one more if there are too many, or if the service is to end."""
        if self.is_leaving or len(self._tasks) >= MOST_WATCHES:
            detail = f"{len(self._tasks)} follow already: try another worker, or later"
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": "5"})

    def leave(self) -> None:
        """End all streams; each tells its client that it may go on elsewhere."""
        self.is_leaving = True
        for task in [*self._tasks]:
            task.cancel()

    def json_of(self, revision: Revision) -> bytes:
        """Return *revision* as JSON, made once for all who follow."""
        found = self._encoded.get(revision.hash)
        if found is None:
            found = json_bytes(json_shapes.by_fields(revision))
            if len(found) <= _LONGEST_KEPT:
                self._encoded[revision.hash] = found
            if len(self._encoded) > _KEPT:
                del self._encoded[next(iter(self._encoded))]
        return found

    async def stream(
        self, namespace: str, watch: AsyncWatch, form: Form, require_admitted: Callable[[], None]
    ) -> AsyncIterator[bytes]:
        """Yield what *watch* has in that *form*, a sign of life when it is quiet, and the end."""
        task: Any = asyncio.current_task()
        self._tasks[task] = namespace, watch
        try:
            yield form.begun(watch)
            while not self.is_leaving:
                async for revision in watch:  # It pauses when nothing came for a while.
                    require_admitted()
                    yield form.revision(revision.revision, self.json_of(revision))
                require_admitted()
                yield form.alive(watch)
        except RefusedError as error:
            problem = problems.of_refusal(HTTPStatus(error.status_code), error.detail)
            yield form.problem(json_bytes(problem))
        except CapsuleRegistryError as error:
            yield form.problem(json_bytes(problems.of_error(error)))
        except asyncio.CancelledError:
            if not self.is_leaving:
                raise
            task.uncancel()
            yield form.ended(watch)
        finally:
            del self._tasks[task]


class Form:
    """Lines of JSON: each a revision, an empty line as a sign of life, or a problem at the end."""

    media_type = NDJSON

    def begun(self, watch: AsyncWatch) -> bytes:  # noqa: ARG002 - of the other form
        """Return what is sent at once."""
        return b"\n"

    def revision(self, number: int, encoded: bytes) -> bytes:  # noqa: ARG002 - of the other form
        """Return what tells a revision."""
        return encoded + b"\n"

    def alive(self, watch: AsyncWatch) -> bytes:  # noqa: ARG002 - of the other form
        """Return what tells that nothing happened."""
        return b"\n"

    def problem(self, encoded: bytes) -> bytes:
        """Return what ends the stream after an error."""
        return b'{"problem":' + encoded + b"}\n"

    def ended(self, watch: AsyncWatch) -> bytes:  # noqa: ARG002 - of the other form
        """Return what ends the stream when the service ends."""
        return b"\n"


class Events(Form):
    """Server-Sent Events: revisions are messages with their number as id, all else has a name."""

    media_type = _EVENTS

    def begun(self, watch: AsyncWatch) -> bytes:
        """Return the event that tells which history is followed."""
        told = json_bytes({"incarnation": str(watch.incarnation), "revision": watch.revision})
        return b"retry: 1000\nevent: begun\nid: %d\ndata: %b\n\n" % (watch.revision, told)

    def revision(self, number: int, encoded: bytes) -> bytes:
        """Return the message of a revision."""
        return b"id: %d\ndata: %b\n\n" % (number, encoded)

    def alive(self, watch: AsyncWatch) -> bytes:
        """Return a comment."""
        return b": %d\n\n" % watch.revision

    def problem(self, encoded: bytes) -> bytes:
        """Return the event that ends the stream after an error."""
        return b"event: problem\ndata: %b\n\n" % encoded

    def ended(self, watch: AsyncWatch) -> bytes:
        """Return the event that tells from where to go on."""
        told = json_bytes({"revision": watch.revision})
        return b"event: ended\nid: %d\ndata: %b\n\n" % (watch.revision, told)


def _readmit(request: Request) -> None:
    """Require that the caller is still who it was: its token may have been revoked."""
    if request.scope["admit"]() != request.scope["caller"]:
        raise RefusedError(HTTPStatus.FORBIDDEN, "the token is not what it was")


@router.get(
    "/watch",
    response_class=StreamingResponse,
    responses={
        HTTPStatus.OK: {
            "description": "Each revision once, whole and in order, without end.",
            "content": {_EVENTS: {}, NDJSON: {}},
        }
    },
)
async def watch(  # noqa: PLR0913, PLR0917 - one for each parameter
    request: Request,
    registry: Current,
    after: After = None,
    incarnation: Annotated[
        UUID | None, Query(description="Of the history that *after* is from: see `anchor`.")
    ] = None,
    accept: Annotated[str, Header()] = _EVENTS,
    last_event_id: Annotated[str | None, Header(pattern=r"^\d{1,18}$")] = None,
) -> StreamingResponse:
    """
    Follow the history after a revision, by default from now on.

    `Last-Event-ID`, which browsers send when they connect again, counts before *after*. With
    `Accept: application/x-ndjson` each revision is a line. A history that was pruned beyond the
    position, does not reach it, or is another one, is an error; so say *incarnation* too.
    """
    followers: Followers = request.app.state.followers
    followers.require_room()
    start = after if last_event_id is None else int(last_event_id)
    if incarnation is not None and start is None:
        raise InvalidTextError("incarnation", "alone", "say the revision too, by after")
    quiet = timedelta(seconds=HEARTBEAT_SECONDS)
    followed = registry.history.watch(after=start, incarnation=incarnation, timeout=quiet)
    await followed.begin()
    form = Form() if NDJSON in accept else Events()
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        followers.stream(registry.namespace, followed, form, partial(_readmit, request)),
        headers=headers,
        media_type=form.media_type,
    )
