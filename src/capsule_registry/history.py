"""The history of a namespace: listed, followed, checked, anchored and pruned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsule_registry import namespaces, revisions
from capsule_registry.candidates import check_text
from capsule_registry.errors import RevisionCompactedError
from capsule_registry.identifiers import CapsuleId
from capsule_registry.scope import Scope
from capsule_registry.watch import Watch

if TYPE_CHECKING:
    import builtins
    from datetime import datetime, timedelta

    from sqlalchemy import Connection

    from capsule_registry.database import Database
    from capsule_registry.revisions import Revision


class History:
    """What has happened in a namespace: one revision for each transaction that changed anything."""

    def __init__(self, database: Database, namespace: str) -> None:
        self._database = database
        self._namespace = namespace

    @property
    def revision(self) -> int:
        """The last revision, from which a watch loses nothing."""
        return self._database.read(lambda conn: namespaces.head(self._scope(conn))).revision

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

        def find(conn: Connection) -> builtins.list[Revision]:
            scope = self._scope(conn)
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

        return self._database.read(find)

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

    def _scope(self, conn: Connection) -> Scope:
        return Scope(conn, self._namespace)
