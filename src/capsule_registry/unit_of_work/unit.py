"""
The unit of work: one revision, and an event for each row that changed.

A transaction has one unit, or those of several callers in turn (see `batch`). It locks the head of
the namespace before it reads what it decides by, so writers of a namespace are serial, revisions
have no gaps, and commit order is revision order.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import select

from capsule_registry.canonical_json import canonical_json
from capsule_registry.database.dialects.expressions import DatabaseNow
from capsule_registry.identifiers import uuid7
from capsule_registry.schema.row_images import SUBJECTS, row_image
from capsule_registry.schema.tables import capsules, events, namespaces, revisions
from capsule_registry.unit_of_work.hash_chain import hash_lines, sha256_of_lines
from capsule_registry.unit_of_work.queries import Query, Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import CursorResult, Executable, Table

    from capsule_registry.clocks import Moment
    from capsule_registry.schema.version import FoundSchema
    from capsule_registry.unit_of_work.known_keys import Keys
    from capsule_registry.unit_of_work.prepared_statements import PreparedScope
    from capsule_registry.unit_of_work.queries import Row
    from capsule_registry.unit_of_work.write_buffer import WriteBuffer

P = ParamSpec("P")
T = TypeVar("T")

_clock = Query(namespaces, (), select(DatabaseNow().label("now")))


class Writing(Protocol):
    """How a registry writes: in a unit of its own, and not inside its own transaction."""

    def __call__(
        self, work: Callable[Concatenate[Unit, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return `work(unit, *args, **kwargs)`."""


@dataclass(frozen=True, slots=True)
class Unit(Scope):
    """
    What one caller does in a transaction that holds the head of its namespace.

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
        self.buffer.flush_for(query, values)
        prepared, found = self.prepared.fetch(query, values)
        rows = [*map(prepared.converted, found)]
        if query.with_head:  # The head moves at the end, for all units of the transaction.
            for row in rows:
                row[namespaces.c.revision.name] = self.revision - 1
        return rows

    def values(self, query: Query, **values: Any) -> list[list[Any]]:  # noqa: ANN401 - bound values
        """Return the values of the rows that *query* finds, each in the order of its columns."""
        self.buffer.flush_for(query, values)
        prepared, found = self.prepared.fetch(query, values)
        return [*map(prepared.values, found)]

    def existing(self, wanted: Keys) -> Mapping[Table, set[Any]]:
        """Return those of the *wanted* keys that exist, reserved ids included."""
        return self.buffer.known.find(wanted, self.rows)

    def ask_ahead(self, wanted: Keys) -> None:
        """Ask which of the *wanted* keys exist, for this unit and those that follow."""
        self.buffer.known.ask_ahead(wanted, self.rows)

    def execute(
        self, statement: Executable, values: Mapping[str, Any] | None = None
    ) -> CursorResult[*tuple[Any, ...]]:
        """Run *statement* with *values*, after writing what waits in the buffer."""
        self.buffer.write_all()
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

    def following(self, previous_hash: str | None) -> Unit:
        """
        Return the next unit of the same transaction, and of the same time.

        Args:
            previous_hash: That of this unit's revision; `None` if it made none.
        """
        return Unit(
            self.conn,
            self.namespace,
            self.clock,
            self.prepared,
            self.buffer,
            revision=self.revision + (previous_hash is not None),
            began=self.began,
            at=self.at,
            incarnation=self.incarnation,
            previous_hash=previous_hash or self.previous_hash,
            compacted_revision=self.compacted_revision,
            runtime_version=self.runtime_version,
            schema=self.schema,
            database_user=self.database_user,
        )

    def timed_anew(self) -> Unit:
        """Return the unit with the current time, if it has done nothing yet."""
        clock, found = self.prepared.fetch(_clock, {})
        began = self.clock.moment(clock.converted(found[0])["now"]).not_before(self.at)
        return replace(self, began=began, at=began.time)

    def confirm(self) -> None:
        """Run what must hold when the unit ends; may raise."""
        for hook in [*self.before_close.values()]:
            hook()

    def file_revision(self, *, actor: str, reason: str | None) -> str | None:
        """
        File the unit's events and its revision; return the revision's hash.

        A unit that changed nothing makes no revision; then return `None`.
        """
        if not self.events:
            return None
        revision: dict[str, Any] = {
            "namespace": self.namespace,
            "revision": self.revision,
            "committed_at": self.at,
            "actor": actor,
            "database_user": self.database_user,
            "reason": reason,
            "request_id": self.request_id,
            "event_count": len(self.events),
            "previous_hash": self.previous_hash,
        }
        found = sha256_of_lines(hash_lines(self.incarnation, revision, self.events))
        self.buffer.file(events, self.events)
        self.buffer.file(revisions, [{**revision, "hash": found}])
        return found

    def log(self, level: int, message: str, **fields: object) -> None:
        """Log *message* after the commit, and never if there is none."""
        self.messages.append((level, message, fields))

    def committed(self) -> None:
        """Tell this process's memory that the unit has committed."""
        for note in self.on_commit:
            note()

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
