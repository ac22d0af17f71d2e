"""Inserts into several tables in one statement, where a database can do so."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import Table

    Row = Mapping[str, Any]
    #: A statement in the driver's format, and its parameters.
    Statement = tuple[str, Any]
    #: Given a cursor, the insertion of a table's n-th row, the rows by table, and a last statement:
    #: runs all in that order, and returns how many rows the last statement changed.
    BulkInsert = Callable[
        [
            Any,
            Callable[[Table, int], "RowInsertion"],
            Sequence[tuple[Table, Sequence[Row]]],
            Statement | None,
        ],
        int,
    ]

#: The most rows of one statement: its planning time grows with their number.
_MAX_ROWS: Final = 100
#: The longest compound statement: far below what a server takes at once.
_MAX_LENGTH: Final = 500_000
_PARAMETER: Final = re.compile(r"%\((\w+)\)s")


class RowInsertion(Protocol):
    """An INSERT of one row, whose parameter names contain the table and a number."""

    sql: str
    #: The quoted names of the table and of its columns.
    table: str
    columns: Sequence[str]

    def values(self, row: Row) -> Sequence[Any]:
        """Return the values of *row* in column order."""

    def named_values(self, row: Row) -> Mapping[str, Any]:
        """Return the values of *row* by parameter name."""


def insert_with_one_statement(
    cursor: Any,  # noqa: ANN401 - the driver's own
    insertion_into: Callable[[Table, int], RowInsertion],
    tables: Sequence[tuple[Table, Sequence[Row]]],
    last: Statement | None,
) -> int:
    """Run a `BulkInsert` as one statement with CTEs; many rows by one COPY for each table."""
    parts: list[Statement] = [] if last is None else [last]
    if sum(len(rows) for _, rows in tables) > _MAX_ROWS:
        _copy(cursor, insertion_into, tables)
    else:
        parts = [*_parts(insertion_into, tables), *parts]
    if not parts:
        return 0
    *others, (main, _) = parts
    named = ", ".join(f"row_{place} AS ({sql})" for place, (sql, _) in enumerate(others))
    sql, names = _numbered(f"WITH {named} {main}" if named else main)
    values = {name: value for _, values in parts for name, value in values.items()}
    raw = cursor.raw()
    raw.execute(sql, [values[name] for name in names])
    return int(raw.rowcount)


def insert_in_one_block(
    cursor: Any,  # noqa: ANN401 - the driver's own
    insertion_into: Callable[[Table, int], RowInsertion],
    tables: Sequence[tuple[Table, Sequence[Row]]],
    last: Statement | None,
) -> int:
    """Run a `BulkInsert` as one compound statement, whose parameters the driver writes into it."""
    statements = [
        cursor.written(*_insertion_of_rows(insertion_into(table, 0), some))
        for table, rows in tables
        for some in _slices(rows)
    ]
    if last is not None:
        statements.append(cursor.written(*last))
    if not statements:
        return 0
    if len(statements) == 1 or sum(map(len, statements)) > _MAX_LENGTH:
        for statement in statements:
            cursor.execute(statement, None)
        return int(cursor.rowcount)
    # After the block the driver knows of no rows.
    block = "; ".join(["BEGIN NOT ATOMIC " + statements[0], *statements[1:], "SELECT ROW_COUNT()"])
    cursor.execute(block + "; END", None)
    [[count]] = cursor.fetch_to_end()
    return int(count)


def _slices(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    return (rows[start : start + _MAX_ROWS] for start in range(0, len(rows), _MAX_ROWS))


def _insertion_of_rows(insertion: RowInsertion, rows: Sequence[Row]) -> Statement:
    """Return an INSERT of all *rows*."""
    columns = ", ".join(insertion.columns)
    place = f"({', '.join(['%s'] * len(insertion.columns))})"
    places = ", ".join([place] * len(rows))
    values = [value for row in rows for value in insertion.values(row)]
    return f"INSERT INTO {insertion.table} ({columns}) VALUES {places}", values  # noqa: S608 - names of ours


def _parts(
    insertion_into: Callable[[Table, int], RowInsertion],
    tables: Sequence[tuple[Table, Sequence[Row]]],
) -> Sequence[Statement]:
    """Return an INSERT for each row."""
    return [
        (insertion.sql, insertion.named_values(row))
        for table, rows in tables
        for number, row in enumerate(rows)
        for insertion in [insertion_into(table, number)]
    ]


def _copy(
    cursor: Any,  # noqa: ANN401 - the driver's own
    insertion_into: Callable[[Table, int], RowInsertion],
    tables: Sequence[tuple[Table, Sequence[Row]]],
) -> None:
    for table, rows in tables:
        insertion = insertion_into(table, 0)
        statement = f"COPY {insertion.table} ({', '.join(insertion.columns)}) FROM STDIN"
        cursor.copy(statement, map(insertion.values, rows))


@lru_cache(maxsize=1024)
def _numbered(sql: str) -> tuple[str, Sequence[str]]:
    """
    Return *sql* with numbered instead of named parameters, and the names in order.

    The driver would parse a statement of this size again each time.
    """
    names = dict.fromkeys(_PARAMETER.findall(sql))
    numbers = {name: f"${number}" for number, name in enumerate(names, 1)}
    return _PARAMETER.sub(lambda found: numbers[found[1]], sql).replace("%%", "%"), [*names]
