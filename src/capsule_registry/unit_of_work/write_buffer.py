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

    from capsule_registry.database.dialects.bulk_insert import Statement
    from capsule_registry.database.dialects.dialect import Dialect
    from capsule_registry.unit_of_work.prepared_statements import PreparedScope
    from capsule_registry.unit_of_work.queries import Query

#: The order of writing: referenced rows come first.
_ORDER: Final = {table: place for place, table in enumerate(metadata.sorted_tables)}
#: The columns by whose values most rows are found.
_KEYS: Final = {table: column.name for table, column in SUBJECTS.items()}
#: How many rows are looked through for those that a query may find; of more it is assumed.
_SEARCHED: Final = 200


class WriteBuffer:
    """
    The changes of the units of one transaction.

    Args:
        scope: Where they are written.
        dialect: The database's.
    """

    def __init__(self, scope: PreparedScope, dialect: Dialect) -> None:
        self._scope = scope
        self._bulk_insert = dialect.bulk_insert
        #: Rows not written yet, by table.
        self._waiting: dict[Table, list[dict[str, Any]]] = {}
        #: Their keys, of the tables that are asked by key.
        self._keys: dict[Table, set[Any]] = {}
        #: Likewise rows of the history, which no unit reads: they wait until the end.
        self._filed: dict[Table, list[dict[str, Any]]] = {}
        self.known = KnownKeys(dialect)
        #: How many rows waited when the current unit began.
        self._at_start: dict[Table, int] = {}
        #: The rows of the current unit can be cut off what waits: it has written nothing yet.
        self.is_cuttable = True

    def begin_unit(self) -> None:
        """Tell what the next unit does from what those before it did."""
        self._at_start = {table: len(rows) for table, rows in self._waiting.items()}
        self.is_cuttable = not self._scope.cursor.has_failed

    def drop_unit(self) -> None:
        """Drop what the current unit inserted, and has not written."""
        for table, rows in self._waiting.items():
            begun = self._at_start.get(table, 0)
            self.known.drop(table, rows[begun:])
            if table in _KEYS:
                self._keys[table] -= {row[_KEYS[table]] for row in rows[begun:]}
            del rows[begun:]

    def insert(self, table: Table, rows: Sequence[dict[str, Any]]) -> None:
        """Insert *rows* before a read that may find them, or at the latest at the end."""
        if rows:
            self._waiting.setdefault(table, []).extend(rows)
            self.known.note(table, rows)
            if table in _KEYS:
                keys = (row[_KEYS[table]] for row in rows)
                self._keys.setdefault(table, set()).update(keys)

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
            self._may_find(table, found_by, query.among, values)
            for table, found_by in query.found_by.items()
            if table in self._waiting
        )

    def _may_find(
        self,
        table: Table,
        found_by: Mapping[str, str],
        among: Sequence[str],
        values: Mapping[str, Any],
    ) -> bool:
        """Return whether a row of *table* that waits may be among those that are asked for."""
        for column, name in found_by.items():
            if column == _KEYS.get(table):
                wanted = values[name] if name in among else (values[name],)
                return not self._keys[table].isdisjoint(wanted)
        rows = self._waiting[table]
        return len(rows) > _SEARCHED or any(
            all(
                row.get(column) in values[name]
                if name in among
                else row.get(column) == values[name]
                for column, name in found_by.items()
            )
            for row in rows
        )

    def flush(self) -> None:
        """Write what waits, but for the history."""
        if self._waiting:
            own = any(
                len(rows) > self._at_start.get(table, 0) for table, rows in self._waiting.items()
            )
            before, self.is_cuttable = self.is_cuttable, False  # If it fails, all is undone.
            waiting, self._waiting, self._at_start, self._keys = self._waiting, {}, {}, {}
            self._write(waiting, None)
            self.is_cuttable = before and not own

    def write_all(self) -> None:
        """Write all that waits, before a statement of which nothing is known."""
        self.flush()
        self.is_cuttable = False
        filed, self._filed = self._filed, {}
        self._write(filed, None)
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
        self.is_cuttable = False
        prepared = self._scope.statements[statement, padded_length(lists)]
        values["of_namespace"] = self._scope.namespace
        self._scope.cursor.execute(prepared.sql, prepared.parameters(values))


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
