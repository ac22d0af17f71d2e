"""Register and replace capsules, with everything that belongs to them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from capsule_registry.entities import (
    capsules,
    derived_rows,
    session_uuids,
    uplinks,
)
from capsule_registry.entities.reservations import find_row
from capsule_registry.errors import (
    ArtifactChangedError,
    CapsuleAlreadyRegisteredError,
    UplinkAlreadyRegisteredError,
)
from capsule_registry.manifest.artifacts import artifacts_of
from capsule_registry.manifest.comparison import compared
from capsule_registry.models.new_capsule import json_of_tools, tools_of_json
from capsule_registry.models.records import CapsuleState
from capsule_registry.schema import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from uuid import UUID

    from capsule_registry.identifiers import CapsuleId
    from capsule_registry.manifest.manifest import CapsuleManifest
    from capsule_registry.models.new_capsule import NewCapsule
    from capsule_registry.models.records import RegisteredCapsule
    from capsule_registry.unit_of_work.known_keys import Keys
    from capsule_registry.unit_of_work.queries import Row
    from capsule_registry.unit_of_work.unit import Unit

    NewUuid = Callable[[], UUID]


@dataclass(frozen=True, slots=True)
class ExistingKeys:
    """The keys of new capsules that already exist, found in one query, and those taken since."""

    #: Ids, reserved ones included.
    capsules: set[str]
    manifests: set[str]
    uplinks: set[UUID]
    uuid_mappings: set[UUID]

    @classmethod
    def find(
        cls,
        unit: Unit,
        new: Sequence[NewCapsule],
        uplink_ids: Iterable[UUID] = (),
        uuids: Sequence[UUID] = (),
    ) -> Self:
        """Return which ids and digests of *new* exist, and which of *uplink_ids* and *uuids*."""
        found = unit.existing(_keys(new, [*uplink_ids], uuids))
        return cls(**{table.name: keys for table, keys in found.items()})

    def take_uplinks(self, ids: Iterable[UUID]) -> None:
        """
        Add *ids*.

        Raises:
            UplinkAlreadyRegisteredError: One of them already exists.
        """
        for uplink_id in ids:
            if uplink_id in self.uplinks:
                raise UplinkAlreadyRegisteredError(uplink_id)
            self.uplinks.add(uplink_id)


def _keys(new: Sequence[NewCapsule], uplink_ids: Sequence[UUID], uuids: Sequence[UUID]) -> Keys:
    return {
        tables.capsules: [one.id for one in new],
        tables.manifests: [one.digest for one in new],
        tables.uplinks: uplink_ids,
        tables.uuid_mappings: uuids,
    }


def keys_of_register(
    new: NewCapsule, uplink_ids: Sequence[UUID], uuids: Sequence[UUID], *_: object
) -> Keys:
    """Return the keys that `register` asks for."""
    return _keys([new], uplink_ids, uuids)


def register(
    unit: Unit,
    new: NewCapsule,
    uplink_ids: Sequence[UUID],
    uuids: Sequence[UUID] = (),
    lease_id: UUID | None = None,
) -> RegisteredCapsule:
    """Register *new* as `register_many` does, with those ids, and file *uuids* under it."""
    new = new.judged_by(unit.runtime_version)
    existing = ExistingKeys.find(unit, [new], uplink_ids, uuids)
    record = _register(unit, new, uplink_ids, existing)
    session_uuids.file(unit, uuids, new.id, lease_id, existing.uuid_mappings)
    return record


def register_many(
    unit: Unit, new: Sequence[NewCapsule], new_uuid: NewUuid
) -> list[RegisteredCapsule]:
    """
    Register *new*, in order, with their tools, grants and declared uplinks.

    The reservation of an id becomes its registration, which adopts what is filed under it.
    """
    new = [one.judged_by(unit.runtime_version) for one in new]
    declared = [[new_uuid() for _ in one.manifest.uplinks] for one in new]
    existing = ExistingKeys.find(unit, new, chain.from_iterable(declared))
    return [
        _register(unit, one, uplink_ids, existing)
        for one, uplink_ids in zip(new, declared, strict=True)
    ]


def restore(unit: Unit, new: Sequence[NewCapsule]) -> None:
    """Register *new* without their declared uplinks, which `uplinks.restore` files."""
    new = [one.judged_by(unit.runtime_version) for one in new]
    existing = ExistingKeys.find(unit, new)
    for one in new:
        _insert(unit, one, existing)


def _register(
    unit: Unit, new: NewCapsule, uplink_ids: Sequence[UUID], existing: ExistingKeys
) -> RegisteredCapsule:
    row = _insert(unit, new, existing)
    _declare_uplinks(unit, new, uplink_ids, existing)
    unit.log(logging.INFO, "Registered capsule", capsule_id=str(new.id))
    return capsules.record_of(row, new.manifest)


def _insert(unit: Unit, new: NewCapsule, existing: ExistingKeys) -> Row:
    old = find_row(unit, new.id) if new.id in existing.capsules else None
    if old is not None and old["registered_at"] is not None:
        raise CapsuleAlreadyRegisteredError(str(new.id))
    row = _new_row(unit, new)
    _keep_manifest(unit, new, existing)
    added = compared(None, new.manifest, reported=(None, new.reported_tools)).to_json()
    if old is None:
        inserted = {**row, "created_revision": unit.revision}
        unit.insert(tables.capsules, [inserted], "capsule.registered", added)
    else:
        unit.update(tables.capsules, old, row, "capsule.registered", added)
    existing.capsules.add(new.id)
    derived_rows.write(unit, row, new.manifest, new.reported_tools)
    return row


def _declare_uplinks(
    unit: Unit, new: NewCapsule, uplink_ids: Sequence[UUID], existing: ExistingKeys
) -> None:
    if uplink_ids:
        existing.take_uplinks(uplink_ids)
        uplinks.declare(unit, new.id, new.manifest.uplinks, uplink_ids)


def _keep_manifest(unit: Unit, new: NewCapsule, existing: ExistingKeys) -> None:
    """Store the text of the manifest, unless it is stored already."""
    if new.digest not in existing.manifests:
        row = {
            "namespace": unit.namespace,
            "digest": new.digest,
            "format": new.manifest.format,
            "text": new.manifest.text,
        }
        unit.buffer.insert(tables.manifests, [row])
        existing.manifests.add(new.digest)


class Predecessor(NamedTuple):
    """What is registered, and is to be replaced: its row, and its manifest."""

    row: Row
    manifest: CapsuleManifest

    @classmethod
    def of(cls, row: Row) -> Self:
        """Return the capsule of *row*."""
        return cls(row, capsules.restored(row).manifest)


def replace(  # noqa: PLR0913, PLR0917 - what `Writes.replace` takes
    unit: Unit,
    old: Predecessor,
    new: NewCapsule,
    new_uuid: NewUuid,
    uuids: Sequence[UUID] = (),
    lease_id: UUID | None = None,
) -> RegisteredCapsule:
    """
    Replace *old* by *new*, which keeps its place in the order.

    Declared uplinks are those of the new manifest; uplinks filed by hand stay, and so do session
    UUIDs, beside which *uuids* are filed.
    """
    new = new.judged_by(unit.runtime_version)
    uplinks.withdraw(unit, new.id)
    uplink_ids = [new_uuid() for _ in new.manifest.uplinks]
    existing = ExistingKeys.find(unit, [new], uplink_ids, uuids)
    kept = ["registered_revision", "position"]
    if new.state is None:  # Not given: the state that was set remains.
        kept += ["state", "state_reason"]
    row = _new_row(unit, new) | {name: old.row[name] for name in kept}
    _keep_manifest(unit, new, existing)
    reported = tools_of_json(old.row["reported_tools"]), new.reported_tools
    changes = compared(old.manifest, new.manifest, reported=reported).to_json()
    unit.update(tables.capsules, old.row, row, "capsule.replaced", changes)
    derived_rows.rewrite(unit, row, new.manifest, new.reported_tools)
    _declare_uplinks(unit, new, uplink_ids, existing)
    session_uuids.file(unit, uuids, new.id, lease_id, existing.uuid_mappings)
    unit.log(logging.INFO, "Replaced capsule", capsule_id=str(new.id))
    return capsules.record_of(row, new.manifest)


def is_same(old: Row, new: NewCapsule) -> bool:
    """Return whether the manifest of the row *old* is the very same, read by the same rules."""
    return (old["manifest_digest"], old["rules"]) == (new.digest, new.manifest.rules)


def require_same_artifacts(old: CapsuleManifest, new: CapsuleManifest) -> None:
    """
    Require that under the version of *old* no file has another hash.

    Raises:
        ArtifactChangedError: One has, or is no longer there, or is new.
    """
    package = new.package
    if old.package.version != package.version:
        return
    before, now = (
        {(one.kind, one.name, one.file): one.hash for one in artifacts_of(manifest)}
        for manifest in (old, new)
    )
    for key in {**before, **now}:
        expected, actual = before.get(key), now.get(key)
        if expected != actual:
            raise ArtifactChangedError(package.name, package.version, key[2], expected, actual)


def set_state(
    unit: Unit, capsule_id: CapsuleId, state: CapsuleState, reason: str | None
) -> RegisteredCapsule:
    """Set the state of the registered capsule; the same state and reason change nothing."""
    row = capsules.require_row(unit, capsule_id)
    changes: dict[str, Any] = {"state": state.value, "state_reason": reason}
    if changes != {name: row[name] for name in changes}:
        changes |= {"modified_revision": unit.revision}
        unit.update(tables.capsules, row, changes, "capsule.state_changed")
    return capsules.restored({**row, **changes})


def _new_row(unit: Unit, new: NewCapsule) -> dict[str, Any]:
    return {
        "id": new.id,
        "version": new.manifest.package.version,
        "manifest": new.manifest_json,
        "manifest_digest": new.digest,
        "reported_tools": None if new.reported_tools is None else json_of_tools(new.reported_tools),
        "source_dir": new.source_dir,
        "state": (new.state or CapsuleState.READY).value,
        "state_reason": new.state_reason,
        "generation": unit.revision,
        "registered_revision": unit.revision,
        "position": unit.next_position,
        "modified_revision": unit.revision,
        "registered_at": unit.at,
        "form": new.manifest.form.value,
        "rules": new.manifest.rules,
        "restored_generation": new.restored_generation,
    }
