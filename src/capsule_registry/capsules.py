"""Capsules: registering and unregistering them, and finding them again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from sqlalchemy import and_, bindparam, delete, func, insert, select

from capsule_registry import tools, uplinks, uuids
from capsule_registry.errors import (
    CapsuleAlreadyRegisteredError,
    CapsuleNotFoundError,
    HistoryCorruptError,
)
from capsule_registry.identifiers import CapsuleId
from capsule_registry.manifest.manifest import CapsuleManifest
from capsule_registry.records import CapsuleState, RegisteredCapsule
from capsule_registry.reservations import find_row
from capsule_registry.tables import capsules, manifests
from capsule_registry.tables import uplinks as uplinks_table
from capsule_registry.tables import uuid_mappings as uuids_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from uuid import UUID

    from sqlalchemy import RowMapping

    from capsule_registry.candidates import Candidate
    from capsule_registry.unit import Scope, Unit

_registered = and_(
    capsules.c.namespace == bindparam("namespace"), capsules.c.registered_revision.is_not(None)
)
_in_order = (capsules.c.registered_revision, capsules.c.position)
_ids = select(capsules.c.id).where(_registered).order_by(*_in_order)
_count = select(func.count()).where(_registered)
_all = (
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
    .where(_registered)
    .order_by(*_in_order)
)
_by_id = _all.where(capsules.c.id == bindparam("id"))
_reserved_too = (
    select(capsules).where(capsules.c.namespace == bindparam("namespace")).order_by(capsules.c.id)
)
_manifest = select(manifests.c.digest).where(
    manifests.c.namespace == bindparam("namespace"), manifests.c.digest == bindparam("digest")
)


def get(scope: Scope, capsule_id: str) -> RegisteredCapsule | None:
    """Return the registered capsule of that id."""
    row = _registered_row(scope, capsule_id)
    return None if row is None else _record(row)


def _registered_row(scope: Scope, capsule_id: str) -> RowMapping | None:
    parameters = {"namespace": scope.namespace, "id": capsule_id}
    return scope.conn.execute(_by_id, parameters).mappings().one_or_none()


def is_registered(scope: Scope, capsule_id: str) -> bool:
    """Say whether a capsule of that id is registered."""
    parameters = {"namespace": scope.namespace, "id": capsule_id}
    statement = _ids.where(capsules.c.id == bindparam("id"))
    return scope.conn.scalar(statement, parameters) is not None


def ids(scope: Scope, limit: int | None = None) -> list[CapsuleId]:
    """Return the ids of the registered capsules, or the first *limit*, in order of registration."""
    found = scope.conn.scalars(_ids.limit(limit), {"namespace": scope.namespace})
    return [CapsuleId(text) for text in found]


def values(scope: Scope) -> Iterator[RegisteredCapsule]:
    """Return the registered capsules, in order of registration, all as of now."""
    return map(_record, scope.conn.execute(_all, {"namespace": scope.namespace}).mappings().all())


def count(scope: Scope) -> int:
    """Return how many capsules are registered."""
    return scope.conn.scalar(_count, {"namespace": scope.namespace}) or 0


def register(unit: Unit, candidate: Candidate, new_uuid: Callable[[], UUID]) -> RegisteredCapsule:
    """
    Register *candidate* with its tools, grants and declared uplinks.

    A reservation of its id becomes the registration, and so what is filed under it is adopted.
    """
    old = find_row(unit, candidate.id)
    if old is not None and old["registered_at"] is not None:
        raise CapsuleAlreadyRegisteredError(str(candidate.id))
    row = _new_row(unit, candidate)
    _keep_manifest(unit, candidate.manifest, row["manifest_digest"])
    if old is None:
        unit.insert(capsules, [row], "capsule.registered")
    else:
        unit.update(capsules, old, row, "capsule.registered")
    tools.project(unit, candidate)
    uplinks.declare(unit, candidate.id, candidate.manifest.uplinks, new_uuid)
    unit.log(logging.INFO, "Registered capsule", capsule_id=str(candidate.id))
    return RegisteredCapsule.model_construct(
        id=candidate.id,
        version=row["version"],
        manifest=candidate.manifest,
        manifest_text=candidate.manifest.text,
        manifest_digest=row["manifest_digest"],
        source_dir=candidate.source_dir,
        state=candidate.state,
        state_reason=candidate.state_reason,
        generation=unit.revision,
        modified_revision=unit.revision,
        registered_at=unit.at,
    )


def unregister(unit: Unit, capsule_id: CapsuleId) -> RegisteredCapsule:
    """Remove the registered capsule and all that is filed under its id."""
    row = _registered_row(unit, capsule_id)
    if row is None:
        raise CapsuleNotFoundError(str(capsule_id))
    record = _record(row)
    unit.removed(uplinks_table, uplinks.rows(unit, capsule_id), "uplink.unregistered")
    unit.removed(uuids_table, uuids.rows(unit, capsule_id), "uuid.unregistered")
    unit.delete(capsules, row, "capsule.unregistered")
    _forget(unit, record)
    return record


def drain(unit: Unit) -> list[RegisteredCapsule]:
    """Remove everything, reservations included; return the registered capsules in order."""
    records = list(values(unit))
    parameters = {"namespace": unit.namespace}
    rows = unit.conn.execute(_reserved_too, parameters).mappings().all()
    unit.removed(uplinks_table, uplinks.rows(unit), "uplink.unregistered")
    unit.removed(uuids_table, uuids.rows(unit), "uuid.unregistered")
    for row in rows:
        reserved = row["registered_at"] is None
        unit.removed(capsules, [row], "capsule.released" if reserved else "capsule.unregistered")
    unit.conn.execute(delete(capsules).where(capsules.c.namespace == unit.namespace))
    for record in records:
        _forget(unit, record)
    return records


def _forget(unit: Unit, record: RegisteredCapsule) -> None:
    unit.unregistered.append((record.id, record.generation))
    unit.log(logging.INFO, "Unregistered capsule", capsule_id=str(record.id))


def _new_row(unit: Unit, candidate: Candidate) -> dict[str, Any]:
    return {
        "id": candidate.id,
        "version": candidate.manifest.package.version,
        "manifest": candidate.manifest_json,
        "manifest_digest": candidate.manifest.digest,
        "reported_tools": candidate.reported_tools,
        "source_dir": candidate.source_dir,
        "state": candidate.state.value,
        "state_reason": candidate.state_reason,
        "generation": unit.revision,
        "registered_revision": unit.revision,
        "position": unit.next_position,
        "modified_revision": unit.revision,
        "registered_at": unit.at,
    }


def _keep_manifest(unit: Unit, manifest: CapsuleManifest, digest: str) -> None:
    if unit.conn.scalar(_manifest, {"namespace": unit.namespace, "digest": digest}) is None:
        row = {
            "namespace": unit.namespace,
            "digest": digest,
            "format": manifest.format,
            "text": manifest.text,
        }
        unit.conn.execute(insert(manifests), row)


def _record(row: RowMapping | Mapping[str, Any]) -> RegisteredCapsule:
    try:
        return RegisteredCapsule.model_construct(
            id=CapsuleId(row["id"]),
            version=row["version"],
            manifest=CapsuleManifest.restore(
                row["manifest"], format=row["manifest_format"], text=row["manifest_text"]
            ),
            manifest_text=row["manifest_text"],
            manifest_digest=row["manifest_digest"],
            source_dir=row["source_dir"],
            state=CapsuleState(row["state"]),
            state_reason=row["state_reason"],
            generation=row["generation"],
            modified_revision=row["modified_revision"],
            registered_at=row["registered_at"],
        )
    except (ValidationError, ValueError) as error:
        raise HistoryCorruptError(f"capsule {row['id']}", str(error)) from error
