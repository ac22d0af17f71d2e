"""
The migrations, run in a context of their own.

Alembic's `op` and `context` are one per process, and belong to the program that the library is part
of. So a migration takes its operations as an argument, and no command of Alembic's is called.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Column, MetaData, PrimaryKeyConstraint, Table
from sqlalchemy.schema import CreateTable

from capsule_registry._version import __version__
from capsule_registry.database.database import Database
from capsule_registry.database.dialects.known import FILES, dialect_named
from capsule_registry.database.dialects.sqlite_dump import dump
from capsule_registry.database.dialects.types import STORED, ShortText
from capsule_registry.errors import SchemaVersionError
from capsule_registry.schema.tables import schema_versions
from capsule_registry.schema.version import SCHEMA_VERSION, VERSION_TABLE

_UNREADABLE: Final = "look what keeps the migrations from being read"
_UNPACK: Final = "install capsule-registry unpacked, since no migration runs from an archive"

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection


def run_migrations(
    conn: Connection, target: str = SCHEMA_VERSION, directory: Path | None = None
) -> None:
    """Upgrade the schema to *target* by the migrations in *directory*, in *conn*'s transaction."""
    # Importing Alembic takes half a second, and only an upgrade needs it.
    from alembic.operations import Operations  # noqa: PLC0415
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415

    create_version_table(conn)
    context = MigrationContext.configure(conn, opts=_options(_scripts(directory), target))
    context.run_migrations(op=Operations(context))


def create_version_table(conn: Connection) -> None:
    """Create Alembic's version table as this library wants it, unless it exists."""
    conn.execute(_version_table())


def _version_table() -> CreateTable:
    table = Table(
        VERSION_TABLE,
        MetaData(),
        Column("version_num", ShortText(32), nullable=False),
        PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),
        **STORED,  # Whose dialect is imported here.
    )
    return CreateTable(table, if_not_exists=True)


def oldest_compatible_by_version(version: str = SCHEMA_VERSION) -> dict[str, str]:
    """Return what `schema_versions` holds after the migrations up to *version*."""
    steps = _scripts().walk_revisions(head=version)
    return {step.revision: step.module.oldest_compatible for step in steps}


@cache
def upgrade_statements(dialect_name: str, version: str = SCHEMA_VERSION) -> tuple[str, ...]:
    """Return the statements that create the schema of that *version* in an empty database."""
    dialect = dialect_named(dialect_name)
    if dialect is not None and dialect.is_file:
        return tuple(_dumped(version))
    from alembic.operations import Operations  # noqa: PLC0415 - as above
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415

    printed = _Printed()
    options = {"as_sql": True, "literal_binds": True, "output_buffer": printed}
    context = MigrationContext.configure(
        dialect_name=dialect_name,
        dialect_opts={"paramstyle": "named"},  # Others double each percent sign.
        opts={**_options(_scripts(), version), **options},
    )
    context.impl.execute(_version_table())
    context.run_migrations(op=Operations(context))
    # A script that was cut short can be run again: it says the version once, when all is done.
    stamps = tuple(f"{verb} {VERSION_TABLE}" for verb in ("CREATE TABLE", "INSERT INTO", "UPDATE"))
    made = [text for text in printed if not text.startswith(("--", *stamps))]
    stamp = f"INSERT INTO {VERSION_TABLE} (version_num) VALUES ('{version}')"  # noqa: S608 - our own names
    return *made, f"DELETE FROM {VERSION_TABLE}", stamp  # noqa: S608 - as above


def _dumped(version: str) -> list[str]:
    """Return what makes a file: its migrations read what earlier ones made, so they are run."""
    database = Database.open(f"{FILES.name}://")
    try:
        with database.connected(database.engine) as conn, conn.begin():
            run_migrations(conn, version)
            return [*dump(conn)]
    finally:
        database.close()


class _Printed(list[str]):
    """The statements that Alembic prints."""

    def write(self, text: str) -> None:
        """Add a statement, which Alembic writes as a whole."""
        self.append(text.strip().removesuffix(";"))

    def flush(self) -> None:
        """Do nothing: all is here."""


def _options(scripts: ScriptDirectory, target: str) -> dict[str, Any]:
    return {
        "version_table": VERSION_TABLE,
        "transactional_ddl": True,
        "on_version_apply": (record_version,),
        "fn": lambda heads, _: scripts._upgrade_revs(target, heads),  # noqa: SLF001 - as its commands do
    }


def _scripts(directory: Path | None = None) -> ScriptDirectory:
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - as above
    from alembic.util.exc import CommandError  # noqa: PLC0415 - as above

    found = directory or migrations_directory()
    if not found.is_dir():
        raise SchemaVersionError(None, SCHEMA_VERSION, _UNPACK)
    scripts = ScriptDirectory(str(found), sourceless=True)  # Also what is installed compiled only.
    try:
        scripts.get_revision(SCHEMA_VERSION)
    except CommandError as error:  # A file that cannot be opened counts as one that is not there.
        raise SchemaVersionError(None, SCHEMA_VERSION, f"{_UNREADABLE} in {found}") from error
    return scripts


def record_version(ctx: Any, step: Any, **_: object) -> None:  # noqa: ANN401 - Alembic's own
    """Update `schema_versions` in the transaction of each step; a hook of Alembic's."""
    applied = step.up_revision
    if step.is_upgrade:
        # A step that was cut short may have recorded it already.
        ctx.execute(schema_versions.delete().where(schema_versions.c.version == applied.revision))
        ctx.execute(
            schema_versions.insert().values(
                version=applied.revision,
                applied_at=datetime.now(UTC),
                library_version=__version__,
                oldest_compatible=applied.module.oldest_compatible,
            )
        )
    elif applied.down_revision:
        ctx.execute(schema_versions.delete().where(schema_versions.c.version == applied.revision))


def migrations_directory() -> Path:
    """Return the directory of the migrations: in the package, or beside `src` in a checkout."""
    package = Path(__file__).parents[1]
    packaged = package / "migrations"
    return packaged if packaged.is_dir() else package.parents[1] / "migrations"
