"""
Say of each grant how it is compared, where it stands and whether it counts; name a runtime.

What is registered already keeps its rules, `original`: so nobody's rights change. `namespaces` says
by which runtime all capsules are judged, if by one; `interceptors` by which priority they are
called.
"""

from alembic.operations import Operations

revision = "v0004"
down_revision = "v0003"
branch_labels = None
depends_on = None
#: The oldest schema version whose library can still run on this one: an older one would count every
#: grant, and compare it as it knows.
oldest_compatible = "v0004"

#: How texts of a length, and flags, are stored.
TEXT = {
    "sqlite": "TEXT",
    "postgresql": 'VARCHAR({}) COLLATE "C"',
    "mariadb": "VARCHAR({}) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
}
FLAG = {"sqlite": "INTEGER", "postgresql": "BOOLEAN", "mariadb": "BOOL"}
WIDE = {"sqlite": "INTEGER", "postgresql": "BIGINT", "mariadb": "BIGINT"}
#: The columns of the index by which grants are listed, without and with what is new.
BY_VALUE = ("namespace", "capability", "value", "generation")
SHOWN = ("matching", "place", "read_by", "counts")
IS_BOOLEAN = "CHECK (counts IN (FALSE, TRUE))"

MATCHINGS = """
    UPDATE grants SET counts = TRUE, matching = CASE
        WHEN capability IN ('ipc_publish', 'ipc_subscribe') THEN 'segments'
        WHEN capability = 'net' THEN 'host_any_case'
        WHEN capability = 'net_bind' THEN 'any_or_bind'
        WHEN capability IN ('fs_read', 'fs_write') THEN 'written_path'
        WHEN capability = 'host_process' THEN 'command'
        WHEN capability = 'identity' THEN 'level'
        WHEN capability = 'kv' THEN 'key'
        WHEN capability IN ('uplink', 'allow_prompt_injection') THEN 'flag'
        ELSE 'nothing' END"""
CAPABILITY_GRANTS = """
    SELECT grants.namespace, grants.capability, grants.value, grants.capsule_id,
        capsules.version, capsules.state, capsules.generation, grants.matching, grants.place,
        grants.read_by
    FROM grants
    JOIN capsules ON capsules.namespace = grants.namespace
        AND capsules.id = grants.capsule_id AND capsules.generation = grants.generation
    WHERE grants.counts"""
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
        capsules.form, capsules.rules
    FROM capsules
    WHERE capsules.registered_at IS NOT NULL"""
CREATE = {
    "sqlite": "CREATE VIEW",
    "postgresql": "CREATE OR REPLACE VIEW",
    "mariadb": "CREATE OR REPLACE SQL SECURITY INVOKER VIEW",
}


def columns(dialect: str) -> list[tuple[str, str, str]]:
    """Return the new columns: table, name, and what follows the name."""

    def text(length: int) -> str:
        return TEXT[dialect].format(length)

    return [
        ("namespaces", "runtime_version", text(64)),
        ("capsules", "rules", f"{text(64)} DEFAULT 'original' NOT NULL"),
        ("grants", "matching", f"{text(16)} DEFAULT 'nothing' NOT NULL"),
        ("grants", "place", f"{text(32)} DEFAULT 'capabilities' NOT NULL"),
        ("grants", "read_by", f"{text(16)} DEFAULT '*' NOT NULL"),
        ("grants", "counts", f"{FLAG[dialect]} DEFAULT FALSE NOT NULL"),
        ("interceptors", "priority", f"{WIDE[dialect]} DEFAULT 100 NOT NULL"),
    ]


def upgrade(op: Operations) -> None:
    """Add the columns and the indexes, say how each grant is compared, and make the views anew."""
    dialect = op.get_context().dialect.name
    again = "" if dialect == "sqlite" else "IF NOT EXISTS "
    for table, name, kind in columns(dialect):
        check = f" CONSTRAINT ck_grants_counts_boolean {IS_BOOLEAN}" if name == "counts" else ""
        at_once = check if dialect == "sqlite" else ""
        op.execute(f"ALTER TABLE {table} ADD COLUMN {again}{name} {kind}{at_once}")
    if dialect != "sqlite":
        op.execute("ALTER TABLE grants DROP CONSTRAINT IF EXISTS ck_grants_counts_boolean")
        op.execute(f"ALTER TABLE grants ADD CONSTRAINT ck_grants_counts_boolean {IS_BOOLEAN}")
    op.execute(MATCHINGS)
    op.create_index(
        "ix_capsules_rules",
        "capsules",
        ["namespace", "rules", "registered_revision", "position"],
        if_not_exists=dialect != "sqlite",
    )
    op.drop_index("ix_grants_value", "grants", if_exists=True)
    op.create_index("ix_grants_value", "grants", [*BY_VALUE, *SHOWN])
    for view, text in (
        ("registered_capsules", REGISTERED_CAPSULES),
        ("capability_grants", CAPABILITY_GRANTS),
    ):
        if dialect == "sqlite":
            op.execute(f"DROP VIEW {view}")
        op.execute(f"{CREATE[dialect]} {view} AS{text}")


def downgrade(op: Operations) -> None:
    """Remove the columns and the indexes, and make the views as they were."""
    dialect = op.get_context().dialect.name
    for view in ("registered_capsules", "capability_grants"):
        op.execute(f"DROP VIEW {view}")
    op.execute("DELETE FROM grants WHERE NOT counts")
    if dialect != "sqlite":
        op.execute("ALTER TABLE grants DROP CONSTRAINT IF EXISTS ck_grants_counts_boolean")
    op.drop_index("ix_capsules_rules", "capsules")
    op.drop_index("ix_grants_value", "grants")
    op.create_index("ix_grants_value", "grants", [*BY_VALUE])
    for table, name, _ in reversed(columns(dialect)):
        op.drop_column(table, name)
    grants, counting = CAPABILITY_GRANTS.replace(
        ", grants.matching, grants.place,\n        grants.read_by", ""
    ).split("\n    WHERE grants.counts")
    op.execute(f"{CREATE[dialect]} capability_grants AS{grants}{counting}")
    registered = REGISTERED_CAPSULES.replace("capsules.form, capsules.rules", "capsules.form")
    op.execute(f"{CREATE[dialect]} registered_capsules AS{registered}")
