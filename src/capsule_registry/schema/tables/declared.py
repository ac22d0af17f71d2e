"""Projections of the manifests as searchable rows, without events of their own."""

from __future__ import annotations

from typing import Any

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
    text,
)

from capsule_registry.database.dialects.types import (
    BIG_INTEGER,
    KEYED,
    STRICT,
    CanonicalJson,
    Flag,
    LongText,
    ShortText,
)
from capsule_registry.schema.tables.metadata import metadata
from capsule_registry.schema.tables.registered import CAPSULES_KEY


class _ToolColumns(TypedColumns):
    namespace: Named[str] = Column(ShortText(63), nullable=False)
    capsule_id: Named[str] = Column(ShortText(128), nullable=False)
    position: Named[int] = Column(Integer, nullable=False)
    name: Named[str] = Column(ShortText(255), nullable=False)
    description: Named[str] = Column(LongText(), nullable=False)
    input_schema: Named[Any] = Column(CanonicalJson(none_as_null=False), nullable=False)


tools = Table(
    "tools",
    metadata,
    _ToolColumns,
    PrimaryKeyConstraint("namespace", "capsule_id", "position"),
    ForeignKeyConstraint(["namespace", "capsule_id"], CAPSULES_KEY, ondelete="CASCADE"),
    Index("ix_tools_name", "namespace", "name"),
    **STRICT,
)


class _GrantColumns(TypedColumns):
    namespace: Named[str] = Column(ShortText(63), nullable=False)
    capsule_id: Named[str] = Column(ShortText(128), nullable=False)
    capability: Named[str] = Column(ShortText(32), nullable=False)
    position: Named[int] = Column(Integer, nullable=False)
    value: Named[str] = Column(ShortText(512), nullable=False)
    #: The capsule's generation that declares it: it counts for no other.
    generation: Named[int] = Column(BIG_INTEGER, nullable=False)
    #: How the value is compared with what is asked; see `docs/sql.md`.
    matching: Named[str] = Column(ShortText(16), nullable=False)
    #: Where it stands in the manifest: `capabilities`, `component N`, `publish` or `subscribe`.
    place: Named[str] = Column(ShortText(32), nullable=False)
    #: Which runtimes read it there, such as `<0.8.0`.
    read_by: Named[str] = Column(ShortText(16), nullable=False)
    #: Whether it counts by the rules of its capsule; what does not grants nothing.
    counts: Named[bool] = Column(Flag, nullable=False)


grants = Table(
    "grants",
    metadata,
    _GrantColumns,
    PrimaryKeyConstraint("namespace", "capsule_id", "capability", "position"),
    CheckConstraint("counts IN (FALSE, TRUE)", name="counts_boolean"),
    ForeignKeyConstraint(["namespace", "capsule_id"], CAPSULES_KEY, ondelete="CASCADE"),
    # All that a list of grants shows, so that it is read from the index alone.
    Index(
        "ix_grants_value",
        *("namespace", "capability", "value", "generation"),
        *("matching", "place", "read_by", "counts"),
    ),
    **KEYED,
)


class _InterceptorColumns(TypedColumns):
    namespace: Named[str] = Column(ShortText(63), nullable=False)
    capsule_id: Named[str] = Column(ShortText(128), nullable=False)
    position: Named[int] = Column(Integer, nullable=False)
    event: Named[str] = Column(ShortText(512), nullable=False)
    action: Named[str] = Column(LongText(), nullable=False)
    #: The lower, the earlier it is called.
    priority: Named[int] = Column(BIG_INTEGER, nullable=False, server_default=text("100"))


interceptors = Table(
    "interceptors",
    metadata,
    _InterceptorColumns,
    PrimaryKeyConstraint("namespace", "capsule_id", "position"),
    ForeignKeyConstraint(["namespace", "capsule_id"], CAPSULES_KEY, ondelete="CASCADE"),
    Index("ix_interceptors_event", "namespace", "event"),
    **STRICT,
)


class _CapabilityColumns(TypedColumns):
    namespace: Named[str] = Column(ShortText(63), nullable=False)
    capsule_id: Named[str] = Column(ShortText(128), nullable=False)
    position: Named[int] = Column(Integer, nullable=False)
    #: The word before the colon, such as `topic`.
    kind: Named[str] = Column(ShortText(32), nullable=False)
    capability: Named[str] = Column(ShortText(1024), nullable=False)


def _of_capabilities(name: str) -> Table[_CapabilityColumns]:
    return Table(
        name,
        metadata,
        _CapabilityColumns,
        PrimaryKeyConstraint("namespace", "capsule_id", "position"),
        ForeignKeyConstraint(["namespace", "capsule_id"], CAPSULES_KEY, ondelete="CASCADE"),
        Index(f"ix_{name}_kind", "namespace", "kind"),
        **STRICT,
    )


provisions = _of_capabilities("provisions")
requirements = _of_capabilities("requirements")
