"""
Everything that differs from one database to another; no other module names one.

Types give the same Python values everywhere. Facts about a database are attributes of `Dialect`.
"""

from __future__ import annotations

import importlib
import json
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar
from uuid import UUID

from sqlalchemy import JSON, DateTime, String, Text, Uuid
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.types import TypeDecorator

from capsule_registry.canonical import canonical_json
from capsule_registry.errors import HistoryCorruptError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from sqlalchemy.engine import Dialect as SqlAlchemyDialect
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.types import TypeEngine

T = TypeVar("T")

#: Compared byte by byte, trailing blanks included: `Foo`, `foo` and `foo ` are three texts.
_MARIADB_TEXT: Final = {"charset": "utf8mb4", "collation": "utf8mb4_nopad_bin"}


def short_text(length: int) -> String:
    """Return the type of a text of at most *length* characters, compared byte by byte."""
    return (
        String(length)
        .with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, **_MARIADB_TEXT), "mysql", "mariadb")
    )


def long_text() -> Text:
    """Return the type of a text of any length."""
    return Text().with_variant(mysql.LONGTEXT(**_MARIADB_TEXT), "mysql", "mariadb")


class UtcDateTime(TypeDecorator[datetime]):
    """
    An instant, to the microsecond; aware and in UTC on the Python side.

    On SQLite exactly 27 characters of ISO 8601 text, so that text order is time order.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: SqlAlchemyDialect) -> TypeEngine[Any]:
        """Return the column type of *dialect*."""
        match dialect.name:
            case "sqlite":
                return dialect.type_descriptor(String(27))
            case "mysql" | "mariadb":
                return dialect.type_descriptor(mysql.DATETIME(fsp=6))
            case _:
                return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: SqlAlchemyDialect) -> Any:  # noqa: ANN401 - what the driver takes
        """Return what the driver stores; a time without a zone is refused."""
        if value is None:
            return None
        if value.tzinfo is None:
            message = f"a time needs a zone: {value!r}"
            raise ValueError(message)
        match dialect.name:
            case "sqlite":
                return time_text(value)
            case "mysql" | "mariadb":
                return value.astimezone(UTC).replace(tzinfo=None)
            case _:
                return value

    def process_result_value(self, value: Any, dialect: SqlAlchemyDialect) -> datetime | None:  # noqa: ANN401, ARG002 - what the driver gives
        """Return an aware time in UTC."""
        if isinstance(value, str):
            value = _read(datetime.fromisoformat, value)
        if value is None:
            return None
        instant: datetime = value if value.tzinfo else value.replace(tzinfo=UTC)
        return instant.astimezone(UTC)


class CanonicalUuid(TypeDecorator[UUID]):
    """A UUID: native where the database has the type, canonical text on SQLite."""

    impl = Uuid
    cache_ok = True

    def load_dialect_impl(self, dialect: SqlAlchemyDialect) -> TypeEngine[Any]:
        """Return the column type of *dialect*."""
        return dialect.type_descriptor(String(36) if dialect.name == "sqlite" else Uuid())

    def process_bind_param(self, value: UUID | None, dialect: SqlAlchemyDialect) -> Any:  # noqa: ANN401 - what the driver takes
        """Return what the driver stores."""
        return str(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: SqlAlchemyDialect) -> UUID | None:  # noqa: ANN401, ARG002 - what the driver gives
        """Return a UUID."""
        return _read(UUID, value) if isinstance(value, str) else value


class CanonicalJson(TypeDecorator[Any]):
    """
    A JSON value, written as canonical JSON.

    On SQLite the column is TEXT: the type name JSON would make numbers of texts like `1.0`.
    """

    impl = JSON
    cache_ok = True

    def __init__(self, *, none_as_null: bool = True) -> None:
        super().__init__(none_as_null=none_as_null)
        self.none_as_null = none_as_null

    def load_dialect_impl(self, dialect: SqlAlchemyDialect) -> TypeEngine[Any]:
        """Return the column type of *dialect*."""
        json_type = JSON(none_as_null=self.none_as_null)
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else json_type)

    def process_bind_param(self, value: Any, dialect: SqlAlchemyDialect) -> Any:  # noqa: ANN401 - any JSON value
        """Return what the driver stores; the engine's serializer does it where JSON is a type."""
        if dialect.name != "sqlite" or (value is None and self.none_as_null):
            return value
        return canonical_json(value)

    def process_result_value(self, value: Any, dialect: SqlAlchemyDialect) -> Any:  # noqa: ANN401 - any JSON value
        """Return the value."""
        return _read(json.loads, value) if dialect.name == "sqlite" and value is not None else value


def _read(parse: Callable[[Any], T], text: object) -> T:
    try:
        return parse(text)
    except (TypeError, ValueError) as error:
        raise HistoryCorruptError(f"the stored value {text!r}"[:200], str(error)) from error


def time_text(instant: datetime) -> str:
    """Return *instant* as 27 characters of ISO 8601 text in UTC, six decimals and `Z`."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def has_wal_reset_race(version: tuple[int, ...]) -> bool:
    """
    Say whether that SQLite can corrupt a write-ahead log that two connections write.

    Source: https://sqlite.org/wal.html#walresetbug (3.7.0 to 3.51.2; fixed in 3.51.3 and in the
    patch lines 3.50.7 and 3.44.6).
    """
    fixed_patch = {(3, 44): 6, (3, 50): 7, (3, 51): 3}
    line = version[:2]
    if line >= (3, 52) or version < (3, 7):
        return False
    return line not in fixed_patch or version[2] < fixed_patch[line]


def _find_sqlite() -> ModuleType:
    """Return the interpreter's SQLite, or the packaged one where the interpreter's is unsafe."""
    if has_wal_reset_race(sqlite3.sqlite_version_info):
        try:
            return importlib.import_module("pysqlite3.dbapi2")
        except ModuleNotFoundError:
            pass  # No wheel for this platform: `journal_mode` falls back to a safe one.
    return sqlite3


#: The one SQLite library that may open a registry's file in this process.
sqlite_module: Final = _find_sqlite()


def journal_mode() -> Literal["wal", "delete"]:
    """Return the journal mode that is safe with the library in use."""
    return "delete" if has_wal_reset_race(sqlite_module.sqlite_version_info) else "wal"


Fault = Literal["busy", "corrupt", "not_a_database", "permission", "unavailable"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the rest of the library needs to know about one kind of database."""

    name: str
    driver: str
    #: The file is the user's own, so the library may change its schema when it opens it.
    upgrades_itself: bool
    #: What begins a transaction that writes, where the driver's own way would be unsafe.
    begin_write: str | None
    #: One transaction at a time writes to the whole database.
    one_writer: bool

    def fault(self, error: DBAPIError) -> Fault | None:
        """Return what kind of failure of the database *error* is; `None` for a bug of ours."""
        if self.name == "sqlite":
            code = getattr(error.orig, "sqlite_errorcode", None)
            return None if code is None else _SQLITE_FAULTS.get(code & 0xFF)
        return "unavailable" if error.connection_invalidated else None


#: Primary result codes. Source: https://sqlite.org/rescode.html.
_SQLITE_FAULTS: Final[dict[int, Fault]] = {
    1: "corrupt",  # SQLITE_ERROR: a table or a column is not there
    3: "permission",  # SQLITE_PERM
    5: "busy",  # SQLITE_BUSY
    6: "busy",  # SQLITE_LOCKED
    8: "permission",  # SQLITE_READONLY
    10: "unavailable",  # SQLITE_IOERR
    11: "corrupt",  # SQLITE_CORRUPT
    13: "unavailable",  # SQLITE_FULL
    14: "unavailable",  # SQLITE_CANTOPEN
    19: "corrupt",  # SQLITE_CONSTRAINT: conflicts are looked for first, under the lock
    23: "permission",  # SQLITE_AUTH
    26: "not_a_database",  # SQLITE_NOTADB
}


def _server(name: str, driver: str) -> Dialect:
    return Dialect(name, driver, upgrades_itself=False, begin_write=None, one_writer=False)


_DIALECTS: Final = {
    "sqlite": Dialect(
        "sqlite",
        "pysqlite",
        upgrades_itself=True,
        begin_write="BEGIN IMMEDIATE",
        one_writer=True,
    ),
    "postgresql": _server("postgresql", "psycopg"),
    "mariadb": _server("mariadb", "pymysql"),
    "mysql": _server("mariadb", "pymysql"),
}


def dialect_for_files() -> Dialect:
    """Return the dialect of a database that is a file of the user's own."""
    return _DIALECTS["sqlite"]


def dialect_named(name: str) -> Dialect | None:
    """Return the dialect of a database URL's first word, or `None` for one that is not known."""
    return _DIALECTS.get(name.partition("+")[0])
