"""Changes to session UUIDs and uplinks."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from pydantic import Field

from capsule_registry import CapsuleId, UplinkDescriptor
from capsule_registry.service.access import Expected, IdInPath, Writing
from capsule_registry.service.answers import Answer, ok
from capsule_registry.service.routing import strict_router
from capsule_registry.service.shapes import CountChange, NothingChange, RemovalChange, Shape

router: Final = strict_router("changes")


class FilingRequest(Shape):
    """What a session UUID is to be filed under."""

    capsule_id: CapsuleId
    lease: UUID | None = Field(default=None, description="The lease that it is to belong to.")


class UplinkRequest(Shape):
    """An uplink to file, and under which id."""

    capsule_id: CapsuleId
    uplink: UplinkDescriptor


@router.put("/uuids/{uuid}", responses=ok(NothingChange, "Filed."))
async def register_uuid(
    writer: Writing, uuid: UUID, asked: FilingRequest, generation: Expected
) -> Answer:
    """File a session UUID under a capsule id, which need not be registered yet."""
    filing = writer.acting.register_uuid(
        uuid, asked.capsule_id, lease=asked.lease, expected_generation=generation
    )
    about = [str(uuid), asked.capsule_id]
    return await writer.done(filing, ("uuid.registered",), about)


@router.delete("/uuids/{uuid}", responses=ok(RemovalChange, "Removed, if it was filed."))
async def unregister_uuid(writer: Writing, uuid: UUID) -> Answer:
    """Remove a session UUID."""
    removing = writer.acting.unregister_uuid(uuid)
    return await writer.done(removing, ("uuid.unregistered",), [str(uuid)])


@router.post("/uplinks", responses=ok(NothingChange, "Filed."))
async def register_uplink(writer: Writing, asked: UplinkRequest) -> Answer:
    """File an uplink under a capsule id, which need not be registered yet."""
    filing = writer.acting.register_uplink(asked.capsule_id, asked.uplink)
    about = [str(asked.uplink.id), asked.capsule_id]
    return await writer.done(filing, ("uplink.registered",), about)


@router.delete("/uplinks/{uplink_id}", responses=ok(RemovalChange, "Removed, if it was filed."))
async def unregister_uplink(writer: Writing, uplink_id: UUID) -> Answer:
    """Remove an uplink."""
    removing = writer.acting.unregister_uplink(uplink_id)
    return await writer.done(removing, ("uplink.unregistered",), [str(uplink_id)])


@router.delete("/capsules/{capsule_id}/uplinks", responses=ok(CountChange, "Removed."))
async def unregister_capsule_uplinks(writer: Writing, capsule_id: IdInPath) -> Answer:
    """Remove all uplinks filed under a capsule id, registered or not."""
    removing = writer.acting.unregister_capsule_uplinks(capsule_id)
    return await writer.done(removing, ("uplink.unregistered",), [capsule_id])
