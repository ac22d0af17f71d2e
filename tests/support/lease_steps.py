"""Helpers for tests of leases: held UUIDs, and every verb that sees them."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from support.factories import make_manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    from capsule_registry import CapsuleRegistry, Lease, OpenLease
    from capsule_registry.api.reads import RegistryReader

ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))
TTL, TICK, HOUR = timedelta(seconds=30), timedelta(microseconds=1), timedelta(hours=1)
SHORT = timedelta(milliseconds=100)
MANIFEST = make_manifest(capabilities={"ipc_publish": ["a.b"]})
#: What `seen` returns.
THERE = ["alpha", True, True, True, "granted"]
ABSENT = [None, False, False, False, "unknown_uuid"]


def seen(reader: RegistryReader, uuid: UUID = ONE) -> list[object]:
    """Return what each verb that looks at session UUIDs answers for one of the capsule `alpha`."""
    return [
        reader.find_by_uuid(uuid),
        uuid in [filed.uuid for filed in reader.uuids()],
        uuid in [filed.uuid for filed in reader.uuids("alpha")],
        reader.is_allowed(uuid, "ipc_publish", "a.b"),
        str(reader.check(uuid, "ipc_publish", "a.b").why),
    ]


def actions(registry: CapsuleRegistry, after: int) -> list[list[str]]:
    """Return the actions of each revision after *after*."""
    found = registry.history.list(after=after)
    return [[event.action for event in revision.events] for revision in found]


def hold(registry: CapsuleRegistry) -> OpenLease:
    """Return a lease that is not renewed and holds a UUID of the capsule `alpha`."""
    lease = registry.leases.open("tests", TTL, renew=False)
    registry.register(MANIFEST, uuids=[ONE], lease=lease)
    return lease


def record(registry: CapsuleRegistry, lease: OpenLease) -> Lease:
    """Return the listed record of a live lease."""
    [found] = [one for one in registry.leases.list() if one.id == lease.id]
    return found


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for *condition*, for ten seconds at most."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.005)
