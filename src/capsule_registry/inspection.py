"""One SQL statement of a person's own, and what it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from capsule_registry.errors import InvalidTextError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from capsule_registry.database import Database


def run_query(
    database: Database, conn: Connection, statement: str
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the names of the columns that *statement* gives, and its rows as the driver does."""
    driver: Any = database.engine.dialect.dbapi
    cursor: Any = conn.connection.cursor()
    try:
        database.dialect.run_one(cursor, statement)
        names = [column[0] for column in cursor.description or ()]
        return names, [tuple(row) for row in cursor.fetchall()] if names else []
    except (driver.Error, driver.Warning) as error:
        wrapped = DBAPIError(statement, None, error)
        if database.dialect.fault(wrapped) in (None, "corrupt"):
            reason = str(error.args[-1] if error.args else error).partition("\n")[0]
            raise InvalidTextError("SQL", "refused", reason) from error
        raise wrapped from error
    finally:
        cursor.close()
        conn.connection.rollback()
