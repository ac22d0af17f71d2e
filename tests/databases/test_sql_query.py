"""`RegistryAdmin.query`: one statement of an operator's own, which cannot write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from capsule_registry import (
    CapsuleRegistryError,
    InvalidTextError,
    PermissionDeniedError,
    RegistryAdmin,
)
from support.backends import engine_on
from support.factories import make_manifest

if TYPE_CHECKING:
    from capsule_registry import CapsuleRegistry
    from support.backends import Backend, ServerBackend

#: Options that lift a session's fence, and allow several statements.
LIFTING: dict[str, dict[str, str]] = {
    "sqlite": {},
    "postgresql": {"options": "-cdefault_transaction_read_only=off"},
    "mariadb": {
        "init_command": "SET SESSION TRANSACTION READ WRITE",
        "client_flag": str(1 << 16),  # CLIENT_MULTI_STATEMENTS
    },
}
#: Refused by every database.
WRITING = [
    "DELETE FROM capsules",
    "UPDATE capsules SET state = 'failed'",
    "INSERT INTO schema_versions SELECT * FROM schema_versions",
    "DROP TABLE uplinks",
    "CREATE TABLE mine (x INTEGER)",
    "PRAGMA journal_mode = delete",
    "BEGIN NOT ATOMIC START TRANSACTION READ WRITE; DELETE FROM capsules; COMMIT; END",
    "COMMIT; DELETE FROM capsules",
    "SELECT 1; COMMIT; DELETE FROM capsules; COMMIT",
    "SELECT 1; DELETE FROM capsules",
    "WITH x AS (DELETE FROM capsules RETURNING id) SELECT * FROM x",
    "EXPLAIN ANALYZE DELETE FROM capsules",
    "SET default_transaction_read_only = off",
    "SELEC",
    "",
    "SELECT FROM WHERE",
    "SELECT x FROM y",
    "SELECT '\0'",
]
#: What a read-only connection or transaction of the database itself lets through.
PASSING: dict[str, list[str]] = {
    "sqlite": [
        "SELECT * FROM pragma_optimize(1)",
        "SELECT * FROM pragma_wal_autocheckpoint, pragma_locking_mode",
        "SELECT load_extension(NULL)",
    ],
    "postgresql": [
        "SELECT lo_from_bytea(0, 'x')",
        "SELECT pg_notify('channel', 'x')",
        "SELECT pg_advisory_lock(77)",
        "SELECT 'a /*', PG_LOGICAL_EMIT_MESSAGE /* /* */ */ -- \n (false, 'a', 'b'), '*/ ('",
        "SELECT '\"', \"pg_advisory_lock\"(77), '\"('",
        "SELECT U&\"pg_advisory!005Flock\" UESCAPE '!' (77)",
        "SELECT query_to_xml('SELECT pg_advisory_lock(77)', true, true, '')",
    ],
    "mariadb": [
        "SELECT 1 INTO @x",
        "SELECT 1 /*!INTO @x */",
        "SELECT 1 /*M!100000 INTO @x */",
        "SELECT 1.into @x",
        "SELECT 1e5into @x",
        "SELECT \\Ninto @x",
        "SELECT 'it''s \\' \" ` -- /*'into @x",
        "SELECT 1 -- a\ninto @x",
        "SELECT 1 # a\ninto @x",
        "SELECT 1 /*x /*y*/ into @x -- */",
        "SELECT x'41'InTo @x",
    ],
}
#: What only reads, though it looks as if it did not.
READING: dict[str, list[str]] = {
    "sqlite": [
        "SELECT name FROM pragma_table_info('capsules')",
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION SELECT x + 1 FROM n WHERE x < 3) SELECT x FROM n",
        "SELECT count(*), lower(max(id)) FROM registered_capsules",
    ],
    "postgresql": [
        "TABLE capsules",
        "SHOW server_version",
        "SELECT count(*), random(), clock_timestamp() FROM capsules",
        "SELECT 'lo_import', '100%s'",
    ],
    "mariadb": [
        "SELECT 'INTO', \"a into b\", 1 AS `into` -- into outfile",
        "SELECT 'it''s', 'a\\'into', 'into_x' # into",
        "SELECT 1 /* into @x */ AS intolerant",
        "SHOW TABLES",
        "DESCRIBE capsules",
    ],
}


@pytest.fixture
def lifted(backend: Backend, url: str) -> str:
    """The URL of the database, with options that would lift a session's fence."""
    return (
        sa.make_url(url)
        .update_query_dict(LIFTING[backend.name])
        .render_as_string(hide_password=False)
    )


def everything(backend: Backend, url: str) -> dict[str, list[str]]:
    """Return the rows of every table of the database."""
    engine = engine_on(url)
    names = sorted(sa.inspect(engine).get_table_names())
    engine.dispose()
    return {name: sorted(map(repr, backend.rows(url, f"SELECT * FROM {name}"))) for name in names}


def test_a_query_returns_names_and_rows(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """Names and rows are as the driver returns them, also of what only looks like writing."""
    registry.register(make_manifest())
    query = "SELECT id, 1 AS n FROM capsules WHERE id LIKE 'al%'"
    with RegistryAdmin.open(url, read_only=True) as admin:
        assert (["id", "n"], [("alpha", 1)]) == admin.query(query)
        assert (["id", "n"], [("alpha", 1)]) == admin.query(query)
        for statement in READING[backend.name]:
            assert admin.query(statement)[1], statement


def test_a_query_cannot_write(
    registry: CapsuleRegistry, backend: Backend, url: str, lifted: str
) -> None:
    """Nothing is changed, whatever the statement, the options of the URL and the way of opening."""
    registry.register(make_manifest())
    before = everything(backend, url)
    for read_only in (True, False):
        with RegistryAdmin.open(lifted, read_only=read_only) as admin:
            for statement in (*WRITING, *PASSING[backend.name]):
                with pytest.raises((PermissionDeniedError, InvalidTextError)):
                    admin.query(statement)
    assert before == everything(backend, url)
    assert registry.history.verify().ok


def test_the_database_itself_lets_them_through(backend: Backend, url: str) -> None:
    """The control: a read-only connection or transaction of its own runs what a query refuses."""
    begin = {
        "sqlite": "PRAGMA query_only = 1",
        "postgresql": "SET default_transaction_read_only = on",
        "mariadb": "START TRANSACTION READ ONLY",
    }
    engine = engine_on(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as conn:
        conn.exec_driver_sql(begin[backend.name])
        for statement in PASSING[backend.name]:
            if "load_extension" not in statement and "wal_auto" not in statement:
                conn.exec_driver_sql(statement.replace("%", "%%"))
        conn.invalidate()
    engine.dispose()


def test_what_a_query_takes_is_given_back(server: ServerBackend, url: str) -> None:
    """The connection of a query ends with it, and with that its locks and settings."""
    pids = {"postgresql": "SELECT pg_backend_pid()", "mariadb": "SELECT CONNECTION_ID()"}
    with RegistryAdmin.open(url, read_only=True) as admin:
        found = {admin.query(pids[server.name])[1][0] for _ in range(3)}

    assert 3 == len(found)


def test_a_role_that_may_write_by_default_does_not_write_by_a_query(
    registry: CapsuleRegistry, server: ServerBackend, url: str
) -> None:
    """The defaults of a role or a server do not lift the fence either."""
    registry.register(make_manifest())
    mine = server.as_user(url, "SELECT, INSERT, UPDATE, DELETE")
    if server.name == "postgresql":
        user = sa.make_url(mine).username
        server.rows(url, f"ALTER ROLE {user} SET default_transaction_read_only = off")
    try:
        with RegistryAdmin.open(mine, read_only=True) as admin:
            assert [("alpha",)] == admin.query("SELECT id FROM capsules")[1]
            with pytest.raises(CapsuleRegistryError):
                admin.query("SELECT id FROM capsules FOR UPDATE")
    finally:
        if server.name == "postgresql":
            server.rows(url, f"DROP OWNED BY {user}")
