"""An open database, which begins and ends every transaction but those of schema upgrades."""

from __future__ import annotations

import os
import warnings
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from sqlalchemy.exc import (
    DBAPIError,
    InvalidRequestError,
    SQLAlchemyError,
)

from capsule_registry.database.address import Address, address_of_engine, read_address
from capsule_registry.database.dialects.sqlite_connections import (
    BUSY_TIMEOUT_SECONDS,
    IDENTITY,
    FileConnector,
    copy_database,
)
from capsule_registry.database.dialects.sqlite_file import create_file, refuse_network_file_system
from capsule_registry.database.dialects.sqlite_still import is_current
from capsule_registry.database.dialects.sqlite_wal_index import let_go
from capsule_registry.database.driver_errors import (
    FAILURES,
    UnconnectedError,
    UnknownOutcomeError,
    raise_translated,
    redact,
    translating,
    wrapping,
)
from capsule_registry.database.engines import (
    looking_engine,
    make_engines,
    make_file_engine,
    reading_by,
)
from capsule_registry.database.forking import Activity, abandoned, watch
from capsule_registry.database.refused_options import MISUNDERSTOOD, unconnected
from capsule_registry.database.retries import run_with_retries
from capsule_registry.database.sessions import Sessions
from capsule_registry.database.steady_pool import mark_idle
from capsule_registry.database.turns import Turns
from capsule_registry.errors import (
    CapsuleRegistryError,
    PermissionDeniedError,
    RegistryClosedError,
    RegistryUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from sqlalchemy import Connection, Engine, Transaction

    from capsule_registry.database.turns import Turn

T = TypeVar("T")

#: How often a file that keeps changing is looked at.
_LOOKS: Final = 20
#: The keys in a connection's `info` that mark it as prepared and as having passed
#: `connection_check`, and as known to do what it does in transactions.
_PREPARED: Final = "capsule_registry.prepared"
_CHECKED: Final = "capsule_registry.checked"
_IN_TRANSACTIONS: Final = "capsule_registry.in_transactions"


class Database:
    """An open database, whose connections have the settings that the guarantees rely on."""

    def __init__(  # noqa: PLR0913 - what an open database consists of
        self,
        engine: Engine,
        reader: Engine,
        address: Address,
        *,
        read_only: bool,
        owns_engines: bool = True,
        may_be_behind: bool = False,
        files: FileConnector | None = None,
    ) -> None:
        self.engine = engine
        #: The engine for reads: single statements in autocommit mode, one round trip each.
        self.reader = reader
        self.address = address
        self.dialect = address.dialect
        #: Makes the connections to the file, if it is one.
        self.files = files
        self.read_only = read_only
        #: A database in memory goes with its connection.
        self._can_throw_away = address.file is not None or not self.dialect.is_file
        self.closed = False
        #: Checks each new connection before its first use; its errors reach the caller.
        self.connection_check: Callable[[Connection], None] | None = None
        self.owns_engines = owns_engines
        self._sessions = Sessions(address, read_only=read_only, may_be_behind=may_be_behind)
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
        Open the database at *url*, which may be a standby if *may_be_behind*.

        A missing SQLite file is created if *create*. If *engine* is given it is used instead of
        *url*, and the caller disposes of it.

        Raises:
            InvalidDatabaseError: *url* is of no supported database, or of a file on a network file
                system that is not allowed; *engine* is of SQLite or unsafe (`refuse_unsafe`).
            RegistryUnavailableError, PermissionDeniedError: The file cannot be created.
        """
        if engine is not None:
            return cls._over(engine, read_only=read_only)
        address = read_address(url)
        if address.file and not allow_network_file_system:
            refuse_network_file_system(address.file)
        if address.file and create:
            create_file(address.file, with_directory=url is None)
        options = engine_options or {}
        if not address.dialect.is_file:
            writer, reader = make_engines(address, options, may_be_behind=may_be_behind)
            return cls(writer, reader, address, read_only=read_only, may_be_behind=may_be_behind)
        files = FileConnector(address.file, read_only=read_only) if address.file else None
        engine = make_file_engine(address, files, options)
        return cls(engine, engine, address, read_only=read_only, files=files)

    @classmethod
    def _over(cls, engine: Engine, *, read_only: bool) -> Self:
        address = address_of_engine(engine)
        reader = reading_by(engine, address)
        database = cls(engine, reader, address, read_only=read_only, owns_engines=False)
        try:
            with database.translating(), database.connected(engine) as conn, wrapping(conn):
                database._sessions.require_transaction(conn)
        except BaseException:
            database.close()
            raise
        return database

    def read(self, work: Callable[[Connection], T], seconds: float | None = None) -> T:
        """
        Return the result of *work*, each of whose statements sees everything committed before it.

        *work* is retried once, on another connection, if its connection is lost.

        Args:
            work: What to run.
            seconds: How long the server may take for a statement of it; `None` for any time.
        """
        try:
            try:
                with self.reading(seconds) as conn:
                    return work(conn)
            except DBAPIError as error:
                if self.dialect.fault(error) != "lost":
                    raise
            with self.reading(seconds) as conn:
                return work(conn)
        except FAILURES as error:
            raise_translated(error, self.address)

    def look(self, work: Callable[[Connection], T]) -> T:
        """
        Return the result of *work*, which reads alone, before the database is used.

        A file stays as it is, with what is beside it: it may be another program's. *work* is called
        again if it changes meanwhile.
        """
        file = self.address.file
        if file is None:
            return self.read(work)
        engine = looking_engine(self.address, file)
        with self.translating():
            for _ in range(_LOOKS):
                with self.connected(engine) as conn:
                    seen = conn.connection.driver_connection
                    try:
                        found = work(conn)
                    except DBAPIError:
                        if is_current(seen):
                            raise
                        continue
                    if is_current(seen):
                        return found
        raise RegistryUnavailableError(str(self.address), "it keeps changing")

    def copy_to(self, target: Path, like: Path | None = None) -> None:
        """Copy the database, a file or in memory, to the new file *target*; see `copy_database`."""

        def copy(conn: Connection) -> None:
            with wrapping(conn):
                copy_database(conn, target, like)

        self.read(copy)

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Yield a connection whose statements all see the same state."""
        with self.translating(), self.begun(self._in_snapshot) as conn:
            yield conn

    @contextmanager
    def _in_snapshot(self) -> Iterator[Connection]:
        with self.connected(self.reader) as conn:
            with wrapping(conn):
                conn.execution_options(**self.dialect.snapshot_options)
            transaction = conn.begin()
            process = os.getpid()
            try:
                _begin(conn, self.dialect.begin_snapshot)
                yield conn
            finally:
                if os.getpid() == process:
                    transaction.rollback()

    @contextmanager
    def begun(self, begin: Callable[[], AbstractContextManager[T]]) -> Iterator[T]:
        """
        Yield what *begin* does, for a body that cannot be run again.

        If its connection is lost in beginning, since the server has closed it while it was idle, it
        is begun once more, on another.
        """
        with ExitStack() as stack:
            try:
                entered = stack.enter_context(begin())
            except DBAPIError as error:
                if self.dialect.fault(error) != "lost":
                    raise
                entered = stack.enter_context(begin())
            yield entered

    def write(self, work: Callable[[Connection], T]) -> T:
        """
        Return the result of *work* in a transaction, begun after waiting for the turn to write.

        *work* is retried as a whole, in a new transaction, after transient failures and after a
        COMMIT whose outcome is unknown: so it must check whether it was done already.

        Raises:
            OutcomeUnknownError: The outcome could not be determined by the deadline.
        """
        return run_with_retries(work, self.writing, self.is_passing, self.address)

    def amend(self, work: Callable[[Connection], T]) -> T:
        """Return the result of *work* as `write` does, but on a server do not wait for the turn."""
        return run_with_retries(work, self._beside, self.is_passing, self.address)

    def settle(self, work: Callable[[Connection], T], unsettled: UnknownOutcomeError) -> T:
        """Return the result of *work* as `write` does; it determines the outcome of *unsettled*."""
        return run_with_retries(work, self.writing, self.is_passing, self.address, unsettled)

    def is_passing(self, error: BaseException | None) -> bool:
        """Return whether *error* is a transient failure."""
        if isinstance(error, UnconnectedError):
            return bool(self.address.hosts)  # Another host is taking over.
        passing = ("busy", "lost", "unparsed") if self.address.hosts else ("busy", "lost")
        return isinstance(error, DBAPIError) and self.dialect.fault(error) in passing

    def peek(self, work: Callable[[Connection], T]) -> T | None:
        """Return the result of *work* if a connection is idle; `None` if not, or on a failure."""
        idle = getattr(self.engine.pool, "checkedin", int)()
        if self.closed or not idle:
            return None
        try:
            with self.reader.connect() as conn:
                answer = work(conn)
                mark_idle(conn)
                return answer
        except (SQLAlchemyError, CapsuleRegistryError):
            return None

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """
        Yield a connection in a transaction, committed at the end and rolled back on any error.

        Raises:
            PermissionDeniedError: The database was opened read-only.
            UnknownOutcomeError: The connection broke at COMMIT.
        """
        if self.read_only:
            raise PermissionDeniedError(str(self.address), "it was opened to be read only")
        if self.files is not None:
            self.files.require_same()
        with self.taking_turns() as turn, self._in_transaction(turn) as conn:
            yield conn

    def _beside(self) -> AbstractContextManager[Connection]:
        """Do as `writing`, but wait for the turn only if the database is a file."""
        alone = self.read_only or self.address.file
        return self.writing() if alone else self._in_transaction()

    @contextmanager
    def _in_transaction(self, turn: Turn | None = None) -> Iterator[Connection]:
        with self.connected(self.engine) as conn:
            if not self.owns_engines:  # Others use its connections too.
                self._sessions.prepare(conn)
            if turn is not None:
                turn.connection = conn.connection
            transaction = conn.begin()
            process = os.getpid()
            try:
                _begin(conn, self.dialect.begin_write)
                self._require_transaction(conn)
                with self.dialect.marking_commit(conn):
                    yield conn
                self._commit(transaction)
            except (DBAPIError, CapsuleRegistryError):
                if os.getpid() == process:
                    transaction.rollback()
                raise
            self._require_file(conn)  # Else what was written may be in a file without a name.

    def _require_transaction(self, conn: Connection) -> None:
        """Check a connection of ours once, and one of the caller's engine in each transaction."""
        if not self.owns_engines or _IN_TRANSACTIONS not in conn.info:
            self._sessions.require_transaction(conn)
            conn.info[_IN_TRANSACTIONS] = True

    def _require_file(self, conn: Connection) -> None:
        """Raise `DatabaseReplacedError` if the file of *conn* was replaced since it was opened."""
        if self.files is not None:
            self.files.require_current(conn.info.get(IDENTITY))

    def _commit(self, transaction: Transaction) -> None:
        try:
            transaction.commit()
        except DBAPIError as error:
            if self.dialect.fault(error) == "lost":
                raise UnknownOutcomeError from error
            raise

    def translating(self) -> AbstractContextManager[None]:
        """Translate failures of the database into the library's errors; let bugs through."""
        return translating(self.address)

    @contextmanager
    def taking_turns(self) -> Iterator[Turn]:
        """Hold the turn to write among threads, and on a file among processes (see `Turns`)."""
        call = self._activity.begin()
        try:
            turn = self._turns.take(BUSY_TIMEOUT_SECONDS)
            try:
                yield turn
            finally:
                turn.end()
        finally:
            call.is_over = True

    @contextmanager
    def connected(self, engine: Engine) -> Iterator[Connection]:
        """
        Yield a connection of *engine*, and close it at the end; see `connect`.

        After an exception that is not the database's or ours, it is thrown away: that may have come
        from a signal handler, at any moment.
        """
        if self.closed:
            raise RegistryClosedError
        process = os.getpid()
        call = self._activity.begin()
        try:
            conn = self.connect(engine)
            pooled = conn.connection
            try:
                self._require_file(conn)
                yield conn
                _give_back(conn, process)
            except (DBAPIError, CapsuleRegistryError):
                _give_back(conn, process)
                raise
            except BaseException:
                if os.getpid() != process:
                    abandoned.append(conn)
                elif pooled.is_valid:
                    (pooled.invalidate if self._can_throw_away else pooled.close)()
                raise
        finally:
            call.is_over = True

    @contextmanager
    def reading(self, seconds: float | None) -> Iterator[Connection]:
        """Yield a connection for reads, each statement of which may take so many *seconds*."""
        with self.connected(self.reader) as conn:
            self._sessions.limit(conn, seconds)
            yield conn
            if not self.owns_engines:
                self._sessions.limit(conn, None)

    def limit(self, conn: Connection, seconds: float) -> None:
        """Limit how long each statement of *conn* may take, for as long as it is open."""
        self._sessions.limit(conn, seconds)

    def connect(self, engine: Engine) -> Connection:
        """
        Return a connection of *engine* that has passed `connection_check`, if there is one.

        Raises:
            InvalidDatabaseError: The driver does not know an option of the URL, or the server is of
                another make.
            UnconnectedError: The server cannot be reached, or refuses without an error code.
            DBAPIError: Any other failure with an error code.
        """
        failure: Exception | None = None
        try:
            conn = engine.connect()
        except (DBAPIError, InvalidRequestError, *MISUNDERSTOOD) as error:
            failure = unconnected(error, self.address)
            if failure is error:
                redact(error, self.address)
                raise
        if failure is not None:  # Not chained: what the driver raises can hold the password.
            raise failure
        if (self.connection_check is None and _PREPARED in conn.info) or _CHECKED in conn.info:
            return conn
        try:
            if _PREPARED not in conn.info:
                self._sessions.prepare(conn)
                conn.info[_PREPARED] = True
            if self.connection_check is not None:
                self.connection_check(conn)
                conn.rollback()
                conn.info[_CHECKED] = True
        except BaseException:
            conn.close()
            raise
        return conn

    def before_fork(self) -> None:
        """Wait for running calls, and close connections to a file."""
        self._activity.stop()
        if self.address.file:
            self.engine.dispose()
            let_go()

    def after_fork(self, *, in_child: bool) -> None:
        """Resume; a child gets connections and locks of its own."""
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
        """Close every connection, except those of the caller's own engine. Idempotent."""
        self.closed = True
        if self.owns_engines:
            self.engine.dispose()
            self.reader.dispose()
        if self.files is not None:
            let_go()

    def __del__(self) -> None:
        if not getattr(self, "closed", True):
            message = f"unclosed registry on {self.address}"
            warnings.warn(message, ResourceWarning, stacklevel=2, source=self)
            self.close()


def _give_back(conn: Connection, process: int) -> None:
    """Return *conn* to its pool, unless it is of another *process*."""
    if os.getpid() != process:
        abandoned.append(conn)
    else:
        mark_idle(conn)
        conn.close()


def _begin(conn: Connection, statement: str | None) -> None:
    """Begin a transaction by *statement*, where the driver begins none, or too late."""
    if statement is not None:
        conn.exec_driver_sql(statement)
