"""Plain SQL for an operator: one statement that only reads, or the database's own shell."""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import DBAPIError

from capsule_registry.errors import InvalidTextError, PermissionDeniedError
from capsule_registry.models.storable import storable_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from capsule_registry.database.database import Database
    from capsule_registry.database.dialects.dialect import Shell

#: Refuses with a clear error; the guard is `Dialect.query`.
_READING: Final = ("SELECT", "WITH", "VALUES", "TABLE", "SHOW", "EXPLAIN", "DESCRIBE")


@contextmanager
def opened_shell(database: Database) -> Iterator[Shell]:
    """Yield the database's own shell, which has said that it only reads; see `RegistryAdmin`."""
    with TemporaryDirectory(prefix="capsule-registry-") as directory:
        with database.translating(), database.connected(database.engine) as conn:
            shell = database.dialect.shell(conn, Path(directory))
        _require_fence(shell, str(database.address))
        yield shell


def _require_fence(shell: Shell, shown: str) -> None:
    """Ask *shell* whether it only reads, and raise unless it says so."""
    asked = subprocess.run(  # noqa: S603 - that is asked for
        (*shell.arguments, *shell.question),
        env=shell.environment_in(os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if asked.returncode or not asked.stdout.rstrip().endswith(shell.answer):
        said = (asked.stderr or asked.stdout).strip().partition("\n")[0]
        raise PermissionDeniedError(shown, f"{shell.arguments[0]} did not open read-only: {said}")


def run_query(database: Database, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the column names and the rows of *statement*; see `RegistryAdmin.query`."""
    statement = storable_text("SQL", statement)
    first = re.match(r"[\s(]*(\w*)", statement)
    if first is None or first[1].upper() not in _READING:
        reason = f"a query begins with {', '.join(_READING)}"
        raise PermissionDeniedError(str(database.address), reason)
    with database.translating(), database.connected(database.engine) as conn:
        if not database.dialect.is_file:
            conn.detach()  # It is closed afterwards, and with it end the locks that a query took.
        return _rows(database, conn, statement)


def _rows(
    database: Database, conn: Connection, statement: str
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the column names of *statement*, and its rows as the driver returns them."""
    driver: Any = database.engine.dialect.dbapi
    connection = conn.connection.dbapi_connection
    try:
        cursor = database.dialect.query(connection, statement, str(database.address))
        names = [column[0] for column in cursor.description or ()]
        return names, [tuple(row) for row in cursor.fetchall()] if names else []
    except (driver.Error, driver.Warning) as error:
        wrapped = DBAPIError(statement, None, error)
        if database.dialect.fault(wrapped) in ("corrupt", "invalid", "unexpected", "unparsed"):
            reason = str(error.args[-1] if error.args else error).partition("\n")[0]
            raise InvalidTextError("SQL", "refused", reason) from error
        raise wrapped from error
