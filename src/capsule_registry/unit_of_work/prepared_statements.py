"""
Statements that SQLAlchemy compiles once and the driver runs.

Compiling a statement and finding the converter of each value make SQLAlchemy several times slower
than the driver itself. Here both are done once per statement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import Executable, SelectBase, bindparam, insert

from capsule_registry.unit_of_work.high_water_mark import HEAD, Position
from capsule_registry.unit_of_work.queries import LookupScope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import BindParameter, Connection, Table
    from sqlalchemy.engine import Dialect

    from capsule_registry.clocks import Clock
    from capsule_registry.unit_of_work.high_water_mark import HighWaterMark
    from capsule_registry.unit_of_work.queries import Query, Row

    _Processor = Callable[[Any], Any] | None
    _Columns = Mapping[str, tuple[int, _Processor]]

T = TypeVar("T")

#: The most values of one list in a statement.
MAX_VALUES: Final = 500
#: The key of the statements in `Connection.info`.
_STATEMENTS: Final = "capsule_registry.statements"


class PreparedStatement:
    """A compiled statement, whose list parameters all have the same length."""

    def __init__(self, statement: Any, dialect: Dialect, length: int) -> None:  # noqa: ANN401 - any Executable
        compiled = statement.compile(dialect=dialect)
        binds: Mapping[str, BindParameter[Any]] = compiled.binds
        given = {name: [None] * length if bind.expanding else None for name, bind in binds.items()}
        state = compiled.construct_expanded_state(given)
        self.sql = state.statement
        #: By list parameter: the names of the parameters that it expands to.
        self._lists: Mapping[str, Sequence[str]] = {
            name: state.parameter_expansion[name] for name, bind in binds.items() if bind.expanding
        }
        #: Values that are part of the statement, such as a limit.
        self._own_values = {name: bind.value for name, bind in binds.items() if not bind.required}
        processors: dict[str, _Processor] = {}
        for name, bind in binds.items():
            processor = bind.type.dialect_impl(dialect).bind_processor(dialect)
            processors |= dict.fromkeys(self._lists.get(name, [name]), processor)
        self._binds = [(name, processors[name]) for name in state.positiontup or processors]
        #: The names of the parameters, if the driver takes them by name.
        self._names = None if state.positiontup is not None else [*processors]
        self.columns: _Columns = {}
        if isinstance(statement, SelectBase):
            self.columns = {
                column.name: (
                    index,
                    column.type.dialect_impl(dialect).result_processor(dialect, None),
                )
                for index, column in enumerate(statement.selected_columns)
            }

        self._results = [*self.columns.values()]

    def parameters(self, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - what the driver takes
        """Return *values* as the driver takes them; lists are padded with nulls."""
        if self._lists or self._own_values:
            values = {**self._own_values, **values, **dict(self._expanded(values))}
        taken = [
            process(values[name]) if process else values[name] for name, process in self._binds
        ]
        return taken if self._names is None else dict(zip(self._names, taken, strict=True))

    def values(self, row: Sequence[Any]) -> list[Any]:
        """Return the converted values of a row of the driver, in order."""
        return [process(row[index]) if process else row[index] for index, process in self._results]

    def converted(self, row: Sequence[Any]) -> dict[str, Any]:
        """Return a row of the driver as a dictionary of converted values."""
        return {
            name: process(row[index]) if process else row[index]
            for name, (index, process) in self.columns.items()
        }

    def _expanded(self, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, expanded in self._lists.items():
            yield from zip_longest(expanded, values[name])


class Insertion:
    """
    The statement that inserts one row into a table, as the driver takes it.

    Parameter names include the table and *number*, so that several can form one statement.
    """

    def __init__(self, table: Table, number: int, dialect: Dialect) -> None:
        columns = {
            f"{table.name}_{number}_{column.name}": column
            for column in table.c
            if column.computed is None
        }
        binds = {column: bindparam(name, type_=column.type) for name, column in columns.items()}
        compiled = insert(table).values(binds).compile(dialect=dialect)
        self.sql = str(compiled)
        self.table = dialect.identifier_preparer.quote(table.name)
        self.columns: Sequence[str] = [
            dialect.identifier_preparer.quote(column.name) for column in columns.values()
        ]
        self._names = [*columns]
        self._binds = [
            (column.name, column.type.dialect_impl(dialect).bind_processor(dialect))
            for column in columns.values()
        ]
        #: Converts a row to what the driver takes.
        self.parameters: Callable[[Mapping[str, Any]], Any] = (
            self.named_values if compiled.positiontup is None else self.values
        )

    def values(self, row: Mapping[str, Any]) -> list[Any]:
        """Return the values of *row* in order; missing ones are null."""
        get = row.get
        return [process(get(key)) if process else get(key) for key, process in self._binds]

    def named_values(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of *row* by parameter name."""
        return dict(zip(self._names, self.values(row), strict=True))


class _Row(Mapping[str, Any]):
    """A row that converts each value on access."""

    __slots__ = ("_columns", "_values")

    def __init__(self, columns: _Columns, values: Sequence[Any]) -> None:
        self._columns = columns
        self._values = values

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - a value of the row
        index, process = self._columns[name]
        value = self._values[index]
        return value if process is None else process(value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


class PreparedStatements(dict[tuple[Executable, int], PreparedStatement]):
    """A cache of compiled statements, by statement and `padded_length` of its lists."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__()
        self._dialect = dialect
        self._insertions: dict[tuple[Table, int], Insertion] = {}

    @classmethod
    def of(cls, conn: Connection) -> PreparedStatements:
        """Return the statements cached with the driver's connection."""
        kept = conn.info.get(_STATEMENTS)
        if kept is None:
            conn.info[_STATEMENTS] = kept = cls(conn.dialect)
        return kept

    def __missing__(self, key: tuple[Executable, int]) -> PreparedStatement:
        self[key] = prepared = PreparedStatement(key[0], self._dialect, key[1])
        return prepared

    def insertion(self, table: Table, number: int) -> Insertion:
        """Return the insertion of row *number* within one statement."""
        key = table, number
        if key not in self._insertions:
            self._insertions[key] = Insertion(table, number, self._dialect)
        return self._insertions[key]


def batches(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield *values* in slices of at most `MAX_VALUES`."""
    for start in range(0, len(values), MAX_VALUES):
        yield values[start : start + MAX_VALUES]


def padded_length(lists: Iterable[Sequence[Any]]) -> int:
    """Return the longest length of *lists*, rounded up to a power of two so that few differ."""
    longest = max(map(len, lists), default=0)
    return 1 << (longest - 1).bit_length() if longest else 0


@dataclass(frozen=True, slots=True)
class PreparedScope(LookupScope):
    """The live tables of one namespace, read with a cursor of the driver."""

    cursor: Any
    statements: PreparedStatements
    namespace: str
    clock: Clock
    seen: HighWaterMark | None = None

    def rows(self, query: Query, **values: Any) -> Sequence[Row]:  # noqa: ANN401 - bound values
        """
        Return the rows that *query* finds for *values*, in its order.

        Raises:
            IncarnationChangedError: Their head is behind the latest one seen.
        """
        last = self.seen and self.seen.last
        prepared, found = self.fetch(query, values)
        rows = [_Row(prepared.columns, row) for row in found]
        if self.seen and last and query.with_head and rows:
            self.seen.take(Position(*(rows[0][column.name] for column in HEAD)), last)
        return rows

    def fetch(
        self, query: Query, values: dict[str, Any]
    ) -> tuple[PreparedStatement, Sequence[Sequence[Any]]]:
        """Return the statement of *query*, and the driver's rows for *values*."""
        values["namespace"] = self.namespace
        length = padded_length([values[name] for name in query.among])
        prepared = self.statements[query.statement, length]
        self.cursor.execute(prepared.sql, prepared.parameters(values))
        return prepared, self.cursor.fetchall()
