"""
The line of threads that have a unit to run: who is at the front runs those behind it as well.

Writers of a namespace are serial, so with a COMMIT for each all would wait for all. Here whoever
finds nobody before it begins at once; those that come meanwhile stand in line, and the first of
them takes the others along, in one transaction with one COMMIT.

The main thread never stands in it: a signal handler may raise there between any two steps. An
exception may be set in another thread too, so who waits also looks whether it waits for nobody.
"""

from __future__ import annotations

from collections import deque
from itertools import dropwhile, islice, takewhile
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from capsule_registry.database.forking import watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from capsule_registry.unit_of_work.requests import Course, Request

#: The most units of one batch.
MOST: Final = 64
#: How long a thread stands in the line before it goes on by itself: nothing commits any more.
_PATIENCE_SECONDS: Final = 5.0
#: How often those who wait look whether they wait for nobody.
_LOOK_SECONDS: Final = 0.25


class Line:
    """
    The requests of one registry, first come first served; a batch stays until its units ran.

    Only the callers' frames keep the requests: one whose caller is gone is no longer there.
    """

    def __init__(self) -> None:
        self._start()
        watch(self)

    def _start(self) -> None:
        self._lock = Lock()
        self._places: deque[ref[Request[Any]]] = deque()

    def __len__(self) -> int:
        return len(self._places)

    def enter(self, request: Request[Any]) -> None:
        """Stand in the line; whoever does must `leave` it."""
        with self._lock:
            self._places.append(ref(request))

    def reach_front(self, request: Request[Any]) -> bool:
        """Wait; return whether its caller is to lead, or has nothing to wait for any more."""
        deadline = monotonic() + _PATIENCE_SECONDS
        while not request.is_done:
            with self._lock:
                course = request.course
                if course is not None and course.is_over and not course.is_known:
                    self._put_back([request])
                if self._front() is request:
                    return True
                if request.course is None and monotonic() > deadline:
                    return False
            request.wait(_LOOK_SECONDS)
        return False

    def take(self, leader: Request[Any], course: Course) -> Sequence[Request[Any]]:
        """Return *leader*, and those behind it that may share its batch."""
        with self._lock:
            taken = [leader]
            if not leader.is_alone:
                # Those that were given back may stand before it since it was at the front.
                behind = dropwhile(lambda one: one is not leader, self._standing())
                others = (one for one in islice(behind, 1, None) if one.course is None)
                taken += takewhile(lambda one: not one.is_alone, islice(others, MOST - 1))
            for one in taken:
                one.course = course
            return taken

    def advance(self, rest: Iterable[Request[Any]]) -> None:
        """Let those go whose units ran, but not the *rest*, and tell who is at the front then."""
        with self._lock:
            for one in rest:
                one.course = None
            standing = [one for one in self._standing() if one.course is None]
            self._places = deque(map(ref, standing))
            self._wake_front()

    def give_back(self, requests: Iterable[Request[Any]], course: Course) -> None:
        """Let *requests*, whose *course* came to nothing, be the next, each by itself."""
        with self._lock:
            # One that has noticed by itself may be in another batch by now.
            self._put_back([one for one in requests if one.course is course and not one.is_gone])
            self._wake_front()

    def leave(self, request: Request[Any]) -> None:
        """Stand in the line no more; a unit that a batch has begun takes its course."""
        with self._lock:
            request.is_gone = True
            self._wake_front()

    def _put_back(self, requests: Sequence[Request[Any]]) -> None:
        others = [one for one in self._standing() if one not in requests]
        self._places = deque(map(ref, [*requests, *others]))
        for one in requests:
            one.course, one.is_alone = None, True

    def _standing(self) -> Iterator[Request[Any]]:
        alive = (known() for known in self._places)
        return (one for one in alive if one is not None and not one.is_gone)

    def _front(self) -> Request[Any] | None:
        """Return who is at the front, unless a batch is there."""
        while self._places:
            first = self._places[0]()
            is_left = first is None or (first.course is not None and first.course.is_over)
            if first is not None and not is_left and not (first.is_gone and first.course is None):
                return first if first.course is None else None
            self._places.popleft()
        return None

    def _wake_front(self) -> None:
        if (front := self._front()) is not None:
            front.wake()

    def before_fork(self) -> None:
        """Do nothing: who stands in the line waits for the fork as well."""

    def after_fork(self, *, in_child: bool) -> None:
        """Start anew in a child, where nobody stands in the line."""
        if in_child:
            self._start()
