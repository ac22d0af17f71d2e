"""
The latest head that this process has seen of a history; a server that is behind it is refused.

A promoted standby may lack the last revisions that its primary acknowledged, and so may a
database restored from a backup.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, select
from sqlalchemy.exc import DBAPIError

from capsule_registry.database.driver_errors import fault_of
from capsule_registry.errors import HistoryCorruptError, IncarnationChangedError
from capsule_registry.schema.tables import namespaces, revisions

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

#: The columns that tell a head, in the rows of a query `with_head`.
HEAD: Final = (namespaces.c.revision, namespaces.c.incarnation, namespaces.c.head_hash)
_head = select(*HEAD).where(namespaces.c.name == bindparam("namespace"))
_hash = select(revisions.c.hash).where(
    revisions.c.namespace == bindparam("namespace"), revisions.c.revision == bindparam("revision")
)


@dataclass(frozen=True, slots=True)
class Position:
    """A head as it was seen; `None` where the incarnation or hash is not known."""

    revision: int
    incarnation: UUID | None
    hash: str | None

    def require_not_behind(self, found: Position) -> None:
        """
        Refuse a head *found* later that is behind this one, unless its incarnation is new.

        Raises:
            IncarnationChangedError: It is behind, or has another hash at the same revision.
        """
        if not self._is_comparable(found):
            return
        if found.revision < self.revision:
            expected, actual = f"revision {self.revision}", f"revision {found.revision}"
            raise IncarnationChangedError(expected, actual)
        if found.revision == self.revision and None not in (found.hash, self.hash):
            self._require_hash(found.hash)

    def require_continued(self, found: Position, hash_here: str | None) -> None:
        """Refuse a later head *found* if its history has another hash at this revision."""
        if self._is_comparable(found) and None not in (hash_here, self.hash):
            self._require_hash(hash_here)

    def _require_hash(self, found: str | None) -> None:
        if found != self.hash:
            place = f"revision {self.revision} with the hash"
            raise IncarnationChangedError(f"{place} {self.hash}", f"{place} {found}")

    def _is_comparable(self, found: Position) -> bool:
        return None in (self.incarnation, found.incarnation) or (
            self.incarnation == found.incarnation
        )


def look_again(conn: Connection, namespace: str, last: Position) -> Position | None:
    """
    Return the head that *conn* sees now; `None` if the namespace is gone.

    Raises:
        IncarnationChangedError: It is behind *last*, or belongs to another history.
    """
    row = conn.execute(_head, {"namespace": namespace}).mappings().one_or_none()
    if row is None:
        return None
    found = Position(row["revision"], row["incarnation"], row["head_hash"])
    last.require_not_behind(found)
    if last.hash is not None and found.revision > last.revision:
        parameters = {"namespace": namespace, "revision": last.revision}
        last.require_continued(found, _hash_at(conn, parameters))
    return found


def _hash_at(conn: Connection, parameters: dict[str, Any]) -> str | None:
    """Return the hash of a revision; `None` if it was pruned, or the role may not read it."""
    try:
        found: str | None = conn.scalar(_hash, parameters)
    except DBAPIError as error:
        if fault_of(error, conn.dialect.name) != "permission":
            raise
        return None
    return found


class HighWaterMark:
    """The latest head seen of one namespace."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self._lock = Lock()
        self.last = Position(0, None, None)

    def note(self, found: Position) -> None:
        """Keep *found* if it is later than the last one, or of another incarnation."""
        with self._lock:
            is_another = found.incarnation != self.last.incarnation
            if is_another or found.revision > self.last.revision:
                self.last = found

    def look(self, conn: Connection) -> None:
        """
        Check the head that *conn*, a new connection, sees; the namespace may be gone.

        Raises:
            IncarnationChangedError: It is behind the latest one, or belongs to another history.
        """
        last = self.last  # Before the query: other threads may note later heads meanwhile.
        if (found := look_again(conn, self.namespace, last)) is not None:
            self.note(found)

    def take(self, found: Position, last: Position) -> None:
        """
        Keep the head *found* by a statement before which *last* was the latest one.

        Raises:
            IncarnationChangedError: It is behind that, or belongs to another history.
            HistoryCorruptError: Its revision is no number.
        """
        if not isinstance(found.revision, int):
            raise HistoryCorruptError(f"namespace {self.namespace}", "its revision is no number")
        if found != last:
            last.require_not_behind(found)
            self.note(found)
