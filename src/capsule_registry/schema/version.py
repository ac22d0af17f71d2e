"""The schema of the database: which version it has, whether this library may use it, upgrading."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import String, column, func, inspect, select, table

from capsule_registry.database.dialects.sqlite_library import sqlite_module
from capsule_registry.database.patience import Patience
from capsule_registry.database.retries import RETRY_SECONDS
from capsule_registry.errors import (
    InvalidDatabaseError,
    RegistryUnavailableError,
    SchemaVersionError,
)
from capsule_registry.schema.tables import metadata, schema_versions
from capsule_registry.schema.upgrade import migrating

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from capsule_registry.database.database import Database

#: The schema version that this library was written for.
SCHEMA_VERSION: Final = "0004"
#: The oldest schema version that it can still run on.
OLDEST_SUPPORTED: Final = "0003"

#: Alembic keeps its context in module globals, so one thread at a time.
_alembic_lock = Lock()


_version = table("capsule_registry_version", column("version_num", String))
#: Columns for a query that reads what the schema says of itself.
schema_columns: Final = (
    select(_version.c.version_num).scalar_subquery().label("migrated_version"),
    select(func.max(schema_versions.c.version)).scalar_subquery().label("recorded_version"),
    select(func.max(schema_versions.c.oldest_compatible))
    .scalar_subquery()
    .label("oldest_compatible"),
)


@dataclass(frozen=True, slots=True)
class FoundSchema:
    """
    What a schema says of itself: its version, and the oldest version that it still serves.

    The two records of the version, Alembic's and ours, move together; where they do not, nothing
    is known of what is served.
    """

    version: str | None
    oldest_compatible: str | None

    @classmethod
    def of(cls, row: Mapping[Any, Any]) -> FoundSchema:
        """Read *row*, which has `schema_columns`."""
        migrated, recorded = row["migrated_version"], row["recorded_version"]
        versions = [version for version in (migrated, recorded) if version is not None]
        oldest = row["oldest_compatible"] if migrated == recorded else None
        return cls(max(versions, default=None), oldest)

    @property
    def is_usable(self) -> bool:
        """Say whether this library can run on it."""
        return (
            self.version is not None
            and self.oldest_compatible is not None
            and self.version >= OLDEST_SUPPORTED
            and self.oldest_compatible <= SCHEMA_VERSION
        )

    def check(self, database: Database) -> None:
        """Raise `SchemaVersionError` unless this library can run on it."""
        if self.is_usable:
            return
        is_newer = self.version is not None and self.version > SCHEMA_VERSION
        remedy = "install a newer capsule-registry" if is_newer else upgrade_command(database)
        raise SchemaVersionError(self.version, SCHEMA_VERSION, remedy)


def upgrade_command(database: Database) -> str:
    """Return what to run to upgrade the schema."""
    return f"run `capsule-registry --database {database.address} db upgrade`"


def find(conn: Connection) -> FoundSchema:
    """Return what the schema says of itself."""
    names = set(inspect(conn).get_table_names())
    if {_version.name, schema_versions.name} <= names:
        return FoundSchema.of(conn.execute(select(*schema_columns)).mappings().one())
    if _version.name in names:
        return FoundSchema(conn.scalar(select(_version.c.version_num)), None)
    return FoundSchema(None, None)


def prepare(database: Database, *, migrate: bool | None) -> None:
    """
    Make sure that this library can run on the schema, upgrading it where that is wanted.

    Raises:
        SchemaVersionError: It cannot, and nothing was changed.
    """
    wanted = database.dialect.upgrades_itself if migrate is None else migrate
    found = database.read(find)
    is_older = found.version is None or found.version < SCHEMA_VERSION
    if wanted and is_older and not database.read_only:
        upgrade(database)
    else:
        found.check(database)


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
    patience = Patience(RETRY_SECONDS)
    while True:
        try:
            return _upgrade_once(database)
        except RegistryUnavailableError as error:
            # Processes that write meanwhile lock the tables in another order.
            if not (database.is_passing(error.__cause__) and patience.pause()):
                raise


def _upgrade_once(database: Database) -> Path | None:
    with _alembic_lock, migrating(database) as conn:
        found = find(conn)
        if found.version is not None and found.version >= SCHEMA_VERSION:
            found.check(database)
            return None
        _refuse_foreign_tables(conn, database)
        copy = _copy_before_upgrade(database, conn)
        _run_alembic("upgrade", SCHEMA_VERSION, connection=conn)
    return copy


def _refuse_foreign_tables(conn: Connection, database: Database) -> None:
    """Refuse a database in which somebody else's tables have our names."""
    names = set(inspect(conn).get_table_names())
    taken = sorted(names & set(metadata.tables))
    if taken and _version.name not in names:
        reason = f"it has a table {taken[0]} that is not the registry's: use another database"
        raise InvalidDatabaseError(str(database.address), reason)


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


def _copy_before_upgrade(database: Database, conn: Connection) -> Path | None:
    """Copy the file beside itself, while *conn* keeps other writers out, if anything is in it."""
    file = database.address.file
    if file is None or not inspect(conn).get_table_names():
        return None
    name = f"{file.name}.before-{SCHEMA_VERSION}"
    numbered = (file.with_name(f"{name}.{number}") for number in count(1))
    copy = next(path for path in chain([file.with_name(name)], numbered) if not path.exists())
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
    package = Path(__file__).parents[1]
    packaged = package / "migrations"
    return packaged if packaged.is_dir() else package.parents[1] / "migrations"
