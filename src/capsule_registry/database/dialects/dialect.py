"""The interface of a database: everything that the rest of the library needs to know of it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import String, bindparam, cast, select

from capsule_registry.canonical_json import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sqlalchemy import Column, ColumnElement, Connection, Insert, Select, Table
    from sqlalchemy.engine import URL
    from sqlalchemy.exc import DBAPIError

    from capsule_registry.database.dialects.bulk_insert import BulkInsert

    ExistingKeys = Callable[[Column[Any], ColumnElement[str]], Select[str, str]]

#: How long a statement waits for a lock before it gives up.
LOCK_TIMEOUT_SECONDS: Final = 30
READ_COMMITTED: Final = "READ COMMITTED"
REPEATABLE_READ: Final = {"isolation_level": "REPEATABLE READ"}
SERVER_OPTIONS: Final = {"isolation_level": READ_COMMITTED, "json_serializer": canonical_json}

#: The kind of a driver error. `busy` is transient: the whole unit is retried. `lost` is a broken
#: connection. `invalid` is a database, a setting or an option under which no registry can be kept.
#: `unparsed` is a bug of ours, except on a cluster node, where another node's write may have
#: interrupted the statement while it read a trigger: there the unit is retried elsewhere.
#: `unexpected` is every other error: a bug, never retried.
Fault = Literal[
    "busy", "corrupt", "invalid", "lost", "permission", "unavailable", "unexpected", "unparsed"
]


@dataclass(frozen=True, slots=True)
class Probe:
    """A statement that returns one value; any value other than those *wanted* is a problem."""

    name: str
    statement: str
    #: Empty if the value is only shown.
    wanted: frozenset[str] = field(default_factory=frozenset)
    remedy: str = ""

    def find(self, conn: Connection) -> Finding:
        """Return the value that *conn* reads, and what is wrong with it."""
        value = str(conn.exec_driver_sql(self.statement).scalar())
        return Finding(self.name, value, self.problem(value))

    def problem(self, value: str) -> str | None:
        """Return what is wrong with *value*, or `None`."""
        if not self.wanted or value in self.wanted:
            return None
        return self.remedy or f"{' or '.join(sorted(self.wanted))} is needed"


@dataclass(frozen=True, slots=True)
class Finding:
    """A value that was read back, and what is wrong with it, if anything."""

    name: str
    value: str
    problem: str | None = None


#: How an object of the schema may differ from what the migrations make.
CHANGED: Final = "is not what the migrations make"
MISSING: Final = "is not there"
FOREIGN: Final = "is there, and no migration makes it"


@dataclass(frozen=True, slots=True)
class Session:
    """What the session of a connection must be like, whoever made the connection."""

    #: Statements that set it.
    statements: tuple[str, ...]
    #: A query that reads it back as one row, whose `schema` is that of the tables.
    query: str
    #: By column of that row: the values that it may have.
    wanted: Mapping[str, frozenset[object]]


@dataclass(frozen=True, slots=True)
class Catalog:
    """What a server tells of its objects that no library reflects."""

    #: Returns how the server itself reads a query: two texts that mean the same give the same.
    canonical: Callable[[Connection, str], str]
    #: Return the queries of the views that exist; `None` is one that the user may not see.
    view_queries: Callable[[Connection], Mapping[str, str | None]]
    #: Given the registry's tables and views, and its statements that create triggers and their
    #: functions, by name: yields what differs in these, and in the properties of the tables.
    find_drift: Callable[[Connection, Iterable[str], Mapping[str, str]], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Shell:
    """A program with its arguments, and what it answers if it only reads."""

    arguments: tuple[str, ...]
    #: Additional arguments that make it answer, and the end of the answer.
    question: tuple[str, ...]
    answer: str
    #: Variables to set, or to remove if `None`. Others can read the arguments of a process, so
    #: nothing of a URL but the path of a file is among them.
    environment: Mapping[str, str | None] = field(default_factory=dict)

    def environment_in(self, outer: Mapping[str, str]) -> dict[str, str]:
        """Return the program's environment, given that of the caller."""
        merged = {**outer, **self.environment}
        return {name: value for name, value in merged.items() if value is not None}


def one_transaction(statements: Iterable[str], schema: str | None) -> Iterator[str]:  # noqa: ARG001 - of the interface
    """Yield *statements* as a script that is one transaction."""
    yield "BEGIN;"
    yield from (f"{statement};" for statement in statements)
    yield "COMMIT;"


def existing_keys(key: Column[Any], kind: ColumnElement[str]) -> Select[str, str]:
    """Return the query of a `Dialect` for the keys that exist."""
    table = key.table
    return select(kind.label("kind"), cast(key, String(128)).label("key")).where(
        table.c.namespace == bindparam("namespace"),
        key.in_(bindparam(table.name, expanding=True)),
    )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Dialect:
    """One kind of database: how to connect to it and lock it, and what its errors mean."""

    #: The dialect and the driver, as in the scheme of a URL.
    name: str
    driver: str
    #: Returns the version of the driver, given its module; on SQLite that of the SQLite library.
    driver_version: Callable[[Any], str] = lambda module: str(module.__version__)
    #: Returns the kind of an error, and the database's or the driver's own code for it.
    fault: Callable[[DBAPIError], Fault]
    code: Callable[[DBAPIError], str | None]
    #: Returns whether an error at connecting may be due to an option of the URL.
    refuses_an_option: Callable[[DBAPIError], bool] = lambda _: False
    #: The isolation level of every transaction, which is read back.
    isolation: str
    #: The database is a local file or in memory, not a server.
    is_file: bool = False
    #: Opening the database may upgrade its schema, since it is the user's own.
    upgrades_itself: bool = False
    #: The database has no clock of its own: the host's is used.
    has_hosts_clock: bool = False

    # Transactions
    #: Statements that begin a write transaction and a snapshot, where the driver does not in time.
    begin_write: str | None = None
    begin_snapshot: str | None = None
    snapshot_options: Mapping[str, Any] = field(default_factory=dict)
    #: Returns how many rows a driver connection has changed so far; and a statement, before a
    #: COMMIT of changed rows, that marks it as the library's own.
    changes: Callable[[Any], int] = lambda _: 0
    mark_commit: str = ""
    #: Switching a connection to autocommit takes no round trip.
    switches_autocommit_freely: bool = False
    #: Returns whether a driver connection is in a transaction, where the driver would send a
    #: ROLLBACK even if it is not.
    is_in_transaction: Callable[[Any], bool] | None = None

    # Connections
    engine_options: Mapping[str, Any] = field(default_factory=dict)
    #: What each connection's session is set to, and must then be; more statements if it is read
    #: only.
    session: Session | None = None
    read_only_settings: tuple[str, ...] = ()
    #: Further statements for a session that writes, which finds all by keys.
    write_settings: tuple[str, ...] = ()
    #: Drops the plans that a session keeps, where the server keeps them while its tables grow.
    drop_plans: str | None = None
    #: Prepares a new driver connection, and returns whether it has a session of its own; settings
    #: would leak from a shared one.
    greet: Callable[[Any], bool] = lambda _: True
    #: Returns why a driver connection is to a server that may return outdated data, or `None`;
    #: afterwards it is in a transaction.
    outdated: Callable[[Any], str | None] = lambda _: None
    #: Returns whether a driver connection commits each statement by itself.
    commits_by_itself: Callable[[Any], bool] = lambda _: False
    #: A query of one text that differs between any two databases; `None` where one cannot join.
    place: str | None = None
    #: Returns the statement that limits how long, in seconds, a statement of the session may take;
    #: `None` lifts that limit.
    limit_statements: Callable[[float | None], str] | None = None
    #: The driver itself tries several hosts. With several hosts, the URL options and the settings
    #: of each connection that limit how long one host is waited for.
    driver_takes_hosts: bool = False
    limits_of_hosts: Mapping[str, str] = field(default_factory=dict)
    settings_of_hosts: tuple[str, ...] = ()

    #: The options of a URL that are no secret, and may be shown to its user.
    shown_options: frozenset[str] = frozenset({"host", "port", "user", "connect_timeout"})

    # Statements
    #: Returns a statement that inserts a row unless its key exists, and that waits for a concurrent
    #: insert of the same key.
    insert_if_missing: Callable[[Table], Insert]
    #: Given the column of a table's keys, and an expression: returns a query for those keys that
    #: exist, as text, each beside the expression. It takes the keys as a list, named after the
    #: table, and the namespace.
    existing_keys: ExistingKeys = existing_keys
    #: Inserts rows into several tables at once; without it, each table takes a statement.
    bulk_insert: BulkInsert | None = None
    #: Runs exactly one statement on a driver connection outside of any transaction, so that it
    #: cannot write, and returns a cursor with the rows; the third argument is the address shown in
    #: an error. Whatever the session holds afterwards is the caller's to drop.
    query: Callable[[Any, str, str], Any]

    # The schema
    #: Statements that lock and unlock the schema against concurrent changes.
    lock_schema: str | None = None
    unlock_schema: str | None = None
    #: Locks the schema of a multi-primary cluster; yields whether the lock was acquired in time.
    lock_cluster: Callable[[Connection, float], AbstractContextManager[bool]] = lambda _, __: (
        nullcontext(enter_result=True)
    )
    #: Statements that disable and enable foreign keys around a migration, which rebuilds tables,
    #: and one that finds the rows it left orphaned.
    stop_foreign_keys: str | None = None
    start_foreign_keys: str | None = None
    find_orphans: str | None = None
    #: Sets what changes of the schema depend on, and sets it back.
    schema_settings: Callable[[Connection], AbstractContextManager[None]] = lambda _: nullcontext()
    #: Checks what an upgrade needs of the server and the user, given a connection.
    upgrade_needs: Callable[[Connection], Iterator[Finding]] = lambda _: iter(())
    #: Returns the triggers on tables that fail since whoever made them is gone; and makes them
    #: triggers of the connection's user.
    lost_triggers: Callable[[Connection, Iterable[str]], list[str]] = lambda _, __: []
    adopt_triggers: Callable[[Connection, Iterable[str]], None] = lambda _, __: None
    #: Makes statements that change the schema, in the one named if any, a script for the
    #: database's own shell.
    script: Callable[[Iterable[str], str | None], Iterator[str]] = one_transaction
    #: Where a database has several schemas: returns a URL whose connections create and find tables
    #: in the schema named, and the schema that a connection finds the registry in.
    in_schema: Callable[[URL, str], URL] | None = None
    schema_found: Callable[[Connection], str | None] = lambda _: None
    #: Where the statements that created the objects are kept: returns the kind and name of each
    #: object, the table it belongs to, and its statement. Otherwise there is a catalog.
    kept_statements: Callable[[Connection], Iterable[tuple[str, str, str, str]]] | None = None
    catalog: Catalog | None = None

    # Operators
    #: Returns the database's own shell on the server and with the options of a connection,
    #: read-only; it may write files for it into a directory.
    shell: Callable[[Connection, Path], Shell]
    #: The tool that `backup` refers to where it cannot copy the database itself.
    backup_tool: str | None = None
    #: Privileges are granted on one table at a time, to users of a host.
    grants_singly: bool = False
    #: What lets a user read a view, and see its query.
    view_rights: str = "SELECT"
    #: The server's own tables of numbers that views count by.
    sequences: tuple[str, ...] = ()
    #: Check the settings that the guarantees rely on.
    probes: tuple[Probe, ...] = ()
    #: Checks that take more than one statement, given a connection and the file, if any.
    details: Callable[[Connection, Path | None], Iterator[Finding]] = lambda _, __: iter(())
    #: The size of what a file's database has not put into the file yet; `None` if it has none.
    log_bytes: Callable[[Path | None], int | None] = lambda _: None
