"""A transaction that may change tables, one process at a time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from capsule_registry.database.dialects.dialect import LOCK_TIMEOUT_SECONDS
from capsule_registry.errors import InvalidDatabaseError, RegistryUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from capsule_registry.database.database import Database


@contextmanager
def migrating(database: Database) -> Iterator[Connection]:
    """
    Give a connection in a transaction that may change tables, and hold the lock on the schema.

    On SQLite foreign keys are off, since the children of a table that is rebuilt would be deleted,
    and are checked before the commit.
    """
    with (
        database.translating(),
        database.taking_turns(),
        database.connected(database.engine) as conn,
    ):
        _set_foreign_keys(database, conn, on=False)
        try:
            begun = conn.execution_options(begin=database.dialect.begin_write)
            with _cluster_locked(database, conn), begun.begin(), _schema_locked(database, begun):
                yield begun
                _refuse_orphans(database, begun)
        finally:
            _set_foreign_keys(database, conn.execution_options(begin=None), on=True)


@contextmanager
def _cluster_locked(database: Database, conn: Connection) -> Iterator[None]:
    """Keep out those who change the schema on another node, where there are several that write."""
    with conn.begin():
        is_cluster = database.dialect.is_cluster(conn)
    if not is_cluster or database.dialect.lock_cluster is None:
        yield
        return
    with database.dialect.lock_cluster(conn, LOCK_TIMEOUT_SECONDS) as taken:
        if not taken:
            reason = "another process has been changing the schema for too long (see"
            raise RegistryUnavailableError(
                str(database.address), f"{reason} the table capsule_registry_schema_lock)"
            )
        yield


@contextmanager
def _schema_locked(database: Database, conn: Connection) -> Iterator[None]:
    if database.dialect.lock_schema:
        held = conn.exec_driver_sql(database.dialect.lock_schema).scalar()
        if held == 0:
            reason = "another process has been changing the schema for too long"
            raise RegistryUnavailableError(str(database.address), reason)
    try:
        yield
    finally:
        if database.dialect.unlock_schema:
            conn.exec_driver_sql(database.dialect.unlock_schema)


def _set_foreign_keys(database: Database, conn: Connection, *, on: bool) -> None:
    if database.dialect.upgrades_itself:
        conn.exec_driver_sql(f"PRAGMA foreign_keys = {int(on)}")
        conn.rollback()


def _refuse_orphans(database: Database, conn: Connection) -> None:
    if not database.dialect.upgrades_itself:
        return
    if orphans := conn.exec_driver_sql("PRAGMA foreign_key_check").all():
        reason = f"{len(orphans)} rows would be left without their parents: {orphans[:3]}"
        raise InvalidDatabaseError(str(database.address), reason)
