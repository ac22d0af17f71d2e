"""
The units of several callers in one transaction: each its own revision, result and error.

The head is locked once, and moved once from the first revision to the last; what is written waits
until the end, and there is one COMMIT. A unit reads what those before it wrote. If that cannot be
had, since one fails after it has written or the database refuses, nothing is committed, and each
is run alone, in its turn and on its caller's own thread.
"""

from __future__ import annotations

import os
from math import inf
from time import thread_time
from typing import TYPE_CHECKING, Any, Final

from capsule_registry.database.driver_errors import FAILURES
from capsule_registry.errors import (
    CapsuleRegistryError,
    ForkedTransactionError,
    RegistryUnavailableError,
)
from capsule_registry.unit_of_work.head import is_committed, move_head
from capsule_registry.unit_of_work.known_keys import merged
from capsule_registry.unit_of_work.requests import Course, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from capsule_registry.unit_of_work.line import Line
    from capsule_registry.unit_of_work.unit import Unit

#: How long a batch works before it commits, so that other processes get their turn: in time of the
#: processor, since the other threads of this one may keep it waiting meanwhile.
MOST_SECONDS: Final = 0.02


class _UndoneError(CapsuleRegistryError):
    """A unit failed whose writes cannot be told from the others'; nothing is to be committed."""


class Batch:
    """
    The units of one transaction.

    Args:
        leader: The request of the caller on whose thread they run.
        open_unit: Locks the head, and returns the first unit of the transaction.
        require_usable: Requires that such a unit can be used, if nothing has committed before.
        line: Where the leader is at the front; those behind it are taken along once the head is
            locked. `None` if it is alone.
    """

    def __init__(
        self,
        leader: Request[Any],
        open_unit: Callable[[Connection], Unit],
        require_usable: Callable[[Unit], None],
        line: Line | None = None,
    ) -> None:
        self._leader = leader
        self._open_unit = open_unit
        self._require_usable = require_usable
        self._line = line
        self._course = Course()
        self._process = os.getpid()
        #: Those that are run, in order; empty until the head was locked for the first time.
        self._requests: Sequence[Request[Any]] = ()

    @property
    def size(self) -> int:
        """How many units were run."""
        return len(self._requests)

    def run(self, write: Callable[[Callable[[Connection], None]], None]) -> None:
        """
        Run the units; then each request has an outcome, or is the next to be run, by itself.

        Args:
            write: Calls what it is given with a connection in a transaction (`Database.write`).

        Raises:
            BaseException: What *write* raised, if the leader was alone, or interrupted.
        """
        try:
            write(self._attempt)
            self._course.has_committed = True
        except CapsuleRegistryError as error:
            if len(self._requests) <= 1 or os.getpid() != self._process:
                self._leader.roll_back()
                raise
            if isinstance(error, RegistryUnavailableError):
                self._course.error = error
        except BaseException:  # Of this thread. Whether the others' units committed, they look up.
            self._leader.roll_back()
            raise
        finally:
            self._course.is_over = True
            self._release()

    def _release(self) -> None:
        if self._line is None or os.getpid() != self._process:
            return
        if not self._course.is_known:
            self._line.give_back(self._requests, self._course)
        for request in self._requests:
            request.wake()

    def _attempt(self, conn: Connection) -> None:
        """Run the units in the transaction of *conn*, unless they turn out to have committed."""
        unit = self._open_unit(conn)
        if self._has_committed(unit):
            return
        for request in self._requests or [self._leader]:
            request.roll_back()
        self._require_usable(unit)
        seconds = inf if self._requests else MOST_SECONDS
        self._requests = self._requests or self._taken()
        if len(self._requests) > 1:
            unit = unit.timed_anew()  # The others may have come since the head was locked.
            unit.ask_ahead(merged(request.keys for request in self._requests))
        self._run_each(unit, thread_time() + seconds)
        self._close(unit)

    def _taken(self) -> Sequence[Request[Any]]:
        if self._line is not None:
            return self._line.take(self._leader, self._course)
        self._leader.course = self._course
        return [self._leader]

    def _has_committed(self, unit: Unit) -> bool:
        """Return whether an earlier attempt has, now that *unit* holds the head."""
        tried = self._requests or [self._leader]
        made = [(one.unit, one.written) for one in tried if one.unit and one.written]
        if not (made and is_committed(unit, *made[-1])):  # The last one tells of all.
            return False
        self._requests = self._requests or self._taken()
        return True

    def _run_each(self, unit: Unit, end: float) -> None:
        """Run the units in turn; those that are not begun at *end* stay in the line."""
        begun: list[Request[Any]] = []
        for request in self._requests:
            if begun:
                if thread_time() > end:
                    break
                unit = unit.following(begun[-1].written)
            self._run(request, unit)
            begun.append(request)
        rest, self._requests = self._requests[len(begun) :], begun
        if self._line is not None:
            self._line.advance(rest)

    def _run(self, request: Request[Any], unit: Unit) -> None:
        unit.buffer.begin_unit()
        try:
            request.run(unit)
        except FAILURES:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, its caller gets it
            self._require_droppable(request, unit, error)
            unit.buffer.drop_unit()
            request.roll_back()
            request.error = error
        finally:
            self._refuse_in_child()
        request.file_revision()

    def _require_droppable(self, request: Request[Any], unit: Unit, error: Exception) -> None:
        """Require that the others can go on without this unit, which failed with *error*."""
        if len(self._requests) == 1:
            raise error
        if isinstance(error, CapsuleRegistryError):
            if unit.buffer.is_cuttable:
                return
        elif request is self._leader:
            raise error  # It may have come from outside, and is for this thread then.
        raise _UndoneError from error

    def _refuse_in_child(self) -> None:
        """Refuse to go on if the work has forked, and this is the child."""
        if os.getpid() != self._process:
            raise ForkedTransactionError

    def _close(self, first: Unit) -> None:
        units = [request.unit for request in self._requests if request.unit is not None]
        # As late as possible, and once for all of them.
        hooks = {key: hook for unit in units for key, hook in unit.before_close.items()}
        for hook in hooks.values():
            hook()
        made = [
            (one.unit, one.written)
            for one in self._requests
            if one.unit is not None and one.written is not None
        ]
        if made:
            move_head(first, *made[-1])
