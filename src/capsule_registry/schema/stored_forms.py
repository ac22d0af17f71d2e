"""
The form in which values are stored: verification compares what is there with what would be written.

A value may be read as what the history says and yet be stored otherwise, so that plain SQL answers
otherwise: JSON that has a key twice, a flag that is 2, a text that is a BLOB. Servers enforce the
types of their columns, but for JSON; a SQLite file does only as long as its tables are strict.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Integer, Text, cast, select, type_coerce
from sqlalchemy.types import NULLTYPE

from capsule_registry.database.dialects.known import dialect_named
from capsule_registry.database.dialects.types import CanonicalJson, Flag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import Column, Select, Table
    from sqlalchemy.engine import Dialect as SqlAlchemyDialect

#: The label of a column as it is stored.
_STORED: Final = "stored {}"


def enforces_types(dialect_name: str) -> bool:
    """Return whether a database enforces the types of all columns but those of JSON."""
    dialect = dialect_named(dialect_name)
    return dialect is not None and not dialect.is_file


@cache
def with_stored(table: Table, *, is_typed: bool) -> Select[Any]:
    """
    Return a query for whole rows of *table*, with the columns that may be stored otherwise.

    Args:
        table: The table.
        is_typed: The database enforces the types of all columns but those of JSON.
    """
    stored = [
        (cast(column, Text) if is_typed else type_coerce(column, NULLTYPE)).label(
            _STORED.format(column.name)
        )
        for column in _loose(table, is_typed=is_typed)
    ]
    return select(table, *stored)


def misstored(
    table: Table, row: Mapping[Any, Any], dialect: SqlAlchemyDialect, *, is_typed: bool
) -> Iterator[str]:
    """Yield the columns of *row*, by `with_stored`, that are not stored as the library stores."""
    is_well = _has_no_key_twice if is_typed else _is_as_written
    for column in _loose(table, is_typed=is_typed):
        stored = row[_STORED.format(column.name)]
        if stored is not None and not is_well(column, stored, row[column.name], dialect):
            yield column.name


def _has_no_key_twice(_: object, stored: str, value: object, __: object) -> bool:
    """Return whether the JSON *stored*, whose layout is the engine's, says one thing to all."""
    return bool(json.loads(stored, object_pairs_hook=_only_once) == value)


def _only_once(pairs: Sequence[tuple[str, Any]]) -> object:
    found = dict(pairs)
    return found if len(found) == len(pairs) else None


def _is_as_written(
    column: Column[Any], stored: object, value: object, dialect: SqlAlchemyDialect
) -> bool:
    written = _writer(column, dialect)(value)
    return (
        type(written) is type(stored) and written == stored and isinstance(stored, _type_of(column))
    )


def _type_of(column: Column[Any]) -> type:
    """Return the type of what the driver returns where *column* is stored as it should be."""
    return int if isinstance(column.type, Integer | Flag) else str


def _loose(table: Table, *, is_typed: bool) -> Sequence[Column[Any]]:
    """Return the columns that hold values of any type, or, of JSON, any spelling."""
    return [
        column
        for column in table.c
        if column.computed is None and (not is_typed or isinstance(column.type, CanonicalJson))
    ]


@cache
def _writer(column: Column[Any], dialect: SqlAlchemyDialect) -> Callable[[Any], Any]:
    return column.type.dialect_impl(dialect).bind_processor(dialect) or (lambda value: value)
