"""Views of a server that differ from what the migrations make, as the server reads both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import DBAPIError

from capsule_registry.database.dialects.dialect import CHANGED, MISSING, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection

    from capsule_registry.database.dialects.dialect import Catalog

#: How often two readings are compared: what is written in between may change one of them.
_ATTEMPTS: Final = 3


def find_view_drift(
    conn: Connection, catalog: Catalog, created: Mapping[str, str]
) -> Iterator[Finding]:
    """Yield the views that mean something else than the statements in *created*, by name."""
    found = catalog.view_queries(conn)
    for name, statement in created.items():
        where = f"view {name}"
        if name not in found:
            yield Finding(where, "", MISSING)
        elif (query := found[name]) is None:
            yield Finding(where, "this user may not see its query")
        elif not reads_the_same(conn, catalog, query, statement.partition(" AS")[2]):
            yield Finding(where, query, CHANGED)


def reads_the_same(conn: Connection, catalog: Catalog, one: str, other: str) -> bool:
    """Return whether a server reads two queries as the same, with columns of the same names."""
    try:
        with conn.begin_nested():
            names = {tuple(_names(conn, query)) for query in (one, other)}
            return len(names) == 1 and any(
                catalog.canonical(conn, one) == catalog.canonical(conn, other)
                for _ in range(_ATTEMPTS)
            )
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        return False  # Such as a view of what is no longer there.


def _names(conn: Connection, query: str) -> list[str]:
    empty = f"SELECT * FROM ({query}) AS nothing LIMIT 0"  # noqa: S608 - it is the server's own
    return [*conn.exec_driver_sql(empty.replace("%", "%%")).keys()]
