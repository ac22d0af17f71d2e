"""The verbs that change something, the same on a registry and in a transaction."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

from capsule_registry.api.open_lease import OpenLease
from capsule_registry.api.reads import RegistryReader
from capsule_registry.entities import capsules, leases, uplinks
from capsule_registry.entities import session_uuids as uuids
from capsule_registry.identifiers import CapsuleId, to_uuid
from capsule_registry.models.limits import check_text
from capsule_registry.models.new_capsule import Candidate, to_state

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterable, Sequence
    from uuid import UUID

    from capsule_registry.manifest.manifest import CapsuleManifest
    from capsule_registry.models.records import Capsule, CapsuleState, RegisteredCapsule
    from capsule_registry.models.uplink import UplinkDescriptor
    from capsule_registry.unit_of_work.unit import Unit

    #: A lease that UUIDs are to belong to, or its id.
    Held = OpenLease | UUID | str | None

T = TypeVar("T")


class RegistryWriter(RegistryReader):
    """
    What can be changed.

    Each call is one unit: all of it is done, in one revision, or none of it. Nothing to change
    makes no revision.
    """

    _new_uuid: Callable[[], UUID]

    @abstractmethod
    def _write(self, prepare: Callable[[], Callable[[Unit], T]]) -> T:
        """Return what `prepare()` gives, of a unit; what needs no database is done in *prepare*."""

    def register(
        self,
        capsule: Capsule | CapsuleManifest,
        *,
        uuids: Iterable[UUID | str] = (),
        lease: Held = None,
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

        def prepare() -> Callable[[Unit], RegisteredCapsule]:
            candidate, filed = Candidate.of(capsule), _Filing.of(uuids, lease)

            def work(unit: Unit) -> RegisteredCapsule:
                filed.hold(unit)
                [record] = capsules.register(unit, [candidate], self._new_uuid)
                filed.file(unit, candidate.id)
                return self._given(unit, record, candidate)

            return work

        return self._write(prepare)

    def _given(
        self, unit: Unit, record: RegisteredCapsule, candidate: Candidate
    ) -> RegisteredCapsule:
        self._instances.add(unit, record, candidate.instance)
        return self._attached(record)

    def replace(
        self,
        capsule: Capsule | CapsuleManifest,
        *,
        expected_generation: int | None = None,
        uuids: Iterable[UUID | str] = (),
        keep_uuids: bool = False,
        lease: Held = None,
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

        def prepare() -> Callable[[Unit], RegisteredCapsule]:
            candidate, filed = Candidate.of(capsule), _Filing.of(uuids, lease)

            def work(unit: Unit) -> RegisteredCapsule:
                filed.hold(unit)
                record = capsules.replace(unit, candidate, expected_generation, self._new_uuid)
                if not keep_uuids:
                    filed.retire_others(unit, candidate.id)
                filed.file(unit, candidate.id)
                return self._given(unit, record, candidate)

            return work

        return self._write(prepare)

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

        def prepare() -> Callable[[Unit], RegisteredCapsule]:
            check_text("state reason", reason)
            wanted, new = CapsuleId(capsule_id), to_state(state)
            return lambda unit: self._attached(capsules.set_state(unit, wanted, new, reason))

        return self._write(prepare)

    def unregister(self, capsule_id: str) -> RegisteredCapsule:
        """
        Remove the capsule with all its uplinks (declared or not) and UUIDs, and return it.

        Raises:
            CapsuleNotFoundError: It is not registered. What is filed under the id stays.
            InvalidCapsuleIdError: *capsule_id* is outside the grammar of ids.
        """

        def prepare() -> Callable[[Unit], RegisteredCapsule]:
            wanted = CapsuleId(capsule_id)
            return lambda unit: self._attached(capsules.unregister(unit, wanted))

        return self._write(prepare)

    def drain(self) -> builtins.list[RegisteredCapsule]:
        """Remove everything but leases in one revision, and return the capsules."""
        return self._write(lambda: lambda unit: [*map(self._attached, capsules.drain(unit))])

    def register_uuid(self, uuid: UUID | str, capsule_id: str, *, lease: Held = None) -> None:
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
            lambda: partial(
                uuids.register,
                uuid=to_uuid(uuid),
                capsule_id=CapsuleId.storable(capsule_id),
                lease_id=_lease_id(lease),
            )
        )

    def unregister_uuid(self, uuid: UUID | str) -> bool:
        """
        Remove *uuid*, and say whether it was filed.

        Raises:
            InvalidUuidError: *uuid* is a text that is no UUID.
        """
        return self._write(lambda: partial(uuids.unregister, uuid=to_uuid(uuid)))

    def register_uplink(self, capsule_id: str, descriptor: UplinkDescriptor) -> None:
        """
        File *descriptor* as it stands under *capsule_id*, which need not be registered yet.

        Raises:
            UplinkAlreadyRegisteredError: An uplink of that id is filed; its owner keeps it.
            InvalidCapsuleIdError: *capsule_id* is outside the grammar of ids, or too long.
            InvalidTextError: A text in it is one that not every database can hold.
        """
        self._write(
            lambda: partial(
                uplinks.register,
                capsule_id=CapsuleId.storable(capsule_id),
                descriptor=uplinks.storable(descriptor),
            )
        )

    def unregister_uplink(self, uplink_id: UUID | str) -> bool:
        """
        Remove the uplink, and say whether it was filed.

        Raises:
            InvalidUuidError: *uplink_id* is a text that is no UUID.
        """
        return self._write(lambda: partial(uplinks.unregister, uplink_id=to_uuid(uplink_id)))

    def unregister_capsule_uplinks(self, capsule_id: str) -> int:
        """
        Remove all uplinks filed under *capsule_id*, registered or not, and return how many.

        Raises:
            InvalidCapsuleIdError: *capsule_id* is outside the grammar of ids.
        """
        return self._write(
            lambda: partial(uplinks.unregister_of_capsule, capsule_id=CapsuleId(capsule_id))
        )


@dataclass(frozen=True, slots=True)
class _Filing:
    """UUIDs to be filed under a capsule, and the lease that they will belong to."""

    uuids: Sequence[UUID]
    lease_id: UUID | None

    @classmethod
    def of(cls, given: Iterable[UUID | str], lease: Held) -> Self:
        return cls([to_uuid(uuid) for uuid in given], _lease_id(lease))

    def hold(self, unit: Unit) -> None:
        if self.lease_id is not None:
            leases.hold(unit, self.lease_id)

    def retire_others(self, unit: Unit, capsule_id: CapsuleId) -> None:
        uuids.retire(unit, capsule_id, self.uuids)

    def file(self, unit: Unit, capsule_id: CapsuleId) -> None:
        for uuid in self.uuids:
            uuids.register(unit, uuid, capsule_id, self.lease_id)


def _lease_id(lease: Held) -> UUID | None:
    if lease is None:
        return None
    return lease.held_id if isinstance(lease, OpenLease) else to_uuid(lease)
