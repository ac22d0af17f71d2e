"""What a server has beyond a file: migrations, a clock, users and network failures."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from capsule_registry import (
    CapsuleRegistry,
    InvalidDatabaseError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RegistryAdmin,
    RegistryClosedError,
    RegistryUnavailableError,
    SchemaVersionError,
)
from capsule_registry.database.database import Database
from capsule_registry.database.dialects.expressions import DatabaseNow
from capsule_registry.schema.tables import metadata, own_commits
from support.backends import engine_on
from support.factories import TELEGRAM, make_manifest

if TYPE_CHECKING:
    from support.backends import Backend, ServerBackend


def test_the_migrations_make_what_the_tables_say(backend: Backend, url: str) -> None:
    """Autogenerate finds nothing to do on any database."""
    database = Database.open(url)
    tables = sa.MetaData()
    for table in (*metadata.tables.values(), *(() if backend.is_server else [own_commits])):
        table.to_metadata(tables)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={"version_table": "capsule_registry_version", "compare_server_default": True},
        )
        differences = compare_metadata(context, tables)
    database.close()

    # On a cluster an upgrade creates its lock table before the schema.
    beside = [one for one in differences if str(one[1]) == "capsule_registry_schema_lock"]
    assert beside == differences


def test_a_server_is_upgraded_only_when_that_is_asked_for(server: ServerBackend) -> None:
    """Opening names the command to run; `migrate=True` and the command upgrade."""
    url = server.empty_url()
    with pytest.raises(SchemaVersionError, match="db upgrade"):
        CapsuleRegistry.open(url)
    with RegistryAdmin.open(url) as admin:
        assert admin.upgrade() is None
        assert admin.status().is_usable

    with CapsuleRegistry.open(url) as registry:
        record = registry.register(make_manifest(uplink=[TELEGRAM]))
        assert record == registry.get("alpha")


def test_an_upgrade_that_was_cut_short_is_taken_up_again(server: ServerBackend) -> None:
    """If only some tables exist, the next upgrade creates the rest."""
    url = server.empty_url()
    engine = engine_on(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE capsule_registry_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
        )
        metadata.tables["namespaces"].create(connection)
        metadata.tables["schema_versions"].create(connection)
        metadata.tables["manifests"].create(connection)
    engine.dispose()

    with CapsuleRegistry.open(url, migrate=True) as registry:
        registry.register(make_manifest())
        assert ["alpha"] == registry.list()


def test_the_time_is_the_servers(server: ServerBackend, url: str) -> None:
    """Rows carry the server's time, read after the lock, in UTC to the microsecond."""
    with CapsuleRegistry.open(url) as registry:
        written = registry.register(make_manifest()).registered_at
        others = [registry.register(make_manifest(f"c{n}")).registered_at for n in range(3)]
        with registry._database.engine.connect() as connection:
            now = connection.scalar(sa.select(DatabaseNow()))

    assert now is not None
    assert 0 <= (now - written).total_seconds() < 60
    assert any(instant.microsecond for instant in others)
    assert sorted(others) == others


def test_the_database_user_is_recorded(server: ServerBackend, url: str) -> None:
    """Each revision records the user that the database sees connected."""
    with CapsuleRegistry.open(url) as registry:
        registry.register(make_manifest())

    assert all(row["database_user"] for row in server.table(url, "revisions"))


def test_an_engine_of_the_callers_own_is_used(server: ServerBackend, url: str) -> None:
    """It is not disposed of; one with another isolation level is refused."""
    engine = engine_on(url, isolation_level="READ COMMITTED")
    with CapsuleRegistry.open(engine=engine) as registry:
        registry.register(make_manifest())
    with engine.connect() as connection:
        assert 1 == connection.scalar(sa.select(sa.func.count()).select_from(sa.table("capsules")))
    engine.dispose()

    serializable = engine_on(url, isolation_level="SERIALIZABLE")
    with pytest.raises(InvalidDatabaseError, match="SERIALIZABLE"):
        CapsuleRegistry.open(engine=serializable)
    serializable.dispose()


def test_a_read_of_one_statement_is_one_round_trip(server: ServerBackend, url: str) -> None:
    """Nothing is sent before or after; with the caller's engine, at most a ROLLBACK."""
    options = {"pool_size": 1, "max_overflow": 0}
    engine = engine_on(url, isolation_level="READ COMMITTED", **options)
    counts = {}
    for name, registry in {
        "ours": CapsuleRegistry.open(url, engine_options=options),
        "the caller's": CapsuleRegistry.open(engine=engine),
    }.items():
        with registry:
            registry.get("alpha")
            registry.list()
            with registry._database.connected(registry._database.reader) as connection:
                pooled = connection.connection.driver_connection
            kept = getattr(registry._lookups, "_idle", [None])[0]
            looked = kept.conn.connection.dbapi_connection if kept else pooled
            counts[name] = (
                server.round_trips(looked, lambda: registry.find_by_uuid(uuid4())),  # noqa: B023 - called at once
                server.round_trips(pooled, registry.list),
            )
    engine.dispose()

    assert {"ours": (1, 1), "the caller's": (server.trips_of_a_read,) * 2} == counts


def test_a_database_that_is_missing_is_unavailable(server: ServerBackend, url: str) -> None:
    """The message has the address, and never the password."""
    missing = sa.make_url(url).set(database="missing", password="canary")  # noqa: S106 - it is looked for
    with pytest.raises((RegistryUnavailableError, PermissionDeniedError)) as caught:
        CapsuleRegistry.open(missing.render_as_string(hide_password=False))

    assert "canary" not in str(caught.value)


def test_a_pool_that_is_exhausted_is_unavailable(server: ServerBackend, url: str) -> None:
    """If no connection becomes free in time, the error is one worth retrying."""
    options = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.1}
    with CapsuleRegistry.open(url, engine_options=options) as registry:  # noqa: SIM117 - one after the other
        with registry._database.reader.connect():
            with pytest.raises(RegistryUnavailableError, match="became free"):
                registry.list()


def test_broken_connections_are_replaced(server: ServerBackend, url: str) -> None:
    """After all pooled connections broke, reads and writes go on."""
    with CapsuleRegistry.open(url) as registry:
        registry.register(make_manifest("before"))
        server.break_connections(url)
        assert ["before"] == registry.list()
        server.break_connections(url)
        registry.register(make_manifest("after"))
        assert ["before", "after"] == registry.list()


def test_a_unit_whose_connection_breaks_is_run_again_as_a_whole(
    server: ServerBackend, url: str
) -> None:
    """`run` calls its work again in a new transaction, and it is committed once."""
    calls: list[None] = []
    with CapsuleRegistry.open(url) as registry:

        def work(transaction: object) -> None:
            calls.append(None)
            transaction.register(make_manifest())  # type: ignore[attr-defined]
            if len(calls) == 1:
                server.break_connections(url)

        registry.run(work)
        assert ["alpha"] == registry.list()

    assert 2 == len(calls)
    assert 2 == server.table(url, "namespaces")[0]["revision"]


@pytest.mark.parametrize("took_place", [True, False])
def test_a_commit_whose_answer_was_lost_is_looked_up(
    server: ServerBackend, url: str, monkeypatch: pytest.MonkeyPatch, took_place: bool
) -> None:
    """Committed or not, the change is there exactly once, and the caller knows."""
    with CapsuleRegistry.open(url) as registry:
        dialect = registry._database.engine.dialect
        original = dialect.do_commit
        broken: list[None] = []

        def commit(connection: object) -> None:
            if broken:
                original(connection)  # type: ignore[arg-type]
                return
            broken.append(None)
            if took_place:
                original(connection)  # type: ignore[arg-type]
            server.break_connections(url)
            original(connection)  # type: ignore[arg-type]
            connection.cursor().execute("SELECT 1")  # type: ignore[attr-defined]

        monkeypatch.setattr(dialect, "do_commit", commit)
        registry.register(make_manifest())
        assert ["alpha"] == registry.list()

    assert [None] == broken
    assert 2 == server.table(url, "namespaces")[0]["revision"]


def test_a_commit_that_was_lost_and_then_pruned_is_unknown(
    server: ServerBackend, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the revision that would tell was pruned, the outcome is reported as unknown."""
    with CapsuleRegistry.open(url) as registry, CapsuleRegistry.open(url) as other:
        registry.list()
        dialect = registry._database.engine.dialect
        original = dialect.do_commit

        def commit(connection: object) -> None:
            monkeypatch.setattr(dialect, "do_commit", original)
            original(connection)  # type: ignore[arg-type]
            other.history.prune(other.history.anchor())
            server.break_connections(url)
            connection.cursor().execute("SELECT 1")  # type: ignore[attr-defined]

        monkeypatch.setattr(dialect, "do_commit", commit)
        with pytest.raises(OutcomeUnknownError):
            registry.register(make_manifest())
        assert ["alpha"] == registry.list()


def test_the_connection_of_lookups_is_kept_and_goes_with_the_registry(
    server: ServerBackend, url: str
) -> None:
    """All lookups share it; it is replaced after it breaks, and closed with the registry."""
    with CapsuleRegistry.open(url) as registry:
        registry.register(make_manifest(), uuids=[uuid4()])

        def kept() -> object:
            assert None is registry.find_by_uuid(uuid4())
            return registry._lookups._idle[0].conn.connection.dbapi_connection  # type: ignore[attr-defined]

        first, second = kept(), kept()
        server.break_connections(url)
        assert None is registry.find_by_uuid(uuid4())
        third: Any = kept()
        assert (True, False) == (first is second, second is third)
        registry.close()
        assert registry._lookups._idle[0].conn is None  # type: ignore[attr-defined]
        assert third.closed if hasattr(third, "closed") else not third.open
        with pytest.raises(RegistryClosedError):
            registry.find_by_uuid(uuid4())


def test_a_lookup_beside_another_uses_the_pool(server: ServerBackend, url: str) -> None:
    """A thread that finds the kept connection in use does not wait."""
    session = uuid4()
    with CapsuleRegistry.open(url) as registry:
        registry.register(make_manifest(), uuids=[session])
        lookups: Any = registry._lookups
        inside = lookups.look_up(lambda scope: (scope.cursor, registry.find_by_uuid(session)))
        assert "alpha" == inside[1]
        assert inside[0] is lookups.look_up(lambda scope: scope.cursor)


def test_a_connection_that_is_cut_without_a_word_is_made_again(
    server: ServerBackend, url: str
) -> None:
    """The driver gives no error code, yet lookups and units are done on a new connection."""
    session = uuid4()
    with CapsuleRegistry.open(url) as registry:
        registry.register(make_manifest(), uuids=[session])
        assert "alpha" == registry.find_by_uuid(session)
        lookups: Any = registry._lookups
        cut(lookups._idle[0].conn.connection.dbapi_connection)
        assert "alpha" == registry.find_by_uuid(session)
        with registry._database.connected(registry._database.engine) as connection:
            driver = connection.connection.driver_connection
        cut(driver)
        assert 3 == registry.register(make_manifest("beta")).generation
        assert ["alpha", "beta"] == registry.list()


def cut(driver: Any) -> None:
    """End the driver's connection, as a crashed server or network does."""
    descriptor = driver.fileno() if hasattr(driver, "fileno") else driver._sock.fileno()
    with socket.socket(fileno=os.dup(descriptor)) as its_socket:
        its_socket.shutdown(socket.SHUT_RDWR)
