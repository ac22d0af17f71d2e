"""
A Galera cluster whose nodes are killed, stopped and cut off while processes read and write.

    python stress/galera.py --kills 20 --stops 10 --partitions 10
    python stress/galera.py --suite

Starts three nodes of its own. Six processes make calls, each with the URL of all nodes in another
order, while one node at a time fails. The history of all calls must be linearizable (see
`linearizability.py`) and contain every acknowledged write, no revision may exist twice, and the
registry's history must verify. While a node is cut off, a registry that can reach only that node
must not allow what the others have revoked. Before all that, six processes create the schema of one
database at once through different nodes, and what one node has acknowledged is read from another,
10,000 times. `--suite` runs the tests instead, each with another node first. Partitions need root,
for network namespaces. Exits with 1 if any of this fails.

Two controls must fail: with `--without sync_wait` reads do not wait for what other nodes have
acknowledged, and with `--without schema_lock` schema changes do not wait for each other.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid4

from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from capsule_registry import (
    CapsuleManifest,
    CapsuleRegistry,
    CapsuleRegistryError,
    InvalidDatabaseError,
    PermissionDeniedError,
    RegistryAdmin,
    RegistryUnavailableError,
)
from capsule_registry.database.address import read_address
from capsule_registry.database.dialects import galera
from linearizability import record, report
from restarts import head, until_it_exists, wait_for_load
from support.cluster import Cluster, wait_until_whole
from support.workers import WORKERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.checker import Call
    from support.cluster import Node

_PROCESSES: Final = 6
#: Longer than the nodes wait before they go on without a silent one (5 s).
_FAULT_SECONDS: Final = 15.0
_TOPIC: Final = "a.b"
_NO_ANSWER: Final = (RegistryUnavailableError, PermissionDeniedError, InvalidDatabaseError)


def stale_reads(urls: Sequence[str], rounds: int) -> int:
    """Return how often the second node does not know what the first has just acknowledged."""
    with CapsuleRegistry.open(urls[0]) as here, CapsuleRegistry.open(urls[1]) as there:
        stale = 0
        for number in range(rounds):
            uuid, name = UUID(int=number + 1), f"stale-{number % 7}"
            here.register_uuid(uuid, name)
            stale += there.find_by_uuid(uuid) != name
        here.drain()
    return stale


def upgrade(url: str, *, is_locked: bool) -> str:
    """Create the schema at *url*; return the error, if any."""
    if not is_locked:
        object.__setattr__(read_address(url).dialect, "lock_cluster", None)
    try:
        with RegistryAdmin.open(url) as admin:
            admin.upgrade()
    except (CapsuleRegistryError, CommandError, SQLAlchemyError) as error:
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    return ""


def upgrades(cluster: Cluster, rounds: int, *, is_locked: bool) -> list[str]:
    """Upgrade empty databases, each by many processes on all nodes at once; return the errors."""
    failed: list[str] = []
    work = partial(upgrade, is_locked=is_locked)
    cluster.nodes[0].ask(*(f"CREATE DATABASE upgrade_{number}" for number in range(rounds)))
    with ProcessPoolExecutor(_PROCESSES, mp_context=WORKERS) as processes:
        for number in range(rounds):
            urls = [cluster.url(node, f"upgrade_{number}") for node in range(_PROCESSES)]
            failed += filter(None, processes.map(work, urls))
    return failed


class Witness:
    """A registry that can reach only one node, and a UUID that is allowed something at first."""

    def __init__(self, cluster: Cluster, node: Node) -> None:
        self.uuid = uuid4()
        self._all = CapsuleRegistry.open(cluster.url(node.number))
        self._alone = CapsuleRegistry.open(node.url)
        name = f"witness-{self.uuid.hex[:8]}"
        manifest = CapsuleManifest.model_validate(
            {
                "package": {"name": name, "version": "1.0.0"},
                "capabilities": {"ipc_publish": ["a.*"]},
            }
        )
        self._id = self._all.register(manifest, uuids=[self.uuid]).id
        self.is_allowed_at_first = self._asked()

    def _asked(self) -> bool:
        try:
            return self._alone.is_allowed(self.uuid, "ipc_publish", _TOPIC)
        except _NO_ANSWER:
            return False

    def revoke(self) -> None:
        """Revoke what the UUID is allowed, through the other nodes."""
        self._all.unregister(self._id)

    def wrong_answers(self, seconds: float) -> int:
        """Return how often the lone node still allows it within *seconds*."""
        deadline, wrong = time.monotonic() + seconds, 0
        while time.monotonic() < deadline:
            wrong += self._asked()
            time.sleep(0.05)
        return wrong

    def close(self) -> None:
        self._alone.close()
        self._all.close()


class Faults:
    """The faults of the nodes, one at a time, and their outcome."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self._cluster = cluster
        self._chance = random.Random(seed)  # noqa: S311 - nothing secret
        self.times: list[tuple[str, int]] = []
        self.wrong = 0
        self._reached = 0

    def all(self, kinds: Sequence[str]) -> None:
        """Cause one fault for each of *kinds* under load, in random order."""
        order = [*kinds]
        self._chance.shuffle(order)
        for number, kind in enumerate(order, 1):
            node = self._chance.choice(self._cluster.nodes)
            self._reached = wait_for_load(self._cluster.url(), self._reached)
            began = time.monotonic()
            self.times.append((kind, time.monotonic_ns()))
            {"kill": self._kill, "stop": self._stop, "partition": self._partition}[kind](node)
            took = time.monotonic() - began
            print(f"{number}/{len(order)} {kind} of {node.name}: whole again after {took:.1f} s")
        wait_for_load(self._cluster.url(), self._reached)

    def _kill(self, node: Node) -> None:
        node.kill()
        reached = head(self._cluster.url(node.number))
        wait_for_load(self._cluster.url(node.number), reached)
        node.join(self._cluster.others(node))

    def _stop(self, node: Node) -> None:
        node.signal(signal.SIGSTOP)
        time.sleep(_FAULT_SECONDS)
        node.signal(signal.SIGCONT)
        wait_until_whole(self._cluster.nodes)

    def _partition(self, node: Node) -> None:
        witness = Witness(self._cluster, node)
        if not witness.is_allowed_at_first:
            raise AssertionError("the witness is not allowed what it should be")
        node.cut(off=True)
        witness.revoke()
        self.wrong += witness.wrong_answers(_FAULT_SECONDS)
        node.cut(off=False)
        witness.close()
        wait_until_whole(self._cluster.nodes)


def gaps(calls: Sequence[Call], times: Sequence[tuple[str, int]]) -> Iterator[tuple[str, float]]:
    """Yield for each fault its longest gap without a write, in seconds."""
    ends = sorted(
        call.end
        for call in calls
        if call.end is not None and call.verb in ("register", "unregister") and call.result
    )
    pairs = [*pairwise(ends)]
    for place, (kind, at) in enumerate(times):
        until = times[place + 1][1] if place + 1 < len(times) else ends[-1]
        yield kind, max((b - a) / 1e9 for a, b in pairs if at < b <= until)


def missing(registry: CapsuleRegistry, calls: Sequence[Call]) -> int:
    """Return how many acknowledged registrations are not in the history."""
    there, after = set(), 0
    while found := registry.history.list(after=after, action="capsule.registered", limit=1000):
        after = found[-1].revision
        for revision in found:
            there |= {(event.new_row or {}).get("version") for event in revision.events}
    wanted = {call.argument for call in calls if call.verb == "register" and call.result}
    return len(wanted - there)


def load(cluster: Cluster, kinds: Sequence[str], seed: int) -> bool:
    """Make calls during faults; return whether every check passes."""
    faults = Faults(cluster, seed)
    with TemporaryDirectory() as directory:
        end = Path(directory) / "end"
        goes_on = partial(until_it_exists, end)
        with ProcessPoolExecutor(_PROCESSES, mp_context=WORKERS) as processes:
            running = [
                processes.submit(
                    record, n, url=cluster.url(n), seed=seed, without=None, goes_on=goes_on
                )
                for n in range(_PROCESSES)
            ]
            try:
                faults.all(kinds)
            finally:
                end.touch()
        recorded = [future.result() for future in running]
    calls = [call for part, _ in recorded for call in part]
    good = report(calls, sum(unavailable for _, unavailable in recorded))
    return _is_whole(cluster, calls) and _told(faults, calls) and good


def _is_whole(cluster: Cluster, calls: Sequence[Call]) -> bool:
    with CapsuleRegistry.open(cluster.url()) as registry:
        lost, found = missing(registry, calls), registry.history.verify()
        revision = registry.history.revision
    twice = cluster.nodes[0].ask(
        "SET SESSION wsrep_sync_wait = 1",
        "SELECT COUNT(*) - COUNT(DISTINCT revision) FROM registry.revisions",
    )[0][0]
    print(f"{revision} revisions, {lost} acknowledged registrations lost, {twice} revisions twice")
    print(f"history: {'whole' if found.ok else found.discrepancies[:3]}")
    return not lost and not twice and found.ok


def _told(faults: Faults, calls: Sequence[Call]) -> bool:
    longest: dict[str, list[float]] = {}
    for kind, gap in gaps(calls, faults.times):
        longest.setdefault(kind, []).append(gap)
    for kind, found in sorted(longest.items()):
        middle, most = sorted(found)[len(found) // 2], max(found)
        print(f"{len(found)} x {kind}: nothing written for {middle:.1f} s, {most:.1f} at most")
    print(f"{faults.wrong} times a node that was cut off allowed what had been revoked")
    return not faults.wrong


def run_suite(cluster: Cluster, arguments: Sequence[str]) -> bool:
    """Run the tests on the cluster; return whether they pass."""
    tests = [sys.executable, "-m", "pytest", "-q", "--backend", "galera", *arguments]
    environment = {**os.environ, "CAPSULE_REGISTRY_TEST_GALERA": cluster.url()}
    root = Path(__file__).parents[1]
    return subprocess.run(tests, env=environment, cwd=root, check=False).returncode == 0


def is_sound(cluster: Cluster, options: argparse.Namespace) -> bool:
    """Run all checks on a *cluster*; return whether they pass."""
    failed = upgrades(cluster, options.upgrades, is_locked=options.without != "schema_lock")
    print(f"{len(failed)} of {options.upgrades * _PROCESSES} upgrades failed {failed[:1]}")
    if failed:
        return False
    CapsuleRegistry.open(cluster.url(), migrate=True).close()
    none_stale = knows_all([node.url for node in cluster.nodes], options.reads)
    kinds = [
        *["kill"] * options.kills,
        *["stop"] * options.stops,
        *["partition"] * options.partitions,
    ]
    return (not kinds or load(cluster, kinds, options.seed)) and none_stale


def knows_all(urls: Sequence[str], reads: int) -> bool:
    """Return whether each of so many *reads* knows what was acknowledged elsewhere."""
    stale = stale_reads(urls, reads)
    print(f"{stale} of {reads} reads did not know what another node had acknowledged")
    return not stale


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--stops", type=int, default=10)
    parser.add_argument("--partitions", type=int, default=10)
    parser.add_argument("--reads", type=int, default=10_000, help="of what another node wrote")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--upgrades", type=int, default=5, help="of empty databases")
    guards = ["sync_wait", "schema_lock"]
    parser.add_argument("--without", choices=guards, help="a guard to take out")
    parser.add_argument("--suite", action="store_true", help="run the tests on the cluster")
    several = "two nodes that are up and have the schema: the reads alone, on them"
    parser.add_argument("--nodes", nargs=2, metavar="URL", help=several)
    parser.add_argument("tests", nargs="*", help="what to give pytest with the suite, after --")
    return parser


def main() -> int:
    """Start the nodes, and run the checks or the tests."""
    parser = make_parser()
    options = parser.parse_args()
    if options.without == "sync_wait":
        galera.SYNC_WAIT = 0
        galera.outdated = lambda connection: None  # noqa: ARG005 - it would refuse such reads
    if options.nodes:
        return 0 if knows_all(options.nodes, options.reads) else 1

    partitions = 0 if options.suite else options.partitions
    if partitions and os.getuid() != 0:
        parser.error("partitions need root, for network namespaces: use --partitions 0")
    with Cluster(is_separable=bool(partitions)) as cluster:
        if options.suite:
            return 0 if run_suite(cluster, options.tests) else 1
        return 0 if is_sound(cluster, options) else 1


if __name__ == "__main__":
    sys.exit(main())
