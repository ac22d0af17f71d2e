"""The verbs that change something, the same on a registry and in a transaction."""

from __future__ import annotations

from abc import abstractmethod
from itertools import islice
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar

from capsule_registry.api.leases import OpenLease
from capsule_registry.api.reads import Reads
from capsule_registry.entities import (
    export_import,
    leases,
    registration,
    session_uuids,
    sync,
    uplinks,
)
from capsule_registry.identifiers import CapsuleId, to_uuid
from capsule_registry.models.limits import require_storable_text
from capsule_registry.models.new_capsule import NewCapsule, to_state

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterable, Sequence
    from os import PathLike
    from uuid import UUID

    from capsule_registry.entities.sync import Desired, SyncPlan
    from capsule_registry.manifest.manifest import CapsuleManifest
    from capsule_registry.models.records import Capsule, CapsuleState, RegisteredCapsule
    from capsule_registry.models.uplink import UplinkDescriptor
    from capsule_registry.unit_of_work.unit import Unit

    #: A lease that UUIDs are to belong to, or its id.
    HeldLease = OpenLease | UUID | str | None

P = ParamSpec("P")
T = TypeVar("T")

#: At most so many capsules, or lines of an export, make one revision outside of a transaction.
MAX_PER_REVISION: Final = 1000


class Writes(Reads):
    """
    What can be changed.

    Each call is one unit: all of it is done, in one revision, or none of it. Nothing to change
    makes no revision. Arguments are checked first: one that is refused has done nothing.
    """

    _new_uuid: Callable[[], UUID]
    #: How many of many things go into one revision; `None` for all.
    _max_per_revision: int | None = MAX_PER_REVISION

    @abstractmethod
    def _write(
        self, work: Callable[Concatenate[Unit, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return `work(unit, *args, **kwargs)`."""

    # Capsules

    def register(
        self,
        capsule: Capsule | CapsuleManifest,
        *,
        uuids: Iterable[UUID | str] = (),
        lease: HeldLease = None,
    ) -> RegisteredCapsule:
        """
        Register *capsule* with its tools, grants and declared uplinks, and file *uuids* under it.

        What was filed under its id before is adopted. Nothing of *capsule* is called but what
        `Capsule` names. With a *lease* the UUIDs belong to it.

        Raises:
            CapsuleAlreadyRegisteredError: A capsule of that id is registered; none of *uuids* is
                filed.
            InvalidManifestError: The manifest breaks a rule, or holds what some database cannot.
            InvalidCapsuleIdError: The package name is no capsule id.
            InvalidUplinkSourceError: It has uplinks, and its id begins or ends with a hyphen.
            InvalidUuidError: One of *uuids* is a text that is no UUID.
            UuidHeldError: Another live lease holds one of *uuids*.
            LeaseLostError: *lease* has run out, or was closed.
        """
        new, sessions = NewCapsule.of(capsule), [to_uuid(uuid) for uuid in uuids]
        return self._write(self._register, new, sessions, _lease_id(lease))

    def _register(
        self, unit: Unit, new: NewCapsule, sessions: Sequence[UUID], lease_id: UUID | None
    ) -> RegisteredCapsule:
        if lease_id is not None:
            leases.hold(unit, lease_id)
        record = registration.register(unit, new, self._new_uuid, sessions, lease_id)
        return self._objects.add(unit, record, new.instance)

    def register_many(
        self, given: Iterable[Capsule | CapsuleManifest]
    ) -> builtins.list[RegisteredCapsule]:
        """
        Register each of *given*, in order, as `register` does, and return them.

        At most a thousand make one revision, unless inside a transaction: an error undoes those of
        its own revision, and those of the ones before it stay. *given* is read as it is needed.

        Raises:
            CapsuleAlreadyRegisteredError, InvalidManifestError, InvalidCapsuleIdError,
            InvalidUplinkSourceError: As `register`.
        """
        waiting = iter(given)
        found: builtins.list[RegisteredCapsule] = []
        while batch := [*islice(waiting, self._max_per_revision)]:
            found += self._write(self._register_many, [*map(NewCapsule.of, batch)])
        return found

    def _register_many(
        self, unit: Unit, new: Sequence[NewCapsule]
    ) -> builtins.list[RegisteredCapsule]:
        records = registration.register_many(unit, new, self._new_uuid)
        return [
            self._objects.add(unit, record, one.instance)
            for record, one in zip(records, new, strict=True)
        ]

    def replace(
        self,
        capsule: Capsule | CapsuleManifest,
        *,
        expected_generation: int | None = None,
        uuids: Iterable[UUID | str] = (),
        keep_uuids: bool = False,
        lease: HeldLease = None,
    ) -> RegisteredCapsule:
        """
        Put *capsule* in the place of the one that is registered under its id, in one revision.

        Nobody ever sees the capsule missing, or half of each. Manifest, tools, grants and declared
        uplinks are the new ones; uplinks filed by hand stay. It keeps its place in the order, its
        state too unless *capsule* names one, and has a new generation.

        Args:
            capsule: What to register; see `register`.
            expected_generation: Only if this is what stands there.
            uuids: The session UUIDs of the new one.
            keep_uuids: Keep those of the old one too; else they are removed, those that other
                processes' leases hold included.
            lease: That *uuids* belong to.

        Raises:
            CapsuleNotFoundError: No capsule of that id is registered.
            StaleGenerationError: Another generation than *expected_generation* stands there, or
                none.
            InvalidManifestError, InvalidCapsuleIdError, InvalidUplinkSourceError, InvalidUuidError,
            UuidHeldError, LeaseLostError: As `register`.
        """
        new, sessions = NewCapsule.of(capsule), [to_uuid(uuid) for uuid in uuids]
        lease_id = _lease_id(lease)

        def work(unit: Unit) -> RegisteredCapsule:
            if lease_id is not None:
                leases.hold(unit, lease_id)
            record = registration.replace(unit, new, expected_generation, self._new_uuid)
            if not keep_uuids:
                session_uuids.retire(unit, new.id, sessions)
            for uuid in sessions:
                session_uuids.register(unit, uuid, new.id, lease_id)
            return self._objects.add(unit, record, new.instance)

        return self._write(work)

    def set_state(
        self, capsule_id: str, state: CapsuleState | str, reason: str | None = None
    ) -> RegisteredCapsule:
        """
        Set the state of the capsule, and why; it is visible to every process when this returns.

        Only a capsule that is ready is allowed anything. Its generation stays. The state that it
        has already, for the same reason, makes no revision.

        Raises:
            CapsuleNotFoundError: It is not registered.
            InvalidTextError: *state* is no state, or *reason* a text that no database can hold.
            InvalidCapsuleIdError: *capsule_id* is outside the grammar of ids.
        """
        require_storable_text("state reason", reason)
        wanted, new = CapsuleId(capsule_id), to_state(state)
        return self._attached(self._write(registration.set_state, wanted, new, reason))

    def unregister(self, capsule_id: str) -> RegisteredCapsule:
        """
        Remove the capsule with all its uplinks (declared or not) and UUIDs, and return it.

        Raises:
            CapsuleNotFoundError: It is not registered. What is filed under the id stays.
            InvalidCapsuleIdError: *capsule_id* is outside the grammar of ids.
        """
        return self._write(self._unregister, CapsuleId(capsule_id))

    def _unregister(self, unit: Unit, capsule_id: CapsuleId) -> RegisteredCapsule:
        return self._objects.remove(unit, registration.unregister(unit, capsule_id))

    def drain(self) -> builtins.list[RegisteredCapsule]:
        """Remove everything but leases in one revision, and return the capsules."""
        return self._write(self._drain)

    def _drain(self, unit: Unit) -> builtins.list[RegisteredCapsule]:
        return [self._objects.remove(unit, record) for record in registration.drain(unit)]

    # Session UUIDs

    def register_uuid(self, uuid: UUID | str, capsule_id: str, *, lease: HeldLease = None) -> None:
        """
        File *uuid* under *capsule_id*, which need not be registered yet.

        A UUID that is filed elsewhere is pointed here instead; filed here already, nothing
        happens. With a *lease* it belongs to that, and goes with it.

        Raises:
            InvalidUuidError: *uuid* is a text that is no UUID.
            InvalidCapsuleIdError: *capsule_id* is outside the grammar of ids, or too long.
            UuidHeldError: Another live lease holds the UUID.
            LeaseLostError: *lease* has run out, or was closed.
        """
        self._write(
            session_uuids.register,
            to_uuid(uuid),
            CapsuleId.storable(capsule_id),
            _lease_id(lease),
        )

    def unregister_uuid(self, uuid: UUID | str) -> bool:
        """
        Remove *uuid*, and return whether it was filed.

        Raises:
            InvalidUuidError: *uuid* is a text that is no UUID.
        """
        return self._write(session_uuids.unregister, to_uuid(uuid))

    # Uplinks

    def register_uplink(self, capsule_id: str, descriptor: UplinkDescriptor) -> None:
        """
        File *descriptor* as it stands under *capsule_id*, which need not be registered yet.

        Raises:
            UplinkAlreadyRegisteredError: An uplink of that id is filed; its owner keeps it.
            InvalidCapsuleIdError: *capsule_id* is outside the grammar of ids, or too long.
            InvalidTextError: A text in it is one that not every database can hold.
        """
        owner = CapsuleId.storable(capsule_id)
        self._write(uplinks.register, owner, uplinks.storable(descriptor))

    def unregister_uplink(self, uplink_id: UUID | str) -> bool:
        """
        Remove the uplink, and return whether it was filed.

        Raises:
            InvalidUuidError: *uplink_id* is a text that is no UUID.
        """
        return self._write(uplinks.unregister, to_uuid(uplink_id))

    def unregister_capsule_uplinks(self, capsule_id: str) -> int:
        """
        Remove all uplinks filed under *capsule_id*, registered or not, and return how many.

        Raises:
            InvalidCapsuleIdError: *capsule_id* is outside the grammar of ids.
        """
        return self._write(uplinks.unregister_of_capsule, CapsuleId(capsule_id))

    # Many at once

    def import_lines(self, lines: Iterable[str]) -> int:
        """
        Register what `export_lines` has yielded, somewhere or at some time; return how much.

        That is the count of capsules, uplinks and UUIDs. At most a thousand of them make one
        revision, unless inside a transaction: an error undoes those of its own revision, and those
        of the ones before it stay. *lines* are read as they are needed.

        Raises:
            InvalidTextError: A line is none of an export, or the last one is missing.
            ConflictError: It is registered already.
            InvalidInputError: As `register`.
        """
        read, count = export_import.read(lines), 0
        while batch := [*islice(read, self._max_per_revision)]:
            self._write(export_import.restore, batch)
            count += len(batch)
        return count

    def sync(
        self, directory: str | PathLike[str], *, prune: bool = False, dry_run: bool = False
    ) -> SyncPlan:
        """
        Register the capsules of *directory* that are new, replace those whose manifest differs.

        All in one revision; nothing to change makes none. A manifest that cannot be used stops no
        other, and changes nothing of its own capsule, nor has that removed. Of several manifests of
        one id none is used. Session UUIDs of a capsule that is replaced are removed.

        Args:
            directory: See `discover`.
            prune: Unregister what is registered and not in *directory*.
            dry_run: Change nothing, and return what would be done.

        Raises:
            OSError: *directory* does not exist, or cannot be listed.
        """
        desired = sync.read(directory)
        if dry_run:
            return self._read_at_one_moment(sync.plan, desired, prune=prune)
        return self._write(self._sync, desired, prune=prune)

    def _sync(self, unit: Unit, desired: Desired, *, prune: bool) -> SyncPlan:
        applied = sync.apply(unit, desired, self._new_uuid, prune=prune)
        for record in applied.removed:
            self._objects.remove(unit, record)
        for record, new in applied.made:
            self._objects.add(unit, record, new.instance)
        return applied.plan


def _lease_id(lease: HeldLease) -> UUID | None:
    if lease is None:
        return None
    return lease.held_id if isinstance(lease, OpenLease) else to_uuid(lease)
