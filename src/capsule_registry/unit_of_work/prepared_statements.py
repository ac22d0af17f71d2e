"""
Statements that SQLAlchemy compiles once, and the driver runs.

What makes a statement through SQLAlchemy several times as slow as the driver's own is done once per
statement here: compiling it, and finding out how each value is to be converted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Executable, SelectBase

from capsule_registry.database.dialects.bulk_insert import Insertion
from capsule_registry.unit_of_work.scope import LookupScope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import BindParameter, Connection, Table
    from sqlalchemy.engine import Dialect

    from capsule_registry.clocks import Clock
    from capsule_registry.unit_of_work.queries import Query
    from capsule_registry.unit_of_work.scope import Row

    _Processor = Callable[[Any], Any] | None
    _Columns = Mapping[str, tuple[int, _Processor]]

#: Where statements are kept beside a connection.
_STATEMENTS: Final = "capsule_registry.statements"


class Prepared:
    """A statement as the driver takes it; each parameter that is a list has the same length."""

    def __init__(self, statement: Any, dialect: Dialect, length: int) -> None:  # noqa: ANN401 - any Executable
        compiled = statement.compile(dialect=dialect)
        binds: Mapping[str, BindParameter[Any]] = compiled.binds
        given = {name: [None] * length if bind.expanding else None for name, bind in binds.items()}
        state = compiled.construct_expanded_state(given)
        self.sql = state.statement
        #: The names of the parameters that the values of a list become.
        self._lists: Mapping[str, Sequence[str]] = {
            name: state.parameter_expansion[name] for name, bind in binds.items() if bind.expanding
        }
        #: What the statement itself says of its parameters, such as a limit.
        self._said = {name: bind.value for name, bind in binds.items() if not bind.required}
        processors: dict[str, _Processor] = {}
        for name, bind in binds.items():
            processor = _impl(bind, dialect).bind_processor(dialect)
            processors |= dict.fromkeys(self._lists.get(name, [name]), processor)
        self._binds = [(name, processors[name]) for name in state.positiontup or processors]
        #: Of the values, where the driver takes them by name.
        self._names = None if state.positiontup is not None else [*processors]
        self.columns: _Columns = {}
        if isinstance(statement, SelectBase):
            self.columns = {
                column.name: (index, _impl(column, dialect).result_processor(dialect, None))
                for index, column in enumerate(statement.selected_columns)
            }

    def parameters(self, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - what the driver takes
        """Return *values* as the driver takes them; lists are filled up with nulls."""
        if self._lists or self._said:
            values = {**self._said, **values, **dict(self._expanded(values))}
        taken = [
            process(values[name]) if process else values[name] for name, process in self._binds
        ]
        return taken if self._names is None else dict(zip(self._names, taken, strict=True))

    def _expanded(self, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, expanded in self._lists.items():
            yield from zip_longest(expanded, values[name])


def _impl(element: Any, dialect: Dialect) -> Any:  # noqa: ANN401 - of any type
    return element.type.dialect_impl(dialect)


class _Row(Mapping[str, Any]):
    """A row whose values are converted when they are asked for."""

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


class Statements(dict[tuple[Executable, int], Prepared]):
    """
    Statements by the length of their lists, each compiled when it is first asked for.

    A length is a power of two, so that there are few.
    """

    def __init__(self, dialect: Dialect) -> None:
        super().__init__()
        self._dialect = dialect
        self._insertions: dict[tuple[Table, int], Insertion] = {}

    @classmethod
    def of(cls, conn: Connection) -> Statements:
        """Return the statements that are kept beside the driver's connection."""
        kept = conn.info.get(_STATEMENTS)
        if kept is None:
            conn.info[_STATEMENTS] = kept = cls(conn.dialect)
        return kept

    def __missing__(self, key: tuple[Executable, int]) -> Prepared:
        self[key] = prepared = Prepared(key[0], self._dialect, key[1])
        return prepared

    def fitting(self, statement: Executable, lists: Iterable[Sequence[Any]]) -> Prepared:
        """Return *statement* for *lists*, which are some of its parameters."""
        longest = max(map(len, lists), default=0)
        return self[statement, 1 << (longest - 1).bit_length() if longest else 0]

    def insertion(self, table: Table, number: int) -> Insertion:
        """Return what inserts the row *number* of those that one statement inserts."""
        key = table, number
        if key not in self._insertions:
            self._insertions[key] = Insertion(table, number, self._dialect)
        return self._insertions[key]


@dataclass(frozen=True, slots=True)
class PreparedScope(LookupScope):
    """Where something is looked up with a cursor of the driver, each statement by itself."""

    cursor: Any
    statements: Statements
    namespace: str
    clock: Clock

    def rows(self, query: Query, **values: Any) -> Sequence[Row]:  # noqa: ANN401 - bound values
        """Return the rows that *query* finds for *values*, in its order."""
        values["namespace"] = self.namespace
        lists = [values[name] for name in query.among]
        prepared = self.statements.fitting(query.statement, lists)
        self.cursor.execute(prepared.sql, prepared.parameters(values))
        return [_Row(prepared.columns, row) for row in self.cursor.fetchall()]
