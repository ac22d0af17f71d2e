"""
Say in which form each manifest is read: that of 0.2.0 for all that is registered already.

So nobody's rights change. The form is a column of `capsules` and of the view of them.
"""

from alembic.operations import Operations

revision = "v0003"
down_revision = "v0002"
branch_labels = None
depends_on = None
#: The oldest schema version whose library can still run on this one: an older one would write
#: images without the form.
oldest_compatible = "v0003"

KNOWN = "form IN ('legacy', 'today', 'mixed')"
REGISTERED_CAPSULES = """
    SELECT capsules.namespace, capsules.id, capsules.version, capsules.state,
        capsules.state_reason, capsules.generation, capsules.registered_revision,
        capsules.modified_revision, capsules.registered_at, capsules.source_dir,
        capsules.manifest_digest,
        (SELECT count(*) FROM uplinks WHERE uplinks.namespace = capsules.namespace
            AND uplinks.capsule_id = capsules.id) AS uplink_count,
        (SELECT count(*) FROM live_uuids WHERE live_uuids.namespace = capsules.namespace
            AND live_uuids.capsule_id = capsules.id) AS uuid_count,
        (SELECT count(*) FROM tools WHERE tools.namespace = capsules.namespace
            AND tools.capsule_id = capsules.id) AS tool_count,
        capsules.form
    FROM capsules
    WHERE capsules.registered_at IS NOT NULL"""
CREATE = {
    "sqlite": "CREATE VIEW",
    "postgresql": "CREATE OR REPLACE VIEW",
    "mariadb": "CREATE OR REPLACE SQL SECURITY INVOKER VIEW",
}


def upgrade(op: Operations) -> None:
    """Add the column and the index, and make the view anew."""
    dialect = op.get_context().dialect.name
    if dialect == "sqlite":
        op.execute(
            "ALTER TABLE capsules ADD COLUMN form TEXT DEFAULT 'legacy' NOT NULL"
            f" CONSTRAINT ck_capsules_form_known CHECK ({KNOWN})"
        )
        op.execute("DROP VIEW registered_capsules")
    else:
        alter(op, dialect)
    op.execute(f"{CREATE[dialect]} registered_capsules AS{REGISTERED_CAPSULES}")
    columns = ["namespace", "form", "registered_revision", "position"]
    op.create_index("ix_capsules_form", "capsules", columns, if_not_exists=dialect != "sqlite")


def alter(op: Operations, dialect: str) -> None:
    """Add the column on a server, where a step may have been done already."""
    kind = {
        "postgresql": 'VARCHAR(8) COLLATE "C"',
        "mariadb": "VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
    }[dialect]
    op.execute(
        f"ALTER TABLE capsules ADD COLUMN IF NOT EXISTS form {kind} DEFAULT 'legacy' NOT NULL"
    )
    op.execute("ALTER TABLE capsules DROP CONSTRAINT IF EXISTS ck_capsules_form_known")
    op.execute(f"ALTER TABLE capsules ADD CONSTRAINT ck_capsules_form_known CHECK ({KNOWN})")


def downgrade(op: Operations) -> None:
    """Remove the column and the index, and make the view as it was."""
    dialect = op.get_context().dialect.name
    op.execute("DROP VIEW registered_capsules")
    if dialect != "sqlite":
        op.execute("ALTER TABLE capsules DROP CONSTRAINT IF EXISTS ck_capsules_form_known")
    op.drop_index("ix_capsules_form", "capsules")
    op.drop_column("capsules", "form")
    view = REGISTERED_CAPSULES.replace(" AS tool_count,\n        capsules.form", " AS tool_count")
    op.execute(f"{CREATE[dialect]} registered_capsules AS{view}")
