"""What callers ask to be done in a unit of work, and what became of it."""

from __future__ import annotations

import logging
from enum import Enum, auto
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from capsule_registry.unit_of_work.known_keys import keys_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from weakref import ref

    from capsule_registry.unit_of_work.known_keys import Keys
    from capsule_registry.unit_of_work.unit import Unit

T = TypeVar("T")
logger: Final = logging.getLogger("capsule_registry")


class Stage(Enum):
    """How far a request has come."""

    #: Nobody has begun with it.
    WAITING = auto()
    #: It is in a batch.
    TAKEN = auto()
    #: The batch came to nothing, or there was none: its caller runs it alone.
    ALONE = auto()
    #: It committed, or its own error is known.
    DONE = auto()


class Request(Generic[T]):
    """
    One caller's work in a unit.

    Only the caller's frame and a running batch keep it: one whose caller is gone leaves the line.

    Args:
        work: Called with the unit and the arguments; it must have no effects but on the unit.
        args: The arguments.
        kwargs: The named ones.
        actor: Recorded with the revision.
        reason: Recorded likewise.
    """

    __slots__ = (
        *("__weakref__", "_args", "_kwargs", "_news", "_result", "_work", "actor", "batch"),
        *("error", "reason", "stage", "unit"),
    )

    def __init__(
        self,
        work: Callable[..., T],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        actor: str,
        reason: str | None,
    ) -> None:
        self._work, self._args, self._kwargs = work, args, kwargs
        self.actor, self.reason = actor, reason
        self.stage = Stage.WAITING
        #: The batch that has taken it.
        self.batch: ref[Any] | None = None
        #: The unit of the last attempt, until that is known to have come to nothing.
        self.unit: Unit | None = None
        self.error: BaseException | None = None
        self._result: T
        self._news = Lock()
        self._news.acquire()

    @property
    def is_given_up(self) -> bool:
        """Whether the batch that took it is gone, and left it behind."""
        return self.batch is not None and self.batch() is None

    @property
    def keys(self) -> Keys:
        """The keys of which the work will ask whether they exist."""
        return keys_of(self._work, self._args, self._kwargs)

    def run(self, unit: Unit) -> None:
        """Do the work in *unit*."""
        self.unit, self.error = unit, None
        self._result = self._work(unit, *self._args, **self._kwargs)

    def roll_back(self) -> None:
        """Undo in memory what the last attempt did, which has not committed."""
        unit, self.unit = self.unit, None
        if unit is not None:
            unit.roll_back()

    def wait(self, seconds: float) -> bool:
        """Return whether there is news of it within so many *seconds*."""
        return self._news.acquire(timeout=seconds)

    def wake(self) -> None:
        """Tell its caller that there is news."""
        if self._news.locked():
            self._news.release()

    def outcome(self) -> T:
        """Log what the unit did, and return the result, or raise the error: on this thread."""
        error, self.error = self.error, None  # An error that is kept here would keep its frames.
        try:
            if error is not None:
                raise error
        finally:
            del error
        if self.unit is not None:
            log_messages(self.unit)
        return self._result


def log_messages(unit: Unit) -> None:
    """Log what *unit*, which has committed, did."""
    for level, message, fields in unit.messages:
        logger.log(level, message, extra=fields)
