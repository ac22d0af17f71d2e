"""The write methods, shared by the registry and its transactions."""

from __future__ import annotations

from abc import abstractmethod
from itertools import islice
from operator import index
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar

from capsule_registry.api.leases import OpenLease
from capsule_registry.api.reads import Reads
from capsule_registry.entities import (
    export_import,
    leases,
    registration,
    session_uuids,
    sync,
    unregistration,
    uplinks,
)
from capsule_registry.identifiers import CapsuleId, to_uuid
from capsule_registry.models.new_capsule import NewCapsule, to_state
from capsule_registry.models.storable import storable_text
from capsule_registry.unit_of_work import namespaces

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

    #: The lease that UUIDs are to belong to, or its id.
    HeldLease = OpenLease | UUID | str | None

P = ParamSpec("P")
T = TypeVar("T")

#: The most capsules, or lines of an export, in one revision outside a transaction.
MAX_PER_REVISION: Final = 1000


class Writes(Reads):
    """
    The write methods.

    Each call is all or nothing, in one revision; if nothing changes, there is none. Arguments are
    checked first: an invalid one changes nothing.
    """

    _new_uuid: Callable[[], UUID]
    #: The most items of a bulk call in one revision; `None` for no limit.
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

        What was filed under its id before is adopted. Of *capsule* only the members named by
        `Capsule` are used. With a *lease* the UUIDs belong to it.

        Raises:
            CapsuleAlreadyRegisteredError: The id is registered; none of *uuids* is filed.
            InvalidManifestError: The manifest breaks a rule, or not every database can store it.
            InvalidCapsuleIdError: The package name is not a valid id.
            InvalidUplinkSourceError: It has uplinks, and its id begins or ends with a hyphen.
            InvalidUuidError: One of *uuids* is a string but not a UUID.
            UuidHeldError: Another live lease holds one of *uuids*.
            LeaseLostError: *lease* has expired, or was closed.
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

        Outside a transaction, each thousand is a revision of its own: an error rolls back its
        own thousand, while earlier ones stay. *given* is consumed lazily.

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
        Replace the capsule registered under the same id by *capsule*, in one revision.

        Nobody ever sees the capsule missing, or a mix of both. Manifest, tools, grants and declared
        uplinks are the new ones; uplinks filed by hand stay. It gets a new generation, and keeps
        its place in the order, and its state unless *capsule* names one.

        Args:
            capsule: What to register; see `register`.
            expected_generation: Replace only this generation.
            uuids: The session UUIDs of the new one.
            keep_uuids: Keep the old one's too; otherwise they are removed, even those that other
                processes' leases hold.
            lease: The lease that *uuids* belong to.

        Raises:
            CapsuleNotFoundError: No capsule of that id is registered.
            StaleGenerationError: Not *expected_generation* but another, or nothing, is registered.
            InvalidManifestError, InvalidCapsuleIdError, InvalidUplinkSourceError, InvalidUuidError,
            UuidHeldError, LeaseLostError: As `register`.
        """
        new, sessions = NewCapsule.of(capsule), [to_uuid(uuid) for uuid in uuids]
        lease_id = _lease_id(lease)
        generation = None if expected_generation is None else index(expected_generation)

        def work(unit: Unit) -> RegisteredCapsule:
            if lease_id is not None:
                leases.hold(unit, lease_id)
            if not keep_uuids:
                session_uuids.retire(unit, new.id, sessions)
            record = registration.replace(unit, new, self._new_uuid, generation, sessions, lease_id)
            return self._objects.add(unit, record, new.instance)

        return self._write(work)

    def set_state(
        self, capsule_id: str, state: CapsuleState | str, reason: str | None = None
    ) -> RegisteredCapsule:
        """
        Set the capsule's state and its reason; every process sees it once this returns.

        Only a ready capsule is allowed anything. The generation stays. Setting the same state and
        reason again makes no revision.

        Raises:
            CapsuleNotFoundError: It is not registered.
            InvalidTextError: *state* is not a state, or not every database can store *reason*.
            InvalidCapsuleIdError: *capsule_id* is not a valid id.
        """
        text = storable_text("state reason", reason)
        wanted, new = CapsuleId(capsule_id), to_state(state)
        return self._write(self._set_state, wanted, new, text)

    def _set_state(
        self, unit: Unit, capsule_id: CapsuleId, state: CapsuleState, reason: str | None
    ) -> RegisteredCapsule:
        return self._objects.attach(registration.set_state(unit, capsule_id, state, reason), unit)

    def unregister(self, capsule_id: str) -> RegisteredCapsule:
        """
        Remove the capsule with all its uplinks (declared or not) and UUIDs, and return it.

        Raises:
            CapsuleNotFoundError: It is not registered. What is filed under the id stays.
            InvalidCapsuleIdError: *capsule_id* is not a valid id.
        """
        return self._write(self._unregister, CapsuleId(capsule_id))

    def _unregister(self, unit: Unit, capsule_id: CapsuleId) -> RegisteredCapsule:
        return self._objects.remove(unit, unregistration.unregister(unit, capsule_id))

    def drain(self) -> builtins.list[RegisteredCapsule]:
        """Remove everything but leases in one revision, and return the capsules."""
        return self._write(self._drain)

    def _drain(self, unit: Unit) -> builtins.list[RegisteredCapsule]:
        return [self._objects.remove(unit, record) for record in unregistration.drain(unit)]

    @property
    def runtime_version(self) -> str | None:
        """
        The runtime by whose rules all capsules are read and judged; `None`: each in its own form.

        A manifest is to be parsed with it: `CapsuleManifest.load(path, runtime_version=…)`.
        """
        return self._read(namespaces.head).runtime_version

    # Session UUIDs

    def register_uuid(self, uuid: UUID | str, capsule_id: str, *, lease: HeldLease = None) -> None:
        """
        File *uuid* under *capsule_id*, which need not be registered yet.

        A UUID filed under another id is moved; filed here already, nothing happens. With a *lease*
        it belongs to that, and is removed with it.

        Raises:
            InvalidUuidError: *uuid* is a string but not a UUID.
            InvalidCapsuleIdError: *capsule_id* is not a valid id, or too long.
            UuidHeldError: Another live lease holds the UUID.
            LeaseLostError: *lease* has expired, or was closed.
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
            InvalidUuidError: *uuid* is a string but not a UUID.
        """
        return self._write(session_uuids.unregister, to_uuid(uuid))

    # Uplinks

    def register_uplink(self, capsule_id: str, descriptor: UplinkDescriptor) -> None:
        """
        File *descriptor* unchanged under *capsule_id*, which need not be registered yet.

        Raises:
            UplinkAlreadyRegisteredError: An uplink of that id is filed; its owner keeps it.
            InvalidCapsuleIdError: *capsule_id* is not a valid id, or too long.
            InvalidTextError: Not every database can store a string in it.
        """
        owner = CapsuleId.storable(capsule_id)
        self._write(uplinks.register, owner, uplinks.storable(descriptor))

    def unregister_uplink(self, uplink_id: UUID | str) -> bool:
        """
        Remove the uplink, and return whether it was filed.

        Raises:
            InvalidUuidError: *uplink_id* is a string but not a UUID.
        """
        return self._write(uplinks.unregister, to_uuid(uplink_id))

    def unregister_capsule_uplinks(self, capsule_id: str) -> int:
        """
        Remove all uplinks filed under *capsule_id*, registered or not, and return how many.

        Raises:
            InvalidCapsuleIdError: *capsule_id* is not a valid id.
        """
        return self._write(uplinks.unregister_of_capsule, CapsuleId(capsule_id))

    # Bulk

    def import_lines(self, lines: Iterable[str]) -> int:
        """
        Register what `export_lines` yielded; return the number of capsules, uplinks and UUIDs.

        Outside a transaction, each thousand is a revision of its own: an error rolls back its
        own thousand, while earlier ones stay. *lines* are consumed lazily.

        Raises:
            InvalidTextError: A line is not one of an export or has over 2 MiB, or the last one is
                missing.
            ConflictError: Something is registered already.
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
        Register the new capsules of *directory*, and replace those whose manifest differs.

        All in one revision, or none if nothing changes. An unusable manifest stops no other, and
        its capsule is neither changed nor removed. Of several manifests of one id none is used.
        Session UUIDs of replaced capsules are removed.

        Args:
            directory: See `discover`.
            prune: Unregister capsules that are not in *directory*.
            dry_run: Change nothing, and return what would be done.

        Raises:
            OSError: *directory* does not exist, or cannot be listed.
        """
        desired = sync.read(directory, self.runtime_version)
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
