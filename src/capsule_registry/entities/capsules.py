"""Capsules: registering and unregistering them, and finding them again."""

from __future__ import annotations

import logging
from itertools import chain
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from sqlalchemy import and_, bindparam, delete, select

from capsule_registry.entities import derived_rows as projections
from capsule_registry.entities import session_uuids as uuids
from capsule_registry.entities import uplinks
from capsule_registry.entities.reservations import find_row
from capsule_registry.entities.taken import Taken
from capsule_registry.errors import (
    CapsuleAlreadyRegisteredError,
    CapsuleNotFoundError,
    HistoryCorruptError,
    StaleGenerationError,
)
from capsule_registry.identifiers import CapsuleId
from capsule_registry.manifest.manifest import CapsuleManifest
from capsule_registry.models.records import CapsuleState, RegisteredCapsule
from capsule_registry.schema.tables import capsules, manifests
from capsule_registry.schema.tables import uplinks as uplinks_table
from capsule_registry.schema.tables import uuid_mappings as uuids_table
from capsule_registry.unit_of_work.queries import ORDER, Query, counting, matching, page, query
from capsule_registry.unit_of_work.registered_objects import key, key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from uuid import UUID

    from capsule_registry.models.new_capsule import Candidate
    from capsule_registry.unit_of_work.scope import LookupScope, Row, Scope
    from capsule_registry.unit_of_work.unit import Unit

#: More than there can be.
_ALL = 2**31 - 1
_WITH_MANIFEST = (
    select(
        capsules,
        manifests.c.format.label("manifest_format"),
        manifests.c.text.label("manifest_text"),
    )
    .join(
        manifests,
        and_(
            manifests.c.namespace == capsules.c.namespace,
            manifests.c.digest == capsules.c.manifest_digest,
        ),
    )
    .order_by(*(capsules.c[name] for name in ORDER[capsules.name]))
)


def _whole(*by: str, among: tuple[str, ...] = ()) -> Query:
    statement = _WITH_MANIFEST.where(matching(capsules, by, among))
    return Query(capsules, by, statement, among, with_manifest=True)


_all = _whole()
_by_id = _whole("id")
_among = _whole(among=("id",))
_outlines = query(capsules, columns=("id", "manifest_digest", "source_dir"))
_ids = page(capsules, columns=("id",))
_in_state = page(capsules, "state", columns=("id",))
_place = query(capsules, "id", columns=("registered_revision", "position"), is_ordered=False)
_states = query(capsules, among=("id",), columns=("id", "state"), is_ordered=False)
_is_there = query(capsules, "id", columns=("id",), is_ordered=False)
_count = counting(capsules)
_reserved_too = (
    select(capsules).where(capsules.c.namespace == bindparam("namespace")).order_by(capsules.c.id)
)


def get(scope: LookupScope, capsule_id: str) -> RegisteredCapsule | None:
    """Return the registered capsule of that id."""
    row = scope.row(_by_id, id=capsule_id)
    return None if row is None else _record(row)


def is_registered(scope: Scope, capsule_id: str) -> bool:
    """Say whether a capsule of that id is registered."""
    return scope.row(_is_there, id=capsule_id) is not None


def ids(
    scope: Scope,
    state: CapsuleState | None = None,
    after: CapsuleId | None = None,
    most: int | None = None,
) -> list[CapsuleId]:
    """Return the ids of registered capsules in order, of those in *state*, or *after* that one."""
    place = None if after is None else scope.row(_place, id=after)
    if after is not None and place is None:
        raise CapsuleNotFoundError(str(after))
    values: dict[str, Any] = {
        "after_revision": place["registered_revision"] if place else 0,
        "after_position": place["position"] if place else 0,
        "most": most or _ALL,
    }
    if state is None:
        found = scope.rows(_ids, **values)
    else:
        found = scope.rows(_in_state, **values, state=state.value)
    return [CapsuleId(row["id"]) for row in found]


def states(scope: Scope, ids: Iterable[CapsuleId]) -> dict[str, CapsuleState]:
    """Return the states of those capsules that are registered."""
    found = scope.rows(_states, id=[*ids])
    return {row["id"]: CapsuleState(row["state"]) for row in found}


def outlines(scope: Scope) -> Sequence[Row]:
    """Return id, digest and directory of each registered capsule, in order of registration."""
    return scope.rows(_outlines)


def rows_of(scope: Scope, ids: Sequence[CapsuleId]) -> Sequence[Row]:
    """Return the whole rows of the registered capsules of those *ids*, in order of registration."""
    return scope.rows(_among, id=list(ids))


def values(scope: Scope) -> Iterator[RegisteredCapsule]:
    """Return the registered capsules, in order of registration, all as of now."""
    return map(_record, scope.rows(_all))


def count(scope: Scope) -> int:
    """Return how many capsules are registered."""
    return scope.count(_count)


def register(
    unit: Unit, candidates: Sequence[Candidate], new_uuid: Callable[[], UUID]
) -> list[RegisteredCapsule]:
    """
    Register *candidates*, in order, with their tools, grants and declared uplinks.

    A reservation of an id becomes the registration, and so what is filed under it is adopted.
    """
    declared = [[new_uuid() for _ in one.manifest.uplinks] for one in candidates]
    taken = Taken.of(unit, candidates, chain.from_iterable(declared))
    records = []
    for candidate, uplink_ids in zip(candidates, declared, strict=True):
        row = _register(unit, candidate, taken)
        taken.take_uplinks(uplink_ids)
        uplinks.declare(unit, candidate.id, candidate.manifest.uplinks, uplink_ids)
        unit.log(logging.INFO, "Registered capsule", capsule_id=str(candidate.id))
        records.append(_constructed(row, candidate.manifest))
    return records


def restore(unit: Unit, candidates: Sequence[Candidate]) -> None:
    """Register *candidates* without their declared uplinks, which are filed as they were."""
    taken = Taken.of(unit, candidates, ())
    for candidate in candidates:
        _register(unit, candidate, taken)


def _register(unit: Unit, candidate: Candidate, taken: Taken) -> Row:
    row = _new_row(unit, candidate)
    taken.keep_manifest(unit, candidate)
    old = find_row(unit, candidate.id) if candidate.id in taken.capsules else None
    if old is None:
        unit.insert(capsules, [row], "capsule.registered")
    elif old["registered_at"] is not None:
        raise CapsuleAlreadyRegisteredError(str(candidate.id))
    else:
        unit.update(capsules, old, row, "capsule.registered")
    taken.capsules.add(candidate.id)
    projections.write(unit, candidate)
    return row


def replace(
    unit: Unit, candidate: Candidate, expected: int | None, new_uuid: Callable[[], UUID]
) -> RegisteredCapsule:
    """
    Put *candidate* in the place of what is registered under its id, in the same place of the order.

    Declared uplinks are those of the new manifest; what was filed by hand stays.
    """
    old = unit.row(_by_id, id=candidate.id)
    found = None if old is None else old["generation"]
    if expected is not None and found != expected:
        raise StaleGenerationError(expected, found)
    if old is None:
        raise CapsuleNotFoundError(str(candidate.id))
    uplinks.withdraw(unit, candidate.id)
    uplink_ids = [new_uuid() for _ in candidate.manifest.uplinks]
    taken = Taken.of(unit, [candidate], uplink_ids)
    kept = ["registered_revision", "position"]
    if candidate.state is None:  # Whoever has set it has not said that it is another now.
        kept += ["state", "state_reason"]
    row = _new_row(unit, candidate) | {name: old[name] for name in kept}
    taken.keep_manifest(unit, candidate)
    unit.update(capsules, old, row, "capsule.replaced")
    projections.clear(unit, candidate.id)
    projections.write(unit, candidate)
    taken.take_uplinks(uplink_ids)
    uplinks.declare(unit, candidate.id, candidate.manifest.uplinks, uplink_ids)
    unit.unregistered.append(key(old["id"], old["generation"], old["registered_at"]))
    unit.log(logging.INFO, "Replaced capsule", capsule_id=str(candidate.id))
    return _constructed(row, candidate.manifest)


def set_state(
    unit: Unit, capsule_id: CapsuleId, state: CapsuleState, reason: str | None
) -> RegisteredCapsule:
    """Set the state of the registered capsule; the same one for the same reason changes nothing."""
    row = unit.row(_by_id, id=capsule_id)
    if row is None:
        raise CapsuleNotFoundError(str(capsule_id))
    changes: dict[str, Any] = {"state": state.value, "state_reason": reason}
    if changes != {name: row[name] for name in changes}:
        changes |= {"modified_revision": unit.revision}
        unit.update(capsules, row, changes, "capsule.state_changed")
    return _record({**row, **changes})


def unregister(unit: Unit, capsule_id: CapsuleId) -> RegisteredCapsule:
    """Remove the registered capsule and all that is filed under its id."""
    row = unit.row(_by_id, id=capsule_id)
    if row is None:
        raise CapsuleNotFoundError(str(capsule_id))
    record = _record(row)
    unit.removed(uplinks_table, uplinks.rows(unit, capsule_id), "uplink.unregistered")
    unit.removed(uuids_table, uuids.rows(unit, capsule_id), "uuid.unregistered")
    unit.delete(capsules, [row], "capsule.unregistered")
    _forget(unit, record)
    return record


def drain(unit: Unit) -> list[RegisteredCapsule]:
    """Remove everything, reservations included; return the registered capsules in order."""
    records = list(values(unit))
    parameters = {"namespace": unit.namespace}
    rows = unit.execute(_reserved_too, parameters).mappings().all()
    unit.removed(uplinks_table, uplinks.rows(unit), "uplink.unregistered")
    unit.removed(uuids_table, uuids.rows(unit), "uuid.unregistered")
    for row in rows:
        reserved = row["registered_at"] is None
        unit.removed(capsules, [row], "capsule.released" if reserved else "capsule.unregistered")
    unit.execute(delete(capsules).where(capsules.c.namespace == unit.namespace))
    for record in records:
        _forget(unit, record)
    return records


def _forget(unit: Unit, record: RegisteredCapsule) -> None:
    unit.unregistered.append(key_of(record))
    unit.log(logging.INFO, "Unregistered capsule", capsule_id=str(record.id))


def _new_row(unit: Unit, candidate: Candidate) -> dict[str, Any]:
    return {
        "id": candidate.id,
        "version": candidate.manifest.package.version,
        "manifest": candidate.manifest_json,
        "manifest_digest": candidate.digest,
        "reported_tools": candidate.reported_json,
        "source_dir": candidate.source_dir,
        "state": (candidate.state or CapsuleState.READY).value,
        "state_reason": candidate.state_reason,
        "generation": unit.revision,
        "registered_revision": unit.revision,
        "position": unit.next_position,
        "modified_revision": unit.revision,
        "registered_at": unit.at,
    }


def _record(row: Row) -> RegisteredCapsule:
    try:
        manifest = CapsuleManifest.restore(
            row["manifest"], format=row["manifest_format"], text=row["manifest_text"]
        )
        return _constructed(row, manifest)
    except (ValidationError, ValueError) as error:
        raise HistoryCorruptError(f"capsule {row['id']}", str(error)) from error


def _constructed(row: Row, manifest: CapsuleManifest) -> RegisteredCapsule:
    return RegisteredCapsule.model_construct(
        id=CapsuleId(row["id"]),
        version=row["version"],
        manifest=manifest,
        manifest_text=manifest.text,
        manifest_digest=row["manifest_digest"],
        source_dir=row["source_dir"],
        state=CapsuleState(row["state"]),
        state_reason=row["state_reason"],
        generation=row["generation"],
        modified_revision=row["modified_revision"],
        registered_at=row["registered_at"],
    )
