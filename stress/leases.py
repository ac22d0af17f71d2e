"""
Holders are stopped for three times their ttl: is anything done through a lease that is gone?

    python stress/leases.py --database sqlite:////tmp/stress.db --rounds 200

In each round a process opens a lease, files a session UUID, writes through the lease without a
pause and renews it, by hand or in the background; at a random moment it is stopped (SIGSTOP) for
three times its ttl and then continues. Meanwhile checkers in other processes ask without a pause
whether the UUID is allowed something, and reapers reap. On a server the clocks of all these
processes are off by an hour, in either direction. Several rounds run at once; with SQLite each in
a file of its own beside the named one, since a stopped process may block all other writers there.

Prints a count of each fault, and exits with 1 if there was any: a write through a lease that
committed after its end, a check that was allowed then, a renewal after the end, a live lease that
was reaped or whose UUID was denied, an end that is not one ttl after opening or renewing, a write
that failed with anything but `LeaseLostError`. The history says when a lease ended.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import signal
import sys
import threading
import time
from bisect import bisect_right
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid5

from sqlalchemy import select

from capsule_registry import (
    CapsuleManifest,
    CapsuleRegistry,
    CapsuleRegistryError,
    LeaseLostError,
    Revision,
    clocks,
)
from capsule_registry.database.address import read_address
from capsule_registry.database.dialects.expressions import DatabaseNow
from support import controls
from support.workers import WORKERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from capsule_registry import OpenLease

_UUIDS: Final = [uuid5(UUID(int=0), str(number)) for number in range(8)]
#: The UUID that checkers ask about.
_ASKED: Final = _UUIDS[0]
_MANIFEST: Final = CapsuleManifest.model_validate(
    {"package": {"name": "held", "version": "0.1.0"}, "capabilities": {"ipc_publish": ["a.b"]}}
)
_HOUR: Final = timedelta(hours=1)
_LOOK_SECONDS: Final = 0.05
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
#: An end may be this early: a file's leases also end by the uptime in whole milliseconds.
_SLACK: Final = timedelta(milliseconds=5)


@dataclass(frozen=True)
class Place:
    """Where the rounds of one holder take place, and how its processes behave."""

    url: str
    namespace: str
    ttl: timedelta
    without: str | None
    #: The database has a clock of its own, so those of clients may be wrong.
    is_server: bool

    def open(self, role: str, number: int) -> CapsuleRegistry:
        """Open the registry as *role*, without the guard and with a wrong clock."""
        logging.getLogger("capsule_registry").setLevel(logging.ERROR)
        controls.take_out(self.without)
        if self.is_server:
            offset = _HOUR if number % 2 else -_HOUR
            clocks.host_clock = lambda: datetime.now(UTC) + offset
        return CapsuleRegistry.open(self.url, namespace=self.namespace, actor=role)


@dataclass
class Held:
    """What a holder knows about a lease that it held."""

    lease_id: UUID
    #: When it was told an end of the lease, and that end.
    told: list[tuple[datetime, datetime]] = field(default_factory=list)
    #: When the UUID that is asked about was filed, at the latest.
    filed: datetime = _NEVER
    writes: int = 0
    late_renewals: int = 0
    wrong_ends: int = 0
    errors: list[str] = field(default_factory=list)


@dataclass
class Asked:
    """The answers that a checker got in one place: the times before and after each."""

    allowed: list[tuple[datetime, datetime]] = field(default_factory=list)
    denied: list[tuple[datetime, datetime]] = field(default_factory=list)


def now(registry: CapsuleRegistry) -> datetime:
    """Return the time by the clock of leases, bypassing the library's own."""
    found = registry._read(lambda scope: scope.conn.scalar(select(DatabaseNow())))  # noqa: SLF001 - as it says
    return found or datetime.now(UTC)


class Holder:
    """Holds one lease after another, each until it is lost."""

    def __init__(self, registry: CapsuleRegistry, place: Place, chance: random.Random) -> None:
        self._registry = registry
        self._place = place
        self._chance = chance

    def hold(self, orders: Connection) -> Held:
        """
        Open a lease, report that, write through it until it is lost, and return what was seen.

        A lease that should be lost but is not is held until the next order.
        """
        by_itself = self._chance.random() < 1 / 2
        sent = now(self._registry)
        lease = self._registry.leases.open("stress", self._place.ttl, renew=by_itself)
        held = Held(lease.id)
        self._look_at_end(held, sent)
        orders.send(None)
        try:
            lease.register_uuid(_ASKED, "held")
            held.filed = now(self._registry)
            while not orders.poll():
                self._write(lease)
                held.writes += 1
                if self._chance.random() < 1 / 4:
                    if not by_itself:
                        self._renew(held, lease)
                    self._note(held)
            lease.close()
        except LeaseLostError:
            pass
        except CapsuleRegistryError as error:
            held.errors.append(repr(error))
        lease.stop()
        return held

    def _renew(self, held: Held, lease: OpenLease) -> None:
        # On a slow machine a lease may be gone before its holder was told an end.
        end, sent = held.told[-1][1] if held.told else _NEVER, now(self._registry)
        lease.renew()
        held.late_renewals += sent > end
        self._look_at_end(held, sent)

    def _look_at_end(self, held: Held, sent: datetime) -> None:
        if self._note(held):
            answered, end = held.told[-1]
            ttl = self._place.ttl
            held.wrong_ends += not sent + ttl - _SLACK <= end <= answered + ttl + _SLACK

    def _note(self, held: Held) -> bool:
        """Note the end of the lease, and return whether it is live."""
        for lease in self._registry.leases.list():
            if lease.id == held.lease_id:
                held.told.append((now(self._registry), lease.expires_at))
                return True
        return False

    def _write(self, lease: OpenLease) -> None:
        uuid, name = self._chance.choice(_UUIDS[1:]), self._chance.choice(["held", "ghost"])
        match self._chance.randrange(3):
            case 0:
                lease.register_uuid(uuid, name)
            case 1:
                self._registry.replace(_MANIFEST, uuids=[uuid], keep_uuids=True, lease=lease)
            case _:
                with self._registry.transaction() as transaction:
                    transaction.register_uuid(uuid, name, lease=lease)
                    time.sleep(self._chance.choice([0, self._chance.uniform(0, 0.01)]))


def serve_holder(place: Place, number: int, orders: Connection) -> None:
    """Hold a lease at each order, and send the outcome."""
    with place.open("holder", number) as registry:
        if registry.is_empty():
            registry.register(_MANIFEST)
        holder = Holder(registry, place, random.Random(f"holder {number} {os.getpid()}"))  # noqa: S311 - nothing secret
        while (order := orders.recv()) != "end":
            if order == "hold":
                orders.send(holder.hold(orders))


def check(number: int, *, places: list[Place], end: Path) -> list[Asked]:
    """Check in each place in turn until the file *end* exists; return the answers by place."""
    registries = [place.open("checker", number) for place in places]
    found = [Asked() for _ in places]
    while not end.exists():
        for registry, asked in zip(registries, found, strict=True):
            before = now(registry)
            allowed = registry.is_allowed(_ASKED, "ipc_publish", "a.b", timeout=_HOUR)
            (asked.allowed if allowed else asked.denied).append((before, now(registry)))
    for registry in registries:
        registry.close()
    return found


def reap(number: int, *, places: list[Place], end: Path) -> int:
    """Reap in all places at random moments until the file *end* exists; return the count."""

    def reap_in(place: Place) -> int:
        chance = random.Random(f"reaper {number} {place.namespace}")  # noqa: S311 - nothing secret
        count = 0
        with place.open("reaper", number) as registry:
            while not end.exists():
                count += len(registry.leases.reap())
                until = time.monotonic() + chance.uniform(0, 5 * place.ttl.total_seconds())
                while time.monotonic() < until and not end.exists():
                    time.sleep(_LOOK_SECONDS)
        return count

    with ThreadPoolExecutor(len(places)) as threads:
        return sum(threads.map(reap_in, places))


@dataclass
class Lane:
    """The rounds of one holder, one after another."""

    place: Place
    number: int
    chance: random.Random
    held: list[Held] = field(default_factory=list)
    #: Leases that were lost before their holder was stopped.
    early: int = 0

    def run(self, rounds: Iterator[int]) -> None:
        """Run *rounds* until none is left."""
        orders, theirs = WORKERS.Pipe()
        arguments = (self.place, self.number, theirs)
        process = WORKERS.Process(target=serve_holder, args=arguments, daemon=True)
        process.start()
        theirs.close()
        try:
            for _ in rounds:
                self.held.append(self._round(orders, process.pid or 0))
            orders.send("end")
            process.join()
        finally:
            process.kill()

    def _round(self, orders: Connection, pid: int) -> Held:
        ttl = self.place.ttl.total_seconds()
        orders.send("hold")
        orders.recv()
        time.sleep(self.chance.uniform(0, 1.5 * ttl))
        self.early += orders.poll()
        os.kill(pid, signal.SIGSTOP)
        time.sleep(3 * ttl)
        os.kill(pid, signal.SIGCONT)
        if not orders.poll(5 * ttl):
            orders.send("enough")
        held: Held = orders.recv()
        return held


class Ledger:
    """What the history of a place says about its leases."""

    def __init__(self, place: Place) -> None:
        self.ends: dict[UUID, datetime] = {}
        #: When the UUID that is asked about was filed, and by which lease, in order.
        self.times: list[tuple[datetime, UUID]] = []
        self._reaped: dict[UUID, datetime] = {}
        self._writes: list[tuple[datetime, UUID]] = []
        with CapsuleRegistry.open(place.url, namespace=place.namespace) as registry:
            registry.leases.reap()
            self.discrepancies = [str(one) for one in registry.history.verify().discrepancies]
            print(*self.discrepancies, sep="\n", end="\n" if self.discrepancies else "")
            position = 0
            while found := registry.history.list(after=position, limit=10_000):
                for revision in found:
                    self._read(revision)
                position = found[-1].revision

    def _read(self, revision: Revision) -> None:
        at = revision.committed_at
        for event in revision.events:
            row: dict[str, Any] = event.new_row or {}
            if event.action == "lease.expired":
                self.ends[UUID(event.subject)] = datetime.fromisoformat(row["expired_at"])
                self._reaped[UUID(event.subject)] = at
            elif event.action == "uuid.registered":
                lease_id = UUID(row["lease_id"])
                self._writes.append((at, lease_id))
                if event.subject == str(_ASKED):
                    self.times.append((at, lease_id))

    def faults(self, held: list[Held], asked: list[Asked]) -> Counter[str]:
        """Count the faults."""
        faults: Counter[str] = Counter()
        for one in held:
            end = self._end(one.lease_id)
            faults["renewals after the end"] += one.late_renewals
            faults["ends that are not the ttl later"] += one.wrong_ends
            first = min(end, self._reaped.get(one.lease_id, _NEVER))
            faults["writes refused with another error"] += len(one.errors)
            faults["live leases reaped"] += any(first < end - _SLACK for _, end in one.told)
        faults["writes after the end"] += sum(at >= self._end(by) for at, by in self._writes)
        allowed = [times for one in asked for times in one.allowed]
        denied = [times for one in asked for times in one.denied]
        faults["checks allowed after the end"] += sum(not self._is_held(*one) for one in allowed)
        by_id = {one.lease_id: one for one in held}
        faults["checks denied before the end"] += sum(self._holds(by_id, *one) for one in denied)
        faults["discrepancies"] += len(self.discrepancies)
        return faults

    def _end(self, lease_id: UUID) -> datetime:
        return self.ends.get(lease_id, _NEVER)

    def _is_held(self, before: datetime, after: datetime) -> bool:
        """Return whether the UUID was held at any time between the two."""
        lease_id = self._last(after)
        return lease_id is not None and before < self._end(lease_id)

    def _holds(self, held: dict[UUID, Held], before: datetime, after: datetime) -> bool:
        """Return whether it was held all the time in between, as far as its holder was told."""
        one = held.get(self._last(after) or _ASKED)
        if one is None or before < one.filed:
            return False
        end = self._end(one.lease_id)
        known = any(at <= before and after < until - _SLACK for at, until in one.told)
        return known and after < end - _SLACK

    def _last(self, time: datetime) -> UUID | None:
        index = bisect_right(self.times, time, key=lambda one: one[0])
        return self.times[index - 1][1] if index else None


def places_of(options: argparse.Namespace) -> list[Place]:
    """Return where to run, each in a new namespace."""
    address = read_address(options.database)
    places = []
    for number in range(options.at_once):
        url = f"{options.database}-{number}" if address.file else options.database
        name = f"lane-{number}-{os.getpid()}"
        ttl = timedelta(seconds=options.ttl)
        places.append(Place(url, name, ttl, options.without, is_server=address.file is None))
        CapsuleRegistry.open(url, namespace=name, migrate=True).close()
    return places


def run(options: argparse.Namespace) -> tuple[list[Lane], list[list[Asked]], int]:
    """Run the rounds, and return what holders, checkers and reapers saw."""
    places = places_of(options)
    lanes = [
        Lane(place, number, random.Random(f"{options.seed} {number}"))  # noqa: S311 - nothing secret
        for number, place in enumerate(places)
    ]
    turns, lock = iter(range(options.rounds)), threading.Lock()

    def rounds() -> Iterator[int]:
        while True:
            with lock:
                number = next(turns, None)
            if number is None:
                return
            yield number

    processes = ProcessPoolExecutor(4, mp_context=WORKERS)
    with TemporaryDirectory() as directory, processes, ThreadPoolExecutor(len(lanes)) as threads:
        end = Path(directory) / "end"
        try:
            asking = [processes.submit(partial(check, places=places, end=end), n) for n in (0, 1)]
            reaping = [processes.submit(partial(reap, places=places, end=end), n) for n in (0, 1)]
            for _ in threads.map(lambda lane: lane.run(rounds()), lanes):
                pass
        finally:
            end.touch()
        answers = [*zip(*(future.result() for future in asking), strict=True)]
        return lanes, [[*of_lane] for of_lane in answers], sum(one.result() for one in reaping)


def main() -> int:
    """Run the rounds, and compare what was seen with the history."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True, help="URL of a database for this alone")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=8, help="so many of them")
    parser.add_argument("--ttl", type=float, default=1, help="in seconds")
    parser.add_argument("--seed", type=int, default=7)
    controls.add_option(parser)
    options = parser.parse_args()

    began = time.monotonic()
    lanes, answers, reaped = run(options)
    took = time.monotonic() - began
    total: Counter[str] = Counter()
    errors: set[str] = set()
    for lane, asked in zip(lanes, answers, strict=True):
        total += Counter(rounds=len(lane.held), early=lane.early)
        errors |= {error for one in lane.held for error in one.errors}
        total["writes"] += sum(one.writes for one in lane.held)
        total["allowed"] += sum(len(one.allowed) for one in asked)
        total["denied"] += sum(len(one.denied) for one in asked)
    print(f"{total['rounds']} rounds in {took:.0f} s, {total['writes']} writes through leases;")
    print(
        f"{total['early']} leases were lost before their holder was stopped, {reaped} were reaped"
    )
    print(f"{total['allowed'] + total['denied']} checks, {total['allowed']} of them allowed")
    for error in sorted(errors):
        print(error)
    faults: Counter[str] = Counter()
    for lane, asked in zip(lanes, answers, strict=True):
        faults.update(Ledger(lane.place).faults(lane.held, asked))
    for name, count in faults.items():
        print(f"{name}: {count}")
    return 1 if faults.total() else 0


if __name__ == "__main__":
    sys.exit(main())
