"""Projections of the manifests as searchable rows, without events of their own."""

from __future__ import annotations

from typing import Any, TypeVar

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

C = TypeVar("C", bound=TypedColumns)


class _DeclaredColumns(TypedColumns):
    namespace: Named[str] = Column(ShortText(63), nullable=False)
    capsule_id: Named[str] = Column(ShortText(128), nullable=False)
    position: Named[int] = Column(Integer, nullable=False)


def _declared(name: str, columns: type[C], *items: CheckConstraint | Index) -> Table[C]:
    """Return a table of what capsules declare: each row has its place in the manifest."""
    return Table(
        name,
        metadata,
        columns,
        PrimaryKeyConstraint("namespace", "capsule_id", "position"),
        ForeignKeyConstraint(["namespace", "capsule_id"], CAPSULES_KEY, ondelete="CASCADE"),
        *items,
        **STRICT,
    )


class _ToolColumns(_DeclaredColumns):
    name: Named[str] = Column(ShortText(255), nullable=False)
    #: What the model reads; null if only a route tells of the tool.
    description: Named[str | None] = Column(LongText(), nullable=True)
    input_schema: Named[Any] = Column(CanonicalJson(none_as_null=False), nullable=False)
    #: Whether `input_schema` is its schema; else it is null, and the running capsule tells it.
    schema_known: Named[bool] = Column(Flag, nullable=False)
    #: The record that its input is, by its name in WIT.
    input_schema_wit: Named[str | None] = Column(LongText(), nullable=True)
    #: Whether a call of it reaches the capsule: today's runtimes dispatch by topic.
    routed: Named[bool] = Column(Flag, nullable=False)
    #: Whether the manifest says that it changes something.
    mutable: Named[bool] = Column(Flag, nullable=False)


tools = _declared(
    "tools",
    _ToolColumns,
    *(
        CheckConstraint(f"{flag} IN (FALSE, TRUE)", name=f"{flag}_boolean")
        for flag in ("schema_known", "routed", "mutable")
    ),
    Index("ix_tools_name", "namespace", "name"),
)


class _UnknownToolsColumns(TypedColumns):
    namespace: Named[str] = Column(ShortText(63), nullable=False)
    capsule_id: Named[str] = Column(ShortText(128), nullable=False)


#: The capsules that may have other tools than those in `tools`: which, they tell once they run.
unknown_tools = Table(
    "unknown_tools",
    metadata,
    _UnknownToolsColumns,
    PrimaryKeyConstraint("namespace", "capsule_id"),
    ForeignKeyConstraint(["namespace", "capsule_id"], CAPSULES_KEY, ondelete="CASCADE"),
    **KEYED,
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


class _InterceptorColumns(_DeclaredColumns):
    event: Named[str] = Column(ShortText(512), nullable=False)
    action: Named[str] = Column(LongText(), nullable=False)
    #: The lower, the earlier it is called.
    priority: Named[int] = Column(BIG_INTEGER, nullable=False, server_default=text("100"))


interceptors = _declared(
    "interceptors",
    _InterceptorColumns,
    Index("ix_interceptors_event", "namespace", "event"),
)


class _RouteColumns(_DeclaredColumns):
    direction: Named[str] = Column(ShortText(16), nullable=False)
    #: A topic or pattern.
    topic: Named[str] = Column(ShortText(512), nullable=False)
    #: How it covers topics: `segments`, or `subtree`.
    matching: Named[str] = Column(ShortText(16), nullable=False)
    #: Where it stands: `publish`, `subscribe`, `capabilities` or `interceptor`.
    place: Named[str] = Column(ShortText(16), nullable=False)
    #: What is called for it, if anything, and when: the lower, the earlier.
    handler: Named[str | None] = Column(LongText(), nullable=True)
    priority: Named[int | None] = Column(BIG_INTEGER, nullable=True)
    #: The record that is sent, by its name in WIT, and what pins its version.
    wit: Named[str | None] = Column(LongText(), nullable=True)
    pin_kind: Named[str | None] = Column(ShortText(16), nullable=True)
    pin: Named[str | None] = Column(LongText(), nullable=True)
    fanout: Named[bool] = Column(Flag, nullable=False)


routes = _declared(
    "routes",
    _RouteColumns,
    CheckConstraint("direction IN ('publish', 'subscribe')", name="direction_known"),
    CheckConstraint("fanout IN (FALSE, TRUE)", name="fanout_boolean"),
    Index("ix_routes_topic", "namespace", "direction", "topic"),
)


class _CommandColumns(_DeclaredColumns):
    name: Named[str] = Column(ShortText(255), nullable=False)
    #: Where people type it: `slash`, in a conversation, or `cli`, in a shell.
    kind: Named[str] = Column(ShortText(8), nullable=False)
    description: Named[str | None] = Column(LongText(), nullable=True)


commands = _declared(
    "commands",
    _CommandColumns,
    CheckConstraint("kind IN ('slash', 'cli')", name="kind_known"),
    Index("ix_commands_name", "namespace", "name"),
)


class _ImportColumns(_DeclaredColumns):
    #: As `ns:name`.
    interface: Named[str] = Column(ShortText(512), nullable=False)
    #: The versions that it can use, by Cargo's rules.
    requirement: Named[str] = Column(LongText(), nullable=False)
    #: Whether it works without.
    optional: Named[bool] = Column(Flag, nullable=False)


imports = _declared(
    "imports",
    _ImportColumns,
    CheckConstraint("optional IN (FALSE, TRUE)", name="optional_boolean"),
    Index("ix_imports_interface", "namespace", "interface"),
)


class _ExportColumns(_DeclaredColumns):
    #: As `ns:name`.
    interface: Named[str] = Column(ShortText(512), nullable=False)
    version: Named[str] = Column(LongText(), nullable=False)


exports = _declared(
    "exports",
    _ExportColumns,
    Index("ix_exports_interface", "namespace", "interface"),
)


class _ArtifactColumns(_DeclaredColumns):
    #: The capsule's generation that is made of it.
    generation: Named[int] = Column(BIG_INTEGER, nullable=False)
    kind: Named[str] = Column(ShortText(16), nullable=False)
    #: Its id in the manifest; it may be empty.
    name: Named[str] = Column(LongText(), nullable=False)
    file: Named[str] = Column(LongText(), nullable=False)
    #: Of its bytes, as the manifest writes it, such as `blake3:…`.
    hash: Named[str] = Column(ShortText(255), nullable=False)


artifacts = _declared(
    "artifacts",
    _ArtifactColumns,
    CheckConstraint("kind IN ('component', 'asset')", name="kind_known"),
    Index("ix_artifacts_hash", "namespace", "hash"),
)


class _CapabilityColumns(_DeclaredColumns):
    #: The word before the colon, such as `topic`.
    kind: Named[str] = Column(ShortText(32), nullable=False)
    capability: Named[str] = Column(ShortText(1024), nullable=False)


def _of_capabilities(name: str) -> Table[_CapabilityColumns]:
    return _declared(name, _CapabilityColumns, Index(f"ix_{name}_kind", "namespace", "kind"))


provisions = _of_capabilities("provisions")
requirements = _of_capabilities("requirements")
