"""The rows and the schema of a SQLite file: unless its tables are strict, it takes any value."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from capsule_registry import sqlite_module
from support.stores import SchemaObject, Store

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The scheme of a URL, before the path.
PREFIX: Final = "sqlite:///"
_FOREIGN_KEY: Final = re.compile(
    r",\s*(?:CONSTRAINT \w+ )?FOREIGN KEY\s?\([^)]*\) REFERENCES [^()]+\([^)]*\)(?: ON DELETE \w+)?"
)
_OF_SCHEMA: Final = "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"


class SqliteStore(Store):
    """A file: its tables are strict again after each edit, with all triggers."""

    name = "sqlite"
    mark = "?"
    refusals = (sqlite_module.Error, OverflowError)

    def connect(self) -> Any:  # noqa: ANN401 - the module is chosen at run time
        conn = sqlite_module.connect(self.url.removeprefix(PREFIX), isolation_level=None)
        conn.execute("PRAGMA ignore_check_constraints = 1")
        conn.execute("PRAGMA synchronous = 0")
        return conn

    def lower_fences(self, cursor: Any) -> None:  # noqa: ANN401 - the driver's
        self._schema = cursor.execute(_OF_SCHEMA).fetchall()
        for kind, name, _ in self._schema:
            if kind == "trigger":
                cursor.execute(f"DROP TRIGGER {name}")
        loosened = [
            (re.sub(r",? STRICT$", "", sql), name)
            for kind, name, sql in self._schema
            if kind == "table"
        ]
        self._redefine(cursor, loosened)

    def raise_fences(self, cursor: Any, _: object) -> None:  # noqa: ANN401 - the driver's
        tables = [(sql, name) for kind, name, sql in self._schema if kind == "table"]
        self._redefine(cursor, tables)
        for kind, _, sql in self._schema:
            if kind == "trigger":
                cursor.execute(sql)

    def _redefine(self, cursor: Any, tables: Sequence[tuple[str, str]]) -> None:  # noqa: ANN401 - the driver's
        cursor.execute("PRAGMA writable_schema = 1")
        cursor.executemany("UPDATE sqlite_master SET sql = ? WHERE name = ?", tables)
        cursor.execute("PRAGMA writable_schema = RESET")

    def alter(self, cursor: Any, statements: Sequence[str]) -> None:  # noqa: ANN401 - the driver's
        cursor.execute("PRAGMA writable_schema = 1")
        super().alter(cursor, statements)
        cursor.execute("PRAGMA writable_schema = RESET")

    def objects(self) -> list[SchemaObject]:
        found = []
        for kind, name, sql in self._conn.execute(_OF_SCHEMA).fetchall():
            if kind == "table":
                found += [
                    SchemaObject(
                        f"foreign key of {name}",
                        _redefinition(name, sql.replace(key, "", 1)),
                        (_redefinition(name, sql),),
                    )
                    for key in _FOREIGN_KEY.findall(sql)
                ]
                continue
            drop = f"DROP {kind} IF EXISTS {name}"
            nothing = _nothing_of(kind, name, sql)
            replace = (drop, nothing) if nothing else ()
            found.append(SchemaObject(f"{kind} {name}", drop, (drop, sql), replace))
        return found


def _nothing_of(kind: str, name: str, sql: str) -> str | None:
    """Return the statement that creates one like it that does nothing, or shows nothing."""
    match kind:
        case "view":
            body = re.split(r"\sAS\s", sql, maxsplit=1)[1]
            return f"CREATE VIEW {name} AS SELECT * FROM ({body}) WHERE 0"  # noqa: S608 - our own
        case "trigger":
            return f"{re.split('WHEN|BEGIN', sql)[0]} BEGIN SELECT 1; END"
    return None


def _redefinition(name: str, sql: str) -> str:
    quoted = sql.replace("'", "''")
    return f"UPDATE sqlite_master SET sql = '{quoted}' WHERE name = '{name}'"  # noqa: S608 - our own
