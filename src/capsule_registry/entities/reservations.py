"""
Reservations: ids that something is filed under though no capsule of that id is registered.

A host files a UUID before it registers the capsule, so some rows of `capsules` are only
reservations. A reservation lives as long as something is filed under it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, exists, or_, select

from capsule_registry.manifest.forms import ManifestForm
from capsule_registry.manifest.readings import ORIGINAL
from capsule_registry.schema.tables import capsules, uplinks, uuid_mappings
from capsule_registry.unit_of_work.queries import Query, rows_by

if TYPE_CHECKING:
    from collections.abc import Iterable

    from capsule_registry.identifiers import CapsuleId
    from capsule_registry.unit_of_work.queries import Row, Scope
    from capsule_registry.unit_of_work.unit import Unit

_of_id = select(capsules).where(
    capsules.c.namespace == bindparam("namespace"), capsules.c.id == bindparam("id")
)
_row = Query(capsules, ("id",), _of_id, found_by=rows_by(capsules, "id"))
_childless = _of_id.where(
    capsules.c.registered_at.is_(None),
    ~or_(
        exists().where(
            uplinks.c.namespace == capsules.c.namespace, uplinks.c.capsule_id == capsules.c.id
        ),
        exists().where(
            uuid_mappings.c.namespace == capsules.c.namespace,
            uuid_mappings.c.capsule_id == capsules.c.id,
        ),
    ),
)
_childless_reservation = Query(capsules, ("id",), _childless)


def find_row(scope: Scope, capsule_id: CapsuleId) -> Row | None:
    """Return the row of that id, reserved or registered."""
    return scope.row(_row, id=capsule_id)


def reserve(unit: Unit, capsule_ids: Iterable[CapsuleId]) -> None:
    """Reserve those of *capsule_ids* that have no row yet."""
    wanted = [*dict.fromkeys(capsule_ids)]
    present = unit.existing({capsules: wanted})[capsules]
    made = {
        "modified_revision": unit.revision,
        "created_revision": unit.revision,
        "form": ManifestForm.LEGACY.value,
        "rules": ORIGINAL,
    }
    rows = [{"id": one, **made} for one in wanted if one not in present]
    unit.insert(capsules, rows, "capsule.reserved")


def release(unit: Unit, capsule_id: str) -> None:
    """Remove the reservation of *capsule_id* if nothing is filed under it any more."""
    row = unit.row(_childless_reservation, id=capsule_id)
    if row is not None:
        unit.delete(capsules, [row], "capsule.released")
