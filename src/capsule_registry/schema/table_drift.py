"""Tables of a server that differ from what the migrations make, as SQLAlchemy reflects them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sqlalchemy import (
    CheckConstraint,
    ForeignKeyConstraint,
    MetaData,
    PrimaryKeyConstraint,
    UniqueConstraint,
)

from capsule_registry.database.dialects.dialect import FOREIGN, MISSING, Finding
from capsule_registry.schema.tables import metadata
from capsule_registry.schema.view_drift import reads_the_same

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Column, Connection, Constraint, Table
    from sqlalchemy.engine import Dialect as SqlAlchemyDialect

    from capsule_registry.database.dialects.dialect import Catalog

#: How many digits an integer is shown with: it limits nothing.
_DISPLAY_WIDTH: Final = re.compile(r"(?<=INT)\(\d+\)|(?<=INTEGER)\(\d+\)")
#: What a server that has no type for JSON makes of it.
_JSON_AS_TEXT: Final = "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
#: The parts that each server writes in its own way.
_EXPRESSIONS: Final = ("check ", "generated ")


def find_table_drift(conn: Connection, catalog: Catalog) -> Iterator[Finding]:
    """Yield what of the tables on a server is not as the migrations make it."""
    reflected = MetaData()
    reflected.reflect(conn, only=lambda name, _: name in metadata.tables)
    for expected in metadata.sorted_tables:
        found = reflected.tables.get(expected.name)
        if found is None:
            yield Finding(f"table {expected.name}", "", MISSING)
        else:
            yield from _compare(conn, catalog, expected, found)


def _compare(
    conn: Connection, catalog: Catalog, expected: Table, found: Table
) -> Iterator[Finding]:
    wanted, parts = dict(_parts(expected, conn.dialect)), dict(_parts(found, conn.dialect))
    for part in sorted({*wanted, *parts}):
        where = f"table {expected.name}, {part}"
        if part not in parts:
            yield Finding(where, "", MISSING)
        elif part not in wanted:
            if not part.startswith("index "):
                yield Finding(where, parts[part], FOREIGN)
        elif parts[part] != wanted[part] and not (
            part.startswith(_EXPRESSIONS)
            and reads_the_same(conn, catalog, *_queries(expected, parts[part], wanted[part]))
        ):
            yield Finding(where, parts[part], f"is {parts[part]}, not {wanted[part]}")


def _queries(table: Table, *expressions: str) -> Iterator[str]:
    return (f"SELECT ({one}) AS found FROM {table.name}" for one in expressions)  # noqa: S608 - no values


def _parts(table: Table, dialect: SqlAlchemyDialect) -> Iterator[tuple[str, str]]:
    """Yield the parts of *table*: what each is, with its name, and how it is defined."""
    for column in table.columns:
        yield f"column {column.name}", _column(column, dialect)
        if column.computed is not None:
            yield f"generated {column.name}", str(column.computed.sqltext)
    for index in table.indexes:
        kind = "unique" if index.unique else "index"
        limits = [f" WHERE {limit}" for limit in index.dialect_kwargs.values() if limit]
        columns = ", ".join(getattr(one, "name", str(one)) for one in index.expressions)
        yield f"{kind} {index.name}", "".join((columns, *limits))
    for constraint in table.constraints:
        yield from _constraint(constraint, dialect)


def _column(column: Column[object], dialect: SqlAlchemyDialect) -> str:
    kind = _DISPLAY_WIDTH.sub("", column.type.compile(dialect))
    kind = "JSON" if kind == _JSON_AS_TEXT else kind
    default = "" if column.server_default is None or column.computed else " with a default"
    return f"{kind}{'' if column.nullable else ' NOT NULL'}{default}"


def _constraint(constraint: Constraint, dialect: SqlAlchemyDialect) -> Iterator[tuple[str, str]]:
    match constraint:
        case PrimaryKeyConstraint():
            yield "primary key", ", ".join(constraint.columns.keys())
        case UniqueConstraint():
            yield f"unique {constraint.name}", ", ".join(constraint.columns.keys())
        case ForeignKeyConstraint():
            targets = ", ".join(element.target_fullname for element in constraint.elements)
            deleted = f" ON DELETE {constraint.ondelete}" if constraint.ondelete else ""
            columns = ", ".join(constraint.column_keys)
            yield f"foreign key {constraint.name}", f"{columns} to {targets}{deleted}"
        case CheckConstraint():
            yield f"check {constraint.name}", str(constraint.sqltext.compile(dialect=dialect))
