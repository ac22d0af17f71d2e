"""
Create every table, index, view and trigger of the registry.

This file never changes once released, and imports nothing from the library. Views are a public
interface: their names, columns and meanings are stable. Each statement can be run again, since
MariaDB commits each at once and an upgrade may be killed.
"""

import sqlalchemy as sa
from alembic.operations import Operations
from sqlalchemy.dialects import mysql, postgresql

revision = "v0001"
down_revision = None
branch_labels = None
depends_on = None
#: The oldest schema version whose library can still run on this one.
oldest_compatible = "v0001"

#: Transactions and foreign keys, and keys of up to 3,072 bytes.
INNODB = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("row_format", "DYNAMIC"))
}
MARIADB_TEXT = {"charset": "utf8mb4", "collation": "utf8mb4_nopad_bin"}


def short_text(length: int) -> sa.String:
    """Return a text type that compares byte by byte, trailing blanks included."""
    return (
        sa.String(length)
        .with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, **MARIADB_TEXT), "mysql", "mariadb")
    )


def long_text() -> sa.Text:
    """Return a text type of any length."""
    return sa.Text().with_variant(mysql.LONGTEXT(**MARIADB_TEXT), "mysql", "mariadb")


def instant() -> sa.DateTime:
    """Return the type of times in UTC: on SQLite 27 characters of ISO 8601 text."""
    return (
        sa.DateTime(timezone=True)
        .with_variant(sa.String(27), "sqlite")
        .with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    )


def uuid() -> sa.Uuid:
    """Return the type of UUIDs: on SQLite canonical text."""
    return sa.Uuid().with_variant(sa.String(36), "sqlite")


def json() -> sa.JSON:
    """Return the type of JSON: on SQLite text, since a type named JSON turns text into numbers."""
    return sa.JSON().with_variant(sa.Text(), "sqlite")


CAPSULE_KEY = ["capsules.namespace", "capsules.id"]
FLAGS = (
    "can_receive",
    "can_send",
    "can_approve",
    "can_elicit",
    "supports_rich_media",
    "supports_threads",
    "supports_buttons",
)
MASK = " + ".join(f"CASE WHEN {flag} THEN {1 << bit} ELSE 0 END" for bit, flag in enumerate(FLAGS))

#: Columns that are null for a reservation.
REGISTERED = (
    "version",
    "manifest",
    "manifest_digest",
    "state",
    "generation",
    "registered_revision",
    "position",
)


def upgrade(op: Operations) -> None:
    """Create everything."""
    history_tables(op)
    registered_tables(op)
    declared_tables(op)
    for name, table, columns in INDEXES:
        op.create_index(name, table, columns, if_not_exists=True)
    for statement in statements(dialect_name(op)):
        op.execute(statement.replace(":", r"\:"))


def create_table(op: Operations, name: str, *items: sa.schema.SchemaItem, **options) -> None:
    """Create a table; on MariaDB whatever the server's defaults are."""
    op.create_table(name, *items, **INNODB, **options)


def history_tables(op: Operations) -> None:
    """Create the append-only tables, and `namespaces`, whose head moves."""
    create_table(
        op,
        "namespaces",
        sa.Column("name", short_text(63), nullable=False),
        sa.Column("incarnation", uuid(), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("head_hash", short_text(64), nullable=False),
        sa.Column("compacted_revision", sa.BigInteger, nullable=False),
        sa.Column("last_commit_at", instant(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_namespaces"),
        sqlite_with_rowid=False,
        if_not_exists=True,
    )
    create_table(
        op,
        "schema_versions",
        sa.Column("version", short_text(32), nullable=False),
        sa.Column("applied_at", instant(), nullable=False),
        sa.Column("library_version", short_text(64), nullable=False),
        sa.Column("oldest_compatible", short_text(32), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_schema_versions"),
        sqlite_with_rowid=False,
        if_not_exists=True,
    )
    create_table(
        op,
        "manifests",
        sa.Column("namespace", short_text(63), nullable=False),
        sa.Column("digest", short_text(64), nullable=False),
        sa.Column("format", short_text(8), nullable=False),
        sa.Column("text", long_text(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "digest", name="pk_manifests"),
        sa.ForeignKeyConstraint(["namespace"], ["namespaces.name"], name="fk_manifests_namespaces"),
        sa.CheckConstraint("format IN ('toml', 'json')", name=op.f("ck_manifests_format_known")),
        if_not_exists=True,
    )
    create_table(
        op,
        "revisions",
        sa.Column("namespace", short_text(63), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("committed_at", instant(), nullable=False),
        sa.Column("actor", short_text(255), nullable=False),
        sa.Column("database_user", short_text(255), nullable=True),
        sa.Column("reason", long_text(), nullable=True),
        sa.Column("request_id", uuid(), nullable=False),
        sa.Column("event_count", sa.Integer, nullable=False),
        sa.Column("previous_hash", short_text(64), nullable=False),
        sa.Column("hash", short_text(64), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "revision", name="pk_revisions"),
        sa.ForeignKeyConstraint(["namespace"], ["namespaces.name"], name="fk_revisions_namespaces"),
        sa.UniqueConstraint("request_id", name="uq_revisions_request_id"),
        if_not_exists=True,
    )
    create_table(
        op,
        "events",
        sa.Column("namespace", short_text(63), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("action", short_text(64), nullable=False),
        sa.Column("kind", short_text(32), nullable=False),
        sa.Column("subject", short_text(128), nullable=False),
        sa.Column("capsule_id", short_text(128), nullable=True),
        sa.Column("old_row", long_text(), nullable=True),
        sa.Column("new_row", long_text(), nullable=True),
        sa.PrimaryKeyConstraint("namespace", "revision", "position", name="pk_events"),
        if_not_exists=True,
    )


def registered_tables(op: Operations) -> None:
    """Create the tables of what is registered now."""
    create_table(
        op,
        "capsules",
        sa.Column("namespace", short_text(63), nullable=False),
        sa.Column("id", short_text(128), nullable=False),
        sa.Column("version", long_text(), nullable=True),
        sa.Column("manifest", json(), nullable=True),
        sa.Column("manifest_digest", short_text(64), nullable=True),
        sa.Column("reported_tools", long_text(), nullable=True),
        sa.Column("source_dir", long_text(), nullable=True),
        sa.Column("state", short_text(16), nullable=True),
        sa.Column("state_reason", long_text(), nullable=True),
        sa.Column("generation", sa.BigInteger, nullable=True),
        sa.Column("registered_revision", sa.BigInteger, nullable=True),
        sa.Column("position", sa.Integer, nullable=True),
        sa.Column("modified_revision", sa.BigInteger, nullable=False),
        sa.Column("registered_at", instant(), nullable=True),
        sa.PrimaryKeyConstraint("namespace", "id", name="pk_capsules"),
        sa.ForeignKeyConstraint(["namespace"], ["namespaces.name"], name="fk_capsules_namespaces"),
        sa.ForeignKeyConstraint(
            ["namespace", "manifest_digest"],
            ["manifests.namespace", "manifests.digest"],
            name="fk_capsules_manifests",
        ),
        sa.CheckConstraint(
            "state IN ('unloaded', 'loading', 'ready', 'failed', 'unloading')",
            name=op.f("ck_capsules_state_known"),
        ),
        sa.CheckConstraint(
            "(registered_at IS NULL AND source_dir IS NULL AND state_reason IS NULL"
            " AND reported_tools IS NULL AND "
            + " AND ".join(f"{column} IS NULL" for column in REGISTERED)
            + ") OR (registered_at IS NOT NULL AND "
            + " AND ".join(f"{column} IS NOT NULL" for column in REGISTERED)
            + ")",
            name=op.f("ck_capsules_reserved_or_registered"),
        ),
        if_not_exists=True,
    )
    create_table(
        op,
        "uplinks",
        sa.Column("namespace", short_text(63), nullable=False),
        sa.Column("id", uuid(), nullable=False),
        sa.Column("capsule_id", short_text(128), nullable=False),
        sa.Column("name", short_text(255), nullable=False),
        sa.Column("platform", short_text(255), nullable=False),
        sa.Column("source_kind", short_text(16), nullable=False),
        sa.Column("source_capsule_id", short_text(128), nullable=True),
        sa.Column("profile", short_text(16), nullable=False),
        sa.Column("can_receive", sa.Boolean, nullable=False),
        sa.Column("can_send", sa.Boolean, nullable=False),
        sa.Column("can_approve", sa.Boolean, nullable=False),
        sa.Column("can_elicit", sa.Boolean, nullable=False),
        sa.Column("supports_rich_media", sa.Boolean, nullable=False),
        sa.Column("supports_threads", sa.Boolean, nullable=False),
        sa.Column("supports_buttons", sa.Boolean, nullable=False),
        sa.Column(
            "capability_mask", sa.SmallInteger, sa.Computed(MASK, persisted=True), nullable=True
        ),
        sa.Column("metadata", json(), nullable=False),
        sa.Column("declared", sa.Boolean, nullable=False),
        sa.Column("created_revision", sa.BigInteger, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("registered_at", instant(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "id", name="pk_uplinks"),
        sa.ForeignKeyConstraint(
            ["namespace", "capsule_id"], CAPSULE_KEY, name="fk_uplinks_capsules", ondelete="CASCADE"
        ),
        sa.CheckConstraint(
            "source_kind IN ('native', 'wasm', 'open_claw')",
            name=op.f("ck_uplinks_source_kind_known"),
        ),
        sa.CheckConstraint(
            "profile IN ('chat', 'interactive', 'notify', 'bridge')",
            name=op.f("ck_uplinks_profile_known"),
        ),
        if_not_exists=True,
    )
    create_table(
        op,
        "leases",
        sa.Column("namespace", short_text(63), nullable=False),
        sa.Column("id", uuid(), nullable=False),
        sa.Column("name", short_text(255), nullable=False),
        sa.Column("host", short_text(255), nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("actor", short_text(255), nullable=False),
        sa.Column("ttl_ms", sa.BigInteger, nullable=False),
        sa.Column("opened_at", instant(), nullable=False),
        sa.Column("opened_revision", sa.BigInteger, nullable=False),
        sa.Column("expires_at", instant(), nullable=False),
        sa.Column("boot_id", short_text(36), nullable=True),
        sa.Column("expires_uptime_ms", sa.BigInteger, nullable=True),
        sa.Column("expired_at", instant(), nullable=True),
        sa.PrimaryKeyConstraint("namespace", "id", name="pk_leases"),
        sa.ForeignKeyConstraint(["namespace"], ["namespaces.name"], name="fk_leases_namespaces"),
        if_not_exists=True,
    )
    create_table(
        op,
        "uuid_mappings",
        sa.Column("namespace", short_text(63), nullable=False),
        sa.Column("uuid", uuid(), nullable=False),
        sa.Column("capsule_id", short_text(128), nullable=False),
        sa.Column("lease_id", uuid(), nullable=True),
        sa.Column("registered_at", instant(), nullable=False),
        sa.Column("created_revision", sa.BigInteger, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("namespace", "uuid", name="pk_uuid_mappings"),
        sa.ForeignKeyConstraint(
            ["namespace", "capsule_id"],
            CAPSULE_KEY,
            name="fk_uuid_mappings_capsules",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["namespace", "lease_id"],
            ["leases.namespace", "leases.id"],
            name="fk_uuid_mappings_leases",
            ondelete="CASCADE",
        ),
        if_not_exists=True,
    )


def declared_tables(op: Operations) -> None:
    """Create the projections of the manifests."""
    create_table(
        op,
        "tools",
        sa.Column("namespace", short_text(63), nullable=False),
        sa.Column("capsule_id", short_text(128), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("name", short_text(255), nullable=False),
        sa.Column("description", long_text(), nullable=False),
        sa.Column("input_schema", json(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "capsule_id", "position", name="pk_tools"),
        sa.ForeignKeyConstraint(
            ["namespace", "capsule_id"], CAPSULE_KEY, name="fk_tools_capsules", ondelete="CASCADE"
        ),
        if_not_exists=True,
    )
    create_table(
        op,
        "grants",
        sa.Column("namespace", short_text(63), nullable=False),
        sa.Column("capsule_id", short_text(128), nullable=False),
        sa.Column("capability", short_text(32), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("value", short_text(512), nullable=False),
        sa.PrimaryKeyConstraint(
            "namespace", "capsule_id", "capability", "position", name="pk_grants"
        ),
        sa.ForeignKeyConstraint(
            ["namespace", "capsule_id"], CAPSULE_KEY, name="fk_grants_capsules", ondelete="CASCADE"
        ),
        sqlite_with_rowid=False,
        if_not_exists=True,
    )
    derived_table(
        op,
        "interceptors",
        sa.Column("event", short_text(512), nullable=False),
        sa.Column("action", long_text(), nullable=False),
    )
    for name in ("provisions", "requirements"):
        derived_table(
            op,
            name,
            sa.Column("kind", short_text(32), nullable=False),
            sa.Column("capability", short_text(1024), nullable=False),
        )


def derived_table(op: Operations, name: str, *columns: sa.Column) -> None:
    """Create a table with one row for each entry of a manifest."""
    create_table(
        op,
        name,
        sa.Column("namespace", short_text(63), nullable=False),
        sa.Column("capsule_id", short_text(128), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("namespace", "capsule_id", "position", name=f"pk_{name}"),
        sa.ForeignKeyConstraint(
            ["namespace", "capsule_id"],
            CAPSULE_KEY,
            name=f"fk_{name}_capsules",
            ondelete="CASCADE",
        ),
        if_not_exists=True,
    )


INDEXES = (
    ("ix_capsules_manifest_digest", "capsules", ["namespace", "manifest_digest"]),
    ("ix_capsules_order", "capsules", ["namespace", "registered_revision", "position"]),
    ("ix_capsules_state", "capsules", ["namespace", "state", "registered_revision", "position"]),
    ("ix_events_capsule_id", "events", ["namespace", "capsule_id", "revision"]),
    ("ix_events_subject", "events", ["namespace", "kind", "subject", "revision"]),
    ("ix_grants_value", "grants", ["namespace", "capability", "value"]),
    ("ix_interceptors_event", "interceptors", ["namespace", "event"]),
    ("ix_leases_expires_at", "leases", ["namespace", "expires_at"]),
    ("ix_provisions_kind", "provisions", ["namespace", "kind"]),
    ("ix_requirements_kind", "requirements", ["namespace", "kind"]),
    ("ix_revisions_committed_at", "revisions", ["namespace", "committed_at"]),
    ("ix_tools_name", "tools", ["namespace", "name"]),
    ("ix_uplinks_capability_mask", "uplinks", ["namespace", "capability_mask"]),
    (
        "ix_uplinks_capsule_id",
        "uplinks",
        ["namespace", "capsule_id", "created_revision", "position"],
    ),
    ("ix_uplinks_order", "uplinks", ["namespace", "created_revision", "position"]),
    ("ix_uplinks_platform", "uplinks", ["namespace", "platform", "created_revision", "position"]),
    ("ix_uplinks_profile", "uplinks", ["namespace", "profile"]),
    (
        "ix_uuid_mappings_capsule_id",
        "uuid_mappings",
        ["namespace", "capsule_id", "created_revision", "position"],
    ),
    ("ix_uuid_mappings_lease_id", "uuid_mappings", ["namespace", "lease_id"]),
)

#: Expressions that differ between databases: a member of a row image as text, as a number and as a
#: time, and the current time.
EXPRESSIONS = {
    "sqlite": {
        "text": "json_extract({row}, '$.{name}')",
        "number": "json_extract({row}, '$.{name}')",
        "time": "json_extract({row}, '$.{name}')",
        "now": "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')",
    },
    "postgresql": {
        "text": "({row}::json ->> '{name}')",
        "number": "({row}::json ->> '{name}')::bigint",
        "time": "({row}::json ->> '{name}')::timestamptz",
        "now": "clock_timestamp()",
    },
    "mariadb": {
        "text": "JSON_VALUE({row}, '$.{name}')",
        "number": "CAST(JSON_VALUE({row}, '$.{name}') AS SIGNED)",
        "time": "CAST(LEFT(REPLACE(JSON_VALUE({row}, '$.{name}'), 'T', ' '), 26) AS DATETIME(6))",
        "now": "UTC_TIMESTAMP(6)",
    },
}

VIEWS = {
    "registered_capsules": """
        SELECT capsules.namespace, capsules.id, capsules.version, capsules.state,
            capsules.state_reason, capsules.generation, capsules.registered_revision,
            capsules.modified_revision, capsules.registered_at, capsules.source_dir,
            capsules.manifest_digest,
            (SELECT count(*) FROM uplinks WHERE uplinks.namespace = capsules.namespace
                AND uplinks.capsule_id = capsules.id) AS uplink_count,
            (SELECT count(*) FROM live_uuids WHERE live_uuids.namespace = capsules.namespace
                AND live_uuids.capsule_id = capsules.id) AS uuid_count,
            (SELECT count(*) FROM tools WHERE tools.namespace = capsules.namespace
                AND tools.capsule_id = capsules.id) AS tool_count
        FROM capsules
        WHERE capsules.registered_at IS NOT NULL""",
    "live_uuids": """
        SELECT uuid_mappings.namespace, uuid_mappings.uuid, uuid_mappings.capsule_id,
            capsules.state, capsules.generation, uuid_mappings.lease_id, leases.expires_at,
            uuid_mappings.registered_at
        FROM uuid_mappings
        JOIN capsules ON capsules.namespace = uuid_mappings.namespace
            AND capsules.id = uuid_mappings.capsule_id
        LEFT JOIN leases ON leases.namespace = uuid_mappings.namespace
            AND leases.id = uuid_mappings.lease_id
        WHERE uuid_mappings.lease_id IS NULL OR leases.expires_at > {now}""",
    "audit_log": """
        SELECT revisions.namespace, revisions.revision, events.position, revisions.committed_at,
            revisions.actor, revisions.database_user, revisions.reason, events.action,
            events.kind, events.subject, events.capsule_id, events.old_row, events.new_row
        FROM revisions
        JOIN events ON events.namespace = revisions.namespace
            AND events.revision = revisions.revision""",
    # A step is a revision after which the capsule has another generation than before, or none; the
    # last event of a revision counts.
    "capsule_history": """
        SELECT step.namespace, step.capsule_id, step.generation, step.until_revision,
            step.from_time, ending.committed_at AS until_time, step.version,
            step.manifest_digest, beginning.actor AS begun_by, beginning.reason AS begun_reason,
            ending.actor AS ended_by, ending.reason AS ended_reason,
            CASE WHEN step.until_revision IS NULL THEN NULL
                WHEN step.replaced_by IS NOT NULL THEN 'replaced' ELSE 'removed' END AS ended_how
        FROM (
            SELECT image.*,
                lead(image.revision) OVER steps AS until_revision,
                lead(image.generation) OVER steps AS replaced_by
            FROM (
                SELECT last_event.*, lag(last_event.generation) OVER (
                    PARTITION BY last_event.namespace, last_event.capsule_id
                    ORDER BY last_event.revision) AS generation_before
                FROM (
                    SELECT events.namespace, events.subject AS capsule_id, events.revision,
                        {version} AS version, {digest} AS manifest_digest,
                        {registered_at} AS from_time, {generation} AS generation,
                        lead(events.revision) OVER (PARTITION BY events.namespace, events.subject
                            ORDER BY events.revision, events.position) AS next_event
                    FROM events
                    WHERE events.kind = 'capsules'
                ) AS last_event
                WHERE last_event.next_event IS NULL
                    OR last_event.next_event > last_event.revision
            ) AS image
            WHERE coalesce(image.generation, 0) <> coalesce(image.generation_before, 0)
            WINDOW steps AS (PARTITION BY image.namespace, image.capsule_id
                ORDER BY image.revision)
        ) AS step
        LEFT JOIN revisions AS beginning ON beginning.namespace = step.namespace
            AND beginning.revision = step.generation
        LEFT JOIN revisions AS ending ON ending.namespace = step.namespace
            AND ending.revision = step.until_revision
        WHERE step.generation IS NOT NULL""",
    "capability_grants": """
        SELECT grants.namespace, grants.capability, grants.value, grants.capsule_id,
            capsules.version, capsules.state, capsules.generation
        FROM grants
        JOIN capsules ON capsules.namespace = grants.namespace
            AND capsules.id = grants.capsule_id""",
    "tool_index": """
        SELECT tools.namespace, tools.name, tools.capsule_id, tools.description,
            tools.input_schema, capsules.version, capsules.state
        FROM tools
        JOIN capsules ON capsules.namespace = tools.namespace
            AND capsules.id = tools.capsule_id""",
}
#: The order of creation: a view before those that read it.
ORDER = (
    "live_uuids",
    "registered_capsules",
    "audit_log",
    "capsule_history",
    "capability_grants",
    "tool_index",
)

MESSAGE = "the history is append-only: only pruning deletes, and nothing changes it"
#: Rows up to the mark of pruning may be deleted.
IS_PRUNED = "OLD.revision <= (SELECT compacted_revision FROM namespaces WHERE name = OLD.namespace)"
#: A namespace whose whole history is pruned is being dropped.
IS_DROPPED = "(SELECT compacted_revision >= revision FROM namespaces WHERE name = OLD.namespace)"


def view_statements(dialect: str) -> list[str]:
    """Return the statements that create the views; they can be run again."""
    expressions = EXPRESSIONS[dialect]
    image = {"row": "events.new_row"}
    values = {
        "now": expressions["now"],
        "version": expressions["text"].format(**image, name="version"),
        "digest": expressions["text"].format(**image, name="manifest_digest"),
        "generation": expressions["number"].format(**image, name="generation"),
        "registered_at": expressions["time"].format(**image, name="registered_at"),
    }
    create = {
        "sqlite": "CREATE VIEW IF NOT EXISTS",
        "postgresql": "CREATE OR REPLACE VIEW",
        # Whoever made it may be gone; who reads it needs the right to read its tables.
        "mariadb": "CREATE OR REPLACE SQL SECURITY INVOKER VIEW",
    }[dialect]
    return [f"{create} {name} AS{VIEWS[name].format(**values)}" for name in ORDER]


def fence_statements(dialect: str) -> list[str]:
    """Return the statements that create the append-only triggers; they can be run again."""
    return {"sqlite": sqlite_fences, "postgresql": postgresql_fences, "mariadb": mariadb_fences}[
        dialect
    ]()


def sqlite_fences() -> list[str]:
    """Return triggers that abort the statement."""
    refuse = f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
    create = "CREATE TRIGGER IF NOT EXISTS"
    return (
        [
            f"{create} {table}_unchanged BEFORE UPDATE ON {table} {refuse}"
            for table in ("events", "revisions", "manifests")
        ]
        + [
            f"{create} {table}_kept BEFORE DELETE ON {table} WHEN NOT {IS_PRUNED} {refuse}"
            for table in ("events", "revisions")
        ]
        + [f"{create} manifests_kept BEFORE DELETE ON manifests WHEN NOT {IS_DROPPED} {refuse}"]
    )


def postgresql_fences() -> list[str]:
    """
    Return a function that raises, and triggers that call it.

    It reads `namespaces` beside the table that it guards, whatever the search path of the session.
    """
    ask = """EXECUTE format('SELECT {} FROM %I.namespaces WHERE name = $1', TG_TABLE_SCHEMA)
                    INTO {} USING OLD.namespace"""
    function = f"""
        CREATE OR REPLACE FUNCTION capsule_registry_fence() RETURNS trigger AS $$
        DECLARE
            pruned bigint;
            dropped boolean;
        BEGIN
            IF TG_OP = 'DELETE' AND TG_LEVEL = 'ROW' THEN
                IF TG_TABLE_NAME = 'manifests' THEN
                    {ask.format("compacted_revision >= revision", "dropped")};
                    IF dropped THEN
                        RETURN OLD;
                    END IF;
                ELSE
                    {ask.format("compacted_revision", "pruned")};
                    IF OLD.revision <= pruned THEN
                        RETURN OLD;
                    END IF;
                END IF;
            END IF;
            RAISE EXCEPTION '{MESSAGE}' USING ERRCODE = 'insufficient_privilege';
        END
        $$ LANGUAGE plpgsql"""
    call = "EXECUTE FUNCTION capsule_registry_fence()"
    create = "CREATE OR REPLACE TRIGGER"
    return [
        function,
        *(
            f"{create} {table}_unchanged BEFORE UPDATE ON {table} FOR EACH ROW {call}"
            for table in ("events", "revisions", "manifests")
        ),
        *(
            f"{create} {table}_kept BEFORE DELETE ON {table} FOR EACH ROW {call}"
            for table in ("events", "revisions", "manifests")
        ),
        *(
            f"CREATE OR REPLACE TRIGGER {table}_not_emptied BEFORE TRUNCATE ON {table} {call}"
            for table in ("events", "revisions", "manifests")
        ),
    ]


def mariadb_fences() -> list[str]:
    """Return triggers that signal an error."""
    refuse = f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{MESSAGE}'"
    create = "CREATE OR REPLACE TRIGGER"
    return [
        f"{create} {table}_unchanged BEFORE UPDATE ON {table} FOR EACH ROW {refuse}"
        for table in ("events", "revisions", "manifests")
    ] + [
        f"{create} {table}_kept BEFORE DELETE ON {table} FOR EACH ROW"
        f" IF NOT {IS_DROPPED if table == 'manifests' else IS_PRUNED} THEN {refuse}; END IF"
        for table in ("events", "revisions", "manifests")
    ]


#: How many rows of the change log are kept, and every how many rows the rest is deleted. A reader
#: that is further behind drops its whole cache.
KEPT, EVERY = 10_000, 1_000

#: The column of each table whose value is logged. A grant is logged as its capsule; a logged
#: manifest drops all cached capsules.
KEYS = {"capsules": "id", "grants": "capsule_id", "manifests": "digest", "uuid_mappings": "uuid"}


def log(row: str, kind: str, key: str) -> str:
    """Return a statement that logs one row."""
    return (
        "INSERT INTO cache_log (namespace, kind, key)"
        f" VALUES ({row}.namespace, '{kind}', {row}.{key});"
    )


def log_statements() -> list[str]:
    """Return the statements that create the change log, for cached lookups on SQLite."""
    made = [
        """CREATE TABLE IF NOT EXISTS cache_log (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    namespace VARCHAR(63) NOT NULL,
    kind VARCHAR(32) NOT NULL,
    "key" VARCHAR(128) NOT NULL
)""",
        f"""CREATE TRIGGER IF NOT EXISTS cache_log_pruned AFTER INSERT ON cache_log
WHEN NEW.seq % {EVERY} = 0
BEGIN DELETE FROM cache_log WHERE seq <= NEW.seq - {KEPT}; END""",
    ]
    for table, key in KEYS.items():
        kind = "capsules" if table == "grants" else table
        old, new = log("OLD", kind, key), log("NEW", kind, key)
        for verb, logged in (("INSERT", new), ("UPDATE", f"{old} {new}"), ("DELETE", old)):
            name = f"{table}_{verb.lower()}_logged"
            made.append(
                f"CREATE TRIGGER IF NOT EXISTS {name} AFTER {verb} ON {table}\nBEGIN {logged} END"
            )
    # Renewals are not logged: they invalidate no cache.
    gone = log("OLD", "leases", "id")
    create = "CREATE TRIGGER IF NOT EXISTS"
    made.append(f"{create} leases_delete_logged AFTER DELETE ON leases\nBEGIN {gone} END")
    made.append(f"""{create} leases_update_logged AFTER UPDATE ON leases
WHEN NEW.namespace IS NOT OLD.namespace OR NEW.id IS NOT OLD.id
    OR NEW.boot_id IS NOT OLD.boot_id
    OR coalesce(NEW.expires_at < OLD.expires_at, 1)
    OR (NEW.expires_uptime_ms IS NOT OLD.expires_uptime_ms
        AND coalesce(NEW.expires_uptime_ms < OLD.expires_uptime_ms, 1))
BEGIN {gone} END""")
    return made


def statements(dialect: str) -> list[str]:
    """Return the statements that create the views and triggers, in order."""
    log_of_changes = log_statements() if dialect == "sqlite" else []
    return [*view_statements(dialect), *fence_statements(dialect), *log_of_changes]


def downgrade(op: Operations) -> None:
    """Drop everything."""
    dialect = dialect_name(op)
    for name in reversed(ORDER):
        op.execute(f"DROP VIEW IF EXISTS {name}")
    if dialect == "sqlite":
        op.execute("DROP TABLE cache_log")
    for table in (
        *("requirements", "provisions", "interceptors", "grants", "tools"),
        *("uuid_mappings", "uplinks", "capsules", "leases"),
        *("events", "revisions", "manifests", "schema_versions", "namespaces"),
    ):
        op.drop_table(table)
    if dialect == "postgresql":
        op.execute("DROP FUNCTION IF EXISTS capsule_registry_fence()")


def dialect_name(op: Operations) -> str:
    """Return the name of the dialect, as in `EXPRESSIONS`."""
    name = op.get_context().dialect.name
    return "mariadb" if name == "mysql" else name
