"""
The unit of work: one transaction, one revision, and an event for each row that changed.

A unit locks the head of its namespace before it reads what it decides by, so writers of a
namespace are serial, revisions have no gaps, and commit order is revision order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import bindparam, select, update

from capsule_registry.canonical_json import canonical_json
from capsule_registry.database.dialects.expressions import DatabaseNow, DatabaseUser
from capsule_registry.database.driver_cursor import DriverCursor
from capsule_registry.errors import (
    HistoryCorruptError,
    InvalidTextError,
    NamespaceNotFoundError,
    OutcomeUnknownError,
)
from capsule_registry.identifiers import uuid7
from capsule_registry.manifest.readings import to_runtime_version
from capsule_registry.schema.row_images import SUBJECTS, row_image
from capsule_registry.schema.tables import capsules, events, namespaces, revisions
from capsule_registry.schema.version import FoundSchema, found_schema, schema_columns
from capsule_registry.unit_of_work.hash_chain import hash_lines, sha256_of_lines
from capsule_registry.unit_of_work.prepared_statements import PreparedScope, PreparedStatements
from capsule_registry.unit_of_work.queries import Query, Scope
from capsule_registry.unit_of_work.write_buffer import WriteBuffer

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, CursorResult, Executable, Table

    from capsule_registry.clocks import Clock, Moment
    from capsule_registry.database.dialects.dialect import Dialect
    from capsule_registry.unit_of_work.queries import Row

P = ParamSpec("P")
T = TypeVar("T")

#: Locks the head in a subquery, so that the time is read once the lock is held.
_lock_head = Query(
    namespaces,
    (),
    select(
        select(namespaces)
        .where(namespaces.c.name == bindparam("namespace"))
        .with_for_update()
        .subquery("head"),
        *schema_columns,
        DatabaseNow().label("now"),
        DatabaseUser().label("database_user"),
    ),
)
_move_head = (
    update(namespaces)
    .where(
        namespaces.c.name == bindparam("namespace"),
        namespaces.c.revision == bindparam("old_revision"),
    )
    .values(
        revision=bindparam("new_revision"),
        head_hash=bindparam("new_hash"),
        last_commit_at=bindparam("at"),
    )
)
_committed = select(revisions.c.revision).where(revisions.c.request_id == bindparam("request_id"))


class Writing(Protocol):
    """How a registry writes: in a unit of its own, and not inside its own transaction."""

    def __call__(
        self, work: Callable[Concatenate[Unit, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return `work(unit, *args, **kwargs)`."""


@dataclass(frozen=True, slots=True)
class Unit(Scope):
    """
    A transaction that holds the head of its namespace.

    `revision` is the one it makes if it changes anything; `at` is its one time, when it locked the
    head. Rows with a history are changed through `insert`, `update` and `delete`, which file the
    events; rows of other tables are derived, and written through `buffer`.
    """

    prepared: PreparedScope
    buffer: WriteBuffer
    revision: int
    began: Moment
    at: datetime
    incarnation: UUID
    previous_hash: str
    compacted_revision: int
    #: The runtime by whose rules every capsule is judged, if one is named.
    runtime_version: str | None
    #: The schema as found when the head was locked.
    schema: FoundSchema
    database_user: str | None
    #: Identifies this attempt in the history, so that a lost COMMIT can be looked up.
    request_id: UUID = field(default_factory=uuid7)
    events: list[dict[str, Any]] = field(default_factory=list)
    #: Run before the unit ends, each under a key for its purpose; may raise.
    before_close: dict[Hashable, Callable[[], None]] = field(default_factory=dict)
    #: Run in order after the commit, or once it is known that there was none.
    on_commit: list[Callable[[], None]] = field(default_factory=list)
    on_rollback: list[Callable[[], None]] = field(default_factory=list)
    #: Logged after the commit: level, message, fields.
    messages: list[tuple[int, str, dict[str, object]]] = field(default_factory=list)

    @property
    def next_position(self) -> int:
        """The position of the next event of this unit."""
        return len(self.events)

    def rows(self, query: Query, **values: Any) -> Sequence[Row]:  # noqa: ANN401 - bound values
        """Return the rows that *query* finds for *values*, including those that this unit wrote."""
        if self.buffer.waiting:
            self.buffer.flush()
        prepared, found = self.prepared.fetch(query, values)
        return [*map(prepared.converted, found)]

    def values(self, query: Query, **values: Any) -> list[list[Any]]:  # noqa: ANN401 - bound values
        """Return the values of the rows that *query* finds, each in the order of its columns."""
        self.buffer.flush()
        prepared, found = self.prepared.fetch(query, values)
        return [*map(prepared.values, found)]

    def execute(
        self, statement: Executable, values: Mapping[str, Any] | None = None
    ) -> CursorResult[*tuple[Any, ...]]:
        """Run *statement* with *values*, after writing what waits in the buffer."""
        self.buffer.flush()
        return self.conn.execute(statement, values)

    def insert(
        self,
        table: Table,
        rows: Sequence[dict[str, Any]],
        action: str,
        changes: str | None = None,
    ) -> None:
        """Insert *rows* and file *action* for each, with the *changes* that it makes."""
        for row in rows:
            row["namespace"] = self.namespace
            self._file(action, table, old=None, new=row, changes=changes)
        self.buffer.insert(table, rows)

    def update(
        self,
        table: Table,
        old: Row,
        values: dict[str, Any],
        action: str,
        changes: str | None = None,
    ) -> None:
        """Change *values* of the row *old* and file *action*, with the *changes* that it makes."""
        self._file(action, table, old=old, new=dict(old) | values, changes=changes)
        self.buffer.update(table, old[SUBJECTS[table].name], values)

    def delete(
        self, table: Table, rows: Sequence[Row], action: str, changes: str | None = None
    ) -> None:
        """Delete *rows* and, by cascade, what refers to them; file *action* for each of *rows*."""
        self.removed(table, rows, action, changes)
        self.buffer.delete(table, [row[SUBJECTS[table].name] for row in rows])

    def removed(
        self, table: Table, rows: Sequence[Row], action: str, changes: str | None = None
    ) -> None:
        """File *action* for rows that the deletion of another row removes by cascade."""
        for row in rows:
            self._file(action, table, old=row, new=None, changes=changes)

    def file(self, action: str, kind: str, old_row: str | None, new: Mapping[str, Any]) -> None:
        """File *action* for the namespace itself, whose row image is now *new*."""
        self._append(
            action=action,
            kind=kind,
            subject=self.namespace,
            capsule_id=None,
            old_row=old_row,
            new_row=canonical_json(new),
            changes=None,
        )

    def log(self, level: int, message: str, **fields: object) -> None:
        """Log *message* after the commit, and never if there is none."""
        self.messages.append((level, message, fields))

    def roll_back(self) -> None:
        """Undo the unit's effects on this process's memory, since it has not committed."""
        for undo in self.on_rollback:
            undo()

    def _file(
        self,
        action: str,
        table: Table,
        *,
        old: Row | None,
        new: Mapping[str, Any] | None,
        changes: str | None,
    ) -> None:
        row: Mapping[Any, Any] = new or old or {}
        self._append(
            action=action,
            kind=table.name,
            subject=str(row[SUBJECTS[table].name]),
            capsule_id=row["id"] if table is capsules else row.get("capsule_id"),
            old_row=old and row_image(table, old),
            new_row=new and row_image(table, new),
            changes=changes,
        )

    def _append(self, **event: Any) -> None:  # noqa: ANN401 - the columns of an event
        event |= {
            "namespace": self.namespace,
            "revision": self.revision,
            "position": len(self.events),
        }
        self.events.append(event)


def open_unit(conn: Connection, namespace: str, clock: Clock, dialect: Dialect) -> Unit:
    """
    Lock the head of *namespace* and return the unit that holds it.

    Its time is the *clock*'s, and never before that of the previous unit.

    Raises:
        NamespaceNotFoundError: There is no such namespace.
        HistoryCorruptError: Its row was not written by the registry.
    """
    statements = PreparedStatements.of(conn)
    prepared = PreparedScope(DriverCursor(conn), statements, namespace, clock)
    statement, heads = prepared.fetch(_lock_head, {})
    if not heads:
        raise NamespaceNotFoundError(namespace)
    found = statement.converted(heads[0])
    require_readable(namespace, found)
    began = clock.moment(found["now"]).not_before(found["last_commit_at"])
    return Unit(
        conn,
        namespace,
        clock,
        prepared,
        WriteBuffer(prepared, dialect.bulk_insert),
        revision=found["revision"] + 1,
        began=began,
        at=began.time,
        incarnation=found["incarnation"],
        previous_hash=found["head_hash"],
        compacted_revision=found["compacted_revision"],
        runtime_version=found["runtime_version"],
        schema=found_schema(
            found["migrated_version"], found["recorded_version"], found["oldest_compatible"]
        ),
        database_user=found["database_user"],
    )


def require_readable(namespace: str, head: Mapping[str, Any]) -> None:
    """
    Check that *head*, a row of `namespaces`, has numbers as revisions, and a version or none.

    Raises:
        HistoryCorruptError: They are not.
    """
    if not (isinstance(head["revision"], int) and isinstance(head["compacted_revision"], int)):
        raise HistoryCorruptError(f"namespace {namespace}", "its revisions are no numbers")
    try:
        to_runtime_version(head["runtime_version"])
    except InvalidTextError as error:
        raise HistoryCorruptError(f"namespace {namespace}", str(error)) from error


def is_committed(unit: Unit, earlier: Unit) -> bool:
    """
    Return whether the *earlier* unit committed, now that *unit* holds the head.

    Raises:
        OutcomeUnknownError: Its revision was pruned meanwhile, or the incarnation is another.
    """
    if is_recorded(unit, earlier):
        return True
    if unit.compacted_revision >= earlier.revision or unit.incarnation != earlier.incarnation:
        reason = f"revision {earlier.revision}, which would tell, is gone"
        raise OutcomeUnknownError(f"namespace {unit.namespace}", reason)
    return False


def is_recorded(unit: Unit, earlier: Unit) -> bool:
    """Return whether the history, of which *unit* holds the head, has the *earlier* unit."""
    return unit.scalar(_committed, {"request_id": earlier.request_id}) is not None


def close_unit(unit: Unit, *, actor: str, reason: str | None) -> str | None:
    """
    Write the unit's events and revision, and move the head; return the revision's hash.

    A unit that changed nothing makes no revision; then return `None`.

    Raises:
        HistoryCorruptError: The head was moved although this unit holds it.
    """
    for hook in [*unit.before_close.values()]:
        hook()
    if not unit.events:
        return None
    revision: dict[str, Any] = {
        "namespace": unit.namespace,
        "revision": unit.revision,
        "committed_at": unit.at,
        "actor": actor,
        "database_user": unit.database_user,
        "reason": reason,
        "request_id": unit.request_id,
        "event_count": len(unit.events),
        "previous_hash": unit.previous_hash,
    }
    revision["hash"] = sha256_of_lines(hash_lines(unit.incarnation, revision, unit.events))
    unit.buffer.insert(events, unit.events)
    unit.buffer.insert(revisions, [revision])
    moved = unit.buffer.finish(
        _move_head,
        {
            "namespace": unit.namespace,
            "old_revision": unit.revision - 1,
            "new_revision": unit.revision,
            "new_hash": revision["hash"],
            "at": unit.at,
        },
    )
    if moved != 1:
        raise HistoryCorruptError(f"namespace {unit.namespace}", "the head moved under its lock")
    return str(revision["hash"])
