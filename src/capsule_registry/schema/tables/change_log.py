"""The change log, which invalidates rows cached in memory; on SQLite only."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Integer, MetaData, Named, String, Table, TypedColumns

#: The tables that only SQLite has.
file_metadata: Final = MetaData()


class _CacheLogColumns(TypedColumns):
    seq: Named[int] = Column(Integer, primary_key=True, autoincrement=True)
    namespace: Named[str] = Column(String(63), nullable=False)
    kind: Named[str] = Column(String(32), nullable=False)
    key: Named[str] = Column(String(128), nullable=False)


#: Written by triggers; `seq` follows the order of commits, since SQLite has one writer at a time.
cache_log = Table("cache_log", file_metadata, _CacheLogColumns, sqlite_autoincrement=True)
