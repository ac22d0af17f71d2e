"""What in a database is the registry's, for programs that keep tables of their own beside it."""

from __future__ import annotations

from typing import Final

from capsule_registry.schema.tables import file_metadata, metadata
from capsule_registry.schema.version import VERSION_TABLE

#: The views that the migrations create.
VIEWS: Final = (
    "artifact_index",
    "audit_log",
    "capability_grants",
    "capsule_history",
    "command_index",
    "import_exporters",
    "live_uuids",
    "registered_capsules",
    "right_changes",
    "tool_index",
    "topic_routes",
)
#: The table that locks the schema on a cluster (`schema_locked`).
_LOCK_TABLE: Final = "capsule_registry_schema_lock"
_OWNED: Final = frozenset(
    {*metadata.tables, *file_metadata.tables, *VIEWS, VERSION_TABLE, _LOCK_TABLE}
)


def owns_table(name: str) -> bool:
    """
    Return whether the table or view *name* is the registry's, on any database.

    A program that autogenerates migrations for the same database must leave these alone: see
    `docs/databases.md` for the filter.
    """
    return name in _OWNED
