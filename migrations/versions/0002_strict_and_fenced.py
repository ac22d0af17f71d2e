"""
Store nothing of another type, and let nobody change the past by writing into it.

On SQLite every table becomes STRICT, the change log gives way to a count of the library's own
commits, and the fences also refuse what INSERT and REPLACE would do to the history. Everywhere a
session UUID and a grant count only for the row of the capsule, and for the generation, that they
were filed under.
"""

import re

import sqlalchemy as sa
from alembic.operations import Operations

revision = "v0002"
down_revision = "v0001"
branch_labels = None
depends_on = None
#: The oldest schema version whose library can still run on this one.
oldest_compatible = "v0002"

FLAGS = (
    "can_receive",
    "can_send",
    "can_approve",
    "can_elicit",
    "supports_rich_media",
    "supports_threads",
    "supports_buttons",
    "declared",
)
#: The revision that made the row: the last event of it before which there was none; 0 if pruned.
CREATED = """
    UPDATE capsules SET created_revision = coalesce((
        SELECT max(events.revision) FROM events
        WHERE events.namespace = capsules.namespace AND events.kind = 'capsules'
            AND events.subject = capsules.id AND events.old_row IS NULL), 0)"""
GENERATION = """
    UPDATE grants SET generation = coalesce((
        SELECT capsules.generation FROM capsules
        WHERE capsules.namespace = grants.namespace AND capsules.id = grants.capsule_id), 0)"""


#: What a view joins by, and what it joins by as well from now on.
JOINS = {
    "live_uuids": (
        "AND capsules.id = uuid_mappings.capsule_id",
        "AND capsules.created_revision <= uuid_mappings.created_revision",
    ),
    "capability_grants": (
        "AND capsules.id = grants.capsule_id",
        "AND capsules.generation = grants.generation",
    ),
}
LIVE_UUIDS = """CREATE OR REPLACE{security} VIEW live_uuids AS
    SELECT uuid_mappings.namespace, uuid_mappings.uuid, uuid_mappings.capsule_id,
        capsules.state, capsules.generation, uuid_mappings.lease_id, leases.expires_at,
        uuid_mappings.registered_at
    FROM uuid_mappings
    JOIN capsules ON capsules.namespace = uuid_mappings.namespace
        AND capsules.id = uuid_mappings.capsule_id
        AND capsules.created_revision <= uuid_mappings.created_revision
    LEFT JOIN leases ON leases.namespace = uuid_mappings.namespace
        AND leases.id = uuid_mappings.lease_id
    WHERE uuid_mappings.lease_id IS NULL OR leases.expires_at > {now}"""
CAPABILITY_GRANTS = """CREATE OR REPLACE{security} VIEW capability_grants AS
    SELECT grants.namespace, grants.capability, grants.value, grants.capsule_id,
        capsules.version, capsules.state, capsules.generation
    FROM grants
    JOIN capsules ON capsules.namespace = grants.namespace
        AND capsules.id = grants.capsule_id AND capsules.generation = grants.generation"""


def upgrade(op: Operations) -> None:
    """Add the columns and the checks; on SQLite rebuild everything."""
    if op.get_context().dialect.name == "sqlite":
        rebuild(op)
    else:
        alter(op)
    op.execute(CREATED)
    op.execute(GENERATION)
    op.drop_index("ix_grants_value", "grants", if_exists=True)
    columns = ["namespace", "capability", "value", "generation"]
    op.create_index("ix_grants_value", "grants", columns)


def alter(op: Operations) -> None:
    """Add the columns and the checks, on a server."""
    for table, name in (("capsules", "created_revision"), ("grants", "generation")):
        column = sa.Column(name, sa.BigInteger, nullable=False, server_default="0")
        op.add_column(table, column, if_not_exists=True)
        op.alter_column(
            table, name, server_default=None, existing_type=sa.BigInteger, existing_nullable=False
        )
    for flag in FLAGS:
        name = f"ck_uplinks_{flag}_boolean"
        op.execute(f"ALTER TABLE uplinks DROP CONSTRAINT IF EXISTS {name}")
        op.execute(f"ALTER TABLE uplinks ADD CONSTRAINT {name} CHECK ({flag} IN (FALSE, TRUE))")
    for view in views(op.get_context().dialect.name):
        op.execute(view)


def views(dialect: str) -> list[str]:
    """Return the statements that make the views on a server."""
    is_postgresql = dialect == "postgresql"
    values = {
        "now": "clock_timestamp()" if is_postgresql else "UTC_TIMESTAMP(6)",
        "security": "" if is_postgresql else " SQL SECURITY INVOKER",
    }
    return [view.format(**values) for view in (LIVE_UUIDS, CAPABILITY_GRANTS)]


def rebuild(op: Operations) -> None:
    """Make each table of SQLite anew from its own statement, with the views and triggers."""
    remade = [*map(joined, texts(op, "view"))]
    fences = [text for text in texts(op, "trigger") if "cache_log" not in text]
    for kind, name in drops(op, "trigger") + drops(op, "view"):
        op.execute(f"DROP {kind} {name}")
    op.execute("DROP TABLE cache_log")
    for name in TABLES:
        rebuild_table(op, name)
    op.execute(OWN_COMMITS)
    op.execute("INSERT INTO own_commits (id, count) VALUES (1, 0)")
    for statement in (*remade, *fences, *FENCES):
        op.execute(statement.replace(":", r"\:"))


#: The tables of SQLite that are not strict.
TABLES = (
    "namespaces",
    "schema_versions",
    "manifests",
    "revisions",
    "events",
    "capsules",
    "uplinks",
    "leases",
    "uuid_mappings",
    "tools",
    "grants",
    "interceptors",
    "provisions",
    "requirements",
)
#: What comes after a place in a table's statement: the columns and checks that are new.
NEW = {
    "capsules": ("modified_revision INTEGER NOT NULL", "created_revision INTEGER NOT NULL"),
    "grants": ("value TEXT NOT NULL", "generation INTEGER NOT NULL"),
    "uplinks": (
        "profile IN ('chat', 'interactive', 'notify', 'bridge'))",
        ", ".join(
            f"CONSTRAINT ck_uplinks_{flag}_boolean CHECK ({flag} IN (FALSE, TRUE))"
            for flag in FLAGS
        ),
    ),
}
#: The names that a strict table gives to the types.
TYPES = {
    r"\bVARCHAR\(\d+\)": "TEXT",
    r"\b(BIGINT|SMALLINT|BOOLEAN)\b": "INTEGER",
}

OWN_COMMITS = """CREATE TABLE own_commits (
    id INTEGER NOT NULL,
    count INTEGER NOT NULL,
    CONSTRAINT pk_own_commits PRIMARY KEY (id),
    CONSTRAINT ck_own_commits_one_row CHECK (id = 1)
) STRICT"""

MESSAGE = "the history is append-only: only pruning deletes, and nothing changes it"
#: REPLACE deletes the row that has the same key, or the same rowid, and fires no trigger for that
#: unless the connection asks for it. New rows belong to the revision that is being made.
NEXT = "(SELECT revision + 1 FROM namespaces WHERE name = NEW.namespace)"
REPLACED = {
    "events": f"NEW.revision IS NOT {NEXT} OR {{same_rowid}}",
    "revisions": f"NEW.revision IS NOT {NEXT} OR {{same_rowid}}"
    " OR EXISTS (SELECT 1 FROM revisions WHERE request_id = NEW.request_id)",
    "manifests": "{same_rowid} OR EXISTS (SELECT 1 FROM manifests"
    " WHERE namespace = NEW.namespace AND digest = NEW.digest)",
}
FENCES = [
    f"CREATE TRIGGER {table}_appended BEFORE INSERT ON {table} WHEN "
    + condition.format(same_rowid=f"EXISTS (SELECT 1 FROM {table} WHERE rowid = NEW.rowid)")
    + f" BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
    for table, condition in REPLACED.items()
]


def joined(view: str) -> str:
    """Return the statement that makes a *view*, with the joins of now."""
    for name, (join, more) in JOINS.items():
        if view.startswith(f"CREATE VIEW {name} "):
            return view.replace(join, f"{join}\n            {more}")
    return view


def texts(op: Operations, kind: str, table: str | None = None) -> list[str]:
    """Return the statements that made the objects of a *kind*, in order of creation."""
    query = sa.text(
        "SELECT sql FROM sqlite_master WHERE type = :kind AND sql IS NOT NULL"
        " AND tbl_name = coalesce(:tbl, tbl_name) ORDER BY rowid"
    )
    return [*op.get_bind().scalars(query, {"kind": kind, "tbl": table})]


def drops(op: Operations, kind: str) -> list[tuple[str, str]]:
    """Return the kind and the name of each object of a *kind*, the last made first."""
    query = sa.text("SELECT type, name FROM sqlite_master WHERE type = :kind ORDER BY rowid DESC")
    return [(found.type, found.name) for found in op.get_bind().execute(query, {"kind": kind})]


def rebuild_table(op: Operations, name: str) -> None:
    """Make the table of that *name* anew, strict, and bring its rows and indexes over."""
    [old], indexes = texts(op, "table", name), texts(op, "index", name)
    copied = op.get_bind().scalars(sa.text(f"SELECT name FROM pragma_table_info('{name}')")).all()
    columns = ", ".join(f'"{column}"' for column in copied)
    added = {"capsules": "created_revision", "grants": "generation"}.get(name)
    into, zero = (f", {added}", ", 0") if added else ("", "")
    op.execute(strict(name, old))
    op.execute(f"INSERT INTO new_{name} ({columns}{into}) SELECT {columns}{zero} FROM {name}")
    op.execute(f"DROP TABLE {name}")
    op.execute(f"ALTER TABLE new_{name} RENAME TO {name}")
    for index in indexes:
        op.execute(index)


def strict(name: str, old: str) -> str:
    """Return the statement *old*, which made a table, for the strict one that takes its place."""
    text = re.sub(rf'CREATE TABLE "?{name}"?', f"CREATE TABLE new_{name}", old, count=1)
    for pattern, replacement in TYPES.items():
        text = re.sub(pattern, replacement, text)
    if name in NEW:
        place, new = NEW[name]
        text = text.replace(place, f"{place}, {new}", 1)
    return f"{text}, STRICT" if text.rstrip().endswith("WITHOUT ROWID") else f"{text} STRICT"


def downgrade(op: Operations) -> None:
    """Undo what `alter` did; a file is brought back from the copy that the upgrade made."""
    if op.get_context().dialect.name == "sqlite":
        raise NotImplementedError("restore the copy that was made before the upgrade")
    for flag in FLAGS:
        op.execute(f"ALTER TABLE uplinks DROP CONSTRAINT IF EXISTS ck_uplinks_{flag}_boolean")
    for view in ("registered_capsules", "live_uuids", "capability_grants"):
        op.execute(f"DROP VIEW {view}")
    op.drop_column("capsules", "created_revision")
    op.drop_index("ix_grants_value", "grants")
    op.drop_column("grants", "generation")
    op.create_index("ix_grants_value", "grants", ["namespace", "capability", "value"])
