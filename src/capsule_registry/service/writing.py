"""Changes to capsules, and all of a namespace at once."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

from fastapi import Body, Request
from pydantic import BeforeValidator, Field, StrictBool, StrictInt, ValidationError

from capsule_registry import (
    CapsuleManifest,
    CapsuleState,
    InvalidManifestError,
    InvalidTextError,
    RegisteredCapsule,
    SyncPlan,
    ToolDef,
)
from capsule_registry.api import json_shapes
from capsule_registry.cli.bounded_input import lines_of
from capsule_registry.entities.export_import import MAX_LINE
from capsule_registry.manifest.first_error import first_error
from capsule_registry.service.access import (
    Expected,
    IdInPath,
    MomentText,
    Writer,
    Writing,
    at_moment,
)
from capsule_registry.service.answers import Answer, etag, ok
from capsule_registry.service.limits import MOST_IMPORTED, MOST_ITEMS
from capsule_registry.service.problems import RefusedError
from capsule_registry.service.routing import strict_router
from capsule_registry.service.shapes import (
    CapsuleChange,
    CapsulesChange,
    Change,
    CountChange,
    Shape,
)
from capsule_registry.service.streams import NDJSON

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence
    from typing import IO

router: Final = strict_router("changes")

#: What such changes of many file, at least one of them.
_REMOVED: Final = ("capsule.unregistered", "uplink.unregistered", "uuid.unregistered")
_SYNCED: Final = ("capsule.registered", "capsule.replaced", "capsule.unregistered")
_IMPORTED: Final = ("capsule.registered", "uplink.registered", "uuid.registered")
#: An import of this size is held in memory; a larger one in a file without a name.
_IN_MEMORY: Final = 2**20

Text = Annotated[str, Field(max_length=262_144, description="The text of Capsule.toml.")]
Manifest = (
    Text
    | Annotated[dict[str, Any], Field(description="What it has, under the names of the TOML file.")]
)


def _whole(number: object) -> object:
    """Return *number* as an integer if it is one, however it is written: JSON has one kind."""
    is_whole = isinstance(number, float) and number.is_integer()
    return int(number) if is_whole else number  # type: ignore[call-overload]


Revision = Annotated[StrictInt, Field(ge=0, lt=10**18), BeforeValidator(_whole)]
Sessions = Annotated[list[UUID], Field(max_length=MOST_ITEMS, description="Its session UUIDs.")]


class CapsuleRequest(Shape):
    """A capsule to register."""

    manifest: Manifest
    state: CapsuleState = CapsuleState.READY
    state_reason: str | None = None
    source_dir: str | None = Field(default=None, description="Where it is on its host.")
    uuids: Sessions = Field(default_factory=list)
    lease: UUID | None = Field(default=None, description="The lease that its UUIDs belong to.")
    if_same: StrictBool = Field(
        default=False, description="Leave the very same manifest as it stands."
    )


class ReplaceRequest(Shape):
    """A capsule to put in the place of the registered one of that id."""

    manifest: Manifest
    state: CapsuleState | None = None
    state_reason: str | None = None
    source_dir: str | None = Field(default=None, description="Where it is on its host.")
    uuids: Sessions = Field(default_factory=list)
    keep_uuids: StrictBool = Field(default=False, description="Keep the old one's UUIDs too.")
    lease: UUID | None = Field(default=None, description="The lease that its UUIDs belong to.")
    if_same: StrictBool = Field(
        default=False, description="Leave the very same manifest as it stands."
    )
    same_artifacts: StrictBool = Field(
        default=False, description="Refuse other hashes under the same version."
    )
    force: StrictBool = Field(
        default=False, description="Even if it alone exports what others import."
    )


class StateRequest(Shape):
    """A state to set."""

    state: CapsuleState
    state_reason: str | None = None


class RollbackRequest(Shape):
    """Where to go back to."""

    to: Revision | MomentText | None = Field(
        default=None, description="A generation or other revision, or a time; else the one before."
    )
    keep_uuids: StrictBool = False
    force: StrictBool = False


class ManyRequest(Shape):
    """Capsules to register, in order and in one revision."""

    manifests: list[Manifest] = Field(max_length=MOST_ITEMS)


class SyncRequest(Shape):
    """The manifests that are to be registered."""

    manifests: dict[str, Text] = Field(
        max_length=MOST_ITEMS, description="The texts of manifests, by what to call them."
    )
    prune: StrictBool = Field(default=False, description="Unregister what is not among them.")
    dry_run: StrictBool = Field(
        default=False, description="Change nothing; tell what would be done."
    )
    refuse_new_rights: StrictBool = False
    force: StrictBool = False


class SyncChange(Change):
    """What a sync did, or would do."""

    result: SyncPlan | None


@dataclass(frozen=True, slots=True)
class _Given:
    """A capsule as a client describes it."""

    manifest: CapsuleManifest
    state: CapsuleState | None
    state_reason: str | None
    source_dir: str | None


@dataclass(frozen=True, slots=True)
class _GivenInItsState:
    """One that says nothing of its state."""

    manifest: CapsuleManifest
    source_dir: str | None


async def _parsed(writer: Writer, given: Sequence[str | dict[str, Any]]) -> list[CapsuleManifest]:
    """Return the manifests, as the runtime of the namespace reads them."""
    read = partial(_manifest_of, runtime_version=await writer.acting.runtime_version)
    return await asyncio.to_thread(lambda: [*map(read, given)])


def _manifest_of(given: str | dict[str, Any], runtime_version: str | None) -> CapsuleManifest:
    if isinstance(given, str):
        return CapsuleManifest.parse(given, runtime_version=runtime_version)
    try:
        return CapsuleManifest.model_validate(given)
    except ValidationError as error:
        raise InvalidManifestError(None, *first_error(error, given)) from error


async def _changed(
    writer: Writer, work: Awaitable[RegisteredCapsule], capsule_id: str, *actions: str
) -> Answer:
    """Return the answer to a change after which there is such a capsule; see `Writer.done`."""
    return await writer.done(work, actions, [capsule_id], shape=json_shapes.capsule, headers=etag)


@router.post("/capsules", responses=ok(CapsuleChange, "Registered."))
async def register(writer: Writing, asked: CapsuleRequest) -> Answer:
    """Register a capsule with its tools, grants and declared uplinks, and its session UUIDs."""
    (manifest,) = await _parsed(writer, [asked.manifest])
    new = _Given(manifest, asked.state, asked.state_reason, asked.source_dir)
    registering = writer.acting.register(
        new, uuids=asked.uuids, lease=asked.lease, if_same=asked.if_same
    )
    name = manifest.package.name
    return await _changed(writer, registering, name, "capsule.registered", "uuid.registered")


@router.post("/register-many", responses=ok(CapsulesChange, "Registered."))
async def register_many(writer: Writing, asked: ManyRequest) -> Answer:
    """Register capsules, all or none, in one revision."""
    manifests = await _parsed(writer, asked.manifests)
    names = [one.package.name for one in manifests[:1]]
    registering = writer.acting.register_many(manifests)
    return await writer.done(registering, ("capsule.registered",), names, shape=_capsules)


def _capsules(found: Sequence[RegisteredCapsule]) -> list[Any]:
    return [*map(json_shapes.capsule, found)]


@router.put("/capsules/{capsule_id}", responses=ok(CapsuleChange, "Replaced."))
async def replace(
    writer: Writing, capsule_id: IdInPath, asked: ReplaceRequest, generation: Expected
) -> Answer:
    """Put a capsule in the place of the registered one; `If-Match` says of which generation."""
    (manifest,) = await _parsed(writer, [asked.manifest])
    if manifest.package.name != capsule_id:
        message = f"the manifest is that of {manifest.package.name}"
        raise InvalidTextError("manifest", "other_capsule", message)
    new: _Given | _GivenInItsState = _GivenInItsState(manifest, asked.source_dir)
    if asked.state is not None:
        new = _Given(manifest, asked.state, asked.state_reason, asked.source_dir)
    replacing = writer.acting.replace(
        new,
        expected_generation=generation,
        uuids=asked.uuids,
        keep_uuids=asked.keep_uuids,
        lease=asked.lease,
        if_same=asked.if_same,
        same_artifacts=asked.same_artifacts,
        force=asked.force,
    )
    return await _changed(writer, replacing, capsule_id, "capsule.replaced", "uuid.registered")


@router.put("/capsules/{capsule_id}/state", responses=ok(CapsuleChange, "Set."))
async def set_state(
    writer: Writing, capsule_id: IdInPath, asked: StateRequest, generation: Expected
) -> Answer:
    """Set a capsule's state: only one that is ready is allowed anything."""
    setting = writer.acting.set_state(
        capsule_id, asked.state, asked.state_reason, expected_generation=generation
    )
    return await _changed(writer, setting, capsule_id, "capsule.state_changed")


@router.put("/capsules/{capsule_id}/tools", responses=ok(CapsuleChange, "Filed."))
async def report_tools(
    writer: Writing,
    capsule_id: IdInPath,
    asked: Annotated[list[ToolDef], Body(max_length=MOST_ITEMS)],
    generation: Expected,
) -> Answer:
    """File the tools that a running capsule has reported, in place of those before."""
    reporting = writer.acting.report_tools(capsule_id, asked, expected_generation=generation)
    return await _changed(writer, reporting, capsule_id, "capsule.tools_reported")


@router.post("/capsules/{capsule_id}/rollback", responses=ok(CapsuleChange, "Rolled back."))
async def rollback(
    writer: Writing, capsule_id: IdInPath, asked: RollbackRequest, generation: Expected
) -> Answer:
    """Register again what stood under an id then, in a revision and generation of its own."""
    going_back = writer.acting.rollback(
        capsule_id,
        at_moment(asked.to) if isinstance(asked.to, str) else asked.to,
        expected_generation=generation,
        keep_uuids=asked.keep_uuids,
        force=asked.force,
    )
    return await _changed(writer, going_back, capsule_id, "capsule.replaced", "capsule.registered")


@router.delete("/capsules/{capsule_id}", responses=ok(CapsuleChange, "Unregistered."))
async def unregister(
    writer: Writing,
    capsule_id: IdInPath,
    generation: Expected,
    force: bool = False,  # noqa: FBT001, FBT002 - of the query
) -> Answer:
    """Remove a capsule with all its uplinks and session UUIDs, and return it."""
    removing = writer.acting.unregister(capsule_id, expected_generation=generation, force=force)
    done = ("capsule.unregistered",)
    return await writer.done(removing, done, [capsule_id], shape=json_shapes.capsule)


@router.post("/drain", responses=ok(CapsulesChange, "Removed."))
async def drain(writer: Writing) -> Answer:
    """Remove everything but leases in one revision, and return the capsules."""
    return await writer.done(writer.acting.drain(), _REMOVED, shape=_capsules)


@router.post("/sync", responses=ok(SyncChange, "Done, or to be done."))
async def sync(writer: Writing, asked: SyncRequest) -> Answer:
    """Register the manifests that are new, and replace those that differ, in one revision."""
    syncing = writer.acting.sync(
        asked.manifests,
        prune=asked.prune,
        dry_run=asked.dry_run,
        refuse_new_rights=asked.refuse_new_rights,
        force=asked.force,
    )
    return await writer.done(syncing, _SYNCED, shape=json_shapes.by_fields)


@router.post(
    "/import",
    responses=ok(CountChange, "Imported."),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {NDJSON: {"schema": {"type": "string"}}},
        }
    },
)
async def import_lines(request: Request, writer: Writing) -> Answer:
    """
    Register what `export` has returned; each thousand lines is a revision of its own.

    With an `Idempotency-Key` it is one revision, all or nothing.
    """
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
            if received > MOST_IMPORTED:
                detail = f"the body has more than {MOST_IMPORTED} bytes"
                raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
            await _write(file, chunk)
        file.seek(0)
        importing = writer.acting.import_lines(lines_of(file, MAX_LINE))
        return await writer.done(importing, _IMPORTED)


async def _write(file: IO[bytes], chunk: bytes) -> None:
    await asyncio.to_thread(file.write, chunk)
