"""The driver's cursor, for compiled statements."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from capsule_registry.database.driver_errors import fault_of, wrap
from capsule_registry.database.hosts import note_failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection
    from sqlalchemy.exc import DBAPIError


class DriverCursor:
    """
    A driver cursor on a SQLAlchemy connection, which it invalidates when the connection is lost.

    Driver errors are raised as `DBAPIError`, as SQLAlchemy does.
    """

    def __init__(self, conn: Connection, of_driver: Any = None) -> None:  # noqa: ANN401 - the driver's own
        self._conn = conn
        self._dialect = conn.dialect
        self._error = self._dialect.loaded_dbapi.Error
        self.of_driver: Any = conn.connection.cursor() if of_driver is None else of_driver
        #: A statement has failed, so what the transaction holds is not known.
        self.has_failed = False

    def execute(self, statement: str, parameters: Any = ()) -> None:  # noqa: ANN401 - what the driver takes
        """Run *statement*."""
        try:
            self._dialect.do_execute(self.of_driver, statement, parameters)
        except self._error as error:
            raise self._failed(error) from error
        except BaseException as error:
            self.has_failed = True
            self._conn.invalidate(error)
            raise

    def executemany(self, statement: str, parameters: Sequence[Any]) -> None:
        """Run *statement* once for each of *parameters*."""
        try:
            self._dialect.do_executemany(self.of_driver, statement, parameters)
        except self._error as error:
            raise self._failed(error) from error
        except BaseException as error:
            self.has_failed = True
            self._conn.invalidate(error)
            raise

    def copy(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Write *rows* to the COPY *statement*."""
        try:
            with self.of_driver.copy(statement) as copying:
                for row in rows:
                    copying.write_row(row)
        except self._error as error:
            raise self._failed(error) from error
        except BaseException as error:
            self.has_failed = True
            self._conn.invalidate(error)
            raise

    def written(self, statement: str, parameters: Any) -> str:  # noqa: ANN401 - what the driver takes
        """Return *statement* with its *parameters* written into it, by a driver that does so."""
        return str(self.of_driver.mogrify(statement, parameters))

    def raw(self) -> Self:
        """Return a cursor that takes statements in the server's format, with `$1` parameters."""
        raw = self._dialect.loaded_dbapi.RawCursor(self.of_driver.connection)
        return type(self)(self._conn, raw)

    def fetchall(self) -> Sequence[Sequence[Any]]:
        """Return all rows of the last statement."""
        try:
            return self.of_driver.fetchall()  # type: ignore[no-any-return]
        except self._error as error:
            raise self._failed(error) from error
        except BaseException as error:
            self.has_failed = True
            self._conn.invalidate(error)
            raise

    def fetch_to_end(self) -> Sequence[Sequence[Any]]:
        """Return all rows, and read the rest of the answer, which says how the session stands."""
        rows = self.fetchall()
        try:
            while self.of_driver.nextset():
                pass
        except self._error as error:
            raise self._failed(error) from error
        except BaseException as error:
            self.has_failed = True
            self._conn.invalidate(error)
            raise
        return rows

    @property
    def rowcount(self) -> int:
        """How many rows the last statement changed."""
        return int(self.of_driver.rowcount)

    def _invalidate(self, error: Exception) -> None:
        """Give the connection up; SQLAlchemy would not close one that belongs to no pool."""
        pooled = self._conn.connection
        alone = pooled.dbapi_connection if pooled.is_detached else None
        self._conn.invalidate(error)
        if alone is not None:
            with suppress(self._error):
                alone.close()

    def _failed(self, error: Exception) -> DBAPIError:
        self.has_failed = True
        wrapped = wrap(error, self._conn.engine, self._conn.connection)
        # Otherwise the garbage collector would reset the unfinished statement at any time: on
        # SQLite possibly while another cursor is using the same cached statement.
        self.of_driver.close()
        if fault_of(wrapped, self._dialect.name) in ("lost", "unparsed"):
            note_failure(self._conn.info)
        if wrapped.connection_invalidated:
            self._invalidate(error)
        else:
            self.of_driver = self._conn.connection.cursor()
        return wrapped
