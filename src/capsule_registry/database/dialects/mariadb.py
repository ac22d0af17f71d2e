"""MariaDB; `galera` has what differs on a cluster node."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from capsule_registry.database.dialects import galera
from capsule_registry.database.dialects.bulk_insert import insert_in_one_block
from capsule_registry.database.dialects.dialect import (
    LOCK_TIMEOUT_SECONDS,
    READ_COMMITTED,
    REPEATABLE_READ,
    SERVER_OPTIONS,
    Dialect,
    Fault,
    Probe,
    Session,
)
from capsule_registry.database.dialects.mariadb_catalog import CATALOG
from capsule_registry.database.dialects.mariadb_query import query
from capsule_registry.database.dialects.mariadb_schema import (
    BINLOG_FORMAT,
    adopt_triggers,
    lost_triggers,
    schema_settings,
    script,
    upgrade_needs,
)
from capsule_registry.database.dialects.mariadb_shell import shell

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Insert, Table
    from sqlalchemy.exc import DBAPIError

#: SERVER_STATUS_IN_TRANS. Source: MariaDB, "OK_Packet".
_IN_TRANSACTION: Final = 1

_NO_DATABASE: Final = 1046  # ER_NO_DB_ERROR
#: Error numbers, those of a cluster included; those that are missing are bugs. Source: MariaDB
#: error codes; from 2000 on, those of the client.
_FAULTS: Final[dict[int, Fault]] = {
    1020: "busy",  # ER_CHECKREAD: the row has changed
    1021: "unavailable",  # ER_DISK_FULL
    1023: "unavailable",  # ER_ERROR_ON_CLOSE
    1024: "unavailable",  # ER_ERROR_ON_READ
    1026: "unavailable",  # ER_ERROR_ON_WRITE
    1030: "unavailable",  # ER_GET_ERRNO: an error of the storage engine
    1034: "corrupt",  # ER_NOT_KEYFILE: an index is broken
    1036: "permission",  # ER_OPEN_AS_READONLY
    1037: "unavailable",  # ER_OUTOFMEMORY
    1038: "unavailable",  # ER_OUT_OF_SORTMEMORY
    1040: "unavailable",  # ER_CON_COUNT_ERROR
    1041: "unavailable",  # ER_OUT_OF_RESOURCES
    1044: "permission",  # ER_DBACCESS_DENIED_ERROR
    1045: "permission",  # ER_ACCESS_DENIED_ERROR
    _NO_DATABASE: "invalid",
    1048: "corrupt",  # ER_BAD_NULL_ERROR
    1049: "unavailable",  # ER_BAD_DB_ERROR
    1050: "invalid",  # ER_TABLE_EXISTS_ERROR: another program's, where ours is to be created
    1053: "lost",  # ER_SERVER_SHUTDOWN
    1054: "corrupt",  # ER_BAD_FIELD_ERROR
    1062: "corrupt",  # ER_DUP_ENTRY: conflicts are checked beforehand, under the lock
    1064: "unparsed",  # ER_PARSE_ERROR
    1071: "invalid",  # ER_TOO_LONG_KEY: the row format of the tables is COMPACT
    1114: "unavailable",  # ER_RECORD_FILE_FULL
    1115: "invalid",  # ER_UNKNOWN_CHARACTER_SET: an option of the URL
    1129: "unavailable",  # ER_HOST_IS_BLOCKED
    1130: "permission",  # ER_HOST_NOT_PRIVILEGED
    1135: "unavailable",  # ER_CANT_CREATE_THREAD
    1141: "permission",  # ER_NONEXISTING_GRANT
    1142: "permission",  # ER_TABLEACCESS_DENIED_ERROR
    1143: "permission",  # ER_COLUMNACCESS_DENIED_ERROR
    1146: "corrupt",  # ER_NO_SUCH_TABLE
    1147: "permission",  # ER_NONEXISTING_TABLE_GRANT
    1152: "lost",  # ER_ABORTING_CONNECTION
    1158: "lost",  # ER_NET_READ_ERROR
    1159: "lost",  # ER_NET_READ_INTERRUPTED
    1160: "lost",  # ER_NET_ERROR_ON_WRITE
    1161: "lost",  # ER_NET_WRITE_INTERRUPTED
    1184: "lost",  # ER_NEW_ABORTING_CONNECTION
    1193: "invalid",  # ER_UNKNOWN_SYSTEM_VARIABLE: an option of the URL
    1194: "corrupt",  # ER_CRASHED_ON_USAGE
    1195: "corrupt",  # ER_CRASHED_ON_REPAIR
    1203: "unavailable",  # ER_TOO_MANY_USER_CONNECTIONS
    1205: "busy",  # ER_LOCK_WAIT_TIMEOUT
    1206: "unavailable",  # ER_LOCK_TABLE_FULL
    1213: "busy",  # ER_LOCK_DEADLOCK
    1223: "unavailable",  # ER_CANT_UPDATE_WITH_READLOCK
    1226: "unavailable",  # ER_USER_LIMIT_REACHED
    1227: "permission",  # ER_SPECIFIC_ACCESS_DENIED_ERROR
    1231: "invalid",  # ER_WRONG_VALUE_FOR_VAR: an option of the URL
    1264: "corrupt",  # ER_WARN_DATA_OUT_OF_RANGE
    1265: "corrupt",  # WARN_DATA_TRUNCATED
    1273: "invalid",  # ER_UNKNOWN_COLLATION: an option of the URL
    1290: "permission",  # ER_OPTION_PREVENTS_STATEMENT: the server is read only
    1292: "corrupt",  # ER_TRUNCATED_WRONG_VALUE
    1317: "unavailable",  # ER_QUERY_INTERRUPTED
    1356: "corrupt",  # ER_VIEW_INVALID
    1366: "invalid",  # ER_TRUNCATED_WRONG_VALUE_FOR_FIELD: a character set cannot hold a text
    1370: "permission",  # ER_PROCACCESS_DENIED_ERROR
    1406: "corrupt",  # ER_DATA_TOO_LONG
    1412: "unavailable",  # ER_TABLE_DEF_CHANGED: the schema was changed during a snapshot
    1419: "permission",  # ER_BINLOG_CREATE_ROUTINE_NEED_SUPER
    1449: "permission",  # ER_NO_SUCH_USER: the definer of a view or a trigger is gone
    1451: "corrupt",  # ER_ROW_IS_REFERENCED_2
    1452: "corrupt",  # ER_NO_REFERENCED_ROW_2
    1665: "invalid",  # ER_BINLOG_STMT_MODE_AND_ROW_ENGINE: binlog_format is STATEMENT
    1698: "permission",  # ER_ACCESS_DENIED_NO_PASSWORD_ERROR
    1709: "invalid",  # ER_INDEX_COLUMN_TOO_LONG: the row format of the tables is COMPACT
    1712: "corrupt",  # ER_INDEX_CORRUPT
    1792: "permission",  # ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
    1820: "permission",  # ER_MUST_CHANGE_PASSWORD
    1836: "permission",  # ER_READ_ONLY_MODE
    1862: "permission",  # ER_MUST_CHANGE_PASSWORD_LOGIN
    1877: "corrupt",  # ER_TABLE_CORRUPT
    1927: "lost",  # ER_CONNECTION_KILLED
    1932: "corrupt",  # ER_NO_SUCH_TABLE_IN_ENGINE
    1969: "unavailable",  # ER_STATEMENT_TIMEOUT
    2000: "unavailable",  # CR_UNKNOWN_ERROR
    2001: "unavailable",  # CR_SOCKET_CREATE_ERROR
    2002: "unavailable",  # CR_CONNECTION_ERROR
    2003: "unavailable",  # CR_CONN_HOST_ERROR
    2004: "unavailable",  # CR_IPSOCK_ERROR
    2005: "unavailable",  # CR_UNKNOWN_HOST
    2006: "lost",  # CR_SERVER_GONE_ERROR
    2012: "unavailable",  # CR_SERVER_HANDSHAKE_ERR
    2013: "lost",  # CR_SERVER_LOST
    2026: "unavailable",  # CR_SSL_CONNECTION_ERROR
    2055: "lost",  # CR_SERVER_LOST_EXTENDED
    2059: "permission",  # CR_AUTH_PLUGIN_CANNOT_LOAD
    2061: "permission",  # CR_AUTH_PLUGIN_ERR
    3024: "unavailable",  # ER_QUERY_TIMEOUT
    4025: "corrupt",  # ER_CONSTRAINT_FAILED
    4151: "permission",  # ER_ACCOUNT_HAS_BEEN_LOCKED
    **galera.FAULTS,
}


_ONE: Final = frozenset({"1"})
_NONE: Final = frozenset({"0"})
_YES: Final = frozenset({"yes"})
_LOSES: Final = "commits that were acknowledged can be lost: set it on the server"

_PROBES: Final = (
    Probe("server", "SELECT VERSION()"),
    Probe(
        "supported",
        "SELECT IF(SUBSTRING_INDEX(VERSION(), '.', 1) + 0 > 10"
        " OR SUBSTRING_INDEX(VERSION(), '.', 2) = '10.11', 'yes', 'no')",
        _YES,
        "MariaDB 10.11 or newer is needed",
    ),
    Probe("user", "SELECT CURRENT_USER()"),
    Probe(
        "innodb_flush_log_at_trx_commit", "SELECT @@innodb_flush_log_at_trx_commit", _ONE, _LOSES
    ),
    Probe("innodb_doublewrite", "SELECT @@innodb_doublewrite", _ONE, _LOSES),
    Probe(
        "binary log",
        "SELECT IF(@@log_bin, IF(@@sync_binlog = 1, 'synchronous', 'not synchronous'), 'off')",
        frozenset({"off", "synchronous"}),
        "set sync_binlog = 1: a replica can have what this server lost",
    ),
    BINLOG_FORMAT,
    Probe("foreign_key_checks", "SELECT @@foreign_key_checks", _ONE),
    Probe(
        "strict",
        "SELECT IF(FIND_IN_SET('STRICT_ALL_TABLES', @@sql_mode), 'yes', 'no')",
        _YES,
        "texts may be cut short",
    ),
    Probe(
        "tables of another engine than InnoDB",
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()"
        " AND table_type = 'BASE TABLE' AND engine <> 'InnoDB'",
        _NONE,
        "nothing that is done to them can be rolled back",
    ),
    Probe(
        "columns of another collation than utf8mb4_nopad_bin",
        "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE()"
        " AND data_type = 'varchar'"
        " AND table_name IN ('capsules', 'events', 'namespaces', 'uplinks', 'uuid_mappings')"
        " AND collation_name <> 'utf8mb4_nopad_bin'",
        _NONE,
        "texts that differ may compare as equal",
    ),
    Probe("innodb_lock_wait_timeout in s", "SELECT @@innodb_lock_wait_timeout"),
    Probe("max_statement_time in s", "SELECT @@max_statement_time"),
    Probe("cluster", "SELECT IF(@@wsrep_on, 'yes', 'no')"),
    Probe(
        "cluster status",
        "SELECT IF(@@wsrep_on, (SELECT variable_value FROM information_schema.global_status"
        " WHERE variable_name = 'wsrep_cluster_status'), 'no cluster')",
        frozenset({"Primary", "no cluster"}),
        "the node is in a minority, and answers nothing",
    ),
    Probe(
        "cluster size",
        "SELECT IF(@@wsrep_on, (SELECT variable_value FROM information_schema.global_status"
        " WHERE variable_name = 'wsrep_cluster_size'), 'no cluster')",
    ),
    Probe(
        "wsrep_sync_wait",
        "SELECT IF(@@wsrep_on, @@wsrep_sync_wait & 1, 'no cluster')",
        frozenset({"1", "no cluster"}),
        "reads would miss what other nodes have acknowledged",
    ),
    Probe(
        "TLS",
        "SELECT IF(variable_value = '', 'no', variable_value)"
        " FROM information_schema.session_status WHERE variable_name = 'Ssl_version'",
    ),
)


def fault(error: DBAPIError) -> Fault:
    """Return the kind of *error* by its number."""
    number = _number(error)
    if not number:
        return "lost" if error.connection_invalidated else "unexpected"
    return _FAULTS.get(number, "unexpected")


def _number(error: DBAPIError) -> int | None:
    number = next(iter(getattr(error.orig, "args", ())), None)
    return number if isinstance(number, int) else None


def _code(error: DBAPIError) -> str | None:
    return None if (number := _number(error)) is None else str(number)


def _is_in_transaction(connection: Any) -> bool:  # noqa: ANN401 - the driver's own
    """Return whether the server last reported an open transaction; errors leave that unchanged."""
    return bool(connection.server_status & _IN_TRANSACTION)


def _greet(connection: Any) -> bool:  # noqa: ANN401 - the driver's own
    """Prepare *connection*; raise `pymysql.OperationalError` if it has no database."""
    if not connection.db:
        from pymysql import OperationalError  # noqa: PLC0415 - only what is in use is loaded

        raise OperationalError(_NO_DATABASE, "name a database in the URL: mariadb://HOST/DATABASE")
    return galera.greet(connection)


def _insert_if_missing(table: Table) -> Insert:
    from sqlalchemy.dialects import mysql  # noqa: PLC0415 - only what is in use is loaded

    key = next(iter(table.primary_key))
    return mysql.insert(table).on_duplicate_key_update({key.name: key})


_READ_ONLY: Final = "SET SESSION TRANSACTION READ ONLY"

#: What else decides what is stored, found and waited for; a server, a user, a file of options and
#: the URL may each say otherwise. `TRADITIONAL`: text is never truncated silently.
_SETTINGS: Final = (
    "SET NAMES utf8mb4",
    # The modes that SQLAlchemy found when it first connected, and writes statements for, stay.
    (
        "SET SESSION sql_mode = CONCAT('TRADITIONAL',"
        " IF(FIND_IN_SET('ANSI_QUOTES', @@sql_mode), ',ANSI_QUOTES', ''),"
        " IF(FIND_IN_SET('NO_BACKSLASH_ESCAPES', @@sql_mode), ',NO_BACKSLASH_ESCAPES', ''))"
    ),
    (
        "SET SESSION foreign_key_checks = 1, unique_checks = 1, check_constraint_checks = 1,"
        " sql_auto_is_null = 0, sql_safe_updates = 0,"
        " sql_select_limit = 18446744073709551615, completion_type = 0, timestamp = DEFAULT,"
        " time_zone = '+00:00',"
        f" lock_wait_timeout = LEAST(@@lock_wait_timeout, {LOCK_TIMEOUT_SECONDS}),"
        f" innodb_lock_wait_timeout = LEAST(@@innodb_lock_wait_timeout, {LOCK_TIMEOUT_SECONDS})"
    ),
)
_READ_BACK: Final = """
    SELECT DATABASE() AS `schema`, @@foreign_key_checks AS foreign_key_checks,
        @@check_constraint_checks AS check_constraint_checks,
        @@character_set_client AS character_set_client,
        @@character_set_results AS character_set_results,
        @@sql_auto_is_null AS sql_auto_is_null, @@completion_type AS completion_type,
        @@sql_mode RLIKE 'STRICT_(ALL|TRANS)_TABLES' AS strict_sql_mode"""
_ONLY_ONE: Final[frozenset[object]] = frozenset({1})
_ONLY_ZERO: Final[frozenset[object]] = frozenset({0})
_SESSION: Final = Session(
    _SETTINGS,
    _READ_BACK,
    {
        "foreign_key_checks": _ONLY_ONE,
        "check_constraint_checks": _ONLY_ONE,
        "character_set_client": frozenset({"utf8mb4"}),
        "character_set_results": frozenset({"utf8mb4"}),
        "sql_auto_is_null": _ONLY_ZERO,
        "completion_type": frozenset({"NO_CHAIN"}),
        "strict_sql_mode": _ONLY_ONE,
    },
)
_WHAT_TO_DO: Final = "which may be behind: give it as replica_url"


#: The nodes of a cluster are one place.
_PLACE: Final = """
    SELECT CONCAT(DATABASE(), ' of ', COALESCE((
        SELECT variable_value FROM information_schema.global_status
        WHERE variable_name = 'WSREP_CLUSTER_STATE_UUID'
            AND variable_value NOT IN ('', '00000000-0000-0000-0000-000000000000')
    ), CONCAT(@@hostname, ':', @@port)))"""


def _outdated(connection: Any) -> str | None:  # noqa: ANN401 - the driver's own
    """Return why the server of *connection* may return outdated data, or `None`."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@global.read_only")
        [is_read_only] = cursor.fetchone()
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Slaves_running'")
        _, replicating = cursor.fetchone() or ("", "0")
    if is_read_only:
        return f"the server is read-only, as a replica is, {_WHAT_TO_DO}"
    if replicating != "0":
        return f"the server replicates from another, {_WHAT_TO_DO}"
    return galera.outdated(connection)


def _limit_statements(seconds: float | None) -> str:
    limit = "DEFAULT" if seconds is None else f"{max(0.001, seconds):.6f}"
    return f"SET SESSION max_statement_time = {limit}"


def _script(statements: Iterable[str], schema: str | None) -> Iterator[str]:  # noqa: ARG001 - a database has no schemas
    return script(_SETTINGS, statements)


MARIADB: Final = Dialect(
    name="mariadb",
    driver="pymysql",
    fault=fault,
    code=_code,
    refuses_an_option=lambda error: fault(error) in ("invalid", "unexpected", "unparsed"),
    isolation=READ_COMMITTED,
    snapshot_options=REPEATABLE_READ,
    is_in_transaction=_is_in_transaction,
    engine_options={**SERVER_OPTIONS, "pool_reset_on_return": None},
    session=_SESSION,
    read_only_settings=(_READ_ONLY,),
    greet=_greet,
    outdated=_outdated,
    place=_PLACE,
    commits_by_itself=lambda connection: bool(connection.get_autocommit()),
    limit_statements=_limit_statements,
    limits_of_hosts={"connect_timeout": "3", "read_timeout": "10", "write_timeout": "10"},
    # Below the driver's `read_timeout`: waiting for a lock must not look like a lost server.
    settings_of_hosts=(
        (
            "SET SESSION innodb_lock_wait_timeout = LEAST(@@innodb_lock_wait_timeout, 5),"
            " lock_wait_timeout = LEAST(@@lock_wait_timeout, 5)"
        ),
    ),
    shown_options=frozenset(
        (
            *("host", "port", "user", "unix_socket", "read_default_file", "read_default_group"),
            *("ssl_ca", "ssl_capath", "ssl_cert", "ssl_key", "ssl_cipher", "ssl_disabled"),
            *("ssl_check_hostname", "ssl_verify_cert", "ssl_verify_identity", "charset"),
            *("connect_timeout", "read_timeout", "write_timeout"),
        )
    ),
    insert_if_missing=_insert_if_missing,
    bulk_insert=insert_in_one_block,
    query=query,
    lock_schema=(
        f"SELECT GET_LOCK(CONCAT('capsule-registry ', DATABASE()), {LOCK_TIMEOUT_SECONDS})"
    ),
    unlock_schema="SELECT RELEASE_LOCK(CONCAT('capsule-registry ', DATABASE()))",
    lock_cluster=galera.schema_locked,
    script=_script,
    schema_settings=schema_settings,
    upgrade_needs=upgrade_needs,
    lost_triggers=lost_triggers,
    adopt_triggers=adopt_triggers,
    catalog=CATALOG,
    shell=partial(shell, settings=(*_SETTINGS, _READ_ONLY)),
    backup_tool="mariadb-dump",
    grants_singly=True,
    view_rights="SELECT, SHOW VIEW",
    sequences=("seq_0_to_65535",),
    probes=_PROBES,
)
