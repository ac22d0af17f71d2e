"""
What happens to open databases when the process forks.

A SQLite connection must not be carried over a fork at all: the child would share its descriptors,
and whoever closes one drops the other's locks. So before a fork running calls are waited for and
all connections to files closed; both sides open new ones when they need them. Connections to a
server are left to the parent: the child forgets them without a word to the server.
"""

from __future__ import annotations

import os
from threading import Condition, get_ident
from typing import Final, Protocol
from weakref import WeakSet

#: How long a fork waits for calls of other threads.
_PATIENCE_SECONDS: Final = 30.0


class Forkable(Protocol):
    """What has to be looked after when the process forks."""

    def before_fork(self) -> None:
        """Make ready, in the parent."""

    def after_fork(self, *, in_child: bool) -> None:
        """Go on, on both sides."""


_open_databases: WeakSet[Forkable] = WeakSet()
#: What was in use when a child was forked, connections and calls: never touched again, nor
#: collected. As long as there is any, SQLite's locks are not what it takes them for.
abandoned: list[object] = []


class Activity:
    """The calls that are under way on one database, by thread."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._calls: dict[int, int] = {}
        self._is_stopped = False
        self._process = os.getpid()

    def begin(self) -> int:
        """Count a call, and return whose it is; while a fork is under way, wait to begin it."""
        thread = get_ident()
        with self._changed:
            while self._is_stopped and thread not in self._calls:
                self._changed.wait()
            self._calls[thread] = self._calls.get(thread, 0) + 1
        return thread

    def end(self, thread: int) -> None:
        """End a call of *thread*, on whichever; in a forked child the parent's calls are left."""
        if os.getpid() != self._process:
            return
        with self._changed:
            self._calls[thread] -= 1
            if not self._calls[thread]:
                del self._calls[thread]
            self._changed.notify_all()

    @property
    def is_any(self) -> bool:
        """Whether a call is under way."""
        return bool(self._calls)

    def stop(self) -> None:
        """Let no other thread begin a call, and wait until none is inside one."""
        with self._changed:
            self._is_stopped = True
            mine = {get_ident()}
            self._changed.wait_for(lambda: not self._calls.keys() - mine, _PATIENCE_SECONDS)

    def resume(self) -> None:
        """Let calls in again."""
        with self._changed:
            self._is_stopped = False
            self._changed.notify_all()


def watch(database: Forkable) -> None:
    """Look after *database* at forks, as long as it lives."""
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
