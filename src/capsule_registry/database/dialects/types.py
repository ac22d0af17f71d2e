"""Column types with the same Python values on every database."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Integer,
    SmallInteger,
    String,
    Text,
    Uuid,
)
from sqlalchemy.types import TypeDecorator

from capsule_registry.canonical_json import canonical_json
from capsule_registry.errors import HistoryCorruptError
from capsule_registry.plain_values import plain_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Dialect as SqlAlchemyDialect
    from sqlalchemy.types import TypeEngine

T = TypeVar("T")

#: Options of every table: on SQLite, where any column else takes values of any type.
STRICT: Final[dict[str, Any]] = {"sqlite_strict": True}
#: Options of a table of which any default of the server's would be wrong.
STORED: Final[dict[str, Any]] = {"mysql_engine": "InnoDB", "mariadb_engine": "InnoDB"}
#: Options of a table of small rows looked up by primary key: on SQLite WITHOUT ROWID.
KEYED: Final[dict[str, Any]] = {"sqlite_with_rowid": False, **STRICT}
#: Integers by the names that a strict table of SQLite knows.
BIG_INTEGER: Final = BigInteger().with_variant(Integer(), "sqlite")
SMALL_INTEGER: Final = SmallInteger().with_variant(Integer(), "sqlite")
#: Compares byte by byte, trailing blanks included: `Foo`, `foo` and `foo ` differ.
_MARIADB_TEXT: Final = {"charset": "utf8mb4", "collation": "utf8mb4_nopad_bin"}


class ShortText(TypeDecorator[str]):
    """Text of at most `length` characters, compared byte by byte."""

    impl = String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: SqlAlchemyDialect) -> TypeEngine[Any]:
        """Return the column type of *dialect*; only that dialect is imported."""
        match dialect.name:
            case "postgresql":
                from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - if it is in use

                return dialect.type_descriptor(postgresql.VARCHAR(self.length, collation="C"))
            case "mysql" | "mariadb":
                from sqlalchemy.dialects import mysql  # noqa: PLC0415 - if it is in use

                return dialect.type_descriptor(mysql.VARCHAR(self.length, **_MARIADB_TEXT))
            case _:
                return dialect.type_descriptor(Text())


class LongText(TypeDecorator[str]):
    """Text of any length, compared byte by byte."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: SqlAlchemyDialect) -> TypeEngine[Any]:
        """Return the column type of *dialect*."""
        if dialect.name not in ("mysql", "mariadb"):
            return self.impl_instance
        from sqlalchemy.dialects import mysql  # noqa: PLC0415 - as above

        return dialect.type_descriptor(mysql.LONGTEXT(**_MARIADB_TEXT))


class Flag(TypeDecorator[bool]):
    """A boolean; where the database has none, the number 0 or 1, and nothing else."""

    impl = Boolean
    cache_ok = True

    def load_dialect_impl(self, dialect: SqlAlchemyDialect) -> TypeEngine[Any]:
        """Return the column type of *dialect*."""
        match dialect.name:
            case "sqlite":
                return dialect.type_descriptor(Integer())
            case "mysql" | "mariadb":
                from sqlalchemy.dialects import mysql  # noqa: PLC0415 - as above

                return dialect.type_descriptor(mysql.TINYINT(1))
            case _:
                return dialect.type_descriptor(Boolean())

    def bind_processor(self, dialect: SqlAlchemyDialect) -> Callable[[Any], Any] | None:
        """Return what converts a value for the driver, if anything must."""
        return None if dialect.name == "postgresql" else _unless_none(int)

    def process_result_value(self, value: Any, dialect: SqlAlchemyDialect) -> bool | None:  # noqa: ANN401, ARG002 - what the driver gives
        """Return the boolean."""
        if value is not None and not (isinstance(value, int) and value in (0, 1)):
            raise HistoryCorruptError(f"the stored value {value!r}"[:200], "it is no boolean")
        return None if value is None else bool(value)


class UtcDateTime(TypeDecorator[datetime]):
    """
    A time to the microsecond; in Python aware and in UTC.

    On SQLite it is exactly 27 characters of ISO 8601 text, so that text order is time order.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: SqlAlchemyDialect) -> TypeEngine[Any]:
        """Return the column type of *dialect*."""
        match dialect.name:
            case "sqlite":
                return dialect.type_descriptor(Text())
            case "mysql" | "mariadb":
                from sqlalchemy.dialects import mysql  # noqa: PLC0415 - as above

                return dialect.type_descriptor(mysql.DATETIME(fsp=6))
            case _:
                return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: SqlAlchemyDialect) -> Any:  # noqa: ANN401 - what the driver takes
        """Return the value for the driver, or raise `ValueError` for a time without a zone."""
        if value is None:
            return None
        time = plain_time(value)
        if time.tzinfo is None:
            message = f"a time needs a zone: {time!r}"
            raise ValueError(message)
        match dialect.name:
            case "sqlite":
                return _time_text(time)
            case "mysql" | "mariadb":
                return time.astimezone(UTC).replace(tzinfo=None)
            case _:
                return time

    def process_result_value(self, value: Any, dialect: SqlAlchemyDialect) -> datetime | None:  # noqa: ANN401 - what the driver gives
        """Return an aware time in UTC."""
        if value is None:
            return None
        if dialect.name == "sqlite":
            value = _read(datetime.fromisoformat, value, time_text)
        if not isinstance(value, datetime):  # What a driver returns for an impossible time.
            raise HistoryCorruptError(f"the stored value {value!r}"[:200], "it is no time")
        instant = value if value.tzinfo else value.replace(tzinfo=UTC)
        try:
            return instant.astimezone(UTC)
        except OverflowError as error:
            raise HistoryCorruptError(f"the stored value {value!r}", str(error)) from error


class CanonicalUuid(TypeDecorator[UUID]):
    """A UUID: native where the database has the type, canonical text on SQLite."""

    impl = Uuid
    cache_ok = True

    def load_dialect_impl(self, dialect: SqlAlchemyDialect) -> TypeEngine[Any]:
        """Return the column type of *dialect*."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else Uuid())

    def bind_processor(self, dialect: SqlAlchemyDialect) -> Callable[[Any], Any] | None:
        """Return what converts a value for the driver, if anything must."""
        own = super().bind_processor(dialect)
        return _unless_none(str) if dialect.name == "sqlite" else own

    def process_result_value(self, value: Any, dialect: SqlAlchemyDialect) -> UUID | None:  # noqa: ANN401 - what the driver gives
        """Return the UUID."""
        return _read(UUID, value, str) if dialect.name == "sqlite" and value is not None else value


class CanonicalJson(TypeDecorator[Any]):
    """
    A JSON value, written as canonical JSON.

    On SQLite the column is TEXT: a column of type JSON would turn text like `1.0` into a number.
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
        """Return the value for the driver; the engine's serializer writes native JSON."""
        if dialect.name != "sqlite" or (value is None and self.none_as_null):
            return value
        return canonical_json(value)

    def process_result_value(self, value: Any, dialect: SqlAlchemyDialect) -> Any:  # noqa: ANN401 - any JSON value
        """Return the parsed value."""
        return _read(json.loads, value) if dialect.name == "sqlite" and value is not None else value


def _unless_none(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else convert(value)


def _read(parse: Callable[[Any], T], text: object, write: Callable[[T], str] | None = None) -> T:
    """Parse *text*, which must be exactly what *write* returns for the value."""
    if not isinstance(text, str):
        raise HistoryCorruptError(f"the stored value {text!r}"[:200], "it is no text")
    try:
        value = parse(text)
        is_canonical = write is None or write(value) == text
    except (OverflowError, RecursionError, TypeError, ValueError) as error:
        raise HistoryCorruptError(f"the stored value {text!r}"[:200], str(error)) from error
    if not is_canonical:
        raise HistoryCorruptError(f"the stored value {text!r}"[:200], "it is spelled otherwise")
    return value


def time_text(instant: datetime) -> str:
    """Return *instant* as 27 characters of ISO 8601 text in UTC, with six decimals and `Z`."""
    return _time_text(plain_time(instant))


@lru_cache(maxsize=64)  # All rows of a unit have the same time.
def _time_text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
