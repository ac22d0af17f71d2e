"""A history as it is read again: every hash recomputed, every event applied."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from uuid import UUID

from sqlalchemy import bindparam, select

from capsule_registry.canonical import sha256_of_lines
from capsule_registry.chain import GENESIS_HASH, event_line, export_lines
from capsule_registry.pruning import PRUNED
from capsule_registry.tables import events, namespaces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from capsule_registry.scope import Row, Scope

_NIL: Final = UUID(int=0)
_kept = (
    select(events)
    .where(events.c.namespace == bindparam("namespace"), events.c.revision <= bindparam("through"))
    .order_by(events.c.revision, events.c.position)
)


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One thing that is not as the history says, and where."""

    where: str
    problem: str


@dataclass(slots=True)
class Replay:
    """Where the reading stands, what is registered there, and what was wrong on the way."""

    namespace: str
    revision: int = 0
    hash: str = GENESIS_HASH
    incarnation: UUID = _NIL
    #: The last image of every row that is there, by table and key.
    state: dict[tuple[str, str], str] = field(default_factory=dict)
    revision_count: int = 0
    event_count: int = 0
    discrepancies: list[Discrepancy] = field(default_factory=list)
    #: What a pruning has left: how many events, and their digest.
    kept: tuple[int, str] = (0, sha256_of_lines([]))

    def report(self, where: str, problem: str) -> None:
        """Note a discrepancy."""
        self.discrepancies.append(Discrepancy(where, problem))

    def begin_after(self, scope: Scope, compacted: int) -> None:
        """Begin with what a pruning has left; what is read later vouches for it."""
        parameters = {"namespace": self.namespace, "through": compacted}
        lines = []
        for event in scope.conn.execute(_kept, parameters).mappings():
            lines.append(event_line(event))
            self._apply(event)
        self.revision = compacted
        self.kept = (len(lines), sha256_of_lines(lines))

    def follow(self, revision: Row, found: Sequence[Row]) -> None:
        """Recompute the next revision, and apply its events."""
        where = f"revision {revision['revision']}"
        if revision["revision"] != self.revision + 1:
            self.report(where, f"follows revision {self.revision}: something between is missing")
        if revision["previous_hash"] != self.hash:
            self.report(where, "does not continue the hash of the revision before it")
        if [event["position"] for event in found] != [*range(revision["event_count"])]:
            self.report(where, f"has not the {revision['event_count']} events it had")
        for event in found:
            if event["old_row"] != self.state.get((event["kind"], event["subject"])):
                place = f"{event['kind']} {event['subject']}"
                self.report(where, f"event {event['position']} does not continue {place}")
            self._apply(event)
        if sha256_of_lines(export_lines(self.incarnation, revision, found)) != revision["hash"]:
            self.report(where, "was changed: its hash is another")
        self.revision, self.hash = revision["revision"], revision["hash"]
        self.revision_count += 1
        self.event_count += len(found)

    def _apply(self, event: Row) -> None:
        key = (event["kind"], event["subject"])
        if event["new_row"] is None:
            self.state.pop(key, None)
            return
        self.state[key] = event["new_row"]
        if key[0] == namespaces.name:
            self.incarnation = _incarnation(event["new_row"])

    def check_pruning(self, compacted: int, hash_before: str) -> None:
        """Check what a pruning has left against what the history says of it."""
        image = self.state.pop((PRUNED, self.namespace), None)
        said = json.loads(image) if image else {"through": 0}
        if said["through"] != compacted:
            self.report("head", f"says pruned through {compacted}, history {said['through']}")
        elif compacted and (said["kept_count"], said["kept_digest"]) != self.kept:
            self.report("pruned history", "what was kept of it was changed")
        elif compacted and said["hash"] != hash_before:
            self.report("pruned history", "does not lead to what follows it")


def _incarnation(image: str) -> UUID:
    try:
        return UUID(json.loads(image)["incarnation"])
    except (KeyError, TypeError, ValueError):
        return _NIL
