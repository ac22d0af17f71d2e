"""How units are run: begun, ended, run again, and looked up where COMMIT was not answered."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, TypeVar

from capsule_registry.database.driver_errors import UnknownOutcomeError
from capsule_registry.entities import leases
from capsule_registry.errors import NamespaceNotFoundError, RegistryUnavailableError
from capsule_registry.unit_of_work import namespaces
from capsule_registry.unit_of_work.actors import default_actor
from capsule_registry.unit_of_work.high_water_mark import Seen, Sighting
from capsule_registry.unit_of_work.scope import Scope
from capsule_registry.unit_of_work.unit import Unit, close_unit, is_committed, open_unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from capsule_registry.clocks import Clock
    from capsule_registry.database.database import Database
    from capsule_registry.unit_of_work.registered_objects import Instances

T = TypeVar("T")
logger = logging.getLogger("capsule_registry")


class Units:
    """The units of one registry: on one namespace, by one actor, with one clock."""

    def __init__(  # noqa: PLR0913 - what every unit of the registry has
        self,
        database: Database,
        namespace: str,
        instances: Instances,
        *,
        actor: str | None,
        reason: str | None,
        clock: Clock,
    ) -> None:
        self._database = database
        self._namespace = namespace
        self._instances = instances
        self._actor = actor
        self._reason = reason
        self._clock = clock
        self.seen = Seen(namespace)

    def ensure_namespace(self) -> None:
        """Make the namespace if it is missing, which is its revision 1."""

        def create(conn: Connection) -> None:
            self._close(
                namespaces.create(conn, self._namespace, self._clock, self._database.dialect),
                None,
                None,
            )

        if self._database.read(lambda conn: namespaces.exists(self.scope(conn))):
            return
        if self._database.read_only:
            raise NamespaceNotFoundError(self._namespace)
        self._database.write(create)

    def watch_out(self) -> None:
        """From now on refuse a server that knows less of the namespace than was seen of it."""
        database = self._database
        if not database.dialect.upgrades_itself:
            database.witness = self.seen.look
            with database.translating(), database.connected(database.reader):
                pass  # It is looked at as it is given.

    def on(self, database: Database) -> Units:
        """Return the same on another *database*."""
        other = copy(self)
        other._database = database  # noqa: SLF001 - of its own class
        return other

    @property
    def database(self) -> Database:
        """Where they are."""
        return self._database

    @property
    def namespace(self) -> str:
        """The namespace that they change."""
        return self._namespace

    @property
    def actor(self) -> str:
        """Who is recorded where nobody else is named."""
        return self._actor or default_actor()

    def scope(self, conn: Connection) -> Scope:
        """Return the scope in which *conn* reads."""
        return Scope(conn, self._namespace, self._clock)

    def run(
        self, work: Callable[[Unit], T], *, reason: str | None = None, actor: str | None = None
    ) -> T:
        """Return *work* of a unit, which is run again, as a whole, after passing failures."""
        tried: Unit | None = None
        written: str | None = None
        result: T

        def one_unit(conn: Connection) -> tuple[Unit, T]:
            nonlocal tried, result, written
            unit = self._hold(conn)
            if tried is not None and is_committed(unit, tried):
                return tried, result
            unit.schema.check(self._database)
            self._instances.rolled_back(tried)
            tried = unit
            result = work(unit)
            written = self._close(unit, reason, actor)
            return unit, result

        try:
            unit, result = self._database.write(one_unit)
        except BaseException:
            self._instances.rolled_back(tried)
            raise
        self._committed(unit, written)
        return result

    @contextmanager
    def once(self, *, reason: str | None, actor: str | None) -> Iterator[Unit]:
        """Give a unit to a body that cannot be run again."""
        unit: Unit | None = None
        written: str | None = None
        is_done = False
        with self._database.translating():
            try:
                with self._database.writing() as conn:
                    unit = self._hold(conn)
                    unit.schema.check(self._database)
                    yield unit
                    written = self._close(unit, reason, actor)
                is_done = True
            except UnknownOutcomeError as error:
                is_done = unit is not None and self._took_place(unit, error)
            finally:
                if not is_done:
                    self._instances.rolled_back(unit)
        if unit is not None:
            self._committed(unit, written)

    def _took_place(self, unit: Unit, error: UnknownOutcomeError) -> bool:
        """Return if *unit* committed all the same, and raise if it did not."""
        database = self._database
        if not database.settle(lambda conn: is_committed(self._hold(conn), unit), error):
            reason = "the connection broke at COMMIT, and nothing was written"
            raise RegistryUnavailableError(str(database.address), reason) from error
        return True

    def _hold(self, conn: Connection) -> Unit:
        unit = open_unit(conn, self._namespace, self._clock)
        self.seen.last.check(Sighting(unit.revision - 1, unit.incarnation, unit.previous_hash))
        return unit

    def _close(self, unit: Unit, reason: str | None, actor: str | None) -> str | None:
        leases.confirm(unit)
        return close_unit(unit, actor=actor or self.actor, reason=reason or self._reason)

    def _committed(self, unit: Unit, written: str | None) -> None:
        if written is not None:
            self.seen.note(Sighting(unit.revision, unit.incarnation, written))
        self._instances.committed(unit)
        for level, message, fields in unit.messages:
            logger.log(level, message, extra=fields)
