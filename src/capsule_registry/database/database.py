"""An open database, which begins and ends every transaction but those of schema upgrades."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from sqlalchemy import Connection, TwoPhaseTransaction
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from capsule_registry.database.address import address_of_engine, read_address
from capsule_registry.database.connections import Connections
from capsule_registry.database.dialects.sqlite_connections import (
    FileConnector,
    copy_database,
)
from capsule_registry.database.dialects.sqlite_file import create_file, refuse_network_file_system
from capsule_registry.database.dialects.sqlite_still import is_current
from capsule_registry.database.driver_cursor import DriverCursor
from capsule_registry.database.driver_errors import (
    FAILURES,
    UnconnectedError,
    UnknownOutcomeError,
    raise_translated,
    wrapping,
)
from capsule_registry.database.engines import (
    looking_engine,
    make_engines,
    make_file_engine,
    reading_by,
)
from capsule_registry.database.hosts import HAS_SESSION
from capsule_registry.database.retries import run_with_retries
from capsule_registry.database.steady_pool import mark_idle
from capsule_registry.errors import (
    CapsuleRegistryError,
    InvalidDatabaseError,
    PermissionDeniedError,
    RegistryClosedError,
    RegistryUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from sqlalchemy import Engine, Transaction

    from capsule_registry.database.turns import Turn

T = TypeVar("T")

#: How often a file that keeps changing is looked at.
_LOOKS: Final = 20
#: After so many transactions of a connection, at the latest, its statements are planned anew.
_PLANNED: Final = 256
#: The key in a connection's `info` of how often it has written.
_WRITES: Final = "capsule_registry.writes"
#: The key in a connection's `info` that marks it as doing what it does in transactions.
_IN_TRANSACTIONS: Final = "capsule_registry.in_transactions"


class Database(Connections):
    """An open database."""

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
            self._sessions.limit(conn, None)
            with wrapping(conn):
                conn.execution_options(**self.dialect.snapshot_options)
            transaction = conn.begin()
            process = os.getpid()
            try:
                _begin(conn, self.dialect.begin_snapshot)
                yield conn
            except (DBAPIError, CapsuleRegistryError):
                _roll_back(transaction, process)
                raise
            else:
                _roll_back(transaction, process)

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
        return run_with_retries(work, self.writing, self)

    def amend(self, work: Callable[[Connection], T]) -> T:
        """Return the result of *work* as `write` does, but on a server do not wait for the turn."""
        return run_with_retries(work, self._beside, self)

    def settle(self, work: Callable[[Connection], T], unsettled: UnknownOutcomeError) -> T:
        """Return the result of *work* as `write` does; it determines the outcome of *unsettled*."""
        return run_with_retries(work, self.writing, self, unsettled)

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
                self.require_transaction(conn)
                self._drop_plans(conn)
                before = self.dialect.changes(conn.connection.driver_connection)
                yield conn
                if self.dialect.changes(conn.connection.driver_connection) != before:
                    DriverCursor(conn).execute(self.dialect.mark_commit)
                self._commit(transaction)
            except (DBAPIError, CapsuleRegistryError):
                _roll_back(transaction, process)
                raise
            self._require_file(conn)  # Else what was written may be in a file without a name.

    @contextmanager
    def joined(self, conn: Connection) -> Iterator[None]:
        """
        Run a body in the transaction that *conn*, of the caller, has begun; an error undoes it.

        Raises:
            InvalidDatabaseError: *conn* is no connection to this kind of server, has begun no
                transaction, or is not as a unit needs it.
            PermissionDeniedError: The database was opened read-only.
        """
        self._require_joinable(conn)
        savepoint = conn.begin_nested()
        process = os.getpid()
        try:
            yield
            savepoint.commit()
        except BaseException:
            if os.getpid() == process:
                _undo(conn, savepoint)
            raise

    def _require_joinable(self, conn: Connection) -> None:
        if self.closed:
            raise RegistryClosedError
        if self.read_only:
            raise PermissionDeniedError(str(self.address), "it was opened to be read only")
        if self.dialect.place is None:
            reason = "joining() is for servers; a file has one writer at a time: use transaction()"
            raise InvalidDatabaseError(str(self.address), reason)
        if not isinstance(conn, Connection):
            raise InvalidDatabaseError("joining()", "it takes a connection of SQLAlchemy")
        if address_of_engine(conn.engine).dialect is not self.dialect:
            reason = f"the connection is of another kind of database than {self.address}"
            raise InvalidDatabaseError("joining()", reason)
        transaction = conn.get_transaction()
        if transaction is None or isinstance(transaction, TwoPhaseTransaction):
            reason = "the connection must have begun a transaction, and not one of two phases"
            raise InvalidDatabaseError("joining()", reason)
        self._sessions.require_joinable(conn)
        self._require_here(conn, self.dialect.place)

    def _require_here(self, conn: Connection, place: str) -> None:
        """Require that *conn* leads to this database, and not to a copy of it."""
        here, there = self.read(partial(_scalar, place)), _scalar(place, conn)
        if here != there:
            reason = f"the connection leads to another database: {there}, and not {here}"
            raise InvalidDatabaseError(str(self.address), reason)

    def require_transaction(self, conn: Connection) -> None:
        """
        Require that *conn*, which has begun, may write in one transaction; ours is checked once.

        Raises:
            InvalidDatabaseError: It may not (see `Sessions.require_transaction`).
        """
        if not self.owns_engines or _IN_TRANSACTIONS not in conn.info:
            self._sessions.require_transaction(conn)
            conn.info[_IN_TRANSACTIONS] = True

    def _drop_plans(self, conn: Connection) -> None:
        """Let the server plan anew, at first each time that *conn* has written twice as often."""
        if self.dialect.drop_plans is not None and conn.info.get(HAS_SESSION):
            conn.info[_WRITES] = count = conn.info.get(_WRITES, 0) + 1
            if count & (count - 1) == 0 or count % _PLANNED == 0:
                DriverCursor(conn).execute(self.dialect.drop_plans)

    def _commit(self, transaction: Transaction) -> None:
        try:
            transaction.commit()
        except DBAPIError as error:
            if self.dialect.fault(error) == "lost":
                raise UnknownOutcomeError from error
            raise


def _scalar(statement: str, conn: Connection) -> object:
    return conn.exec_driver_sql(statement).scalar()


def _roll_back(transaction: Transaction, process: int) -> None:
    """Roll *transaction* back, unless it is of another *process*."""
    if os.getpid() == process:
        transaction.rollback()


def _undo(conn: Connection, savepoint: Transaction) -> None:
    """Roll back to *savepoint*; if the server has lost that, let nothing of *conn* commit."""
    try:
        savepoint.rollback()
    except DBAPIError:
        if not conn.closed:
            conn.invalidate()


def _begin(conn: Connection, statement: str | None) -> None:
    """Begin a transaction by *statement*, where the driver begins none, or too late."""
    if statement is not None:
        DriverCursor(conn).execute(statement)
