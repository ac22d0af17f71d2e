"""
The line of threads that have a unit to run: who is at the front runs those behind it as well.

Writers of a namespace are serial, so a commit for each would make all wait for all commits. Here
whoever finds nobody before it begins at once; those that come meanwhile stand in line, and the
first of them takes the others along, in one transaction with one commit.

The main thread never stands in it: a signal handler may raise there between any two steps.
"""

from __future__ import annotations

from collections import deque
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from capsule_registry.database.forking import watch
from capsule_registry.unit_of_work.requests import Request, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The most units of one batch.
MOST: Final = 64
#: How long a thread stands in the line before it goes on alone: nothing has committed meanwhile.
_PATIENCE_SECONDS: Final = 5.0
#: How often those who wait look whether the one they wait for is gone.
_LOOK_SECONDS: Final = 0.25


class Line:
    """The requests of one registry, first come first served; a batch stays until it ran."""

    def __init__(self) -> None:
        self._start()
        watch(self)

    def _start(self) -> None:
        self._lock = Lock()
        self._places: deque[ref[Request[Any]]] = deque()

    def __len__(self) -> int:
        return len(self._places)

    def reach_front(self, request: Request[Any]) -> bool:
        """
        Stand in the line; return `True` at its front, and `False` if there is nothing to wait for.

        Whoever is at the front must `leave` in the end.
        """
        with self._lock:
            self._places.append(ref(request))
        deadline = monotonic() + _PATIENCE_SECONDS
        try:
            while not self._is_at_front(request):
                has_news = request.wait(_LOOK_SECONDS)
                if request.stage in (Stage.DONE, Stage.ALONE):
                    return False
                is_over = request.is_given_up or monotonic() > deadline
                if not has_news and is_over and self.leave(request):
                    return False
        except BaseException:
            self.leave(request)
            raise
        return True

    def take(self, batch: object) -> Sequence[Request[Any]]:
        """Return who is at the front, and those behind it, for the *batch* of the first."""
        with self._lock:
            standing = (known() for known in self._places)
            waiting = [one for one in standing if one and one.stage is Stage.WAITING]
            for one in (taken := waiting[:MOST]):
                one.stage, one.batch = Stage.TAKEN, ref(batch)
            return taken

    def advance(self, rest: Sequence[Request[Any]] = ()) -> None:
        """Let those who were taken go, but not the *rest*, and call who is at the front then."""
        with self._lock:
            for one in rest:
                one.stage, one.batch = Stage.WAITING, None
            self._call()

    def leave(self, request: Request[Any]) -> bool:
        """Take *request* out, to run alone or never; return `False` if a batch is at work on it."""
        with self._lock:
            if request.stage is Stage.DONE or (
                request.stage is Stage.TAKEN and not request.is_given_up
            ):
                return False
            request.stage = Stage.ALONE
            self._places = deque(known for known in self._places if known() is not request)
            self._call()
            return True

    def _is_at_front(self, request: Request[Any]) -> bool:
        with self._lock:
            while self._places and self._places[0]() is None:
                self._places.popleft()
            is_first = bool(self._places) and self._places[0]() is request
            return is_first and request.stage is Stage.WAITING

    def _call(self) -> None:
        while self._places:
            request = self._places[0]()
            if request is not None and request.stage is Stage.WAITING:
                request.wake()
                return
            self._places.popleft()

    def before_fork(self) -> None:
        """Do nothing: who stands in the line waits for the fork as well."""

    def after_fork(self, *, in_child: bool) -> None:
        """Start anew in a child, where nobody stands in the line."""
        if in_child:
            self._start()
