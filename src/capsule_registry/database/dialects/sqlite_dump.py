"""The statements that make a SQLite database as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

_OBJECTS: Final = (
    "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT GLOB 'sqlite_*'"
    " ORDER BY rowid"
)
_TABLES: Final = (
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'sqlite_*'"
    " ORDER BY rowid"
)
#: The values of a row as literals, with the columns that are not generated.
_COLUMNS: Final = "SELECT name FROM pragma_table_info(?) ORDER BY cid"


def dump(conn: Connection) -> Iterator[str]:
    """Yield the statements that make the database that *conn* reads, its rows included."""
    yield from conn.exec_driver_sql(_OBJECTS).scalars()
    for table in conn.exec_driver_sql(_TABLES).scalars().all():
        names = conn.exec_driver_sql(_COLUMNS, (table,)).scalars().all()
        columns = ", ".join(f'"{name}"' for name in names)
        values = " || ', ' || ".join(f'quote("{name}")' for name in names)
        rows = conn.exec_driver_sql(f'SELECT {values} FROM "{table}"')  # noqa: S608 - names of its own
        for row in rows.scalars():
            yield f'INSERT INTO "{table}" ({columns}) VALUES ({row})'  # noqa: S608 - as above
