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
VIEWS = {"registered_capsules": REGISTERED_CAPSULES, "capability_grants": CAPABILITY_GRANTS}
#: The columns of `grants` in a file until now, and its keys.
GRANTS = (
    "namespace TEXT NOT NULL",
    "capsule_id TEXT NOT NULL",
    "capability TEXT NOT NULL",
    "position INTEGER NOT NULL",
    "value TEXT NOT NULL",
    "generation INTEGER NOT NULL",
)
KEYS = (
    "CONSTRAINT pk_grants PRIMARY KEY (namespace, capsule_id, capability, position)",
    (
        "CONSTRAINT fk_grants_capsules FOREIGN KEY(namespace, capsule_id)"
        " REFERENCES capsules (namespace, id) ON DELETE CASCADE"
    ),
)
CREATE = {
    "sqlite": "CREATE VIEW",
    "postgresql": "CREATE OR REPLACE VIEW",
    "mariadb": "CREATE OR REPLACE SQL SECURITY INVOKER VIEW",
}


def columns(dialect: str) -> list[tuple[str, str, str, str]]:
    """Return the new columns: table, name, what follows the name, and what is there at first."""

    def text(length: int) -> str:
        return TEXT[dialect].format(length)

    return [
        ("namespaces", "runtime_version", text(64), ""),
        ("capsules", "rules", f"{text(64)} DEFAULT 'original' NOT NULL", ""),
        ("grants", "matching", f"{text(16)} NOT NULL", "'nothing'"),
        ("grants", "place", f"{text(32)} NOT NULL", "'capabilities'"),
        ("grants", "read_by", f"{text(16)} NOT NULL", "'*'"),
        ("grants", "counts", f"{FLAG[dialect]} NOT NULL", "FALSE"),
        ("interceptors", "priority", f"{WIDE[dialect]} DEFAULT 100 NOT NULL", ""),
    ]


def upgrade(op: Operations) -> None:
    """Add the columns and the indexes, say how each grant is compared, and make the views anew."""
    dialect = op.get_context().dialect.name
    if dialect == "sqlite":
        for view in VIEWS:
            op.execute(f"DROP VIEW {view}")
        rebuild(op)
    else:
        alter(op, dialect)
    op.execute(MATCHINGS)
    op.create_index(
        "ix_capsules_rules",
        "capsules",
        ["namespace", "rules", "registered_revision", "position"],
        if_not_exists=dialect != "sqlite",
    )
    op.drop_index("ix_grants_value", "grants", if_exists=True)
    op.create_index("ix_grants_value", "grants", [*BY_VALUE, *SHOWN])
    for view, text in VIEWS.items():
        op.execute(f"{CREATE[dialect]} {view} AS{text}")


def alter(op: Operations, dialect: str) -> None:
    """Add the columns on a server, where a step may have been done already."""
    for table, name, kind, first in columns(dialect):
        default = f" DEFAULT {first}" if first else ""
        op.execute(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {name} {kind}{default}")
        if first:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {name} DROP DEFAULT")
    op.execute("ALTER TABLE grants DROP CONSTRAINT IF EXISTS ck_grants_counts_boolean")
    op.execute(f"ALTER TABLE grants ADD CONSTRAINT ck_grants_counts_boolean {IS_BOOLEAN}")


def rebuild(op: Operations) -> None:
    """Add the columns to a file, where grants are made anew: no column of them has a default."""
    new = []
    for table, name, kind, first in columns("sqlite"):
        if first:
            new.append((f"{name} {kind}", first))
        else:
            op.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
    kinds = [kind for kind, _ in new]
    check = f" CONSTRAINT ck_grants_counts_boolean {IS_BOOLEAN}"
    body = ",\n\t".join([*GRANTS, *kinds[:-1], kinds[-1] + check, *KEYS])
    op.execute(f"CREATE TABLE new_grants (\n\t{body}\n) WITHOUT ROWID, STRICT")
    before = ", ".join(one.partition(" ")[0] for one in GRANTS)
    firsts = ", ".join(first for _, first in new)
    names = ", ".join(kind.partition(" ")[0] for kind in kinds)
    op.execute(f"INSERT INTO new_grants ({before}, {names}) SELECT {before}, {firsts} FROM grants")
    op.execute("DROP TABLE grants")
    op.execute("ALTER TABLE new_grants RENAME TO grants")


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
    for table, name, *_ in reversed(columns(dialect)):
        op.drop_column(table, name)
    grants, counting = CAPABILITY_GRANTS.replace(
        ", grants.matching, grants.place,\n        grants.read_by", ""
    ).split("\n    WHERE grants.counts")
    op.execute(f"{CREATE[dialect]} capability_grants AS{grants}{counting}")
    registered = REGISTERED_CAPSULES.replace("capsules.form, capsules.rules", "capsules.form")
    op.execute(f"{CREATE[dialect]} registered_capsules AS{registered}")
