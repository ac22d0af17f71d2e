"""The connections of an open database: made, prepared, handed out and taken back."""

from __future__ import annotations

import os
import warnings
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import DBAPIError, InvalidRequestError

from capsule_registry.database.dialects.sqlite_connections import BUSY_TIMEOUT_SECONDS, IDENTITY
from capsule_registry.database.dialects.sqlite_wal_index import let_go
from capsule_registry.database.driver_errors import redact, translating
from capsule_registry.database.forking import Activity, abandoned, watch
from capsule_registry.database.measures import Measures
from capsule_registry.database.refused_options import MISUNDERSTOOD, unconnected
from capsule_registry.database.sessions import Sessions
from capsule_registry.database.steady_pool import mark_idle
from capsule_registry.database.turns import Turns
from capsule_registry.errors import CapsuleRegistryError, RegistryClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Engine, PoolProxiedConnection

    from capsule_registry.database.address import Address
    from capsule_registry.database.dialects.sqlite_connections import FileConnector
    from capsule_registry.database.turns import Turn

#: The keys in a connection's `info` that mark it as prepared, and as having passed
#: `connection_check`.
_PREPARED: Final = "capsule_registry.prepared"
_CHECKED: Final = "capsule_registry.checked"


class Connections:
    """The connections to a database, which have the settings that the guarantees rely on."""

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
        self.measures = Measures()
        watch(self)

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
                else:
                    self._throw_away(pooled)
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
        pooled = conn.connection
        try:
            if _PREPARED not in conn.info:
                is_for_writes = engine is self.engine and self.owns_engines
                self._sessions.prepare(conn, self.dialect.write_settings if is_for_writes else ())
                conn.info[_PREPARED] = True
            if self.connection_check is not None:
                self.connection_check(conn)
                conn.rollback()
                conn.info[_CHECKED] = True
        except (DBAPIError, CapsuleRegistryError):
            conn.close()
            raise
        except BaseException:
            self._throw_away(pooled)
            raise
        return conn

    def _throw_away(self, pooled: PoolProxiedConnection) -> None:
        """Close *pooled*, and let it be taken from no pool again."""
        if pooled.is_valid:
            (pooled.invalidate if self._can_throw_away else pooled.close)()

    def _require_file(self, conn: Connection) -> None:
        """Raise `DatabaseReplacedError` if the file of *conn* was replaced since it was opened."""
        if self.files is not None:
            self.files.require_current(conn.info.get(IDENTITY))

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
