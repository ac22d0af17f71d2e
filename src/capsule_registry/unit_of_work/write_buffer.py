"""
What a unit writes: gathered as long as nobody looks.

Then it is written, by as few statements as can be, whatever the number of rows.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, delete, update

from capsule_registry.database.dialects.dialect import dialect_named
from capsule_registry.database.engines import Cursor
from capsule_registry.schema.tables import metadata
from capsule_registry.unit_of_work.hash_chain import SUBJECTS
from capsule_registry.unit_of_work.prepared_statements import PreparedScope, Statements
from capsule_registry.unit_of_work.queries import batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Delete, Executable, Table, Update

    from capsule_registry.clocks import Clock
    from capsule_registry.database.dialects.bulk_insert import Statement
    from capsule_registry.unit_of_work.queries import Query
    from capsule_registry.unit_of_work.scope import Row

#: Rows are written before those that refer to them.
_ORDER: Final = {table: place for place, table in enumerate(metadata.sorted_tables)}


class Changes:
    """The changes of one namespace on one connection."""

    def __init__(self, conn: Connection, namespace: str, clock: Clock) -> None:
        dialect = dialect_named(conn.dialect.name)
        if dialect is None:
            raise TypeError(conn.dialect.name)
        self._write = dialect.write
        self._scope = PreparedScope(Cursor(conn), Statements.of(conn), namespace, clock)
        self._waiting: dict[Table, list[dict[str, Any]]] = {}

    def insert(self, table: Table, rows: Sequence[dict[str, Any]]) -> None:
        """Insert *rows* before anything is read, or at the latest when all is written."""
        if rows:
            self._waiting.setdefault(table, []).extend(rows)

    def update(self, table: Table, key: object, changes: dict[str, Any]) -> None:
        """Change the row of that *key*."""
        values = {f"new_{name}": value for name, value in changes.items()}
        self._run(_update(table, tuple(changes)), {**values, "key": key})

    def delete(self, table: Table, keys: Sequence[Any]) -> None:
        """Delete the rows of those *keys*."""
        for some in batches(keys):
            self._run(_delete(table), {"keys": some}, some)

    def rows(self, query: Query, values: dict[str, Any]) -> Sequence[Row]:
        """Return the rows that *query* finds for *values*, what was inserted included."""
        self.write()
        return self._scope.rows(query, **values)

    def write(self, last: Statement | None = None) -> int:
        """Write what waits, and run the *last* statement; return how many rows that changed."""
        if not self._waiting and last is None:
            return 0
        waiting, self._waiting = self._waiting, {}
        tables = sorted(waiting, key=_ORDER.__getitem__)
        numbered = self._scope.statements.insertion
        given = [(partial(numbered, table), waiting[table]) for table in tables]
        return self._write(self._scope.cursor, given, last)

    def finish(self, statement: Executable, values: dict[str, Any]) -> int:
        """Write what waits, and run *statement*; return how many rows that has changed."""
        prepared = self._scope.statements[statement, 0]
        return self.write((prepared.sql, prepared.parameters(values)))

    def _run(self, statement: Executable, values: dict[str, Any], *lists: Sequence[Any]) -> None:
        self.write()
        prepared = self._scope.statements.fitting(statement, lists)
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
