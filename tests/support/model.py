"""A model of the registry as plain maps: the original's, and the leases beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from capsule_registry import errors
from support.factories import TELEGRAM, make_manifest

if TYPE_CHECKING:
    from capsule_registry import Anchor, CapsuleManifest, UplinkDescriptor


#: The lease just opened, until it is named.
NAMELESS = UUID(int=0)


@dataclass(frozen=True)
class Capsule:
    """A capsule with the ids its uplinks are to get; its tools' names are topics it may publish."""

    id: str
    uplink_ids: list[UUID]
    tool_names: list[str]

    @property
    def manifest(self) -> CapsuleManifest:
        return make_manifest(
            self.id,
            uplink=[TELEGRAM for _ in self.uplink_ids],
            tool=[{"name": n, "description": "", "input_schema": {}} for n in self.tool_names],
            capabilities={"ipc_publish": [f"{name}.*" for name in self.tool_names]},
        )


@dataclass
class Model:
    """The maps, in order of registration, and the events of the last revision."""

    capsules: dict[str, Capsule] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    uplinks: dict[UUID, str] = field(default_factory=dict)
    declared: set[UUID] = field(default_factory=set)
    uuids: dict[UUID, str] = field(default_factory=dict)
    #: Each lease's end and ttl, and the lease of each leased UUID.
    leases: dict[UUID, datetime] = field(default_factory=dict)
    ttls: dict[UUID, timedelta] = field(default_factory=dict)
    leased: dict[UUID, UUID] = field(default_factory=dict)
    now: datetime = datetime(1, 1, 1, tzinfo=UTC)
    compacted: int = 0
    events: list[tuple[str, str | None]] = field(default_factory=list)

    def register(self, capsule: Capsule, uuids: list[UUID], lease: UUID | None = None) -> Capsule:
        self._hold(lease)
        if capsule.id in self.capsules:
            raise errors.CapsuleAlreadyRegisteredError(capsule.id)
        self.capsules[capsule.id] = capsule
        self.states[capsule.id] = "ready"
        self.events.append(("capsule.registered", capsule.id))
        self._declare(capsule)
        for uuid in uuids:
            self.register_uuid(uuid, capsule.id, lease)
        return capsule

    def replace(
        self, capsule: Capsule, uuids: list[UUID], keep_uuids: bool, lease: UUID | None = None
    ) -> Capsule:
        self._hold(lease)
        if capsule.id not in self.capsules:
            raise errors.CapsuleNotFoundError(capsule.id)
        for uplink_id in self.of(self.uplinks, capsule.id):
            if uplink_id in self.declared:
                self.unregister_uplink(uplink_id)
        self.capsules[capsule.id] = capsule
        self.events.append(("capsule.replaced", capsule.id))
        self._declare(capsule)
        for uuid in self.of(self.uuids, capsule.id):
            if uuid not in uuids and not keep_uuids:
                self._drop(uuid)
        for uuid in uuids:
            self.register_uuid(uuid, capsule.id, lease)
        return capsule

    def set_state(self, capsule_id: str, state: str) -> Capsule:
        if capsule_id not in self.capsules:
            raise errors.CapsuleNotFoundError(capsule_id)
        if self.states[capsule_id] != state:
            self.states[capsule_id] = state
            self.events.append(("capsule.state_changed", capsule_id))
        return self.capsules[capsule_id]

    def unregister(self, capsule_id: str) -> Capsule:
        if capsule_id not in self.capsules:
            raise errors.CapsuleNotFoundError(capsule_id)
        self.unregister_capsule_uplinks(capsule_id)
        for uuid in self.of(self.uuids, capsule_id):
            self._drop(uuid)
        self.events.append(("capsule.unregistered", capsule_id))
        return self.capsules.pop(capsule_id)

    def drain(self) -> list[Capsule]:
        drained = [self.unregister(capsule_id) for capsule_id in [*self.capsules]]
        for uplink_id in [*self.uplinks]:
            self.unregister_uplink(uplink_id)
        for uuid in [*self.uuids]:
            self._drop(uuid)
        return drained

    def register_uuid(self, uuid: UUID, capsule_id: str, lease: UUID | None = None) -> None:
        self._hold(lease)
        if not self.stands(uuid):
            self._end(self.leased[uuid], "lease.expired", "lease.reaped")
        owner, held_by = self.uuids.get(uuid), self.leased.get(uuid)
        if owner == capsule_id and lease in (None, held_by):
            return
        if held_by not in (None, lease):
            raise errors.UuidHeldError(uuid, held_by)
        self._reserve(capsule_id)
        if self.uuids.pop(uuid, None):
            self.events.append(("uuid.unregistered", owner))
        self.uuids[uuid] = capsule_id
        if lease is not None:
            self.leased[uuid] = lease
        self.events.append(("uuid.registered", capsule_id))
        self._release(owner)

    def unregister_uuid(self, uuid: UUID) -> bool:
        return uuid in self.uuids and self.stands(uuid) and self._drop(uuid)

    def register_uplink(self, capsule_id: str, descriptor: UplinkDescriptor) -> None:
        self._reserve(capsule_id)
        self._file_uplink(descriptor.id, capsule_id)

    def unregister_uplink(self, uplink_id: UUID) -> bool:
        owner = self.uplinks.pop(uplink_id, None)
        self.declared.discard(uplink_id)
        if owner is not None:
            self.events.append(("uplink.unregistered", owner))
            self._release(owner)
        return owner is not None

    def unregister_capsule_uplinks(self, capsule_id: str) -> int:
        return sum(self.unregister_uplink(one) for one in self.of(self.uplinks, capsule_id))

    def open(self, ttl: timedelta) -> None:
        self.leases[NAMELESS], self.ttls[NAMELESS] = self.now + ttl, ttl
        self.events.append(("lease.opened", None))

    def name_lease(self, lease: UUID) -> None:
        self.leases[lease], self.ttls[lease] = self.leases.pop(NAMELESS), self.ttls.pop(NAMELESS)

    def renew(self, lease_id: UUID) -> UUID:
        if not self.is_live(lease_id):
            raise errors.LeaseLostError(lease_id)
        self.leases[lease_id] = self.now + self.ttls[lease_id]
        return lease_id

    def close(self, lease_id: UUID) -> None:
        if not self.is_live(lease_id):
            raise errors.LeaseNotFoundError(lease_id)
        self._end(lease_id, "lease.closed")

    def reap(self) -> list[UUID]:
        found = [lease for lease in self.leases if not self.is_live(lease)]
        for lease in found:
            self._end(lease, "lease.expired", "lease.reaped")
        return found

    def prune(self, through: Anchor) -> int:
        if through.revision <= self.compacted:
            raise errors.RevisionCompactedError(through.revision, self.compacted)
        gone, self.compacted = through.revision - self.compacted, through.revision
        self.events.append(("history.pruned", None))
        return gone

    def has(self, capsule_id: str) -> bool:
        return capsule_id in {*self.capsules, *self.uplinks.values(), *self.uuids.values()}

    def is_live(self, lease: UUID) -> bool:
        return lease in self.leases and self.leases[lease] > self.now

    def stands(self, uuid: UUID) -> bool:
        return uuid not in self.leased or self.is_live(self.leased[uuid])

    def is_allowed(self, uuid: UUID, topic: str) -> bool:
        owner = self.uuids.get(uuid) if self.stands(uuid) else None
        if owner not in self.capsules or self.states[owner] != "ready":
            return False
        return topic.split(".", maxsplit=1)[0] in self.capsules[owner].tool_names

    def of(self, owners: dict[UUID, str], capsule_id: str) -> list[UUID]:
        return [one for one, owner in owners.items() if owner == capsule_id]

    def _hold(self, lease: UUID | None) -> None:
        if lease is not None and not self.is_live(lease):
            raise errors.LeaseLostError(lease)

    def _declare(self, capsule: Capsule) -> None:
        for uplink_id in capsule.uplink_ids:
            self._file_uplink(uplink_id, capsule.id)
            self.declared.add(uplink_id)

    def _file_uplink(self, uplink_id: UUID, capsule_id: str) -> None:
        if uplink_id in self.uplinks:
            raise errors.UplinkAlreadyRegisteredError(uplink_id)
        self.uplinks[uplink_id] = capsule_id
        self.events.append(("uplink.registered", capsule_id))

    def _reserve(self, capsule_id: str) -> None:
        if not self.has(capsule_id):
            self.events.append(("capsule.reserved", capsule_id))

    def _release(self, owner: str | None) -> None:
        if owner is not None and not self.has(owner):
            self.events.append(("capsule.released", owner))

    def _drop(self, uuid: UUID) -> bool:
        owner = self.uuids.pop(uuid)
        self.leased.pop(uuid, None)
        self.events.append(("uuid.unregistered", owner))
        self._release(owner)
        return True

    def _end(self, lease: UUID, *actions: str) -> None:
        self.events += [(action, None) for action in actions]
        del self.leases[lease]
        for uuid in [one for one, holder in self.leased.items() if holder == lease]:
            self._drop(uuid)
