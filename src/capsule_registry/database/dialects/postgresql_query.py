"""One statement that only reads, on PostgreSQL."""

from __future__ import annotations

import re
from typing import Any, Final

from capsule_registry.errors import PermissionDeniedError

#: A read-only transaction does not stop what a function does elsewhere: in a file, in another
#: session, through a connection of its own. Such functions are declared volatile.
_VOLATILE: Final = (
    "SELECT proname FROM pg_catalog.pg_proc WHERE proname = ANY(%s) AND provolatile = 'v'"
    " AND NOT (pronamespace = 'pg_catalog'::regnamespace AND proname = ANY(%s))"
)
_HARMLESS: Final = [
    *("clock_timestamp", "timeofday", "random", "gen_random_uuid", "current_query", "pg_sleep"),
    *("pg_database_size", "pg_tablespace_size", "pg_table_size", "pg_indexes_size"),
    *("pg_relation_size", "pg_total_relation_size", "pg_blocking_pids", "pg_is_in_recovery"),
    *("pg_current_wal_lsn", "pg_last_wal_receive_lsn", "pg_last_wal_replay_lsn"),
    *("pg_last_xact_replay_timestamp", "pg_xact_commit_timestamp"),
]
#: Behind a name: a parenthesis, or a comment, behind which there may be one.
_CALL: Final = r"(?=\s*(?:\(|/\*|--))"
#: The names that may be those of functions that are called, quoted or not; texts are not skipped.
_CALLED: Final = re.compile(rf"([\w$\x80-\U0010ffff]+){_CALL}")
_CALLED_QUOTED: Final = re.compile(rf'(?="((?:[^"]|"")+)"{_CALL})')


def query(connection: Any, statement: str, shown: str) -> Any:  # noqa: ANN401 - the driver's own
    """Run *statement* alone in a read-only transaction; see `Dialect.query`."""
    connection.read_only = True
    cursor = connection.cursor()
    # Takes the transaction's snapshot: from then on the server lets nothing make it read-write.
    cursor.execute("SELECT current_setting('transaction_read_only')")
    if cursor.fetchone() != ("on",):
        raise PermissionDeniedError(shown, "the server did not begin a read-only transaction")
    if 'u&"' in statement.lower():
        raise PermissionDeniedError(shown, 'a query has no name in escapes (U&"…")')
    cursor.execute(_VOLATILE, (_called(statement), _HARMLESS))
    if found := cursor.fetchone():
        reason = f"a query cannot call {found[0]}, which may act outside of its transaction"
        raise PermissionDeniedError(shown, f"{reason} (it is VOLATILE)")
    # A pipeline uses the extended protocol, which takes a single statement.
    with connection.pipeline():
        cursor.execute(statement)
    return cursor


def _called(statement: str) -> list[str]:
    """Return every name in *statement* that may be that of a function which it calls."""
    quoted = (name.replace('""', '"') for name in _CALLED_QUOTED.findall(statement))
    return [*(name.lower() for name in _CALLED.findall(statement)), *quoted]
