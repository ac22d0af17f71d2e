"""Namespaces and their history: append-only, except for the head in `namespaces`."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    Named,
    PrimaryKeyConstraint,
    Table,
    TypedColumns,
    UniqueConstraint,
)

from capsule_registry.database.dialects.types import (
    BIG_INTEGER,
    KEYED,
    STRICT,
    CanonicalUuid,
    LongText,
    ShortText,
    UtcDateTime,
)
from capsule_registry.schema.tables.metadata import metadata


class _NamespaceColumns(TypedColumns):
    name: Named[str] = Column(ShortText(63), nullable=False)
    incarnation: Named[UUID] = Column(CanonicalUuid, nullable=False)
    revision: Named[int] = Column(BIG_INTEGER, nullable=False)
    head_hash: Named[str] = Column(ShortText(64), nullable=False)
    compacted_revision: Named[int] = Column(BIG_INTEGER, nullable=False)
    last_commit_at: Named[datetime] = Column(UtcDateTime, nullable=False)
    #: The runtime by whose rules every capsule is read and judged; null: each in its own form.
    runtime_version: Named[str | None] = Column(ShortText(64), nullable=True)


namespaces = Table("namespaces", metadata, _NamespaceColumns, PrimaryKeyConstraint("name"), **KEYED)


class _SchemaVersionColumns(TypedColumns):
    version: Named[str] = Column(ShortText(32), nullable=False)
    applied_at: Named[datetime] = Column(UtcDateTime, nullable=False)
    library_version: Named[str] = Column(ShortText(64), nullable=False)
    oldest_compatible: Named[str] = Column(ShortText(32), nullable=False)


schema_versions = Table(
    "schema_versions", metadata, _SchemaVersionColumns, PrimaryKeyConstraint("version"), **KEYED
)


class _ManifestColumns(TypedColumns):
    namespace: Named[str] = Column(ShortText(63), nullable=False)
    digest: Named[str] = Column(ShortText(64), nullable=False)
    format: Named[str] = Column(ShortText(8), nullable=False)
    text: Named[str] = Column(LongText(), nullable=False)


manifests = Table(
    "manifests",
    metadata,
    _ManifestColumns,
    PrimaryKeyConstraint("namespace", "digest"),
    ForeignKeyConstraint(["namespace"], ["namespaces.name"]),
    CheckConstraint("format IN ('toml', 'json')", name="format_known"),
    **STRICT,
)


class _RevisionColumns(TypedColumns):
    namespace: Named[str] = Column(ShortText(63), nullable=False)
    revision: Named[int] = Column(BIG_INTEGER, nullable=False)
    committed_at: Named[datetime] = Column(UtcDateTime, nullable=False)
    actor: Named[str] = Column(ShortText(255), nullable=False)
    database_user: Named[str | None] = Column(ShortText(255), nullable=True)
    reason: Named[str | None] = Column(LongText(), nullable=True)
    request_id: Named[UUID] = Column(CanonicalUuid, nullable=False)
    event_count: Named[int] = Column(Integer, nullable=False)
    previous_hash: Named[str] = Column(ShortText(64), nullable=False)
    hash: Named[str] = Column(ShortText(64), nullable=False)


revisions = Table(
    "revisions",
    metadata,
    _RevisionColumns,
    PrimaryKeyConstraint("namespace", "revision"),
    ForeignKeyConstraint(["namespace"], ["namespaces.name"]),
    UniqueConstraint("request_id"),
    Index("ix_revisions_committed_at", "namespace", "committed_at"),
    **STRICT,
)


class _EventColumns(TypedColumns):
    namespace: Named[str] = Column(ShortText(63), nullable=False)
    revision: Named[int] = Column(BIG_INTEGER, nullable=False)
    position: Named[int] = Column(Integer, nullable=False)
    action: Named[str] = Column(ShortText(64), nullable=False)
    kind: Named[str] = Column(ShortText(32), nullable=False)
    subject: Named[str] = Column(ShortText(128), nullable=False)
    capsule_id: Named[str | None] = Column(ShortText(128), nullable=True)
    old_row: Named[str | None] = Column(LongText(), nullable=True)
    new_row: Named[str | None] = Column(LongText(), nullable=True)
    #: What a capsule's manifest adds to and removes from the one before, as a JSON array; null if
    #: nothing: see `docs/sql.md`.
    changes: Named[str | None] = Column(LongText(), nullable=True)


events = Table(
    "events",
    metadata,
    _EventColumns,
    PrimaryKeyConstraint("namespace", "revision", "position"),
    Index("ix_events_subject", "namespace", "kind", "subject", "revision"),
    Index("ix_events_capsule_id", "namespace", "capsule_id", "revision"),
    **STRICT,
)
