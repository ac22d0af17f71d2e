"""
Galera clusters: detects a node, and sets what the guarantees rely on.

A write is certified on all nodes at COMMIT, so one that conflicts with another node's ends in a
deadlock there; and a node answers reads from what it has applied so far, unless told to wait.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection, TextClause

    from capsule_registry.database.dialects.dialect import Fault

#: The error of a node outside the primary component: in a minority, or still joining.
_NOT_READY: Final = 1047
#: Errors that only a node of a cluster has. Source: MariaDB error codes.
FAULTS: Final[dict[int, Fault]] = {
    _NOT_READY: "lost",  # ER_UNKNOWN_COM_ERROR
    1180: "lost",  # ER_ERROR_DURING_COMMIT: the outcome on the other nodes is unknown
}
#: Makes reads wait for everything that any node had acknowledged before.
SYNC_WAIT = 1
#: Errors of a write that conflicts with another node's, certified first.
_CONFLICTS: Final = (1205, 1213)
#: How long the schema stays locked after its holder died.
_HELD_SECONDS: Final = 20
_PAUSE_SECONDS: Final = 0.2

_make_table = text(
    "CREATE TABLE IF NOT EXISTS capsule_registry_schema_lock"
    " (id INT PRIMARY KEY, holder CHAR(36), held_until DATETIME)"
)
_make_row = text("INSERT IGNORE INTO capsule_registry_schema_lock (id) VALUES (1)")
_take = text(
    "UPDATE capsule_registry_schema_lock"
    " SET holder = :holder, held_until = UTC_TIMESTAMP() + INTERVAL :seconds SECOND"
    " WHERE id = 1 AND (holder IS NULL OR held_until < UTC_TIMESTAMP())"
)
_keep = text(
    "UPDATE capsule_registry_schema_lock"
    " SET held_until = UTC_TIMESTAMP() + INTERVAL :seconds SECOND"
    " WHERE id = 1 AND holder = :holder"
)
_give_back = text(
    "UPDATE capsule_registry_schema_lock SET holder = NULL WHERE id = 1 AND holder = :holder"
)


def greet(connection: Any) -> bool:  # noqa: ANN401 - the driver's own
    """
    Enable causal reads on a connection to a cluster node. Return `True`: its session is its own.

    Raises:
        pymysql.OperationalError: The node is in no primary component.
    """
    with connection.cursor() as cursor:
        if _value(cursor, "SHOW VARIABLES LIKE 'wsrep_on'") != "ON":
            return True
        if _value(cursor, "SHOW STATUS LIKE 'wsrep_ready'") != "ON":
            from pymysql import OperationalError  # noqa: PLC0415 - only what is in use is loaded

            raise OperationalError(_NOT_READY, "the node is in no primary component of its cluster")
        cursor.execute(
            "SET SESSION wsrep_sync_wait = @@wsrep_sync_wait | %s, SESSION wsrep_dirty_reads = OFF",
            (SYNC_WAIT,),
        )
    return True


def _value(cursor: Any, question: str) -> str | None:  # noqa: ANN401 - the driver's own
    cursor.execute(question)
    found = cursor.fetchone()
    return None if found is None else str(found[1])


def is_node(conn: Connection) -> bool:
    """Return whether *conn* is to a cluster node."""
    found = conn.execute(text("SHOW VARIABLES LIKE 'wsrep_on'")).one_or_none()
    return found is not None and found[1] == "ON"


def outdated(connection: Any) -> str | None:  # noqa: ANN401 - the driver's own
    """Return why a connection to a node may return outdated data, or `None`."""
    with connection.cursor() as cursor:
        if _value(cursor, "SHOW VARIABLES LIKE 'wsrep_on'") != "ON":
            return None
        cursor.execute("SELECT @@wsrep_sync_wait & 1, @@wsrep_dirty_reads")
        waits, is_dirty = cursor.fetchone()
    if waits and not is_dirty:
        return None
    return "the engine needs wsrep_sync_wait = 1 and wsrep_dirty_reads = OFF on each connection"


@contextmanager
def schema_locked(conn: Connection, patience: float) -> Iterator[bool]:
    """
    Lock the schema on all nodes of a cluster, by a row that names the holder.

    Named locks are local to a node; a COMMIT is certified on all. Yields `False` if another holder
    kept the lock for *patience* seconds, and `True` at once if *conn* is not to a cluster node.
    """
    with conn.begin():
        is_cluster = is_node(conn)
    if not is_cluster:
        yield True
        return
    engine = conn.engine.execution_options(isolation_level="AUTOCOMMIT")
    values = {"holder": str(uuid4()), "seconds": _HELD_SECONDS}
    with engine.connect() as beside:
        beside.execute(_make_table)
        beside.execute(_make_row)
        deadline = time.monotonic() + patience
        while not (taken := _was_done(beside, _take, values)) and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)
        ended = Event()
        keeper = Thread(target=_keep_held, args=(beside, values, ended), daemon=True)
        keeper.start()
        try:
            yield taken
        finally:
            ended.set()
            keeper.join()
            _was_done(beside, _give_back, values)


def _keep_held(beside: Connection, values: Mapping[str, object], ended: Event) -> None:
    """Extend the lock until it has *ended* or the connection is lost."""
    try:
        while not ended.wait(_HELD_SECONDS / 5):
            _was_done(beside, _keep, values)
    except DBAPIError:
        return


def _was_done(beside: Connection, statement: TextClause, values: Mapping[str, object]) -> bool:
    """Return whether *statement* changed the row; on a conflict another node's change won."""
    try:
        return beside.execute(statement, values).rowcount == 1
    except DBAPIError as error:
        if getattr(error.orig, "args", (None,))[0] not in _CONFLICTS:
            raise
        return False
