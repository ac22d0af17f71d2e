"""
Guards of the library that a stress command can take out, to show that it would notice.

| guard | without it |
|---|---|
| `transaction` | each statement of a transaction commits by itself |
| `lock` | on a server, the head of the namespace is read without a lock |
| `foreign-keys` | nothing is deleted by cascade |
| `queue` | processes that write to one SQLite file do not take turns |
| `expiry` | an expired lease holds until it is reaped |
| `hold` | a write does not check that its lease is still held |
| `turn` | a turn to write that was lost, or left behind, is not taken back |
| `clock` | on a server, the time is that of the client's host |
| `extra` | with a rollback journal, its deletion is not synchronised |
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, select

from capsule_registry import clocks
from capsule_registry.clocks import Clock
from capsule_registry.database.dialects import sqlite_connections, sqlite_library
from capsule_registry.database.dialects.expressions import DatabaseNow, DatabaseUser
from capsule_registry.database.dialects.known import FILES, dialect_named
from capsule_registry.database.dialects.sqlite_write_queue import WriteQueue
from capsule_registry.database.sessions import Sessions
from capsule_registry.database.turns import Turns
from capsule_registry.entities import leases
from capsule_registry.schema.tables import namespaces
from capsule_registry.schema.version import schema_columns
from capsule_registry.unit_of_work import head
from capsule_registry.unit_of_work.queries import Query

if TYPE_CHECKING:
    import argparse
    from datetime import datetime

    from capsule_registry.clocks import Moment
    from capsule_registry.database.dialects.dialect import Dialect, Session

GUARDS: Final = (
    *("transaction", "lock", "foreign-keys", "queue", "expiry", "hold", "turn", "clock", "extra"),
)


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add `--without`."""
    parser.add_argument("--without", choices=GUARDS, help="a guard to take out, as a control")


def take_out(guard: str | None) -> None:
    """Take *guard*, if given, out of the library in this process."""
    match guard:
        case "transaction":
            _commit_each_statement()
        case "lock":
            head._lock_head = _read_head()  # noqa: SLF001 - that is the guard
        case "foreign-keys":
            _ignore_foreign_keys()
        case "queue":
            _take_no_turns()
        case "expiry":
            leases.is_live = lambda lease, moment: lease["expires_at"] is not None  # noqa: ARG005 - as `is_live`
        case "hold":
            leases.hold = lambda unit, lease_id: None  # noqa: ARG005 - as `hold`
        case "turn":
            Turns._recover = lambda self: None  # type: ignore[method-assign]  # noqa: ARG005, SLF001 - that is the guard
        case "clock":
            _read_own_clock()
        case "extra":
            sqlite_library.EXTRA = sqlite_library.FULL  # type: ignore[misc]


def _commit_each_statement() -> None:
    _take_no_turns()
    _change(FILES, begin_write=None)
    for dialect in _servers():
        options = {**dialect.engine_options, "isolation_level": "AUTOCOMMIT"}
        _change(dialect, engine_options=options, bulk_insert=None)  # Or it would be one statement.
    Sessions.require_transaction = lambda *_: None  # type: ignore[method-assign]


def _read_head() -> Query:
    found = select(namespaces).where(namespaces.c.name == bindparam("namespace")).subquery()
    times = (DatabaseNow().label("now"), DatabaseUser().label("database_user"))
    return Query(namespaces, (), select(found, *schema_columns, *times))


def _ignore_foreign_keys() -> None:
    sqlite_connections._SETTINGS["foreign_keys"] = 0  # noqa: SLF001 - that is the guard
    statements = ("SET session_replication_role = replica", "SET foreign_key_checks = 0")
    for dialect, statement in zip(_servers(), statements, strict=True):
        _change(dialect.session, statements=(statement,), wanted={})


def _read_own_clock() -> None:
    moment = Clock.moment

    def of_host(self: Clock, database_now: datetime | None) -> Moment:
        return moment(self, database_now and clocks.host_clock())

    Clock.moment = of_host  # type: ignore[method-assign]


def _take_no_turns() -> None:
    WriteQueue.take = lambda *_: BytesIO()  # type: ignore[assignment, method-assign]


def _servers() -> list[Dialect]:
    found = [dialect_named(name) for name in ("postgresql", "mariadb")]
    return [dialect for dialect in found if dialect]


def _change(guarded: Dialect | Session | None, **values: object) -> None:
    for name, value in values.items():
        object.__setattr__(guarded, name, value)
