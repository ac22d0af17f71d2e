"""
The engine, and the one place where transactions begin, end and are run again.

A function elsewhere that takes a connection never begins or commits.
"""

from __future__ import annotations

import os
import warnings
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from capsule_registry.database import engines
from capsule_registry.database.address import Address, read_address
from capsule_registry.database.dialects.sqlite_file import (
    BUSY_TIMEOUT_SECONDS,
    create_file,
    refuse_network_file_system,
)
from capsule_registry.database.dialects.sqlite_write_queue import Turns
from capsule_registry.database.driver_errors import (
    UnconnectedError,
    UnknownOutcomeError,
    commit,
    translating,
)
from capsule_registry.database.forking import Activity, abandoned, watch
from capsule_registry.database.retries import persist
from capsule_registry.errors import (
    CapsuleRegistryError,
    InvalidDatabaseError,
    PermissionDeniedError,
    RegistryClosedError,
    RegistryUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy import Connection, Engine

T = TypeVar("T")


class Database:
    """One database, open: connections that have the settings the guarantees rest on."""

    def __init__(
        self,
        engine: Engine,
        reader: Engine,
        address: Address,
        *,
        read_only: bool,
        owns_engines: bool = True,
    ) -> None:
        self.engine = engine
        #: Each statement by itself: one round trip, without a transaction around it.
        self.reader = reader
        self.address = address
        self.dialect = address.dialect
        self.read_only = read_only
        self.closed = False
        #: Looks at each new connection before it is used; what it raises, the caller gets.
        self.witness: Callable[[Connection], None] | None = None
        self.owns_engines = owns_engines
        self._turns = Turns(address.file)
        self._activity = Activity()
        watch(self)

    @classmethod
    def open(  # noqa: PLR0913 - one keyword for each thing that can be chosen
        cls,
        url: str | None,
        *,
        create: bool = True,
        read_only: bool = False,
        allow_network_file_system: bool = False,
        engine: Engine | None = None,
        engine_options: Mapping[str, Any] | None = None,
        may_be_behind: bool = False,
    ) -> Self:
        """
        Open the database at *url*, which may be a standby if it *may_be_behind*.

        A SQLite file that is missing is made if *create*. With an *engine*, which the caller made
        and will dispose of, that is used instead.

        Raises:
            InvalidDatabaseError: *url* is of no supported database, or of a file on a network file
                system, and that was not allowed; the engine is of SQLite or of another isolation.
            RegistryUnavailableError, PermissionDeniedError: The file cannot be made.
        """
        if engine is not None:
            return cls._over(engine, read_only=read_only)
        address = read_address(url)
        if address.file and not allow_network_file_system:
            refuse_network_file_system(address.file)
        if address.file and create:
            create_file(address.file, with_directory=url is None)
        options = engine_options or {}
        writer, reader = engines.make_engines(
            address, options, read_only=read_only, may_be_behind=may_be_behind
        )
        return cls(writer, reader, address, read_only=read_only)

    @classmethod
    def _over(cls, engine: Engine, *, read_only: bool) -> Self:
        address = read_address(engine.url.render_as_string(hide_password=False))
        if address.dialect.upgrades_itself:
            reason = "engine= takes an engine of a server; open a SQLite file by its URL"
            raise InvalidDatabaseError(str(address), reason)
        reader = engines.reading_by(engine, address)
        database = cls(engine, reader, address, read_only=read_only, owns_engines=False)
        try:
            with database.translating(), database.connected(engine) as conn:
                engines.refuse_unsafe(conn, address)
        except BaseException:
            database.close()
            raise
        return database

    def read(self, work: Callable[[Connection], T]) -> T:
        """Return *work* of a connection: each statement sees all that has committed."""
        with self.translating():
            try:
                with self.connected(self.reader) as conn:
                    return work(conn)
            except DBAPIError as error:
                if self.dialect.fault(error) != "lost":
                    raise
            with self.connected(self.reader) as conn:
                return work(conn)

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Give a connection all of whose statements see what its first one has seen."""
        with self.translating(), self.connected(self.reader) as conn:
            transaction = conn.execution_options(**self.dialect.snapshot_options).begin()
            process = os.getpid()
            try:
                yield conn
            finally:
                if os.getpid() == process:
                    transaction.rollback()

    def write(self, work: Callable[[Connection], T]) -> T:
        """
        Return *work* of a connection in a transaction that excludes other writers.

        *work* is run again, as a whole and in a new transaction, after failures that are known to
        be passing, and after a COMMIT of which nobody knows whether it took place: so it must look
        whether it was done already.

        Raises:
            OutcomeUnknownError: Until the deadline it could not look.
        """
        return self._persist(work, self.writing)

    def amend(self, work: Callable[[Connection], T]) -> T:
        """Return *work* as `write` does, which excludes nobody: it waits for no unit of ours."""
        return self._persist(work, self._beside)

    def settle(self, work: Callable[[Connection], T], unsettled: UnknownOutcomeError) -> T:
        """Return *work* as `write` does, which is to find out what became of *unsettled*."""
        return self._persist(work, self.writing, unsettled)

    def _persist(
        self,
        work: Callable[[Connection], T],
        begin: Callable[[], AbstractContextManager[Connection]],
        unsettled: UnknownOutcomeError | None = None,
    ) -> T:
        with self.translating():
            return persist(work, begin, self.is_passing, unsettled)

    def is_passing(self, error: BaseException | None) -> bool:
        """Say whether what *error* tells of passes by itself."""
        if isinstance(error, UnconnectedError):
            return bool(self.address.hosts)  # Another one is taking over.
        passing = ("busy", "lost", "unparsed") if self.address.hosts else ("busy", "lost")
        return isinstance(error, DBAPIError) and self.dialect.fault(error) in passing

    def peek(self, work: Callable[[Connection], T]) -> T | None:
        """Return *work* of a connection if that can be had without waiting, else `None`."""
        idle = getattr(self.engine.pool, "checkedin", int)()
        if self.closed or not idle:
            return None
        try:
            with self.reader.connect() as conn:
                return work(conn)
        except (SQLAlchemyError, CapsuleRegistryError):
            return None

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """
        Give a connection in a transaction: committed at the end, rolled back on any error.

        Raises:
            UnknownOutcomeError: The connection broke at COMMIT.
        """
        if self.read_only:
            raise PermissionDeniedError(str(self.address), "it was opened to be read only")
        with self.taking_turns(), self._in_transaction() as conn:
            yield conn

    def _beside(self) -> AbstractContextManager[Connection]:
        """Give the same without waiting for a turn, where the database lets several write."""
        alone = self.read_only or self.address.file
        return self.writing() if alone else self._in_transaction()

    @contextmanager
    def _in_transaction(self) -> Iterator[Connection]:
        with self.connected(self.engine) as conn:
            transaction = conn.execution_options(begin=self.dialect.begin_write).begin()
            process = os.getpid()
            try:
                yield conn
                commit(transaction, self.dialect)
            except BaseException:
                if os.getpid() == process:
                    transaction.rollback()
                raise

    def translating(self) -> AbstractContextManager[None]:
        """Turn a failure of the database into an error of ours; let a bug through as it is."""
        return translating(self.address)

    @contextmanager
    def taking_turns(self) -> Iterator[None]:
        """Wait for the other threads and processes that write: one at a time could anyway."""
        with self._activity.call():
            try:
                with self._turns.turn(BUSY_TIMEOUT_SECONDS):
                    yield
            except TimeoutError as error:
                raise RegistryUnavailableError(str(self.address), str(error)) from error

    @contextmanager
    def connected(self, engine: Engine) -> Iterator[Connection]:
        """Give a connection of *engine*; see `engines.connect`."""
        if self.closed:
            raise RegistryClosedError
        with self._activity.call():
            conn = engines.connect(engine, self.address, self.witness)
            process = os.getpid()
            try:
                yield conn
            finally:
                if os.getpid() == process:
                    conn.close()
                else:
                    abandoned.append(conn)

    def before_fork(self) -> None:
        """Wait for running calls, and close the connections to a file."""
        self._activity.stop()
        if self.address.file:
            self.engine.dispose()

    def after_fork(self, *, in_child: bool) -> None:
        """Go on; in the child with connections and locks of its own."""
        if not in_child:
            self._activity.resume()
            return
        if self.address.file and self._activity.is_any:
            abandoned.append(self._activity)
        self._activity = Activity()
        self._turns.forget()
        if not self.dialect.upgrades_itself:
            self.engine.dispose(close=False)
            self.reader.dispose(close=False)

    def close(self) -> None:
        """Close every connection but those of an engine that the caller made. Idempotent."""
        self.closed = True
        if self.owns_engines:
            self.engine.dispose()
            self.reader.dispose()

    def __del__(self) -> None:
        if not getattr(self, "closed", True):
            message = f"unclosed registry on {self.address}"
            warnings.warn(message, ResourceWarning, stacklevel=2, source=self)
            self.close()
