"""The GRANT statements that give database roles their rights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from capsule_registry.entities.derived_rows import DERIVED
from capsule_registry.errors import InvalidDatabaseError, InvalidTextError
from capsule_registry.models.storable import storable_text
from capsule_registry.schema.ownership import VIEWS
from capsule_registry.schema.tables import (
    capsules,
    events,
    leases,
    manifests,
    metadata,
    namespaces,
    revisions,
    uplinks,
    uuid_mappings,
)
from capsule_registry.schema.version import VERSION_TABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Connection

    from capsule_registry.database.database import Database

#: A user and its host, as in `user@host`.
_MAX_PARTS: Final = 2
_HISTORY: Final = frozenset(
    {events.name, revisions.name, "audit_log", "capsule_history", "right_changes"}
)
#: A writer's rights besides SELECT on everything; on the history, INSERT alone.
_WRITER: Final = {
    "INSERT, UPDATE": (namespaces,),
    "INSERT": (events, revisions, manifests),
    "INSERT, UPDATE, DELETE": (capsules, *DERIVED, uplinks, uuid_mappings, leases),
}


def grant_statements(
    database: Database,
    conn: Connection,
    *,
    readers: Iterable[str],
    writers: Iterable[str],
    auditors: Iterable[str],
) -> Iterator[str]:
    """
    Yield the GRANT statements for each role; none of them may prune.

    A reader sees what is registered, an auditor the history as well. A writer sees everything,
    changes what is registered, and only adds to the history.

    Raises:
        InvalidDatabaseError: The database is a file, which has no roles.
        InvalidTextError: A role name is malformed.
    """
    if database.dialect.is_file:
        raise InvalidDatabaseError(str(database.address), "a file has no roles: use its modes")
    grants = _Grants(database, database.dialect.schema_found(conn))
    tables, views = {*metadata.tables, VERSION_TABLE}, {*VIEWS}
    for role in readers:
        yield from grants.use(role)
        yield from grants.read(tables - _HISTORY, views - _HISTORY, role)
    for role in (*auditors, *writers):
        yield from grants.use(role)
        yield from grants.read(tables | {*database.dialect.sequences}, views, role)
    for role in writers:
        for rights, changed in _WRITER.items():
            yield from grants.on(rights, [table.name for table in changed], role)


class _Grants:
    """The statements of one database, whose tables are in *schema* if it has several."""

    def __init__(self, database: Database, schema: str | None) -> None:
        self._singly = database.dialect.grants_singly
        self._view_rights = database.dialect.view_rights
        self._mark = database.engine.dialect.identifier_preparer.initial_quote
        self._schema = schema

    def use(self, role: str) -> Iterator[str]:
        """Yield what a role needs to see anything in the schema."""
        if self._schema:
            yield f"GRANT USAGE ON SCHEMA {self._quote(self._schema)} TO {self._grantee(role)};"

    def read(self, tables: Iterable[str], views: Iterable[str], role: str) -> Iterator[str]:
        """Yield what lets a role read *tables* and *views*."""
        yield from self.on("SELECT", sorted(tables), role)
        yield from self.on(self._view_rights, sorted(views), role)

    def on(self, rights: str, names: Iterable[str], role: str) -> Iterator[str]:
        """Yield what gives a role *rights* on tables and views."""
        tables = [self._table(name) for name in names]
        for some in tables if self._singly else [", ".join(tables)]:
            yield f"GRANT {rights} ON {some} TO {self._grantee(role)};"

    def _table(self, name: str) -> str:
        return ".".join(map(self._quote, filter(None, (self._schema, name))))

    def _grantee(self, role: str) -> str:
        name = storable_text("role", role)
        parts = name.split("@") if self._singly else [name]
        if not all(parts) or len(parts) > _MAX_PARTS:
            raise InvalidTextError("role", "grammar", f"{role!r} is no role")
        return "@".join(map(self._quote, parts))

    def _quote(self, name: str) -> str:
        return f"{self._mark}{name.replace(self._mark, 2 * self._mark)}{self._mark}"
