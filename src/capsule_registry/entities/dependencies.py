"""Dependencies: requirements and their providers, boot order, and interceptors of a topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from capsule_registry.entities import capsules, interfaces
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
from capsule_registry.manifest.semver import Version
from capsule_registry.models.records import BootOrder, CapsuleState, Dependency, Provision
from capsule_registry.schema.tables import grants, interceptors, provisions, requirements
from capsule_registry.unit_of_work.queries import derived, in_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from capsule_registry.manifest.semver import Requirement
    from capsule_registry.unit_of_work.queries import Row, Scope

_provisions = derived(provisions)
_of_kind = derived(provisions, "kind")
_requirements = derived(requirements)
_flags = derived(grants, "capability")
_interceptors = derived(interceptors)
_by_event = derived(interceptors, among=("event",))


def providers(scope: Scope, requirement: str, version: Requirement) -> list[Provision]:
    """Return who provides *requirement*, or exports it in a *version*, in registration order."""
    provided = scope.rows(_of_kind, kind=split_capability(requirement)[0])
    found = [
        row | {"version": None}
        for row in map(dict, provided)
        if capability_matches(requirement, row["capability"])
    ]
    exported = map(dict, interfaces.exports_of(scope, [requirement]))
    with interfaces.reading_versions():
        found += [
            row | {"capability": row["interface"]}
            for row in exported
            if version.matches(Version.parse(row["version"]))
        ]
    return [
        Provision(
            capsule_id=CapsuleId(row["capsule_id"]),
            capability=row["capability"],
            state=CapsuleState(row["state"]),
            version=row["version"],
        )
        for row in in_order(found)
    ]


def list_all(scope: Scope) -> list[Dependency]:
    """Return each requirement and import with its providers, in order of registration."""
    return _with_providers(_found(scope))


def unmet(scope: Scope, *, required: bool | None) -> list[Dependency]:
    """Return those that nobody provides, or of these the required ones, or the optional ones."""
    return [
        one for one in list_all(scope) if not one.providers and required in (None, not one.optional)
    ]


def boot_order(scope: Scope) -> BootOrder:
    """Return the start order of all capsules, with what is unmet, a cycle, if any, and rivals."""
    ids, found = capsules.ids(scope), _found(scope)
    cycle: tuple[CapsuleId, ...] = ()
    try:
        with interfaces.reading_versions():
            order = order_of(_nodes(scope, ids, found))
    except DependencyCycleError as error:
        order, cycle = [*error.fallback], tuple(map(CapsuleId, error.names))
    return BootOrder(
        order=tuple(ids[index] for index in order),
        unmet=tuple(one for one in _with_providers(found) if not one.providers),
        cycle=cycle,
        shared=tuple(interfaces.shared(found.exports)),
    )


class _Found(NamedTuple):
    """What capsules need of each other and offer, in order of registration."""

    requirements: list[Row]
    provisions: list[Row]
    imports: list[Row]
    exports: list[Row]


def _found(scope: Scope) -> _Found:
    return _Found(
        in_order(scope.rows(_requirements)),
        in_order(scope.rows(_provisions)),
        *interfaces.all_rows(scope),
    )


def _nodes(scope: Scope, ids: Sequence[CapsuleId], found: _Found) -> list[Node]:
    flags = scope.rows(_flags, capability="uplink")
    uplinks = {row["capsule_id"] for row in flags if row["counts"]}
    requires, provides, imports, exports = map(_by_capsule, found)
    return [
        Node(
            one,
            [row["capability"] for row in requires.get(one, ())],
            [row["capability"] for row in provides.get(one, ())],
            one in uplinks,
            [(row["interface"], row["requirement"]) for row in imports.get(one, ())],
            [(row["interface"], row["version"]) for row in exports.get(one, ())],
        )
        for one in ids
    ]


def _with_providers(found: _Found) -> list[Dependency]:
    met = _met(found.requirements, found.provisions)
    met += interfaces.met(found.imports, found.exports)
    places = {row["capsule_id"]: place for place, row in enumerate(_owners(found))}
    return sorted(met, key=lambda one: places[one.capsule_id])


def _owners(found: _Found) -> list[Row]:
    rows = (*found.requirements, *found.imports)
    return sorted(rows, key=lambda row: (row["registered_revision"], row["capsule_position"]))


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


def _by_capsule(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["capsule_id"], []).append(row)
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
