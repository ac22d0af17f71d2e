"""The schema of the database: which version it has, whether this library may use it, upgrading."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import inspect, select

from capsule_registry.dialects import sqlite_module
from capsule_registry.errors import SchemaVersionError
from capsule_registry.tables import schema_versions

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from capsule_registry.database import Database

#: The schema version that this library was written for.
SCHEMA_VERSION: Final = "0001"
#: The oldest schema version that it can still run on.
OLDEST_SUPPORTED: Final = "0001"

UPGRADE_COMMAND: Final = "run `capsule-registry db upgrade`"
#: Alembic keeps its context in module globals, so one thread at a time.
_alembic_lock = Lock()


def found_version(conn: Connection) -> tuple[str | None, str | None]:
    """Return the schema version of the database, and the oldest one that it still serves."""
    if not inspect(conn).has_table(schema_versions.name):
        return None, None
    newest = conn.execute(
        select(schema_versions.c.version, schema_versions.c.oldest_compatible)
        .order_by(schema_versions.c.version.desc())
        .limit(1)
    ).one_or_none()
    return (None, None) if newest is None else (newest[0], newest[1])


def prepare(database: Database, *, migrate: bool | None) -> None:
    """
    Make sure that this library can run on the schema, upgrading it where that is wanted.

    Raises:
        SchemaVersionError: It cannot, and nothing was changed.
    """
    wanted = database.dialect.upgrades_itself if migrate is None else migrate
    found, oldest_compatible = database.read(found_version)
    if wanted and not database.read_only and (found is None or found < SCHEMA_VERSION):
        upgrade(database)
        return
    check(found, oldest_compatible)


def check(found: str | None, oldest_compatible: str | None) -> None:
    """Raise `SchemaVersionError` unless this library can run on the schema version *found*."""
    if can_run_on(found, oldest_compatible):
        return
    is_newer = found is not None and found > SCHEMA_VERSION
    remedy = "install a newer capsule-registry" if is_newer else UPGRADE_COMMAND
    raise SchemaVersionError(found, SCHEMA_VERSION, remedy)


def can_run_on(found: str | None, oldest_compatible: str | None) -> bool:
    """Say whether this library can run on the schema version *found*."""
    return (
        found is not None
        and oldest_compatible is not None
        and found >= OLDEST_SUPPORTED
        and oldest_compatible <= SCHEMA_VERSION
    )


def upgrade(database: Database) -> Path | None:
    """
    Bring the schema to this library's version, in one transaction where the database can.

    A SQLite file that has anything in it is copied first. Any number of processes may do this at
    once: one upgrades, the others wait and find it done.

    Returns:
        The path of the copy, if one was made.

    Raises:
        SchemaVersionError: The schema is newer than this library; nothing was changed.
    """
    found, oldest_compatible = database.read(found_version)
    if found is not None and found >= SCHEMA_VERSION:
        check(found, oldest_compatible)
        return None
    copy = _copy_before_upgrade(database)
    with _alembic_lock, database.migration() as conn:
        if found_version(conn)[0] != SCHEMA_VERSION:
            _run_alembic("upgrade", SCHEMA_VERSION, connection=conn)
    return copy


def upgrade_sql(database: Database) -> None:
    """Print the statements that bring an empty database to this library's version."""
    with _alembic_lock:
        _run_alembic("upgrade", SCHEMA_VERSION, dialect_name=database.engine.dialect.name, sql=True)


def backup(database: Database, target: Path) -> None:
    """
    Copy a SQLite database to *target*, consistent though others write, for its owner only.

    Raises:
        FileExistsError: *target* exists.
    """
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    copy = sqlite_module.connect(target)
    try:
        database.read(lambda conn: _source(conn).backup(copy))
    except BaseException:
        target.unlink()
        raise
    finally:
        copy.close()


def _source(conn: Connection) -> Any:  # noqa: ANN401 - the module is chosen at run time
    return conn.connection.driver_connection


def _copy_before_upgrade(database: Database) -> Path | None:
    file = database.address.file
    if file is None or not database.read(lambda conn: inspect(conn).get_table_names()):
        return None
    name = f"{file.name}.before-{SCHEMA_VERSION}"
    copy = next(
        path
        for number in range(1000)
        if not (path := file.with_name(f"{name}.{number}" if number else name)).exists()
    )
    backup(database, copy)
    return copy


def _run_alembic(command: str, target: str, *, sql: bool = False, **attributes: Any) -> None:  # noqa: ANN401 - handed to env.py
    # Alembic takes half a second to import, and only this function needs it.
    from alembic import command as alembic_command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(migrations_directory()).replace("%", "%%"))
    config.attributes.update(attributes)
    getattr(alembic_command, command)(config, target, sql=sql)


def migrations_directory() -> Path:
    """Return where the migrations are: in the package, or beside `src` in a checkout."""
    packaged = Path(__file__).with_name("migrations")
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "migrations"
