"""Routes: who is called for a topic, who publishes it, and who subscribes to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsule_registry.entities.derived_rows import records
from capsule_registry.identifiers import CapsuleId
from capsule_registry.manifest.matching import (
    TopicPattern,
    patterns_covering,
    subtree_matches,
    subtrees_covering,
    topic_matches,
)
from capsule_registry.manifest.matchings import Matching
from capsule_registry.manifest.readings import reading_by
from capsule_registry.manifest.routes import PUBLISH, SUBSCRIBE
from capsule_registry.models.declarations import CallMode, Route
from capsule_registry.models.records import CapsuleState
from capsule_registry.schema.tables import routes
from capsule_registry.unit_of_work.queries import derived, in_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from capsule_registry.unit_of_work.queries import Row, Scope

_all = derived(routes)
_of_capsule = derived(routes, "capsule_id")
_of_direction = derived(routes, "direction")
_by_topic = derived(routes, "direction", among=("topic",))


def called(scope: Scope, topic: str) -> list[Row]:
    """Return the routes of ready capsules whose handlers are called for *topic*, in that order."""
    found = _covering(scope, SUBSCRIBE, patterns_covering(topic))
    return sorted(
        (
            row
            for row in found
            if row["handler"] is not None
            and row["state"] == CapsuleState.READY
            and topic_matches(topic, row["topic"])
        ),
        key=lambda row: (row["priority"], row["capsule_id"], row["handler"]),
    )


def mode_of(calls: Sequence[Row]) -> CallMode:
    """Return how they are called who are called for one topic."""
    if len(calls) == 1:
        return CallMode.SINGLE
    is_chain = any(reading_by(row["rules"]).chains_calls for row in calls)
    has_order = len({row["priority"] for row in calls}) > 1
    return CallMode.CHAIN if is_chain or has_order else CallMode.FAN_OUT


def parties(scope: Scope, direction: str, topic: str) -> list[CapsuleId]:
    """Return the capsules with a route in that direction that covers *topic*, each once."""
    found = in_order(_covering(scope, direction, subtrees_covering(topic)))
    covering = (row["capsule_id"] for row in found if _covers(row, topic))
    return [*map(CapsuleId, dict.fromkeys(covering))]


def list_all(scope: Scope, capsule_id: str | None) -> list[Route]:
    """Return the routes, or those of one capsule, in order of registration."""
    if capsule_id is None:
        return records(Route, scope.rows(_all))
    return records(Route, scope.rows(_of_capsule, capsule_id=capsule_id))


def unanswered(scope: Scope, direction: str) -> list[Route]:
    """Return the routes in that direction that meet none in the other, in order."""
    other = SUBSCRIBE if direction == PUBLISH else PUBLISH
    answers = {_pattern(row) for row in scope.rows(_of_direction, direction=other)}
    known: dict[TopicPattern, bool] = {}
    lone = []
    for row in scope.rows(_of_direction, direction=direction):
        pattern = _pattern(row)
        if pattern not in known:
            known[pattern] = any(map(pattern.meets, answers))
        if not known[pattern]:
            lone.append(row)
    return records(Route, lone)


def _covering(scope: Scope, direction: str, patterns: list[str] | None) -> Sequence[Row]:
    if patterns is None:  # Too many to look up.
        return scope.rows(_of_direction, direction=direction)
    if not patterns:
        return []
    return scope.rows(_by_topic, direction=direction, topic=patterns)


def _covers(row: Row, topic: str) -> bool:
    covers = subtree_matches if row["matching"] == Matching.SUBTREE else topic_matches
    return covers(topic, row["topic"])


def _pattern(row: Row) -> TopicPattern:
    return TopicPattern.of(row["topic"], is_subtree=row["matching"] == Matching.SUBTREE)
