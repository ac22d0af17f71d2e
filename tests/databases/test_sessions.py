"""Sessions: what the guarantees rely on is set and read back, whoever would have it otherwise."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from capsule_registry import (
    CapsuleRegistry,
    DecisionReason,
    InvalidDatabaseError,
    RegistryAdmin,
    RegistryUnavailableError,
    UplinkDescriptor,
)
from support.backends import engine_on
from support.factories import make_manifest
from support.servers import Mariadb, found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.backends import ServerBackend

SESSION = UUID(int=1)
COMMITTED: dict[str, Any] = {"isolation_level": "READ COMMITTED"}


@pytest.fixture
def filled(server: ServerBackend, url: str) -> str:
    """The URL of a server's database with a capsule whose session is allowed something."""
    assert server
    with CapsuleRegistry.open(url) as registry:
        registry.register(
            make_manifest("alpha", capabilities={"kv": ["key"]}, uplink=[]), uuids=[SESSION]
        )
    return url


def by_engine(url: str) -> CapsuleRegistry:
    return CapsuleRegistry.open(
        engine=engine_on(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    )


def by_options_of_the_engine(url: str) -> CapsuleRegistry:
    engine = engine_on(url, **COMMITTED, poolclass=NullPool).execution_options(
        isolation_level="AUTOCOMMIT"
    )
    return CapsuleRegistry.open(engine=engine)


def by_engine_options(url: str) -> CapsuleRegistry:
    return CapsuleRegistry.open(url, engine_options={"isolation_level": "AUTOCOMMIT"})


def by_execution_options(url: str) -> CapsuleRegistry:
    options = {"execution_options": {"isolation_level": "AUTOCOMMIT"}}
    return CapsuleRegistry.open(url, engine_options=options)


@pytest.mark.parametrize(
    "opened", [by_engine, by_options_of_the_engine, by_engine_options, by_execution_options]
)
def test_an_engine_that_commits_by_itself_is_refused(
    filled: str, server: ServerBackend, opened: Callable[[str], CapsuleRegistry]
) -> None:
    """However it was told to; and nothing is half done."""
    before = server.table(filled, "namespaces")
    with pytest.raises(InvalidDatabaseError, match="AUTOCOMMIT"), opened(filled) as registry:
        registry.register(make_manifest("beta"))

    assert before == server.table(filled, "namespaces")
    assert ["alpha"] == [row["id"] for row in server.table(filled, "capsules")]


#: How a session is spoilt, by the name of the database.
SPOILT = {
    "postgresql": [
        "SET client_encoding = 'LATIN1'",
        "SET DateStyle = 'German'",
        "SET TimeZone = 'Asia/Kolkata'",
        "SET transform_null_equals = on",
        "SET session_replication_role = replica",
        "SET synchronous_commit = off",
    ],
    "mariadb": [
        "SET NAMES latin1",
        "SET foreign_key_checks = 0, unique_checks = 0, check_constraint_checks = 0",
        "SET sql_mode = ''",
        "SET sql_select_limit = 1",
        "SET sql_auto_is_null = 1",
        "SET completion_type = 1",
        "SET timestamp = 1",
        "SET time_zone = '+05:30'",
    ],
}


@pytest.mark.parametrize("number", range(8))
def test_a_session_that_was_spoilt_is_set_right(
    server: ServerBackend, filled: str, number: int
) -> None:
    """On an engine of the caller's, whatever its other users leave behind in a connection."""
    if number >= len(SPOILT[server.name]):
        pytest.skip("there are fewer for this database")
    engine = engine_on(filled, **COMMITTED, pool_size=1, max_overflow=0)
    spoil = SPOILT[server.name][number]

    def spoil_again() -> None:
        with engine.connect() as connection:
            connection.exec_driver_sql(spoil)
            connection.commit()

    sa.event.listen(engine, "connect", lambda connection, _: _run(connection, spoil))
    with CapsuleRegistry.open(engine=engine) as registry:
        fox = UplinkDescriptor(name="fox \N{FOX FACE}", platform="cli")
        registry.register_uplink("alpha", fox)
        assert fox == registry.get_uplink(fox.id)
        spoil_again()
        registry.unregister("alpha")
        assert [] == registry.uuids()
        spoil_again()
        registry.register(make_manifest("alpha", capabilities={"kv": ["key"]}))
        assert not registry.is_allowed(SESSION, "kv", "key")
        assert registry.history.verify().ok
        assert 60 > abs(time.time() - registry.history.list()[-1].committed_at.timestamp())
    engine.dispose()


def _run(connection: Any, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.commit()


def test_what_the_url_asks_for_gives_way(server: ServerBackend, filled: str) -> None:
    """A character set that cannot hold every text, or rows that do not cascade, are not had."""
    url = sa.make_url(filled)
    asked = {
        "postgresql": {"client_encoding": "latin1", "options": "-cDateStyle=German"},
        "mariadb": {"charset": "utf8", "init_command": "SET foreign_key_checks = 0"},
    }[server.name]
    wanted = url.update_query_dict(asked).render_as_string(hide_password=False)
    with CapsuleRegistry.open(wanted) as registry:
        fox = UplinkDescriptor(name="fox \N{FOX FACE}", platform="cli")
        registry.register_uplink("alpha", fox)
        assert fox == registry.get_uplink(fox.id)
        assert registry.history.verify().ok
        registry.unregister("alpha")
    assert [] == server.table(filled, "uuid_mappings")


LOCKED = {
    "postgresql": "LOCK TABLE grants IN ACCESS EXCLUSIVE MODE",
    "mariadb": "LOCK TABLES grants WRITE",
}


UNLOCKED = {"postgresql": "ROLLBACK", "mariadb": "UNLOCK TABLES"}


def test_a_checks_deadline_is_the_statements_too(server: ServerBackend, filled: str) -> None:
    """A check that waits for somebody's lock denies when its time is up, and does not hang."""
    engine = engine_on(filled, poolclass=NullPool)
    with CapsuleRegistry.open(filled) as registry:
        assert registry.is_allowed(SESSION, "kv", "key")
        with engine.connect() as other:
            other.exec_driver_sql(LOCKED[server.name])
            began = time.monotonic()
            decision = registry.check(SESSION, "kv", "key", timeout=timedelta(seconds=0.3))
            took = time.monotonic() - began
            other.exec_driver_sql(UNLOCKED[server.name])
        assert (False, DecisionReason.TOO_LATE) == (decision.allowed, decision.why)
        assert took < 10
        assert registry.is_allowed(SESSION, "kv", "key")
    engine.dispose()


@pytest.fixture
def replica() -> Iterator[Mariadb]:
    """A MariaDB of its own, with a registry's database, as a replica has it: read-only."""
    try:
        found("mariadbd")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    server = Mariadb()
    server.start()
    CapsuleRegistry.open(server.url, migrate=True).close()
    engine = engine_on(server.url.replace("mariadb:", "mariadb+pymysql:"))
    with engine.connect() as connection:
        connection.exec_driver_sql("SET GLOBAL read_only = 1")
    engine.dispose()
    yield server
    server.remove()


@pytest.mark.stress
def test_a_replica_decides_nothing(replica: Mariadb, filled: str, server: ServerBackend) -> None:
    """A read-only server is refused as the main one, and taken as `replica_url`."""
    assert server
    with pytest.raises(RegistryUnavailableError, match="give it as replica_url"):
        CapsuleRegistry.open(replica.url)
    with CapsuleRegistry.open(filled, replica_url=replica.url):
        pass


@pytest.mark.stress
def test_nothing_is_changed_on_a_replica(replica: Mariadb) -> None:
    """Even a user whom `read_only` does not stop is refused by each verb that would write."""
    with RegistryAdmin.open(replica.url) as admin:
        for write in (
            lambda: admin.create_namespace("other"),
            lambda: admin.drop_namespace("default"),
            admin.accept_restore,
        ):
            with pytest.raises(InvalidDatabaseError, match="nothing can be changed here"):
                write()
        assert [("default", 1)] == [(found.name, found.revision) for found in admin.namespaces()]
