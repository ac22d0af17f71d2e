"""The write methods on capsules: register, replace, set the state, unregister."""

from __future__ import annotations

from abc import abstractmethod
from itertools import islice
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, Protocol, TypeVar

from capsule_registry.api.reads import Reads
from capsule_registry.entities import (
    capsules,
    generations,
    interfaces,
    leases,
    registration,
    session_uuids,
    tools,
    unregistration,
)
from capsule_registry.identifiers import CapsuleId, to_generation, to_uuid
from capsule_registry.models.new_capsule import NewCapsule, reported_tools, to_state
from capsule_registry.models.storable import storable_text
from capsule_registry.unit_of_work import namespaces
from capsule_registry.unit_of_work.known_keys import asking

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterable, Sequence
    from uuid import UUID

    from capsule_registry.manifest.manifest import CapsuleManifest
    from capsule_registry.manifest.parts import ToolDef
    from capsule_registry.models.records import Capsule, CapsuleState, RegisteredCapsule
    from capsule_registry.unit_of_work.queries import Row
    from capsule_registry.unit_of_work.unit import Unit

    class Held(Protocol):
        """A lease that this process holds."""

        @property
        def held_id(self) -> UUID:
            """The id, for writing through the lease."""

    #: The lease that UUIDs are to belong to, or its id.
    HeldLease = Held | UUID | str | None

P = ParamSpec("P")
T = TypeVar("T")

#: The most capsules, or lines of an export, in one revision outside a transaction.
MAX_PER_REVISION: Final = 1000


class CapsuleWrites(Reads):
    """The write methods on capsules; see `Writes`."""

    _new_uuid: Callable[[], UUID]
    #: The most items of a bulk call in one revision; `None` for no limit.
    _max_per_revision: int | None = MAX_PER_REVISION

    @abstractmethod
    def _write(
        self, work: Callable[Concatenate[Unit, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return `work(unit, *args, **kwargs)`."""

    @abstractmethod
    def _write_much(
        self, work: Callable[Concatenate[Unit, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do as `_write`, for work that others should not wait for."""

    def register(
        self,
        capsule: Capsule | CapsuleManifest,
        *,
        uuids: Iterable[UUID | str] = (),
        lease: HeldLease = None,
        if_same: bool = False,
    ) -> RegisteredCapsule:
        """
        Register *capsule* with its tools, grants and declared uplinks, and file *uuids* under it.

        What was filed under its id before is adopted. Of *capsule* only the members named by
        `Capsule` are used. With a *lease* the UUIDs belong to it.

        Args:
            capsule: What to register.
            uuids: The session UUIDs of it.
            lease: The lease that *uuids* belong to.
            if_same: If the very same manifest is registered already, leave it as it stands, and
                only file *uuids*.

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
        work = self._register_unless_same if if_same else self._register
        return self._write(work, new, self._uplink_ids(new), sessions, lease_id_of(lease))

    def _uplink_ids(self, new: NewCapsule) -> Sequence[UUID]:
        return [self._new_uuid() for _ in new.manifest.uplinks]

    def _register_unless_same(
        self,
        unit: Unit,
        new: NewCapsule,
        uplink_ids: Sequence[UUID],
        sessions: Sequence[UUID],
        lease_id: UUID | None,
    ) -> RegisteredCapsule:
        old, new = capsules.find_row(unit, new.id), new.judged_by(unit.runtime_version)
        if old is None or not registration.is_same(old, new):
            return self._register(unit, new, uplink_ids, sessions, lease_id)
        return self._keep(unit, old, new, sessions, lease_id)

    def _keep(
        self,
        unit: Unit,
        old: Row,
        new: NewCapsule,
        sessions: Sequence[UUID],
        lease_id: UUID | None,
    ) -> RegisteredCapsule:
        """File *sessions* under the capsule of the row *old*, which stays as it is."""
        for uuid in sessions:
            session_uuids.register(unit, uuid, new.id, lease_id)
        return self._objects.add_missing(unit, capsules.restored(old), new.instance)

    @asking(registration.keys_of_register)
    def _register(
        self,
        unit: Unit,
        new: NewCapsule,
        uplink_ids: Sequence[UUID],
        sessions: Sequence[UUID] = (),
        lease_id: UUID | None = None,
    ) -> RegisteredCapsule:
        if lease_id is not None:
            leases.hold(unit, lease_id)
        record = registration.register(unit, new, uplink_ids, sessions, lease_id)
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
            found += self._write_much(self._register_many, [*map(NewCapsule.of, batch)])
        return found

    def _register_many(
        self, unit: Unit, new: Sequence[NewCapsule]
    ) -> builtins.list[RegisteredCapsule]:
        records = registration.register_many(unit, new, self._new_uuid)
        return [
            self._objects.add(unit, record, one.instance)
            for record, one in zip(records, new, strict=True)
        ]

    def replace(  # noqa: PLR0913 - one keyword for each thing that can be chosen
        self,
        capsule: Capsule | CapsuleManifest,
        *,
        expected_generation: int | None = None,
        uuids: Iterable[UUID | str] = (),
        keep_uuids: bool = False,
        lease: HeldLease = None,
        if_same: bool = False,
        same_artifacts: bool = False,
        force: bool = False,
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
            if_same: If the very same manifest is registered, leave it as it stands, with all its
                session UUIDs, and only file *uuids*.
            same_artifacts: Refuse other hashes of files under the same version.
            force: Replace even the only one who exports what others import; see `unregister`.

        Raises:
            CapsuleNotFoundError: No capsule of that id is registered.
            StaleGenerationError: Not *expected_generation* but another, or nothing, is registered.
            ArtifactChangedError: A hash differs, and its version does not.
            SoleProviderError: Others import what nobody would export any more.
            InvalidManifestError, InvalidCapsuleIdError, InvalidUplinkSourceError, InvalidUuidError,
            UuidHeldError, LeaseLostError: As `register`.
        """
        given, sessions = NewCapsule.of(capsule), [to_uuid(uuid) for uuid in uuids]
        lease_id, generation = lease_id_of(lease), to_generation(expected_generation)

        def work(unit: Unit) -> RegisteredCapsule:
            if lease_id is not None:
                leases.hold(unit, lease_id)
            row = generations.expected_row(unit, given.id, generation)
            new = given.judged_by(unit.runtime_version)
            if if_same and registration.is_same(row, new):
                return self._keep(unit, row, new, sessions, lease_id)
            old = registration.Predecessor.of(row)
            if same_artifacts:
                registration.require_same_artifacts(old.manifest, new.manifest)
            if not force:
                interfaces.require_other_providers(unit, [old.manifest], [new.manifest])
            return self._replace(unit, old, new, sessions, lease_id, keep_uuids=keep_uuids)

        return self._write(work)

    def _replace(  # noqa: PLR0913 - what `replace` takes
        self,
        unit: Unit,
        old: registration.Predecessor,
        new: NewCapsule,
        sessions: Sequence[UUID],
        lease_id: UUID | None,
        *,
        keep_uuids: bool,
    ) -> RegisteredCapsule:
        if not keep_uuids:
            session_uuids.retire(unit, new.id, sessions)
        record = registration.replace(unit, old, new, self._new_uuid, sessions, lease_id)
        return self._objects.add(unit, record, new.instance)

    def set_state(
        self,
        capsule_id: str,
        state: CapsuleState | str,
        reason: str | None = None,
        *,
        expected_generation: int | None = None,
    ) -> RegisteredCapsule:
        """
        Set the capsule's state and its reason; every process sees it once this returns.

        Only a ready capsule is allowed anything. The generation stays. Setting the same state and
        reason again makes no revision.

        Raises:
            CapsuleNotFoundError: It is not registered.
            StaleGenerationError: Not *expected_generation* but another, or nothing, is registered.
            InvalidTextError: *state* is not a state, or not every database can store *reason*.
            InvalidCapsuleIdError: *capsule_id* is not a valid id.
        """
        text = storable_text("state reason", reason)
        wanted, new = CapsuleId(capsule_id), to_state(state)
        generation = to_generation(expected_generation)
        return self._write(self._set_state, wanted, new, text, generation)

    def _set_state(
        self,
        unit: Unit,
        capsule_id: CapsuleId,
        state: CapsuleState,
        reason: str | None,
        generation: int | None,
    ) -> RegisteredCapsule:
        generations.require(unit, capsule_id, generation)
        return self._objects.attach(registration.set_state(unit, capsule_id, state, reason), unit)

    def report_tools(
        self,
        capsule_id: str,
        tools: Iterable[ToolDef | object],
        *,
        expected_generation: int | None = None,
    ) -> RegisteredCapsule:
        """
        File the *tools* that the running capsule has reported, in place of those before.

        Those of its manifest of the same names give way to them; if there are none at all, it is
        known to have none. The same again makes no revision. The generation stays.

        Args:
            capsule_id: The capsule.
            tools: Each a `ToolDef`, or a mapping of `name`, `description` and `input_schema`.
            expected_generation: Only if this generation is registered.

        Raises:
            CapsuleNotFoundError: It is not registered.
            InvalidManifestError: One of *tools* is none, or cannot be stored.
            StaleGenerationError: Not *expected_generation* but another, or nothing, is registered.
            InvalidCapsuleIdError: *capsule_id* is not a valid id.
        """
        wanted, found = CapsuleId(capsule_id), reported_tools(tools)
        generation = to_generation(expected_generation)
        return self._write(self._report_tools, wanted, found, generation)

    def _report_tools(
        self,
        unit: Unit,
        capsule_id: CapsuleId,
        found: Sequence[ToolDef],
        generation: int | None,
    ) -> RegisteredCapsule:
        generations.require(unit, capsule_id, generation)
        return self._objects.attach(tools.report(unit, capsule_id, found), unit)

    def unregister(
        self, capsule_id: str, *, expected_generation: int | None = None, force: bool = False
    ) -> RegisteredCapsule:
        """
        Remove the capsule with all its uplinks (declared or not) and UUIDs, and return it.

        Args:
            capsule_id: The capsule.
            expected_generation: Only if this generation is registered.
            force: Remove it even if it is the only one who exports an interface that another one
                imports, be it optionally or in another version. Source: astrid 010d22d.

        Raises:
            CapsuleNotFoundError: It is not registered. What is filed under the id stays.
            StaleGenerationError: Not *expected_generation* but another, or nothing, is registered.
            SoleProviderError: Others import what nobody would export any more.
            InvalidCapsuleIdError: *capsule_id* is not a valid id.
        """
        wanted, generation = CapsuleId(capsule_id), to_generation(expected_generation)
        return self._write(self._unregister, wanted, generation, force=force)

    def _unregister(
        self, unit: Unit, capsule_id: CapsuleId, generation: int | None, *, force: bool
    ) -> RegisteredCapsule:
        record = unregistration.unregister(unit, capsule_id, generation, force=force)
        return self._objects.remove(unit, record)

    def drain(self) -> builtins.list[RegisteredCapsule]:
        """Remove everything but leases in one revision, and return the capsules."""
        return self._write_much(self._drain)

    def _drain(self, unit: Unit) -> builtins.list[RegisteredCapsule]:
        return [self._objects.remove(unit, record) for record in unregistration.drain(unit)]

    @property
    def runtime_version(self) -> str | None:
        """
        The runtime by whose rules all capsules are read and judged; `None`: each in its own form.

        A manifest is to be parsed with it: `CapsuleManifest.load(path, runtime_version=…)`.
        """
        return self._read(namespaces.head).runtime_version


def lease_id_of(lease: HeldLease) -> UUID | None:
    """Return the id of the lease that a caller names, if any."""
    if lease is None:
        return None
    held: UUID | None = getattr(lease, "held_id", None)
    return to_uuid(lease) if held is None else held
