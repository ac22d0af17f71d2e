"""What the rest of the library needs to know about a kind of database, without its name."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from capsule_registry.canonical_json import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sqlalchemy import Connection, Insert, Table
    from sqlalchemy.engine import URL
    from sqlalchemy.exc import DBAPIError

    from capsule_registry.database.dialects.bulk_insert import BulkInsert

#: How long a statement waits for a lock before it gives up.
LOCK_TIMEOUT_SECONDS: Final = 30
READ_COMMITTED: Final = "READ COMMITTED"
#: Options of a server's connection whose transaction reads at one moment.
REPEATABLE_READ: Final = {"isolation_level": "REPEATABLE READ"}
#: Options of a server's engine.
SERVER_OPTIONS: Final = {"isolation_level": READ_COMMITTED, "json_serializer": canonical_json}

#: What kind of failure an error of the driver is. `busy` passes by itself: the whole unit is run
#: again. `lost` is a connection that broke. `unparsed` is a bug of ours, except on a node of a
#: cluster, where another node's write may have interrupted it while it read a trigger: there the
#: unit is run again elsewhere.
Fault = Literal[
    "busy", "corrupt", "lost", "not_a_database", "permission", "unavailable", "unparsed"
]


@dataclass(frozen=True, slots=True)
class Probe:
    """A statement that gives one value; any other value than those *wanted* is a problem."""

    name: str
    statement: str
    #: Empty where the value is only shown.
    wanted: frozenset[str] = field(default_factory=frozenset)
    remedy: str = ""

    def problem(self, value: str) -> str | None:
        """Return what is wrong with *value*, or `None`."""
        if not self.wanted or value in self.wanted:
            return None
        return self.remedy or f"{' or '.join(sorted(self.wanted))} is needed"


class Detail(NamedTuple):
    """Something that was read back of a database, and what is wrong with it, if anything."""

    name: str
    value: str
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Shell:
    """A program with its arguments, and what its environment needs besides."""

    arguments: tuple[str, ...]
    #: Passwords stand here, since others can read the arguments of a process.
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Dialect:
    """One kind of database: how it is reached and locked, and what its failures mean."""

    #: As in the first word of a URL, and the driver's own.
    name: str
    driver: str
    #: Returns the version of what the driver's module is made of.
    driver_version: Callable[[Any], str] = lambda module: str(module.__version__)
    #: Returns what kind of failure an error is; `None` for a bug of ours.
    fault: Callable[[DBAPIError], Fault | None]
    #: The isolation of every transaction; it is read back.
    isolation: str
    #: It is a file of the one host that opens it, or in memory: no server, and no other host.
    is_file: bool = False
    #: The database is the user's own, so opening it may upgrade its schema.
    upgrades_itself: bool = False
    #: It has no clock of its own: the time is that of the host.
    has_hosts_clock: bool = False

    # Transactions
    #: What begins a transaction that writes, and one that reads at one moment, where the driver
    #: itself begins none, or too late.
    begin_write: str | None = None
    begin_snapshot: str | None = None
    #: Options of a connection whose transaction reads at one moment.
    snapshot_options: Mapping[str, Any] = field(default_factory=dict)
    #: A connection can be switched to autocommit without a round trip.
    switches_autocommit_freely: bool = False
    #: Whether a connection of the driver is in a transaction, where the driver would ask the server
    #: to roll back even if not.
    is_in_transaction: Callable[[Any], bool] | None = None

    # Connections
    #: Options of the engine, and statements that each new connection runs.
    engine_options: Mapping[str, Any] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    #: Statements besides, where nothing may be written.
    read_only_settings: tuple[str, ...] = ()
    #: Prepares a new connection of the driver, and returns whether it has a session of its own:
    #: settings would otherwise stay with another program.
    greet: Callable[[Any], bool] = lambda _: True
    #: Refuses a connection of the driver to a server whose answers may be outdated.
    admit: Callable[[Any], None] = lambda _: None
    #: Returns why a connection of the caller's engine may read outdated data, or `None`.
    outdated: Callable[[Connection], str | None] = lambda _: None
    #: The driver itself tries several hosts. Limits in the URL, and settings of each connection,
    #: after which another host is tried.
    driver_takes_hosts: bool = False
    limits_of_hosts: Mapping[str, str] = field(default_factory=dict)
    settings_of_hosts: tuple[str, ...] = ()

    # Statements
    #: Returns the statement that inserts a row unless its key exists, and waits for whoever is
    #: inserting the same key.
    insert_if_missing: Callable[[Table], Insert]
    #: Inserts rows of several tables at once; where there is none, each table takes a statement.
    bulk_insert: BulkInsert | None = None
    #: Runs one statement, never several, on a cursor of the driver.
    run_one: Callable[[Any, str], object] = lambda cursor, statement: cursor.execute(statement)

    # The schema
    #: Makes processes that change the schema take turns, and ends the turn.
    lock_schema: str | None = None
    unlock_schema: str | None = None
    #: Takes turns on a cluster whose nodes all write; gives whether the turn came in time.
    lock_cluster: Callable[[Connection, float], AbstractContextManager[bool]] = lambda _, __: (
        nullcontext(enter_result=True)
    )
    #: Stop and start enforcing foreign keys around a migration, which rebuilds tables; and find
    #: rows that it left without their parents.
    stop_foreign_keys: str | None = None
    start_foreign_keys: str | None = None
    find_orphans: str | None = None

    # Operators
    #: Returns the database's own shell for a URL, opened so that it can only read.
    shell: Callable[[URL], Shell]
    #: What `backup` refers to where it cannot copy the database itself.
    backup_tool: str | None = None
    #: Rights are granted on one table at a time, to users of a host.
    grants_singly: bool = False
    #: What is read back to see whether the guarantees have what they rest on.
    probes: tuple[Probe, ...] = ()
    #: Reads back what is not one statement, of a connection and the file, if there is one.
    details: Callable[[Connection, Path | None], Iterator[Detail]] = lambda _, __: iter(())
