"""Measuring two ways of doing the same against each other, and the findings."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")

#: Does the work once and returns the seconds per call.
Round = Callable[[], float]
#: Works through all it is given, timed as a whole.
Loop = Callable[[Sequence[T]], object]

#: Calls between two looks at the clock.
_CHUNK: Final = 200


@dataclass(frozen=True, slots=True)
class Target:
    """A bound for a ratio: a minimum or a maximum."""

    bound: float
    is_least: bool = True

    def is_met(self, ratio: float) -> bool:
        """Return whether *ratio* meets the target."""
        return ratio >= self.bound if self.is_least else ratio <= self.bound

    def margin(self, ratio: float) -> float:
        """Return by which factor *ratio* is better than needed."""
        if self.is_least:
            return ratio / self.bound
        return self.bound / ratio if ratio else float("inf")

    def __str__(self) -> str:
        return f"{'≥' if self.is_least else '≤'} {self.bound:,.10g}"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    A row of the table: the times of both sides and their ratio, round by round.

    `ours` and `baseline` are seconds a call, unless `unit` is another. A row that was not run says
    in `why_not` what was missing.
    """

    name: str
    ours: Sequence[float] = ()
    baseline: Sequence[float] = ()
    ratios: Sequence[float] = ()
    target: Target | None = None
    unit: str = "s"
    note: str = ""
    why_not: str = ""

    @classmethod
    def not_run(cls, name: str, why: str, target: Target | None = None) -> Self:
        """Return the row of something that could not be measured."""
        return cls(name, target=target, why_not=why)

    @classmethod
    def figure(cls, name: str, rounds: Sequence[float], unit: str, target: Target | None) -> Self:
        """Return the row of a figure that is compared with its target as it is."""
        return cls(name, ours=rounds, ratios=rounds, target=target, unit=unit)

    @property
    def ratio(self) -> float | None:
        """The median of the rounds' ratios."""
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; `None` without a target or a ratio."""
        if self.target is None or self.ratio is None:
            return None
        return self.target.is_met(self.ratio)


@dataclass(frozen=True, slots=True)
class Pairs:
    """The times of both sides, round by round."""

    ours: Sequence[float]
    baseline: Sequence[float]

    def times_as_fast(self, name: str, at_least: float | None = None, note: str = "") -> Finding:
        """Return the row of how many times as fast as the baseline ours is."""
        ratios = [theirs / mine for mine, theirs in zip(self.ours, self.baseline, strict=True)]
        target = None if at_least is None else Target(at_least)
        return Finding(name, self.ours, self.baseline, ratios, target, note=note)

    def times_as_long(self, name: str, at_most: float | None = None, note: str = "") -> Finding:
        """Return the row of how many times as long as the baseline ours takes."""
        ratios = [mine / theirs for mine, theirs in zip(self.ours, self.baseline, strict=True)]
        target = None if at_most is None else Target(at_most, is_least=False)
        return Finding(name, self.ours, self.baseline, ratios, target, note=note)


def in_turn(ours: Round, baseline: Round, rounds: int, *, unmeasured: int = 1) -> Pairs:
    """Run both in turn (A B A B …); the first *unmeasured* rounds only warm up."""
    took: list[tuple[float, float]] = [(ours(), baseline()) for _ in range(unmeasured + rounds)]
    measured = took[unmeasured:]
    return Pairs([mine for mine, _ in measured], [theirs for _, theirs in measured])


@contextmanager
def undisturbed() -> Iterator[None]:
    """Disable garbage collection for the block."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def each(work: Callable[[T], object]) -> Loop[T]:
    """Return a loop that calls *work* with each item."""

    def loop(given: Sequence[T]) -> None:
        for one in given:
            work(one)

    return loop


def timed(loop: Loop[T], given: Sequence[T]) -> float:
    """Return how many seconds *loop* takes per item of *given*."""
    with undisturbed():
        began = time.perf_counter()
        loop(given)
        return (time.perf_counter() - began) / len(given)


def for_a_while(loop: Loop[T], new: Callable[[int], Sequence[T]], seconds: float) -> Round:
    """
    Return a round in which *loop* works for *seconds*.

    `new(number)` makes so many new objects, untimed: a dictionary does not compare keys if it
    holds the very object that it is asked for.
    """

    def once() -> float:
        spent, done = 0.0, 0
        while spent < seconds:
            given = new(_CHUNK)
            spent += timed(loop, given) * len(given)
            done += len(given)
        return spent / done

    return once


def batches(
    new: Callable[[int], T], loop: Loop[T], size: int, after: Callable[[Sequence[T]], object]
) -> Round:
    """Return a round of *size* new items, numbered consecutively; *after* is not timed."""
    numbers = count()

    def once() -> float:
        given = [new(next(numbers)) for _ in range(size)]
        seconds = timed(loop, given)
        after(given)
        return seconds

    return once


def nothing(*_: object, **__: object) -> None:
    """Do nothing."""
