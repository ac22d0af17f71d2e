"""Interceptors: whose actions an event calls for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsule_registry.manifest.matching import patterns_covering, topic_matches
from capsule_registry.models.records import CapsuleState
from capsule_registry.schema.tables import interceptors
from capsule_registry.unit_of_work.queries import derived, in_order

if TYPE_CHECKING:
    from capsule_registry.unit_of_work.scope import Row, Scope

_all = derived(interceptors)
_of_events = derived(interceptors, among=("event",))


def find(scope: Scope, topic: str) -> list[Row]:
    """Return the rows of ready capsules whose pattern covers *topic*, in order of registration."""
    patterns = patterns_covering(topic)
    found = scope.rows(_all) if patterns is None else scope.rows(_of_events, event=patterns)
    return [
        row
        for row in in_order(found)
        if row["state"] == CapsuleState.READY and topic_matches(topic, row["event"])
    ]
