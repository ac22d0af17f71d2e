"""The verbs that change something, the same on a registry and in a transaction."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from capsule_registry import capsules, uplinks, uuids
from capsule_registry.candidates import Candidate
from capsule_registry.identifiers import CapsuleId, to_uuid
from capsule_registry.reader import RegistryReader

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterable
    from uuid import UUID

    from capsule_registry.descriptors import UplinkDescriptor
    from capsule_registry.instances import Instances
    from capsule_registry.manifest.manifest import CapsuleManifest
    from capsule_registry.records import Capsule, RegisteredCapsule
    from capsule_registry.unit import Unit

T = TypeVar("T")


class RegistryWriter(RegistryReader):
    """
    What can be changed.

    Each call is one unit: all of it is done, in one revision, or none of it. Nothing to change
    makes no revision.
    """

    _new_uuid: Callable[[], UUID]
    _instances: Instances

    @abstractmethod
    def _write(self, prepare: Callable[[], Callable[[Unit], T]]) -> T:
        """Return what `prepare()` gives, of a unit; what needs no database is done in *prepare*."""

    def register(
        self, capsule: Capsule | CapsuleManifest, *, uuids: Iterable[UUID | str] = ()
    ) -> RegisteredCapsule:
        """
        Register *capsule* with its tools, grants and declared uplinks, and file *uuids* under it.

        What was filed under its id before is adopted. Nothing of *capsule* is called but what
        `Capsule` names.

        Raises:
            CapsuleAlreadyRegisteredError: A capsule of that id is registered; none of *uuids* is
                filed.
            InvalidManifestError: The manifest breaks a rule, or holds what some database cannot.
            InvalidCapsuleIdError: The package name is no capsule id.
            InvalidUplinkSourceError: It has uplinks, and its id begins or ends with a hyphen.
            InvalidUuidError: One of *uuids* is a text that is no UUID.
        """

        def prepare() -> Callable[[Unit], RegisteredCapsule]:
            candidate = Candidate.of(capsule)
            return partial(self._register, candidate, [to_uuid(uuid) for uuid in uuids])

        return self._write(prepare)

    def _register(
        self, candidate: Candidate, session_uuids: builtins.list[UUID], unit: Unit
    ) -> RegisteredCapsule:
        record = capsules.register(unit, candidate, self._new_uuid)
        for uuid in session_uuids:
            uuids.register(unit, uuid, candidate.id)
        self._instances.add(unit, record, candidate.instance)
        return self._attached(record)

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
        """Remove everything in one revision, and return the capsules."""
        return self._write(lambda: lambda unit: [*map(self._attached, capsules.drain(unit))])

    def register_uuid(self, uuid: UUID | str, capsule_id: str) -> None:
        """
        File *uuid* under *capsule_id*, which need not be registered yet.

        A UUID that is filed elsewhere is pointed here instead; filed here already, nothing
        happens.

        Raises:
            InvalidUuidError: *uuid* is a text that is no UUID.
            InvalidCapsuleIdError: *capsule_id* is outside the grammar of ids, or too long.
        """
        self._write(
            lambda: partial(
                uuids.register, uuid=to_uuid(uuid), capsule_id=CapsuleId.storable(capsule_id)
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
