"""Generations: that it is the one expected, and what stood before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import bindparam, select

from capsule_registry.entities import capsules
from capsule_registry.errors import (
    GenerationNotFoundError,
    RevisionCompactedError,
    StaleGenerationError,
)
from capsule_registry.models.new_capsule import NewCapsule, tools_of_json
from capsule_registry.schema.row_images import row_of_image
from capsule_registry.schema.tables import capsules as capsules_table
from capsule_registry.schema.tables import events, manifests

if TYPE_CHECKING:
    from capsule_registry.identifiers import CapsuleId
    from capsule_registry.manifest.manifest import CapsuleManifest
    from capsule_registry.unit_of_work.queries import Row, Scope
    from capsule_registry.unit_of_work.unit import Unit

_image_through: Final = (
    select(events.c.revision, events.c.new_row)
    .where(
        events.c.namespace == bindparam("namespace"),
        events.c.kind == capsules_table.name,
        events.c.subject == bindparam("subject"),
        events.c.revision <= bindparam("revision"),
    )
    .order_by(events.c.revision.desc(), events.c.position.desc())
    .limit(1)
)
_text_of: Final = select(manifests.c.format, manifests.c.text).where(
    manifests.c.namespace == bindparam("namespace"), manifests.c.digest == bindparam("digest")
)


def require(scope: Scope, capsule_id: CapsuleId, expected: int | None) -> None:
    """
    Require that generation of the capsule, if one is expected.

    Raises:
        StaleGenerationError: Another is registered, or none.
    """
    if expected is not None:
        _require(capsules.find_row(scope, capsule_id), expected)


def expected_row(scope: Scope, capsule_id: CapsuleId, expected: int | None) -> Row:
    """
    Return the row of the registered capsule, with its manifest; of that generation, if one is.

    Raises:
        StaleGenerationError: Another is registered, or none.
        CapsuleNotFoundError: None is, and any is expected.
    """
    if expected is None:
        return capsules.require_row(scope, capsule_id)
    return _require(capsules.find_row(scope, capsule_id), expected)


def _require(row: Row | None, expected: int) -> Row:
    if row is None or row["generation"] != expected:
        raise StaleGenerationError(expected, None if row is None else row["generation"])
    return row


def standing(unit: Unit, capsule_id: CapsuleId, revision: int | None) -> NewCapsule:
    """
    Return what stood under the id at *revision*, to be registered again.

    If `None`: the generation before that which stands, or stood last.

    Raises:
        GenerationNotFoundError: Nothing stood there, or what stands now.
        RevisionCompactedError: The history that would tell was pruned.
        InvalidManifestError: The runtime of the namespace refuses the manifest.
    """
    now = capsules.find_row(unit, capsule_id)
    if revision is None:
        row = _before(unit, capsule_id, None if now is None else now["generation"])
    else:
        row = _at(unit, capsule_id, revision)
    if now is not None and row["generation"] == now["generation"]:
        raise GenerationNotFoundError(capsule_id, f"generation {now['generation']} stands now")
    new = NewCapsule.of(_manifest(unit, row)).judged_by(unit.runtime_version)
    return new.restoring(row["generation"], tools_of_json(row["reported_tools"]), row["source_dir"])


def _at(unit: Unit, capsule_id: CapsuleId, revision: int) -> Row:
    if revision < unit.compacted_revision:  # Pruned since it was asked for.
        raise RevisionCompactedError(revision, unit.compacted_revision)
    found = _last_event(unit, capsule_id, revision)
    if found is None or found.row is None:
        reason = f"nothing was registered at revision {revision}"
        raise GenerationNotFoundError(capsule_id, reason)
    return found.row


def _before(unit: Unit, capsule_id: CapsuleId, generation: int | None) -> Row:
    """Return the last row of a generation before that one, or of the last of all."""
    revision = (unit.revision if generation is None else generation) - 1
    # Of what lies before a pruning, only what stood at it is known.
    while revision >= max(unit.compacted_revision, 1):
        found = _last_event(unit, capsule_id, revision)
        if found is None:
            break
        if found.row is not None:
            return found.row
        revision = found.revision - 1
    if unit.compacted_revision:
        raise RevisionCompactedError(revision, unit.compacted_revision)
    raise GenerationNotFoundError(capsule_id, "there is no generation before")


class _Event(NamedTuple):
    """An event of a capsule, and its row since then, unless it was unregistered or reserved."""

    revision: int
    row: Row | None


def _last_event(unit: Unit, capsule_id: CapsuleId, revision: int) -> _Event | None:
    """Return the last event of the capsule at or before *revision*."""
    parameters = {"namespace": unit.namespace, "subject": capsule_id, "revision": revision}
    found = unit.execute(_image_through, parameters).first()
    if found is None:
        return None
    row = None
    if found.new_row is not None:
        row = row_of_image(capsules_table, unit.namespace, found.new_row)
    return _Event(found.revision, row if row and row["generation"] is not None else None)


def _manifest(unit: Unit, row: Row) -> CapsuleManifest:
    parameters = {"namespace": unit.namespace, "digest": row["manifest_digest"]}
    language, text = unit.execute(_text_of, parameters).one_or_none() or (None, None)
    return capsules.read_back(row, language, text)
