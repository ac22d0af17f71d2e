"""
Unregistering capsules, with everything that goes with them by cascade.

The database deletes what belongs to a capsule; the events of it are filed here, since on MariaDB a
cascade fires no triggers.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, select

from capsule_registry.entities import capsules, generations, interfaces, session_uuids, uplinks
from capsule_registry.manifest.comparison import compared
from capsule_registry.models.new_capsule import tools_of_json
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


def unregister(
    unit: Unit, capsule_id: CapsuleId, generation: int | None = None, *, force: bool = True
) -> RegisteredCapsule:
    """
    Remove the registered capsule and, by cascade, everything filed under its id.

    Raises:
        CapsuleNotFoundError, StaleGenerationError, SoleProviderError: As `Writes.unregister`.
    """
    row = generations.expected_row(unit, capsule_id, generation)
    record = capsules.restored(row)
    if not force:
        interfaces.require_other_providers(unit, [record.manifest])
    _file_cascade(
        unit,
        unit.rows(uplinks.OF_CAPSULE, capsule_id=capsule_id),
        unit.rows(session_uuids.OF_CAPSULE, capsule_id=capsule_id),
    )
    unit.delete(tables.capsules, [row], "capsule.unregistered", _changes(row, record))
    _log_unregistered(unit, record)
    return record


def drain(unit: Unit) -> list[RegisteredCapsule]:
    """Remove everything, reservations included; return the registered capsules in order."""
    records = [*capsules.values(unit)]
    of_namespace = {"namespace": unit.namespace}
    rows = unit.execute(_with_reservations, of_namespace).mappings().all()
    _file_cascade(unit, unit.rows(uplinks.ALL), unit.rows(session_uuids.ALL))
    by_id = {str(record.id): record for record in records}
    for row in rows:
        record = by_id.get(row["id"])
        action = "capsule.released" if record is None else "capsule.unregistered"
        changes = None if record is None else _changes(row, record)
        unit.removed(tables.capsules, [row], action, changes)
    unit.execute(delete(tables.capsules).where(tables.capsules.c.namespace == unit.namespace))
    for record in records:
        _log_unregistered(unit, record)
    return records


def _changes(row: Row, record: RegisteredCapsule) -> str | None:
    reported = tools_of_json(row["reported_tools"])
    return compared(record.manifest, None, reported=(reported, None)).to_json()


def _file_cascade(unit: Unit, filed: Sequence[Row], sessions: Sequence[Row]) -> None:
    """File the events of the uplinks and session UUIDs that go with their capsules."""
    unit.removed(tables.uplinks, filed, "uplink.unregistered")
    unit.removed(tables.uuid_mappings, sessions, "uuid.unregistered")


def _log_unregistered(unit: Unit, record: RegisteredCapsule) -> None:
    unit.log(logging.INFO, "Unregistered capsule", capsule_id=str(record.id))
