"""The registry's verbs inside a transaction that the host has begun on a server."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from capsule_registry import (
    CapsuleAlreadyRegisteredError,
    CapsuleRegistry,
    InvalidDatabaseError,
    PermissionDeniedError,
    RegistryClosedError,
    TransactionDoomedError,
    TransactionInProgressError,
)
from support.backends import engine_on
from support.factories import OriginalCapsule, make_manifest
from support.lease_steps import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.backends import ServerBackend

ORDERS = sa.Table("orders", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))
#: How a session of the host's own spoils what the registry relies on, and what is said of it.
SPOILT = {
    "postgresql": [
        ("SET session_replication_role = replica", "session_replication_role"),
        ("SET DateStyle = 'German'", "DateStyle"),
        ("SET synchronous_commit = off", "synchronous_commit"),
    ],
    "mariadb": [
        ("SET foreign_key_checks = 0", "foreign_key_checks"),
        ("SET sql_mode = ''", "strict_sql_mode"),
        ("SET NAMES latin1", "character_set_client"),
    ],
}


@pytest.fixture
def engine(server: ServerBackend, url: str) -> Iterator[sa.Engine]:
    """The host's engine on the registry's database, with a table of its own."""
    assert server
    made = engine_on(url, isolation_level="READ COMMITTED")
    ORDERS.create(made)
    yield made
    ORDERS.drop(made)
    made.dispose()


def order(connection: sa.Connection, number: int) -> None:
    connection.execute(ORDERS.insert(), {"id": number})


def orders(engine: sa.Engine) -> list[int]:
    with engine.connect() as connection:
        return [*connection.scalars(sa.select(ORDERS.c.id).order_by(ORDERS.c.id))]


def test_it_counts_once_the_host_commits(engine: sa.Engine, url: str) -> None:
    """One revision with actor and reason; until the commit nobody else sees it, then watches do."""
    with CapsuleRegistry.open(url) as registry:
        watch = registry.history.watch()
        before = registry.history.revision
        with engine.begin() as connection:
            order(connection, 1)
            with registry.joining(connection, reason="sold", actor="shop") as joined:
                joined.register(make_manifest(), uuids=[uuid4()])
                assert ["alpha"] == joined.list()
            order(connection, 2)
            assert ([], before, None) == (registry.list(), registry.history.revision, watch.poll())

        found = watch.poll()
        assert found is not None
        assert (before + 1, "shop", "sold") == (found.revision, found.actor, found.reason)
        assert (["alpha"], [1, 2]) == (registry.list(), orders(engine))
        assert registry.history.verify().ok


def test_everything_is_undone_if_the_host_rolls_back(engine: sa.Engine, url: str) -> None:
    """There is no revision, and this process forgets the object that it had passed."""
    with CapsuleRegistry.open(url) as registry:
        before = registry.history.revision
        with engine.connect() as connection:
            order(connection, 1)
            with registry.joining(connection) as joined:
                record = joined.register(OriginalCapsule("alpha"))
                assert record.instance is not None
            connection.rollback()

        assert record.instance is None
        assert ([], before, []) == (registry.list(), registry.history.revision, orders(engine))
        registry.register(make_manifest())
        assert registry.history.verify().ok


def test_an_error_in_the_block_undoes_the_block_alone(engine: sa.Engine, url: str) -> None:
    """The host may go on, and commit what is its own; also if the error was swallowed inside."""
    with CapsuleRegistry.open(url) as registry:
        registry.register(make_manifest())
        before = registry.history.revision
        with engine.begin() as connection:
            order(connection, 1)
            with (
                pytest.raises(CapsuleAlreadyRegisteredError),
                registry.joining(connection) as joined,
            ):
                joined.register(make_manifest("beta"))
                joined.register(make_manifest())
            with (
                pytest.raises(TransactionDoomedError),
                registry.joining(connection) as joined,
            ):
                joined.register(make_manifest("beta"))
                with pytest.raises(CapsuleAlreadyRegisteredError):
                    joined.register(make_manifest())
            order(connection, 2)

        assert (["alpha"], before) == (registry.list(), registry.history.revision)
        assert [1, 2] == orders(engine)
        assert registry.history.verify().ok


def test_blocks_of_one_transaction_follow_each_other(engine: sa.Engine, url: str) -> None:
    """Each makes a revision and sees the one before; both go with the host's transaction."""
    with CapsuleRegistry.open(url) as registry:
        before = registry.history.revision
        for end in ("rollback", "commit"):
            with engine.connect() as connection:
                with registry.joining(connection_begun(connection)) as joined:
                    joined.register(make_manifest())
                with registry.joining(connection) as joined:
                    joined.register_uuid(uuid4(), "alpha")
                    assert ["alpha"] == joined.list()
                getattr(connection, end)()
            assert (before + (2 if end == "commit" else 0)) == registry.history.revision
        assert registry.history.verify().ok


def connection_begun(connection: sa.Connection) -> sa.Connection:
    connection.begin()
    return connection


def test_other_writers_wait_until_the_host_ends(engine: sa.Engine, url: str) -> None:
    """Another registry's write is made after the host's, whether that commits or not."""
    with CapsuleRegistry.open(url) as registry, CapsuleRegistry.open(url) as another:
        begun, revisions = threading.Event(), []

        def write() -> None:
            begun.set()
            another.register(make_manifest("beta"))
            revisions.append(another.history.revision)

        thread = threading.Thread(target=write)
        with engine.begin() as connection:
            order(connection, 1)
            with registry.joining(connection) as joined:
                joined.register(make_manifest())
                thread.start()
                begun.wait(10)
            assert [] == another.list()
            assert thread.is_alive()
            expected = registry.history.revision + 2
        thread.join(30)

        assert [expected] == revisions
        assert ["alpha", "beta"] == registry.list()


def test_a_session_of_an_object_mapper_is_joined_by_its_connection(
    engine: sa.Engine, url: str
) -> None:
    """`session.connection()` is the transaction of the session."""
    with CapsuleRegistry.open(url) as registry:
        with Session(engine) as session:
            with registry.joining(session.connection()) as joined:
                joined.register(make_manifest())
            session.rollback()
            assert [] == registry.list()
            with registry.joining(session.connection()) as joined:
                joined.register(make_manifest())
            session.commit()
        assert ["alpha"] == registry.list()


def test_objects_follow_what_took_place(engine: sa.Engine, server: ServerBackend, url: str) -> None:
    """A replaced capsule's object goes once the commit is known; it stays if the commit failed."""
    first, second = OriginalCapsule("alpha"), OriginalCapsule("alpha")
    with CapsuleRegistry.open(url) as registry:
        old = registry.register(first)
        with engine.connect() as connection:
            transaction = connection.begin()
            with registry.joining(connection) as joined:
                new = joined.replace(second)
            transaction.commit()
        current = registry.get("alpha")
        assert current is not None
        assert (second, second) == (new.instance, current.instance)
        registry.register_uuid(uuid4(), "alpha")
        assert registry._objects.of((old.id, old.generation, old.registered_at)) is None

        with engine.connect() as connection:
            transaction = connection.begin()
            with registry.joining(connection) as joined:
                joined.replace(first)
            server.break_connections(url)
            with pytest.raises(sa.exc.DBAPIError):
                transaction.commit()
        registry.register_uuid(uuid4(), "alpha")
        current = registry.get("alpha")
        assert current is not None
        assert second == current.instance
        assert registry.history.verify().ok


@pytest.mark.parametrize("level", ["AUTOCOMMIT", "REPEATABLE READ", "SERIALIZABLE"])
def test_another_isolation_is_refused(engine: sa.Engine, url: str, level: str) -> None:
    """What each statement commits, or sees an older state, cannot hold a unit."""
    with (
        CapsuleRegistry.open(url) as registry,
        engine.execution_options(isolation_level=level).begin() as connection,
        pytest.raises(InvalidDatabaseError, match=level),
        registry.joining(connection),
    ):
        pytest.fail("it was joined")


def test_a_transaction_that_sees_an_older_state_is_refused(
    engine: sa.Engine, server: ServerBackend, url: str
) -> None:
    """`SET TRANSACTION` does not show in MariaDB's session, but in what is read."""
    with CapsuleRegistry.open(url) as registry, engine.connect() as connection:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        orders_then = connection.execute(sa.select(ORDERS)).all()
        registry.register(make_manifest())
        match = "REPEATABLE READ" if server.name == "postgresql" else "an earlier state"
        with pytest.raises(InvalidDatabaseError, match=match), registry.joining(connection):
            pytest.fail("it was joined")
        assert [] == orders_then


def test_a_session_that_is_not_as_needed_is_refused(
    engine: sa.Engine, server: ServerBackend, url: str
) -> None:
    """It is the host's, so nothing is set in it; the error names the setting."""
    with CapsuleRegistry.open(url) as registry:
        for statement, name in SPOILT[server.name]:
            with engine.connect() as connection:
                connection.exec_driver_sql(statement)
                with pytest.raises(InvalidDatabaseError, match=name), registry.joining(connection):
                    pytest.fail("it was joined")
                connection.invalidate()
        with engine.begin() as connection, registry.joining(connection) as joined:  # The control.
            joined.register(make_manifest())
        assert ["alpha"] == registry.list()


def test_a_connection_that_leads_elsewhere_is_refused(
    engine: sa.Engine, server: ServerBackend, url: str
) -> None:
    """To another database, to a file, and one that has begun nothing or two phases."""
    copy = server.new_url()
    if copy == url:
        copy = server.empty_url()
        CapsuleRegistry.open(copy, migrate=True).close()
    elsewhere = engine_on(copy, isolation_level="READ COMMITTED")
    file = sa.create_engine("sqlite://")
    with CapsuleRegistry.open(url) as registry:
        with elsewhere.begin() as other, pytest.raises(InvalidDatabaseError) as caught:
            registry.joining(other).__enter__()
        assert "leads to" in str(caught.value)
        with file.begin() as other, pytest.raises(InvalidDatabaseError):
            registry.joining(other).__enter__()
        with engine.connect() as idle, pytest.raises(InvalidDatabaseError, match="begun"):
            registry.joining(idle).__enter__()
        with pytest.raises(InvalidDatabaseError, match="connection"):
            registry.joining(engine).__enter__()  # type: ignore[arg-type] # on purpose
    elsewhere.dispose()
    file.dispose()


def test_who_may_not_write_may_not_join(engine: sa.Engine, url: str) -> None:
    """Neither one opened read-only nor a closed one, nor inside a transaction of the registry."""
    with engine.begin() as connection:
        with (
            CapsuleRegistry.open(url, read_only=True) as registry,
            pytest.raises(PermissionDeniedError),
        ):
            registry.joining(connection).__enter__()
        with pytest.raises(RegistryClosedError):
            registry.joining(connection).__enter__()
        with (
            CapsuleRegistry.open(url) as registry,
            registry.transaction(),
            pytest.raises(TransactionInProgressError),
        ):
            registry.joining(connection).__enter__()


def test_a_file_is_not_joined() -> None:
    """A file has one writer at a time, which would wait for itself."""
    file = sa.create_engine("sqlite://")
    with (
        CapsuleRegistry.open("sqlite://") as registry,
        file.begin() as connection,
        pytest.raises(InvalidDatabaseError, match="use transaction"),
    ):
        registry.joining(connection).__enter__()
    file.dispose()


def test_a_host_that_is_killed_leaves_nothing(
    engine: sa.Engine, server: ServerBackend, url: str
) -> None:
    """If the connection breaks before the commit, neither the rows nor the revision are there."""
    with CapsuleRegistry.open(url) as registry:
        before = registry.history.revision
        with pytest.raises(sa.exc.DBAPIError), engine.begin() as connection:
            order(connection, 1)
            with registry.joining(connection) as joined:
                joined.register(make_manifest())
            server.break_connections(url)
        wait_until(lambda: registry.list() == [])
        assert (before, []) == (registry.history.revision, orders(engine))
        registry.register(make_manifest())
        assert registry.history.verify().ok
