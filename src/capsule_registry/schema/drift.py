"""
Schema drift: how the objects of a database differ from what the migrations make.

A file keeps the statement that created each object, so texts are compared. A server keeps what it
understood: tables are reflected, and expressions and queries are compared as the server reads them.

Other programs' objects are left alone, and so are more indexes on the registry's own tables, unless
they are unique.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from capsule_registry.database.dialects.dialect import CHANGED, FOREIGN, MISSING, Finding
from capsule_registry.database.dialects.known import dialect_named
from capsule_registry.schema.migrations import (
    migrations_directory,
    oldest_compatible_by_version,
    upgrade_statements,
)
from capsule_registry.schema.table_drift import find_table_drift
from capsule_registry.schema.tables import schema_versions
from capsule_registry.schema.version import OLDEST_SUPPORTED, SCHEMA_VERSION, find_schema
from capsule_registry.schema.view_drift import find_view_drift

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sqlalchemy import Connection

_KINDS: Final = ("FUNCTION", "INDEX", "TABLE", "TRIGGER", "VIEW")
_CREATE: Final = re.compile(
    r"CREATE (?:OR REPLACE )?(?:SQL SECURITY INVOKER )?"
    rf'({"|".join(_KINDS)}) (?:IF NOT EXISTS )?"?(\w+)"?'
)


def find_drift(conn: Connection) -> Iterator[Finding]:
    """
    Yield what differs from what the migrations make, up to the version that is found.

    What cannot be compared is a finding without a problem, whose value says why.
    """
    version = find_schema(conn).version or SCHEMA_VERSION
    if version > SCHEMA_VERSION:
        yield Finding("schema", f"{version} is newer than this library")
    elif not migrations_directory().is_dir():
        yield Finding("schema", "the library is installed as an archive, without its migrations")
    else:
        version = max(version, OLDEST_SUPPORTED)
        yield from _find_version_drift(conn, version)
        yield from _find_object_drift(conn, version)


def _find_object_drift(conn: Connection, version: str) -> Iterator[Finding]:
    dialect = dialect_named(conn.dialect.name)
    created = _created(conn.dialect.name, version)
    if dialect is not None and dialect.kept_statements:
        yield from _find_text_drift(dialect.kept_statements(conn), created)
    elif dialect is not None and dialect.catalog:
        yield from find_table_drift(conn, dialect.catalog)
        yield from find_view_drift(conn, dialect.catalog, created["VIEW"])
        names = {**created["TABLE"], **created["VIEW"]}
        yield from dialect.catalog.find_drift(
            conn, names, {**created["FUNCTION"], **created["TRIGGER"]}
        )


def _created(dialect_name: str, version: str) -> Mapping[str, dict[str, str]]:
    """Return by kind and name the statement of the migrations that creates each object last."""
    created: dict[str, dict[str, str]] = {kind: {} for kind in _KINDS}
    for statement in upgrade_statements(dialect_name, version):
        if match := _CREATE.match(statement):
            created[match[1]][match[2]] = statement
    return created


def _find_text_drift(
    kept: Iterable[tuple[str, str, str, str]], created: Mapping[str, dict[str, str]]
) -> Iterator[Finding]:
    """Compare the statements that a file keeps with those that created its objects."""
    expected = {
        f"{kind.lower()} {name}": sql for kind in created for name, sql in created[kind].items()
    }
    ours = {*created["TABLE"], *created["VIEW"]}
    for kind, name, table, sql in kept:
        where = f"{kind} {name}"
        if where in expected:
            if _plain(expected.pop(where)) != _plain(sql):
                yield Finding(where, sql, CHANGED)
        elif table in ours and (kind == "trigger" or "UNIQUE INDEX" in sql.upper()):
            yield Finding(where, sql, FOREIGN)
    for where in expected:
        yield Finding(where, "", MISSING)


def _plain(sql: str) -> str:
    """Return *sql* without what depends on how a table was renamed: blanks, and quoted names."""
    return " ".join(re.sub(r'"(\w+)"', r"\1", sql).split())


def _find_version_drift(conn: Connection, version: str) -> Iterator[Finding]:
    """Compare what `schema_versions` says of each migration."""
    expected = oldest_compatible_by_version(version)
    columns = schema_versions.c.version, schema_versions.c.oldest_compatible
    found: dict[str, str] = {row[0]: row[1] for row in conn.execute(select(*columns))}
    for each in sorted({*expected, *found}, key=str):
        where = f"schema_versions {each}"
        if each not in found:
            yield Finding(where, "", MISSING)
        elif each not in expected:
            yield Finding(where, str(found[each]), FOREIGN)
        elif expected[each] != found[each]:
            problem = f"oldest_compatible is {found[each]!r}, not {expected[each]!r}"
            yield Finding(where, str(found[each]), problem)
