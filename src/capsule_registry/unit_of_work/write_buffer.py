"""A unit's new rows, buffered, then written by few statements before a read or at the end."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, delete, update

from capsule_registry.schema.row_images import SUBJECTS
from capsule_registry.schema.tables import metadata
from capsule_registry.unit_of_work.prepared_statements import batches, padded_length

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Delete, Executable, Table, Update

    from capsule_registry.database.dialects.bulk_insert import BulkInsert, Statement
    from capsule_registry.unit_of_work.prepared_statements import PreparedScope

#: The order of writing: referenced rows come first.
_ORDER: Final = {table: place for place, table in enumerate(metadata.sorted_tables)}


class WriteBuffer:
    """
    The changes of one unit.

    Args:
        scope: Where they are written.
        bulk_insert: Inserts the rows of several tables at once, if the database can.
    """

    def __init__(self, scope: PreparedScope, bulk_insert: BulkInsert | None) -> None:
        self._scope = scope
        self._bulk_insert = bulk_insert
        #: Rows not written yet, by table.
        self.waiting: dict[Table, list[dict[str, Any]]] = {}

    def insert(self, table: Table, rows: Sequence[dict[str, Any]]) -> None:
        """Insert *rows* before the next read, or at the latest when the unit ends."""
        if rows:
            self.waiting.setdefault(table, []).extend(rows)

    def update(self, table: Table, key: object, changes: dict[str, Any]) -> None:
        """Update the row with that *key*."""
        values = {f"new_{name}": value for name, value in changes.items()}
        self._run(_update(table, tuple(changes)), {**values, "key": key})

    def delete(self, table: Table, keys: Sequence[Any]) -> None:
        """Delete the rows with those *keys*."""
        for some in batches(keys):
            self._run(_delete(table), {"keys": some}, some)

    def flush(self, last: Statement | None = None) -> int:
        """Write what waits, then run *last*, if any; return how many rows *last* changed."""
        if not self.waiting and last is None:
            return 0
        waiting, self.waiting = self.waiting, {}
        tables = sorted(waiting.items(), key=lambda item: _ORDER[item[0]])
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

    def finish(self, statement: Executable, values: dict[str, Any]) -> int:
        """Write what waits, then run *statement*; return how many rows it changed."""
        prepared = self._scope.statements[statement, 0]
        return self.flush((prepared.sql, prepared.parameters(values)))

    def _run(self, statement: Executable, values: dict[str, Any], *lists: Sequence[Any]) -> None:
        self.flush()
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
