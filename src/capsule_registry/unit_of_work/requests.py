"""What callers ask to be done in a unit of work, and what became of it."""

from __future__ import annotations

import copy
import logging
from dataclasses import replace
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

from capsule_registry.unit_of_work.head import require_new
from capsule_registry.unit_of_work.high_water_mark import Position
from capsule_registry.unit_of_work.known_keys import keys_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from capsule_registry.unit_of_work.known_keys import Keys
    from capsule_registry.unit_of_work.unit import Unit

T = TypeVar("T")
logger: Final = logging.getLogger("capsule_registry")


class Course:
    """
    What becomes of a batch.

    Each member is set once, in one step: an exception may come between any two, and those whose
    units are in the batch look here.
    """

    __slots__ = ("error", "has_committed", "is_over")

    def __init__(self) -> None:
        self.has_committed = False
        #: The database's error, for every caller.
        self.error: Exception | None = None
        #: Nobody is at work on it any more; if nothing else is set, it has come to nothing.
        self.is_over = False

    @property
    def is_known(self) -> bool:
        """Whether it has an outcome for every caller."""
        return self.has_committed or self.error is not None


class Request(Generic[T]):
    """
    One caller's work in a unit.

    Args:
        work: Called with the unit and the arguments; it must have no effects but on the unit.
        args: The arguments.
        kwargs: The named ones.
        actor: Recorded with the revision.
        reason: Recorded likewise.
    """

    __slots__ = (
        *("__weakref__", "_args", "_kwargs", "_news", "_result", "_work", "actor", "course"),
        *("began", "error", "is_alone", "is_gone", "reason", "request_id", "unit", "written"),
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
        self.began = monotonic()
        #: What its caller calls it, if it is to be done once.
        self.request_id: UUID | None = None
        #: The course of the batch that it is in, if any.
        self.course: Course | None = None
        #: It is to share no transaction, since one that it shared came to nothing.
        self.is_alone = False
        #: Its caller waits for it no more.
        self.is_gone = False
        #: The unit of the last attempt, unless that is known to have come to nothing; the hash of
        #: the revision that it made; and the unit's own error.
        self.unit: Unit | None = None
        self.written: str | None = None
        self.error: Exception | None = None
        self._result: T
        self._news: SimpleQueue[None] = SimpleQueue()

    def called(self, request_id: UUID | None) -> Self:
        """Return this request, to be done once under *request_id* if that is named."""
        self.request_id = request_id
        return self

    @property
    def keys(self) -> Keys:
        """The keys of which the work will ask whether they exist."""
        return keys_of(self._work, self._args, self._kwargs)

    @property
    def is_done(self) -> bool:
        """Whether it has an outcome."""
        return self.course is not None and self.course.is_known

    def run(self, unit: Unit) -> None:
        """
        Do the work in *unit*.

        Raises:
            RequestRepeatedError: It has been done before.
        """
        if self.request_id is not None:
            unit = replace(unit, request_id=self.request_id)
            require_new(unit)
        self.unit, self.written, self.error = unit, None, None
        self._result = self._work(unit, *self._args, **self._kwargs)

    @property
    def revision(self) -> int | None:
        """The revision that it made, if any, once it has an outcome."""
        return None if self.unit is None or self.written is None else self.unit.revision

    def file_revision(self) -> None:
        """File the revision that the unit made, if any."""
        if self.unit is not None:
            self.written = self.unit.file_revision(actor=self.actor, reason=self.reason)

    def roll_back(self) -> None:
        """Undo in memory what the last attempt did, which has not committed."""
        unit, self.unit, self.written = self.unit, None, None
        if unit is not None:
            unit.roll_back()

    def wait(self, seconds: float) -> None:
        """Wait for news of it, for so many *seconds* at most."""
        try:
            self._news.get(timeout=seconds)
        except Empty:
            return

    def wake(self) -> None:
        """Tell its caller that there is news."""
        self._news.put(None)

    def outcome(self, note: Callable[[Position], None]) -> T:
        """
        Return the result, or raise the error; what the unit did is noted, and logged.

        Args:
            note: Told of the revision that it made.
        """
        shared = None if self.course is None else self.course.error
        # An error that is kept here would keep its frames.
        error, self.error = self.error or (shared and _again(shared)), None
        if error is not None:
            self.roll_back()
            try:
                raise error
            finally:
                del error, shared
        if self.unit is not None:
            acknowledge(self.unit, self.written, note)
        return self._result


def _again(error: Exception) -> Exception:
    """Return a copy of *error*, to be raised on another thread."""
    copied = copy.copy(error)
    copied.__cause__ = error.__cause__
    return copied


def acknowledge(unit: Unit, written: str | None, note: Callable[[Position], None]) -> None:
    """Tell *note*, the memory and the log of *unit*, which has committed as the hash *written*."""
    if written is not None:
        note(Position(unit.revision, unit.incarnation, written))
    unit.committed()
    log_messages(unit)


def log_messages(unit: Unit) -> None:
    """Log what *unit*, which has committed, did."""
    for level, message, fields in unit.messages:
        logger.log(level, message, extra=fields)
