"""
Say who is called for a topic, which tools are known, who imports what, and what a revision adds.

Of what is registered already, routes are made of its topics and interceptors. Commands, imports,
exports and artifacts of it are filed once its manifest is read anew.
"""

import sqlalchemy as sa
from alembic.operations import Operations
from sqlalchemy.dialects import mysql, postgresql

revision = "v0005"
down_revision = "v0004"
branch_labels = None
depends_on = None
#: The oldest schema version whose library can still run on this one: an older one would not file
#: these rows.
oldest_compatible = "v0005"

CAPSULE = ["namespace", "capsule_id"]
CAPSULES_KEY = ["capsules.namespace", "capsules.id"]
MARIADB_TEXT = {"charset": "utf8mb4", "collation": "utf8mb4_nopad_bin"}
FLAGS = ("schema_known", "routed", "mutable")
NEW_TABLES = ("routes", "unknown_tools", "commands", "imports", "exports", "artifacts")


def short_text(length: int) -> sa.String:
    """Return a text type that compares byte by byte, trailing blanks included."""
    return (
        sa.String(length)
        .with_variant(sa.Text(), "sqlite")
        .with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, **MARIADB_TEXT), "mysql", "mariadb")
    )


def long_text() -> sa.Text:
    """Return a text type of any length."""
    return sa.Text().with_variant(mysql.LONGTEXT(**MARIADB_TEXT), "mysql", "mariadb")


BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
FLAG = sa.Boolean().with_variant(sa.Integer(), "sqlite")

ROUTES = """
    INSERT INTO routes (namespace, capsule_id, position, direction, topic, matching, place, handler,
        priority, fanout)
    SELECT namespace, capsule_id, row_number() OVER (
            PARTITION BY namespace, capsule_id ORDER BY direction, group_number, position) - 1,
        direction, topic, matching, place, handler, priority, FALSE
    FROM (
        SELECT namespace, capsule_id, position, 0 AS group_number,
            CASE capability WHEN 'ipc_publish' THEN 'publish' ELSE 'subscribe' END AS direction,
            value AS topic, matching, place, NULL AS handler, NULL AS priority
        FROM grants WHERE counts AND capability IN ('ipc_publish', 'ipc_subscribe')
        UNION ALL
        SELECT namespace, capsule_id, position, 1, 'subscribe', event, 'segments', 'interceptor',
            action, priority
        FROM interceptors
    ) AS stated
    WHERE NOT EXISTS (SELECT 1 FROM routes)"""
UNKNOWN_TOOLS = """
    INSERT INTO unknown_tools (namespace, capsule_id)
    SELECT namespace, id FROM capsules
    WHERE registered_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM unknown_tools)
        AND NOT EXISTS (SELECT 1 FROM tools
            WHERE tools.namespace = capsules.namespace AND tools.capsule_id = capsules.id)"""
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
        capsules.form, capsules.rules{}
    FROM capsules
    WHERE capsules.registered_at IS NOT NULL"""
AUDIT_LOG = """
    SELECT revisions.namespace, revisions.revision, events.position, revisions.committed_at,
        revisions.actor, revisions.database_user, revisions.reason, events.action,
        events.kind, events.subject, events.capsule_id, events.old_row, events.new_row{}
    FROM revisions
    JOIN events ON events.namespace = revisions.namespace
        AND events.revision = revisions.revision"""
TOOL_INDEX = """
    SELECT tools.namespace, tools.name, tools.capsule_id, tools.description,
        tools.input_schema, capsules.version, capsules.state{}
    FROM tools
    JOIN capsules ON capsules.namespace = tools.namespace
        AND capsules.id = tools.capsule_id"""
#: By name: the views that are made anew, as they become and as they were.
CHANGED_VIEWS = {
    "registered_capsules": (
        REGISTERED_CAPSULES.format(
            """,
        CASE
            WHEN EXISTS (SELECT 1 FROM unknown_tools
                WHERE unknown_tools.namespace = capsules.namespace
                    AND unknown_tools.capsule_id = capsules.id) THEN 'unknown'
            WHEN EXISTS (SELECT 1 FROM tools WHERE tools.namespace = capsules.namespace
                AND tools.capsule_id = capsules.id) THEN 'known'
            ELSE 'none' END AS tools,
        capsules.restored_generation"""
        ),
        REGISTERED_CAPSULES.format(""),
    ),
    "audit_log": (AUDIT_LOG.format(", events.changes"), AUDIT_LOG.format("")),
    "tool_index": (
        TOOL_INDEX.format(
            ", tools.schema_known,\n        tools.input_schema_wit, tools.routed, tools.mutable"
        ),
        TOOL_INDEX.format(""),
    ),
}


NEW_VIEWS = {
    "topic_routes": """
    SELECT routes.namespace, routes.topic, routes.direction, routes.handler, routes.priority,
        routes.capsule_id, capsules.state, capsules.version, routes.matching, routes.place,
        routes.wit, routes.pin_kind, routes.pin, routes.fanout
    FROM routes
    JOIN capsules ON capsules.namespace = routes.namespace AND capsules.id = routes.capsule_id""",
    "command_index": """
    SELECT commands.namespace, commands.name, commands.kind, commands.capsule_id,
        capsules.state, capsules.version, commands.description
    FROM commands
    JOIN capsules ON capsules.namespace = commands.namespace
        AND capsules.id = commands.capsule_id""",
    "artifact_index": """
    SELECT artifacts.namespace, artifacts.hash, artifacts.kind, artifacts.name, artifacts.file,
        artifacts.capsule_id, capsules.state, capsules.version, capsules.generation
    FROM artifacts
    JOIN capsules ON capsules.namespace = artifacts.namespace
        AND capsules.id = artifacts.capsule_id AND capsules.generation = artifacts.generation""",
    "import_exporters": """
    SELECT imports.namespace, imports.capsule_id, capsules.state, imports.interface,
        imports.requirement, imports.optional, exports.capsule_id AS exporter,
        exporters.state AS exporter_state, exports.version AS exported_version
    FROM imports
    JOIN capsules ON capsules.namespace = imports.namespace AND capsules.id = imports.capsule_id
    LEFT JOIN exports ON exports.namespace = imports.namespace
        AND exports.interface = imports.interface AND exports.capsule_id <> imports.capsule_id
    LEFT JOIN capsules AS exporters ON exporters.namespace = exports.namespace
        AND exporters.id = exports.capsule_id""",
}
#: What takes the JSON of a revision's changes apart: the table of its entries, and their members.
ENTRIES = {
    "sqlite": (
        "JOIN json_each(events.changes) AS entry",
        "json_extract(entry.value, '$[{}]')",
    ),
    "postgresql": (
        "CROSS JOIN LATERAL json_array_elements(events.changes::json) AS entry(value)",
        "(entry.value ->> {})",
    ),
    # No `json_table`: with it the server writes the database's name into the view, which a dump
    # then takes along. The sequence is a table of the server's own, in any database.
    "mariadb": (
        "JOIN seq_0_to_65535 AS entry ON entry.seq < json_length(events.changes)",
        "json_value(events.changes, concat('$[', entry.seq, '][{}]'))",
    ),
}
CREATE = {
    "sqlite": "CREATE VIEW",
    "postgresql": "CREATE OR REPLACE VIEW",
    "mariadb": "CREATE OR REPLACE SQL SECURITY INVOKER VIEW",
}


def right_changes(dialect: str) -> str:
    """Return the view of the rights that came and went."""
    entries, member = ENTRIES[dialect]
    change, part, name, value, matching = (member.format(number) for number in range(5))
    return f"""
    SELECT events.namespace, events.revision, revisions.committed_at, revisions.actor,
        revisions.database_user, revisions.reason, events.action, events.capsule_id,
        {change} AS change_kind, {name} AS capability, {value} AS value, {matching} AS matching
    FROM events
    JOIN revisions ON revisions.namespace = events.namespace
        AND revisions.revision = events.revision
    {entries}
    WHERE events.changes IS NOT NULL AND {part} IN ('right', 'topic')"""


def upgrade(op: Operations) -> None:
    """Add the tables and columns, fill what follows from rows, and make the views."""
    dialect = op.get_context().dialect.name
    if dialect == "sqlite":
        for view in CHANGED_VIEWS:
            op.execute(f"DROP VIEW {view}")
    new_tables(op)
    new_columns(op, dialect)
    op.execute(ROUTES)
    op.execute(UNKNOWN_TOOLS)
    for name, (text, _) in CHANGED_VIEWS.items():
        op.execute(f"{CREATE[dialect]} {name} AS{text}")
    for name, text in (NEW_VIEWS | {"right_changes": right_changes(dialect)}).items():
        op.execute(f"{CREATE[dialect]} {name} AS{text}".replace(":", r"\:"))


def create_table(
    op: Operations, name: str, *items: sa.schema.SchemaItem, key: str = "position", **options
) -> None:
    """Create a table of what a capsule declares."""
    keys = [*CAPSULE, key] if key else CAPSULE
    innodb = {
        f"{dialect}_{option}": value
        for dialect in ("mysql", "mariadb")
        for option, value in (("engine", "InnoDB"), ("row_format", "DYNAMIC"))
    }
    op.create_table(
        name,
        sa.Column("namespace", short_text(63), nullable=False),
        sa.Column("capsule_id", short_text(128), nullable=False),
        *([sa.Column(key, sa.Integer, nullable=False)] if key else []),
        *items,
        sa.PrimaryKeyConstraint(*keys, name=f"pk_{name}"),
        sa.ForeignKeyConstraint(
            CAPSULE, CAPSULES_KEY, name=f"fk_{name}_capsules", ondelete="CASCADE"
        ),
        sqlite_strict=True,
        if_not_exists=True,
        **innodb,
        **options,
    )


def is_one_of(op: Operations, table: str, name: str, condition: str) -> sa.CheckConstraint:
    """Return a constraint."""
    return sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}"))


def new_tables(op: Operations) -> None:
    """Create the tables of what manifests say beyond rights and tools."""

    def flag(table: str, name: str) -> list[sa.schema.SchemaItem]:
        is_flag = is_one_of(op, table, f"{name}_boolean", f"{name} IN (FALSE, TRUE)")
        return [sa.Column(name, FLAG, nullable=False), is_flag]

    create_table(
        op,
        "routes",
        sa.Column("direction", short_text(16), nullable=False),
        sa.Column("topic", short_text(512), nullable=False),
        sa.Column("matching", short_text(16), nullable=False),
        sa.Column("place", short_text(16), nullable=False),
        sa.Column("handler", long_text(), nullable=True),
        sa.Column("priority", BIG, nullable=True),
        sa.Column("wit", long_text(), nullable=True),
        sa.Column("pin_kind", short_text(16), nullable=True),
        sa.Column("pin", long_text(), nullable=True),
        *flag("routes", "fanout"),
        is_one_of(op, "routes", "direction_known", "direction IN ('publish', 'subscribe')"),
    )
    create_table(
        op,
        "unknown_tools",
        key="",
        sqlite_with_rowid=False,
    )
    create_table(
        op,
        "commands",
        sa.Column("name", short_text(255), nullable=False),
        sa.Column("kind", short_text(8), nullable=False),
        sa.Column("description", long_text(), nullable=True),
        is_one_of(op, "commands", "kind_known", "kind IN ('slash', 'cli')"),
    )
    create_table(
        op,
        "imports",
        sa.Column("interface", short_text(512), nullable=False),
        sa.Column("requirement", long_text(), nullable=False),
        *flag("imports", "optional"),
    )
    create_table(
        op,
        "exports",
        sa.Column("interface", short_text(512), nullable=False),
        sa.Column("version", long_text(), nullable=False),
    )
    create_table(
        op,
        "artifacts",
        sa.Column("generation", BIG, nullable=False),
        sa.Column("kind", short_text(16), nullable=False),
        sa.Column("name", long_text(), nullable=False),
        sa.Column("file", long_text(), nullable=False),
        sa.Column("hash", short_text(255), nullable=False),
        is_one_of(op, "artifacts", "kind_known", "kind IN ('component', 'asset')"),
    )
    for name, table, columns in (
        ("ix_routes_topic", "routes", ["namespace", "direction", "topic"]),
        ("ix_commands_name", "commands", ["namespace", "name"]),
        ("ix_imports_interface", "imports", ["namespace", "interface"]),
        ("ix_exports_interface", "exports", ["namespace", "interface"]),
        ("ix_artifacts_hash", "artifacts", ["namespace", "hash"]),
    ):
        op.create_index(name, table, columns, if_not_exists=True)


def new_columns(op: Operations, dialect: str) -> None:
    """Add the columns: what a revision changes, where a capsule came from, what a tool is."""
    long = LONG[dialect]
    wide = {"sqlite": "INTEGER", "postgresql": "BIGINT", "mariadb": "BIGINT"}[dialect]
    flag = {"sqlite": "INTEGER", "postgresql": "BOOLEAN", "mariadb": "BOOL"}[dialect]
    unless = "" if dialect == "sqlite" else "IF NOT EXISTS "
    op.execute(f"ALTER TABLE events ADD COLUMN {unless}changes {long}")
    op.execute(f"ALTER TABLE capsules ADD COLUMN {unless}restored_generation {wide}")
    if dialect == "sqlite":
        rebuild_tools(op, "", NEW_OF_TOOLS, ", NULL, TRUE, TRUE, FALSE")
        return
    op.execute(f"ALTER TABLE tools ADD COLUMN IF NOT EXISTS input_schema_wit {long}")
    for name, first in zip(FLAGS, ("TRUE", "TRUE", "FALSE"), strict=True):
        op.execute(
            f"ALTER TABLE tools ADD COLUMN IF NOT EXISTS {name} {flag} DEFAULT {first} NOT NULL"
        )
        op.execute(f"ALTER TABLE tools ALTER COLUMN {name} DROP DEFAULT")
        constraint = f"ck_tools_{name}_boolean"
        op.execute(f"ALTER TABLE tools DROP CONSTRAINT IF EXISTS {constraint}")
        op.execute(f"ALTER TABLE tools ADD CONSTRAINT {constraint} CHECK ({name} IN (FALSE, TRUE))")
    if dialect == "postgresql":
        op.execute("ALTER TABLE tools ALTER COLUMN description DROP NOT NULL")
    else:
        op.execute(f"ALTER TABLE tools MODIFY description {long}")


LONG = {
    "sqlite": "TEXT",
    "postgresql": "TEXT",
    "mariadb": "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
}
#: The columns of `tools` in a file until now, and its keys.
TOOLS = (
    "namespace TEXT NOT NULL",
    "capsule_id TEXT NOT NULL",
    "position INTEGER NOT NULL",
    "name TEXT NOT NULL",
    "description TEXT{}",
    "input_schema TEXT NOT NULL",
)
TOOL_KEYS = (
    "CONSTRAINT pk_tools PRIMARY KEY (namespace, capsule_id, position)",
    (
        "CONSTRAINT fk_tools_capsules FOREIGN KEY(namespace, capsule_id)"
        " REFERENCES capsules (namespace, id) ON DELETE CASCADE"
    ),
)
#: Each flag with its check beside it: so it can be dropped.
NEW_OF_TOOLS = (
    "input_schema_wit TEXT",
    *(
        f"{flag} INTEGER NOT NULL"
        f" CONSTRAINT ck_tools_{flag}_boolean CHECK ({flag} IN (FALSE, TRUE))"
        for flag in FLAGS
    ),
)


def rebuild_tools(op: Operations, nulls: str, new: tuple[str, ...], first: str) -> None:
    """Make `tools` of a file anew: there, a column cannot be made to take null, or not to."""
    columns = [one.format(nulls) for one in TOOLS]
    body = ",\n\t".join([*columns, *new, *TOOL_KEYS])
    op.execute(f"CREATE TABLE new_tools (\n\t{body}\n) STRICT")
    kept = ", ".join(one.partition(" ")[0] for one in columns)
    names = "".join(f", {one.partition(' ')[0]}" for one in new)
    op.execute(f"INSERT INTO new_tools ({kept}{names}) SELECT {kept}{first} FROM tools")
    op.execute("DROP TABLE tools")
    op.execute("ALTER TABLE new_tools RENAME TO tools")
    op.create_index("ix_tools_name", "tools", ["namespace", "name"])


def downgrade(op: Operations) -> None:
    """Remove the tables and columns, and make the views as they were."""
    dialect = op.get_context().dialect.name
    if not op.get_context().as_sql:
        kept = op.get_bind().execute(sa.text("SELECT 1 FROM events WHERE changes IS NOT NULL"))
        if kept.first() is not None:
            raise NotImplementedError("the history would not verify: restore a copy from before")
    for view in (*NEW_VIEWS, "right_changes", *CHANGED_VIEWS):
        op.execute(f"DROP VIEW {view}")
    for table in NEW_TABLES:
        op.drop_table(table)
    op.execute("DELETE FROM tools WHERE description IS NULL")
    if dialect == "sqlite":
        rebuild_tools(op, " NOT NULL", (), "")
    else:
        for name in FLAGS:
            op.execute(f"ALTER TABLE tools DROP CONSTRAINT IF EXISTS ck_tools_{name}_boolean")
        for name in ("input_schema_wit", *FLAGS):
            op.drop_column("tools", name)
        null = "ALTER COLUMN description SET NOT NULL"
        if dialect == "mariadb":
            null = f"MODIFY description {LONG[dialect]} NOT NULL"
        op.execute(f"ALTER TABLE tools {null}")
    op.drop_column("capsules", "restored_generation")
    op.drop_column("events", "changes")
    for name, (_, text) in CHANGED_VIEWS.items():
        op.execute(f"{CREATE[dialect]} {name} AS{text}")
