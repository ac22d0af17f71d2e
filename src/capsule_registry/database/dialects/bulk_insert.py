"""How the rows of several tables are put into a database, by as few statements as it can do."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, insert

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Table
    from sqlalchemy.engine import Dialect

    Row = Mapping[str, Any]
    #: What gives the insertion of a number into one table, and the rows for it.
    Batch = tuple[Callable[[int], "Insertion"], Sequence[Row]]
    #: A statement as the driver takes it, and its parameters.
    Statement = tuple[str, Any]
    #: Writes what the batches say, in their order, then runs the statement; returns how many rows
    #: that has changed.
    Write = Callable[[Any, Sequence[Batch], Statement | None], int]

#: Rows that are put into one statement: planning it takes longer the more there are.
_MOST_AT_ONCE: Final = 100
_PARAMETER: Final = re.compile(r"%\((\w+)\)s")


class Insertion:
    """
    What inserts one row, as the driver takes it.

    Its parameters are named for the table and for *number*, so that several can be one statement.
    """

    def __init__(self, table: Table, number: int, dialect: Dialect) -> None:
        named = {
            f"{table.name}_{number}_{column.name}": column
            for column in table.c
            if column.computed is None
        }
        binds = {column: bindparam(name, type_=column.type) for name, column in named.items()}
        compiled = insert(table).values(binds).compile(dialect=dialect)
        self.sql = str(compiled)
        quote = dialect.identifier_preparer.quote
        columns = ", ".join(quote(column.name) for column in named.values())
        #: What takes any number of rows, on PostgreSQL.
        self.copy = f"COPY {quote(table.name)} ({columns}) FROM STDIN"
        self._is_positional = compiled.positiontup is not None
        self._names = [*named]
        self._binds = [
            (column.name, column.type.dialect_impl(dialect).bind_processor(dialect))
            for column in named.values()
        ]

    def parameters(self, row: Row) -> Any:  # noqa: ANN401 - what the driver takes
        """Return the values of *row* as the driver takes them; what it lacks is null."""
        values = self.values(row)
        return values if self._is_positional else dict(zip(self._names, values, strict=True))

    def values(self, row: Row) -> list[Any]:
        """Return the values of *row* in order."""
        get = row.get
        return [process(get(key)) if process else get(key) for key, process in self._binds]


def by_table(cursor: Any, batches: Sequence[Batch], last: Statement | None) -> int:  # noqa: ANN401 - the driver's own
    """Write by one statement a table."""
    for numbered, rows in batches:
        insertion = numbered(0)
        if len(rows) == 1:
            cursor.execute(insertion.sql, insertion.parameters(rows[0]))
        else:
            cursor.executemany(insertion.sql, [*map(insertion.parameters, rows)])
    if last is None:
        return 0
    cursor.execute(*last)
    return int(cursor.rowcount)


def at_once(cursor: Any, batches: Sequence[Batch], last: Statement | None) -> int:  # noqa: ANN401 - the driver's own
    """Write by one statement for all; many rows by COPY, a table at a time."""
    if sum(len(rows) for _, rows in batches) > _MOST_AT_ONCE:
        for numbered, rows in batches:
            insertion = numbered(0)
            cursor.copy(insertion.copy, map(insertion.values, rows))
        return by_table(cursor, (), last)
    parts: list[Statement] = []
    for numbered, rows in batches:
        for number, row in enumerate(rows):
            insertion = numbered(number)
            parts.append((insertion.sql, insertion.parameters(row)))
    if last is not None:
        parts.append(last)
    *others, (main, _) = parts
    named = ", ".join(f"row_{place} AS ({sql})" for place, (sql, _) in enumerate(others))
    sql, names = _numbered(f"WITH {named} {main}" if named else main)
    values = {name: value for _, values in parts for name, value in values.items()}
    raw = cursor.raw()
    raw.execute(sql, [values[name] for name in names])
    return int(raw.rowcount)


@lru_cache(maxsize=128)
def _numbered(sql: str) -> tuple[str, Sequence[str]]:
    """
    Return *sql* with numbers in place of its parameters' names, and those names.

    The driver itself would look for the names again each time, in a statement of this size.
    """
    names = dict.fromkeys(_PARAMETER.findall(sql))
    numbers = {name: f"${number}" for number, name in enumerate(names, 1)}
    return _PARAMETER.sub(lambda found: numbers[found[1]], sql).replace("%%", "%"), [*names]
