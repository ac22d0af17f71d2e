"""New rows, buffered, then written by few statements before they are read or at the end."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, delete, update

from capsule_registry.schema.row_images import SUBJECTS
from capsule_registry.schema.tables import metadata
from capsule_registry.unit_of_work.known_keys import KnownKeys
from capsule_registry.unit_of_work.prepared_statements import batches, padded_length

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement, Delete, Executable, Table, Update

    from capsule_registry.database.dialects.bulk_insert import BulkInsert, Statement
    from capsule_registry.unit_of_work.prepared_statements import PreparedScope
    from capsule_registry.unit_of_work.queries import Query, Row

#: The order of writing: referenced rows come first.
_ORDER: Final = {table: place for place, table in enumerate(metadata.sorted_tables)}


class WriteBuffer:
    """
    The changes of the units of one transaction.

    Args:
        scope: Where they are written.
        bulk_insert: Inserts the rows of several tables at once, if the database can.
    """

    def __init__(self, scope: PreparedScope, bulk_insert: BulkInsert | None) -> None:
        self._scope = scope
        self._bulk_insert = bulk_insert
        #: Rows not written yet, by table.
        self._waiting: dict[Table, list[dict[str, Any]]] = {}
        #: Likewise rows of the history, which no unit reads: they wait until the end.
        self._filed: dict[Table, list[dict[str, Any]]] = {}
        self.known = KnownKeys()
        #: How many rows waited when the current unit began.
        self._at_start: dict[Table, int] = {}
        #: Whether the current unit has written more than what waits.
        self.has_written = False

    def begin_unit(self) -> None:
        """Tell what the next unit does from what those before it did."""
        self._at_start = {table: len(rows) for table, rows in self._waiting.items()}
        self.has_written = False

    def drop_unit(self) -> None:
        """Drop what the current unit inserted, and has not written."""
        for table, rows in self._waiting.items():
            begun = self._at_start.get(table, 0)
            self.known.drop(table, rows[begun:])
            del rows[begun:]

    def insert(self, table: Table, rows: Sequence[dict[str, Any]]) -> None:
        """Insert *rows* before a read that may find them, or at the latest at the end."""
        if rows:
            self._waiting.setdefault(table, []).extend(rows)
            self.known.note(table, rows)

    def file(self, table: Table, rows: Sequence[dict[str, Any]]) -> None:
        """Insert *rows* of the history at the end."""
        self._filed.setdefault(table, []).extend(rows)

    def update(self, table: Table, key: object, changes: dict[str, Any]) -> None:
        """Update the row with that *key*."""
        values = {f"new_{name}": value for name, value in changes.items()}
        self._run(_update(table, tuple(changes)), {**values, "key": key})

    def delete(self, table: Table, keys: Sequence[Any]) -> None:
        """Delete the rows with those *keys*."""
        for some in batches(keys):
            self._run(_delete(table), {"keys": some}, some)
        self.known.forget()

    def flush_for(self, query: Query, values: Mapping[str, Any]) -> None:
        """Write what waits if any of it may be in the answer to *query*."""
        if self._waiting and self._may_change(query, values):
            self.flush()

    def _may_change(self, query: Query, values: Mapping[str, Any]) -> bool:
        if query.found_by is None:
            return True
        return any(
            _is_found(row, found_by, query.among, values)
            for table, found_by in query.found_by.items()
            for row in self._waiting.get(table, ())
        )

    def flush(self) -> None:
        """Write what waits, but for the history."""
        if self._waiting:
            begun = self._at_start
            self.has_written |= any(
                len(rows) > begun.get(table, 0) for table, rows in self._waiting.items()
            )
            waiting, self._waiting, self._at_start = self._waiting, {}, {}
            self._write(waiting, None)

    def write_all(self) -> None:
        """Write all that waits, before a statement of which nothing is known."""
        self.flush()
        filed, self._filed = self._filed, {}
        self._write(filed, None)
        self.has_written = True
        self.known.forget()

    def finish(self, statement: Executable, values: dict[str, Any]) -> int:
        """Write all that waits, then run *statement*; return how many rows it changed."""
        prepared = self._scope.statements[statement, 0]
        waiting, self._waiting, self._filed = {**self._waiting, **self._filed}, {}, {}
        return self._write(waiting, (prepared.sql, prepared.parameters(values)))

    def _write(self, waiting: Mapping[Table, list[dict[str, Any]]], last: Statement | None) -> int:
        """Insert the rows, then run *last*, if any; return how many rows *last* changed."""
        tables = sorted(
            ((table, rows) for table, rows in waiting.items() if rows),
            key=lambda item: _ORDER[item[0]],
        )
        cursor, insertion_into = self._scope.cursor, self._scope.statements.insertion
        if self._bulk_insert is not None:
            return self._bulk_insert(cursor, insertion_into, tables, last)
        for table, rows in tables:
            insertion = insertion_into(table, 0)
            if len(rows) == 1:
                cursor.execute(insertion.sql, insertion.parameters(rows[0]))
            else:
                cursor.executemany(insertion.sql, [*map(insertion.parameters, rows)])
        if last is None:
            return 0
        cursor.execute(*last)
        return int(cursor.rowcount)

    def _run(self, statement: Executable, values: dict[str, Any], *lists: Sequence[Any]) -> None:
        self.flush()
        self.has_written = True
        prepared = self._scope.statements[statement, padded_length(lists)]
        values["of_namespace"] = self._scope.namespace
        self._scope.cursor.execute(prepared.sql, prepared.parameters(values))


def _is_found(
    row: Row, found_by: Mapping[str, str], among: Sequence[str], values: Mapping[str, Any]
) -> bool:
    return all(
        row.get(column) in values[name] if name in among else row.get(column) == values[name]
        for column, name in found_by.items()
    )


def _in_namespace(table: Table) -> ColumnElement[bool]:
    return table.c.namespace == bindparam("of_namespace")


@cache
def _update(table: Table, names: tuple[str, ...]) -> Update:
    new = {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in names}
    of_row = and_(_in_namespace(table), SUBJECTS[table] == bindparam("key"))
    return update(table).where(of_row).values(new)


@cache
def _delete(table: Table) -> Delete:
    keys = SUBJECTS[table].in_(bindparam("keys", expanding=True))
    return delete(table).where(_in_namespace(table), keys)
