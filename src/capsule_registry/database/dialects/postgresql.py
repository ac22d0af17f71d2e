"""
What a connection to PostgreSQL leads to: the server itself, a standby, or a pooler before them.

A standby may be behind, so nothing is decided from it. A pooler gives each transaction another
session, in which a statement that was prepared under some name may be another program's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection


_is_standby = text("SELECT pg_is_in_recovery()")
_WHAT_TO_DO = "it is a standby, which may be behind: give it as replica_url"


def outdated(conn: Connection) -> str | None:
    """Return why *conn* may read what is outdated."""
    return _WHAT_TO_DO if conn.scalar(_is_standby) else None


def greet(connection: Any) -> bool:  # noqa: ANN401 - the driver's own
    """
    Say whether *connection* has a session of its own, and prepare nothing in it if it has not.

    A pooler names itself, not the session, as whom to cancel.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        is_own = bool(cursor.fetchone()[0] == connection.pgconn.backend_pid)
    connection.rollback()
    if not is_own:
        connection.prepare_threshold = None
    return is_own


def admit(connection: Any) -> None:  # noqa: ANN401 - the driver's own
    """
    Refuse *connection* if it is to a standby.

    Raises:
        psycopg.OperationalError: It is.
    """
    said = connection.pgconn.parameter_status(b"in_hot_standby")
    if said is None:  # The server is older than 14, or behind a pooler, and tells only who asks.
        with connection.cursor() as cursor:
            cursor.execute("SELECT CASE WHEN pg_is_in_recovery() THEN 'on' ELSE 'off' END")
            said = cursor.fetchone()[0].encode()
        connection.rollback()
    if said == b"on":
        from psycopg import OperationalError  # noqa: PLC0415 - only what is in use is loaded

        raise OperationalError(_WHAT_TO_DO)
