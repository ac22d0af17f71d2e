"""Reading revisions with all their events, in order."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict
from sqlalchemy import bindparam, select

from capsule_registry.errors import HistoryCorruptError
from capsule_registry.models.comparison import Comparison
from capsule_registry.schema.tables import events, namespaces, revisions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import RowMapping

    from capsule_registry.unit_of_work.queries import Scope

    #: A revision's row, and the rows of its events in order.
    WholeRow = tuple[RowMapping, list[RowMapping]]

#: The most revisions per read.
REVISIONS_AT_ONCE: Final = 200
#: The most events per read, unless one revision alone has more.
_MAX_EVENTS: Final = 2_000

_in_namespace = revisions.c.namespace == bindparam("namespace")
_after = (
    select(revisions)
    .where(_in_namespace, revisions.c.revision > bindparam("after"))
    .order_by(revisions.c.revision)
)
_first_after = _after.limit(REVISIONS_AT_ONCE)
_events = (
    select(events)
    .where(
        events.c.namespace == bindparam("namespace"),
        events.c.revision >= bindparam("first"),
        events.c.revision <= bindparam("last"),
    )
    .order_by(events.c.revision, events.c.position)
)
_latest = (
    select(revisions.c.revision)
    .where(_in_namespace)
    .order_by(revisions.c.committed_at.desc(), revisions.c.revision.desc())
    .limit(1)
)
_at_time = _latest.where(revisions.c.committed_at <= bindparam("time"))
_before_time = _latest.where(revisions.c.committed_at < bindparam("time"))
_incarnation = (
    select(events.c.new_row)
    .where(
        events.c.namespace == bindparam("namespace"),
        events.c.kind == namespaces.name,
        events.c.subject == bindparam("namespace"),
        events.c.revision <= bindparam("revision"),
    )
    .order_by(events.c.revision.desc())
    .limit(1)
)


class Event(BaseModel):
    """
    One change of one row: `kind` is its table, `subject` its key.

    `old_row` and `new_row` are the row before and after, `None` if there was none: every column as
    a JSON value, but for the namespace, derived columns, and what renewing a lease changes.
    `changes` is what a capsule's manifest adds and removes, `None` if nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    revision: int
    position: int
    action: str
    kind: str
    subject: str
    capsule_id: str | None
    old_row: dict[str, Any] | None
    new_row: dict[str, Any] | None
    changes: Comparison | None = None


class Revision(BaseModel):
    """One transaction: who, when and why, and all its events in order."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    revision: int
    committed_at: AwareDatetime
    actor: str
    database_user: str | None
    reason: str | None
    request_id: UUID
    previous_hash: str
    hash: str
    events: tuple[Event, ...]


def whole(scope: Scope, found: Sequence[RowMapping]) -> Iterator[WholeRow]:
    """Yield the revision rows *found*, in order, each with the rows of its events."""
    if not found:
        return
    numbers: dict[int, list[RowMapping]] = {row["revision"]: [] for row in found}
    parameters = {
        "namespace": scope.namespace,
        "first": found[0]["revision"],
        "last": found[-1]["revision"],
    }
    for event in scope.execute(_events, parameters).mappings().all():
        if event["revision"] in numbers:
            numbers[event["revision"]].append(event)
    for row in found:
        yield row, numbers[row["revision"]]


def after(scope: Scope, revision: int) -> list[WholeRow]:
    """Return the next batch after *revision*, in order, with the rows of their events."""
    parameters = {"namespace": scope.namespace, "after": revision}
    found = scope.execute(_first_after, parameters).mappings().all()
    sizes = accumulate(row["event_count"] for row in found)
    few = [row for row, size in zip(found, sizes, strict=True) if size <= _MAX_EVENTS]
    return [*whole(scope, few or found[:1])]


def find(
    scope: Scope,
    *,
    after: int,
    limit: int,
    since: datetime | None = None,
    until: datetime | None = None,
    **wanted: str | None,
) -> list[Revision]:
    """
    Return the first *limit* revisions after *after* that match *wanted*, with all their events.

    *wanted* has values for `actor`, or for columns that one event must have; `None` matches any.
    """
    statement = _after.limit(limit)
    given = {name: value for name, value in wanted.items() if value is not None}
    parameters = {"namespace": scope.namespace, "after": after, **given}
    if since is not None:
        # Look the revision up, so that the range is over the primary key.
        parameters["after"] = max(after, before_time(scope, since))
    if until is not None:
        statement = statement.where(revisions.c.revision <= bindparam("through"))
        parameters["through"] = at_time(scope, until)
    if given.pop("actor", None):
        statement = statement.where(revisions.c.actor == bindparam("actor"))
    if given:
        of_interest = select(events.c.revision).where(
            events.c.namespace == bindparam("namespace"),
            events.c.revision > bindparam("after"),
            *(events.c[name] == bindparam(name) for name in given),
        )
        statement = statement.where(revisions.c.revision.in_(of_interest))
    found = scope.execute(statement, parameters).mappings().all()
    return [record(*one) for one in whole(scope, found)]


def incarnation_at(scope: Scope, revision: int) -> UUID:
    """Return the namespace's incarnation at *revision*; the nil UUID before the first."""
    image = scope.scalar(_incarnation, {"namespace": scope.namespace, "revision": revision})
    return _incarnation_of(image) if image else UUID(int=0)


def incarnation_after(of_revision: Sequence[RowMapping]) -> UUID | None:
    """Return the incarnation that these events set, or `None`."""
    images = [event["new_row"] for event in of_revision if event["kind"] == namespaces.name]
    return _incarnation_of(images[-1]) if images else None


def _incarnation_of(image: str) -> UUID:
    """Return the incarnation in *image*, the image of a row of `namespaces`."""
    try:
        return UUID(str(json.loads(image)["incarnation"]))
    except (KeyError, TypeError, ValueError) as error:
        raise HistoryCorruptError("an image of a namespace", repr(error)) from error


def at_time(scope: Scope, time: datetime) -> int:
    """Return the last revision committed at or before *time*; 0 if there is none."""
    parameters = {"namespace": scope.namespace, "time": in_calendar(time)}
    return scope.scalar(_at_time, parameters) or 0


def before_time(scope: Scope, time: datetime) -> int:
    """Return the last revision committed before *time*; 0 if there is none."""
    parameters = {"namespace": scope.namespace, "time": in_calendar(time)}
    return scope.scalar(_before_time, parameters) or 0


def in_calendar(time: datetime) -> datetime:
    """Return *time* in UTC, clamped to the range of `datetime`."""
    try:
        return time.astimezone(UTC)
    except OverflowError:
        edge = (1, 1, 1) if time.year == 1 else (9999, 12, 31)
        return datetime(*edge, tzinfo=UTC)


def record(row: RowMapping, of_revision: Sequence[RowMapping]) -> Revision:
    """Return a revision's row and the rows of its events as a `Revision`."""
    values = {name: row[name] for name in Revision.model_fields if name != "events"}
    try:
        found = tuple(_event(event) for event in of_revision)
    except (TypeError, ValueError) as error:
        raise HistoryCorruptError(f"revision {row['revision']}", str(error)) from error
    return Revision.model_construct(**values, events=found)


def _event(row: RowMapping) -> Event:
    values = {name: row[name] for name in Event.model_fields}
    for name in ("old_row", "new_row"):
        values[name] = None if row[name] is None else json.loads(row[name])
    if row["changes"] is not None:
        values["changes"] = Comparison.from_json(row["changes"])
    return Event.model_construct(**values)
