"""
Leases that end by the host's uptime too, and what manifests intercept, offer and need as rows.

This file is history: it never changes once it is released, and it imports nothing of the library.
"""

import json as json_module

import sqlalchemy as sa
from alembic import context, op
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import mysql, postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
#: The oldest schema version whose library can still run on this one: those before know nothing of
#: leases that have run out, and would answer from them.
oldest_compatible = "0003"

MARIADB_TEXT = {"charset": "utf8mb4", "collation": "utf8mb4_nopad_bin"}

#: An event or a capability that is longer was registered before there was such a bound, and is left
#: out.
LONGEST_EVENT, LONGEST_CAPABILITY = 512, 1024

#: What differs from one database to another: a member of a row image as text, as a number and as a
#: time.
EXPRESSIONS = {
    "sqlite": {
        "text": "json_extract(events.new_row, '$.{name}')",
        "number": "json_extract(events.new_row, '$.{name}')",
        "time": "json_extract(events.new_row, '$.{name}')",
    },
    "postgresql": {
        "text": "(events.new_row::json ->> '{name}')",
        "number": "(events.new_row::json ->> '{name}')::bigint",
        "time": "(events.new_row::json ->> '{name}')::timestamptz",
    },
    "mariadb": {
        "text": "JSON_VALUE(events.new_row, '$.{name}')",
        "number": "CAST(JSON_VALUE(events.new_row, '$.{name}') AS SIGNED)",
        "time": "CAST(LEFT(REPLACE(JSON_VALUE(events.new_row, '$.{name}'), 'T', ' '), 26)"
        " AS DATETIME(6))",
    },
}
#: A step is where a revision leaves another generation than was there before it, or none any more:
#: of the events of one revision the last one counts.
CAPSULE_HISTORY = """
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
        WHERE step.generation IS NOT NULL"""


def view_statement(dialect: str) -> str:
    """Return what makes the view `capsule_history`, after it was dropped."""
    expressions = EXPRESSIONS[dialect]
    return f"CREATE VIEW capsule_history AS{CAPSULE_HISTORY}".format(
        version=expressions["text"].format(name="version"),
        digest=expressions["text"].format(name="manifest_digest"),
        generation=expressions["number"].format(name="generation"),
        registered_at=expressions["time"].format(name="registered_at"),
    )


def short_text(length: int) -> sa.String:
    """Text compared byte by byte, trailing blanks included."""
    return (
        sa.String(length)
        .with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, **MARIADB_TEXT), "mysql", "mariadb")
    )


def long_text() -> sa.Text:
    """Text of any length."""
    return sa.Text().with_variant(mysql.LONGTEXT(**MARIADB_TEXT), "mysql", "mariadb")


def instant() -> sa.DateTime:
    """A time in UTC: 27 characters of ISO 8601 on SQLite."""
    return (
        sa.DateTime(timezone=True)
        .with_variant(sa.String(27), "sqlite")
        .with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    )


def projection(name: str, *columns: sa.Column) -> None:
    """Make a table of what follows from the manifests."""
    op.create_table(
        name,
        sa.Column("namespace", short_text(63), nullable=False),
        sa.Column("capsule_id", short_text(128), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("namespace", "capsule_id", "position", name=f"pk_{name}"),
        sa.ForeignKeyConstraint(
            ["namespace", "capsule_id"],
            ["capsules.namespace", "capsules.id"],
            name=f"fk_{name}_capsules",
            ondelete="CASCADE",
        ),
        if_not_exists=True,
    )


def upgrade() -> None:
    """Make the columns and the tables, and fill these from what is registered."""
    if op.get_context().dialect.name == "postgresql":
        # Units that are open end first, and those that wait begin with the schema as it is then.
        op.execute("LOCK TABLE namespaces IN ACCESS EXCLUSIVE MODE")
    # MariaDB commits each statement: what an upgrade that was killed has done stays done.
    again = op.get_context().dialect.name in ("mysql", "mariadb") or None
    for column in (
        sa.Column("boot_id", short_text(36), nullable=True),
        sa.Column("expires_uptime_ms", sa.BigInteger, nullable=True),
        sa.Column("expired_at", instant(), nullable=True),
    ):
        op.add_column("leases", column, if_not_exists=again)
    op.create_index(
        "ix_capsules_state",
        "capsules",
        ["namespace", "state", "registered_revision", "position"],
        if_not_exists=True,
    )
    projection(
        "interceptors",
        sa.Column("event", short_text(512), nullable=False),
        sa.Column("action", long_text(), nullable=False),
    )
    op.create_index(
        "ix_interceptors_event", "interceptors", ["namespace", "event"], if_not_exists=True
    )
    for name in ("provisions", "requirements"):
        projection(
            name,
            sa.Column("kind", short_text(32), nullable=False),
            sa.Column("capability", short_text(1024), nullable=False),
        )
        op.create_index(f"ix_{name}_kind", name, ["namespace", "kind"], if_not_exists=True)
    op.execute("DROP VIEW IF EXISTS capsule_history")
    op.execute(view_statement(dialect_name()).replace(":", r"\:"))
    if not op.get_context().as_sql:
        fill()


def fill() -> None:
    """Derive the rows of every capsule that is registered; what was derived before is replaced."""
    capsules = sa.table(
        "capsules", sa.column("namespace"), sa.column("id"), sa.column("manifest", sa.Text)
    )
    conn = op.get_bind()
    # On MariaDB what is above has committed already: units that are open end before this.
    conn.execute(sa.select(sa.table("namespaces", sa.column("name"))).with_for_update()).all()
    found = conn.execute(
        sa.select(capsules.c.namespace, capsules.c.id, sa.cast(capsules.c.manifest, sa.Text)).where(
            capsules.c.manifest.is_not(None)
        )
    ).all()
    for name, columns, derive, bounded, longest in (
        ("interceptors", ("event", "action"), intercepted, 0, LONGEST_EVENT),
        ("provisions", ("kind", "capability"), provided, 1, LONGEST_CAPABILITY),
        ("requirements", ("kind", "capability"), required, 1, LONGEST_CAPABILITY),
    ):
        keys = ("namespace", "capsule_id", "position", *columns)
        table = sa.table(name, *map(sa.column, keys))
        conn.execute(table.delete())
        rows = [
            dict(zip(keys, (namespace, capsule_id, position, *values), strict=True))
            for namespace, capsule_id, text in found
            for position, values in enumerate(derive(json_module.loads(text)))
            if len(values[bounded]) <= longest
        ]
        if rows:
            conn.execute(table.insert(), rows)


def intercepted(manifest: dict) -> list[tuple[str, ...]]:
    """Return event and action of each interceptor."""
    return [(one["event"], one["action"]) for one in manifest.get("interceptor", [])]


def required(manifest: dict) -> list[tuple[str, ...]]:
    """Return what the capsule needs of others."""
    return [with_kind(capability) for capability in manifest["dependencies"]["requires"]]


def provided(manifest: dict) -> list[tuple[str, ...]]:
    """Return what the capsule offers to others: what it says, else what follows from its tables."""
    declared = manifest["dependencies"]["provides"] or [
        *(f"topic:{topic}" for topic in manifest["capabilities"]["ipc_publish"]),
        *(f"tool:{tool['name']}" for tool in manifest.get("tool", [])),
        *(f"llm:{provider['id']}" for provider in manifest.get("llm_provider", [])),
        *(f"uplink:{uplink['name']}" for uplink in manifest.get("uplink", [])),
    ]
    return [with_kind(capability) for capability in declared]


def with_kind(capability: str) -> tuple[str, ...]:
    """Return the word before the colon, and the whole."""
    kind, colon, _ = capability.partition(":")
    return (kind if colon else "", capability)


def downgrade() -> None:
    """Drop them, and make the view as it was before."""
    op.execute("DROP VIEW capsule_history")
    before = ScriptDirectory.from_config(context.config).get_revision(down_revision).module
    for statement in before.view_statements(dialect_name()):
        op.execute(statement.replace(":", r"\:"))
    for name in ("requirements", "provisions", "interceptors"):
        op.drop_table(name)
    op.drop_index("ix_capsules_state", "capsules")
    for column in ("expired_at", "expires_uptime_ms", "boot_id"):
        op.drop_column("leases", column)


def dialect_name() -> str:
    """Return the name of the database, as this file has it."""
    name = op.get_context().dialect.name
    return "mariadb" if name == "mysql" else name
