"""
The tables, as the migrations have made them.

They are a public interface: people and programs in other languages read them. Every table but the
first two leads its primary key with the namespace. `docs/design.md` says what each is for.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Named,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    TypedColumns,
    UniqueConstraint,
)

from capsule_registry.dialects import (
    CanonicalJson,
    CanonicalUuid,
    UtcDateTime,
    long_text,
    short_text,
)

metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

#: Small rows that are looked up by their key: on SQLite the key is the table.
_KEYED: Final[dict[str, Any]] = {"sqlite_with_rowid": False}
#: Columns that row images leave out: the digest of a manifest stands for it.
_NOT_IMAGED: Final[dict[str, Any]] = {"imaged": False}

_CAPSULES_KEY: Final = ["capsules.namespace", "capsules.id"]
_STATES: Final = "'unloaded', 'loading', 'ready', 'failed', 'unloading'"
_MASK: Final = " + ".join(
    f"CASE WHEN {flag} THEN {1 << bit} ELSE 0 END"
    for bit, flag in enumerate(
        (
            "can_receive",
            "can_send",
            "can_approve",
            "can_elicit",
            "supports_rich_media",
            "supports_threads",
            "supports_buttons",
        )
    )
)


class _NamespaceColumns(TypedColumns):
    name: Named[str] = Column(short_text(63), nullable=False)
    incarnation: Named[UUID] = Column(CanonicalUuid, nullable=False)
    revision: Named[int] = Column(BigInteger, nullable=False)
    head_hash: Named[str] = Column(short_text(64), nullable=False)
    compacted_revision: Named[int] = Column(BigInteger, nullable=False)
    last_commit_at: Named[datetime] = Column(UtcDateTime, nullable=False)


namespaces = Table(
    "namespaces", metadata, _NamespaceColumns, PrimaryKeyConstraint("name"), **_KEYED
)


class _SchemaVersionColumns(TypedColumns):
    version: Named[str] = Column(short_text(32), nullable=False)
    applied_at: Named[datetime] = Column(UtcDateTime, nullable=False)
    library_version: Named[str] = Column(short_text(64), nullable=False)
    oldest_compatible: Named[str] = Column(short_text(32), nullable=False)


schema_versions = Table(
    "schema_versions", metadata, _SchemaVersionColumns, PrimaryKeyConstraint("version"), **_KEYED
)


class _ManifestColumns(TypedColumns):
    namespace: Named[str] = Column(short_text(63), nullable=False)
    digest: Named[str] = Column(short_text(64), nullable=False)
    format: Named[str] = Column(short_text(8), nullable=False)
    text: Named[str] = Column(long_text(), nullable=False)


manifests = Table(
    "manifests",
    metadata,
    _ManifestColumns,
    PrimaryKeyConstraint("namespace", "digest"),
    ForeignKeyConstraint(["namespace"], ["namespaces.name"]),
    CheckConstraint("format IN ('toml', 'json')", name="format_known"),
)


class _RevisionColumns(TypedColumns):
    namespace: Named[str] = Column(short_text(63), nullable=False)
    revision: Named[int] = Column(BigInteger, nullable=False)
    committed_at: Named[datetime] = Column(UtcDateTime, nullable=False)
    actor: Named[str] = Column(short_text(255), nullable=False)
    database_user: Named[str | None] = Column(short_text(255), nullable=True)
    reason: Named[str | None] = Column(long_text(), nullable=True)
    request_id: Named[UUID] = Column(CanonicalUuid, nullable=False)
    event_count: Named[int] = Column(Integer, nullable=False)
    previous_hash: Named[str] = Column(short_text(64), nullable=False)
    hash: Named[str] = Column(short_text(64), nullable=False)


revisions = Table(
    "revisions",
    metadata,
    _RevisionColumns,
    PrimaryKeyConstraint("namespace", "revision"),
    ForeignKeyConstraint(["namespace"], ["namespaces.name"]),
    UniqueConstraint("request_id"),
    Index("ix_revisions_committed_at", "namespace", "committed_at"),
)


class _EventColumns(TypedColumns):
    namespace: Named[str] = Column(short_text(63), nullable=False)
    revision: Named[int] = Column(BigInteger, nullable=False)
    position: Named[int] = Column(Integer, nullable=False)
    action: Named[str] = Column(short_text(64), nullable=False)
    kind: Named[str] = Column(short_text(32), nullable=False)
    subject: Named[str] = Column(short_text(128), nullable=False)
    capsule_id: Named[str | None] = Column(short_text(128), nullable=True)
    old_row: Named[str | None] = Column(long_text(), nullable=True)
    new_row: Named[str | None] = Column(long_text(), nullable=True)


events = Table(
    "events",
    metadata,
    _EventColumns,
    PrimaryKeyConstraint("namespace", "revision", "position"),
    Index("ix_events_subject", "namespace", "kind", "subject", "revision"),
    Index("ix_events_capsule_id", "namespace", "capsule_id", "revision"),
)


class _CapsuleColumns(TypedColumns):
    namespace: Named[str] = Column(short_text(63), nullable=False)
    id: Named[str] = Column(short_text(128), nullable=False)
    version: Named[str | None] = Column(long_text(), nullable=True)
    manifest: Named[Any] = Column(CanonicalJson, nullable=True, info=_NOT_IMAGED)
    manifest_digest: Named[str | None] = Column(short_text(64), nullable=True)
    #: Canonical JSON of the tools that the object itself reported; null where it reported none.
    reported_tools: Named[str | None] = Column(long_text(), nullable=True)
    source_dir: Named[str | None] = Column(long_text(), nullable=True)
    state: Named[str | None] = Column(short_text(16), nullable=True)
    state_reason: Named[str | None] = Column(long_text(), nullable=True)
    generation: Named[int | None] = Column(BigInteger, nullable=True)
    registered_revision: Named[int | None] = Column(BigInteger, nullable=True)
    position: Named[int | None] = Column(Integer, nullable=True)
    modified_revision: Named[int] = Column(BigInteger, nullable=False)
    registered_at: Named[datetime | None] = Column(UtcDateTime, nullable=True)


_REGISTERED: Final = (
    "version",
    "manifest",
    "manifest_digest",
    "state",
    "generation",
    "registered_revision",
    "position",
)

capsules = Table(
    "capsules",
    metadata,
    _CapsuleColumns,
    PrimaryKeyConstraint("namespace", "id"),
    ForeignKeyConstraint(["namespace"], ["namespaces.name"]),
    ForeignKeyConstraint(
        ["namespace", "manifest_digest"], ["manifests.namespace", "manifests.digest"]
    ),
    CheckConstraint(f"state IN ({_STATES})", name="state_known"),
    CheckConstraint(
        "(registered_at IS NULL AND source_dir IS NULL AND state_reason IS NULL"
        " AND reported_tools IS NULL AND "
        + " AND ".join(f"{column} IS NULL" for column in _REGISTERED)
        + ") OR (registered_at IS NOT NULL AND "
        + " AND ".join(f"{column} IS NOT NULL" for column in _REGISTERED)
        + ")",
        name="reserved_or_registered",
    ),
    Index("ix_capsules_order", "namespace", "registered_revision", "position"),
    Index("ix_capsules_manifest_digest", "namespace", "manifest_digest"),
)


class _ToolColumns(TypedColumns):
    namespace: Named[str] = Column(short_text(63), nullable=False)
    capsule_id: Named[str] = Column(short_text(128), nullable=False)
    position: Named[int] = Column(Integer, nullable=False)
    name: Named[str] = Column(short_text(255), nullable=False)
    description: Named[str] = Column(long_text(), nullable=False)
    input_schema: Named[Any] = Column(CanonicalJson(none_as_null=False), nullable=False)


tools = Table(
    "tools",
    metadata,
    _ToolColumns,
    PrimaryKeyConstraint("namespace", "capsule_id", "position"),
    ForeignKeyConstraint(["namespace", "capsule_id"], _CAPSULES_KEY, ondelete="CASCADE"),
    Index("ix_tools_name", "namespace", "name"),
)


class _GrantColumns(TypedColumns):
    namespace: Named[str] = Column(short_text(63), nullable=False)
    capsule_id: Named[str] = Column(short_text(128), nullable=False)
    capability: Named[str] = Column(short_text(32), nullable=False)
    position: Named[int] = Column(Integer, nullable=False)
    value: Named[str] = Column(short_text(512), nullable=False)


grants = Table(
    "grants",
    metadata,
    _GrantColumns,
    PrimaryKeyConstraint("namespace", "capsule_id", "capability", "position"),
    ForeignKeyConstraint(["namespace", "capsule_id"], _CAPSULES_KEY, ondelete="CASCADE"),
    Index("ix_grants_value", "namespace", "capability", "value"),
    **_KEYED,
)


class _UplinkColumns(TypedColumns):
    namespace: Named[str] = Column(short_text(63), nullable=False)
    id: Named[UUID] = Column(CanonicalUuid, nullable=False)
    capsule_id: Named[str] = Column(short_text(128), nullable=False)
    name: Named[str] = Column(short_text(255), nullable=False)
    platform: Named[str] = Column(short_text(255), nullable=False)
    source_kind: Named[str] = Column(short_text(16), nullable=False)
    source_capsule_id: Named[str | None] = Column(short_text(128), nullable=True)
    profile: Named[str] = Column(short_text(16), nullable=False)
    can_receive: Named[bool] = Column(Boolean, nullable=False)
    can_send: Named[bool] = Column(Boolean, nullable=False)
    can_approve: Named[bool] = Column(Boolean, nullable=False)
    can_elicit: Named[bool] = Column(Boolean, nullable=False)
    supports_rich_media: Named[bool] = Column(Boolean, nullable=False)
    supports_threads: Named[bool] = Column(Boolean, nullable=False)
    supports_buttons: Named[bool] = Column(Boolean, nullable=False)
    #: Never null; MariaDB lets no generated column say so.
    capability_mask: Named[int] = Column(
        SmallInteger, Computed(_MASK, persisted=True), nullable=True, info=_NOT_IMAGED
    )
    metadata: Named[Any] = Column(CanonicalJson, nullable=False)
    declared: Named[bool] = Column(Boolean, nullable=False)
    created_revision: Named[int] = Column(BigInteger, nullable=False)
    position: Named[int] = Column(Integer, nullable=False)
    registered_at: Named[datetime] = Column(UtcDateTime, nullable=False)


uplinks = Table(
    "uplinks",
    metadata,
    _UplinkColumns,
    PrimaryKeyConstraint("namespace", "id"),
    ForeignKeyConstraint(["namespace", "capsule_id"], _CAPSULES_KEY, ondelete="CASCADE"),
    CheckConstraint("source_kind IN ('native', 'wasm', 'open_claw')", name="source_kind_known"),
    CheckConstraint("profile IN ('chat', 'interactive', 'notify', 'bridge')", name="profile_known"),
    Index("ix_uplinks_order", "namespace", "created_revision", "position"),
    Index("ix_uplinks_capsule_id", "namespace", "capsule_id"),
    Index("ix_uplinks_platform", "namespace", "platform", "created_revision", "position"),
    Index("ix_uplinks_profile", "namespace", "profile"),
    Index("ix_uplinks_capability_mask", "namespace", "capability_mask"),
)


class _LeaseColumns(TypedColumns):
    namespace: Named[str] = Column(short_text(63), nullable=False)
    id: Named[UUID] = Column(CanonicalUuid, nullable=False)
    name: Named[str] = Column(short_text(255), nullable=False)
    host: Named[str] = Column(short_text(255), nullable=False)
    pid: Named[int] = Column(BigInteger, nullable=False)
    actor: Named[str] = Column(short_text(255), nullable=False)
    ttl_ms: Named[int] = Column(BigInteger, nullable=False)
    opened_at: Named[datetime] = Column(UtcDateTime, nullable=False)
    opened_revision: Named[int] = Column(BigInteger, nullable=False)
    #: Moves with every renewal, which makes no event: so it is in no row image.
    expires_at: Named[datetime] = Column(UtcDateTime, nullable=False, info=_NOT_IMAGED)


leases = Table(
    "leases",
    metadata,
    _LeaseColumns,
    PrimaryKeyConstraint("namespace", "id"),
    ForeignKeyConstraint(["namespace"], ["namespaces.name"]),
    Index("ix_leases_expires_at", "namespace", "expires_at"),
)


class _UuidMappingColumns(TypedColumns):
    namespace: Named[str] = Column(short_text(63), nullable=False)
    uuid: Named[UUID] = Column(CanonicalUuid, nullable=False)
    capsule_id: Named[str] = Column(short_text(128), nullable=False)
    lease_id: Named[UUID | None] = Column(CanonicalUuid, nullable=True)
    registered_at: Named[datetime] = Column(UtcDateTime, nullable=False)
    created_revision: Named[int] = Column(BigInteger, nullable=False)
    position: Named[int] = Column(Integer, nullable=False)


uuid_mappings = Table(
    "uuid_mappings",
    metadata,
    _UuidMappingColumns,
    PrimaryKeyConstraint("namespace", "uuid"),
    ForeignKeyConstraint(["namespace", "capsule_id"], _CAPSULES_KEY, ondelete="CASCADE"),
    ForeignKeyConstraint(
        ["namespace", "lease_id"], ["leases.namespace", "leases.id"], ondelete="CASCADE"
    ),
    Index("ix_uuid_mappings_capsule_id", "namespace", "capsule_id"),
    Index("ix_uuid_mappings_lease_id", "namespace", "lease_id"),
    **_KEYED,
)
