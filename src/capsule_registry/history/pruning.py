"""
Pruning: deleting the oldest part of a history so that the rest still verifies and replays.

The last event of each row that existed at the end of that part is kept; of a capsule's row the one
that made it too, since no image tells when that was. A `history.pruned` event records the count and
digest of the kept events. Nothing would ever show afterwards that one of them had been changed
before, so what is about to be deleted is replayed first, up to the anchor.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, bindparam, delete, exists, or_, select, update

from capsule_registry.database.dialects.types import time_text
from capsule_registry.errors import HistoryCorruptError
from capsule_registry.history.replay import EVENTS_THROUGH, PRUNED, Replay, json_object
from capsule_registry.history.revisions import after as revisions_after
from capsule_registry.schema.tables import capsules, events, revisions
from capsule_registry.schema.tables import namespaces as namespaces_table
from capsule_registry.unit_of_work import namespaces
from capsule_registry.unit_of_work.hash_chain import event_line, sha256_of_lines

if TYPE_CHECKING:
    from capsule_registry.models.records import Anchor
    from capsule_registry.unit_of_work.queries import Scope
    from capsule_registry.unit_of_work.unit import Unit

#: The most revisions deleted by one unit, so that other writers get a turn in between.
REVISIONS_PER_UNIT: Final = 50_000

_old = and_(events.c.namespace == bindparam("namespace"), events.c.revision <= bindparam("through"))
_later = events.alias("later")
_has_later = exists().where(
    _later.c.namespace == events.c.namespace,
    _later.c.kind == events.c.kind,
    _later.c.subject == events.c.subject,
    # One index range, beginning at the event itself.
    _later.c.revision >= events.c.revision,
    _later.c.revision <= bindparam("through"),
    or_(_later.c.revision > events.c.revision, _later.c.position > events.c.position),
)
_made_a_capsule_that_is_there = and_(
    events.c.kind == capsules.name,
    events.c.old_row.is_(None),
    ~_has_later.where(_later.c.new_row.is_(None)),
)
_superfluous = delete(events).where(
    _old, or_(events.c.new_row.is_(None), and_(_has_later, ~_made_a_capsule_that_is_there))
)
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


def anchored_hashes(scope: Scope, anchor: Anchor) -> dict[int, str]:
    """
    Replay the history up to *anchor*; return the hash of each revision that a unit may prune to.

    The hashes hold whatever happens to the history later: they lead to that of the anchor.

    Raises:
        HistoryCorruptError: The history does not lead to the anchor.
    """
    replay, hashes = _begin(scope, namespaces.head(scope).compacted_revision), {}
    while replay.revision < anchor.revision:
        through = min(replay.revision + REVISIONS_PER_UNIT, anchor.revision)
        _follow(scope, replay, through)
        hashes[through] = replay.hash
    if replay.hash != anchor.hash:
        raise HistoryCorruptError(f"revision {anchor.revision}", "it is not the anchored one")
    return hashes


def prune(unit: Unit, through: int, anchored_hash: str) -> int:
    """
    Delete the history through *through*, record that, and return how many revisions were deleted.

    The head's `compacted_revision` moves first: the triggers refuse deletes beyond it.

    Args:
        unit: The unit, under whose lock what is deleted and what is kept is verified.
        through: The last revision to delete.
        anchored_hash: Its hash, by `anchored_hashes`.

    Raises:
        HistoryCorruptError: The history does not lead to that hash; nothing was deleted.
    """
    if through <= unit.compacted_revision:
        return 0
    replay = _begin(unit, unit.compacted_revision)
    _follow(unit, replay, through)
    if replay.hash != anchored_hash:
        raise HistoryCorruptError(f"revision {through}", "it does not lead to the anchored one")
    parameters = {"namespace": unit.namespace, "through": through}
    committed_at = time_of(unit, through)
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
            "hash": anchored_hash,
            "kept_count": len(kept),
            "kept_digest": sha256_of_lines(kept),
            "through": through,
        },
    )
    return gone


def _begin(scope: Scope, compacted: int) -> Replay:
    """Return a replay that stands at *compacted*, after what was kept of the history till there."""
    replay = Replay(scope.namespace)
    if compacted:
        replay.begin_after(scope, compacted)
        said = scope.scalar(_last_pruning, {"namespace": scope.namespace})
        with replay.reading("record of the pruning"):
            replay.hash = replay.require_kept(json_object(said or ""), compacted)
    return replay


def _follow(scope: Scope, replay: Replay, through: int) -> None:
    """
    Replay the history through *through*.

    Raises:
        HistoryCorruptError: Something is not as it was written.
    """
    while replay.revision < through and (batch := revisions_after(scope, replay.revision)):
        for row, of_revision in batch:
            if row["revision"] <= through:
                replay.follow(row, of_revision)
        if batch[-1][0]["revision"] >= through:
            break
    if replay.revision != through:
        replay.report(f"revision {through}", "is missing")
    for found in replay.discrepancies:
        raise HistoryCorruptError(found.where, f"{found.problem}; nothing was pruned")
