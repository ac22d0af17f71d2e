"""
The engine, and the one place where transactions begin and end.

A function elsewhere that takes a connection never begins or commits.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from sqlalchemy import create_engine, event
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from capsule_registry.addresses import Address, read_address
from capsule_registry.canonical import canonical_json
from capsule_registry.dialects import Fault, sqlite_module
from capsule_registry.errors import (
    CapsuleRegistryError,
    HistoryCorruptError,
    InvalidDatabaseError,
    PermissionDeniedError,
    RegistryClosedError,
    RegistryUnavailableError,
)
from capsule_registry.sqlite_file import (
    BUSY_TIMEOUT_SECONDS,
    connect_file,
    connect_file_read_only,
    connect_memory,
    create_file,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy import Connection, Engine

T = TypeVar("T")

_ERRORS: Final[dict[Fault, type[CapsuleRegistryError]]] = {
    "busy": RegistryUnavailableError,
    "unavailable": RegistryUnavailableError,
    "permission": PermissionDeniedError,
    "not_a_database": InvalidDatabaseError,
    "corrupt": HistoryCorruptError,
}


class Database:
    """One database, open: a pool of connections that have the settings the guarantees rest on."""

    def __init__(
        self, engine: Engine, address: Address, *, read_only: bool, owns_engine: bool = True
    ) -> None:
        self.engine = engine
        self.address = address
        self.dialect = address.dialect
        self.read_only = read_only
        self.closed = False
        self._owns_engine = owns_engine
        #: Threads take turns here, so that waiting writers keep no connection from readers.
        self._turn = Lock()
        if self.dialect.begin_write:
            event.listen(engine, "begin", _begin)

    @classmethod
    def open(
        cls,
        url: str | None,
        *,
        create: bool = True,
        read_only: bool = False,
        engine_options: Mapping[str, Any] | None = None,
    ) -> Self:
        """
        Open the database at *url*; a SQLite file that is missing is made if *create*.

        Raises:
            InvalidDatabaseError: *url* is no URL of a supported database.
            RegistryUnavailableError, PermissionDeniedError: The file cannot be made.
        """
        address = read_address(url)
        options = {"hide_parameters": True, **(engine_options or {})}
        if address.dialect.upgrades_itself:
            if address.file and create:
                create_file(address.file, with_directory=url is None)
            options = {**_sqlite_options(address, read_only=read_only), **options}
        else:
            options = {
                "isolation_level": "READ COMMITTED",
                "json_serializer": canonical_json,
                **options,
            }
        try:
            engine = create_engine(address.url, **options)
        except (ModuleNotFoundError, NoSuchModuleError) as error:
            reason = f"install capsule-registry[{address.dialect.name}] ({error})"
            raise InvalidDatabaseError(str(address), reason) from error
        return cls(engine, address, read_only=read_only)

    @classmethod
    def over(cls, engine: Engine, *, read_only: bool = False) -> Self:
        """
        Use *engine*, which the caller made and will dispose of.

        Raises:
            InvalidDatabaseError: It is of SQLite, whose connections need settings from the start.
        """
        address = read_address(engine.url.render_as_string(hide_password=False))
        if address.dialect.upgrades_itself:
            reason = "engine= takes an engine of a server; open a SQLite file by its URL"
            raise InvalidDatabaseError(str(address), reason)
        return cls(engine, address, read_only=read_only, owns_engine=False)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Return *work* of a connection; each of its statements sees all that has committed."""
        with self.translating(), self._connected() as conn:
            return work(conn)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Return *work* of a connection in a transaction that excludes other writers."""
        with self.writing() as conn, self.translating():
            return work(conn)

    def peek(self, work: Callable[[Connection], T]) -> T | None:
        """Return *work* of a connection if that can be had without waiting, else `None`."""
        idle = getattr(self.engine.pool, "checkedin", int)()
        if self.closed or not idle:
            return None
        try:
            with self.engine.connect() as conn:
                return work(conn)
        except (SQLAlchemyError, CapsuleRegistryError):
            return None

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection in a transaction: committed at the end, rolled back on any error."""
        if self.read_only:
            raise PermissionDeniedError(str(self.address), "it was opened to be read only")
        with self._taking_turns(), self._connected() as conn:
            with self.translating():
                transaction = conn.execution_options(begin=self.dialect.begin_write).begin()
            with transaction:
                yield conn
                with self.translating():
                    transaction.commit()

    @contextmanager
    def migration(self) -> Iterator[Connection]:
        """
        Give a connection in a transaction that may change tables.

        Foreign keys are off, since SQLite would delete the children of a table that is rebuilt,
        and checked before the commit.
        """
        with self._taking_turns(), self._connected() as conn, self.translating():
            self._set_foreign_keys(conn, on=False)
            try:
                begun = conn.execution_options(begin=self.dialect.begin_write)
                with begun.begin():
                    yield begun
                    self._refuse_orphans(begun)
            finally:
                self._set_foreign_keys(conn.execution_options(begin=None), on=True)

    def _set_foreign_keys(self, conn: Connection, *, on: bool) -> None:
        if self.dialect.upgrades_itself:
            conn.exec_driver_sql(f"PRAGMA foreign_keys = {int(on)}")
            conn.rollback()

    def _refuse_orphans(self, conn: Connection) -> None:
        if not self.dialect.upgrades_itself:
            return
        if orphans := conn.exec_driver_sql("PRAGMA foreign_key_check").all():
            reason = f"{len(orphans)} rows would be left without their parents: {orphans[:3]}"
            raise InvalidDatabaseError(str(self.address), reason)

    @contextmanager
    def translating(self) -> Iterator[None]:
        """Turn a failure of the database into an error of ours; let a bug through as it is."""
        try:
            yield
        except PoolTimeoutError as error:
            reason = "no connection became free in time"
            raise RegistryUnavailableError(str(self.address), reason) from error
        except DBAPIError as error:
            fault = self.dialect.fault(error)
            if fault is None:
                raise
            sentence = str(error.orig).partition("\n")[0]
            raise _ERRORS[fault](str(self.address), sentence) from error

    @contextmanager
    def _taking_turns(self) -> Iterator[None]:
        if not self.dialect.one_writer:
            yield
            return
        if not self._turn.acquire(timeout=BUSY_TIMEOUT_SECONDS):
            reason = "another thread of this process keeps it locked"
            raise RegistryUnavailableError(str(self.address), reason)
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        if self.closed:
            raise RegistryClosedError
        try:
            with self.translating():
                conn = self.engine.connect()
        except OperationalError as error:
            sentence = str(error.orig).partition("\n")[0]
            raise RegistryUnavailableError(str(self.address), sentence) from error
        with conn:
            yield conn

    def close(self) -> None:
        """Close every connection but those of an engine that the caller made. Idempotent."""
        self.closed = True
        if self._owns_engine:
            self.engine.dispose()

    def __del__(self) -> None:
        if not getattr(self, "closed", True):
            message = f"unclosed registry on {self.address}"
            warnings.warn(message, ResourceWarning, stacklevel=2, source=self)
            self.close()


def _sqlite_options(address: Address, *, read_only: bool) -> dict[str, Any]:
    if address.file is None:
        # The database lives as long as its one connection; the pool makes threads take turns.
        return {
            "module": sqlite_module,
            "creator": connect_memory,
            "poolclass": QueuePool,
            "pool_size": 1,
            "max_overflow": 0,
        }
    connect = connect_file_read_only if read_only else connect_file
    return {
        "module": sqlite_module,
        "creator": partial(connect, address.file),
        "poolclass": QueuePool,
    }


def _begin(conn: Connection) -> None:
    """Begin as the caller asked: the driver itself would begin late, or not at all."""
    if statement := conn.get_execution_options().get("begin"):
        conn.exec_driver_sql(statement)
