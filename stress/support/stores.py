"""
A registry's rows and schema, as someone with all rights to the database reads and changes them.

Rows are read into memory, changed there, and written back past the triggers, foreign keys and
checks that the database lets its owner leave out. Writing back what was read undoes an edit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from capsule_registry.schema.tables import metadata, namespaces

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Column

    Row = dict[str, Any]
    #: The rows of each table. Values are those that a SQLite file has, whatever the database.
    Contents = dict[str, list[Row]]

#: `namespaces` comes last, since the mark of pruning is there.
TABLES: Final = {
    table.name: table
    for table in sorted(metadata.tables.values(), key=lambda table: table is namespaces)
}
COLUMNS: Final = {
    name: [column.name for column in table.c if column.computed is None]
    for name, table in TABLES.items()
}


@dataclass(frozen=True)
class SchemaObject:
    """A part of the schema that its owner can take away or replace."""

    name: str
    drop: str
    #: Make it again, whether it was dropped or replaced.
    restore: tuple[str, ...]
    #: Put one of the same name in its place that does nothing, or shows nothing.
    replace: tuple[str, ...] = ()


class Store(ABC):
    """The rows and the schema of one database."""

    name: ClassVar[str]
    #: Stands for a parameter in a statement.
    mark: ClassVar[str] = "%s"
    #: What the driver raises if the database refuses an edit.
    refusals: tuple[type[Exception], ...]

    def __init__(self, url: str) -> None:
        self.url = url
        self._conn = self.connect()
        self._undo: list[str] = []
        #: What is there now.
        self.contents: Contents = {}

    @abstractmethod
    def connect(self) -> Any:  # noqa: ANN401 - the driver is chosen at run time
        """Return a connection that leaves out every check that a session can leave out."""

    @abstractmethod
    def objects(self) -> list[SchemaObject]:
        """Return the views, triggers, foreign keys and indexes."""

    def close(self) -> None:
        """Close the connection."""
        self._conn.close()

    def read(self) -> Contents:
        """Return all rows."""
        with self._transaction() as cursor:
            self.contents = {name: self._rows(cursor, name) for name in TABLES}
        return self.contents

    def write(self, contents: Contents) -> bool:
        """
        Make *contents* what is there, and return whether that changed anything.

        Raises one of `refusals`, and changes nothing, if the database takes no such rows.
        """
        with self._transaction() as cursor:
            self.lower_fences(cursor)
            changed = [name for name in contents if self._exchange(cursor, name, contents[name])]
            self.raise_fences(cursor, contents)
            read = {name: self._rows(cursor, name) for name in changed}
        before = self.contents
        self.contents = {**before, **read}
        return any(_frozen(read[name]) != _frozen(before[name]) for name in changed)

    def change_schema(self, do: Sequence[str], undo: Sequence[str]) -> None:
        """Run the statements *do*; *undo* those when the schema is restored."""
        with self._transaction() as cursor:
            self.alter(cursor, do)
        self._undo = [*undo]

    def restore_schema(self) -> None:
        """Undo the last change of the schema."""
        undo, self._undo = self._undo, []
        if undo:
            with self._transaction() as cursor:
                self.alter(cursor, undo)

    def lower_fences(self, cursor: Any) -> None:  # noqa: ANN401, B027 - the driver's; not every one has some
        """Make the tables take any edit until the transaction ends."""

    def raise_fences(self, cursor: Any, contents: Contents) -> None:  # noqa: ANN401, B027 - as above
        """Restore the fences, so that nothing but the rows tells of the edit."""

    def alter(self, cursor: Any, statements: Sequence[str]) -> None:  # noqa: ANN401 - the driver's
        """Run statements that change the schema."""
        for statement in statements:
            cursor.execute(statement)

    def selected(self, column: Column[Any]) -> str:
        """Return the expression that reads *column*."""
        return column.name

    def inward(self, value: Any) -> Any:  # noqa: ANN401 - any column's value
        """Return what the driver has read as `Contents` has it."""
        return value

    def outward(self, column: Column[Any], value: Any) -> Any:  # noqa: ANN401, ARG002 - any column's value
        """Return a value of `Contents` for the driver."""
        return value

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        cursor = self._conn.cursor()
        try:
            cursor.execute("BEGIN")
            yield cursor
            cursor.execute("COMMIT")
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
        finally:
            cursor.close()

    def _rows(self, cursor: Any, name: str) -> list[Row]:  # noqa: ANN401 - the driver's
        columns = COLUMNS[name]
        selected = ", ".join(self.selected(TABLES[name].c[column]) for column in columns)
        cursor.execute(f"SELECT {selected} FROM {name}")  # noqa: S608 - our own names
        return [dict(zip(columns, map(self.inward, row), strict=True)) for row in cursor.fetchall()]

    def _exchange(self, cursor: Any, name: str, rows: list[Row]) -> bool:  # noqa: ANN401 - the driver's
        """Delete and insert what *rows* differ by from what is there; return whether they do."""
        there, wanted = _frozen(self.contents[name]), _frozen(rows)
        columns, keys = COLUMNS[name], [column.name for column in TABLES[name].primary_key]
        condition = " AND ".join(f"{key} = {self.mark}" for key in keys)
        marks = ", ".join([self.mark] * len(columns))
        delete = f"DELETE FROM {name} WHERE {condition}"  # noqa: S608 - our own names
        insert = f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - as above
        gone, new = (delete, there - wanted, keys), (insert, wanted - there, columns)
        for statement, changed, names in (gone, new):
            values = [self._values(name, frozen, names) for frozen in changed.elements()]
            if values:
                cursor.executemany(statement, values)
        return there != wanted

    def _values(self, name: str, frozen: _Frozen, columns: list[str]) -> list[Any]:
        row = {column: value for column, _, value in frozen}
        return [self.outward(TABLES[name].c[column], row[column]) for column in columns]


_Frozen = tuple[tuple[str, type, Any], ...]


def _frozen(rows: list[Row]) -> Counter[_Frozen]:
    """Return the rows in no order; values of different types differ, though they be equal."""
    return Counter(tuple((name, type(value), value) for name, value in row.items()) for row in rows)


def copied(contents: Contents) -> Contents:
    """Return a copy whose rows can be changed."""
    return {name: [dict(row) for row in rows] for name, rows in contents.items()}


def split(contents: Contents, namespace: str | None) -> tuple[Contents, Contents]:
    """Return the rows of *namespace*, or of all, and the rest."""

    def is_wanted(row: Row) -> bool:
        return namespace is None or row.get("namespace", row.get("name")) == namespace

    wanted = {name: [row for row in rows if is_wanted(row)] for name, rows in contents.items()}
    rest = {name: [row for row in rows if not is_wanted(row)] for name, rows in contents.items()}
    return wanted, rest


def joined(one: Contents, other: Contents) -> Contents:
    """Return the rows of both."""
    return {name: [*one[name], *other[name]] for name in one}
