"""The head of a namespace: locked by a unit that begins, and moved when units end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select, update

from capsule_registry.database.dialects.expressions import DatabaseNow, DatabaseUser
from capsule_registry.database.driver_cursor import DriverCursor
from capsule_registry.errors import (
    HistoryCorruptError,
    InvalidTextError,
    NamespaceNotFoundError,
    OutcomeUnknownError,
    RequestRepeatedError,
)
from capsule_registry.manifest.readings import to_runtime_version
from capsule_registry.schema.tables import namespaces, revisions
from capsule_registry.schema.version import found_schema, schema_columns
from capsule_registry.unit_of_work.prepared_statements import PreparedScope, PreparedStatements
from capsule_registry.unit_of_work.queries import Query
from capsule_registry.unit_of_work.unit import Unit
from capsule_registry.unit_of_work.write_buffer import WriteBuffer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from sqlalchemy import Connection

    from capsule_registry.clocks import Clock
    from capsule_registry.database.dialects.dialect import Dialect
    from capsule_registry.unit_of_work.queries import Row

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
#: In whichever namespace: an id is used once in a database. What a unit files waits for its end.
_of_request = Query(
    revisions,
    ("request_id",),
    select(revisions.c.namespace, revisions.c.revision, revisions.c.hash).where(
        revisions.c.request_id == bindparam("request_id")
    ),
    found_by={},
)


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
        WriteBuffer(prepared, dialect),
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


def is_committed(unit: Unit, earlier: Unit, written: str | None) -> bool:
    """
    Return whether the *earlier* unit committed as the hash *written*, now *unit* holds the head.

    Raises:
        OutcomeUnknownError: Its revision was pruned meanwhile, or the incarnation is another.
    """
    found = _find_request(unit, earlier.request_id)
    if found is not None and found["hash"] == written:  # And not another one of the same id.
        return True
    if unit.compacted_revision >= earlier.revision or unit.incarnation != earlier.incarnation:
        reason = f"revision {earlier.revision}, which would tell, is gone"
        raise OutcomeUnknownError(f"namespace {unit.namespace}", reason)
    return False


def is_recorded(unit: Unit, earlier: Unit) -> bool:
    """Return whether the history, of which *unit* holds the head, has the *earlier* unit."""
    return _find_request(unit, earlier.request_id) is not None


def require_new(unit: Unit) -> None:
    """
    Require that the request of *unit*, whose id its caller chose, was not done before.

    Raises:
        RequestRepeatedError: It was.
    """
    if (found := _find_request(unit, unit.request_id)) is not None:
        raise RequestRepeatedError(unit.request_id, found["namespace"], found["revision"])


def _find_request(unit: Unit, request_id: UUID) -> Row | None:
    return next(iter(unit.rows(_of_request, request_id=request_id)), None)


def move_head(first: Unit, last: Unit, last_hash: str) -> None:
    """
    Write what the units from *first* to *last* left to be written, and move the head to the last.

    Raises:
        HistoryCorruptError: The head was moved although *first* holds it.
    """
    moved = first.buffer.finish(
        _move_head,
        {
            "namespace": first.namespace,
            "old_revision": first.revision - 1,
            "new_revision": last.revision,
            "new_hash": last_hash,
            "at": last.at,
        },
    )
    if moved != 1:
        raise HistoryCorruptError(f"namespace {first.namespace}", "the head moved under its lock")


def close_unit(unit: Unit, *, actor: str, reason: str | None) -> str | None:
    """
    Confirm that *unit* may end, write its revision, and return the revision's hash, if it made one.

    Raises:
        LeaseLostError: It wrote through a lease that has run out.
        HistoryCorruptError: The head was moved although this unit holds it.
    """
    unit.confirm()
    written = unit.file_revision(actor=actor, reason=reason)
    if written is not None:
        move_head(unit, unit, written)
    return written
