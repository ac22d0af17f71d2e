"""
What a capsule calls for which topics, in the order of its manifest.

Source: astrid 0.2.0 to 2026.9. What is called, and in which order, is decided elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from capsule_registry.manifest.readings import ORIGINAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capsule_registry.manifest.manifest import CapsuleManifest

#: The priority of what states none.
DEFAULT_PRIORITY: Final = 100


class Handler(NamedTuple):
    """What is called for a topic that matches the event; a lower priority is called earlier."""

    event: str
    action: str
    priority: int


def handlers_of(manifest: CapsuleManifest) -> list[Handler]:
    """
    Return the handlers of `[subscribe]`, sorted by topic, then the interceptors in their order.

    An interceptor gives way to a handler of the very same topic.
    """
    return manifest.derived(_handlers_of)


def _handlers_of(manifest: CapsuleManifest) -> list[Handler]:
    handled = _handled(manifest)
    return [*(handled[topic] for topic in sorted(handled)), *interceptors_of(manifest)]


def interceptors_of(manifest: CapsuleManifest) -> Iterator[Handler]:
    """Yield the interceptors that are called, in their order."""
    if not manifest.reading.interceptors:
        return
    is_first, handled = manifest.rules == ORIGINAL, _handled(manifest)
    for one in manifest.interceptors:
        if one.event not in handled:
            priority = DEFAULT_PRIORITY if is_first else one.priority
            yield Handler(one.event, one.action, or_default(priority))


def _handled(manifest: CapsuleManifest) -> dict[str, Handler]:
    if manifest.rules == ORIGINAL:
        return {}
    return {
        topic: Handler(topic, entry.handler, or_default(entry.priority))
        for topic, entry in manifest.subscribe.items()
        if entry.handler is not None
    }


def or_default(priority: int | None) -> int:
    """Return the priority, or that of what states none."""
    return DEFAULT_PRIORITY if priority is None else priority
