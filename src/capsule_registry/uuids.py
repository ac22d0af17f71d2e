"""Session UUIDs: which capsule a message comes from."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select

from capsule_registry.identifiers import CapsuleId
from capsule_registry.records import RegisteredUuid
from capsule_registry.reservations import release, reserve
from capsule_registry.tables import uuid_mappings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import RowMapping

    from capsule_registry.unit import Scope, Unit

_in_namespace = uuid_mappings.c.namespace == bindparam("namespace")
_by_uuid = select(uuid_mappings).where(_in_namespace, uuid_mappings.c.uuid == bindparam("uuid"))
_owner = select(uuid_mappings.c.capsule_id).where(
    _in_namespace, uuid_mappings.c.uuid == bindparam("uuid")
)
_all = (
    select(uuid_mappings)
    .where(_in_namespace)
    .order_by(uuid_mappings.c.created_revision, uuid_mappings.c.position)
)
_of_capsule = _all.where(uuid_mappings.c.capsule_id == bindparam("capsule_id"))


def find(scope: Scope, uuid: UUID) -> CapsuleId | None:
    """Return the id that *uuid* is filed under, whether or not that capsule is registered."""
    owner = scope.conn.scalar(_owner, {"namespace": scope.namespace, "uuid": uuid})
    return None if owner is None else CapsuleId(owner)


def rows(scope: Scope, capsule_id: str | None = None) -> Sequence[RowMapping]:
    """Return the rows, or those of one capsule, in the order in which they were filed."""
    statement = _all if capsule_id is None else _of_capsule
    parameters = {"namespace": scope.namespace, "capsule_id": capsule_id}
    return scope.conn.execute(statement, parameters).mappings().all()


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
    old = _row(unit, uuid)
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
    row = _row(unit, uuid)
    if row is None:
        return False
    unit.delete(uuid_mappings, row, "uuid.unregistered")
    release(unit, row["capsule_id"])
    return True


def _row(scope: Scope, uuid: UUID) -> RowMapping | None:
    parameters = {"namespace": scope.namespace, "uuid": uuid}
    return scope.conn.execute(_by_uuid, parameters).mappings().one_or_none()
