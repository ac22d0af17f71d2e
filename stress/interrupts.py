"""
Exceptions from a signal handler at random moments: is anything lost, or left locked?

    python stress/interrupts.py --database sqlite:////tmp/stress.db --interruptions 10000

In each round a read or a write is interrupted by an exception that is none of the registry's: by
a timer, wherever it happens to be, or at one of the places between two calls where Python runs
signal handlers, chosen at random. Then a write and a read must succeed within the deadline, with
no more descriptors and no more connections in use than before; what was acknowledged must be
there, and what was interrupted must be whole or absent. At the end the history is verified.
`--without turn` is the control: the turn to write of a writer that was interrupted stays taken.
"""

from __future__ import annotations

import argparse
import dis
import gc
import os
import random
import signal
import sys
import time
from contextlib import contextmanager
from dis import opname
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn
from uuid import UUID, uuid4

from capsule_registry import CapsuleRegistry, CapsuleRegistryError
from capsule_registry.database import connections
from support import controls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType

#: How long the write and the read after an interruption may take.
_DEADLINE_SECONDS: Final = 5.0
#: After these instructions, or before the first of a function, Python runs signal handlers.
_CHECKS: Final = frozenset({"CALL", "CALL_FUNCTION_EX", "CALL_KW", "JUMP_BACKWARD", "RESUME"})


class Interruption(Exception):  # noqa: N818 - it is no error
    """What the signal handler raises, and how often it has."""

    raised: ClassVar = 0

    def __init__(self) -> None:
        super().__init__()
        Interruption.raised += 1


def interrupt(*_: object) -> NoReturn:
    """Handle the signal, by an exception wherever the program is."""
    raise Interruption


@contextmanager
def by_timer(seconds: float) -> Iterator[None]:
    """Interrupt the block after so many *seconds*, if it takes that long."""
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


class Tracer:
    """
    Counts the places where Python runs signal handlers, and interrupts at one of them.

    What is raised here belongs to the instruction that comes next, while a handler's exception
    belongs to the one before; so places where these have different handlers are left to the timer.
    """

    def __init__(self, at: int | None = None) -> None:
        self.count = 0
        self._at = at
        #: Where the last instruction of a function was, if Python runs handlers after it.
        self._last: dict[FrameType | None, int] = {}

    def __call__(self, frame: FrameType, event: str, _: object) -> Tracer | None:
        """Trace the instructions of each Python function."""
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "return":
            self._last.pop(frame, None)
            self._last.pop(frame.f_back, None)  # A return to a Python function runs none.
        elif event == "opcode":
            before, here = self._last.pop(frame, None), frame.f_lasti
            if opname[frame.f_code.co_code[here]] in _CHECKS:
                self._last[frame] = here
            if before is not None and _handler(frame, before) == _handler(frame, here):
                self._arrive()
        return self

    def forget(self) -> None:
        """Drop the frames, which would keep what they hold."""
        self._last.clear()

    def _arrive(self) -> None:
        self.count += 1
        if self.count == self._at:
            sys.settrace(None)
            raise Interruption


def _handler(frame: FrameType, offset: int) -> int | None:
    """Return where an exception at the instruction at *offset* is handled."""
    for start, end, target in _handlers(frame.f_code):
        if start <= offset < end:
            return target
    return None


@cache
def _handlers(code: CodeType) -> list[tuple[int, int, int]]:
    found = dis._parse_exception_table(code)  # type: ignore[attr-defined]  # noqa: SLF001 - nothing else does
    return [(entry.start, entry.end, entry.target) for entry in found]


@contextmanager
def traced(tracer: Tracer) -> Iterator[None]:
    """Run the block under *tracer*."""
    sys.settrace(tracer)
    try:
        yield
    finally:
        sys.settrace(None)
        tracer.forget()


class Rounds:
    """A registry, what was acknowledged by it, and what may have been done."""

    def __init__(self, registry: CapsuleRegistry, chance: random.Random) -> None:
        self.registry = registry
        self.chance = chance
        self.filed: set[UUID] = set()
        self.perhaps = {one.uuid for one in registry.uuids()}
        self.interrupted = 0
        self.works: list[Callable[[], object]] = [
            self.write,
            self.write_two,
            registry.list,
            lambda: registry.find_by_uuid(uuid4()),
            lambda: registry.is_allowed(uuid4(), "kv", "key"),
            self.read_snapshot,
        ]
        self._points = {work: self._measured(work) for work in self.works}
        self._times = {work: self._timed(work) for work in self.works}

    def write(self) -> None:
        """File one UUID."""
        uuid = uuid4()
        self.perhaps.add(uuid)
        self.registry.register_uuid(uuid, "alpha")
        self.filed.add(uuid)

    def write_two(self) -> None:
        """File two UUIDs in a transaction: both or none."""
        pair = uuid4(), uuid4()
        self.perhaps |= {*pair}
        with self.registry.transaction() as transaction:
            for uuid in pair:
                transaction.register_uuid(uuid, "pair")
        self.filed |= {*pair}

    def read_snapshot(self) -> None:
        """Read twice from one snapshot."""
        with self.registry.snapshot() as view:
            view.list()
            view.is_empty()

    def _measured(self, work: Callable[[], object]) -> int:
        work()
        with traced(tracer := Tracer()):
            work()
        return tracer.count

    def _timed(self, work: Callable[[], object]) -> float:
        began = time.monotonic()
        work()
        return time.monotonic() - began

    def interrupt_one(self) -> None:
        """Interrupt a read or a write somewhere, then require that the next ones succeed."""
        work = self.chance.choice(self.works)
        by: Any
        if self.chance.random() < 1 / 2:
            by = by_timer(self.chance.uniform(0, self._times[work] * 1.2))
        else:
            by = traced(Tracer(self.chance.randint(1, self._points[work])))
        before = Interruption.raised
        try:
            with by:
                work()
        except BaseException as error:  # Whatever SQLAlchemy made of it.
            # The registry's own errors have no cause, since that may show secrets; and a driver
            # makes what it likes of an exception inside it.
            is_ours = isinstance(error, CapsuleRegistryError) and Interruption.raised > before
            if not (is_ours or _is_due_to_one(error)):
                raise
            self.interrupted += 1
            # While the exception is handled, its frames live on.
            self.require_usable()

    def require_usable(self) -> None:
        """Write and read, in time."""
        began = time.monotonic()
        uuid = uuid4()
        self.registry.register_uuid(uuid, "alpha")
        self.filed.add(uuid)
        if self.registry.find_by_uuid(uuid) != "alpha" or self.registry.list() != []:
            raise AssertionError("an acknowledged write is not read")
        taken = time.monotonic() - began
        if taken > _DEADLINE_SECONDS:
            raise AssertionError(f"the next write and read took {taken:.1f} s")

    def held(self) -> tuple[int, int]:
        """Return how many descriptors are open, and how many connections in use."""
        gc.collect()
        database = self.registry._database  # noqa: SLF001 - its pools
        pools: list[Any] = [database.engine.pool, database.reader.pool]
        used = sum(pool.checkedout() for pool in {*pools})
        return len(os.listdir("/proc/self/fd")), used  # noqa: PTH208 - names are all

    def require_whole(self) -> None:
        """Compare what is stored with what was acknowledged, and verify the history."""
        found = {one.uuid: one.capsule_id for one in self.registry.uuids()}
        if not self.filed <= found.keys():
            raise AssertionError(f"{len(self.filed - found.keys())} acknowledged UUIDs are gone")
        if not found.keys() <= self.filed | self.perhaps:
            raise AssertionError("a UUID is there that nobody filed")
        if sum(owner == "pair" for owner in found.values()) % 2:
            raise AssertionError("half of a transaction is there")
        if discrepancies := self.registry.history.verify().discrepancies:
            raise AssertionError(f"the history does not verify: {discrepancies[:3]}")


def _is_due_to_one(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, Interruption):
        error = error.__cause__ or error.__context__
    return error is not None


def main() -> int:
    """Run the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True, help="URL of a database for this alone")
    parser.add_argument("--interruptions", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=7)
    controls.add_option(parser)
    options = parser.parse_args()
    controls.take_out(options.without)
    # A wait beyond the deadline is a failure, so it need not be longer.
    connections.BUSY_TIMEOUT_SECONDS = _DEADLINE_SECONDS  # type: ignore[attr-defined]

    CapsuleRegistry.open(options.database, migrate=True).close()
    signal.signal(signal.SIGALRM, interrupt)
    with CapsuleRegistry.open(options.database) as registry:
        rounds = Rounds(registry, random.Random(options.seed))  # noqa: S311 - nothing secret
        rounds.require_usable()
        descriptors, used = rounds.held()
        most = descriptors
        while rounds.interrupted < options.interruptions:
            rounds.interrupt_one()
            if rounds.interrupted % 500 == 0:
                most = max(most, rounds.held()[0])
        rounds.require_whole()
        after, in_use = rounds.held()
    print(f"{rounds.interrupted} interruptions; {len(rounds.filed)} acknowledged, none lost")
    print(f"descriptors: {descriptors} before, {after} after, {most} at most")
    print(f"connections in use: {used} before, {in_use} after")
    return int(in_use > used or max(after, most) > descriptors + _SPARE)


#: How many idle connections the pools may keep beyond those of the beginning.
_SPARE: Final = 10

if __name__ == "__main__":
    sys.exit(main())
