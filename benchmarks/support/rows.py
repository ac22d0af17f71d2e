"""The rows that a registry wrote, read back so that a raw driver can write the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from capsule_registry.database.dialects.types import CanonicalJson
from capsule_registry.schema import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Table

    from support.raw import Raw

    #: Inserts rows: table, columns, rows.
    Insert = Callable[[str, Sequence[str], Sequence[tuple[Any, ...]]], None]

#: The tables that a registration writes, parents first.
WRITTEN: Final = (
    tables.manifests,
    tables.capsules,
    tables.tools,
    tables.unknown_tools,
    tables.grants,
    tables.routes,
    tables.interceptors,
    tables.commands,
    tables.imports,
    tables.exports,
    tables.artifacts,
    tables.provisions,
    tables.requirements,
    tables.uplinks,
    tables.uuid_mappings,
    tables.events,
    tables.revisions,
)
#: The tables of the history.
HISTORY: Final = ("events", "revisions")
_HEAD: Final = (
    "UPDATE namespaces SET revision = ?, head_hash = ?, last_commit_at = ?"
    " WHERE name = 'default' AND revision = ?"
)
_LOCK: Final = "SELECT * FROM namespaces WHERE name = 'default'"


def columns_of(table: Table) -> list[str]:
    """Return the columns to write: all but the generated ones."""
    return [column.name for column in table.c if column.computed is None]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows by table, parents first."""

    of: dict[str, list[tuple[Any, ...]]]

    @classmethod
    def of_revision(cls, raw: Raw, revision: int) -> Self:
        """Return the rows written by a revision that registered capsules."""
        registered = f"SELECT id FROM capsules WHERE registered_revision = {revision}"  # noqa: S608 - a number
        digests = f"SELECT manifest_digest FROM capsules WHERE registered_revision = {revision}"  # noqa: S608
        conditions = {
            "manifests": f"digest IN ({digests})",
            "capsules": f"registered_revision = {revision}",
            "uplinks": f"created_revision = {revision}",
            "uuid_mappings": f"created_revision = {revision}",
            "events": f"revision = {revision}",
            "revisions": f"revision = {revision}",
        }
        found: dict[str, list[tuple[Any, ...]]] = {}
        for table in WRITTEN:
            wanted = conditions.get(table.name, f"capsule_id IN ({registered})")
            rows = [*raw.rows(_select(raw, table, wanted))]
            if rows:
                found[table.name] = rows
        return cls(found)

    @property
    def head(self) -> tuple[Any, ...]:
        """The parameters of the UPDATE of the head."""
        row = self.dicts("revisions")[0]
        return row["revision"], row["hash"], row["committed_at"], row["revision"] - 1

    def dicts(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a table as dicts by column."""
        names = _COLUMNS[name]
        return [dict(zip(names, row, strict=True)) for row in self.of.get(name, ())]

    def tables(self) -> Iterator[tuple[str, Sequence[str], Sequence[tuple[Any, ...]]]]:
        """Yield each table with its columns and rows."""
        for name, rows in self.of.items():
            yield name, _COLUMNS[name], rows


def write(raw: Raw, rows: Rows) -> None:
    """Write *rows* as lean as the driver can: one statement per table, in one transaction."""
    _write(raw, rows, raw.insert)


def write_many(raw: Raw, rows: Rows) -> None:
    """Write many *rows* in one transaction."""
    _write(raw, rows, raw.insert_many)


def _write(raw: Raw, rows: Rows, insert: Insert) -> None:
    raw.run(raw.begin)
    if raw.lock:
        raw.rows(_LOCK + raw.lock)
    for table, columns, found in rows.tables():
        insert(table, columns, found)
    raw.run(_HEAD, rows.head)
    raw.run("COMMIT")


def head_revision(raw: Raw) -> int:
    """Return the head revision."""
    return int(raw.rows(_LOCK.replace("*", "revision"))[0][0])


def without_triggers(raw: Raw) -> list[str]:
    """Drop the triggers of a SQLite file, and return the statements that recreate them."""
    found = raw.rows("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    for name, _ in found:
        raw.run(f"DROP TRIGGER {name}")
    return [statement for _, statement in found]


_COLUMNS: Final = {table.name: columns_of(table) for table in WRITTEN}


def columns_of_table(name: str) -> list[str]:
    """Return the columns to write of the table *name*."""
    return _COLUMNS[name]


def _select(raw: Raw, table: Table, condition: str) -> str:
    wanted = [
        raw.as_text(name) if isinstance(table.c[name].type, CanonicalJson) else name
        for name in columns_of(table)
    ]
    return f"SELECT {', '.join(wanted)} FROM {table.name} WHERE {condition}"  # noqa: S608 - of the schema's own names
