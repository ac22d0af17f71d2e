"""The write methods, shared by the registry and its transactions."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING

from capsule_registry.api.capsule_writes import lease_id_of
from capsule_registry.api.generation_writes import GenerationWrites
from capsule_registry.entities import export_import, session_uuids, sync, uplinks
from capsule_registry.identifiers import CapsuleId, to_generation, to_uuid

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike
    from uuid import UUID

    from capsule_registry.api.capsule_writes import HeldLease
    from capsule_registry.entities.sync import Desired, SyncPlan
    from capsule_registry.models.uplink import UplinkDescriptor
    from capsule_registry.unit_of_work.unit import Unit


class Writes(GenerationWrites):
    """
    The write methods.

    Each call is all or nothing, in one revision; if nothing changes, there is none. Arguments are
    checked first: an invalid one changes nothing.
    """

    # Session UUIDs

    def register_uuid(
        self,
        uuid: UUID | str,
        capsule_id: str,
        *,
        lease: HeldLease = None,
        expected_generation: int | None = None,
    ) -> None:
        """
        File *uuid* under *capsule_id*, which need not be registered yet.

        A UUID filed under another id is moved; filed here already, nothing happens. With a *lease*
        it belongs to that, and is removed with it. With an *expected_generation* it is filed only
        if that is registered.

        Raises:
            StaleGenerationError: Not *expected_generation* but another, or nothing, is registered.
            InvalidUuidError: *uuid* is a string but not a UUID.
            InvalidCapsuleIdError: *capsule_id* is not a valid id, or too long.
            UuidHeldError: Another live lease holds the UUID.
            LeaseLostError: *lease* has expired, or was closed.
        """
        self._write(
            session_uuids.register,
            to_uuid(uuid),
            CapsuleId.storable(capsule_id),
            lease_id_of(lease),
            to_generation(expected_generation),
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
            self._write_much(export_import.restore, batch)
            count += len(batch)
        return count

    def sync(
        self,
        manifests: str | PathLike[str] | Mapping[str, str],
        *,
        prune: bool = False,
        dry_run: bool = False,
        refuse_new_rights: bool = False,
        force: bool = False,
    ) -> SyncPlan:
        """
        Register the new capsules of *manifests*, and replace those whose manifest differs.

        All in one revision, or none if nothing changes. An unusable manifest stops no other, and
        its capsule is neither changed nor removed. Of several manifests of one id none is used.
        Session UUIDs of replaced capsules are removed.

        Args:
            manifests: A directory, see `discover`; or the texts of manifests, by what to call them.
            prune: Unregister capsules that are not among *manifests*.
            dry_run: Change nothing, and return what would be done.
            refuse_new_rights: Do nothing if a capsule would have a right that it has not now.
            force: Remove even the only one who exports what others import.

        Raises:
            NewRightsError: There are new rights, and they are to be refused.
            SoleProviderError: Others import what nobody would export; see `unregister`.
            OSError: The directory does not exist, or cannot be listed.
        """
        if isinstance(manifests, Mapping):
            desired = sync.given(manifests, self.runtime_version)
        else:
            desired = sync.read(manifests, self.runtime_version)
        if dry_run:
            return self._read_at_one_moment(sync.plan, desired, prune=prune)
        return self._write_much(
            self._sync, desired, prune=prune, refuse_new_rights=refuse_new_rights, force=force
        )

    def _sync(
        self, unit: Unit, desired: Desired, *, prune: bool, refuse_new_rights: bool, force: bool
    ) -> SyncPlan:
        planned = sync.plan(unit, desired, prune=prune)
        if refuse_new_rights:
            planned.refuse_new_rights()
        applied = sync.apply(unit, desired, planned, self._new_uuid, force=force)
        for record in applied.removed:
            self._objects.remove(unit, record)
        for record, new in applied.made:
            self._objects.add(unit, record, new.instance)
        return applied.plan
