"""One SQL statement of a person's own, and what it gives."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import DBAPIError

from capsule_registry.errors import InvalidTextError, PermissionDeniedError
from capsule_registry.models.limits import check_text

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from capsule_registry.database.database import Database

#: The read-only connection is the fence; this keeps out what could take it down.
_READING: Final = ("SELECT", "WITH", "VALUES", "TABLE", "SHOW", "EXPLAIN", "DESCRIBE")


def run_query(
    database: Database, conn: Connection, statement: str
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the names of the columns that *statement* gives, and its rows as the driver does."""
    check_text("SQL", statement)
    first = re.match(r"[\s(]*(\w*)", statement)
    if first is None or first[1].upper() not in _READING:
        reason = f"a query begins with {', '.join(_READING)}"
        raise PermissionDeniedError(str(database.address), reason)
    driver: Any = database.engine.dialect.dbapi
    cursor: Any = conn.connection.cursor()
    try:
        database.dialect.run_one(cursor, statement)
        names = [column[0] for column in cursor.description or ()]
        return names, [tuple(row) for row in cursor.fetchall()] if names else []
    except (driver.Error, driver.Warning) as error:
        wrapped = DBAPIError(statement, None, error)
        if database.dialect.fault(wrapped) in (None, "corrupt", "unparsed"):
            reason = str(error.args[-1] if error.args else error).partition("\n")[0]
            raise InvalidTextError("SQL", "refused", reason) from error
        raise wrapped from error
    finally:
        cursor.close()
        conn.connection.rollback()
