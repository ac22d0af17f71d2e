"""The history of a namespace: listed, followed, checked, anchored and pruned."""

from __future__ import annotations

from datetime import UTC, datetime
from operator import index
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from capsule_registry.api.differences import differences
from capsule_registry.api.point_in_time import past_at
from capsule_registry.database.measures import Verified
from capsule_registry.errors import (
    HistoryCorruptError,
    IncarnationChangedError,
    RevisionCompactedError,
)
from capsule_registry.history import revisions
from capsule_registry.history.pruning import anchored_hashes, hash_of, prune
from capsule_registry.history.watch import Watch
from capsule_registry.identifiers import CapsuleId, to_uuid
from capsule_registry.models.records import Anchor
from capsule_registry.models.storable import storable_text
from capsule_registry.plain_values import plain_time
from capsule_registry.unit_of_work import namespaces
from capsule_registry.unit_of_work.hash_chain import hash_lines
from capsule_registry.unit_of_work.queries import Scope
from capsule_registry.unit_of_work.registered_objects import RegisteredObjects

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterator
    from datetime import timedelta
    from uuid import UUID

    from capsule_registry.api.differences import Difference
    from capsule_registry.history.revisions import Revision, WholeRow
    from capsule_registry.history.verification import Verification
    from capsule_registry.unit_of_work.queries import Reading
    from capsule_registry.unit_of_work.runner import UnitRunner

#: The largest LIMIT that every database accepts.
_MAX_LIMIT: Final = 2**31 - 1


class History:
    """The history of a namespace: one revision for each transaction that changed anything."""

    def __init__(self, read: Reading, runner: UnitRunner) -> None:
        self._read = read
        self._runner = runner

    @property
    def revision(self) -> int:
        """The latest revision; a watch from it misses nothing."""
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
        Return the first *limit* revisions, in order and complete, that meet all conditions.

        For the next page, set *after* to the last `revision`. A pruned history begins after that.

        Args:
            after: Only revisions greater than this.
            capsule_id: With an event of this capsule.
            action: With an event of this action, such as `uuid.registered`.
            actor: By this actor, exactly as recorded.
            since: Committed at this time or later.
            until: Committed at this time or before.
            limit: The page size, at least one.

        Raises:
            InvalidCapsuleIdError: *capsule_id* is not a valid id.
            RevisionCompactedError: The history after *after* was pruned.
            ValueError: *limit* is less than one, or a time has no zone.
        """
        begin, end = (None if time is None else plain_time(time) for time in (since, until))
        has_zones = all(time is None or time.tzinfo is not None for time in (begin, end))
        if not isinstance(limit, int) or limit < 1 or not has_zones:
            raise ValueError("limit must be at least 1, and times need a zone")
        start = None if after is None else index(after)
        done, by = storable_text("action", action), storable_text("actor", actor)
        wanted = None if capsule_id is None else CapsuleId(capsule_id)

        def find(scope: Scope) -> builtins.list[Revision]:
            head = namespaces.head(scope)
            first = head.compacted_revision if start is None else min(start, head.revision)
            found = revisions.find(
                scope,
                after=first,
                limit=min(index(limit), _MAX_LIMIT),
                since=begin,
                until=end,
                capsule_id=wanted,
                action=done,
                actor=by,
            )
            # Checked last: what was read before a pruning is complete.
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
        Return an iterator over the revisions after *after*, which waits for more; see `Watch`.

        Args:
            after: The last revision known already; by default the current head.
            incarnation: That of the history *after* was taken from (`Watch.incarnation`, or an
                anchor's); a database restored from a backup since has another.
            timeout: End after so long without a revision; by default never.

        Raises:
            FutureRevisionError, RevisionCompactedError, IncarnationChangedError: It cannot begin
                there.
            NamespaceNotFoundError: The namespace was dropped.
        """
        followed = None if incarnation is None else to_uuid(incarnation)
        position = None if after is None else index(after)
        return Watch(self._read, position, followed, timeout)

    def diff(
        self, before: int | datetime, after: int | datetime | None = None
    ) -> builtins.list[Difference]:
        """
        Return what differs between two moments: what is registered, then parts of manifests.

        The former is sorted by kind and id, the latter is of capsules that are at both moments.

        Args:
            before: The earlier moment, a revision or a time.
            after: The later one; by default now.

        Raises:
            FutureRevisionError, RevisionCompactedError: There is no such moment, or no more.
            TypeError: A time has no zone.
        """
        end = self.revision if after is None else after
        objects = RegisteredObjects()
        old, new = (past_at(self._read, objects, one) for one in (before, end))
        return differences(old, new)

    def anchor(self) -> Anchor:
        """Return the head as an anchor; keep it out of reach of anyone who can write here."""
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
        Recompute the history, and compare it with itself, the live tables and *anchor*.

        It reads one snapshot and blocks nobody. Memory is bounded by what is registered. What a
        pruning kept is vouched for by the record of that pruning alone, so anchor anew after each.

        Args:
            anchor: An earlier result of `anchor`. Without it, a history that was cut off, or
                rewritten to its end, passes.
            progress: Called now and then with the revision reached.
        """
        from capsule_registry.history.verification import verify  # noqa: PLC0415 - commands start without it

        runner = self._runner
        with runner.database.snapshot() as conn:
            # Whatever head is found: a tail that was cut is reported, not refused.
            found = verify(Scope(conn, runner.namespace, runner.clock), anchor, progress)
        last = Verified(datetime.now(UTC), found.revision, found.ok)
        runner.database.measures.verified[runner.namespace] = last
        return found

    def prune(self, through: Anchor, *, reason: str | None = None, actor: str | None = None) -> int:
        """
        Delete the history up to the anchor *through*; return how many revisions were deleted.

        The rest still verifies, `at` answers from that revision on, and a new revision records the
        pruning. Manifest texts are kept. Many revisions take several transactions.

        Raises:
            HistoryCorruptError: The history up to there is not the one that was anchored, or
                something in it was changed; nothing was deleted.
            FutureRevisionError: *through* is beyond the head.
            RevisionCompactedError: *through* was pruned already.
        """
        self._read(_require_anchored, through)
        runner = self._runner
        with runner.database.snapshot() as conn:
            hashes = anchored_hashes(runner.scope(conn), through)
        return sum(runner.run(prune, reason, actor, *one) for one in hashes.items())

    def export(self, *, after: int | None = None) -> Iterator[str]:
        """
        Yield the lines that are hashed: for each revision a header, then its events.

        The hash of a revision is the SHA-256 of its lines, each ended by a newline; the next header
        contains it. Read in batches, so memory is bounded.

        Args:
            after: Only revisions greater than this; without it, all that were not pruned.

        Raises:
            RevisionCompactedError: The history after *after* was pruned, before or meanwhile.
            IncarnationChangedError: The database was restored from a backup meanwhile.
        """
        head = self._read(namespaces.head)
        position = head.compacted_revision if after is None else min(index(after), head.revision)
        incarnation = self._read(revisions.incarnation_at, position)
        while found := self._read(_after, position, head.incarnation):
            for row, events in found:
                incarnation = revisions.incarnation_after(events) or incarnation
                yield from hash_lines(incarnation, row, events)
                position = row["revision"]


def _after(scope: Scope, position: int, incarnation: UUID) -> list[WholeRow]:
    found = revisions.after(scope, position)
    # Checked last: what was read before a pruning is complete.
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
