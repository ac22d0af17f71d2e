"""Writes of many callers at once: threads of one process, and threads of several."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count
from threading import Thread
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import peers
from capsule_registry import CapsuleRegistry
from support.capsules import manifest
from support.comparison import Finding, Target, each, in_turn, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from uuid import UUID

    from support.comparison import Loop, Round
    from support.setting import Setting

_THREADS: Final = 64
_PROCESSES: Final = 4
_THREADS_OF_EACH: Final = 16
_SLOW_COMMIT_SECONDS: Final = 0.005
#: How many calls of a round each caller makes.
_CALLS: Final = 20
#: By database: how many times as fast many callers are to be as one, for a UUID, for a UUID with
#: slow commits and for a capsule, and for a UUID as many clients of etcd.
_TARGETS: Final = {
    "SQLite": (3.5, 25, 2.0, 1.0),
    "PostgreSQL": (6, 25, 1.8, 0.8),
    "MariaDB": (6, 25, 1.9, 0.7),
}


def findings(setting: Setting) -> Iterator[Finding]:
    """Yield the rows of concurrent writes."""
    for databases in (setting.files, *setting.servers):
        uuids, slow, capsules, etcd = _TARGETS[databases.title]
        with CapsuleRegistry.open(databases.new(), actor="benchmark") as registry:
            yield _of_uuids(registry, setting, databases.title, "", uuids)
            with _slow_commits(registry):
                what = " with a commit of 5 ms"
                yield _of_uuids(registry, setting, databases.title, what, slow)
            yield _of_capsules(registry, setting, databases.title, capsules)
            yield _slowest(registry, setting, databases.title)
            for name, target in (("etcd", etcd), ("redis", None)):
                yield _beside(registry, setting, f"{databases.title} / {name}", name, target)
        yield from _of_processes(databases.new(), setting, databases.title)


def _shared(work: Callable[[Any], object], threads: int) -> Loop[Any]:
    """Return a loop whose items so many threads work through at once."""

    def loop(given: Sequence[Any]) -> None:
        callers = [
            Thread(target=each(work), args=(given[place::threads],)) for place in range(threads)
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()

    return loop


def _filing(registry: CapsuleRegistry, threads: int) -> Round:
    """Return a round in which so many threads file UUIDs."""

    def file(uuid: UUID) -> None:
        registry.register_uuid(uuid, f"capsule-{uuid.int % _THREADS}")

    return lambda: timed(
        _shared(file, threads), [uuid4() for _ in range(max(threads, 10) * _CALLS)]
    )


def _of_uuids(
    registry: CapsuleRegistry, setting: Setting, title: str, what: str, target: float
) -> Finding:
    pairs = in_turn(_filing(registry, _THREADS), _filing(registry, 1), setting.rounds(9))
    name = f"register_uuid, {_THREADS} threads / 1, {title}{what}"
    return pairs.times_as_fast(name, target)


def _of_capsules(registry: CapsuleRegistry, setting: Setting, title: str, target: float) -> Finding:
    numbers = count()

    def registering(threads: int) -> Round:
        size = max(threads, 10) * _CALLS // 4
        return lambda: timed(
            _shared(registry.register, threads), [manifest(next(numbers)) for _ in range(size)]
        )

    pairs = in_turn(registering(_THREADS), registering(1), setting.rounds(9))
    return pairs.times_as_fast(f"register, {_THREADS} threads / 1, {title}", target)


def _slowest(registry: CapsuleRegistry, setting: Setting, title: str) -> Finding:
    """Return the row of how long the slowest hundredth of the calls takes."""

    def once() -> float:
        took: list[float] = []

        def file(uuid: UUID) -> None:
            began = time.perf_counter()
            registry.register_uuid(uuid, "capsule-0")
            took.append(time.perf_counter() - began)

        _shared(file, _THREADS)([uuid4() for _ in range(_THREADS * _CALLS)])
        return statistics.quantiles(took, n=100)[-1]

    rounds = [once() for _ in range(setting.rounds(9))]
    name = f"register_uuid, {_THREADS} threads, 99th percentile, {title}"
    return Finding.figure(name, rounds, "s", None)


def _beside(
    registry: CapsuleRegistry, setting: Setting, what: str, name: str, target: float | None
) -> Finding:
    row = f"register_uuid, {_THREADS} threads, {what}, {_THREADS} clients"
    if name not in setting.peers:
        bound = None if target is None else Target(target)
        return Finding.not_run(row, f"no --peer-python {name}=…", bound)

    def put(peer: peers.Peer) -> float:
        return peer.ask("register", [str(uuid4()) for _ in range(_THREADS * _CALLS)], _THREADS)

    with peers.running(name, setting) as peer:
        theirs = partial(put, peer)
        pairs = in_turn(_filing(registry, _THREADS), theirs, setting.rounds(9))
        return pairs.times_as_fast(row, target, f"{name} {peer.version}")


@contextmanager
def _slow_commits(registry: CapsuleRegistry) -> Iterator[None]:
    """Let each COMMIT of a write take 5 ms more, as on network storage."""
    dialect: Any = registry._database.engine.dialect  # noqa: SLF001 - what commits
    commit = dialect.do_commit

    def slow(connection: object) -> None:
        time.sleep(_SLOW_COMMIT_SECONDS)
        commit(connection)

    dialect.do_commit = slow
    try:
        yield
    finally:
        dialect.do_commit = commit


def _of_processes(url: str, setting: Setting, title: str) -> Iterator[Finding]:
    CapsuleRegistry.open(url).close()
    workers = multiprocessing.get_context("spawn")
    rates, shares = [], []
    seconds = 1.0 if setting.is_quick else 3.0
    with ProcessPoolExecutor(_PROCESSES, mp_context=workers) as processes:
        for _ in range(setting.rounds(6)):
            done = [*processes.map(_file_for, [url] * _PROCESSES, [seconds] * _PROCESSES)]
            rates.append(sum(done) / seconds)
            shares.append(min(done) / max(done))
    what = f"{_PROCESSES} processes of {_THREADS_OF_EACH} threads, {title}"
    yield Finding.figure(f"register_uuid, {what}", rates, "/s", None)
    name = f"register_uuid, {what}, slowest / fastest process"
    yield Finding.figure(name, shares, "", Target(0.8))


def _file_for(url: str, seconds: float) -> int:
    """File UUIDs for so many *seconds* by several threads, and return how many."""
    done = []
    with CapsuleRegistry.open(url, actor="benchmark") as registry:
        registry.register_uuid(uuid4(), "capsule-0")
        end = time.monotonic() + seconds

        def file(place: int) -> None:
            while time.monotonic() < end:
                registry.register_uuid(uuid4(), f"capsule-{place}")
                done.append(place)

        _shared(file, _THREADS_OF_EACH)(range(_THREADS_OF_EACH))
    return len(done)
