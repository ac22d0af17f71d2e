"""What has been done through a database since it was opened, for metrics."""

from __future__ import annotations

from bisect import bisect_left
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

#: The bounds of times, in seconds.
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
#: The bounds of how many units share a transaction.
SIZES: Final = (1, 2, 4, 8, 16, 32, 64)
#: What becomes of a unit: it made a revision, changed nothing, was refused for what it asked, or
#: failed for what the database did.
OUTCOMES: Final = ("made", "unchanged", "refused", "failed")


class Distribution:
    """How many values there were up to each bound, and their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        #: One count for each bound, and one for values beyond the last.
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Add a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Verified(NamedTuple):
    """The last verification of a namespace's history in this process."""

    at: datetime
    revision: int
    is_well: bool


class Measures:
    """What has been done: everything but `verified` only grows."""

    def __init__(self) -> None:
        self._lock = Lock()
        #: By outcome, how long units took for their callers.
        self.units = {outcome: Distribution(SECONDS) for outcome in OUTCOMES}
        #: How long transactions waited for their turn, until they held the head.
        self.turns = Distribution(SECONDS)
        #: How many units shared a transaction.
        self.batches = Distribution(SIZES)
        #: How often a transaction was run again.
        self.retries = 0
        #: How many lookups asked the database.
        self.lookups = 0
        #: By namespace.
        self.verified: dict[str, Verified] = {}

    def unit(self, outcome: str, seconds: float) -> None:
        """Count a unit."""
        with self._lock:
            self.units[outcome].add(seconds)

    def turn(self, seconds: float) -> None:
        """Count a transaction that has its turn, after so many *seconds*."""
        with self._lock:
            self.turns.add(seconds)

    def retry(self) -> None:
        """Count a transaction that is run again."""
        with self._lock:
            self.retries += 1

    def batch(self, size: int) -> None:
        """Count a transaction of so many units."""
        with self._lock:
            self.batches.add(size)

    def lookup(self) -> None:
        """Count a lookup that asked the database."""
        with self._lock:
            self.lookups += 1
