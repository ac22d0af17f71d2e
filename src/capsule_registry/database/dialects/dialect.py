"""The databases: how each is reached and locked, and what goes wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from capsule_registry.canonical_json import canonical_json
from capsule_registry.database.dialects import galera, postgresql
from capsule_registry.database.dialects.bulk_insert import at_once, by_table
from capsule_registry.database.dialects.faults import mariadb_fault, postgresql_fault, sqlite_fault
from capsule_registry.database.dialects.probes import MARIADB, POSTGRESQL, SQLITE
from capsule_registry.database.dialects.shells import mariadb_shell, postgresql_shell, sqlite_shell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Insert, Table
    from sqlalchemy.engine import URL
    from sqlalchemy.exc import DBAPIError

    from capsule_registry.database.dialects.bulk_insert import Write
    from capsule_registry.database.dialects.faults import Fault
    from capsule_registry.database.dialects.probes import Probe
    from capsule_registry.database.dialects.shells import Shell

#: How long a statement waits for a lock before it gives up.
LOCK_TIMEOUT_SECONDS: Final = 30


#: SERVER_STATUS_IN_TRANS. Source: MariaDB, "OK_Packet".
_MARIADB_IN_TRANSACTION: Final = 1


def _sqlite_insert_if_missing(table: Table) -> Insert:
    from sqlalchemy.dialects import sqlite  # noqa: PLC0415 - only what is in use is loaded

    return sqlite.insert(table).on_conflict_do_nothing()


def _postgresql_insert_if_missing(table: Table) -> Insert:
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - as above

    return postgresql.insert(table).on_conflict_do_nothing()


def _mariadb_insert_if_missing(table: Table) -> Insert:
    from sqlalchemy.dialects import mysql  # noqa: PLC0415 - as above

    key = next(iter(table.primary_key))
    return mysql.insert(table).on_duplicate_key_update({key.name: key})


def _postgresql_run_one(cursor: Any, statement: str) -> object:  # noqa: ANN401 - the driver's own
    """Run it as a prepared statement: the other protocol would take several."""
    return cursor.execute(statement, prepare=True)


def _mariadb_is_in_transaction(connection: Any) -> bool:  # noqa: ANN401 - the driver's own
    """Say what the server said last; an error says nothing, and then it is still in one."""
    return bool(connection.server_status & _MARIADB_IN_TRANSACTION)


@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """What the rest of the library needs to know about one kind of database."""

    name: str
    driver: str
    #: What kind of failure of the database an error is; `None` for a bug of ours.
    fault: Callable[[DBAPIError], Fault | None]
    #: The isolation that every transaction has; it is read back.
    isolation: str
    #: The file is the user's own, so the library may change its schema when it opens it.
    upgrades_itself: bool = False
    #: What begins a transaction that writes, where the driver's own way would be unsafe.
    begin_write: str | None = None
    #: Options of a connection whose transaction reads at one moment.
    snapshot_options: Mapping[str, Any] = field(default_factory=dict)
    #: The database has no clock of its own: the time is that of the one host that can open it.
    has_hosts_clock: bool = False
    #: Looks at a new connection of the driver, and says whether it has a session of its own: else
    #: what is told it would stay with somebody else.
    greet: Callable[[Any], bool] = lambda _: True
    #: Refuses one to a server whose answers may be outdated.
    admit: Callable[[Any], None] = lambda _: None
    #: Why an engine of the caller's may read what is outdated, if it may.
    outdated: Callable[[Connection], str | None] = lambda _: None
    #: The driver itself tries several hosts; and what is told it, and each connection, of limits
    #: after which another host is tried.
    driver_takes_hosts: bool = False
    limits_of_hosts: Mapping[str, str] = field(default_factory=dict)
    settings_of_hosts: tuple[str, ...] = ()
    #: Options of the engine, and what each new connection is told.
    engine_options: Mapping[str, Any] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    #: A connection can be made to commit by itself without a word to the server.
    switches_autocommit_freely: bool = False
    #: What it is told besides where nothing may be written.
    read_only_settings: tuple[str, ...] = ()
    #: The database's own shell, for a URL.
    shell: Callable[[URL], Shell] = sqlite_shell
    #: Runs one statement, never several, on a cursor of the driver.
    run_one: Callable[[Any, str], object] = lambda cursor, statement: cursor.execute(statement)
    #: What inserts a row unless its key is there, and waits for whoever is inserting the same.
    insert_if_missing: Callable[[Table], Insert] = _sqlite_insert_if_missing
    #: Whether a connection of the driver is in a transaction, where the driver, asked to roll back,
    #: would ask the server even if not.
    is_in_transaction: Callable[[Any], bool] | None = None
    #: Writes rows of several tables.
    write: Write = by_table
    #: Rights are granted on one table at a time, to users of a host.
    grants_singly: bool = False
    #: What is read back of it, to see whether the guarantees have what they rest on.
    probes: tuple[Probe, ...] = ()
    #: What makes processes that change the schema take turns, and what ends the turn.
    lock_schema: str | None = None
    unlock_schema: str | None = None
    #: Whether a connection is to one of several nodes that all write, and what takes turns there.
    is_cluster: Callable[[Connection], bool] = lambda _: False
    lock_cluster: Callable[[Connection, float], AbstractContextManager[bool]] | None = None


_READ_COMMITTED: Final = "READ COMMITTED"
_REPEATABLE_READ: Final = {"isolation_level": "REPEATABLE READ"}
_SERVER_OPTIONS: Final = {"isolation_level": _READ_COMMITTED, "json_serializer": canonical_json}

_SQLITE: Final = Dialect(
    "sqlite",
    "pysqlite",
    sqlite_fault,
    "SERIALIZABLE",
    upgrades_itself=True,
    has_hosts_clock=True,
    begin_write="BEGIN IMMEDIATE",
    snapshot_options={"begin": "BEGIN"},
    probes=SQLITE,
)

#: A limit that the caller set, by the URL or for the role, stands.
_LIMIT_WAITING: Final = (
    f"SELECT set_config('lock_timeout', '{LOCK_TIMEOUT_SECONDS}s', false)"
    " WHERE current_setting('lock_timeout') = '0'"
)

_POSTGRESQL: Final = Dialect(
    "postgresql",
    "psycopg",
    postgresql_fault,
    _READ_COMMITTED,
    snapshot_options=_REPEATABLE_READ,
    engine_options=_SERVER_OPTIONS,
    settings=(_LIMIT_WAITING,),
    greet=postgresql.greet,
    admit=postgresql.admit,
    outdated=postgresql.outdated,
    driver_takes_hosts=True,
    limits_of_hosts={
        "target_session_attrs": "read-write",
        "connect_timeout": "3",
        "keepalives_idle": "5",
        "keepalives_interval": "2",
        "keepalives_count": "2",
        "tcp_user_timeout": "10000",
    },
    switches_autocommit_freely=True,
    shell=postgresql_shell,
    run_one=_postgresql_run_one,
    insert_if_missing=_postgresql_insert_if_missing,
    write=at_once,
    read_only_settings=("SET default_transaction_read_only = on",),
    # The number is the word "capsules" in ASCII; it means the same lock to every process.
    lock_schema="SELECT pg_advisory_xact_lock(7161128523689387379)",
    probes=POSTGRESQL,
)

_MARIADB: Final = Dialect(
    "mariadb",
    "pymysql",
    mariadb_fault,
    _READ_COMMITTED,
    snapshot_options=_REPEATABLE_READ,
    engine_options={**_SERVER_OPTIONS, "pool_reset_on_return": None},
    greet=galera.greet,
    outdated=galera.outdated,
    limits_of_hosts={"connect_timeout": "3", "read_timeout": "10", "write_timeout": "10"},
    # Less than the driver waits for an answer: a lock that is held is no server that is gone.
    settings_of_hosts=("SET innodb_lock_wait_timeout = LEAST(@@innodb_lock_wait_timeout, 5)",),
    settings=(
        f"SET innodb_lock_wait_timeout = LEAST(@@innodb_lock_wait_timeout, {LOCK_TIMEOUT_SECONDS})",
        "SET time_zone = '+00:00'",
        # Whatever the server's own mode: no text is ever cut short without an error.
        "SET sql_mode = 'TRADITIONAL'",
    ),
    read_only_settings=("SET SESSION TRANSACTION READ ONLY",),
    shell=mariadb_shell,
    is_in_transaction=_mariadb_is_in_transaction,
    insert_if_missing=_mariadb_insert_if_missing,
    grants_singly=True,
    lock_schema=(
        f"SELECT GET_LOCK(CONCAT('capsule-registry ', DATABASE()), {LOCK_TIMEOUT_SECONDS})"
    ),
    unlock_schema="SELECT RELEASE_LOCK(CONCAT('capsule-registry ', DATABASE()))",
    is_cluster=galera.is_node,
    lock_cluster=galera.schema_locked,
    probes=MARIADB,
)

_DIALECTS: Final = {
    "sqlite": _SQLITE,
    "postgresql": _POSTGRESQL,
    "mariadb": _MARIADB,
    "mysql": _MARIADB,
}


def dialect_for_files() -> Dialect:
    """Return the dialect of a database that is a file of the user's own."""
    return _SQLITE


def dialect_named(name: str) -> Dialect | None:
    """Return the dialect of a database URL's first word, or `None` for one that is not known."""
    return _DIALECTS.get(name.partition("+")[0])
