"""
Capability checks: may the sender of this message do that?

Decided from the rows that an auditor sees: the UUID, its lease, the capsule's state and its grants,
all read in one statement. Every failure denies, but an unreachable database raises.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict
from sqlalchemy import and_, bindparam, or_, select

from capsule_registry.entities import leases, session_uuids
from capsule_registry.errors import (
    HistoryCorruptError,
    InvalidUuidError,
    NamespaceNotFoundError,
)
from capsule_registry.identifiers import CapsuleId, to_uuid
from capsule_registry.manifest.readings import ORIGINAL, reading_by
from capsule_registry.models.records import CapsuleState
from capsule_registry.permissions.fault_log import CHECK_FAULTS, log_denial
from capsule_registry.permissions.judgement import (
    HOLDS,
    LISTED,
    NO_ENTRIES,
    QUESTIONS,
    DecisionReason,
    Entries,
    Entry,
    Verdict,
    deciding,
    judge,
    listed_values,
)
from capsule_registry.plain_values import plain_text
from capsule_registry.schema.tables import capsules, grants, namespaces, uuid_mappings
from capsule_registry.schema.tables import leases as leases_table
from capsule_registry.unit_of_work.high_water_mark import HEAD
from capsule_registry.unit_of_work.queries import Query, query

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import ColumnElement

    from capsule_registry.unit_of_work.queries import LookupScope, Row


#: The former name of `DecisionReason`, for programs that import it.
Why = DecisionReason


class Decision(BaseModel):
    """
    Whether the sender is allowed, why, and as of which revision.

    `capsule_id` is the id that the UUID belongs to, `grant` the manifest's entry that allows it.
    `revision` is `None` only if the rows could not be read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    allowed: bool
    why: DecisionReason
    capsule_id: CapsuleId | None = None
    grant: str | None = None
    revision: int | None = None


#: Of this every host tells whether it is held.
_ALWAYS_TOLD: Final = "allow_prompt_injection"
#: A decision, or the fault that denies.
Decided = Decision | Exception
#: The default timeout: an answer that takes longer denies.
DEADLINE: Final = timedelta(seconds=2)

_revision: Final = Query(
    namespaces,
    (),
    select(namespaces.c.revision).where(namespaces.c.name == bindparam("namespace")),
)
#: What a row of `capsules` says of a capsule.
CAPSULE: Final = (capsules.c.registered_revision, capsules.c.state, capsules.c.rules)
_by_id: Final = query(
    capsules, "id", columns=tuple(column.name for column in CAPSULE), is_ordered=False
)
#: What a row of `grants` says of an entry.
ENTRY: Final = (grants.c.value, grants.c.matching, grants.c.counts)
_granted = query(
    grants,
    "capsule_id",
    "capability",
    columns=tuple(column.name for column in ENTRY),
    is_ordered=False,
)


def _standing_in_parts(
    scope: LookupScope, *, uuid: UUID | None, capability: str | None, **_: object
) -> list[Row]:
    """Return what a check needs by one query per table, with all grants of the capability."""
    found = filed_in_parts(scope, uuid)
    granted = scope.rows(_granted, capsule_id=found["capsule_id"], capability=capability)
    return [{**found, **_named(ENTRY, grant)} for grant in granted] or [found]


def filed_in_parts(scope: LookupScope, uuid: UUID | None) -> Row:
    """Return the head with the rows of a UUID and of its capsule, each by a query of its own."""
    nobody = {"capsule_id": None, **_named(CAPSULE, {}), **_named(ENTRY, {})}
    head = {**nobody, **scope.rows(_revision)[0]}
    filed = scope.row(session_uuids.BY_UUID, uuid=uuid)
    if filed is None:
        return head
    return {**head, **filed, **_named(CAPSULE, scope.row(_by_id, id=filed["capsule_id"]) or {})}


def _named(columns: Iterable[ColumnElement[Any]], row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of *columns* in *row*, null where it has none."""
    return {column.name: row.get(column.name) for column in columns}


#: The grants that a capsule's current manifest gives it.
OF_GENERATION: Final = and_(
    grants.c.namespace == capsules.c.namespace,
    grants.c.capsule_id == capsules.c.id,
    grants.c.generation == capsules.c.generation,
)


def _standing_with(granted: ColumnElement[bool], *lists: str) -> Query:
    """
    Return the query for all that a check needs, with the grants that are *granted*.

    That is the head and, as far as they exist, the UUID, its lease, its capsule and the grants.
    """
    statement = (
        select(
            *HEAD,
            capsules.c.id.label("capsule_id"),
            uuid_mappings.c.lease_id,
            *leases.ENDS,
            *CAPSULE,
            *ENTRY,
        )
        .outerjoin(uuid_mappings, session_uuids.OF_UUID)
        .outerjoin(leases_table, leases.OF_UUID)
        .outerjoin(capsules, session_uuids.OF_OWNER)
        .outerjoin(grants, and_(OF_GENERATION, granted))
        .where(namespaces.c.name == bindparam("namespace"))
        .order_by(grants.c.position)
    )
    return Query(
        uuid_mappings,
        (),
        statement,
        among=lists,
        in_parts=_standing_in_parts,
        with_head=True,
    )


_of_capability = grants.c.capability == bindparam("capability")
_standing_of: Final = _standing_with(_of_capability)
#: The same without the grants that cannot cover the value, as far as that is seen by their texts:
#: what a check costs does not depend on how much else the capsule may do.
_standing_of_values: Final = _standing_with(
    and_(
        _of_capability,
        or_(
            and_(*(grants.c.matching != one for one in sorted(LISTED))),
            grants.c.value.in_(bindparam("values", expanding=True)),
        ),
    ),
    "values",
)


#: A capsule, and all its grants.
_OF_CAPSULE: Final = Query(
    capsules,
    ("id",),
    select(
        *CAPSULE,
        grants.c.capability,
        *ENTRY,
    )
    .outerjoin(grants, OF_GENERATION)
    .where(capsules.c.namespace == bindparam("namespace"), capsules.c.id == bindparam("id"))
    .order_by(grants.c.capability, grants.c.position),
)


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """A capsule's state and grants, as read at one time: so two are never equal."""

    is_registered: bool
    state: str | None
    #: By which its capsule is judged; null if there is none.
    rules: str | None
    #: The entries of its manifest, in order, by capability.
    grants: Mapping[object, Entries]


_UNREGISTERED: Final = Standing(is_registered=False, state=None, rules=None, grants={})


UNKNOWN: Final = Verdict(DecisionReason.UNKNOWN_UUID)


def check(scope: LookupScope, uuid: object, capability: object, value: object) -> Decided:
    """
    Decide a check; invalid arguments deny.

    A fault is returned, for `denial`: raised, it would doom a transaction and cost a connection;
    and what logs it must hold neither that nor a lock, since a log handler may ask the registry.

    Raises:
        NamespaceNotFoundError: The namespace was dropped.
    """
    known = known_capability(capability)
    try:
        of = deciding(known, value)
        rows = _standing_rows(scope, asked_uuid(uuid), of, value, is_held=known == HOLDS)
        if not rows:
            raise NamespaceNotFoundError(scope.namespace)
        standing = standing_by(rows[0], ((of, row) for row in rows))
        return decided(scope, rows[0], standing, known, value)
    except CHECK_FAULTS as fault:
        return fault


def _standing_rows(
    scope: LookupScope, uuid: UUID | None, of: str | None, value: object, *, is_held: bool
) -> Sequence[Row]:
    values = None if of is None or is_held else listed_values(of, value)
    if values is None:
        return scope.rows(_standing_of, uuid=uuid, capability=of)
    return scope.rows(_standing_of_values, uuid=uuid, capability=of, values=values)


def denial(fault: Exception, uuid: object) -> Decision:
    """Log the *fault*, and return the denial for the sender *uuid*."""
    log_denial(fault, uuid)
    return Decision(allowed=False, why=DecisionReason.UNREADABLE)


def standing(scope: LookupScope, capsule_id: str) -> Standing:
    """
    Return the state of the capsule of that id, and all its grants.

    Raises:
        HistoryCorruptError: A row is not as the registry writes it.
    """
    rows = scope.rows(_OF_CAPSULE, id=capsule_id)
    if not rows:
        return _UNREGISTERED
    return standing_by(rows[0], ((row["capability"], row) for row in rows))


def decide(standing: Standing, capability: str | None, value: object) -> Verdict:
    """Decide whether a capsule may do that; the *capability* `None` is an unknown one."""
    if not standing.is_registered:
        return Verdict(DecisionReason.NOT_REGISTERED)
    if standing.state != CapsuleState.READY:
        return Verdict(DecisionReason.NOT_READY)
    of = deciding(capability, value)
    if capability is None or of is None:
        return Verdict(DecisionReason.UNKNOWN_CAPABILITY)
    entries = standing.grants.get(of, NO_ENTRIES)
    if capability == HOLDS:
        is_told = of == _ALWAYS_TOLD or reading_by(standing.rules or ORIGINAL).table_rights
        return judge(capability, entries.all if is_told else (), value)
    return judge(capability, entries.that_may_cover(value), value)


def decision(revision: int, capsule_id: CapsuleId | None, verdict: Verdict) -> Decision:
    """Return *verdict* as a `Decision`."""
    return Decision(
        allowed=verdict.why is DecisionReason.GRANTED,
        why=verdict.why,
        capsule_id=capsule_id,
        grant=verdict.grant,
        revision=revision,
    )


def known_capability(capability: object) -> str | None:
    """Return the capability's name, or `None` if it is unknown."""
    name = plain_text(capability)
    return name if name in QUESTIONS else None


def asked_uuid(uuid: object) -> UUID | None:
    """Return *uuid* as a `UUID`, or `None` if it is not one."""
    try:
        return to_uuid(uuid)
    except InvalidUuidError:
        return None


def decided(
    scope: LookupScope, row: Row, standing: Standing, capability: str | None, value: object
) -> Decision:
    """
    Decide by the *row* of a UUID, and by the *standing* of its capsule.

    Raises:
        HistoryCorruptError, ValueError: A row is not as the registry writes it.
    """
    revision = row["revision"]
    if not isinstance(revision, int):
        raise HistoryCorruptError(f"namespace {scope.namespace}", "its revision is no number")
    if row["capsule_id"] is None or not leases.is_live_mapping(scope, row):
        return decision(revision, None, UNKNOWN)
    capsule_id = CapsuleId(row["capsule_id"])
    return decision(revision, capsule_id, decide(standing, capability, value))


def standing_by(row: Row, granted: Iterable[tuple[object, Row]]) -> Standing:
    """
    Return the standing of the capsule of a *row*, with the rows *granted* by capability.

    Raises:
        HistoryCorruptError, ValueError: A row is not as the registry writes it.
    """
    registered, state = row["registered_revision"], row["state"]
    if not isinstance(registered, int | None):
        raise HistoryCorruptError("a capsule", "its registered_revision is no number")
    if state is not None:
        CapsuleState(state)  # Raises ValueError.
    grants: dict[object, list[Entry]] = {}
    for capability, said in granted:
        if said["value"] is not None:  # There is one.
            grants.setdefault(capability, []).append(_entry(said))
    found = {capability: Entries(capability, entries) for capability, entries in grants.items()}
    return Standing(registered is not None, state, row["rules"], found)


def _entry(row: Row) -> Entry:
    entry = Entry(row["value"], row["matching"], row["counts"])
    if not (isinstance(entry.value, str) and isinstance(entry.matching, str)):
        raise HistoryCorruptError("a capsule", "a grant is no text")
    if not isinstance(entry.counts, bool):
        raise HistoryCorruptError("a capsule", "whether a grant counts is not said")
    return entry
