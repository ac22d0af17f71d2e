"""
PostgreSQL: a primary, a standby, or a pooler in front of them.

A standby may lag, so no decision is based on it. A pooler gives each transaction another session,
in which a prepared statement of some name may be another program's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text
from sqlalchemy.exc import DataError

from capsule_registry.database.dialects.bulk_insert import insert_with_one_statement
from capsule_registry.database.dialects.dialect import (
    LOCK_TIMEOUT_SECONDS,
    READ_COMMITTED,
    REPEATABLE_READ,
    SERVER_OPTIONS,
    Dialect,
    Fault,
    Probe,
    Shell,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection, Insert, Table
    from sqlalchemy.engine import URL
    from sqlalchemy.exc import DBAPIError

#: SQLSTATEs, and below them their classes; those that are missing are bugs. Source: PostgreSQL 17,
#: appendix A.
_FAULTS: Final[dict[str, Fault]] = {
    "22021": "invalid",  # character_not_in_repertoire: the encoding of the database is not UTF8
    "22P05": "invalid",  # untranslatable_character: likewise
    "25006": "permission",  # read_only_sql_transaction
    "25P03": "unavailable",  # idle_in_transaction_session_timeout: would pass again
    "25P04": "unavailable",  # transaction_timeout: likewise
    "40001": "busy",  # serialization_failure
    "40002": "corrupt",  # transaction_integrity_constraint_violation
    "40003": "lost",  # statement_completion_unknown
    "40P01": "busy",  # deadlock_detected
    "42501": "permission",  # insufficient_privilege
    "42703": "corrupt",  # undefined_column
    "42804": "corrupt",  # datatype_mismatch: the type of a column was changed
    "42883": "corrupt",  # undefined_function: likewise, where two columns are compared
    "42P01": "corrupt",  # undefined_table
    "42P07": "invalid",  # duplicate_table: another program's, where ours is to be created
    "42710": "invalid",  # duplicate_object: likewise
    "42723": "invalid",  # duplicate_function: likewise
    "55P02": "invalid",  # cant_change_runtime_param: an option of the URL
    "55P03": "busy",  # lock_not_available
    "57014": "unavailable",  # query_canceled: a statement timeout
    "08": "lost",  # connection exceptions
    "22": "corrupt",  # data exceptions: what can be stored is checked beforehand
    "23": "corrupt",  # integrity constraints: conflicts are checked beforehand, under the lock
    "27": "corrupt",  # triggered data change violation: another program's trigger
    "28": "permission",  # invalid authorization
    "3D": "unavailable",  # invalid catalog name
    "3F": "unavailable",  # invalid schema name: the first one of the search path is missing
    "44": "corrupt",  # WITH CHECK OPTION violation: likewise, a view
    "53": "unavailable",  # insufficient resources
    "55": "unavailable",  # object not in prerequisite state: a database that takes no connections
    "57": "lost",  # operator intervention
    "58": "unavailable",  # system error
    "72": "unavailable",  # snapshot failure: it has become too old
    "F0": "unavailable",  # configuration file error
    "XX": "corrupt",  # internal error
}


_ON: Final = frozenset({"on"})
_NONE: Final = frozenset({"0"})
_YES: Final = frozenset({"yes"})
_LOSES: Final = "commits that were acknowledged can be lost: set it on the server"

_PROBES: Final = (
    Probe("server", "SHOW server_version"),
    Probe(
        "supported",
        "SELECT CASE WHEN current_setting('server_version_num')::int >= 140000"
        " THEN 'yes' ELSE 'no' END",
        _YES,
        "PostgreSQL 14 or newer is needed",
    ),
    Probe("user", "SELECT session_user"),
    Probe("fsync", "SHOW fsync", _ON, _LOSES),
    Probe("full_page_writes", "SHOW full_page_writes", _ON, _LOSES),
    Probe(
        "synchronous_commit",
        "SHOW synchronous_commit",
        frozenset({"on", "local", "remote_write", "remote_apply"}),
        _LOSES,
    ),
    Probe("encoding", "SHOW server_encoding", frozenset({"UTF8"}), "some texts cannot be held"),
    Probe("session_replication_role", "SHOW session_replication_role", frozenset({"origin"})),
    Probe(
        "columns of another collation than C",
        "SELECT count(*) FROM information_schema.columns"
        " WHERE table_schema = current_schema() AND data_type = 'character varying'"
        " AND table_name IN ('capsules', 'events', 'namespaces', 'uplinks', 'uuid_mappings')"
        " AND collation_name IS DISTINCT FROM 'C'",
        _NONE,
        "texts that differ may compare as equal",
    ),
    Probe("lock_timeout", "SHOW lock_timeout"),
    Probe("statement_timeout", "SHOW statement_timeout"),
    Probe(
        "standby",
        "SELECT CASE WHEN pg_is_in_recovery() THEN 'yes' ELSE 'no' END",
        frozenset({"no"}),
        "a standby may be behind: decide nothing from it",
    ),
    Probe(
        "bytes received and not applied",
        "SELECT CASE WHEN pg_is_in_recovery() THEN"
        " pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::text"
        " ELSE 'no standby' END",
    ),
    Probe("synchronous_standby_names", "SHOW synchronous_standby_names"),
    Probe(
        "standbys",
        "SELECT CASE WHEN pg_is_in_recovery() THEN 'not asked' ELSE (SELECT"
        " coalesce(string_agg(concat_ws(' ', application_name, state, sync_state,"
        " pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn), 'bytes behind'), '; '), 'none')"
        " FROM pg_stat_replication) END",
    ),
    Probe(
        "TLS",
        "SELECT coalesce((SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()), 'no')",
    ),
)


#: A limit set by the caller, in the URL or for the role, is kept.
_LIMIT_WAITING: Final = (
    f"SELECT set_config('lock_timeout', '{LOCK_TIMEOUT_SECONDS}s', false)"
    " WHERE current_setting('lock_timeout') = '0'"
)
#: What libpq and the server say of options, before there is any SQLSTATE.
_REFUSES_AN_OPTION: Final = re.compile(
    r"\b(?:invalid|unrecognized|bad value)\b|could not parse network address|definition of service"
)
_is_standby = text("SELECT pg_is_in_recovery()")
_WHAT_TO_DO = "it is a standby, which may be behind: give it as replica_url"


def fault(error: DBAPIError) -> Fault:
    """Return the kind of *error* by its SQLSTATE."""
    state = _code(error)
    if state is None:
        # Raised by the driver itself: a value that Python cannot represent, such as `infinity`.
        is_unreadable = isinstance(error, DataError)
        is_lost = error.connection_invalidated
        return "lost" if is_lost else "corrupt" if is_unreadable else "unexpected"
    return _FAULTS.get(state) or _FAULTS.get(state[:2], "unexpected")


def _code(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def _refuses_an_option(error: DBAPIError) -> bool:
    return _code(error) is None and _REFUSES_AN_OPTION.search(str(error.orig)) is not None


def _outdated(conn: Connection) -> str | None:
    """Return why *conn* may return outdated data, or `None`."""
    return _WHAT_TO_DO if conn.scalar(_is_standby) else None


def _greet(connection: Any) -> bool:  # noqa: ANN401 - the driver's own
    """
    Return whether *connection* has a session of its own; if not, disable prepared statements.

    A pooler reports its own process id as the one to cancel, not that of the session.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        is_own = bool(cursor.fetchone()[0] == connection.pgconn.backend_pid)
    connection.rollback()
    if not is_own:
        connection.prepare_threshold = None
    return is_own


def _admit(connection: Any) -> None:  # noqa: ANN401 - the driver's own
    """Raise `psycopg.OperationalError` if *connection* is to a standby."""
    said = connection.pgconn.parameter_status(b"in_hot_standby")
    if said is None:  # The server is older than 14, or behind a pooler: query it.
        with connection.cursor() as cursor:
            cursor.execute("SELECT CASE WHEN pg_is_in_recovery() THEN 'on' ELSE 'off' END")
            said = cursor.fetchone()[0].encode()
        connection.rollback()
    if said == b"on":
        from psycopg import OperationalError  # noqa: PLC0415 - only what is in use is loaded

        raise OperationalError(_WHAT_TO_DO)


def _insert_if_missing(table: Table) -> Insert:
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - only what is in use is loaded

    return postgresql.insert(table).on_conflict_do_nothing()


def _run_one(cursor: Any, statement: str) -> object:  # noqa: ANN401 - the driver's own
    """Run *statement* as a prepared one: the simple protocol would accept several."""
    return cursor.execute(statement, prepare=True)


def _shell(url: URL) -> Shell:
    place = url.set(drivername="postgresql", password=None)
    password = {"PGPASSWORD": str(url.password)} if url.password else {}
    options = {"PGOPTIONS": "-c default_transaction_read_only=on"}
    return Shell(("psql", place.render_as_string()), {**options, **password})


POSTGRESQL: Final = Dialect(
    name="postgresql",
    driver="psycopg",
    fault=fault,
    code=_code,
    refuses_an_option=_refuses_an_option,
    isolation=READ_COMMITTED,
    snapshot_options=REPEATABLE_READ,
    # The driver begins with the first statement, which shows whether the server is still there.
    begin_snapshot="SELECT 1",
    switches_autocommit_freely=True,
    engine_options=SERVER_OPTIONS,
    settings=(_LIMIT_WAITING,),
    read_only_settings=("SET default_transaction_read_only = on",),
    greet=_greet,
    admit=_admit,
    outdated=_outdated,
    driver_takes_hosts=True,
    limits_of_hosts={
        "target_session_attrs": "read-write",
        "connect_timeout": "3",
        "keepalives_idle": "5",
        "keepalives_interval": "2",
        "keepalives_count": "2",
        "tcp_user_timeout": "10000",
    },
    insert_if_missing=_insert_if_missing,
    bulk_insert=insert_with_one_statement,
    run_one=_run_one,
    # The key is the word "capsules" in ASCII.
    lock_schema="SELECT pg_advisory_xact_lock(7161128523689387379)",
    shell=_shell,
    backup_tool="pg_dump",
    probes=_PROBES,
)
