"""
One database, and the one place where transactions begin and end.

A function elsewhere that takes a connection never begins or commits.
"""

from __future__ import annotations

import os
import warnings
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from sqlalchemy.exc import (
    DBAPIError,
    InvalidRequestError,
    ProgrammingError,
    SQLAlchemyError,
)

from capsule_registry.database.address import Address, read_address
from capsule_registry.database.dialects.known import FILE_ENGINE
from capsule_registry.database.dialects.sqlite_file import (
    BUSY_TIMEOUT_SECONDS,
    create_file,
    refuse_network_file_system,
)
from capsule_registry.database.dialects.sqlite_write_queue import Turns
from capsule_registry.database.driver_errors import (
    FAILURES,
    UnconnectedError,
    UnknownOutcomeError,
    raise_translated,
    translating,
)
from capsule_registry.database.engines import make_engines, reading_by, refuse_unsafe
from capsule_registry.database.forking import Activity, abandoned, watch
from capsule_registry.database.retries import run_with_retries
from capsule_registry.errors import (
    CapsuleRegistryError,
    InvalidDatabaseError,
    PermissionDeniedError,
    RegistryClosedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy import Connection, Engine, Transaction

T = TypeVar("T")

#: Says, beside a connection of the driver, that `connection_check` has passed.
_CHECKED: Final = "capsule_registry.checked"


class Database:
    """One database, open: its connections have the settings that the guarantees rest on."""

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
        #: Runs each statement by itself: one round trip, without a transaction around it.
        self.reader = reader
        self.address = address
        self.dialect = address.dialect
        self.read_only = read_only
        self.closed = False
        #: Checks each new connection before it is used; what it raises, the caller gets.
        self.connection_check: Callable[[Connection], None] | None = None
        self.owns_engines = owns_engines
        self._turns = Turns(address.file, str(address))
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

        A SQLite file that is missing is made if *create*. An *engine*, which the caller made and
        will dispose of, is used instead of *url*.

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
        writer, reader = make_engines(
            address, engine_options or {}, read_only=read_only, may_be_behind=may_be_behind
        )
        return cls(writer, reader, address, read_only=read_only)

    @classmethod
    def _over(cls, engine: Engine, *, read_only: bool) -> Self:
        address = read_address(engine.url.render_as_string(hide_password=False))
        if address.dialect.is_file:
            raise InvalidDatabaseError(str(address), FILE_ENGINE)
        reader = reading_by(engine, address)
        database = cls(engine, reader, address, read_only=read_only, owns_engines=False)
        try:
            with database.translating(), database.connected(engine) as conn:
                refuse_unsafe(conn, address)
        except BaseException:
            database.close()
            raise
        return database

    def read(self, work: Callable[[Connection], T]) -> T:
        """
        Return *work* of a connection, each of whose statements sees all that has committed.

        It is run once more, on another connection, if that one turns out to be lost.
        """
        try:
            try:
                with self.connected(self.reader) as conn:
                    return work(conn)
            except DBAPIError as error:
                if self.dialect.fault(error) != "lost":
                    raise
            with self.connected(self.reader) as conn:
                return work(conn)
        except FAILURES as error:
            raise_translated(error, self.address)

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Give a connection all of whose statements see what its first one has seen."""
        with self.translating(), self.connected(self.reader) as conn:
            transaction = conn.execution_options(**self.dialect.snapshot_options).begin()
            process = os.getpid()
            try:
                _begin(conn, self.dialect.begin_snapshot)
                yield conn
            finally:
                if os.getpid() == process:
                    transaction.rollback()

    def write(self, work: Callable[[Connection], T]) -> T:
        """
        Return *work* of a connection in a transaction that excludes other writers.

        *work* is run again, as a whole and in a new transaction, after failures that are known to
        pass, and after a COMMIT of which nobody knows whether it took place: so it must look
        whether it was done already.

        Raises:
            OutcomeUnknownError: Until the deadline it could not look.
        """
        return run_with_retries(work, self.writing, self.is_passing, self.address)

    def amend(self, work: Callable[[Connection], T]) -> T:
        """Return *work* as `write` does, but exclude nobody: it waits for no unit of ours."""
        return run_with_retries(work, self._beside, self.is_passing, self.address)

    def settle(self, work: Callable[[Connection], T], unsettled: UnknownOutcomeError) -> T:
        """Return *work* as `write` does, which is to find out what became of *unsettled*."""
        return run_with_retries(work, self.writing, self.is_passing, self.address, unsettled)

    def is_passing(self, error: BaseException | None) -> bool:
        """Return whether the failure that *error* tells of passes by itself."""
        if isinstance(error, UnconnectedError):
            return bool(self.address.hosts)  # Another one is taking over.
        passing = ("busy", "lost", "unparsed") if self.address.hosts else ("busy", "lost")
        return isinstance(error, DBAPIError) and self.dialect.fault(error) in passing

    def peek(self, work: Callable[[Connection], T]) -> T | None:
        """Return *work* of a connection if one is idle, else `None`; nothing is waited for."""
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
            PermissionDeniedError: The database was opened to be read only.
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
            transaction = conn.begin()
            process = os.getpid()
            try:
                _begin(conn, self.dialect.begin_write)
                yield conn
                self._commit(transaction)
            except BaseException:
                if os.getpid() == process:
                    transaction.rollback()
                raise

    def _commit(self, transaction: Transaction) -> None:
        try:
            transaction.commit()
        except DBAPIError as error:
            if self.dialect.fault(error) == "lost":
                raise UnknownOutcomeError from error
            raise

    def translating(self) -> AbstractContextManager[None]:
        """Turn a failure of the database into an error of ours; let a bug through as it is."""
        return translating(self.address)

    @contextmanager
    def taking_turns(self) -> Iterator[None]:
        """Wait for the other threads and processes that write: one at a time could anyway."""
        activity = self._activity
        call = activity.begin()
        try:
            with self._turns.turn(BUSY_TIMEOUT_SECONDS):
                yield
        finally:
            activity.end(call)

    @contextmanager
    def connected(self, engine: Engine) -> Iterator[Connection]:
        """Give a connection of *engine*; see `connect`."""
        if self.closed:
            raise RegistryClosedError
        activity, process = self._activity, os.getpid()
        call = activity.begin()
        try:
            conn = self.connect(engine)
            try:
                yield conn
            finally:
                if os.getpid() == process:
                    conn.close()
                else:
                    abandoned.append(conn)
        finally:
            activity.end(call)

    def connect(self, engine: Engine) -> Connection:
        """
        Return a connection of *engine* that has passed `connection_check`, if there is one.

        Raises:
            InvalidDatabaseError: The driver does not know an option of the URL, or the server is of
                another make.
            UnconnectedError: The server cannot be reached, or does not let us in without saying why
                in a code.
            DBAPIError: Anything that has a code.
        """
        try:
            conn = engine.connect()
        except (DBAPIError, InvalidRequestError, TypeError, ValueError) as error:
            failure = self._unconnected(error)
            if failure is error:
                raise
            raise failure from error
        if self.connection_check is not None and _CHECKED not in conn.info:
            try:
                self.connection_check(conn)
                conn.rollback()
            except BaseException:
                conn.close()
                raise
            conn.info[_CHECKED] = True
        return conn

    def _unconnected(self, error: Exception) -> Exception:
        """Return in our words why there is no connection, or *error* itself if it has a code."""
        if not isinstance(error, DBAPIError):
            return InvalidDatabaseError(str(self.address), str(error))
        fault = self.dialect.fault(error)
        if fault not in (None, "unavailable"):
            return error
        wrong = fault is None and isinstance(error, ProgrammingError)
        kind = InvalidDatabaseError if wrong else UnconnectedError
        return kind(str(self.address), str(error.orig).partition("\n")[0])

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
        if not self.dialect.is_file:
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


def _begin(conn: Connection, statement: str | None) -> None:
    """Begin a transaction where the driver itself begins none, or too late."""
    if statement is not None:
        conn.exec_driver_sql(statement)
