"""
The units of several callers in one transaction: each its own revision, result and error.

The head is locked once, and moved once from the first revision to the last; what is written waits
until the end, and there is one COMMIT. A unit reads what those before it wrote. If that cannot be
had, since one fails after it has written or the database refuses, nothing is committed, and each
caller runs its unit alone.
"""

from __future__ import annotations

import copy
import os
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from capsule_registry.database.driver_errors import FAILURES
from capsule_registry.errors import ForkedTransactionError, RegistryUnavailableError
from capsule_registry.unit_of_work.head import is_committed, move_head
from capsule_registry.unit_of_work.high_water_mark import Position
from capsule_registry.unit_of_work.known_keys import merged
from capsule_registry.unit_of_work.requests import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from capsule_registry.unit_of_work.line import Line
    from capsule_registry.unit_of_work.requests import Request
    from capsule_registry.unit_of_work.unit import Unit

#: How long a batch works before it commits, so that other processes get their turn.
MOST_SECONDS: Final = 0.02


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
        self._process = os.getpid()
        #: Those that are run, in order; empty until the head was locked for the first time.
        self._requests: Sequence[Request[Any]] = ()
        #: The last revision that the units have made, if any.
        self._last: tuple[Unit, str] | None = None

    def run(
        self,
        write: Callable[[Callable[[Connection], None]], None],
        note: Callable[[Position], None],
    ) -> None:
        """
        Run the units; then each request has an outcome, or is to be run alone.

        Args:
            write: Calls what it is given with a connection in a transaction (`Database.write`).
            note: Told of the new head, before any caller goes on.

        Raises:
            BaseException: What *write* raised, if the leader was alone, or interrupted.
        """
        try:
            write(self._attempt)
        except Exception as error:
            self._roll_back()
            if len(self._requests) <= 1:
                raise
            self._give_up(error)
        except BaseException:  # Of this thread only: whether theirs committed, the others look up.
            self._leader.roll_back()
            self._end(Stage.ALONE)
            raise
        else:
            self._settle(note)

    def _settle(self, note: Callable[[Position], None]) -> None:
        if self._last is not None:
            unit, written = self._last
            note(Position(unit.revision, unit.incarnation, written))
        for request in self._requests:
            if request.unit is not None:
                request.unit.committed()
        self._end(Stage.DONE)

    def _give_up(self, error: Exception) -> None:
        """Give *error* to every caller if it is the database's; else let each run alone."""
        if not isinstance(error, RegistryUnavailableError):
            self._end(Stage.ALONE)
            return
        for request in self._requests:
            request.error = copy.copy(error)
            request.error.__cause__ = error.__cause__
        self._end(Stage.DONE)

    def _end(self, stage: Stage) -> None:
        for request in self._requests:
            request.stage = stage
            request.wake()

    def _roll_back(self) -> None:
        for request in self._requests or [self._leader]:
            request.roll_back()

    def _attempt(self, conn: Connection) -> None:
        """Run the units in the transaction of *conn*, unless they turn out to have committed."""
        first = self._open_unit(conn)
        if self._has_committed(first):
            return
        self._roll_back()
        self._require_usable(first)
        self._last = None
        if self._requests:
            self._run_each(first)
        else:
            self._requests = [self._leader] if self._line is None else self._line.take(self)
            if len(self._requests) > 1:
                first = first.timed_anew()  # The others may have come since the head was locked.
                first.existing(merged(request.keys for request in self._requests))
            self._run_each(first, monotonic() + MOST_SECONDS)
        self._confirm()
        if self._last is not None:
            move_head(first, *self._last)

    def _has_committed(self, unit: Unit) -> bool:
        """Return whether an earlier attempt has, now that *unit* holds the head."""
        tried = [one.unit for one in self._requests or [self._leader] if one.unit]
        made = [one for one in tried if one.events]
        if not (made and is_committed(unit, made[-1])):  # The last one tells of all.
            return False
        self._requests = self._requests or [self._leader]
        return True

    def _run_each(self, unit: Unit, end: float = inf) -> None:
        """Run the units in turn; those that are not begun at *end* stay in the line."""
        for place, request in enumerate(self._requests):
            if place and monotonic() > end:
                break
            if os.getpid() != self._process:  # The work of one has forked, and this is the child.
                raise ForkedTransactionError
            unit = self._run(request, unit)
        else:
            place = len(self._requests)
        self._requests, rest = self._requests[:place], self._requests[place:]
        if self._line is not None:
            self._line.advance(rest)

    def _run(self, request: Request[Any], unit: Unit) -> Unit:
        """Run one unit, and return the next."""
        unit.buffer.begin_unit()
        written = None
        try:
            request.run(unit)
            written = unit.file_revision(actor=request.actor, reason=request.reason)
        except FAILURES:
            raise
        except Exception as error:  # Whatever it is, it is its own caller's.
            if len(self._requests) == 1 or unit.buffer.has_written:
                raise
            unit.buffer.drop_unit()
            request.roll_back()
            request.error = error
        if written is not None:
            self._last = unit, written
        return unit.following(written)

    def _confirm(self) -> None:
        """Run what must hold when the units end, as late as possible: once for all of them."""
        units = [request.unit for request in self._requests if request.unit is not None]
        for hook in {
            key: hook for unit in units for key, hook in unit.before_close.items()
        }.values():
            hook()
