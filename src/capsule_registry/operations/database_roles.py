"""The GRANT statements that give database roles their rights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import inspect

from capsule_registry.entities.derived_rows import DERIVED
from capsule_registry.errors import InvalidDatabaseError, InvalidTextError
from capsule_registry.models.storable import storable_text
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
_HISTORY: Final = frozenset({events.name, revisions.name, "audit_log", "capsule_history"})
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
    names = [*metadata.tables, VERSION_TABLE, *inspect(conn).get_view_names()]
    present = sorted(name for name in names if name not in _HISTORY)
    for role in readers:
        yield from _granting(database, "SELECT", present, role)
    for role in (*auditors, *writers):
        yield from _granting(database, "SELECT", sorted(names), role)
    for role in writers:
        for rights, tables in _WRITER.items():
            yield from _granting(database, rights, [table.name for table in tables], role)


def _granting(database: Database, rights: str, names: Iterable[str], role: str) -> Iterator[str]:
    mark = database.engine.dialect.identifier_preparer.initial_quote

    def quote(name: str) -> str:
        return f"{mark}{name.replace(mark, 2 * mark)}{mark}"

    name = storable_text("role", role)
    parts = name.split("@") if database.dialect.grants_singly else [name]
    if not all(parts) or len(parts) > _MAX_PARTS:
        raise InvalidTextError("role", "grammar", f"{role!r} is no role")
    grantee = "@".join(map(quote, parts))
    if database.dialect.grants_singly:
        yield from (f"GRANT {rights} ON {quote(name)} TO {grantee};" for name in names)
    else:
        yield f"GRANT {rights} ON {', '.join(map(quote, names))} TO {grantee};"
