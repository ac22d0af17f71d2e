"""The boot order of capsules. Source: astrid-capsule 0.2.0 `toposort` and the kernel's boot."""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from capsule_registry.errors import DependencyCycleError
from capsule_registry.manifest.exporters import Exporters
from capsule_registry.manifest.matching import Offers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from capsule_registry.manifest.manifest import CapsuleManifest


class Node(NamedTuple):
    """What a capsule's place in the order depends on."""

    name: str
    requires: Sequence[str]
    provides: Sequence[str]
    is_uplink: bool
    #: The interfaces, each with a requirement of versions, and with a version.
    imports: Sequence[tuple[str, str]] = ()
    exports: Sequence[tuple[str, str]] = ()


def boot_order(manifests: Iterable[CapsuleManifest]) -> list[CapsuleManifest]:
    """
    Return the manifests in the order in which a host starts them.

    Providers come before those that require them, exporters before those that import from them,
    uplink capsules before all others; otherwise the order given is kept. A requirement or import
    that nobody meets delays nothing.

    Raises:
        DependencyCycleError: Some require each other in a cycle; `fallback` has the indexes in
            the order to use then: as given, uplink capsules first.
    """
    given = list(manifests)
    nodes = [
        Node(
            manifest.package.name,
            manifest.dependencies.requires,
            manifest.effective_provides,
            manifest.merged_capabilities.uplink,
            [(name, one.version) for name, one in manifest.all_imports],
            [(name, one.version) for name, one in manifest.all_exports],
        )
        for manifest in given
    ]
    return [given[index] for index in order_of(nodes)]


def order_of(nodes: Sequence[Node]) -> list[int]:
    """Return the indexes of *nodes* in the order `boot_order` has; raises as that does."""
    order = _dependency_order(nodes)
    if len(order) < len(nodes):
        names = tuple(nodes[index].name for index in sorted({*range(len(nodes))} - {*order}))
        raise DependencyCycleError(names, tuple(_uplinks_first(range(len(nodes)), nodes)))
    return _uplinks_first(order, nodes)


def _uplinks_first(order: Iterable[int], nodes: Sequence[Node]) -> list[int]:
    return sorted(order, key=lambda index: not nodes[index].is_uplink)


def _dependency_order(nodes: Sequence[Node]) -> list[int]:
    """Return the indexes that can be ordered (Kahn's algorithm, first in first out)."""
    dependents: list[list[int]] = [[] for _ in nodes]
    waiting_for = [0] * len(nodes)
    for consumer, provider in _edges(nodes):
        dependents[provider].append(consumer)
        waiting_for[consumer] += 1
    ready = deque(index for index, count in enumerate(waiting_for) if not count)
    order: list[int] = []
    while ready:
        order.append(index := ready.popleft())
        for dependent in dependents[index]:
            waiting_for[dependent] -= 1
            if not waiting_for[dependent]:
                ready.append(dependent)
    return order


def _edges(nodes: Sequence[Node]) -> Iterable[tuple[int, int]]:
    """Yield (consumer, provider) for each need and each other capsule that meets it."""
    if len(nodes) < 2:  # noqa: PLR2004 - one alone has no other
        return
    for consumer, providers in chain(_requirements_met(nodes), _imports_met(nodes)):
        yield from ((consumer, index) for index in providers if index != consumer)


def _requirements_met(nodes: Sequence[Node]) -> Iterable[tuple[int, list[int]]]:
    """Yield for each requirement whose it is, and who meets it."""
    offers = Offers(
        (index, capability) for index, node in enumerate(nodes) for capability in node.provides
    )
    known: dict[str, list[int]] = {}
    for consumer, node in enumerate(nodes):
        for requirement in node.requires:
            if requirement not in known:
                known[requirement] = offers.meeting(requirement)
            yield consumer, known[requirement]


def _imports_met(nodes: Sequence[Node]) -> Iterable[tuple[int, list[int]]]:
    """Yield for each import whose it is, and who meets it."""
    exporters = Exporters(
        (index, *export) for index, node in enumerate(nodes) for export in node.exports
    )
    known: dict[tuple[str, str], list[int]] = {}
    for consumer, node in enumerate(nodes):
        for wanted in node.imports:
            if wanted not in known:
                known[wanted] = exporters.meeting(*wanted)
            yield consumer, known[wanted]
