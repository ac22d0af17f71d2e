"""
How far this process has seen a history go: a server that knows less of it is not believed.

A standby that was promoted may lack the last that its primary has acknowledged, and so may a
database that was brought back from a backup.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select
from sqlalchemy.exc import DBAPIError

from capsule_registry.database.dialects.dialect import dialect_named
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
class Sighting:
    """A revision that was seen at the head, and its incarnation and hash where they are known."""

    revision: int
    incarnation: UUID | None
    hash: str | None

    def check(self, found: Sighting) -> None:
        """
        Refuse what was *found* later, unless an operator has said that it is a new incarnation.

        Raises:
            IncarnationChangedError: It is behind, or another at the same revision.
        """
        if not self._is_comparable(found):
            return
        if found.revision < self.revision:
            expected, actual = f"revision {self.revision}", f"revision {found.revision}"
            raise IncarnationChangedError(expected, actual)
        if found.revision == self.revision and None not in (found.hash, self.hash):
            self._check_hash(found.hash)

    def continues(self, found: Sighting, hash_here: str | None) -> None:
        """Refuse what was *found* further on if its history has another hash at this revision."""
        if self._is_comparable(found) and None not in (hash_here, self.hash):
            self._check_hash(hash_here)

    def _check_hash(self, found: str | None) -> None:
        if found != self.hash:
            place = f"revision {self.revision} with the hash"
            raise IncarnationChangedError(f"{place} {self.hash}", f"{place} {found}")

    def _is_comparable(self, found: Sighting) -> bool:
        return None in (self.incarnation, found.incarnation) or (
            self.incarnation == found.incarnation
        )


def look_again(conn: Connection, namespace: str, last: Sighting) -> Sighting | None:
    """
    Return what is seen on *conn* now; `None` where the namespace is gone.

    Raises:
        IncarnationChangedError: It is behind what was seen *last*, or another history.
    """
    parameters = {"namespace": namespace, "revision": last.revision}
    row = conn.execute(_head, {"namespace": namespace}).one_or_none()
    if row is None:
        return None
    found = Sighting(*row)
    last.check(found)
    if last.hash is not None and found.revision > last.revision:
        last.continues(found, _hash_at(conn, parameters))
    return found


def _hash_at(conn: Connection, parameters: dict[str, Any]) -> str | None:
    """Return the hash of a revision; `None` where it was pruned, or the role may not see it."""
    try:
        found: str | None = conn.scalar(_hash, parameters)
    except DBAPIError as error:
        dialect = dialect_named(conn.dialect.name)
        if dialect is None or dialect.fault(error) != "permission":
            raise
        return None
    return found


class Seen:
    """The furthest that has been seen of one namespace."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._lock = Lock()
        self.last = Sighting(0, None, None)

    def note(self, found: Sighting) -> None:
        """Note what was found."""
        with self._lock:
            is_another = found.incarnation != self.last.incarnation
            if is_another or found.revision > self.last.revision:
                self.last = found

    def look(self, conn: Connection) -> None:
        """
        See how far the history goes on *conn*, which is new; a namespace that is gone is no matter.

        Raises:
            IncarnationChangedError: It is behind what was seen, or another one.
        """
        last = self.last  # Before asking: what is seen meanwhile may be beyond the answer.
        if (found := look_again(conn, self._namespace, last)) is not None:
            self.note(found)
