"""The history of a namespace: listed, followed, checked, anchored and pruned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from capsule_registry.errors import (
    HistoryCorruptError,
    IncarnationChangedError,
    RevisionCompactedError,
)
from capsule_registry.history import revisions
from capsule_registry.history.pruning import REVISIONS_PER_UNIT, hash_of, prune
from capsule_registry.history.verification import Verification, verify
from capsule_registry.history.watch import Watch
from capsule_registry.identifiers import CapsuleId
from capsule_registry.models.limits import require_storable_text
from capsule_registry.models.records import Anchor
from capsule_registry.unit_of_work import namespaces
from capsule_registry.unit_of_work.hash_chain import hash_lines
from capsule_registry.unit_of_work.queries import Scope

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterator
    from datetime import datetime, timedelta
    from uuid import UUID

    from capsule_registry.history.revisions import Revision, WholeRow
    from capsule_registry.unit_of_work.queries import Reading
    from capsule_registry.unit_of_work.runner import UnitRunner

#: The largest page that every database takes.
_MOST: Final = 2**31 - 1


class History:
    """What has happened in a namespace: one revision for each transaction that changed anything."""

    def __init__(self, read: Reading, runner: UnitRunner) -> None:
        self._read = read
        self._runner = runner

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
            require_storable_text(name, text)
        wanted = None if capsule_id is None else CapsuleId(capsule_id)

        def find(scope: Scope) -> builtins.list[Revision]:
            head = namespaces.head(scope)
            first = head.compacted_revision if after is None else min(after, head.revision)
            found = revisions.find(
                scope,
                after=first,
                limit=min(limit, _MOST),
                since=since,
                until=until,
                capsule_id=wanted,
                action=action,
                actor=actor,
            )
            # Looked at last: what was read before a pruning is whole.
            compacted = namespaces.head(scope).compacted_revision
            if first >= compacted:
                return found
            if after is None:
                return find(scope)
            raise RevisionCompactedError(first, compacted)

        return self._read(find)

    def watch(
        self,
        *,
        after: int | None = None,
        incarnation: UUID | None = None,
        timeout: timedelta | None = None,
    ) -> Watch:
        """
        Return an iterator of the revisions after *after*, which waits for more; see `Watch`.

        Args:
            after: The last revision that is known already; without it, the head of now.
            incarnation: Of the history that *after* was taken from (`Watch.incarnation`, or an
                anchor's): a database that was brought back from a backup since has another.
            timeout: End once nothing has come for so long; without it, never.

        Raises:
            FutureRevisionError, RevisionCompactedError, IncarnationChangedError: It cannot begin
                there.
            NamespaceNotFoundError: The namespace was dropped.
        """
        return Watch(self._read, after, incarnation, timeout)

    def anchor(self) -> Anchor:
        """Return the head as an anchor: keep it where nobody who can write here can reach it."""
        head = self._read(namespaces.head)
        namespace = self._runner.namespace
        try:
            return Anchor(
                namespace=namespace,
                incarnation=head.incarnation,
                revision=head.revision,
                hash=head.hash,
            )
        except ValidationError as error:
            raise HistoryCorruptError(f"namespace {namespace}", str(error)) from error

    def verify(
        self,
        anchor: Anchor | None = None,
        *,
        progress: Callable[[int], object] = lambda _: None,
    ) -> Verification:
        """
        Recompute the history, and hold it against itself, the live tables and *anchor*.

        All at one moment; nobody is kept waiting. Memory is bounded by what is registered. What a
        pruning kept rests on the record of that pruning, so anchor anew after each.

        Args:
            anchor: What `anchor` returned at some time. Without it, a history whose end was cut
                off and one that was rewritten to its end pass.
            progress: Called now and then with the revision that was reached.
        """
        runner = self._runner
        with runner.database.snapshot() as conn:
            return verify(Scope(conn, runner.namespace, runner.clock), anchor, progress)

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
        self._read(_require_anchored, through)
        gone = 0
        while (done := self._read(namespaces.head).compacted_revision) < through.revision:
            next_one = min(done + REVISIONS_PER_UNIT, through.revision)
            gone += self._runner.run(prune, reason, actor, through, next_one)
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
            IncarnationChangedError: The database was brought back from a backup meanwhile.
        """
        head = self._read(namespaces.head)
        position = head.compacted_revision if after is None else min(after, head.revision)
        incarnation = self._read(revisions.incarnation_at, position)
        while found := self._read(_after, position, head.incarnation):
            for row, events in found:
                incarnation = revisions.incarnation_after(events) or incarnation
                yield from hash_lines(incarnation, row, events)
                position = row["revision"]


def _after(scope: Scope, position: int, incarnation: UUID) -> list[WholeRow]:
    found = revisions.after(scope, position)
    # Looked at last: what was read before a pruning is whole.
    head = namespaces.head(scope)
    if head.incarnation != incarnation:
        raise IncarnationChangedError(incarnation, head.incarnation)
    head.require_known(position)
    return found


def _require_anchored(scope: Scope, anchor: Anchor) -> None:
    found = hash_of(scope, anchor.revision)
    head = namespaces.head(scope)
    head.require_known(anchor.revision)
    if anchor.revision <= head.compacted_revision:
        raise RevisionCompactedError(anchor.revision, head.compacted_revision)
    if (anchor.namespace, anchor.hash) != (scope.namespace, found):
        raise HistoryCorruptError(f"revision {anchor.revision}", "it is not the anchored one")
