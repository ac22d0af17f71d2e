"""The version of a database's schema, and whether this library can run on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from sqlalchemy import String, column, func, inspect, select, table

from capsule_registry.errors import SchemaVersionError
from capsule_registry.schema.tables import schema_versions

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from capsule_registry.database.database import Database

#: The schema version that this library was written for.
SCHEMA_VERSION: Final = "v0006"
#: The oldest schema version that this library can run on.
OLDEST_SUPPORTED: Final = "v0005"
#: The oldest schema version that can be upgraded.
_FIRST: Final = "v0001"
#: What to do with a schema from before the first version.
_BRING_OVER: Final = (
    "it was made by a checkout from before version v0001: write it to a file with the `export` "
    "command of that checkout, and `import` that into a new database"
)
_INSTALL: Final = "install a newer capsule-registry"
_RECORDS_DIFFER: Final = "its records of the version differ, so restore it from a backup"

#: Alembic's version table.
VERSION_TABLE: Final = "capsule_registry_version"
_version = table(VERSION_TABLE, column("version_num", String))
#: The columns of a query that returns the arguments of `found_schema`.
schema_columns: Final = (
    select(_version.c.version_num).scalar_subquery().label("migrated_version"),
    select(func.max(schema_versions.c.version)).scalar_subquery().label("recorded_version"),
    select(func.max(schema_versions.c.oldest_compatible))
    .scalar_subquery()
    .label("oldest_compatible"),
)


@dataclass(frozen=True, slots=True)
class FoundSchema:
    """
    The version of a schema, and the oldest schema version whose library can still run on it.

    If Alembic's record of the version and ours differ, `oldest_compatible` is `None`: unknown.
    """

    version: str | None
    oldest_compatible: str | None

    @property
    def is_usable(self) -> bool:
        """Whether this library can run on it."""
        return (
            self.version is not None
            and self.oldest_compatible is not None
            and self.version >= OLDEST_SUPPORTED
            and self.oldest_compatible <= SCHEMA_VERSION
        )

    @property
    def is_older(self) -> bool:
        """Whether it can be upgraded to this library's version."""
        return self.version is None or _FIRST <= self.version < SCHEMA_VERSION

    def require_usable(self, database: Database) -> None:
        """Raise `SchemaVersionError`, which says what to do, if this library cannot run on it."""
        if refusal := self.refusal(database):
            raise refusal

    def refusal(self, database: Database) -> SchemaVersionError | None:
        """Return why this library cannot run on it, and what to do; `None` if it can."""
        if self.is_usable:
            return None
        return SchemaVersionError(self.version, SCHEMA_VERSION, self._remedy(database))

    def _remedy(self, database: Database) -> str:
        if self.is_older:
            return f"run {database.address.command('db upgrade')}"
        if self.version == SCHEMA_VERSION:
            return _RECORDS_DIFFER
        return _BRING_OVER if str(self.version) < _FIRST else _INSTALL


@lru_cache(maxsize=8)  # Every unit calls it, with the same arguments.
def found_schema(
    migrated_version: str | None, recorded_version: str | None, oldest_compatible: str | None
) -> FoundSchema:
    """Return the schema by the values of `schema_columns`; cached."""
    versions = [one for one in (migrated_version, recorded_version) if one is not None]
    oldest = oldest_compatible if migrated_version == recorded_version else None
    return FoundSchema(max(versions, default=None), oldest)


def find_schema(conn: Connection) -> FoundSchema:
    """Read the version of the schema."""
    names = set(inspect(conn).get_table_names())
    if {VERSION_TABLE, schema_versions.name} <= names:
        return found_schema(**conn.execute(select(*schema_columns)).mappings().one())
    if VERSION_TABLE in names:
        return FoundSchema(conn.scalar(select(_version.c.version_num)), None)
    return FoundSchema(None, None)
