"""
Alembic's environment: runs migrations on a given connection, in its transaction.

The library passes its connection (`schema/upgrade.py`). From a checkout, `alembic` opens the
database in `CAPSULE_REGISTRY_DATABASE` through the library, so that it uses the same pragmas, locks
and SQLite library.
"""

import os
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import context
from alembic.script import ScriptDirectory

from capsule_registry import __version__
from capsule_registry.database.database import Database
from capsule_registry.database.dialects.types import UtcDateTime
from capsule_registry.schema.tables import metadata
from capsule_registry.schema.upgrade import migrating

#: The columns that every version has.
schema_versions = sa.table(
    "schema_versions",
    sa.column("version", sa.String),
    sa.column("applied_at", UtcDateTime),
    sa.column("library_version", sa.String),
    sa.column("oldest_compatible", sa.String),
)


def numbered(migration_context, revision, directives):
    """Number a new revision after the last one: `v` and four digits; its file has the digits."""
    head = ScriptDirectory.from_config(context.config).get_current_head() or "v0000"
    number = f"{int(head.removeprefix('v')) + 1:04d}"
    directives[0].rev_id = f"v{number}"
    directives[0].message = f"{number} {directives[0].message}"


def record_version(ctx, step, heads, run_args):
    """Update `schema_versions` in the transaction of each migration step."""
    applied = step.up_revision
    if not step.is_upgrade:
        if applied.down_revision:
            ctx.execute(
                schema_versions.delete().where(schema_versions.c.version == applied.revision)
            )
        return
    ctx.execute(
        schema_versions.insert().values(
            version=applied.revision,
            applied_at=datetime.now(UTC),
            library_version=__version__,
            oldest_compatible=applied.module.oldest_compatible,
        )
    )


def configure(**options):
    """Configure Alembic for a connection, or for printing SQL."""
    context.configure(
        target_metadata=metadata,
        version_table="capsule_registry_version",
        transactional_ddl=True,
        render_as_batch=True,
        compare_server_default=True,
        on_version_apply=record_version,
        process_revision_directives=numbered,
        include_object=lambda item, name, kind, reflected, other: (
            not (reflected and kind == "table" and name not in metadata.tables)
        ),
        **options,
    )


def run(connection):
    """Run the migrations on *connection*; the caller ends its transaction."""
    configure(connection=connection)
    context.run_migrations()


def offline_dialect():
    """Return the name of the dialect to print SQL for."""
    url = os.environ.get("CAPSULE_REGISTRY_DATABASE", "sqlite://")
    return context.config.attributes.get("dialect_name") or sa.make_url(url).get_backend_name()


if context.is_offline_mode():
    configure(dialect_name=offline_dialect(), literal_binds=True)
    context.run_migrations()
elif "connection" in context.config.attributes:
    run(context.config.attributes["connection"])
else:
    url = os.environ.get("CAPSULE_REGISTRY_DATABASE")
    if not url:
        raise SystemExit("set CAPSULE_REGISTRY_DATABASE to the database's URL")
    database = Database.open(sa.make_url(url).render_as_string(hide_password=False))
    with migrating(database) as connection:
        run(connection)
    database.close()
