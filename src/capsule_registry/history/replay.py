"""Replay of a history: every hash recomputed, every event applied."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sqlalchemy import bindparam, select

from capsule_registry.schema.row_images import UNREADABLE
from capsule_registry.schema.tables import capsules, events, namespaces
from capsule_registry.unit_of_work.hash_chain import (
    GENESIS_HASH,
    event_line,
    hash_lines,
    sha256_of_lines,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from capsule_registry.unit_of_work.queries import Row, Scope

#: The kind of the events that record prunings.
PRUNED: Final = "history"
#: The events up to a revision, in order; after a pruning, those that were kept.
EVENTS_THROUGH: Final = (
    select(events)
    .where(events.c.namespace == bindparam("namespace"), events.c.revision <= bindparam("through"))
    .order_by(events.c.revision, events.c.position)
)
_NIL: Final = UUID(int=0)
_DIGEST: Final = re.compile(r'"manifest_digest":"([0-9a-f]{64})"')


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One deviation from the history, and where it is."""

    where: str
    problem: str


@dataclass(slots=True)
class Replay:
    """The position of a replay, the rows that exist there, and the discrepancies so far."""

    namespace: str
    revision: int = 0
    hash: str = GENESIS_HASH
    incarnation: UUID = _NIL
    #: The runtime by whose rules capsules are judged, if one is named.
    runtime_version: str | None = None
    #: The last image of every existing row, by table and key.
    state: dict[tuple[str, str], str] = field(default_factory=dict)
    committed_at: datetime | None = None
    revision_count: int = 0
    event_count: int = 0
    discrepancies: list[Discrepancy] = field(default_factory=list)
    #: The count and digest of the events that a pruning kept.
    kept: tuple[int, str] = (0, sha256_of_lines([]))
    #: By id: the revision whose event made a capsule's row, and whether none before it was pruned.
    created: dict[str, tuple[int, bool]] = field(default_factory=dict)
    #: The digests of all manifests that any row has had.
    digests: set[str] = field(default_factory=set)

    def report(self, where: str, problem: str) -> None:
        """Note a discrepancy."""
        self.discrepancies.append(Discrepancy(where, problem))

    @contextmanager
    def reading(self, where: str) -> Iterator[None]:
        """Report a discrepancy if the body fails to read what is stored: it may be anything."""
        try:
            yield
        except (*UNREADABLE, AttributeError, KeyError) as error:
            self.report(where, f"cannot be read: {error!r}")

    def begin_after(self, scope: Scope, compacted: int) -> None:
        """Begin with the events that a pruning kept; `verify_pruning` checks them later."""
        parameters = {"namespace": self.namespace, "through": compacted}
        lines = []
        with self.reading("pruned history"):
            for event in scope.execute(EVENTS_THROUGH, parameters).mappings().all():
                lines.append(event_line(event))
                # Of a capsule's row an earlier pruning may have kept the last event alone.
                self._apply(event, is_first=event["old_row"] is None)
        self.revision = compacted
        self.kept = (len(lines), sha256_of_lines(lines))

    def follow(self, revision: Row, found: Sequence[Row]) -> None:
        """Verify the next revision, and apply its events."""
        where = f"revision {revision['revision']}"
        if revision["revision"] != self.revision + 1:
            self.report(where, f"follows revision {self.revision}: something between is missing")
        if revision["previous_hash"] != self.hash:
            self.report(where, "does not continue the hash of the revision before it")
        if [event["position"] for event in found] != [*range(revision["event_count"])]:
            self.report(where, f"has not the {revision['event_count']} events it had")
        with self.reading(where):
            self._replay(where, revision, found)
        self.revision, self.hash = revision["revision"], revision["hash"]
        self.committed_at = revision["committed_at"]
        self.revision_count += 1
        self.event_count += len(found)

    def _replay(self, where: str, revision: Row, found: Sequence[Row]) -> None:
        for event in found:
            if event["old_row"] != self.state.get((event["kind"], event["subject"])):
                place = f"{event['kind']} {event['subject']}"
                self.report(where, f"event {event['position']} does not continue {place}")
            self._apply(event)
        if sha256_of_lines(hash_lines(self.incarnation, revision, found)) != revision["hash"]:
            self.report(where, "was changed: its hash is another")

    def may_be_created(self, capsule_id: str, revision: object) -> bool:
        """Return whether the row of a capsule may have been made by *revision*."""
        created, is_first = self.created.get(capsule_id, (0, True))
        return revision == created or (
            not is_first and isinstance(revision, int) and 0 <= revision <= created
        )

    def _apply(self, event: Row, *, is_first: bool = True) -> None:
        key = (event["kind"], event["subject"])
        if key[0] == capsules.name and key not in self.state:
            self.created[key[1]] = event["revision"], is_first
        if event["new_row"] is None:
            self.state.pop(key, None)
            return
        self.state[key] = event["new_row"]
        if key[0] == namespaces.name:
            self.incarnation = _incarnation(event["new_row"])
            self.runtime_version = json_object(event["new_row"]).get("runtime_version")
        if key[0] == capsules.name and (digest := _DIGEST.search(event["new_row"])):
            self.digests.add(digest[1])

    def verify_pruning(self, compacted: int, hash_before: str) -> None:
        """Check the events that a pruning kept against the history's record of it."""
        image = self.state.pop((PRUNED, self.namespace), None)
        with self.reading("record of the pruning"):
            said = {"through": 0} if image is None else json_object(image)
            self._verify_kept(said, compacted, hash_before)

    def _verify_kept(self, said: dict[str, Any], compacted: int, hash_before: str) -> None:
        if not compacted and said["through"] == 0:
            return
        if self.require_kept(said, compacted) != hash_before:
            self.report("pruned history", "does not lead to what follows it")

    def require_kept(self, said: dict[str, Any], compacted: int) -> str:
        """Check what was kept against the record *said* of its pruning; return its last hash."""
        if (through := said["through"]) != compacted:
            self.report("head", f"says pruned through {compacted}, history {through}")
        elif (said.get("kept_count"), said.get("kept_digest")) != self.kept:
            self.report("pruned history", "what was kept of it was changed")
        return str(said.get("hash"))


def json_object(image: str) -> dict[str, Any]:
    """Return the JSON object in *image*; raise `ValueError` if it holds anything else."""
    found = json.loads(image)
    if not isinstance(found, dict):
        raise ValueError(f"{image[:100]} is no object")  # noqa: TRY004 - it is the value of a text
    return found


def _incarnation(image: str) -> UUID:
    try:
        return UUID(str(json_object(image).get("incarnation")))
    except ValueError:
        return _NIL
