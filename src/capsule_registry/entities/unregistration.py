"""
Unregistering capsules, with everything that goes with them by cascade.

The database deletes what belongs to a capsule; the events of it are filed here, since on MariaDB a
cascade fires no triggers.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, select

from capsule_registry.entities import capsules, session_uuids, uplinks
from capsule_registry.schema import tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from capsule_registry.identifiers import CapsuleId
    from capsule_registry.models.records import RegisteredCapsule
    from capsule_registry.unit_of_work.queries import Row
    from capsule_registry.unit_of_work.unit import Unit

_with_reservations = (
    select(tables.capsules)
    .where(tables.capsules.c.namespace == bindparam("namespace"))
    .order_by(tables.capsules.c.id)
)


def unregister(unit: Unit, capsule_id: CapsuleId) -> RegisteredCapsule:
    """Remove the registered capsule and, by cascade, everything filed under its id."""
    row = capsules.require_row(unit, capsule_id)
    record = capsules.restored(row)
    _file_cascade(
        unit,
        unit.rows(uplinks.OF_CAPSULE, capsule_id=capsule_id),
        unit.rows(session_uuids.OF_CAPSULE, capsule_id=capsule_id),
    )
    unit.delete(tables.capsules, [row], "capsule.unregistered")
    _log_unregistered(unit, record)
    return record


def drain(unit: Unit) -> list[RegisteredCapsule]:
    """Remove everything, reservations included; return the registered capsules in order."""
    records = [*capsules.values(unit)]
    of_namespace = {"namespace": unit.namespace}
    rows = unit.execute(_with_reservations, of_namespace).mappings().all()
    _file_cascade(unit, unit.rows(uplinks.ALL), unit.rows(session_uuids.ALL))
    for row in rows:
        reserved = row["registered_at"] is None
        action = "capsule.released" if reserved else "capsule.unregistered"
        unit.removed(tables.capsules, [row], action)
    unit.execute(delete(tables.capsules).where(tables.capsules.c.namespace == unit.namespace))
    for record in records:
        _log_unregistered(unit, record)
    return records


def _file_cascade(unit: Unit, filed: Sequence[Row], sessions: Sequence[Row]) -> None:
    """File the events of the uplinks and session UUIDs that go with their capsules."""
    unit.removed(tables.uplinks, filed, "uplink.unregistered")
    unit.removed(tables.uuid_mappings, sessions, "uuid.unregistered")


def _log_unregistered(unit: Unit, record: RegisteredCapsule) -> None:
    unit.log(logging.INFO, "Unregistered capsule", capsule_id=str(record.id))
