"""What has happened: listed, compared, anchored, checked; `watching` follows it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import Path, Query
from starlette.responses import Response

from capsule_registry import (
    Anchor,
    Difference,
    FutureRevisionError,
    Revision,
    Verification,
)
from capsule_registry.api import json_shapes
from capsule_registry.service.access import (
    Audited,
    Current,
    MomentText,
    OfCapsule,
    TimeText,
    at_moment,
    at_time,
)
from capsule_registry.service.answers import Answer, each, ok
from capsule_registry.service.limits import MOST_ITEMS
from capsule_registry.service.routing import strict_router
from capsule_registry.service.streams import NDJSON, streamed

router: Final = strict_router("history")

_LAST: Final = 2**63 - 1
After = Annotated[int | None, Query(ge=0, le=_LAST, description="Only revisions after this one.")]
Moment = Annotated[MomentText, Query(description="A revision, or a time in ISO 8601 with a zone.")]


@router.get("/history", responses=ok(list[Revision]))
async def history(  # noqa: PLR0913, PLR0917 - one for each thing to filter by
    registry: Current,
    after: After = None,
    capsule_id: OfCapsule = None,
    action: Annotated[str | None, Query(description="Such as uuid.registered.")] = None,
    actor: Annotated[str | None, Query(description="Exactly as recorded.")] = None,
    since: TimeText | None = None,
    until: TimeText | None = None,
    limit: Annotated[int, Query(ge=1, le=MOST_ITEMS)] = 100,
) -> Answer:
    """
    List the first *limit* revisions that meet all conditions, oldest first, each whole.

    For the next page, set *after* to the last `revision`.
    """
    found = await registry.history.list(
        after=after,
        capsule_id=capsule_id,
        action=action,
        actor=actor,
        since=None if since is None else at_time(since),
        until=None if until is None else at_time(until),
        limit=limit,
    )
    return each(found)


@router.get("/history/{revision}", responses=ok(Revision))
async def one_revision(registry: Current, revision: Annotated[int, Path(ge=1, le=_LAST)]) -> Answer:
    """Return one revision, with all its events."""
    found = await registry.history.list(after=revision - 1, limit=1)
    if not found or found[0].revision != revision:
        raise FutureRevisionError(revision, await registry.history.revision)
    return Answer(json_shapes.by_fields(found[0]))


@router.get("/diff", responses=ok(list[Difference]))
async def diff(registry: Current, before: Moment, after: Moment | None = None) -> Answer:
    """Return what differs between two moments, or between one and now."""
    end = None if after is None else at_moment(after)
    return each(await registry.history.diff(at_moment(before), end))


@router.get("/anchor", responses=ok(Anchor))
async def anchor(registry: Current) -> Answer:
    """Return the head of the history as an anchor: keep it elsewhere."""
    return Answer(json_shapes.by_fields(await registry.history.anchor()))


@router.post("/verify", responses=ok(Verification, "Checked: `discrepancies` has what is wrong."))
async def verify(registry: Audited, anchor: Anchor | None = None) -> Answer:
    """Recompute the history, and hold the tables and an anchor of old, if given, against it."""
    return Answer(json_shapes.by_fields(await registry.history.verify(anchor)))


@router.get(
    "/history-lines",
    response_class=Response,
    responses={HTTPStatus.OK: {"description": "Lines to hash.", "content": {NDJSON: {}}}},
)
async def history_lines(registry: Audited, after: After = None) -> Response:
    """Return the lines that the hashes of revisions are made of, as `audit export` prints them."""
    return await streamed(registry.history.export(after=after))
