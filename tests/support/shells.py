"""The databases' own programs: they run a script, and dump a schema."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

from support.backends import first_url

if TYPE_CHECKING:
    import sqlalchemy as sa

    from support.backends import Backend


def run_script(url: str, script: str) -> str:
    """Return what the database's own shell says to *script*; the first error is one of the test."""
    whole = first_url(url)
    backend = whole.get_backend_name()
    if backend == "sqlite":
        command = ["sqlite3", "-bail", str(whole.database)]
    elif backend == "postgresql":
        place = whole.set(drivername="postgresql").render_as_string(hide_password=False)
        command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", place]
    else:
        command = ["mariadb", "--no-defaults", *_mariadb_options(whole)]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    errors = [line for line in done.stderr.splitlines() if "NOTICE:" not in line]
    assert (0, []) == (done.returncode, errors)
    return done.stdout


def _mariadb_options(url: sa.URL) -> list[str]:
    return [
        f"--host={url.host}",
        f"--port={url.port or 3306}",
        f"--user={url.username}",
        f"--password={url.password or ''}",
        str(url.database),
    ]


#: What is in a schema, by the name of the database.
_OBJECTS = {
    "sqlite": "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY 2",
    "postgresql": """
        SELECT table_name, column_name, data_type, collation_name, is_nullable, column_default,
            generation_expression FROM information_schema.columns
            WHERE table_schema = current_schema() AND table_name NOT IN
                (SELECT viewname FROM pg_views WHERE schemaname = current_schema())
        UNION ALL SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), NULL, NULL,
            NULL, NULL FROM pg_constraint WHERE connamespace = current_schema()::regnamespace
        UNION ALL SELECT tablename, indexname, indexdef, NULL, NULL, NULL, NULL FROM pg_indexes
            WHERE schemaname = current_schema()
        UNION ALL SELECT viewname, NULL, definition, NULL, NULL, NULL, NULL FROM pg_views
            WHERE schemaname = current_schema()
        UNION ALL SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(pg_trigger.oid), NULL,
            NULL, NULL, NULL FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
            WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace
        UNION ALL SELECT proname, NULL, pg_get_functiondef(oid), NULL, NULL, NULL, NULL
            FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
        ORDER BY 1, 2, 3""",
    "mariadb": """
        SELECT trigger_name, event_object_table, action_timing, event_manipulation,
            action_statement, sql_mode FROM information_schema.triggers
            WHERE trigger_schema = DATABASE()
        UNION ALL SELECT table_name, security_type, NULL, NULL,
            REPLACE(view_definition, DATABASE(), ''), NULL FROM information_schema.views
            WHERE table_schema = DATABASE()
        ORDER BY 1""",
}


def dumped(backend: Backend, url: str) -> list[tuple[str, ...]]:
    """Return all objects in the schema of *url* with their definitions, without layout."""
    name = "mariadb" if backend.name == "galera" else backend.name
    rows = backend.rows(url, _OBJECTS[name])
    if name == "mariadb":
        tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
        tables += " AND table_type = 'BASE TABLE' AND table_name <> 'capsule_registry_schema_lock'"
        for (table,) in backend.rows(url, f"{tables} ORDER BY 1"):
            rows += backend.rows(url, f"SHOW CREATE TABLE {table}")
    return [tuple(re.sub(r"\s+", " ", str(value)).strip() for value in row) for row in rows]
