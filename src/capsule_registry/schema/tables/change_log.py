"""What is in files alone: the log of what has changed, for those who keep rows in memory."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Integer, MetaData, Named, String, Table, TypedColumns

#: Of the tables that no server has.
file_metadata: Final = MetaData()


class _CacheLogColumns(TypedColumns):
    seq: Named[int] = Column(Integer, primary_key=True, autoincrement=True)
    namespace: Named[str] = Column(String(63), nullable=False)
    kind: Named[str] = Column(String(32), nullable=False)
    key: Named[str] = Column(String(128), nullable=False)


#: Filled by triggers, in the order of commits, which on SQLite is that of the numbers.
cache_log = Table("cache_log", file_metadata, _CacheLogColumns, sqlite_autoincrement=True)
