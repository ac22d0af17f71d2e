"""
The lookups made for every message, at the lowest cost per statement.

Statements are compiled once and run on the driver's own connection, one round trip each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import ref

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from capsule_registry.database import forking
from capsule_registry.database.driver_cursor import DriverCursor
from capsule_registry.entities import capsules, session_uuids
from capsule_registry.errors import CapsuleRegistryError
from capsule_registry.lookups.memory import NOTHING, Entries
from capsule_registry.permissions import checks, many_checks
from capsule_registry.unit_of_work.prepared_statements import PreparedScope, PreparedStatements

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from sqlalchemy import Connection

    from capsule_registry.clocks import Clock
    from capsule_registry.database.database import Database
    from capsule_registry.identifiers import CapsuleId
    from capsule_registry.models.records import RegisteredCapsule
    from capsule_registry.permissions.checks import Decided
    from capsule_registry.permissions.many_checks import Question
    from capsule_registry.unit_of_work.high_water_mark import HighWaterMark

T = TypeVar("T")


class Lookups(ABC):
    """Answers lookups in one namespace."""

    #: The cache; replaced as a whole.
    entries: Entries = NOTHING

    def __init__(self, database: Database, seen: HighWaterMark, clock: Clock) -> None:
        self._database = database
        self._seen = seen
        self._namespace = seen.namespace
        self._clock = clock
        self._statements = PreparedStatements(database.reader.dialect)

    @property
    @abstractmethod
    def way(self) -> str:
        """How lookups are answered and, if not from memory, why."""

    @abstractmethod
    def look_up(self, work: Callable[[PreparedScope], T], seconds: float | None = None) -> T:
        """
        Return the result of *work* on a scope whose every statement sees all commits.

        A server gives up a statement that takes longer than so many *seconds*.
        """

    def find(self, uuid: UUID) -> CapsuleId | None:
        """Return the capsule id of *uuid*."""
        return self.look_up(partial(session_uuids.find, uuid=uuid))

    def get(
        self, capsule_id: str, attach: Callable[[RegisteredCapsule], RegisteredCapsule]
    ) -> RegisteredCapsule | None:
        """Return the registered capsule of that id, with what *attach* adds."""
        record = self.look_up(partial(capsules.get, capsule_id=capsule_id))
        return None if record is None else attach(record)

    def check(self, uuid: object, capability: object, value: object, seconds: float) -> Decided:
        """Decide within so many *seconds* whether the sender is allowed; see `checks.check`."""
        work = partial(checks.check, uuid=uuid, capability=capability, value=value)
        return self.look_up(work, seconds)

    def check_many(self, questions: Sequence[Question], seconds: float) -> Sequence[Decided]:
        """Decide all of *questions* likewise, by one statement."""
        return self.look_up(partial(many_checks.check_many, questions=questions), seconds)

    def look_again(self) -> None:  # noqa: B027 - most remember nothing
        """Let entries that are still current be known as such, if that takes no waiting."""

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Release what is held. Idempotent."""

    def _scope_on(self, cursor: Any) -> PreparedScope:  # noqa: ANN401 - the driver's own
        return PreparedScope(cursor, self._statements, self._namespace, self._clock, self._seen)


class PooledLookups(Lookups):
    """Lookups on a connection from the pool."""

    @property
    def way(self) -> str:
        """How lookups are answered."""
        return "each asks the database, by one statement"

    def look_up(self, work: Callable[[PreparedScope], T], seconds: float | None = None) -> T:
        """Return the result of *work*, retried on another connection if the first was lost."""
        self._database.measures.lookup()
        return self._database.read(lambda conn: work(self._scope_on(DriverCursor(conn))), seconds)


class _Place:
    """The place of the one connection that is kept, which it has if it is open."""

    __slots__ = ("__weakref__", "conn", "scope")

    def __init__(self) -> None:
        self.conn: Connection | None = None
        self.scope: PreparedScope | None = None

    def give_up(self) -> None:
        """Close the connection, if there is one."""
        conn, self.conn, self.scope = self.conn, None, None
        if conn is not None:
            conn.close()


class ServerLookups(PooledLookups):
    """
    Lookups on a connection of their own, or from the pool while another thread uses that.

    A server's answers are not cached: finding out whether one still holds is to ask again.
    """

    def __init__(self, database: Database, seen: HighWaterMark, clock: Clock) -> None:
        super().__init__(database, seen, clock)
        #: The place, if it is not in use.
        self._idle: list[_Place] = []
        self._of_parent: list[_Place] = []
        self._add_place()
        forking.watch(self)

    def look_up(self, work: Callable[[PreparedScope], T], seconds: float | None = None) -> T:
        """
        Return the result of *work*, retried on another connection if the first was lost.

        The connection keeps the limit of the last check; what has none and is cut off by that is
        retried as well.
        """
        database = self._database
        place = self._take()
        if place is None:
            return super().look_up(work, seconds)
        with database.translating():
            try:
                if (scope := self._scope_of(place)) is not None:
                    database.measures.lookup()
                    if seconds is not None and place.conn is not None:
                        database.limit(place.conn, seconds)
                    return work(scope)
            except BaseException as error:
                place.give_up()
                again = ("lost", "unavailable") if seconds is None else ("lost",)
                if not isinstance(error, DBAPIError) or database.dialect.fault(error) not in again:
                    raise
            finally:
                self._idle.append(place)
                if database.closed:  # While the answer was on its way.
                    self.close()
        return super().look_up(work, seconds)

    def close(self) -> None:
        """Close the connection. Idempotent; a running lookup closes it at its end."""
        for place in [*self._idle]:
            place.give_up()

    def before_fork(self) -> None:
        """Do nothing: the connection stays the parent's."""

    def after_fork(self, *, in_child: bool) -> None:
        """Go on; in the child with a connection of its own."""
        if in_child:
            self._of_parent, self._idle = self._idle, []
            self._add_place()

    def _add_place(self) -> None:
        place = _Place()
        self._place = ref(place)
        self._idle.append(place)

    def _take(self) -> _Place | None:
        """Return the place, or `None` if another thread uses it."""
        try:
            return self._idle.pop()
        except IndexError:
            if self._place() is None:  # An exception came after it was taken.
                self._add_place()
            return None

    def _scope_of(self, place: _Place) -> PreparedScope | None:
        """Return the scope on the connection in *place*, or `None` if there can be none."""
        database = self._database
        if place.scope is None and not database.closed:
            failures = (SQLAlchemyError, CapsuleRegistryError)
            with suppress(*failures, database.engine.dialect.loaded_dbapi.Error):
                # The pool will raise the reason.
                place.conn = database.connect(database.reader)
                place.conn.detach()
                place.scope = self._scope_on(DriverCursor(place.conn))
                return place.scope
            place.give_up()
        return place.scope
