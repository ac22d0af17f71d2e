"""Database failures: the caller gets a typed error, and nothing is half done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from capsule_registry import (
    CapsuleRegistry,
    CapsuleRegistryError,
    InvalidDatabaseError,
    PermissionDeniedError,
    RegistryAdmin,
    RegistryUnavailableError,
)
from capsule_registry.cli.exit_codes import of_error
from support.backends import engine_on
from support.factories import TELEGRAM, make_manifest
from support.injection import Injection

if TYPE_CHECKING:
    from support.backends import Backend, ServerBackend, SqliteBackend

DML = "SELECT, INSERT, UPDATE, DELETE"


def shown(error: CapsuleRegistryError) -> str:
    """Return all text that an error could give away."""
    return f"{error} {error!r} {error.args} {error.__cause__}"


@pytest.fixture
def injection(registry: CapsuleRegistry, monkeypatch: pytest.MonkeyPatch) -> Injection:
    """Makes a chosen statement fail."""
    return Injection(registry, monkeypatch)


def register(registry: CapsuleRegistry, name: str) -> int:
    """Register a capsule with an uplink and a UUID, and return its generation."""
    return registry.register(make_manifest(name, uplink=[TELEGRAM]), uuids=[uuid4()]).generation


def count_steps(registry: CapsuleRegistry, injection: Injection) -> int:
    register(registry, "warm-up")  # The first connection tells the server its settings.
    injection.count = 0
    register(registry, "rehearsal")
    assert 4 <= injection.count  # Lock the head, look up keys, write, COMMIT.
    return injection.count


def test_a_passing_failure_of_any_statement_is_outlasted(
    registry: CapsuleRegistry, injection: Injection, backend: Backend, url: str
) -> None:
    """Whichever statement fails, COMMIT included, the unit is retried and done once."""
    steps = count_steps(registry, injection)
    revision = 3
    for code in backend.passing:
        for at in range(steps):
            injection.arm(backend.error(code), at)
            revision += 1
            assert revision == register(registry, f"c-{code}-{at}".lower())
            assert injection.is_spent

    assert revision - 1 == len(registry) == len(registry.uuids()) == len(registry.find_uplinks())
    assert [(revision,)] == backend.rows(url, "SELECT count(*) FROM revisions")


def test_a_disk_that_is_full_at_any_statement_changes_nothing(
    registry: CapsuleRegistry, injection: Injection, backend: Backend
) -> None:
    """It is not retried, the error is one worth retrying later, and the unit left nothing."""
    steps = count_steps(registry, injection)
    for code in backend.full:
        for at in range(steps):
            injection.arm(backend.error(code), at)
            with pytest.raises(RegistryUnavailableError) as caught:
                register(registry, "unlucky")
            assert 7 == of_error(caught.value)
            assert injection.is_spent
            assert ["warm-up", "rehearsal"] == registry.list()
            assert 2 == len(registry.uuids())

    assert 4 == register(registry, "lucky")


def test_a_file_that_cannot_grow_is_unavailable(sqlite: SqliteBackend) -> None:
    """SQLite's own error for a full disk: existing data stays, and freeing space helps."""
    with CapsuleRegistry.open(sqlite.new_url()) as registry:
        registry.register(make_manifest("before"))
        with registry._database.connected(registry._database.engine) as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(RegistryUnavailableError, match="full"):
            registry.register(make_manifest("large", package={"description": "x" * 100_000}))
        assert ["before"] == registry.list()
        registry.unregister("before")
        assert [] == registry.list()


def test_a_role_without_ddl_does_everything_but_the_upgrade(server: ServerBackend) -> None:
    """It opens, creates its namespace, writes and reads, but may not upgrade."""
    url = server.new_url()
    mine = server.as_user(url, DML)
    with CapsuleRegistry.open(mine, namespace="theirs") as registry:
        registry.register(make_manifest(uplink=[TELEGRAM]), uuids=[uuid4()])
        assert ["alpha"] == [capsule.id for capsule in registry.drain()]
    with RegistryAdmin.open(mine) as admin:
        assert all(finding.problem is None for finding in admin.findings())
        admin.drop_namespace("theirs")

    empty = server.empty_url()
    stranger = sa.make_url(mine).set(database=sa.make_url(empty).database)
    with (
        RegistryAdmin.open(stranger.render_as_string(hide_password=False)) as admin,
        pytest.raises(PermissionDeniedError) as caught,
    ):
        admin.upgrade()
    assert 9 == of_error(caught.value)
    assert "canary" not in shown(caught.value)
    assert [] == sa.inspect(engine_on(empty, poolclass=sa.NullPool)).get_table_names()


def test_a_role_with_select_alone_reads_everything(server: ServerBackend) -> None:
    """Opened read-only or not, every read answers, and no change is permitted."""
    url = server.new_url()
    uuid = uuid4()
    with CapsuleRegistry.open(url) as registry:
        registry.register(make_manifest(uplink=[TELEGRAM]), uuids=[uuid])
        mine = server.as_user(url, "SELECT")
        for read_only in (True, False):
            with CapsuleRegistry.open(mine, read_only=read_only) as reader:
                assert registry.list() == reader.list()
                assert registry.get("alpha") == reader.get("alpha")
                assert "alpha" == reader.find_by_uuid(uuid)
                assert registry.find_uplinks() == reader.find_uplinks()
                assert registry.tools() == reader.tools()
                with pytest.raises(PermissionDeniedError) as caught:
                    reader.unregister("alpha")
                assert "canary" not in shown(caught.value)
                with pytest.raises(PermissionDeniedError), reader.transaction() as transaction:
                    transaction.unregister("alpha")
        assert ["alpha"] == registry.list()
    with RegistryAdmin.open(mine, read_only=True) as admin:
        assert ["default"] == [found.name for found in admin.namespaces()]
        assert all(finding.problem is None for finding in admin.findings())


def test_a_read_only_connection_can_write_nothing(server: ServerBackend, url: str) -> None:
    """The server itself refuses whatever a read-only registry sends."""
    with CapsuleRegistry.open(url, read_only=True) as reader:
        for engine in (reader._database.engine, reader._database.reader):
            with (
                reader._database.connected(engine) as connection,
                pytest.raises(sa.exc.DBAPIError, match=r"(?i)read"),
            ):
                connection.exec_driver_sql("DELETE FROM capsules")


def test_a_password_that_is_wrong_is_not_shown(server: ServerBackend, url: str) -> None:
    """A refused login is a typed error without the password."""
    stranger = sa.make_url(url).set(username="nobody_at_all", password="canary")  # noqa: S106 - it is looked for
    with pytest.raises((PermissionDeniedError, RegistryUnavailableError)) as caught:
        CapsuleRegistry.open(stranger.render_as_string(hide_password=False))

    assert "canary" not in shown(caught.value)
    assert of_error(caught.value) in (7, 9)


def test_an_option_that_the_driver_does_not_know_is_invalid(
    server: ServerBackend, url: str
) -> None:
    """URL options go to the driver; what it refuses is the caller's error."""
    wrong = sa.make_url(url).update_query_dict({"no_such_option": "canary"})
    with pytest.raises(InvalidDatabaseError, match="no_such_option") as caught:
        CapsuleRegistry.open(wrong.render_as_string(hide_password=False))

    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("limit", [{"statement": 0.3}, {"lock": 0.3}])
def test_a_namespace_that_is_locked_for_too_long_is_unavailable(
    server: ServerBackend, url: str, limit: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statement or lock timeout: a typed error, reads go on, and nothing is changed."""
    monkeypatch.setattr("capsule_registry.database.retries.RETRY_SECONDS", 0.2)
    with (
        CapsuleRegistry.open(url) as holder,
        CapsuleRegistry.open(server.patient(url, **limit)) as hurried,
    ):
        with holder.transaction() as transaction:
            transaction.register(make_manifest("held"))
            with pytest.raises(RegistryUnavailableError) as caught:
                hurried.register(make_manifest("late"))
            assert 7 == of_error(caught.value)
            assert [] == hurried.list()
        assert ["held"] == hurried.list()
        hurried.register(make_manifest("late"))
        assert ["held", "late"] == holder.list()


def test_options_reach_the_pool(server: ServerBackend, url: str) -> None:
    """The caller can choose the pool size and how to connect to the server."""
    options = {"pool_size": 2, "max_overflow": 1, "pool_recycle": 60}
    with CapsuleRegistry.open(url, engine_options=options) as registry:
        pools: list[Any] = [registry._database.engine.pool, registry._database.reader.pool]
        assert [2, 2] == [pool.size() for pool in pools]
        assert [60, 60] == [pool._recycle for pool in pools]
