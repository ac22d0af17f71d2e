"""
Pruning: deleting the oldest part of a history so that the rest still verifies and replays.

The last event of each row that existed at the end of that part is kept; a `history.pruned` event
records the count and digest of the kept events.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, bindparam, delete, exists, or_, select, update

from capsule_registry.database.dialects.types import time_text
from capsule_registry.errors import HistoryCorruptError
from capsule_registry.schema.tables import events, revisions
from capsule_registry.schema.tables import namespaces as namespaces_table
from capsule_registry.unit_of_work.hash_chain import event_line, sha256_of_lines

if TYPE_CHECKING:
    from capsule_registry.models.records import Anchor
    from capsule_registry.unit_of_work.queries import Scope
    from capsule_registry.unit_of_work.unit import Unit

#: The kind of the events that record prunings.
PRUNED: Final = "history"
#: The most revisions deleted by one unit, so that other writers get a turn in between.
REVISIONS_PER_UNIT: Final = 50_000

_old = and_(events.c.namespace == bindparam("namespace"), events.c.revision <= bindparam("through"))
_later = events.alias("later")
_is_superseded = exists().where(
    _later.c.namespace == events.c.namespace,
    _later.c.kind == events.c.kind,
    _later.c.subject == events.c.subject,
    # One index range, beginning at the event itself.
    _later.c.revision >= events.c.revision,
    _later.c.revision <= bindparam("through"),
    or_(_later.c.revision > events.c.revision, _later.c.position > events.c.position),
)
_superfluous = delete(events).where(_old, or_(events.c.new_row.is_(None), _is_superseded))
#: The events up to a revision, in order; after a pruning, those that were kept.
EVENTS_THROUGH: Final = select(events).where(_old).order_by(events.c.revision, events.c.position)
_revisions = delete(revisions).where(
    revisions.c.namespace == bindparam("namespace"), revisions.c.revision <= bindparam("through")
)
_of_revision = and_(
    revisions.c.namespace == bindparam("namespace"), revisions.c.revision == bindparam("revision")
)
_hash = select(revisions.c.hash).where(_of_revision)
_time = select(revisions.c.committed_at).where(_of_revision)
_compact = (
    update(namespaces_table)
    .where(namespaces_table.c.name == bindparam("namespace"))
    .values(compacted_revision=bindparam("through"))
)
_last_pruning = (
    select(events.c.new_row)
    .where(
        events.c.namespace == bindparam("namespace"),
        events.c.kind == PRUNED,
        events.c.subject == bindparam("namespace"),
    )
    .order_by(events.c.revision.desc())
    .limit(1)
)


def hash_of(scope: Scope, revision: int) -> str | None:
    """Return the hash of *revision*, or `None` if there is no such revision."""
    parameters = {"namespace": scope.namespace, "revision": revision}
    found: str | None = scope.scalar(_hash, parameters)
    return found


def time_of(scope: Scope, revision: int) -> datetime:
    """
    Return when *revision* committed, even if the history was pruned through it.

    If neither its row nor the last pruning tells, return the end of time, when no lease is live.
    """
    parameters = {"namespace": scope.namespace, "revision": revision}
    found: datetime | None = scope.scalar(_time, parameters)
    if found is not None:
        return found
    said = json.loads(scope.scalar(_last_pruning, {"namespace": scope.namespace}) or "{}")
    if said.get("through") != revision or "committed_at" not in said:
        return datetime.max.replace(tzinfo=UTC)
    return datetime.fromisoformat(said["committed_at"])


def prune(unit: Unit, anchor: Anchor, through: int) -> int:
    """
    Delete the history through *through*, record that, and return how many revisions were deleted.

    *anchor* must be at *through* or later. The head's `compacted_revision` moves first: the
    triggers refuse deletes beyond it.
    """
    if through <= unit.compacted_revision:
        return 0
    if hash_of(unit, anchor.revision) != anchor.hash:
        raise HistoryCorruptError(f"revision {anchor.revision}", "it is not the anchored one")
    parameters = {"namespace": unit.namespace, "through": through}
    last_hash, committed_at = hash_of(unit, through), time_of(unit, through)
    if last_hash is None:
        raise HistoryCorruptError(f"revision {through}", "it is missing")
    before = unit.scalar(_last_pruning, {"namespace": unit.namespace})
    unit.execute(_compact, parameters)
    unit.execute(_superfluous, parameters)
    gone = unit.execute(_revisions, parameters).rowcount
    kept = [
        event_line(event) for event in unit.execute(EVENTS_THROUGH, parameters).mappings().all()
    ]
    unit.file(
        "history.pruned",
        PRUNED,
        before,
        {
            "committed_at": time_text(committed_at),
            "hash": last_hash,
            "kept_count": len(kept),
            "kept_digest": sha256_of_lines(kept),
            "through": through,
        },
    )
    return gone
