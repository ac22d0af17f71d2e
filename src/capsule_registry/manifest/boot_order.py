"""In which order capsules start. Source: astrid-capsule 0.2.0 `toposort` and the kernel's boot."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from capsule_registry.errors import DependencyCycleError
from capsule_registry.matching import capability_matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from capsule_registry.manifest.manifest import CapsuleManifest


def boot_order(manifests: Iterable[CapsuleManifest]) -> list[CapsuleManifest]:
    """
    Return the manifests in the order in which a host starts them.

    Every provider comes before those that require it, uplink capsules before all others, and
    whatever is not ordered by that keeps the order given. A requirement that nobody meets holds
    nothing up.

    Raises:
        DependencyCycleError: Some require each other in a circle; `fallback` has the indexes in
            the order to use then: as given, uplink capsules first.
    """
    given = list(manifests)
    order = _dependency_order(given)
    if len(order) < len(given):
        left = [index for index in range(len(given)) if index not in set(order)]
        names = tuple(given[index].package.name for index in left)
        raise DependencyCycleError(names, tuple(_uplinks_first(range(len(given)), given)))
    return [given[index] for index in _uplinks_first(order, given)]


def _uplinks_first(order: Iterable[int], manifests: Sequence[CapsuleManifest]) -> list[int]:
    return sorted(order, key=lambda index: not manifests[index].capabilities.uplink)


def _dependency_order(manifests: Sequence[CapsuleManifest]) -> list[int]:
    """Return the indexes that can be ordered (Kahn, first in first out)."""
    dependents: list[list[int]] = [[] for _ in manifests]
    waiting_for = [0] * len(manifests)
    for consumer, provider in _edges(manifests):
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


def _edges(manifests: Sequence[CapsuleManifest]) -> Iterable[tuple[int, int]]:
    """Yield (consumer, provider) for each requirement and each other capsule that meets it."""
    provides = [manifest.effective_provides for manifest in manifests]
    if len(manifests) < 2:  # noqa: PLR2004 - one alone has no other
        return
    for consumer, manifest in enumerate(manifests):
        for requirement in manifest.dependencies.requires:
            for provider, offered in enumerate(provides):
                if provider != consumer and any(
                    capability_matches(requirement, capability) for capability in offered
                ):
                    yield consumer, provider
