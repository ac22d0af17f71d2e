"""
Writers, watchers that come and go, and prunings: does a watcher ever miss anything?

    python stress/watchers.py --database sqlite:////tmp/stress.db

Each watcher abandons its watch at random moments and resumes at a random revision up to 100 before
its position, or from a snapshot if that was pruned. What it saw is checked for the six properties
of etcd's watch (ordered, unique, reliable, atomic, resumable, bookmarkable) and compared byte by
byte with `history.list` of each revision before it is pruned. Exits with 1 if a property is broken;
with `--break` one must be. First it prints wake-up times: one writer at 20 commits a second and one
watcher, from the return of the call to the receipt.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, ClassVar, Final
from uuid import UUID, uuid5

from capsule_registry import (
    CapsuleManifest,
    CapsuleRegistry,
    HistoryCorruptError,
    Revision,
    RevisionCompactedError,
)
from capsule_registry.api import history as history_module
from capsule_registry.history.watch import Watch
from capsule_registry.unit_of_work import namespaces
from support.streams import Stream, digest
from support.workers import WORKERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from capsule_registry import History
    from capsule_registry.unit_of_work.queries import Scope

_UUIDS: Final = [uuid5(UUID(int=0), str(number)) for number in range(100)]
_EVENTS_A_CALL: Final = 2.8
_COMMITS_A_SECOND: Final = 20
_UPLINK: Final = {"name": "u", "platform": "cli", "profile": "chat"}
#: What `--break` does to a batch of revisions read by a watch.
_FAULTS: Final[dict[str, Callable[[list[Revision]], list[Revision]]]] = {
    "swap": lambda found: found[::-1],
    "repeat": lambda found: [found[0], *found],
    "skip": lambda found: found[1:],
    "split": lambda found: [
        found[0].model_copy(update={"events": found[0].events[:-1]}),
        *found[1:],
    ],
    "silence": lambda found: found,
    "ahead": lambda found: found,
}


class BrokenWatch(Watch):
    """A watch that breaks a property now and then."""

    fault: ClassVar[str]
    _chance: ClassVar = random.Random(7)  # noqa: S311 - nothing secret

    def __next__(self) -> Revision:
        found = super().__next__()
        if self.fault == "ahead" and self._waiting and self._chance.random() < 1 / 100:
            self._revision = found.revision + 1
        return found

    def _head(self, scope: Scope) -> namespaces.Head:
        return namespaces.head(scope) if self.fault == "silence" else super()._head(scope)

    def _fetch(self, scope: Scope) -> list[Revision]:
        with suppress(*([HistoryCorruptError] if self.fault == "silence" else [])):
            found = super()._fetch(scope)
            is_time = found and self._chance.random() < 1 / 4
            return _FAULTS[self.fault](found) if is_time else found
        return []


def manifest(name: str) -> CapsuleManifest:
    """Return a manifest with one uplink."""
    package = {"name": name, "version": "0.1.0"}
    return CapsuleManifest.model_validate({"package": package, "uplink": [_UPLINK]})


def follow(chance: random.Random, *, url: str, begin: int, end: Path, fault: str | None) -> Stream:
    """Follow the history from *begin* until the file *end* exists and everything was seen."""
    if fault:
        BrokenWatch.fault = fault
        history_module.Watch = BrokenWatch  # type: ignore[attr-defined]
    stream, position = Stream(), begin
    with CapsuleRegistry.open(url, read_only=True) as registry:
        while not stream.broken:
            if end.exists() and position == registry.history.revision:
                break
            start = max(begin, position - chance.choice([0, chance.randint(0, 100)]))
            position = follow_a_while(registry, start, stream, chance)
            time.sleep(chance.choice([0, 0, 0, chance.random()]))
    return stream


def follow_a_while(
    registry: CapsuleRegistry, start: int, stream: Stream, chance: random.Random
) -> int:
    """Watch from *start*, stop at a random moment, and return the position."""
    stream.watches += 1
    head, limit, before = registry.history.revision, chance.randint(1, 400), start
    timeout = timedelta(seconds=chance.uniform(0, 0.2))
    try:
        watch = registry.history.watch(after=start, timeout=timeout)
        for revision in islice(watch, limit):
            stream.see(before, revision, watch.revision)
            before = revision.revision
    except RevisionCompactedError as error:
        with registry.snapshot() as view:
            stream.pruned.append((before, error.compacted, view.revision))
            return view.revision
    if before < min(head, start + limit):
        stream.broken.append(f"resumable: silence after {before}, the head was {head}")
    return watch.revision


def write(chance: random.Random, *, url: str, calls: int) -> None:
    """Change capsules that no other writer uses, and UUIDs that all writers share."""
    registered: set[str] = set()
    writer = f"writer-{chance.randrange(2**32)}"
    with CapsuleRegistry.open(url, actor=writer) as registry:
        for _ in range(calls):
            name, uuid = f"{writer}-{chance.randrange(10)}", chance.choice(_UUIDS)
            if chance.random() < 1 / 3:
                registry.register_uuid(uuid, name)
                continue
            if name in registered:
                registry.unregister(name)
            else:
                registry.register(manifest(name), uuids=[uuid])
            registered ^= {name}


def prune(
    registry: CapsuleRegistry, begin: int, writing: list[Future[None]], chance: random.Random
) -> tuple[dict[int, Revision], set[int]]:
    """Prune at random while the writers run; return all revisions, and where it pruned."""
    history = registry.history
    truth: dict[int, Revision] = {}
    pruned: set[int] = set()
    while not pruned or not all(future.done() for future in writing):
        anchor = history.anchor()
        wait(writing, timeout=chance.uniform(0.2, 2))
        note(history, truth, begin)
        history.prune(anchor)
        pruned.add(anchor.revision)
        if not is_refused(history, anchor.revision - 1):
            message = f"a watch from revision {anchor.revision - 1}, which is pruned, is silent"
            raise AssertionError(message)
    note(history, truth, begin)
    return truth, pruned


def note(history: History, truth: dict[int, Revision], begin: int) -> None:
    """Add the new revisions to *truth*."""
    last = max(truth, default=begin)
    truth.update(enumerate(history.list(after=last, limit=1_000_000), last + 1))


def is_refused(history: History, start: int) -> bool:
    """Return whether a watch from *start* is refused as pruned."""
    with suppress(RevisionCompactedError):
        next(history.watch(after=start, timeout=timedelta(0)), None)
        return False
    return True


def commit_steadily(*, url: str, start: float, count: int) -> dict[int, int]:
    """Register *count* capsules, and return the time each call returned, by revision."""
    chance, returned, due = random.Random(count), {}, start  # noqa: S311 - nothing secret
    with CapsuleRegistry.open(url, actor="steady writer") as registry:
        for number in range(count):
            time.sleep(max(0, due - time.monotonic()))
            record = registry.register(manifest(f"steady-{number}"))
            returned[record.generation] = time.monotonic_ns()
            due += chance.uniform(0, 2 / _COMMITS_A_SECOND)
    return returned


def receive(*, url: str, begin: int, count: int) -> dict[int, int]:
    """Return the time each of *count* revisions after *begin* arrived, by revision."""
    with CapsuleRegistry.open(url, read_only=True) as registry:
        watch = registry.history.watch(after=begin, timeout=timedelta(seconds=30))
        return {one.revision: time.monotonic_ns() for one in islice(watch, count)}


def report_wake_ups(url: str, begin: int, count: int) -> None:
    """Print how long after the return of a call a watcher received its revision."""
    with ProcessPoolExecutor(2, mp_context=WORKERS) as processes:
        receiving = processes.submit(partial(receive, url=url, begin=begin, count=count))
        start = time.monotonic() + 1
        returned = processes.submit(partial(commit_steadily, url=url, start=start, count=count))
        received = receiving.result()
    waits = [(received[n] - then) / 1e6 for n, then in returned.result().items()]
    percentile = statistics.quantiles(waits, n=100)[98]
    print(f"{count} wake-ups: median {statistics.median(waits):.1f} ms, p99 {percentile:.1f} ms")


def run(
    options: argparse.Namespace, registry: CapsuleRegistry
) -> tuple[dict[int, Revision], set[int], list[Stream]]:
    """Run the watchers, the writers and the prunings."""
    begin, url = registry.history.revision, options.database
    calls = round(options.events / options.writers / _EVENTS_A_CALL)
    watchers, writers = [
        [random.Random(f"{options.seed} {role} {number}") for number in range(count)]  # noqa: S311 - nothing secret
        for role, count in (("watcher", options.watchers), ("writer", options.writers))
    ]
    executor = ProcessPoolExecutor(len(watchers) + len(writers), WORKERS)
    with TemporaryDirectory() as directory, executor as processes:
        end = Path(directory) / "end"
        watch = partial(follow, url=url, begin=begin, end=end, fault=options.fault)
        watching = [processes.submit(watch, chance) for chance in watchers]
        work = partial(write, url=url, calls=calls)
        writing = [processes.submit(work, chance) for chance in writers]
        try:
            truth, pruned = prune(registry, begin, writing, writers[0])
            for future in writing:
                future.result()
        finally:
            end.touch()
        return truth, pruned, [future.result() for future in watching]


def main() -> int:
    """Run everything, and check what the watchers saw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True, help="URL of a database for this alone")
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--watchers", type=int, default=8)
    parser.add_argument("--events", type=int, default=10_000, help="about so many")
    parser.add_argument("--wake-ups", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--break", dest="fault", choices=_FAULTS, help="what, as a control")
    options = parser.parse_args()

    with CapsuleRegistry.open(options.database, migrate=True) as registry:
        registry.drain()
        report_wake_ups(options.database, registry.history.revision, options.wake_ups)
        began = time.monotonic()
        truth, pruned, streams = run(options, registry)
        took = time.monotonic() - began
        found = [str(one) for one in registry.history.verify().discrepancies]
    events = sum(len(revision.events) for revision in truth.values())
    print(f"{events} events in {len(truth)} revisions, {len(pruned)} prunings, {took:.1f} s")
    refused = sum(len(stream.pruned) for stream in streams)
    unseen = set(truth).difference(*(stream.seen for stream in streams))
    print(f"{sum(stream.watches for stream in streams)} watches, {refused} of them met a pruning;")
    print(f"{len(unseen)} revisions were pruned before anybody saw them")
    digests = {number: digest(revision) for number, revision in truth.items()}
    for number, stream in enumerate(streams):
        found += [f"watcher {number}: {fault}" for fault in stream.faults(digests, pruned)]
    print("\n".join(found) or "ordered, unique, reliable, atomic, resumable, bookmarkable")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
