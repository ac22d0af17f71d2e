"""Dependencies: requirements and their providers, boot order, and interceptors of a topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsule_registry.entities import capsules
from capsule_registry.errors import DependencyCycleError
from capsule_registry.identifiers import CapsuleId
from capsule_registry.manifest.boot_order import Node, order_of
from capsule_registry.manifest.matching import (
    Offers,
    capability_matches,
    patterns_covering,
    split_capability,
    topic_matches,
)
from capsule_registry.models.records import BootOrder, CapsuleState, Dependency, Provision
from capsule_registry.schema.tables import grants, interceptors, provisions, requirements
from capsule_registry.unit_of_work.queries import derived, in_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from capsule_registry.unit_of_work.queries import Row, Scope

_provisions = derived(provisions)
_of_kind = derived(provisions, "kind")
_requirements = derived(requirements)
_flags = derived(grants, "capability")
_interceptors = derived(interceptors)
_by_event = derived(interceptors, among=("event",))


def providers(scope: Scope, requirement: str) -> list[Provision]:
    """Return the provisions that meet *requirement*, in order of registration."""
    return [
        Provision(
            capsule_id=CapsuleId(row["capsule_id"]),
            capability=row["capability"],
            state=CapsuleState(row["state"]),
        )
        for row in in_order(scope.rows(_of_kind, kind=split_capability(requirement)[0]))
        if capability_matches(requirement, row["capability"])
    ]


def list_all(scope: Scope) -> list[Dependency]:
    """Return each requirement with its providers, in order of registration."""
    return _met(in_order(scope.rows(_requirements)), in_order(scope.rows(_provisions)))


def boot_order(scope: Scope) -> BootOrder:
    """Return the start order of all capsules, with unmet requirements and a cycle, if any."""
    ids = capsules.ids(scope)
    needs, offers = in_order(scope.rows(_requirements)), in_order(scope.rows(_provisions))
    requires, provides = _by_capsule(needs), _by_capsule(offers)
    flags = scope.rows(_flags, capability="uplink")
    uplinks = {row["capsule_id"] for row in flags if row["counts"]}
    nodes = [Node(one, requires.get(one, ()), provides.get(one, ()), one in uplinks) for one in ids]
    cycle: tuple[CapsuleId, ...] = ()
    try:
        order = order_of(nodes)
    except DependencyCycleError as error:
        order, cycle = [*error.fallback], tuple(map(CapsuleId, error.names))
    return BootOrder(
        order=tuple(ids[index] for index in order),
        unmet=tuple(one for one in _met(needs, offers) if not one.providers),
        cycle=cycle,
    )


def _met(needs: Iterable[Row], offers: Sequence[Row]) -> list[Dependency]:
    """Return each of *needs* with the owners of the *offers* that meet it."""
    owners = list(dict.fromkeys(CapsuleId(row["capsule_id"]) for row in offers))
    places = {owner: index for index, owner in enumerate(owners)}
    met = Offers((places[row["capsule_id"]], row["capability"]) for row in offers)
    known: dict[str, tuple[CapsuleId, ...]] = {}
    found = []
    for row in needs:
        requirement = row["capability"]
        if requirement not in known:
            known[requirement] = tuple(owners[index] for index in met.meeting(requirement))
        found.append(
            Dependency(
                capsule_id=CapsuleId(row["capsule_id"]),
                requirement=requirement,
                providers=known[requirement],
            )
        )
    return found


def _by_capsule(rows: Iterable[Row]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["capsule_id"], []).append(row["capability"])
    return found


def called_by(scope: Scope, topic: str) -> list[Row]:
    """Return the interceptors of ready capsules that cover *topic*, in order of registration."""
    patterns = patterns_covering(topic)
    found = scope.rows(_interceptors) if patterns is None else scope.rows(_by_event, event=patterns)
    return [
        row
        for row in in_order(found)
        if row["state"] == CapsuleState.READY and topic_matches(topic, row["event"])
    ]
