"""
The questions that are asked on every message, put to the database with as little as can be.

Statements are compiled once and run on the driver's own connection, each by itself: one round trip.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from capsule_registry.database import forking
from capsule_registry.database.driver_cursor import DriverCursor
from capsule_registry.entities import capsules, session_uuids
from capsule_registry.errors import CapsuleRegistryError
from capsule_registry.lookups.memory import NOTHING, Entries
from capsule_registry.permissions import checks
from capsule_registry.unit_of_work.prepared_statements import PreparedScope, PreparedStatements

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from sqlalchemy import Connection

    from capsule_registry.clocks import Clock
    from capsule_registry.database.database import Database
    from capsule_registry.identifiers import CapsuleId
    from capsule_registry.models.records import RegisteredCapsule
    from capsule_registry.permissions.checks import Decision

T = TypeVar("T")


class Lookups(ABC):
    """Answers the questions for one namespace."""

    #: What can be told without asking; replaced as a whole.
    entries: Entries = NOTHING

    def __init__(self, database: Database, namespace: str, clock: Clock) -> None:
        self._database = database
        self._namespace = namespace
        self._clock = clock
        self._statements = PreparedStatements(database.reader.dialect)

    @property
    @abstractmethod
    def way(self) -> str:
        """How lookups are answered, and why not from memory where they are not."""

    @abstractmethod
    def look_up(self, work: Callable[[PreparedScope], T]) -> T:
        """Return *work* of a scope, each of whose statements sees all that has committed."""

    def find(self, uuid: UUID) -> CapsuleId | None:
        """Return the id that *uuid* is filed under."""
        return self.look_up(partial(session_uuids.find, uuid=uuid))

    def get(
        self, capsule_id: str, attach: Callable[[RegisteredCapsule], RegisteredCapsule]
    ) -> RegisteredCapsule | None:
        """Return the registered capsule of that id, with what *attach* adds."""
        record = self.look_up(partial(capsules.get, capsule_id=capsule_id))
        return None if record is None else attach(record)

    def check(self, uuid: object, capability: object, value: object) -> Decision:
        """Decide whether the sender may; see `checks.check`."""
        work = partial(checks.check, uuid=uuid, capability=capability, value=value)
        return self.look_up(work)

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Let go of what is held. Idempotent."""

    def _scope_on(self, cursor: Any) -> PreparedScope:  # noqa: ANN401 - the driver's own
        return PreparedScope(cursor, self._statements, self._namespace, self._clock)


class PooledLookups(Lookups):
    """On a connection of the pool."""

    @property
    def way(self) -> str:
        """How lookups are answered."""
        return "each asks the database, by one statement"

    def look_up(self, work: Callable[[PreparedScope], T]) -> T:
        """Return *work* of a scope, run again on another connection if that one was lost."""
        return self._database.read(lambda conn: work(self._scope_on(DriverCursor(conn))))


@dataclass(frozen=True, slots=True)
class _Kept:
    conn: Connection
    scope: PreparedScope


class ServerLookups(PooledLookups):
    """
    On a connection of its own that is kept; while another thread has that, on one of the pool.

    What a server answers cannot be kept: to find out that it still holds is to ask again.
    """

    def __init__(self, database: Database, namespace: str, clock: Clock) -> None:
        super().__init__(database, namespace, clock)
        #: The connection while nobody uses it, or what stands for one that can be opened.
        self._idle: list[_Kept | None] = [None]
        self._of_parent: list[_Kept | None] = []
        forking.watch(self)

    def look_up(self, work: Callable[[PreparedScope], T]) -> T:
        """Return *work* of a scope, run again on another connection if that one was lost."""
        kept = self._take()
        if kept is None:
            return super().look_up(work)
        database = self._database
        with database.translating():
            try:
                answer = work(kept.scope)
            except BaseException as error:
                self._give_up(kept)
                if not isinstance(error, DBAPIError) or database.dialect.fault(error) != "lost":
                    raise
            else:
                self._idle.append(kept)
                if database.closed:  # While the answer was on its way.
                    self.close()
                return answer
        return super().look_up(work)

    def close(self) -> None:
        """Close the connection. Idempotent; a lookup that is under way closes it at its end."""
        while self._idle:
            if kept := self._idle.pop():
                kept.conn.close()

    def before_fork(self) -> None:
        """Do nothing: the connection is left to the parent."""

    def after_fork(self, *, in_child: bool) -> None:
        """Go on; in the child with a connection of its own."""
        if in_child:
            self._of_parent, self._idle = self._idle, [None]

    def _take(self) -> _Kept | None:
        database = self._database
        try:
            kept = self._idle.pop()
        except IndexError:
            return None
        if database.closed:
            self._give_up(kept)
            return None
        return kept or self._open()

    def _open(self) -> _Kept | None:
        database = self._database
        try:
            conn = database.connect(database.reader)
        except (SQLAlchemyError, CapsuleRegistryError):
            self._idle.append(None)
            return None  # Whoever asks the pool is told why.
        conn.detach()
        return _Kept(conn, self._scope_on(DriverCursor(conn)))

    def _give_up(self, kept: _Kept | None) -> None:
        if kept is not None:
            kept.conn.close()
        self._idle.append(None)
