"""What MariaDB tells of views, triggers and tables beyond what SQLAlchemy reflects."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, text
from sqlalchemy.exc import DBAPIError

from capsule_registry.database.dialects.dialect import CHANGED, FOREIGN, MISSING, Catalog, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sqlalchemy import Connection

_view_queries = text(
    "SELECT table_name, NULLIF(view_definition, ''), security_type"
    " FROM information_schema.views WHERE table_schema = DATABASE()"
)
_triggers = text(
    "SELECT trigger_name, CONCAT(action_timing, ' ', event_manipulation, ' ON ',"
    " event_object_table, ' FOR EACH ROW ', NULLIF(action_statement, ''))"
    " FROM information_schema.triggers"
    " WHERE trigger_schema = DATABASE() AND event_object_table IN :names"
).bindparams(bindparam("names", expanding=True))
_engines = text(
    "SELECT table_name, COALESCE(engine, table_type) FROM information_schema.tables"
    " WHERE table_schema = DATABASE() AND table_name IN :names AND table_type <> 'VIEW'"
    " AND COALESCE(engine, '') <> 'InnoDB'"
).bindparams(bindparam("names", expanding=True))
_json_columns = text("""
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name IN :names AND data_type = 'longtext'
        AND collation_name = 'utf8mb4_bin' AND table_name NOT IN (
            SELECT table_name FROM information_schema.views WHERE table_schema = DATABASE())
""").bindparams(bindparam("names", expanding=True))
_NO_TRIGGER: Final = 1360  # ER_TRG_DOES_NOT_EXIST
_UNSEEN: Final = "this user may not see what it does"
_CREATE: Final = re.compile(r"CREATE (?:OR REPLACE )?TRIGGER \S+ ")


def _canonical(conn: Connection, query: str) -> str:
    """Return *query* as the server rewrote it."""
    conn.exec_driver_sql(f"EXPLAIN EXTENDED {query}".replace("%", "%%")).all()
    notes = conn.exec_driver_sql("SHOW WARNINGS").all()
    return "\n".join(note[2] for note in notes)


def _view_queries_of(conn: Connection) -> Mapping[str, str | None]:
    return {name: query for name, query, _ in conn.execute(_view_queries)}


def _find_drift(
    conn: Connection, names: Iterable[str], created: Mapping[str, str]
) -> Iterator[Finding]:
    """Yield what differs in triggers, views that act as whoever made them, and odd tables."""
    named = {"names": [*names]}
    for table, engine in conn.execute(_engines, named):
        yield Finding(f"table {table}", engine, f"is kept by {engine}, not InnoDB")
    for table, column in conn.execute(_json_columns, named):
        if not _is_checked(conn, table, column):
            yield Finding(f"table {table}, column {column}", "", "may hold what is no JSON")
    for view, _, security in conn.execute(_view_queries):
        if view in named["names"] and security != "INVOKER":
            yield Finding(f"view {view}", security, "shows what its definer may see")
    triggers = {row[0]: row[1] for row in conn.execute(_triggers, named)}
    yield from _find_trigger_drift(conn, triggers, created)


def _find_trigger_drift(
    conn: Connection, found: Mapping[str, str | None], created: Mapping[str, str]
) -> Iterator[Finding]:
    for name in sorted({*found, *created}):
        where = f"trigger {name}"
        if name not in found:
            yield _missing(conn, name)
        elif name not in created:
            yield Finding(where, "", FOREIGN)
        elif (made := found[name]) is None:
            yield Finding(where, _UNSEEN)
        elif _plain(made) != _plain(_CREATE.sub("", created[name], count=1)):
            yield Finding(where, made, CHANGED)


def _is_checked(conn: Connection, table: str, column: str) -> bool:
    """Return whether a column of type JSON, which is a text with a check, has that check."""
    made = str(conn.exec_driver_sql(f"SHOW CREATE TABLE {table}").one()[1])
    return f"json_valid({column})" in re.sub(r'[`"]', "", made)


def _missing(conn: Connection, name: str) -> Finding:
    """Return what is to be said of a trigger that the user does not see."""
    try:
        conn.exec_driver_sql(f"SHOW CREATE TRIGGER {name}")
    except DBAPIError as error:
        if getattr(error.orig, "args", (None,))[0] != _NO_TRIGGER:
            return Finding(f"trigger {name}", _UNSEEN)
    return Finding(f"trigger {name}", "", MISSING)


def _plain(statement: str) -> str:
    return " ".join(statement.split())


CATALOG: Final = Catalog(_canonical, _view_queries_of, _find_drift)
