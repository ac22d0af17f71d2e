"""What is registered: capsules, uplinks, session UUIDs."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Query, Request
from starlette.responses import Response

from capsule_registry import (
    CapsuleNotFoundError,
    CapsuleState,
    CapsuleSummary,
    ManifestForm,
    ReadyStatus,
    RegisteredCapsule,
    RegisteredUuid,
    UplinkDescriptor,
    UplinkNotFoundError,
    UplinkProfile,
)
from capsule_registry.api import json_shapes
from capsule_registry.service.access import (
    Current,
    IdInPath,
    MomentText,
    NamespaceName,
    OfCapsule,
    View,
    at_moment,
)
from capsule_registry.service.answers import Answer, each, etag, ok
from capsule_registry.service.limits import MOST_ITEMS
from capsule_registry.service.routing import strict_router
from capsule_registry.service.shapes import ManifestChange, Namespace, ReadyQuestion, Uplink
from capsule_registry.service.streams import NDJSON, streamed

if TYPE_CHECKING:
    from capsule_registry.service.registries import Registries

router: Final = strict_router("registered")


@router.get("", responses=ok(Namespace))
async def namespace(request: Request, namespace: NamespaceName, registry: Current) -> Answer:
    """Return the namespace and the head of its history."""
    registries: Registries = request.app.state.registries
    found = {one.name: one for one in await registries.list()}
    await registry.history.revision  # Which tells a namespace that was dropped.
    return Answer(json_shapes.namespace(found[namespace]))


@router.get("/capsules", responses=ok(list[CapsuleSummary]))
async def capsules(  # noqa: PLR0913, PLR0917 - one for each parameter
    request: Request,
    view: View,
    state: CapsuleState | None = None,
    form: ManifestForm | None = None,
    after: OfCapsule = None,
    limit: Annotated[int, Query(ge=1, le=MOST_ITEMS)] = MOST_ITEMS,
) -> Answer:
    """
    List the registered capsules without their manifests, in the order of registration.

    A page has *limit* of them; `Link` leads to the next one.
    """
    found = await view.summaries(state=state, form=form, after=after, limit=limit)
    headers = {}
    if len(found) == limit:
        following = {**request.query_params, "after": found[-1].id}
        headers["Link"] = f'<?{urlencode(following)}>; rel="next"'
    return Answer([*map(json_shapes.capsule_summary, found)], headers)


@router.get("/capsules/{capsule_id}", responses=ok(RegisteredCapsule))
async def capsule(view: View, capsule_id: IdInPath) -> Answer:
    """Return all of one capsule, its manifest included; `ETag` carries its generation."""
    if (found := await view.get(capsule_id)) is None:
        raise CapsuleNotFoundError(capsule_id)
    return Answer(json_shapes.capsule(found), etag(found))


@router.get("/capsules/{capsule_id}/comparison", responses=ok(list[ManifestChange]))
async def comparison(
    registry: Current,
    capsule_id: IdInPath,
    before: Annotated[MomentText, Query(description="A generation or other moment.")],
    after: Annotated[MomentText | None, Query(description="By default what stands now.")] = None,
) -> Answer:
    """Return what a capsule's manifest has gained and lost between two moments, rights first."""
    old = at_moment(before)
    new = await registry.history.revision if after is None else at_moment(after)
    found = await registry.compare(old, new, capsule_id=capsule_id)
    return Answer(json_shapes.comparison(found))


@router.get("/uplinks", responses=ok(list[Uplink]))
async def uplinks(  # noqa: PLR0913, PLR0917 - one for each thing to filter by
    view: View,
    platform: str | None = None,
    profile: UplinkProfile | None = None,
    capsule_id: OfCapsule = None,
    can_receive: bool | None = None,  # noqa: FBT001 - of the query
    can_send: bool | None = None,  # noqa: FBT001
    can_approve: bool | None = None,  # noqa: FBT001
    can_elicit: bool | None = None,  # noqa: FBT001
    supports_rich_media: bool | None = None,  # noqa: FBT001
    supports_threads: bool | None = None,  # noqa: FBT001
    supports_buttons: bool | None = None,  # noqa: FBT001
) -> Answer:
    """List the uplinks that meet all conditions, in the order of registration."""
    found = await view.find_uplinks(
        platform=platform,
        profile=profile,
        capsule_id=capsule_id,
        can_receive=can_receive,
        can_send=can_send,
        can_approve=can_approve,
        can_elicit=can_elicit,
        supports_rich_media=supports_rich_media,
        supports_threads=supports_threads,
        supports_buttons=supports_buttons,
    )
    return each(found, json_shapes.uplink)


@router.get("/uplinks/{uplink_id}", responses=ok(UplinkDescriptor))
async def uplink(view: View, uplink_id: UUID) -> Answer:
    """Return one uplink."""
    if (found := await view.get_uplink(uplink_id)) is None:
        raise UplinkNotFoundError(uplink_id)
    return Answer(json_shapes.by_fields(found))


@router.get("/uuids", responses=ok(list[RegisteredUuid]))
async def uuids(view: View, capsule_id: OfCapsule = None) -> Answer:
    """List the session UUIDs, or those of one capsule, in the order in which they were filed."""
    return each(await view.uuids(capsule_id))


@router.post("/wait-ready", responses=ok(dict[str, ReadyStatus], "Waited."))
async def wait_ready(registry: Current, asked: ReadyQuestion) -> Answer:
    """Wait until each capsule is ready or has failed, in whichever process."""
    found = await registry.wait_ready(asked.ids, asked.patience)
    return Answer({str(one): status.value for one, status in found.items()})


@router.get(
    "/export",
    response_class=Response,
    responses={HTTPStatus.OK: {"description": "Lines for `import`.", "content": {NDJSON: {}}}},
)
async def export(view: View) -> Response:
    """Return what is registered, as lines of JSON for `import`, all as of one moment."""
    return await streamed(view.export_lines())
