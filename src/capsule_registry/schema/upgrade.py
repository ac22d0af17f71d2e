"""Upgrades of the schema to this library's version, by one process at a time."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import inspect

from capsule_registry.database.dialects.dialect import LOCK_TIMEOUT_SECONDS
from capsule_registry.database.retries import RETRY_SECONDS, Backoff
from capsule_registry.errors import (
    InvalidDatabaseError,
    RegistryUnavailableError,
    SchemaVersionError,
)
from capsule_registry.schema.tables import metadata
from capsule_registry.schema.version import SCHEMA_VERSION, VERSION_TABLE, find_schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from capsule_registry.database.database import Database

_UNPACK: Final = "install capsule-registry unpacked, since no migration runs from an archive"
#: Alembic keeps its context in module globals, so one thread may use it at a time.
_alembic_lock: Final = Lock()


def prepare(database: Database, *, migrate: bool | None) -> None:
    """
    Require a usable schema; if *migrate* (by default on SQLite only), upgrade an older one first.

    Raises:
        SchemaVersionError: This library cannot run on the schema; nothing was changed.
    """
    wanted = database.dialect.upgrades_itself if migrate is None else migrate
    found = database.read(find_schema)
    if wanted and found.is_older and not database.read_only:
        upgrade(database)
    else:
        found.require_usable(database)


def upgrade(database: Database) -> Path | None:
    """
    Upgrade the schema to this library's version, in one transaction if the database supports that.

    A SQLite file that has any tables is copied first. Any number of processes may call this at
    once: one upgrades, and the others wait and find it done.

    Returns:
        The path of the copy, if one was made.

    Raises:
        SchemaVersionError: The schema is too new, or older than v0001; nothing was changed.
    """
    backoff = Backoff(RETRY_SECONDS)
    while True:
        try:
            return _upgrade_once(database)
        except RegistryUnavailableError as error:
            # Concurrent writers lock the tables in another order, so deadlocks are possible.
            if not (database.is_passing(error.__cause__) and backoff.pause()):
                raise


def _upgrade_once(database: Database) -> Path | None:
    with _alembic_lock, migrating(database) as conn:
        found = find_schema(conn)
        if not found.is_older:
            found.require_usable(database)
            return None
        _refuse_foreign_tables(conn, database)
        copy = _copy_before_upgrade(database, conn)
        _run_alembic("upgrade", SCHEMA_VERSION, connection=conn)
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
            with _cluster_locked(database, conn), conn.begin(), _schema_locked(database, conn):
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


def _refuse_foreign_tables(conn: Connection, database: Database) -> None:
    """Refuse a database in which tables of another program have our names."""
    names = set(inspect(conn).get_table_names())
    taken = sorted(names & set(metadata.tables))
    if taken and VERSION_TABLE not in names:
        reason = f"it has a table {taken[0]} that is not the registry's: use another database"
        raise InvalidDatabaseError(str(database.address), reason)


def upgrade_sql(database: Database) -> None:
    """Print the SQL that creates this library's schema in an empty database."""
    with _alembic_lock:
        _run_alembic("upgrade", SCHEMA_VERSION, dialect_name=database.engine.dialect.name, sql=True)


def _copy_before_upgrade(database: Database, conn: Connection) -> Path | None:
    """Copy the file beside itself if it has tables; *conn* must exclude other writers."""
    file = database.address.file
    if file is None or not inspect(conn).get_table_names():
        return None
    name = f"{file.name}.before-{SCHEMA_VERSION}"
    numbered = (file.with_name(f"{name}.{number}") for number in count(1))
    copy = next(path for path in chain([file.with_name(name)], numbered) if not path.exists())
    database.copy_to(copy)
    return copy


def _run_alembic(command: str, target: str, *, sql: bool = False, **attributes: Any) -> None:  # noqa: ANN401 - handed to env.py
    # Importing Alembic takes half a second, and only this function needs it.
    from alembic import command as alembic_command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    directory = migrations_directory()
    if not directory.is_dir():
        raise SchemaVersionError(None, SCHEMA_VERSION, _UNPACK)
    config = Config()
    config.set_main_option("script_location", str(directory).replace("%", "%%"))
    config.set_main_option("sourceless", "true")  # Also finds what is installed compiled only.
    config.attributes.update(attributes)
    getattr(alembic_command, command)(config, target, sql=sql)


def migrations_directory() -> Path:
    """Return the directory of the migrations: in the package, or beside `src` in a checkout."""
    package = Path(__file__).parents[1]
    packaged = package / "migrations"
    return packaged if packaged.is_dir() else package.parents[1] / "migrations"
