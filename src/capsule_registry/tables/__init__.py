"""
The tables, as the migrations have made them.

They are a public interface: people and programs in other languages read them. Every table but the
first two leads its primary key with the namespace. `docs/design.md` says what each is for.
"""

from capsule_registry.tables.cache import cache_log, file_metadata
from capsule_registry.tables.history import (
    events,
    manifests,
    namespaces,
    revisions,
    schema_versions,
)
from capsule_registry.tables.live import capsules, leases, uplinks, uuid_mappings
from capsule_registry.tables.metadata import metadata
from capsule_registry.tables.projections import (
    grants,
    interceptors,
    provisions,
    requirements,
    tools,
)

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
