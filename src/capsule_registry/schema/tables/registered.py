"""The current state: capsules, uplinks, leases and session UUIDs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Column,
    Computed,
    ForeignKeyConstraint,
    Index,
    Integer,
    Named,
    PrimaryKeyConstraint,
    Table,
    TypedColumns,
)

from capsule_registry.database.dialects.types import (
    BIG_INTEGER,
    SMALL_INTEGER,
    STRICT,
    CanonicalJson,
    CanonicalUuid,
    Flag,
    LongText,
    ShortText,
    UtcDateTime,
)
from capsule_registry.schema.tables.metadata import NOT_IMAGED, imaged_unless, metadata

CAPSULES_KEY: Final = ["capsules.namespace", "capsules.id"]
_STATES: Final = "'unloaded', 'loading', 'ready', 'failed', 'unloading'"
_FLAGS: Final = (
    "can_receive",
    "can_send",
    "can_approve",
    "can_elicit",
    "supports_rich_media",
    "supports_threads",
    "supports_buttons",
)
#: The flags of an uplink as a bit mask, as `models.uplink` computes it.
_MASK: Final = " + ".join(
    f"CASE WHEN {flag} THEN {1 << bit} ELSE 0 END" for bit, flag in enumerate(_FLAGS)
)


#: The form of what was registered before forms were told apart.
LEGACY: Final = "legacy"
#: The rules of what was registered before rules were told apart.
ORIGINAL: Final = "original"


class _CapsuleColumns(TypedColumns):
    namespace: Named[str] = Column(ShortText(63), nullable=False)
    id: Named[str] = Column(ShortText(128), nullable=False)
    version: Named[str | None] = Column(LongText(), nullable=True)
    manifest: Named[Any] = Column(CanonicalJson, nullable=True, info=NOT_IMAGED)
    manifest_digest: Named[str | None] = Column(ShortText(64), nullable=True)
    #: Canonical JSON of the tools that the object itself reported; null if it reported none.
    reported_tools: Named[str | None] = Column(LongText(), nullable=True)
    source_dir: Named[str | None] = Column(LongText(), nullable=True)
    state: Named[str | None] = Column(ShortText(16), nullable=True)
    state_reason: Named[str | None] = Column(LongText(), nullable=True)
    generation: Named[int | None] = Column(BIG_INTEGER, nullable=True)
    registered_revision: Named[int | None] = Column(BIG_INTEGER, nullable=True)
    position: Named[int | None] = Column(Integer, nullable=True)
    modified_revision: Named[int] = Column(BIG_INTEGER, nullable=False)
    #: The revision that made this row, whether for a capsule or a reservation: what was filed under
    #: the id before then belongs to an earlier one, even if no cascade removed it.
    created_revision: Named[int] = Column(BIG_INTEGER, nullable=False, info=NOT_IMAGED)
    registered_at: Named[datetime | None] = Column(UtcDateTime, nullable=True)
    #: How the manifest is read: `legacy`, as 0.2.0 does, `today` or `mixed`.
    form: Named[str] = Column(
        ShortText(8), nullable=False, server_default=LEGACY, info=imaged_unless(LEGACY)
    )
    #: By which rules the manifest is read and the capsule judged: those of its form, by name, of a
    #: runtime, by version, or `original`: as all were before rules were told apart.
    rules: Named[str] = Column(
        ShortText(64), nullable=False, server_default=ORIGINAL, info=imaged_unless(ORIGINAL)
    )
    #: The generation that a rollback has brought back as this one.
    restored_generation: Named[int | None] = Column(
        BIG_INTEGER, nullable=True, info=imaged_unless(None)
    )


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
    CheckConstraint("form IN ('legacy', 'today', 'mixed')", name="form_known"),
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
    Index("ix_capsules_form", "namespace", "form", "registered_revision", "position"),
    Index("ix_capsules_rules", "namespace", "rules", "registered_revision", "position"),
    Index("ix_capsules_state", "namespace", "state", "registered_revision", "position"),
    **STRICT,
)


class _UplinkColumns(TypedColumns):
    namespace: Named[str] = Column(ShortText(63), nullable=False)
    id: Named[UUID] = Column(CanonicalUuid, nullable=False)
    capsule_id: Named[str] = Column(ShortText(128), nullable=False)
    name: Named[str] = Column(ShortText(255), nullable=False)
    platform: Named[str] = Column(ShortText(255), nullable=False)
    source_kind: Named[str] = Column(ShortText(16), nullable=False)
    source_capsule_id: Named[str | None] = Column(ShortText(128), nullable=True)
    profile: Named[str] = Column(ShortText(16), nullable=False)
    can_receive: Named[bool] = Column(Flag, nullable=False)
    can_send: Named[bool] = Column(Flag, nullable=False)
    can_approve: Named[bool] = Column(Flag, nullable=False)
    can_elicit: Named[bool] = Column(Flag, nullable=False)
    supports_rich_media: Named[bool] = Column(Flag, nullable=False)
    supports_threads: Named[bool] = Column(Flag, nullable=False)
    supports_buttons: Named[bool] = Column(Flag, nullable=False)
    #: Never null; MariaDB does not allow NOT NULL on a generated column.
    capability_mask: Named[int] = Column(
        SMALL_INTEGER, Computed(_MASK, persisted=True), nullable=True, info=NOT_IMAGED
    )
    metadata: Named[Any] = Column(CanonicalJson, nullable=False)
    declared: Named[bool] = Column(Flag, nullable=False)
    created_revision: Named[int] = Column(BIG_INTEGER, nullable=False)
    position: Named[int] = Column(Integer, nullable=False)
    registered_at: Named[datetime] = Column(UtcDateTime, nullable=False)


uplinks = Table(
    "uplinks",
    metadata,
    _UplinkColumns,
    PrimaryKeyConstraint("namespace", "id"),
    ForeignKeyConstraint(["namespace", "capsule_id"], CAPSULES_KEY, ondelete="CASCADE"),
    CheckConstraint("source_kind IN ('native', 'wasm', 'open_claw')", name="source_kind_known"),
    CheckConstraint("profile IN ('chat', 'interactive', 'notify', 'bridge')", name="profile_known"),
    *(
        CheckConstraint(f"{flag} IN (FALSE, TRUE)", name=f"{flag}_boolean")
        for flag in (*_FLAGS, "declared")
    ),
    Index("ix_uplinks_order", "namespace", "created_revision", "position"),
    Index("ix_uplinks_capsule_id", "namespace", "capsule_id", "created_revision", "position"),
    Index("ix_uplinks_platform", "namespace", "platform", "created_revision", "position"),
    Index("ix_uplinks_profile", "namespace", "profile"),
    Index("ix_uplinks_capability_mask", "namespace", "capability_mask"),
    **STRICT,
)


class _LeaseColumns(TypedColumns):
    namespace: Named[str] = Column(ShortText(63), nullable=False)
    id: Named[UUID] = Column(CanonicalUuid, nullable=False)
    name: Named[str] = Column(ShortText(255), nullable=False)
    host: Named[str] = Column(ShortText(255), nullable=False)
    pid: Named[int] = Column(BIG_INTEGER, nullable=False)
    actor: Named[str] = Column(ShortText(255), nullable=False)
    ttl_ms: Named[int] = Column(BIG_INTEGER, nullable=False)
    opened_at: Named[datetime] = Column(UtcDateTime, nullable=False)
    opened_revision: Named[int] = Column(BIG_INTEGER, nullable=False)
    #: Changes with every renewal, which files no event: so row images omit it.
    expires_at: Named[datetime] = Column(UtcDateTime, nullable=False, info=NOT_IMAGED)
    #: On SQLite: the boot of the host, and the uptime at which the lease expires.
    boot_id: Named[str | None] = Column(ShortText(36), nullable=True, info=NOT_IMAGED)
    expires_uptime_ms: Named[int | None] = Column(BIG_INTEGER, nullable=True, info=NOT_IMAGED)
    #: When the lease expired; set once somebody has noticed.
    expired_at: Named[datetime | None] = Column(UtcDateTime, nullable=True)


leases = Table(
    "leases",
    metadata,
    _LeaseColumns,
    PrimaryKeyConstraint("namespace", "id"),
    ForeignKeyConstraint(["namespace"], ["namespaces.name"]),
    Index("ix_leases_expires_at", "namespace", "expires_at"),
    **STRICT,
)


class _UuidMappingColumns(TypedColumns):
    namespace: Named[str] = Column(ShortText(63), nullable=False)
    uuid: Named[UUID] = Column(CanonicalUuid, nullable=False)
    capsule_id: Named[str] = Column(ShortText(128), nullable=False)
    lease_id: Named[UUID | None] = Column(CanonicalUuid, nullable=True)
    registered_at: Named[datetime] = Column(UtcDateTime, nullable=False)
    created_revision: Named[int] = Column(BIG_INTEGER, nullable=False)
    position: Named[int] = Column(Integer, nullable=False)


uuid_mappings = Table(
    "uuid_mappings",
    metadata,
    _UuidMappingColumns,
    PrimaryKeyConstraint("namespace", "uuid"),
    ForeignKeyConstraint(["namespace", "capsule_id"], CAPSULES_KEY, ondelete="CASCADE"),
    ForeignKeyConstraint(
        ["namespace", "lease_id"], ["leases.namespace", "leases.id"], ondelete="CASCADE"
    ),
    Index("ix_uuid_mappings_capsule_id", "namespace", "capsule_id", "created_revision", "position"),
    Index("ix_uuid_mappings_lease_id", "namespace", "lease_id"),
    **STRICT,
)
