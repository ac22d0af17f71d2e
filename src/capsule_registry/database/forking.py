"""
Fork safety of open databases.

A SQLite connection must not survive a fork: the child would share its descriptors, and closing one
drops the other's locks. So before a fork, running calls are waited for and all connections to files
closed; both sides reopen them when needed. Connections to a server stay the parent's: the child
drops them without closing them.
"""

from __future__ import annotations

import os
import time
from threading import Lock, get_ident
from typing import Final, Protocol
from weakref import WeakSet, ref

#: How long a fork waits for other threads' calls.
_PATIENCE_SECONDS: Final = 30.0
#: How often a fork looks whether they have ended, and they whether it is over.
_PAUSE_SECONDS: Final = 0.0005


class Forkable(Protocol):
    """An object with hooks that run when the process forks."""

    def before_fork(self) -> None:
        """Prepare for the fork, in the parent."""

    def after_fork(self, *, in_child: bool) -> None:
        """Resume, in the parent and in the child."""


_open_databases: WeakSet[Forkable] = WeakSet()
#: Connections and calls that were in use when this process was forked: never touched again, nor
#: garbage collected. While there are any, SQLite's own record of its locks is wrong.
abandoned: list[object] = []


class Call:
    """A running call: it is over when it says so, or when the frame that held it is gone."""

    __slots__ = ("__weakref__", "is_over", "thread")

    def __init__(self) -> None:
        self.thread = get_ident()
        self.is_over = False


class Activity:
    """
    The running calls on one database.

    An exception may come between any two steps, from a signal handler. So a call is known by a weak
    reference, which cannot be left behind, and the lock is one that `with` takes in a single step.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._calls: set[ref[Call]] = set()
        self._is_stopped = False

    def begin(self) -> Call:
        """Register a call, which ends by its `is_over`; first wait for a fork in progress."""
        call = Call()
        while not self._admits(call):
            time.sleep(_PAUSE_SECONDS)
        return call

    def _admits(self, call: Call) -> bool:
        with self._lock:
            if self._is_stopped and call.thread not in self._threads():
                return False
            self._calls.add(ref(call, self._calls.discard))
            return True

    def _threads(self) -> set[int]:
        calls = (known() for known in [*self._calls])
        return {call.thread for call in calls if call is not None and not call.is_over}

    @property
    def is_any(self) -> bool:
        """Whether a call is running."""
        return bool(self._threads())

    def stop(self) -> None:
        """Block new calls of other threads, and wait up to 30 s for their running ones."""
        with self._lock:
            self._is_stopped = True
        deadline, mine = time.monotonic() + _PATIENCE_SECONDS, {get_ident()}
        while self._threads() - mine and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)

    def resume(self) -> None:
        """Allow calls again."""
        self._is_stopped = False


def watch(database: Forkable) -> None:
    """Run the fork hooks of *database* as long as it lives."""
    _open_databases.add(database)


def _before() -> None:
    for database in list(_open_databases):
        database.before_fork()


def _after_in_parent() -> None:
    for database in list(_open_databases):
        database.after_fork(in_child=False)


def _after_in_child() -> None:
    for database in list(_open_databases):
        database.after_fork(in_child=True)


os.register_at_fork(
    before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
)
