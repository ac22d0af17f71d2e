"""What PostgreSQL tells of views, triggers and tables beyond what SQLAlchemy reflects."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from capsule_registry.database.dialects.dialect import CHANGED, FOREIGN, MISSING, Catalog, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sqlalchemy import Connection

#: A plan says nothing of the windows that functions look through, but what it sorts by.
_WINDOW: Final = re.compile(r"\b(?:OVER|WINDOW \w+ AS) ?\([^()]*\)|\bOVER \w+", re.IGNORECASE)
#: A stored query says each cast that its text left to the server, and some steps of a plan show it.
_CAST_OF_TEXT: Final = re.compile(r"\(([\w.]+)\)::text")
_QUALIFIER: Final = re.compile(r'\b\w+\.|"')
_view_queries = text(
    "SELECT relname, pg_get_viewdef(pg_class.oid) FROM pg_class WHERE relkind = 'v'"
    " AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('namespaces'))"
)
_triggers = text("""
    SELECT tgname, tgenabled IN ('O', 'A') AS enabled, proname, prosrc,
        pg_get_triggerdef(pg_trigger.oid, true) AS sql,
        lanname = 'plpgsql' AND NOT prosecdef AND proconfig IS NULL AS is_plain
    FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
        JOIN pg_proc ON pg_proc.oid = tgfoid JOIN pg_language ON pg_language.oid = prolang
    WHERE NOT tgisinternal AND relname = ANY (:names) AND relnamespace = (
        SELECT relnamespace FROM pg_class WHERE oid = to_regclass('namespaces'))
""")
#: Each is a property of tables or views by which rows, or their constraints, count for less.
_properties = text("""
    SELECT relname, CASE
        WHEN relkind NOT IN ('r', 'v') THEN 'is no plain table'
        WHEN relpersistence <> 'p' THEN 'is lost in a crash: it is not logged'
        WHEN relrowsecurity THEN 'hides rows by policies'
        WHEN relhassubclass THEN 'has rows of tables that inherit from it'
        WHEN EXISTS (SELECT 1 FROM pg_rewrite WHERE ev_class = pg_class.oid
            AND rulename <> '_RETURN') THEN 'has rules, which rewrite statements'
        WHEN EXISTS (SELECT 1 FROM pg_trigger WHERE tgrelid = pg_class.oid
            AND tgisinternal AND tgenabled NOT IN ('O', 'A'))
            THEN 'does not enforce its foreign keys'
        END AS problem
    FROM pg_class WHERE relname = ANY (:names) AND relkind <> 'i' AND relnamespace = (
        SELECT relnamespace FROM pg_class WHERE oid = to_regclass('namespaces'))
""")


def _canonical(conn: Connection, query: str) -> str:
    """Return the plan of *query*, which has each expression as it was understood."""
    explain = f"EXPLAIN (VERBOSE, COSTS OFF) {query}".replace("%", "%%")
    lines = [line for line in conn.exec_driver_sql(explain).scalars() if "Identifier:" not in line]
    windows = (_QUALIFIER.sub("", "".join(found.split())) for found in _WINDOW.findall(query))
    return _CAST_OF_TEXT.sub(r"\1", "\n".join((*lines, *windows)))


def _view_queries_of(conn: Connection) -> Mapping[str, str | None]:
    return {name: query.rstrip(" ;") for name, query in conn.execute(_view_queries)}


def _find_drift(
    conn: Connection, names: Iterable[str], created: Mapping[str, str]
) -> Iterator[Finding]:
    """Yield what differs in triggers and in the function that they call, and odd tables."""
    for table, problem in conn.execute(_properties, {"names": [*names]}):
        if problem:
            yield Finding(f"table {table}", "", problem)
    found = {one.tgname: one for one in conn.execute(_triggers, {"names": [*names]})}
    for name in sorted({*found, *_triggers_in(created)}):
        if name not in found:
            yield Finding(f"trigger {name}", "", MISSING)
        elif name not in created:
            yield Finding(f"trigger {name}", found[name].sql, FOREIGN)
        elif problem := _problem(found[name], created):
            yield Finding(f"trigger {name}", found[name].sql, problem)


def _triggers_in(created: Mapping[str, str]) -> Iterator[str]:
    return (name for name, statement in created.items() if "TRIGGER" in statement[:25])


def _problem(trigger: Any, created: Mapping[str, str]) -> str | None:  # noqa: ANN401 - a row
    """Return what is wrong with *trigger*, which is one of ours by its name."""
    if not trigger.enabled:
        return "is disabled"
    if _plain(trigger.sql) != _plain(created[trigger.tgname]):
        return CHANGED
    body = created.get(trigger.proname, "").partition("$$")[2].rpartition("$$")[0]
    return None if trigger.is_plain and trigger.prosrc == body else f"calls what {CHANGED[3:]}"


def _plain(statement: str) -> str:
    """Return a statement that creates a trigger as PostgreSQL would write it."""
    words = statement.replace(" OR REPLACE", "")
    if " FOR EACH " not in words:
        words = words.replace(" EXECUTE ", " FOR EACH STATEMENT EXECUTE ")
    return " ".join(words.split())


CATALOG: Final = Catalog(_canonical, _view_queries_of, _find_drift)
