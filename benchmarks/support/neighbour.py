"""Another process that commits at a steady rate, and a check that a reader misses nothing."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from capsule_registry import CapsuleRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The UUID that it moves with each commit.
MOVING: Final = UUID(int=1 << 127)
COMMITS_A_SECOND: Final = 100.0


def commit_steadily(url: str, count: Any, is_over: Any) -> None:  # noqa: ANN401 - shared values
    """Move `MOVING` to `moved-1`, `moved-2` …, and increase *count* after each commit."""
    with CapsuleRegistry.open(url, actor="neighbour") as registry:
        due = time.monotonic()
        while not is_over.is_set():
            registry.register_uuid(MOVING, f"moved-{count.value + 1}")
            count.value += 1
            due = max(due + 1 / COMMITS_A_SECOND, time.monotonic() - 0.1)
            time.sleep(max(0, due - time.monotonic()))


@dataclass
class Neighbour:
    """The other process, as seen from here."""

    count: Any
    began: float
    stale: int = 0
    looks: int = 0

    def look(self, registry: CapsuleRegistry) -> None:
        """Look up `MOVING`; an answer older than the last commit before the call is stale."""
        committed = self.count.value
        found = registry.find_by_uuid(MOVING)
        self.looks += 1
        if found is None or int(found.rpartition("-")[2]) < committed:
            self.stale += 1

    @property
    def rate(self) -> float:
        """Its commits a second so far."""
        return float(self.count.value) / (time.monotonic() - self.began)


@contextmanager
def neighbour(url: str) -> Iterator[Neighbour]:
    """Run the other process during the block, which starts after its first commit."""
    spawning = get_context("spawn")
    count, is_over = spawning.Value("q", 0), spawning.Event()
    process = spawning.Process(target=commit_steadily, args=(url, count, is_over), daemon=True)
    process.start()
    try:
        while count.value == 0:
            if not process.is_alive():
                raise ChildProcessError("the process that commits has ended")
            time.sleep(0.01)
        yield Neighbour(count, time.monotonic())
    finally:
        is_over.set()
        process.join(30)
        process.kill()
