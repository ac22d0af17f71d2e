"""Upgrades of the schema to this library's version, by one process at a time."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import partial
from itertools import chain, count
from typing import TYPE_CHECKING

from sqlalchemy import inspect
from sqlalchemy.schema import CreateSchema

from capsule_registry.database.dialects.dialect import LOCK_TIMEOUT_SECONDS
from capsule_registry.database.retries import RETRY_SECONDS, Backoff
from capsule_registry.errors import InvalidDatabaseError, RegistryUnavailableError
from capsule_registry.schema.migrations import run_migrations, upgrade_statements
from capsule_registry.schema.tables import metadata
from capsule_registry.schema.version import SCHEMA_VERSION, VERSION_TABLE, find_schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from capsule_registry.database.database import Database


def prepare(database: Database, *, migrate: bool | None) -> None:
    """
    Require a usable schema; if *migrate* (by default on SQLite only), upgrade an older one first.

    Raises:
        SchemaVersionError: This library cannot run on the schema; nothing was changed.
    """
    wanted = database.dialect.upgrades_itself if migrate is None else migrate
    found = database.look(find_schema)
    if wanted and found.is_older and not database.read_only:
        upgrade(database)
    else:
        found.require_usable(database)


def upgrade(database: Database) -> Path | None:
    """
    Upgrade the schema to this library's version, in one transaction if the database supports that.

    A SQLite file that has any tables is copied first. Any number of processes may call this at
    once: one upgrades, and the others wait and find it done.

    Triggers of the registry that fail since whoever made them is gone become the user's own.

    Returns:
        The path of the copy, if one was made.

    Raises:
        SchemaVersionError: The schema is too new, or older than v0001; nothing was changed.
        InvalidDatabaseError: A setting of the server is in the way; nothing was changed.
    """
    database.look(partial(_refuse_foreign, database=database))
    backoff = Backoff(RETRY_SECONDS)
    while True:
        try:
            return _upgrade_once(database)
        except RegistryUnavailableError as error:
            # Concurrent writers lock the tables in another order, so deadlocks are possible.
            if not (database.is_passing(error.__cause__) and backoff.pause()):
                raise


def _upgrade_once(database: Database) -> Path | None:
    with migrating(database) as conn:
        found = find_schema(conn)
        if not found.is_older:
            found.require_usable(database)
            database.dialect.adopt_triggers(conn, metadata.tables)
            return None
        _create_schema(conn, database.address.schema)
        _require_upgradable(conn, database)
        _refuse_foreign_tables(conn, database)
        copy = _copy_before_upgrade(database, conn)
        run_migrations(conn)
    return copy


@contextmanager
def migrating(database: Database) -> Iterator[Connection]:
    """
    Yield a connection in a transaction that may change tables, and hold the schema lock.

    On SQLite, where migrations rebuild tables, foreign keys are disabled meanwhile, since child
    rows of a rebuilt table would be deleted; they are checked before the commit.
    """
    dialect = database.dialect
    with (
        database.translating(),
        database.taking_turns(),
        database.connected(database.engine) as conn,
    ):
        _run_alone(conn, dialect.stop_foreign_keys)
        try:
            with (
                _cluster_locked(database, conn),
                conn.begin(),
                _schema_locked(database, conn),
                dialect.schema_settings(conn),
            ):
                database.require_transaction(conn)
                yield conn
                _refuse_orphans(database, conn)
        finally:
            _run_alone(conn, dialect.start_foreign_keys)


def _run_alone(conn: Connection, statement: str | None) -> None:
    """Run *statement* outside a transaction."""
    if statement is not None:
        conn.exec_driver_sql(statement)
        conn.rollback()


@contextmanager
def _cluster_locked(database: Database, conn: Connection) -> Iterator[None]:
    """Lock the schema against changes on other nodes of a multi-primary cluster."""
    with database.dialect.lock_cluster(conn, LOCK_TIMEOUT_SECONDS) as taken:
        if not taken:
            reason = "another process has been changing the schema for too long (see"
            raise RegistryUnavailableError(
                str(database.address), f"{reason} the table capsule_registry_schema_lock)"
            )
        yield


@contextmanager
def _schema_locked(database: Database, conn: Connection) -> Iterator[None]:
    dialect = database.dialect
    if dialect.begin_write:
        conn.exec_driver_sql(dialect.begin_write)
    if dialect.lock_schema and conn.exec_driver_sql(dialect.lock_schema).scalar() == 0:
        reason = "another process has been changing the schema for too long"
        raise RegistryUnavailableError(str(database.address), reason)
    try:
        yield
    finally:
        if dialect.unlock_schema:
            conn.exec_driver_sql(dialect.unlock_schema)


def _refuse_orphans(database: Database, conn: Connection) -> None:
    if database.dialect.find_orphans is None:
        return
    if orphans := conn.exec_driver_sql(database.dialect.find_orphans).all():
        reason = f"{len(orphans)} rows would be left without their parents: {orphans[:3]}"
        raise InvalidDatabaseError(str(database.address), reason)


def _refuse_foreign(conn: Connection, database: Database) -> None:
    """Refuse a database that cannot be upgraded."""
    found = find_schema(conn)
    if not found.is_older:
        found.require_usable(database)
    _refuse_foreign_tables(conn, database)


def _create_schema(conn: Connection, name: str | None) -> None:
    """Create the schema *name*; who may not create one may use one that exists."""
    if name is not None and not inspect(conn).has_schema(name):
        conn.execute(CreateSchema(name, if_not_exists=True))


def _require_upgradable(conn: Connection, database: Database) -> None:
    """Refuse before anything is changed what would be left half made."""
    for found in database.dialect.upgrade_needs(conn):
        if found.problem:
            reason = f"{found.name} is {found.value}: {found.problem}"
            raise InvalidDatabaseError(str(database.address), reason)


def _refuse_foreign_tables(conn: Connection, database: Database) -> None:
    """Refuse a database in which tables of another program have our names."""
    names = set(inspect(conn).get_table_names())
    taken = sorted(names & set(metadata.tables))
    if taken and VERSION_TABLE not in names:
        reason = f"it has a table {taken[0]} that is not the registry's: use another database"
        raise InvalidDatabaseError(str(database.address), reason)


def upgrade_sql(database: Database) -> None:
    """Print a script for the database's own shell that creates the schema in an empty database."""
    statements = upgrade_statements(database.engine.dialect.name)
    for line in database.dialect.script(statements, database.address.schema):
        sys.stdout.write(f"{line}\n\n")


def _copy_before_upgrade(database: Database, conn: Connection) -> Path | None:
    """Copy the file beside itself if it has tables; *conn* must exclude other writers."""
    file = database.address.file
    if file is None or not inspect(conn).get_table_names():
        return None
    name = f"{file.name}.before-{SCHEMA_VERSION}"
    numbered = (file.with_name(f"{name}.{number}") for number in count(1))
    copy = next(path for path in chain([file.with_name(name)], numbered) if not path.exists())
    database.copy_to(copy, like=file)
    return copy
