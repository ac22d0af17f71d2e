"""Waiting for capsules to become ready, whichever process sets their state."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from capsule_registry.entities import capsules
from capsule_registry.errors import RevisionCompactedError
from capsule_registry.history.watch import POLL_SECONDS, Watch
from capsule_registry.identifiers import CapsuleId
from capsule_registry.models.records import CapsuleState, ReadyStatus
from capsule_registry.schema.tables import capsules as capsules_table
from capsule_registry.unit_of_work.prepared_statements import batches

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import timedelta

    from capsule_registry.history.revisions import Revision
    from capsule_registry.unit_of_work.queries import Reading

_OUTCOMES = {CapsuleState.READY: ReadyStatus.READY, CapsuleState.FAILED: ReadyStatus.CRASHED}


def wait_ready(
    read: Reading, ids: Iterable[str], timeout: timedelta
) -> dict[CapsuleId, ReadyStatus]:
    """Wait until each of *ids* is ready or has failed, at most for *timeout*."""
    deadline = time.monotonic() + timeout.total_seconds()
    wanted = [CapsuleId(one) for one in dict.fromkeys(ids)]
    found: dict[str, ReadyStatus] = {}
    watch: Watch | None = None
    while True:
        try:
            if watch is None:
                # Started before the states are read, so that no change in between is missed.
                watch = Watch(read, None, None, None)
                found = standing(read, wanted) | found
            revision = watch.poll() if len(found) < len(wanted) else None
        except RevisionCompactedError:
            watch = None  # Revisions were pruned unread: go by the current states.
            continue
        if revision is not None:
            changed = changes(revision)
            found = {one: changed[one] for one in wanted if one in changed} | found
        if len(found) == len(wanted) or time.monotonic() >= deadline:
            return {one: found.get(one, ReadyStatus.TIMEOUT) for one in wanted}
        if revision is None:
            time.sleep(POLL_SECONDS)


def standing(read: Reading, wanted: Sequence[CapsuleId]) -> dict[str, ReadyStatus]:
    """Return which of *wanted* are ready or have failed."""
    found: dict[str, ReadyStatus] = {}
    for batch in batches(wanted):
        states = read(capsules.states, batch)
        found |= {one: _OUTCOMES[state] for one, state in states.items() if state in _OUTCOMES}
    return found


def changes(revision: Revision) -> dict[str, ReadyStatus]:
    """Return which capsules became ready or failed, whichever each did first."""
    found: dict[str, ReadyStatus] = {}
    for event in revision.events:
        state = (event.new_row or {}).get("state")
        if event.kind == capsules_table.name and state in _OUTCOMES:
            found.setdefault(event.subject, _OUTCOMES[CapsuleState(state)])
    return found
