"""The bare drivers: one kept connection that runs given SQL."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final

from sqlalchemy import make_url

from capsule_registry import sqlite_module

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import URL

    Values = Sequence[Any]


class Raw(ABC):
    """A kept connection in autocommit mode; statements have `?` placeholders."""

    name: ClassVar[str]
    begin: ClassVar[str] = "BEGIN"
    #: The end of a SELECT that locks its row.
    lock: ClassVar[str] = " FOR UPDATE"
    now: ClassVar[str]

    @abstractmethod
    def rows(self, statement: str, values: Values = ()) -> Sequence[tuple[Any, ...]]:
        """Return the rows of a SELECT."""

    @abstractmethod
    def run(self, statement: str, values: Values = ()) -> None:
        """Run a statement that returns no rows."""

    @abstractmethod
    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Values]) -> None:
        """Insert a few rows, by one statement."""

    @abstractmethod
    def insert_many(self, table: str, columns: Sequence[str], rows: Sequence[Values]) -> None:
        """Insert many rows, by the driver's `executemany`."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""

    def as_text(self, column: str) -> str:
        """Return an expression for the text of a JSON column."""
        return column


class RawSqlite(Raw):
    """SQLite, by the same library as the registry's."""

    name = "sqlite3"
    begin = "BEGIN IMMEDIATE"
    lock = ""
    now = "strftime('%Y-%m-%dT%H:%M:%fZ')"

    def __init__(self, url: URL) -> None:
        self.connection = sqlite_module.connect(url.database, isolation_level=None)
        for setting in ("synchronous = FULL", "foreign_keys = ON", "busy_timeout = 30000"):
            self.connection.execute(f"PRAGMA {setting}")

    def rows(self, statement: str, values: Values = ()) -> Sequence[tuple[Any, ...]]:
        """Return the rows of a SELECT."""
        found: Sequence[tuple[Any, ...]] = self.connection.execute(statement, values).fetchall()
        return found

    def run(self, statement: str, values: Values = ()) -> None:
        """Run a statement that returns no rows."""
        self.connection.execute(statement, values)

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Values]) -> None:
        """Insert a few rows, by a prepared statement run for each."""
        self.insert_many(table, columns, rows)

    def insert_many(self, table: str, columns: Sequence[str], rows: Sequence[Values]) -> None:
        """Insert many rows."""
        self.connection.executemany(_insert(table, columns), rows)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


class RawServer(Raw):
    """Base of the servers' drivers."""

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 - one of two drivers'
        self.connection = connection
        self.cursor = connection.cursor()
        self._statements: dict[str, str] = {}

    def rows(self, statement: str, values: Values = ()) -> Sequence[tuple[Any, ...]]:
        """Return the rows of a SELECT."""
        self.run(statement, values)
        found: Sequence[tuple[Any, ...]] = self.cursor.fetchall()
        return found

    def run(self, statement: str, values: Values = ()) -> None:
        """Run a statement that returns no rows."""
        if statement not in self._statements:
            self._statements[statement] = statement.replace("?", "%s")
        self._execute(self._statements[statement], values)

    @abstractmethod
    def _execute(self, statement: str, values: Values) -> None: ...

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Values]) -> None:
        """Insert a few rows."""
        self.run(
            _insert(table, columns, len(rows)),
            [value for row in rows for value in row],
        )

    def insert_many(self, table: str, columns: Sequence[str], rows: Sequence[Values]) -> None:
        """Insert many rows."""
        self.cursor.executemany(_insert(table, columns).replace("?", "%s"), rows)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


class RawPostgresql(RawServer):
    """PostgreSQL by psycopg, with every statement prepared."""

    name = "psycopg"
    now = "clock_timestamp()"

    def __init__(self, url: URL) -> None:
        import psycopg  # noqa: PLC0415 - where it is used

        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        super().__init__(psycopg.connect(plain, autocommit=True))

    def _execute(self, statement: str, values: Values) -> None:
        self.cursor.execute(statement, values, prepare=True)

    def as_text(self, column: str) -> str:
        """Return an expression for the text of a JSON column."""
        return f"CAST({column} AS text)"


class RawMariadb(RawServer):
    """MariaDB by PyMySQL."""

    name = "pymysql"
    now = "SYSDATE(6)"

    def __init__(self, url: URL) -> None:
        import pymysql  # noqa: PLC0415 - where it is used

        options = {
            "host": url.host or "127.0.0.1",
            "port": url.port or 3306,
            "user": url.username,
            "password": url.password or "",
            "database": url.database,
        }
        super().__init__(pymysql.connect(**options, autocommit=True, init_command=_MARIADB_TIME))

    def _execute(self, statement: str, values: Values) -> None:
        self.cursor.execute(statement, values)


_MARIADB_TIME: Final = "SET time_zone = '+00:00'"
_KINDS: Final[dict[str, type[RawSqlite | RawPostgresql | RawMariadb]]] = {
    "sqlite": RawSqlite,
    "postgresql": RawPostgresql,
    "mariadb": RawMariadb,
    "mysql": RawMariadb,
}


def connect(url: str) -> Raw:
    """Return a connection to the database at *url*."""
    parsed = make_url(url)
    return _KINDS[parsed.get_backend_name()](parsed)


def _insert(table: str, columns: Sequence[str], rows: int = 1) -> str:
    one = f"({', '.join('?' for _ in columns)})"
    names = ", ".join(columns)
    return f"INSERT INTO {table} ({names}) VALUES {', '.join([one] * rows)}"  # noqa: S608 - of the schema's own names
