"""
Fork safety of open databases.

A SQLite connection must not survive a fork: the child would share its descriptors, and closing one
drops the other's locks. So before a fork, running calls are waited for and all connections to files
closed; both sides reopen them when needed. Connections to a server stay the parent's: the child
drops them without closing them.
"""

from __future__ import annotations

import os
from threading import Condition, get_ident
from typing import Final, Protocol
from weakref import WeakSet

#: How long a fork waits for other threads' calls.
_PATIENCE_SECONDS: Final = 30.0


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


class Activity:
    """The running calls on one database, by thread."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._calls: dict[int, int] = {}
        self._is_stopped = False
        self._process = os.getpid()

    def begin(self) -> int:
        """Register a call and return its thread; first wait for a fork in progress."""
        thread = get_ident()
        with self._changed:
            while self._is_stopped and thread not in self._calls:
                self._changed.wait()
            self._calls[thread] = self._calls.get(thread, 0) + 1
        return thread

    def end(self, thread: int) -> None:
        """End a call of *thread*, from any thread; a no-op in a child forked since it began."""
        if os.getpid() != self._process:
            return
        with self._changed:
            self._calls[thread] -= 1
            if not self._calls[thread]:
                del self._calls[thread]
            self._changed.notify_all()

    @property
    def is_any(self) -> bool:
        """Whether a call is running."""
        return bool(self._calls)

    def stop(self) -> None:
        """Block new calls of other threads, and wait up to 30 s for their running ones."""
        with self._changed:
            self._is_stopped = True
            mine = {get_ident()}
            self._changed.wait_for(lambda: not self._calls.keys() - mine, _PATIENCE_SECONDS)

    def resume(self) -> None:
        """Allow calls again."""
        with self._changed:
            self._is_stopped = False
            self._changed.notify_all()


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
