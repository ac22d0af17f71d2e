"""How long something is tried again, and how long the pauses are."""

from __future__ import annotations

import random
import time
from typing import Final

_FIRST_PAUSE_SECONDS: Final = 0.005
_LONGEST_PAUSE_SECONDS: Final = 1.0


class Patience:
    """A deadline, and pauses that grow: with full jitter, so that nobody comes back together."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._longest = _FIRST_PAUSE_SECONDS

    def pause(self) -> bool:
        """Sleep a while and return `True`; past the deadline return `False` at once."""
        if time.monotonic() + self._longest > self._deadline:
            return False
        time.sleep(random.uniform(0, self._longest))  # noqa: S311 - nothing secret
        self._longest = min(2 * self._longest, _LONGEST_PAUSE_SECONDS)
        return True
