"""What the error codes of each database mean to a caller; no message is ever read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy.exc import DataError, OperationalError

from capsule_registry.errors import (
    CapsuleRegistryError,
    HistoryCorruptError,
    InvalidDatabaseError,
    PermissionDeniedError,
    RegistryUnavailableError,
)

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError

#: `busy` passes by itself: the whole unit is run again. `lost` is a connection that broke. What is
#: `unparsed` is a bug of ours, but on a node of a cluster, where it may be a trigger that the node
#: was reading when another node's write interrupted it: there it is run again elsewhere.
Fault = Literal[
    "busy", "corrupt", "lost", "not_a_database", "permission", "unavailable", "unparsed"
]

#: The error that each kind of failure becomes.
ERRORS: Final[dict[Fault, type[CapsuleRegistryError]]] = {
    "busy": RegistryUnavailableError,
    "corrupt": HistoryCorruptError,
    "lost": RegistryUnavailableError,
    "not_a_database": InvalidDatabaseError,
    "permission": PermissionDeniedError,
    "unavailable": RegistryUnavailableError,
    "unparsed": RegistryUnavailableError,
}

#: Primary result codes. Source: https://sqlite.org/rescode.html.
_SQLITE: Final[dict[int, Fault]] = {
    1: "corrupt",  # SQLITE_ERROR: a table or a column is not there
    3: "permission",  # SQLITE_PERM
    5: "busy",  # SQLITE_BUSY
    6: "busy",  # SQLITE_LOCKED
    8: "permission",  # SQLITE_READONLY
    10: "unavailable",  # SQLITE_IOERR
    11: "corrupt",  # SQLITE_CORRUPT
    13: "unavailable",  # SQLITE_FULL
    14: "unavailable",  # SQLITE_CANTOPEN
    19: "corrupt",  # SQLITE_CONSTRAINT: conflicts are looked for first, under the lock
    23: "permission",  # SQLITE_AUTH
    26: "not_a_database",  # SQLITE_NOTADB
}

#: SQLSTATEs, and below them their classes. Source: PostgreSQL 15, appendix A.
_POSTGRESQL: Final[dict[str, Fault]] = {
    "25006": "permission",  # read_only_sql_transaction
    "40001": "busy",  # serialization_failure
    "40P01": "busy",  # deadlock_detected
    "42501": "permission",  # insufficient_privilege
    "42703": "corrupt",  # undefined_column
    "42804": "corrupt",  # datatype_mismatch: somebody changed the type of a column
    "42883": "corrupt",  # undefined_function: the same, where two columns are compared
    "42P01": "corrupt",  # undefined_table
    "55P03": "busy",  # lock_not_available
    "57014": "unavailable",  # query_canceled: a statement timeout
    "08": "lost",  # connection exceptions
    "23": "corrupt",  # integrity constraints: conflicts are looked for first, under the lock
    "28": "permission",  # invalid authorization
    "3D": "unavailable",  # invalid catalog name
    "53": "unavailable",  # insufficient resources
    "57": "lost",  # operator intervention
    "58": "unavailable",  # system error
    "XX": "corrupt",  # internal error
}

#: Error numbers. Source: MariaDB error codes; 1205 to 1213 are the ones worth a retry.
_MARIADB: Final[dict[int, Fault]] = {
    1020: "busy",  # ER_CHECKREAD: the row has changed
    1021: "unavailable",  # ER_DISK_FULL
    1030: "unavailable",  # ER_GET_ERRNO: an error of the storage engine
    1040: "unavailable",  # ER_CON_COUNT_ERROR
    1044: "permission",  # ER_DBACCESS_DENIED_ERROR
    1045: "permission",  # ER_ACCESS_DENIED_ERROR
    1047: "lost",  # ER_UNKNOWN_COM_ERROR: the node has left its cluster
    1048: "corrupt",  # ER_BAD_NULL_ERROR
    1049: "unavailable",  # ER_BAD_DB_ERROR
    1054: "corrupt",  # ER_BAD_FIELD_ERROR
    1062: "corrupt",  # ER_DUP_ENTRY: conflicts are looked for first, under the lock
    1064: "unparsed",  # ER_PARSE_ERROR
    1114: "unavailable",  # ER_RECORD_FILE_FULL
    1142: "permission",  # ER_TABLEACCESS_DENIED_ERROR
    1143: "permission",  # ER_COLUMNACCESS_DENIED_ERROR
    1146: "corrupt",  # ER_NO_SUCH_TABLE
    1053: "lost",  # ER_SERVER_SHUTDOWN
    1180: "lost",  # ER_ERROR_DURING_COMMIT: nobody knows what the other nodes made of it
    1205: "busy",  # ER_LOCK_WAIT_TIMEOUT
    1213: "busy",  # ER_LOCK_DEADLOCK
    1227: "permission",  # ER_SPECIFIC_ACCESS_DENIED_ERROR
    1290: "permission",  # ER_OPTION_PREVENTS_STATEMENT: the server is read only
    1317: "unavailable",  # ER_QUERY_INTERRUPTED
    1370: "permission",  # ER_PROCACCESS_DENIED_ERROR
    1451: "corrupt",  # ER_ROW_IS_REFERENCED_2
    1452: "corrupt",  # ER_NO_REFERENCED_ROW_2
    1698: "permission",  # ER_ACCESS_DENIED_NO_PASSWORD_ERROR
    1792: "permission",  # ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
    1927: "lost",  # ER_CONNECTION_KILLED
    1969: "unavailable",  # ER_STATEMENT_TIMEOUT
    2002: "unavailable",  # CR_CONNECTION_ERROR
    2003: "unavailable",  # CR_CONN_HOST_ERROR
    2006: "lost",  # CR_SERVER_GONE_ERROR
    2013: "lost",  # CR_SERVER_LOST
    4025: "corrupt",  # ER_CONSTRAINT_FAILED
}


def sqlite_fault(error: DBAPIError) -> Fault | None:
    """Return what the result code of SQLite means."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is None:  # The module's own: a text that is no UTF-8 is all that it cannot read.
        return "corrupt" if isinstance(error, OperationalError) else None
    return _SQLITE.get(code & 0xFF)


def postgresql_fault(error: DBAPIError) -> Fault | None:
    """Return what the SQLSTATE of PostgreSQL means."""
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        # The driver's own: what the server sent is no value of Python's, such as a time `infinity`.
        is_unreadable = isinstance(error, DataError)
        return "lost" if error.connection_invalidated else "corrupt" if is_unreadable else None
    return _POSTGRESQL.get(state, _POSTGRESQL.get(state[:2]))


def mariadb_fault(error: DBAPIError) -> Fault | None:
    """Return what the error number of MariaDB means."""
    number = next(iter(getattr(error.orig, "args", ())), None)
    if not isinstance(number, int) or number == 0:
        return "lost" if error.connection_invalidated else None
    return _MARIADB.get(number)
