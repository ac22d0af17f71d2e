"""
How far this process has seen a history go: a server that knows less of it is not believed.

A standby that was promoted may lack the last revisions that its primary has acknowledged, and so
may a database that was restored from a backup.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select
from sqlalchemy.exc import DBAPIError

from capsule_registry.database.driver_errors import fault_of
from capsule_registry.errors import IncarnationChangedError
from capsule_registry.schema.tables import namespaces, revisions

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

_head = select(namespaces.c.revision, namespaces.c.incarnation, namespaces.c.head_hash).where(
    namespaces.c.name == bindparam("namespace")
)
_hash = select(revisions.c.hash).where(
    revisions.c.namespace == bindparam("namespace"), revisions.c.revision == bindparam("revision")
)


@dataclass(frozen=True, slots=True)
class Position:
    """A revision that was seen at the head, and its incarnation and hash where they are known."""

    revision: int
    incarnation: UUID | None
    hash: str | None

    def require_not_behind(self, found: Position) -> None:
        """
        Refuse what was *found* later, unless an operator has said that it is a new incarnation.

        Raises:
            IncarnationChangedError: It is behind, or differs at the same revision.
        """
        if not self._is_comparable(found):
            return
        if found.revision < self.revision:
            expected, actual = f"revision {self.revision}", f"revision {found.revision}"
            raise IncarnationChangedError(expected, actual)
        if found.revision == self.revision and None not in (found.hash, self.hash):
            self._require_hash(found.hash)

    def require_continued(self, found: Position, hash_here: str | None) -> None:
        """Refuse what was *found* further on if its history has another hash at this revision."""
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
    Return what is seen on *conn* now; `None` where the namespace is gone.

    Raises:
        IncarnationChangedError: It is behind what was seen *last*, or another history.
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
    """Return the hash of a revision; `None` where it was pruned, or the role may not see it."""
    try:
        found: str | None = conn.scalar(_hash, parameters)
    except DBAPIError as error:
        if fault_of(error, conn.dialect.name) != "permission":
            raise
        return None
    return found


class HighWaterMark:
    """The furthest position that has been seen of one namespace."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._lock = Lock()
        self.last = Position(0, None, None)

    def note(self, found: Position) -> None:
        """Note what was found."""
        with self._lock:
            is_another = found.incarnation != self.last.incarnation
            if is_another or found.revision > self.last.revision:
                self.last = found

    def look(self, conn: Connection) -> None:
        """
        See how far the history goes on *conn*, a new connection; a namespace may be gone.

        Raises:
            IncarnationChangedError: It is behind what was seen, or another one.
        """
        last = self.last  # Before asking: what is seen meanwhile may be beyond the answer.
        if (found := look_again(conn, self._namespace, last)) is not None:
            self.note(found)
