"""
Views for people, and triggers that keep the history as it was written.

Views are a public interface: what they are called, their columns and what those mean stay.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
#: The oldest schema version whose library can still run on this one.
oldest_compatible = "0001"

#: What differs from one database to another: a member of a row image as text, as a number and as a
#: time, and the time of now.
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
    # A step is where another generation is there than before, or none any more.
    "capsule_history": """
        SELECT step.namespace, step.capsule_id, step.generation, step.until_revision,
            step.from_time, ending.committed_at AS until_time, step.version,
            step.manifest_digest, beginning.actor AS begun_by, beginning.reason AS begun_reason,
            ending.actor AS ended_by, ending.reason AS ended_reason,
            CASE WHEN step.until_revision IS NULL THEN NULL
                WHEN step.replaced_by IS NOT NULL OR step.next_revision = step.until_revision
                THEN 'replaced' ELSE 'removed' END AS ended_how
        FROM (
            SELECT image.*,
                lead(image.revision) OVER steps AS until_revision,
                lead(image.generation) OVER steps AS replaced_by,
                lead(image.revision, 2) OVER steps AS next_revision
            FROM (
                SELECT events.namespace, events.subject AS capsule_id, events.revision,
                    events.position, {version} AS version, {digest} AS manifest_digest,
                    {registered_at} AS from_time, {generation} AS generation,
                    lag({generation}) OVER (PARTITION BY events.namespace, events.subject
                        ORDER BY events.revision, events.position) AS generation_before
                FROM events
                WHERE events.kind = 'capsules'
            ) AS image
            WHERE coalesce(image.generation, 0) <> coalesce(image.generation_before, 0)
            WINDOW steps AS (PARTITION BY image.namespace, image.capsule_id
                ORDER BY image.revision, image.position)
        ) AS step
        LEFT JOIN revisions AS beginning ON beginning.namespace = step.namespace
            AND beginning.revision = step.generation
        LEFT JOIN revisions AS ending ON ending.namespace = step.namespace
            AND ending.revision = step.until_revision
        WHERE step.generation IS NOT NULL
            AND (step.until_revision IS NULL OR step.until_revision > step.generation)""",
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
#: A view before those that read it.
ORDER = (
    "live_uuids",
    "registered_capsules",
    "audit_log",
    "capsule_history",
    "capability_grants",
    "tool_index",
)

MESSAGE = "the history is append-only: only pruning deletes, and nothing changes it"
#: Up to where pruning has moved the mark, rows may go.
IS_PRUNED = "OLD.revision <= (SELECT compacted_revision FROM namespaces WHERE name = OLD.namespace)"
#: A namespace whose whole history is pruned is being dropped.
IS_DROPPED = "(SELECT compacted_revision >= revision FROM namespaces WHERE name = OLD.namespace)"


def view_statements(dialect: str) -> list[str]:
    """Return what makes the views; it may be run again."""
    expressions = EXPRESSIONS[dialect]
    image = {"row": "events.new_row"}
    values = {
        "now": expressions["now"],
        "version": expressions["text"].format(**image, name="version"),
        "digest": expressions["text"].format(**image, name="manifest_digest"),
        "generation": expressions["number"].format(**image, name="generation"),
        "registered_at": expressions["time"].format(**image, name="registered_at"),
    }
    create = "CREATE VIEW IF NOT EXISTS" if dialect == "sqlite" else "CREATE OR REPLACE VIEW"
    return [f"{create} {name} AS{VIEWS[name].format(**values)}" for name in ORDER]


def fence_statements(dialect: str) -> list[str]:
    """Return what makes the triggers; it may be run again."""
    return {"sqlite": sqlite_fences, "postgresql": postgresql_fences, "mariadb": mariadb_fences}[
        dialect
    ]()


def sqlite_fences() -> list[str]:
    """A trigger that aborts the statement."""
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
    """A function that raises, and triggers that call it."""
    function = f"""
        CREATE OR REPLACE FUNCTION capsule_registry_fence() RETURNS trigger AS $$
        BEGIN
            IF TG_OP = 'DELETE' AND TG_LEVEL = 'ROW' THEN
                IF TG_TABLE_NAME = 'manifests' THEN
                    IF {IS_DROPPED} THEN
                        RETURN OLD;
                    END IF;
                ELSIF {IS_PRUNED} THEN
                    RETURN OLD;
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
    """A trigger that signals an error."""
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


def statements(dialect: str) -> list[str]:
    """Return all that this migration makes."""
    return [*view_statements(dialect), *fence_statements(dialect)]


def upgrade() -> None:
    """Make the views and the triggers."""
    for statement in statements(dialect_name()):
        op.execute(statement.replace(":", r"\:"))


def downgrade() -> None:
    """Drop them."""
    dialect = dialect_name()
    for name in reversed(ORDER):
        op.execute(f"DROP VIEW IF EXISTS {name}")
    fences = [("unchanged", "events"), ("unchanged", "revisions"), ("unchanged", "manifests")]
    fences += [("kept", "events"), ("kept", "revisions"), ("kept", "manifests")]
    if dialect == "postgresql":
        fences += [("not_emptied", name) for name in ("events", "revisions", "manifests")]
    for fence, table in fences:
        place = f" ON {table}" if dialect == "postgresql" else ""
        op.execute(f"DROP TRIGGER IF EXISTS {table}_{fence}{place}")
    if dialect == "postgresql":
        op.execute("DROP FUNCTION IF EXISTS capsule_registry_fence()")


def dialect_name() -> str:
    """Return the name of the database, as this file has it."""
    name = op.get_context().dialect.name
    return "mariadb" if name == "mysql" else name
