"""The history of a namespace: listed, followed, checked, anchored and pruned."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from capsule_registry import namespaces, revisions
from capsule_registry.anchors import Anchor
from capsule_registry.candidates import MAX_ACTOR, check_text
from capsule_registry.chain import export_lines
from capsule_registry.errors import HistoryCorruptError, RevisionCompactedError
from capsule_registry.identifiers import CapsuleId
from capsule_registry.pruning import BATCH, hash_of, prune
from capsule_registry.scope import Scope
from capsule_registry.verification import Verification, verify
from capsule_registry.watch import Watch

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterator
    from datetime import datetime, timedelta

    from sqlalchemy import Connection

    from capsule_registry.database import Database
    from capsule_registry.revisions import Revision, WholeRow
    from capsule_registry.units import Units

T = TypeVar("T")


class History:
    """What has happened in a namespace: one revision for each transaction that changed anything."""

    def __init__(self, database: Database, namespace: str, units: Units) -> None:
        self._database = database
        self._namespace = namespace
        self._units = units

    @property
    def revision(self) -> int:
        """The last revision, from which a watch loses nothing."""
        return self._read(namespaces.head).revision

    def list(  # noqa: PLR0913 - one keyword for each thing to filter by
        self,
        *,
        after: int | None = None,
        capsule_id: str | None = None,
        action: str | None = None,
        actor: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
    ) -> builtins.list[Revision]:
        """
        Return the first *limit* revisions, in order, that meet all conditions given, each whole.

        For the next page, set *after* to the last one's `revision`. Where the history was pruned,
        it begins after that.

        Args:
            after: Only revisions greater than this.
            capsule_id: With an event of this capsule.
            action: With an event of this action, such as `uuid.registered`.
            actor: By this actor, exactly as recorded.
            since: Committed at this time or later.
            until: Committed at this time or before.
            limit: At most so many, at least one.

        Raises:
            InvalidCapsuleIdError: *capsule_id* is outside the grammar of ids.
            RevisionCompactedError: The history after *after* was pruned.
            ValueError: *limit* is less than one, or a time has no zone.
        """
        if limit < 1 or any(time is not None and time.tzinfo is None for time in (since, until)):
            raise ValueError("limit must be at least 1, and times need a zone")
        for name, text in (("action", action), ("actor", actor)):
            check_text(name, text)
        wanted = None if capsule_id is None else CapsuleId(capsule_id)

        def find(scope: Scope) -> builtins.list[Revision]:
            first = namespaces.head(scope).compacted if after is None else after
            found = revisions.find(
                scope,
                after=first,
                limit=limit,
                since=since,
                until=until,
                capsule_id=wanted,
                action=action,
                actor=actor,
            )
            # Looked at last: what was read before a pruning is whole.
            compacted = namespaces.head(scope).compacted
            if first < compacted:
                raise RevisionCompactedError(first, compacted)
            return found

        return self._read(find)

    def watch(self, *, after: int | None = None, timeout: timedelta | None = None) -> Watch:
        """
        Return an iterator of the revisions after *after*, which waits for more; see `Watch`.

        Args:
            after: The last revision that is known already; without it, the head of now.
            timeout: End once nothing has come for so long; without it, never.

        Raises:
            NamespaceNotFoundError: The namespace was dropped.
        """
        return Watch(self._database, self._namespace, after, timeout)

    def anchor(self) -> Anchor:
        """Return the head as an anchor: keep it where nobody who can write here can reach it."""
        head = self._read(namespaces.head)
        return Anchor(
            namespace=self._namespace,
            incarnation=head.incarnation,
            revision=head.revision,
            hash=head.hash,
        )

    def verify(
        self,
        anchor: Anchor | None = None,
        *,
        progress: Callable[[int], object] = lambda _: None,
    ) -> Verification:
        """
        Recompute the history, and hold it against itself, the live tables and *anchor*.

        All at one moment; nobody is kept waiting. Memory is bounded by what is registered.

        Args:
            anchor: What `anchor` returned at some time. Without it, a history whose end was cut
                off and one that was rewritten to its end pass.
            progress: Called now and then with the revision that was reached.
        """
        with self._database.snapshot() as conn:
            return verify(self._scope(conn), anchor, self._units.now(conn), progress)

    def prune(self, through: Anchor, *, reason: str | None = None, actor: str | None = None) -> int:
        """
        Delete the history up to *through*, which says what it was; return how many revisions went.

        What is left still verifies, `at` answers from that revision on, and a new revision records
        what was done. Texts of manifests are kept. Many revisions go in several units.

        Raises:
            HistoryCorruptError: The history up to there is not the one that was anchored; nothing
                was deleted.
            FutureRevisionError: It lies beyond the head.
            RevisionCompactedError: It was pruned before.
        """
        check_text("reason", reason)
        check_text("actor", actor, MAX_ACTOR)
        self._read(partial(_check_anchored, through))
        gone = 0
        while (compacted := self._compacted()) < through.revision:
            until = min(compacted + BATCH, through.revision)
            work = partial(prune, through=until)
            gone += self._units.run(work, reason=reason, actor=actor)
        return gone

    def export(self, *, after: int | None = None) -> Iterator[str]:
        """
        Yield the lines that the hashes are made of: of each revision a header, then its events.

        The SHA-256 of the lines of a revision, each ended by a newline, is its hash, and the header
        of the next one has it. Read in batches, so memory is bounded.

        Args:
            after: Only revisions greater than this; without it, all that were not pruned.

        Raises:
            RevisionCompactedError: The history after *after* was pruned, if need be meanwhile.
        """
        position = self._compacted() if after is None else after
        incarnation = self._read(partial(revisions.incarnation_at, revision=position))
        while batch := self._read(partial(self._batch, position)):
            for row, events in batch:
                incarnation = revisions.incarnation_after(events) or incarnation
                yield from export_lines(incarnation, row, events)
                position = row["revision"]

    def _batch(self, position: int, scope: Scope) -> builtins.list[WholeRow]:
        found = revisions.after(scope, position)
        # Looked at last: what was read before a pruning is whole.
        namespaces.head(scope).check(position)
        return found

    def _compacted(self) -> int:
        return self._read(namespaces.head).compacted

    def _read(self, work: Callable[[Scope], T]) -> T:
        return self._database.read(lambda conn: work(self._scope(conn)))

    def _scope(self, conn: Connection) -> Scope:
        return Scope(conn, self._namespace)


def _check_anchored(anchor: Anchor, scope: Scope) -> None:
    head = namespaces.head(scope)
    head.check(anchor.revision)
    if anchor.revision == head.compacted:
        raise RevisionCompactedError(anchor.revision, head.compacted)
    if (anchor.namespace, anchor.hash) != (scope.namespace, hash_of(scope, anchor.revision)):
        raise HistoryCorruptError(f"revision {anchor.revision}", "it is not the anchored one")
