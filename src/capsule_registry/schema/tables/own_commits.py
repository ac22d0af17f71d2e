"""How often the library has committed, which tells other programs' commits; on SQLite only."""

from __future__ import annotations

from typing import Final

from sqlalchemy import CheckConstraint, Column, Integer, MetaData, Named, Table, TypedColumns

from capsule_registry.database.dialects.types import STRICT
from capsule_registry.schema.tables.metadata import metadata

#: The tables that only SQLite has.
file_metadata: Final = MetaData(naming_convention=metadata.naming_convention)


class _OwnCommitColumns(TypedColumns):
    id: Named[int] = Column(Integer, primary_key=True)
    count: Named[int] = Column(Integer, nullable=False)


#: One row. A commit that does not raise the count was made by another program.
own_commits = Table(
    "own_commits",
    file_metadata,
    _OwnCommitColumns,
    CheckConstraint("id = 1", name="one_row"),
    **STRICT,
)
