"""Calls of several threads that share a COMMIT, in a known order."""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from support.lease_steps import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from capsule_registry import CapsuleRegistry

    Call = Callable[[], object]

#: How long a thread may take, at most.
SECONDS = 30


class Caller(Thread):
    """A thread that makes one call, and keeps what that returned or raised."""

    def __init__(self, call: Call) -> None:
        super().__init__(daemon=True)
        self._call = call
        self.outcome: Any = None

    def run(self) -> None:
        try:
            self.outcome = self._call()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.outcome = error.with_traceback(None)  # Its frames would keep what they hold.

    def interrupt(self, error: type[BaseException]) -> None:
        """Raise *error* in the thread, between two of its steps."""
        assert self.ident is not None
        set_error = ctypes.pythonapi.PyThreadState_SetAsyncExc
        assert set_error(ctypes.c_ulong(self.ident), ctypes.py_object(error)) == 1

    def end(self) -> Any:
        """Wait for the thread, and return the outcome."""
        self.join(SECONDS)
        assert not self.is_alive(), "the call did not return in time"
        return self.outcome


@contextmanager
def in_line(registry: CapsuleRegistry, *calls: Call) -> Iterator[list[Caller]]:
    """Let threads stand in line, in that order, until the block ends."""
    line = registry._runner._line
    callers = []
    with registry.transaction():  # It has the turn to write.
        for call in calls:
            callers.append(caller := Caller(call))
            caller.start()
            wait_until(lambda: len(line) == sum(one.is_alive() for one in callers))
        yield callers


def in_one_batch(registry: CapsuleRegistry, *calls: Call) -> list[Any]:
    """Make *calls* in one batch, in that order, and return what each returned or raised."""
    with in_line(registry, *calls) as callers:
        pass
    return [caller.end() for caller in callers]


@contextmanager
def counted_commits(registry: CapsuleRegistry) -> Iterator[list[object]]:
    """Yield a list that gets an item for each COMMIT of a write."""
    found: list[object] = []

    def count(connection: object) -> None:
        found.append(connection)

    engine = registry._database.engine
    sa.event.listen(engine, "commit", count)
    try:
        yield found
    finally:
        sa.event.remove(engine, "commit", count)
