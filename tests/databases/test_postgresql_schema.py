"""Everything in a schema of its own, beside a host's tables; PostgreSQL alone has several."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from capsule_registry import (
    CapsuleRegistry,
    InvalidDatabaseError,
    PermissionDeniedError,
    RegistryAdmin,
    SchemaVersionError,
)
from support.backends import engine_on
from support.commands import run
from support.factories import TELEGRAM, make_manifest
from support.shells import dumped, run_script

if TYPE_CHECKING:
    from support.backends import Backend, ServerBackend

SPELLINGS = {
    "schema": {"schema": "capsules"},
    "options": {"options": "-csearch_path=capsules"},
    "several options": {"options": "-cstatement_timeout=60s", "schema": "capsules"},
}


@pytest.fixture
def postgresql(server: ServerBackend) -> ServerBackend:
    """PostgreSQL."""
    if server.name != "postgresql":
        pytest.skip(f"a database of {server.name} has no schemas")
    return server


@pytest.fixture
def plain(postgresql: ServerBackend) -> str:
    """The URL of a database with tables of a host's that have names of ours."""
    url = postgresql.empty_url()
    postgresql.rows(url, "CREATE TABLE events (id INT PRIMARY KEY)")
    postgresql.rows(url, "CREATE TABLE namespaces (id INT PRIMARY KEY)")
    return url


@pytest.fixture(params=SPELLINGS)
def own(request: pytest.FixtureRequest, postgresql: ServerBackend, plain: str) -> str:
    """The URL of the registry in the schema `capsules` of that database."""
    given = sa.make_url(plain).update_query_dict(SPELLINGS[request.param])
    if "schema" not in given.query:
        postgresql.rows(plain, "CREATE SCHEMA capsules")
    url = given.render_as_string(hide_password=False)
    with pytest.raises(SchemaVersionError, match="db upgrade"):
        CapsuleRegistry.open(url)
    assert (0, "") == (run(url, "db", "upgrade").exit_code, run(url, "db", "upgrade").stderr)
    return url


def test_every_verb_works_in_a_schema_of_its_own(
    postgresql: ServerBackend, plain: str, own: str
) -> None:
    """Nothing is created or read elsewhere, and pruning passes the fence."""
    session = uuid4()
    with CapsuleRegistry.open(own) as registry:
        registry.register(make_manifest(uplink=[TELEGRAM]), uuids=[session])
        registry.set_state("alpha", "ready")
        assert "alpha" == registry.find_by_uuid(session)
        registry.unregister("alpha")
        registry.history.prune(registry.history.anchor())
        assert registry.history.verify().ok
    query = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    assert {("events",), ("namespaces",)} == {*postgresql.rows(plain, query)}


def test_every_command_works_in_a_schema_of_its_own(own: str) -> None:
    """Diagnosis, queries, views, verification, namespaces."""
    CapsuleRegistry.open(own).close()
    run(own, "namespaces", "create", "other")
    findings = {
        row["name"]: row for row in json.loads(run(own, "doctor", "--format", "json").stdout)
    }
    assert [] == [row for row in findings.values() if row["problem"]]
    assert "capsules" == findings["schema"]["value"]
    for arguments in (
        ("sql", "SELECT * FROM audit_log"),
        ("sql", "SELECT * FROM registered_capsules"),
        ("audit", "verify"),
        ("db", "status"),
        ("list",),
        ("namespaces", "drop", "other"),
    ):
        assert 0 == run(own, *arguments).exit_code


def test_roles_get_their_rights_in_the_schema(
    postgresql: ServerBackend, plain: str, own: str
) -> None:
    """What `db grants` prints runs with any search path, and is enough."""
    with CapsuleRegistry.open(own) as registry:
        registry.register(make_manifest())
    mine = sa.make_url(postgresql.as_user(plain, "")).set(query=sa.make_url(own).query)
    with RegistryAdmin.open(own, read_only=True) as admin:
        for statement in admin.grants(writers=[str(mine.username)]):
            postgresql.rows(plain, statement)
    with CapsuleRegistry.open(mine.render_as_string(hide_password=False)) as writer:
        writer.unregister("alpha")
        assert writer.history.verify().ok
        with pytest.raises(PermissionDeniedError):
            writer.history.prune(writer.history.anchor())


def test_the_fence_does_not_depend_on_the_search_path(
    postgresql: ServerBackend, plain: str, own: str
) -> None:
    """A table `namespaces` of another schema or of the session does not open it."""
    with CapsuleRegistry.open(own) as registry:
        registry.register(make_manifest())
    engine = engine_on(plain)
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "CREATE TEMPORARY TABLE namespaces AS SELECT name, revision, 99 AS compacted_revision"
            " FROM capsules.namespaces"
        )
        with pytest.raises(sa.exc.ProgrammingError, match="append-only"):
            connection.exec_driver_sql("DELETE FROM capsules.events")
    engine.dispose()


def test_a_script_makes_the_schema_too(postgresql: ServerBackend, plain: str) -> None:
    """`db upgrade --sql` creates the schema of the URL, and everything in it."""
    own = f"{plain}?schema=capsules"
    run_script(plain, run(own, "db", "upgrade", "--sql").stdout)

    with CapsuleRegistry.open(own, migrate=False) as registry:
        assert [] == registry.list()
    other = f"{postgresql.empty_url()}?schema=capsules"
    assert 0 == run(other, "db", "upgrade").exit_code
    assert dumped(postgresql, other.replace("schema=", "options=-csearch_path%3D")) == dumped(
        postgresql, own.replace("schema=", "options=-csearch_path%3D")
    )


def test_a_connection_outside_the_schema_is_refused(plain: str) -> None:
    """Whatever overrides the search path, the registry is not looked for elsewhere."""
    overridden = {"connect_args": {"options": "-csearch_path=public"}}
    with pytest.raises(InvalidDatabaseError, match="leads to the schema public"):
        CapsuleRegistry.open(f"{plain}?schema=capsules", engine_options=overridden)


def test_a_search_path_of_no_schema_says_so(postgresql: ServerBackend, plain: str) -> None:
    """The upgrade names the path and what to do, and `doctor` finds it."""
    url = f"{plain}?options=-csearch_path%3Dnowhere"
    result = run(url, "db", "upgrade")

    assert 5 == result.exit_code
    assert "nowhere" in result.stderr
    assert 1 == run(url, "doctor").exit_code


def test_a_schema_is_named_in_messages(plain: str) -> None:
    """What to run includes it."""
    with pytest.raises(SchemaVersionError, match="search_path%3Dcapsules"):
        CapsuleRegistry.open(f"{plain}?schema=capsules")


@pytest.mark.parametrize("name", ["Capsules", "a,b", "a%20b", "a&schema=b", "x" * 64])
def test_odd_names_of_schemas_are_refused(plain: str, name: str) -> None:
    """The URL is refused as a whole."""
    with pytest.raises(InvalidDatabaseError, match="schema"):
        CapsuleRegistry.open(f"{plain}?schema={name}")


def test_other_databases_have_no_schemas(backend: Backend) -> None:
    """The URL is refused, and nothing is created."""
    if backend.name == "postgresql":
        pytest.skip("it has")
    with pytest.raises(InvalidDatabaseError):
        CapsuleRegistry.open(f"{backend.empty_url()}?schema=capsules")


def test_a_host_in_another_schema_sees_nothing_of_the_registry(plain: str, own: str) -> None:
    """Its autogenerate finds nothing to do; with `include_schemas` it leaves out the schema."""
    hosts = sa.MetaData()
    for name in ("events", "namespaces"):
        sa.Table(name, hosts, sa.Column("id", sa.Integer, primary_key=True))
    engine = engine_on(plain)
    with engine.connect() as connection:
        for options in (
            {},
            {
                "include_schemas": True,
                "include_name": lambda name, kind, _: kind != "schema" or name != "capsules",
            },
        ):
            context = MigrationContext.configure(connection, opts=options)
            assert [] == compare_metadata(context, hosts)
    engine.dispose()
