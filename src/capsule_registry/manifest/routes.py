"""
The topics of a manifest, in both directions: who may send, who hears, and what is called for them.

Source: astrid 0.2.0 to 2026.9. `permissions` decides what a session may send; these rows say who
talks to whom.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from capsule_registry.manifest.handlers import interceptors_of, or_default
from capsule_registry.manifest.matchings import Matching
from capsule_registry.manifest.rights import rights_of
from capsule_registry.manifest.topic_entries import PINS, SubscribeDef

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capsule_registry.manifest.manifest import CapsuleManifest
    from capsule_registry.manifest.rights import Right
    from capsule_registry.manifest.topic_entries import PublishDef

PUBLISH: Final = "publish"
SUBSCRIBE: Final = "subscribe"
#: The directions, each with the capability that a topic of it is a right of.
_DIRECTIONS: Final = {PUBLISH: "ipc_publish", SUBSCRIBE: "ipc_subscribe"}
#: What people call for, before one last segment; and what of it is an answer.
_BY_PEOPLE: Final = ("tool.v1.execute.", "cli.v1.command.run.")
_ANSWER: Final = ("tool.v1.execute.", "result")
#: The place of what is called for a topic without a right to subscribe to it.
INTERCEPTOR: Final = "interceptor"


class ManifestRoute(NamedTuple):
    """A topic or pattern, and what is called for it, if anything."""

    direction: str
    topic: str
    matching: Matching
    place: str
    handler: str | None = None
    priority: int | None = None
    wit: str | None = None
    pin_kind: str | None = None
    pin: str | None = None
    fanout: bool = False


def routes_of(manifest: CapsuleManifest) -> list[ManifestRoute]:
    """
    Return the topics that count: those published, those subscribed to, then the interceptors.

    An interceptor has a route of its own, unless its event is a key that has a handler.
    """
    return manifest.derived(_routes_of)


def _routes_of(manifest: CapsuleManifest) -> list[ManifestRoute]:
    return [*_routes(manifest)]


def _routes(manifest: CapsuleManifest) -> Iterator[ManifestRoute]:
    counting = [right for right in rights_of(manifest) if right.counts]
    for direction, capability in _DIRECTIONS.items():
        for right in counting:
            if right.capability == capability:
                yield _of_right(manifest, direction, right)
    for one in interceptors_of(manifest):
        of_event = SUBSCRIBE, one.event, Matching.SEGMENTS, INTERCEPTOR
        yield ManifestRoute(*of_event, one.action, one.priority)


def _of_right(manifest: CapsuleManifest, direction: str, right: Right) -> ManifestRoute:
    route = ManifestRoute(direction, right.value, right.matching, right.place)
    if right.place != direction:  # It stands in an array.
        return route
    entry: PublishDef | SubscribeDef = getattr(manifest, direction)[right.value]
    pins = [(name, text) for name in PINS if (text := getattr(entry, name)) is not None]
    pin_kind, pin = pins[0] if pins else (None, None)
    route = route._replace(wit=entry.wit, pin_kind=pin_kind, pin=pin)
    if not isinstance(entry, SubscribeDef):
        return route._replace(fanout=entry.fanout)
    if entry.handler is None:
        return route
    return route._replace(handler=entry.handler, priority=or_default(entry.priority))


def is_called_by_people(topic: str) -> bool:
    """
    Return whether people call for *topic*: to run a tool, or a command of a shell.

    A host gates these for each of them. Source: astrid 010d22d.
    """
    for prefix in _BY_PEOPLE:
        name = topic.removeprefix(prefix)
        if name != topic and name and "." not in name:
            return (prefix, name) != _ANSWER
    return False
