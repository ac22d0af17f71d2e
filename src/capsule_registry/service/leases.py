"""Leases: time-limited holds on session UUIDs, renewed by their ids."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

from pydantic import Field, StrictFloat

from capsule_registry import Lease
from capsule_registry.api import json_shapes
from capsule_registry.service.access import Current, Writing
from capsule_registry.service.answers import Answer, each, ok
from capsule_registry.service.routing import strict_router
from capsule_registry.service.shapes import Change, NothingChange, Shape

router: Final = strict_router("leases")
writes: Final = strict_router("leases")


class LeaseRequest(Shape):
    """A lease to open."""

    name: str = Field(min_length=1, max_length=255, description="A label for people.")
    ttl: StrictFloat = Field(default=30, ge=0.1, le=31_536_000, description="Seconds.")


class LeaseChange(Change):
    """A lease that was opened."""

    result: Lease | None


class LeasesChange(Change):
    """Leases that were removed."""

    result: list[Lease] | None


@router.get("/leases", responses=ok(list[Lease]))
async def leases(registry: Current) -> Answer:
    """List the live leases, in the order in which they were opened."""
    return each(await registry.leases.list())


@writes.post("/leases", responses=ok(LeaseChange, "Opened."))
async def open_lease(writer: Writing, asked: LeaseRequest) -> Answer:
    """Open a lease: renew it by its id in time, or it runs out, and its UUIDs with it."""
    granting = writer.acting.leases.grant(asked.name, timedelta(seconds=asked.ttl))
    return await writer.done(granting, ("lease.opened",), shape=json_shapes.by_fields)


@writes.post("/leases/{lease_id}/renewal", responses=ok(Lease, "Renewed."))
async def renew(writer: Writing, lease_id: UUID) -> Answer:
    """Let a lease last for its whole ttl from now; this makes no revision."""
    return Answer(json_shapes.by_fields(await writer.acting.leases.renew(lease_id)))


@writes.delete("/leases/{lease_id}", responses=ok(NothingChange, "Closed."))
async def close(writer: Writing, lease_id: UUID) -> Answer:
    """End a lease, and remove its UUIDs."""
    closing = writer.acting.leases.close(lease_id)
    return await writer.done(closing, ("lease.closed",), [str(lease_id)])


@writes.post("/reap-leases", responses=ok(LeasesChange, "Removed."))
async def reap(writer: Writing) -> Answer:
    """Remove what is left of leases that have run out, and list these."""
    reaping = writer.acting.leases.reap()
    done = ("lease.expired", "lease.reaped")
    return await writer.done(
        reaping, done, shape=lambda found: [*map(json_shapes.by_fields, found)]
    )
