"""Rows of several tables put in by one statement, where a database can do so."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Table

    Row = Mapping[str, Any]
    #: A statement as the driver takes it, and its parameters.
    Statement = tuple[str, Any]
    #: Given a cursor, what inserts the row of a number into a table, the rows by table, and a last
    #: statement: writes all in that order, and returns how many rows the last has changed.
    BulkInsert = Callable[
        [
            Any,
            Callable[[Table, int], "Insertion"],
            Sequence[tuple[Table, Sequence[Row]]],
            Statement | None,
        ],
        int,
    ]

#: Rows that go into one statement: planning it takes longer the more there are.
_MAX_ROWS: Final = 100
_PARAMETER: Final = re.compile(r"%\((\w+)\)s")


class Insertion(Protocol):
    """What inserts one row into a table, by parameters that are named for it and for a number."""

    sql: str
    #: The names of the table and of its columns, quoted.
    table: str
    columns: Sequence[str]

    def values(self, row: Row) -> Sequence[Any]:
        """Return the values of *row* in order."""

    def named_values(self, row: Row) -> Mapping[str, Any]:
        """Return the same by the names of the parameters."""


def insert_with_one_statement(
    cursor: Any,  # noqa: ANN401 - the driver's own
    insertion_into: Callable[[Table, int], Insertion],
    tables: Sequence[tuple[Table, Sequence[Row]]],
    last: Statement | None,
) -> int:
    """Write all by one statement with CTEs; many rows by COPY, a table at a time (`BulkInsert`)."""
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


def _parts(
    insertion_into: Callable[[Table, int], Insertion],
    tables: Sequence[tuple[Table, Sequence[Row]]],
) -> Sequence[Statement]:
    """Return a statement for each row."""
    return [
        (insertion.sql, insertion.named_values(row))
        for table, rows in tables
        for number, row in enumerate(rows)
        for insertion in [insertion_into(table, number)]
    ]


def _copy(
    cursor: Any,  # noqa: ANN401 - the driver's own
    insertion_into: Callable[[Table, int], Insertion],
    tables: Sequence[tuple[Table, Sequence[Row]]],
) -> None:
    for table, rows in tables:
        insertion = insertion_into(table, 0)
        statement = f"COPY {insertion.table} ({', '.join(insertion.columns)}) FROM STDIN"
        cursor.copy(statement, map(insertion.values, rows))


@lru_cache(maxsize=128)
def _numbered(sql: str) -> tuple[str, Sequence[str]]:
    """
    Return *sql* with numbers in place of its parameters' names, and those names.

    The driver itself would look for the names again each time, in a statement of this size.
    """
    names = dict.fromkeys(_PARAMETER.findall(sql))
    numbers = {name: f"${number}" for number, name in enumerate(names, 1)}
    return _PARAMETER.sub(lambda found: numbers[found[1]], sql).replace("%%", "%"), [*names]
