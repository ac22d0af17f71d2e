"""
The tables, as the migrations have made them.

They are a public interface: people and programs in other languages read them. Every table but the
first two leads its primary key with the namespace. `docs/design.md` says what each is for.
"""

from capsule_registry.schema.tables.change_log import cache_log, file_metadata
from capsule_registry.schema.tables.declared import (
    grants,
    interceptors,
    provisions,
    requirements,
    tools,
)
from capsule_registry.schema.tables.history import (
    events,
    manifests,
    namespaces,
    revisions,
    schema_versions,
)
from capsule_registry.schema.tables.metadata import metadata
from capsule_registry.schema.tables.registered import capsules, leases, uplinks, uuid_mappings

__all__ = [
    "cache_log",
    "capsules",
    "events",
    "file_metadata",
    "grants",
    "interceptors",
    "leases",
    "manifests",
    "metadata",
    "namespaces",
    "provisions",
    "requirements",
    "revisions",
    "schema_versions",
    "tools",
    "uplinks",
    "uuid_mappings",
]
