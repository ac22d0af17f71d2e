"""
The current time: by the database's clock, or by the host's where the database has none.

SQLite has only its host's clock, which people and programs can set. So there an end is also given
by the host's uptime, which nothing sets back.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

from capsule_registry.errors import RegistryUnavailableError
from capsule_registry.plain_values import plain_time

if TYPE_CHECKING:
    from collections.abc import Callable

#: Where Linux keeps the id of the current boot.
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
#: The uptime clock that also counts sleep, where there is one.
_UPTIME_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
#: Looked up once: they are called on every message.
_time_ns: Final = time.time_ns
_clock_ns: Final = time.clock_gettime_ns
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Moment:
    """A time and, where it counts too, the host's uptime in milliseconds."""

    time: datetime
    #: The boot that `uptime_ms` belongs to.
    boot_id: str | None = None
    uptime_ms: int | None = None

    def not_before(self, time: datetime) -> Moment:
        """Return this moment, or *time* if that is later."""
        return replace(self, time=max(self.time, time))


class End:
    """When something ends: by time and, where it counts too, by the host's uptime."""

    __slots__ = ("boot_id", "time", "time_ns", "uptime_ms", "uptime_ns")

    def __init__(self, time: datetime, boot_id: str | None, uptime_ms: int | None) -> None:
        self.time = time
        self.boot_id = boot_id
        self.uptime_ms = uptime_ms
        self.time_ns = (time - _EPOCH) // _MICROSECOND * 1_000
        self.uptime_ns = self._uptime_ns()

    def _uptime_ns(self) -> float:
        """Return the uptime of this boot at which it ends; 0 if it was given for another boot."""
        if self.boot_id is None or self.uptime_ms is None:
            return math.inf
        return self.uptime_ms * 1_000_000 if self.boot_id == boot_id() else 0

    def is_after(self, moment: Moment) -> bool:
        """Return whether the end is still to come at *moment*."""
        if moment.time >= self.time:
            return False
        if moment.uptime_ms is None or self.boot_id is None or self.uptime_ms is None:
            return True
        return moment.boot_id == self.boot_id and moment.uptime_ms < self.uptime_ms


class Clock:
    """
    A clock that never goes back.

    Args:
        source: Replaces the clocks of the database and the host.
        is_hosts: The database has no clock but the host's, so the host's uptime counts too.
    """

    def __init__(
        self, source: Callable[[], datetime] | None = None, *, is_hosts: bool = False
    ) -> None:
        self._source = source
        self._is_hosts = is_hosts
        self._latest = _BEGINNING
        self._lock = Lock()

    def moment(self, database_now: datetime | None) -> Moment:
        """Return the current moment; *database_now* is the database's time, if it was just read."""
        now = plain_time(self._source()) if self._source else database_now or self._host_now()
        with self._lock:
            self._latest = now = max(now, self._latest)
        if self._source or not self._is_hosts:
            return Moment(now)
        return Moment(now, boot_id(), time.clock_gettime_ns(_UPTIME_CLOCK) // 1_000_000)

    def is_before(self, end: End) -> bool:
        """Return whether *end* is still to come, as by `moment`, but cheaply: it is a hot path."""
        if self._source or not self._is_hosts:
            return end.is_after(self.moment(None))
        return (
            _time_ns() < end.time_ns
            and self._latest < end.time
            and _clock_ns(_UPTIME_CLOCK) < end.uptime_ns
        )

    def advance(self, time: datetime) -> None:
        """Never return a time before *time* from now on."""
        with self._lock:
            self._latest = max(time, self._latest)

    def _host_now(self) -> datetime:
        if not self._is_hosts:
            reason = "it gives no time: its session needs a time zone that it knows, such as +00:00"
            raise RegistryUnavailableError("the database's clock", reason)
        return host_clock()


class StoppedClock(Clock):
    """A clock that always gives the same moment: that of a read."""

    def __init__(self, moment: Moment) -> None:
        super().__init__()
        self._moment = moment

    def moment(self, database_now: datetime | None) -> Moment:  # noqa: ARG002 - it is stopped
        """Return the fixed moment."""
        return self._moment


def uptime_seconds() -> float:
    """Return the host's uptime in seconds, sleep included where the host counts it."""
    return time.clock_gettime(_UPTIME_CLOCK)


def host_clock() -> datetime:
    """Return the time by this host's clock."""
    return datetime.now(UTC)


@cache
def boot_id() -> str:
    """Return the id of the host's current boot, or an empty string if it has none."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
