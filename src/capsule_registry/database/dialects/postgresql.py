"""
PostgreSQL: a primary, a standby, or a pooler in front of them.

A standby may lag, so no decision is based on it. A pooler gives each transaction another session,
in which a prepared statement of some name may be another program's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ARRAY, String, bindparam, cast, func, select, text, true
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
    Session,
    one_transaction,
)
from capsule_registry.database.dialects.postgresql_catalog import CATALOG
from capsule_registry.database.dialects.postgresql_query import query
from capsule_registry.database.dialects.postgresql_shell import shell

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Column, ColumnElement, Connection, Insert, Select, Table
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

_ENCODING: Final = Probe(
    "encoding", "SHOW server_encoding", frozenset({"UTF8"}), "some texts cannot be held"
)
_CURRENT_SCHEMA: Final = (
    "SELECT coalesce(current_schema(), 'none of ' || current_setting('search_path'))"
)
_UPGRADE_NEEDS: Final = (
    _ENCODING,
    Probe(
        "search_path",
        "SELECT CASE WHEN current_schema() IS NULL THEN current_setting('search_path')"
        " ELSE 'found' END",
        frozenset({"found"}),
        "no schema of it exists: create one, or say ?schema=NAME, which an upgrade creates",
    ),
)
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
    _ENCODING,
    Probe("schema", _CURRENT_SCHEMA),
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


#: What else decides how values and conditions are read; a role, a database, the environment and
#: the URL may each say otherwise. A limit on waiting that was set by one of them is kept.
_SETTINGS: Final = f"""
    SELECT set_config('client_encoding', 'UTF8', false),
        set_config('DateStyle', 'ISO, YMD', false),
        set_config('TimeZone', 'UTC', false),
        set_config('standard_conforming_strings', 'on', false),
        set_config('transform_null_equals', 'off', false),
        CASE WHEN current_setting('lock_timeout') = '0'
            THEN set_config('lock_timeout', '{LOCK_TIMEOUT_SECONDS}s', false) END,
        CASE WHEN current_setting('synchronous_commit') = 'off'
            THEN set_config('synchronous_commit', 'on', false) END,
        CASE WHEN current_setting('session_replication_role') <> 'origin'
            THEN set_config('session_replication_role', 'origin', false) END"""
_READ_BACK: Final = """
    SELECT current_schema() AS schema,
        current_setting('client_encoding') AS client_encoding,
        split_part(current_setting('DateStyle'), ',', 1) AS "DateStyle",
        current_setting('standard_conforming_strings') AS standard_conforming_strings,
        current_setting('transform_null_equals') AS transform_null_equals,
        current_setting('synchronous_commit') <> 'off' AS synchronous_commit,
        current_setting('session_replication_role') AS session_replication_role"""
_SESSION: Final = Session(
    (_SETTINGS,),
    _READ_BACK,
    {
        "client_encoding": frozenset({"UTF8"}),
        "DateStyle": frozenset({"ISO"}),
        "standard_conforming_strings": frozenset({"on"}),
        "transform_null_equals": frozenset({"off"}),
        "synchronous_commit": frozenset({True}),
        "session_replication_role": frozenset({"origin"}),
    },
)
#: A standby, and a database whose tables are filled by a subscription, replay what another one did.
_REPLAYS: Final = """
    SELECT pg_is_in_recovery(), EXISTS (
        SELECT 1 FROM pg_catalog.pg_subscription_rel WHERE srrelid = to_regclass('namespaces'))"""
_WHAT_TO_DO: Final = "which may be behind: give it as replica_url"
_schema_of_tables = text(
    "SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
    " WHERE pg_class.oid = to_regclass('namespaces')"
)
#: What libpq and the server say of options, before there is any SQLSTATE.
_REFUSES_AN_OPTION: Final = re.compile(
    r"\b(?:invalid|unrecognized|bad value)\b|could not parse network address|definition of service"
)


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


def _outdated(connection: Any) -> str | None:  # noqa: ANN401 - the driver's own
    """Return why the server of *connection* may return outdated data, or `None`."""
    with connection.cursor() as cursor:
        cursor.execute(_REPLAYS)
        is_standby, is_subscribed = cursor.fetchone()
    if is_standby:
        return f"it is a standby, {_WHAT_TO_DO}"
    return f"its tables are filled by a subscription, {_WHAT_TO_DO}" if is_subscribed else None


def _limit_statements(seconds: float | None) -> str:
    if seconds is None:
        return "RESET statement_timeout"
    return f"SET statement_timeout = {max(1, int(seconds * 1000))}"


def _in_schema(url: URL, schema: str) -> URL:
    """Return *url* with the search path *schema*, which poolers and standbys get as well."""
    given = url.query.get("options", "")
    options = " ".join([*([given] if isinstance(given, str) else given), f"-csearch_path={schema}"])
    return url.update_query_dict({"options": options.strip()})


def _script(statements: Iterable[str], schema: str | None) -> Iterator[str]:
    entered = (f"CREATE SCHEMA IF NOT EXISTS {schema}", f"SET LOCAL search_path TO {schema}")
    return one_transaction((*(entered if schema else ()), *statements), schema)


def _schema_found(conn: Connection) -> str | None:
    found: str | None = conn.scalar(_schema_of_tables)
    return found


def _insert_if_missing(table: Table) -> Insert:
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - only what is in use is loaded

    return postgresql.insert(table).on_conflict_do_nothing()


def _existing_keys(key: Column[Any], kind: ColumnElement[str]) -> Select[str, str]:
    """
    Return the query for the keys that exist, each looked up by itself.

    With IN or a join, and statistics that are behind, the planner would look through the namespace.
    """
    table = key.table
    wanted = func.unnest(bindparam(table.name, type_=ARRAY(key.type))).column_valued("wanted")
    of_namespace = table.c.namespace == bindparam("namespace")
    is_there = select(true()).where(of_namespace, key == wanted).scalar_subquery()
    return select(kind.label("kind"), cast(wanted, String(128)).label("key")).where(is_there)


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
    session=_SESSION,
    read_only_settings=("SET default_transaction_read_only = on",),
    # A plan that was made while a table was small is kept while it grows. Where a table has no
    # index, as that of versions, it would look too dear not to be compiled.
    write_settings=("SET enable_seqscan = off", "SET jit = off"),
    drop_plans="DISCARD PLANS",
    greet=_greet,
    outdated=_outdated,
    place="SELECT current_database() || ' of ' || pg_postmaster_start_time()",
    commits_by_itself=lambda connection: bool(connection.autocommit),
    limit_statements=_limit_statements,
    driver_takes_hosts=True,
    limits_of_hosts={
        "target_session_attrs": "read-write",
        "connect_timeout": "3",
        "keepalives_idle": "5",
        "keepalives_interval": "2",
        "keepalives_count": "2",
        "tcp_user_timeout": "10000",
    },
    shown_options=frozenset(
        (
            *("host", "hostaddr", "port", "user", "service", "passfile", "options"),
            *("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "channel_binding"),
            *("connect_timeout", "target_session_attrs", "gssencmode", "application_name"),
        )
    ),
    insert_if_missing=_insert_if_missing,
    existing_keys=_existing_keys,
    bulk_insert=insert_with_one_statement,
    query=query,
    # The key is the word "capsules" in ASCII.
    lock_schema="SELECT pg_advisory_xact_lock(7161128523689387379)",
    script=_script,
    in_schema=_in_schema,
    schema_found=_schema_found,
    catalog=CATALOG,
    shell=shell,
    backup_tool="pg_dump",
    probes=_PROBES,
    upgrade_needs=lambda conn: (probe.find(conn) for probe in _UPGRADE_NEEDS),
)
