"""Whether the history of a namespace is whole, and the live tables are what it leads to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from capsule_registry.history import live_rows, revisions
from capsule_registry.history.replay import Discrepancy, Replay
from capsule_registry.schema.tables import events
from capsule_registry.schema.tables import revisions as revisions_table
from capsule_registry.unit_of_work import namespaces

if TYPE_CHECKING:
    from collections.abc import Callable

    from capsule_registry.models.anchors import Anchor
    from capsule_registry.unit_of_work.namespaces import Head
    from capsule_registry.unit_of_work.scope import Scope


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found: where the history ends, how much was read, and what is wrong."""

    revision: int
    hash: str
    revision_count: int
    event_count: int
    discrepancies: tuple[Discrepancy, ...]

    @property
    def ok(self) -> bool:
        """Say whether nothing is wrong."""
        return not self.discrepancies


def verify(scope: Scope, anchor: Anchor | None, progress: Callable[[int], object]) -> Verification:
    """
    Read the whole history at one moment, and hold it against itself, the live rows and *anchor*.

    Args:
        scope: On a connection that reads at one moment.
        anchor: What was kept elsewhere; without it a tail that was cut, and a history that was
            rewritten to its end, are not seen.
        progress: Called with each revision that was read, now and then.
    """
    head = namespaces.head(scope)
    replay = Replay(scope.namespace)
    with replay.reading("the history, or what is left of it"):
        _follow(scope, head, replay, anchor, progress)
    _check_head(replay, head)
    _report_strays(scope, replay, head)
    live_rows.compare(scope, replay, max(scope.moment().time, head.last_commit_at))
    return Verification(
        replay.revision,
        replay.hash,
        replay.revision_count,
        replay.event_count,
        tuple(replay.discrepancies),
    )


def _follow(
    scope: Scope,
    head: Head,
    replay: Replay,
    anchor: Anchor | None,
    progress: Callable[[int], object],
) -> None:
    if head.compacted:
        replay.begin_after(scope, head.compacted)
    before = None
    while batch := revisions.after(scope, replay.revision):
        for row, of_revision in batch:
            if before is None:
                before = row["previous_hash"] if head.compacted else replay.hash
                replay.hash = before
                _check_anchor(replay, anchor)
            replay.follow(row, of_revision)
            _check_anchor(replay, anchor)
        progress(replay.revision)
    replay.check_pruning(head.compacted, before or "")
    if anchor is not None and anchor.revision < head.compacted:
        replay.report("anchor", f"is older than what was pruned: revision {head.compacted}")
    if anchor is not None and anchor.revision > replay.revision:
        replay.report("head", f"is before the anchor, revision {anchor.revision}: a tail was cut")


def _check_anchor(replay: Replay, anchor: Anchor | None) -> None:
    if anchor is None or anchor.revision != replay.revision:
        return
    if (anchor.namespace, anchor.hash) != (replay.namespace, replay.hash):
        replay.report(f"revision {anchor.revision}", "is not the one that was anchored")


def _check_head(replay: Replay, head: Head) -> None:
    if (head.revision, head.hash) != (replay.revision, replay.hash):
        said = f"revision {head.revision}, the history ends with {replay.revision}"
        replay.report("head", f"says {said}, or with another hash")
    if head.last_commit_at != replay.committed_at:
        replay.report("head", f"last_commit_at is {head.last_commit_at}: not that of its revision")
    if head.incarnation != replay.incarnation:
        replay.report("head", "has an incarnation that the history knows nothing of")


def _report_strays(scope: Scope, replay: Replay, head: Head) -> None:
    """Report rows outside the history: nothing of it leads to them, but something might."""
    for table, first in ((events, 1), (revisions_table, head.compacted + 1)):
        for outside in (table.c.revision < first, table.c.revision > head.revision):
            found = select(func.count()).where(table.c.namespace == scope.namespace, outside)
            if count := scope.scalar(found):
                replay.report(table.name, f"{count} rows lie outside of the history")
