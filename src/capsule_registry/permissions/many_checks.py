"""Many checks at once: one statement, and so one moment, for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import and_, bindparam, select

from capsule_registry.entities import leases, session_uuids
from capsule_registry.errors import InvalidTextError, NamespaceNotFoundError
from capsule_registry.permissions import checks
from capsule_registry.permissions.fault_log import CHECK_FAULTS
from capsule_registry.permissions.judgement import deciding
from capsule_registry.schema.tables import capsules, grants, namespaces, uuid_mappings
from capsule_registry.schema.tables import leases as leases_table
from capsule_registry.unit_of_work.high_water_mark import HEAD
from capsule_registry.unit_of_work.queries import Query, query

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from capsule_registry.permissions.checks import Decided
    from capsule_registry.unit_of_work.queries import LookupScope, Row

#: The most questions at once.
MAX_QUESTIONS: Final = 500
_LENGTHS: Final = (2, 3)


class Question(NamedTuple):
    """Whether the sender may do something."""

    uuid: Any
    capability: Any
    value: Any = None


_granted = query(
    grants,
    "capsule_id",
    columns=("capability", *(column.name for column in checks.ENTRY)),
    is_ordered=False,
)


def _standings_in_parts(
    scope: LookupScope, *, uuids: Sequence[UUID], capabilities: Sequence[str]
) -> list[Row]:
    """Return what `_standings_of` finds, by queries for each UUID and each capsule."""
    grants_of: dict[object, Sequence[Row]] = {}
    found: list[Row] = [{**checks.filed_in_parts(scope, None), "uuid": None, "capability": None}]
    for uuid in uuids:
        filed = {**checks.filed_in_parts(scope, uuid), "uuid": uuid, "capability": None}
        capsule_id = filed["capsule_id"]
        if capsule_id not in grants_of:
            granted = scope.rows(_granted, capsule_id=capsule_id)
            grants_of[capsule_id] = [one for one in granted if one["capability"] in capabilities]
        found += [filed, *({**filed, **grant} for grant in grants_of[capsule_id])]
    return found


#: The head, and each of the UUIDs with its lease, its capsule and that one's grants.
_standings_of: Final = Query(
    uuid_mappings,
    (),
    select(
        *HEAD,
        uuid_mappings.c.uuid,
        capsules.c.id.label("capsule_id"),
        uuid_mappings.c.lease_id,
        *leases.ENDS,
        *checks.CAPSULE,
        grants.c.capability,
        *checks.ENTRY,
    )
    .select_from(namespaces)
    .outerjoin(
        uuid_mappings,
        and_(
            uuid_mappings.c.namespace == namespaces.c.name,
            uuid_mappings.c.uuid.in_(bindparam("uuids", expanding=True)),
        ),
    )
    .outerjoin(leases_table, leases.OF_UUID)
    .outerjoin(capsules, session_uuids.OF_OWNER)
    .outerjoin(
        grants,
        and_(
            checks.OF_GENERATION,
            grants.c.capability.in_(bindparam("capabilities", expanding=True)),
        ),
    )
    .where(namespaces.c.name == bindparam("namespace"))
    .order_by(grants.c.position),
    among=("uuids", "capabilities"),
    in_parts=_standings_in_parts,
    with_head=True,
)


def questions_in(given: Iterable[Any]) -> list[Question]:
    """
    Return the questions *given* as tuples of a UUID, a capability and, maybe, a value.

    Raises:
        InvalidTextError: One is no such tuple, or there are more than `MAX_QUESTIONS`.
    """
    found = []
    for number, one in enumerate(given, start=1):
        if number > MAX_QUESTIONS:
            raise InvalidTextError("questions", "too_many", f"at most {MAX_QUESTIONS} at once")
        if not (isinstance(one, (tuple, list)) and len(one) in _LENGTHS):
            said = f"question {number} is not (uuid, capability) or (uuid, capability, value)"
            raise InvalidTextError("questions", "malformed", said)
        found.append(Question(*one))
    return found


def check_many(scope: LookupScope, questions: Sequence[Question]) -> list[Decided]:
    """
    Decide each of *questions*, in order; invalid arguments deny, and a fault denies its own alone.

    Raises:
        NamespaceNotFoundError: The namespace was dropped.
    """
    uuids = [checks.asked_uuid(one.uuid) for one in questions]
    names = [checks.known_capability(one.capability) for one in questions]
    of = {deciding(name, one.value) for name, one in zip(names, questions, strict=True)}
    rows = scope.rows(
        _standings_of,
        uuids=[*{uuid for uuid in uuids if uuid is not None}],
        capabilities=sorted(one for one in of if one is not None),
    )
    if not rows:
        raise NamespaceNotFoundError(scope.namespace)
    by_uuid: dict[UUID | None, _Sender] = {}
    for row in rows:
        by_uuid.setdefault(row["uuid"], _Sender([])).rows.append(row)
    nothing = {"capsule_id": None, "value": None, "state": None, "rules": None}
    nobody = _Sender([{**rows[0], **nothing}])
    return [
        _decided(scope, by_uuid.get(uuid, nobody) if uuid else nobody, name, one.value)
        for uuid, name, one in zip(uuids, names, questions, strict=True)
    ]


@dataclass(slots=True)
class _Sender:
    """The rows of a UUID, and the standing of its capsule, found out once for all questions."""

    rows: list[Row]
    _standing: checks.Standing | None = None

    @property
    def standing(self) -> checks.Standing:
        if self._standing is None:
            said = ((row["capability"], row) for row in self.rows)
            self._standing = checks.standing_by(self.rows[0], said)
        return self._standing


def _decided(scope: LookupScope, sender: _Sender, capability: str | None, value: object) -> Decided:
    try:
        return checks.decided(scope, sender.rows[0], sender.standing, capability, value)
    except CHECK_FAULTS as fault:
        return fault
