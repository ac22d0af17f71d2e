"""
Every table of the registry.

This file is history: it never changes once it is released, and it imports nothing of the library.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql, postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None
#: The oldest schema version whose library can still run on this one.
oldest_compatible = "0001"

MARIADB_TEXT = {"charset": "utf8mb4", "collation": "utf8mb4_nopad_bin"}


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


def uuid() -> sa.Uuid:
    """A UUID: canonical text on SQLite."""
    return sa.Uuid().with_variant(sa.String(36), "sqlite")


def json() -> sa.JSON:
    """JSON: text on SQLite, whose type name JSON would turn texts into numbers."""
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


#: What a registered capsule has and a reserved one has not.
REGISTERED = (
    "version",
    "manifest",
    "manifest_digest",
    "state",
    "generation",
    "registered_revision",
    "position",
)


def upgrade() -> None:
    """Make every table."""
    op.create_table(
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
    op.create_table(
        "schema_versions",
        sa.Column("version", short_text(32), nullable=False),
        sa.Column("applied_at", instant(), nullable=False),
        sa.Column("library_version", short_text(64), nullable=False),
        sa.Column("oldest_compatible", short_text(32), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_schema_versions"),
        sqlite_with_rowid=False,
        if_not_exists=True,
    )
    op.create_table(
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
    op.create_table(
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
    op.create_index(
        "ix_revisions_committed_at", "revisions", ["namespace", "committed_at"], if_not_exists=True
    )
    op.create_table(
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
    op.create_index(
        "ix_events_capsule_id",
        "events",
        ["namespace", "capsule_id", "revision"],
        if_not_exists=True,
    )
    op.create_index(
        "ix_events_subject",
        "events",
        ["namespace", "kind", "subject", "revision"],
        if_not_exists=True,
    )
    op.create_table(
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
        sa.PrimaryKeyConstraint("namespace", "id", name="pk_leases"),
        sa.ForeignKeyConstraint(["namespace"], ["namespaces.name"], name="fk_leases_namespaces"),
        if_not_exists=True,
    )
    op.create_index(
        "ix_leases_expires_at", "leases", ["namespace", "expires_at"], if_not_exists=True
    )
    op.create_table(
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
    op.create_index(
        "ix_capsules_manifest_digest",
        "capsules",
        ["namespace", "manifest_digest"],
        if_not_exists=True,
    )
    op.create_index(
        "ix_capsules_order",
        "capsules",
        ["namespace", "registered_revision", "position"],
        if_not_exists=True,
    )
    op.create_table(
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
    op.create_index("ix_tools_name", "tools", ["namespace", "name"], if_not_exists=True)
    op.create_table(
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
    op.create_index(
        "ix_grants_value", "grants", ["namespace", "capability", "value"], if_not_exists=True
    )
    op.create_table(
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
    op.create_index(
        "ix_uplinks_capability_mask",
        "uplinks",
        ["namespace", "capability_mask"],
        if_not_exists=True,
    )
    op.create_index(
        "ix_uplinks_capsule_id",
        "uplinks",
        ["namespace", "capsule_id", "created_revision", "position"],
        if_not_exists=True,
    )
    op.create_index(
        "ix_uplinks_order",
        "uplinks",
        ["namespace", "created_revision", "position"],
        if_not_exists=True,
    )
    op.create_index(
        "ix_uplinks_platform",
        "uplinks",
        ["namespace", "platform", "created_revision", "position"],
        if_not_exists=True,
    )
    op.create_index("ix_uplinks_profile", "uplinks", ["namespace", "profile"], if_not_exists=True)
    op.create_table(
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
    op.create_index(
        "ix_uuid_mappings_capsule_id",
        "uuid_mappings",
        ["namespace", "capsule_id", "created_revision", "position"],
        if_not_exists=True,
    )
    op.create_index(
        "ix_uuid_mappings_lease_id", "uuid_mappings", ["namespace", "lease_id"], if_not_exists=True
    )


def downgrade() -> None:
    """Drop every table."""
    op.drop_table("uuid_mappings")
    op.drop_table("uplinks")
    op.drop_table("grants")
    op.drop_table("tools")
    op.drop_table("capsules")
    op.drop_table("leases")
    op.drop_table("events")
    op.drop_table("revisions")
    op.drop_table("manifests")
    op.drop_table("schema_versions")
    op.drop_table("namespaces")
