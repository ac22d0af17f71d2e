"""
Alembic's environment, for developers: `alembic` in a checkout.

It opens the database in `CAPSULE_REGISTRY_DATABASE` through the library, with its settings and
locks. The library itself runs the migrations without this file (`schema/migrations.py`).
"""

import os
from contextlib import closing

from alembic import context
from alembic.operations import Operations
from alembic.script import ScriptDirectory

from capsule_registry.database.database import Database
from capsule_registry.schema.migrations import create_version_table, record_version
from capsule_registry.schema.tables import metadata
from capsule_registry.schema.upgrade import migrating
from capsule_registry.schema.version import VERSION_TABLE


def numbered(migration_context, revision, directives):
    """Number a new revision after the last one: `v` and four digits; its file has the digits."""
    head = ScriptDirectory.from_config(context.config).get_current_head() or "v0000"
    number = f"{int(head.removeprefix('v')) + 1:04d}"
    directives[0].rev_id = f"v{number}"
    directives[0].message = f"{number} {directives[0].message}"


def run(connection):
    """Run what `alembic` was told to on *connection*; the caller ends its transaction."""
    create_version_table(connection)
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        transactional_ddl=True,
        render_as_batch=True,
        compare_server_default=True,
        on_version_apply=record_version,
        process_revision_directives=numbered,
        include_name=lambda name, kind, parents: kind != "table" or name in metadata.tables,
    )
    context.run_migrations(op=Operations(context.get_context()))


url = os.environ.get("CAPSULE_REGISTRY_DATABASE")
if not url:
    raise SystemExit("set CAPSULE_REGISTRY_DATABASE to the database's URL")
if context.is_offline_mode():
    raise SystemExit("use `capsule-registry db upgrade --sql`")
with closing(Database.open(url)) as database, migrating(database) as connection:
    run(connection)
