"""Session UUIDs: which capsule a message comes from."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from capsule_registry.identifiers import CapsuleId
from capsule_registry.queries import query
from capsule_registry.records import RegisteredUuid
from capsule_registry.reservations import release, reserve
from capsule_registry.tables import uuid_mappings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from capsule_registry.scope import Row, Scope
    from capsule_registry.unit import Unit

_by_uuid = query(uuid_mappings, "uuid", is_ordered=False)
_owner = query(uuid_mappings, "uuid", columns=("capsule_id",), is_ordered=False)
_all = query(uuid_mappings)
_of_capsule = query(uuid_mappings, "capsule_id")


def find(scope: Scope, uuid: UUID) -> CapsuleId | None:
    """Return the id that *uuid* is filed under, whether or not that capsule is registered."""
    row = scope.row(_owner, uuid=uuid)
    return None if row is None else CapsuleId(row["capsule_id"])


def rows(scope: Scope, capsule_id: str | None = None) -> Sequence[Row]:
    """Return the rows, or those of one capsule, in the order in which they were filed."""
    if capsule_id is None:
        return scope.rows(_all)
    return scope.rows(_of_capsule, capsule_id=capsule_id)


def list_all(scope: Scope, capsule_id: str | None) -> list[RegisteredUuid]:
    """Return the UUIDs, or those of one capsule, in the order in which they were filed."""
    return [
        RegisteredUuid(
            uuid=row["uuid"], capsule_id=row["capsule_id"], registered_at=row["registered_at"]
        )
        for row in rows(scope, capsule_id)
    ]


def register(unit: Unit, uuid: UUID, capsule_id: CapsuleId) -> None:
    """File *uuid* under *capsule_id*, taking it from where it was; filed there already: nothing."""
    fields = {"uuid": str(uuid), "capsule_id": str(capsule_id)}
    unit.log(logging.DEBUG, "Registered capsule UUID mapping", **fields)
    old = unit.row(_by_uuid, uuid=uuid)
    if old is not None and old["capsule_id"] == capsule_id:
        return
    reserve(unit, capsule_id)
    if old is not None:
        unit.delete(uuid_mappings, old, "uuid.unregistered")
    row = {
        "uuid": uuid,
        "capsule_id": capsule_id,
        "lease_id": None,
        "registered_at": unit.at,
        "created_revision": unit.revision,
        "position": unit.next_position,
    }
    unit.insert(uuid_mappings, [row], "uuid.registered")
    if old is not None:
        release(unit, old["capsule_id"])


def unregister(unit: Unit, uuid: UUID) -> bool:
    """Remove *uuid*; say whether it was there."""
    row = unit.row(_by_uuid, uuid=uuid)
    if row is None:
        return False
    unit.delete(uuid_mappings, row, "uuid.unregistered")
    release(unit, row["capsule_id"])
    return True
