"""
The tables that the migrations create.

They are a public interface, read by people and by programs in other languages: `docs/design.md`
describes each. Primary keys begin with the namespace, except in `schema_versions` and
`own_commits`.
"""

from capsule_registry.schema.tables.declared import (
    artifacts,
    commands,
    exports,
    grants,
    imports,
    interceptors,
    provisions,
    requirements,
    routes,
    tools,
    unknown_tools,
)
from capsule_registry.schema.tables.history import (
    events,
    manifests,
    namespaces,
    revisions,
    schema_versions,
)
from capsule_registry.schema.tables.metadata import metadata
from capsule_registry.schema.tables.own_commits import file_metadata, own_commits
from capsule_registry.schema.tables.registered import capsules, leases, uplinks, uuid_mappings

__all__ = [
    "artifacts",
    "capsules",
    "commands",
    "events",
    "exports",
    "file_metadata",
    "grants",
    "imports",
    "interceptors",
    "leases",
    "manifests",
    "metadata",
    "namespaces",
    "own_commits",
    "provisions",
    "requirements",
    "revisions",
    "routes",
    "schema_versions",
    "tools",
    "unknown_tools",
    "uplinks",
    "uuid_mappings",
]
