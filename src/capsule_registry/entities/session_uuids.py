"""Session UUIDs: which capsule a message comes from."""

from __future__ import annotations

import logging
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import and_, bindparam, select

from capsule_registry.entities import generations, leases
from capsule_registry.entities.reservations import release, reserve
from capsule_registry.errors import LeaseLostError, UuidHeldError
from capsule_registry.identifiers import CapsuleId, known_id
from capsule_registry.models.records import RegisteredUuid
from capsule_registry.schema.tables import capsules, namespaces, uuid_mappings
from capsule_registry.schema.tables import leases as leases_table
from capsule_registry.unit_of_work.high_water_mark import HEAD
from capsule_registry.unit_of_work.known_keys import asking
from capsule_registry.unit_of_work.queries import (
    ORDER,
    Query,
    matching,
    put_in_order,
    query,
    rows_by,
)

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from uuid import UUID

    from capsule_registry.clocks import End
    from capsule_registry.unit_of_work.known_keys import Keys
    from capsule_registry.unit_of_work.queries import LookupScope, Row, Scope
    from capsule_registry.unit_of_work.unit import Unit

_REGISTERED: Final = "Registered capsule UUID mapping"
#: Rows with the columns that tell whether their lease has run out.
_WITH_LEASE = (
    select(uuid_mappings, *leases.ENDS)
    .join(namespaces, namespaces.c.name == uuid_mappings.c.namespace)
    .outerjoin(leases_table, leases.OF_UUID)
)
#: The capsule, registered or reserved, that a UUID was filed under. One that stands there since
#: later is another, even where no cascade has removed the UUID.
OF_OWNER: Final = and_(
    capsules.c.namespace == uuid_mappings.c.namespace,
    capsules.c.id == uuid_mappings.c.capsule_id,
    capsules.c.created_revision <= uuid_mappings.c.created_revision,
)
_order = [uuid_mappings.c[name] for name in ORDER[uuid_mappings.name]]


def _filed(*by: str) -> Query:
    return Query(uuid_mappings, by, _WITH_LEASE.where(matching(uuid_mappings, by)))


def _filed_in_order(*by: str) -> Query:
    statement = _WITH_LEASE.where(matching(uuid_mappings, by)).order_by(*_order)
    return Query(uuid_mappings, by, statement)


#: The row of a UUID, beside its namespace.
OF_UUID: Final = and_(
    uuid_mappings.c.namespace == namespaces.c.name, uuid_mappings.c.uuid == bindparam("uuid")
)
#: The owner of a UUID; null if it has none.
_owner = Query(
    uuid_mappings,
    ("uuid",),
    select(*HEAD, capsules.c.id.label("capsule_id"), uuid_mappings.c.lease_id, *leases.ENDS)
    .select_from(namespaces)
    .outerjoin(uuid_mappings, OF_UUID)
    .outerjoin(capsules, OF_OWNER)
    .outerjoin(leases_table, leases.OF_UUID)
    .where(namespaces.c.name == bindparam("namespace")),
    with_head=True,
)
#: The owner of a UUID that belongs to no lease.
WITHOUT_LEASE: Final = Query(
    uuid_mappings,
    ("uuid",),
    select(uuid_mappings.c.capsule_id)
    .join(capsules, OF_OWNER)
    .where(matching(uuid_mappings, ("uuid",)), uuid_mappings.c.lease_id.is_(None)),
)
#: The row of a UUID, and when its lease ends.
_with_ending = Query(
    uuid_mappings,
    ("uuid",),
    select(uuid_mappings, *leases.ENDINGS)
    .outerjoin(leases_table, leases.OF_UUID)
    .where(matching(uuid_mappings, ("uuid",))),
    found_by=rows_by(uuid_mappings, "uuid"),
)
_uuids_and_leases = query(uuid_mappings, columns=("uuid", "lease_id"))
_among = query(uuid_mappings, among=("uuid",), is_ordered=False)
BY_UUID: Final = _filed("uuid")
_filed_all = _filed_in_order()
_filed_of_capsule = _filed_in_order("capsule_id")
ALL: Final = query(uuid_mappings)
OF_CAPSULE: Final = query(uuid_mappings, "capsule_id")


class Owner(NamedTuple):
    """The id that a UUID is filed under and, if it belongs to a lease, until when."""

    capsule_id: CapsuleId
    #: Its lease had run out when it was read, or was missing.
    is_gone: bool = False
    lease_id: UUID | None = None
    end: End | None = None


def owner(scope: LookupScope, uuid: UUID) -> Owner | None:
    """Return the owner of *uuid*, whether or not that capsule is registered."""
    row = scope.row(_owner, uuid=uuid)
    if row is None or row["capsule_id"] is None:
        return None
    capsule_id = known_id(row["capsule_id"])
    if row["lease_id"] is None:
        return Owner(capsule_id)
    return Owner(
        capsule_id, not leases.is_live_mapping(scope, row), row["lease_id"], leases.end_of(row)
    )


def find(scope: LookupScope, uuid: UUID) -> CapsuleId | None:
    """Return the id that *uuid* is filed under, unless its lease has run out."""
    found = owner(scope, uuid)
    return None if found is None or found.is_gone else found.capsule_id


def without_lease(scope: Scope) -> list[UUID]:
    """Return the UUIDs that belong to no lease, in the order in which they were filed."""
    return [row["uuid"] for row in scope.rows(_uuids_and_leases) if row["lease_id"] is None]


def rows_of(scope: Scope, ids: Sequence[UUID]) -> Sequence[Row]:
    """Return the rows of those UUIDs, in the order in which they were filed."""
    return put_in_order(uuid_mappings, scope.rows(_among, uuid=list(ids)))


def list_all(scope: Scope, capsule_id: str | None) -> list[RegisteredUuid]:
    """Return the UUIDs, or those of one capsule, in the order in which they were filed."""
    if capsule_id is None:
        found = scope.rows(_filed_all)
    else:
        found = scope.rows(_filed_of_capsule, capsule_id=capsule_id)
    return [
        RegisteredUuid(**{name: row[name] for name in RegisteredUuid.model_fields})
        for row in found
        if leases.is_live_mapping(scope, row)
    ]


def _keys_of_register(uuid: UUID, capsule_id: CapsuleId, *_: object) -> Keys:
    return {uuid_mappings: (uuid,), capsules: (capsule_id,)}


@asking(_keys_of_register)
def register(
    unit: Unit,
    uuid: UUID,
    capsule_id: CapsuleId,
    lease_id: UUID | None = None,
    generation: int | None = None,
) -> None:
    """
    File *uuid* under *capsule_id*, moving it from another id; if already there, do nothing.

    It then belongs to *lease_id* or, without one, to the lease it already had there. With a
    *generation* only that may be registered.

    Raises:
        StaleGenerationError: Another is, or none.
        LeaseLostError: The lease has run out, or was closed.
        UuidHeldError: Another live lease holds the UUID.
    """
    generations.require(unit, capsule_id, generation)
    if lease_id is not None:
        leases.hold(unit, lease_id)
    existing = unit.existing(_keys_of_register(uuid, capsule_id))
    found = unit.row(_with_ending, uuid=uuid) if existing[uuid_mappings] else None
    old = None if found is None else _unless_run_out(unit, found, lease_id)
    if old is not None:
        if old["capsule_id"] == capsule_id and lease_id in (None, old["lease_id"]):
            unit.log(logging.DEBUG, _REGISTERED, uuid=str(uuid), capsule_id=str(capsule_id))
            return
        if old["lease_id"] not in (None, lease_id):
            raise UuidHeldError(uuid, old["lease_id"])
    # The UUIDs of a lease that had run out may have been all that kept the id reserved.
    if not existing[capsules] or (found is not None and old is None):
        reserve(unit, [capsule_id])
    if old is not None:
        unit.delete(uuid_mappings, [old], "uuid.unregistered")
    _insert(unit, [uuid], capsule_id, lease_id)
    if old is not None:
        release(unit, old["capsule_id"])


def file(
    unit: Unit,
    uuids: Sequence[UUID],
    capsule_id: CapsuleId,
    lease_id: UUID | None,
    existing: Container[UUID],
) -> None:
    """
    File *uuids*, in order, under a registered capsule, the new ones together.

    *existing* tells which are filed already; those are moved as by `register`. The caller has made
    sure that the lease, if any, is held.
    """
    is_filed = existing.__contains__
    for filed, some in groupby(dict.fromkeys(uuids), key=is_filed):
        if filed:
            for uuid in some:
                register(unit, uuid, capsule_id, lease_id)
        else:
            _insert(unit, [*some], capsule_id, lease_id)


def restore(unit: Unit, filed: Sequence[tuple[UUID, CapsuleId]]) -> None:
    """File each UUID as `register` does, in order; new ones without a query each."""
    wanted = [uuid for uuid, _ in filed]
    there = unit.existing({uuid_mappings: wanted})[uuid_mappings]
    reserve(unit, [capsule_id for _, capsule_id in filed])
    has_moved = False
    for uuid, capsule_id in filed:
        if uuid in there:
            register(unit, uuid, capsule_id)
            has_moved = True
        else:
            if has_moved:  # That may have released the reservation.
                reserve(unit, [capsule_id])
            _insert(unit, [uuid], capsule_id, None)
            there.add(uuid)


def unregister(unit: Unit, uuid: UUID) -> bool:
    """Remove *uuid*; return whether it was filed."""
    row = unit.row(BY_UUID, uuid=uuid)
    if row is None or not leases.is_live_mapping(unit, row):
        return False
    unit.delete(uuid_mappings, [row], "uuid.unregistered")
    release(unit, row["capsule_id"])
    return True


def retire(unit: Unit, capsule_id: CapsuleId, kept: Sequence[UUID]) -> None:
    """Remove the UUIDs of a capsule except those *kept*."""
    staying = set(kept)
    found = unit.rows(OF_CAPSULE, capsule_id=capsule_id)
    leaving = [row for row in found if row["uuid"] not in staying]
    unit.delete(uuid_mappings, leaving, "uuid.unregistered")


def _insert(
    unit: Unit, uuids: Sequence[UUID], capsule_id: CapsuleId, lease_id: UUID | None
) -> None:
    start = unit.next_position
    rows: list[dict[str, Any]] = [
        {
            "uuid": uuid,
            "capsule_id": capsule_id,
            "lease_id": lease_id,
            "registered_at": unit.at,
            "created_revision": unit.revision,
            "position": position,
        }
        for position, uuid in enumerate(uuids, start)
    ]
    unit.insert(uuid_mappings, rows, "uuid.registered")
    for uuid in uuids:
        unit.log(logging.DEBUG, _REGISTERED, uuid=str(uuid), capsule_id=str(capsule_id))


def _unless_run_out(unit: Unit, row: Row, lease_id: UUID | None) -> Row | None:
    """Return *row*; if its lease, not *lease_id*, has run out, remove both and return `None`."""
    # Judged by the unit's time, which the event of the lease's expiry has too.
    if row["lease_id"] is None:
        return row
    end = leases.end_of(row)
    if end is not None and end.is_after(unit.began):
        return row
    if lease_id is not None and row["lease_id"] == lease_id:
        raise LeaseLostError(lease_id)
    if not leases.expire(unit, row["lease_id"]):
        return row  # It has been renewed meanwhile.
    if (left := unit.row(BY_UUID, uuid=row["uuid"])) is not None:  # Its lease was missing.
        unit.delete(uuid_mappings, [left], "uuid.unregistered")
    return None
