"""
A PostgreSQL primary is killed, and its standby promoted, again and again.

    python stress/standby.py --failovers 10

Starts both. Six processes make calls with the URL of the two, while the primary gets SIGKILL and
the standby is promoted; then the killed one becomes the new standby. COMMIT waits for the standby,
so the history of all calls must be linearizable, and the registry's history must contain every
acknowledged write and verify.

Then the standby is made to fall behind and promoted, which loses what was acknowledged: a registry
that has seen it must refuse every call, and the control must find the loss. Exits with 1 if any of
this fails.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from capsule_registry import CapsuleManifest, CapsuleRegistry, IncarnationChangedError
from galera import gaps, missing
from linearizability import record, report
from restarts import until_it_exists, wait_for_load
from support.replication import Pair
from support.workers import WORKERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.checker import Call

_PROCESSES: Final = 6


def fail_over(pair: Pair, times: int) -> list[tuple[str, int]]:
    """Fail over *times* times under load; return when."""
    reached, began = 0, []
    for number in range(1, times + 1):
        pair.primary.wait_for_standby(to_commit=True)
        reached = wait_for_load(pair.url, reached)
        began.append(("failover", time.monotonic_ns()))
        pair.fail_over()
        pair.primary.wait_for_standby(to_commit=False)
        reached = wait_for_load(pair.url, reached)
        pair.standby.follow(pair.primary)
        print(f"{number}/{times}: failed over at revision {reached}")
    wait_for_load(pair.url, reached)
    return began


def load(pair: Pair, times: int, seed: int) -> bool:
    """Make calls while the primary is killed; return whether every check passes."""
    with TemporaryDirectory() as directory:
        end = Path(directory) / "end"
        goes_on = partial(until_it_exists, end)
        work = partial(record, url=pair.url, seed=seed, without=None, goes_on=goes_on)
        with ProcessPoolExecutor(_PROCESSES, mp_context=WORKERS) as processes:
            running = [processes.submit(work, number) for number in range(_PROCESSES)]
            try:
                began = fail_over(pair, times)
            finally:
                end.touch()
        recorded = [future.result() for future in running]
    calls = [call for part, _ in recorded for call in part]
    good = report(calls, sum(unavailable for _, unavailable in recorded))
    return _is_whole(pair, calls, began) and good


def _is_whole(pair: Pair, calls: Sequence[Call], began: Sequence[tuple[str, int]]) -> bool:
    with CapsuleRegistry.open(pair.url) as registry:
        lost, found = missing(registry, calls), registry.history.verify()
        print(f"{registry.history.revision} revisions, {lost} acknowledged registrations lost")
    waited = sorted(gap for _, gap in gaps(calls, began))
    middle, most = waited[len(waited) // 2], waited[-1]
    print(f"{len(waited)} x failover: nothing written for {middle:.1f} s, {most:.1f} at most")
    print(f"history: {'whole' if found.ok else found.discrepancies[:3]}")
    return not lost and found.ok


def lose(pair: Pair) -> bool:
    """Promote a standby that is behind; return whether a registry that saw more refuses it."""
    manifest = CapsuleManifest.model_validate(
        {"package": {"name": "lost", "version": "1.0.0"}, "capabilities": {"ipc_publish": ["a.*"]}}
    )
    uuid = uuid4()
    with closing(CapsuleRegistry.open(pair.url)) as registry:
        registry.register_uuid(uuid, "early")
        pair.primary.wait_for_standby(to_commit=False)
        pair.standby.leave()
        registry.register(manifest, uuids=[uuid4()])
        registry.unregister_uuid(uuid)
        pair.fail_over()
        ways = {
            "find_by_uuid": lambda: registry.find_by_uuid(uuid),
            "is_allowed": lambda: registry.is_allowed(uuid, "ipc_publish", "a.b"),
            "list": registry.list,
            "register": lambda: registry.register(manifest),
            "history": lambda: registry.history.revision,
        }
        answered = {name: answer for name, way in ways.items() if (answer := _asked(way)) != ""}
    with CapsuleRegistry.open(pair.url) as another:
        is_lost = another.find_by_uuid(uuid) == "early" and "lost" not in another.list()
    print(f"a standby that was behind: lost {'what it should' if is_lost else 'NOTHING'}")
    print(f"answered by a registry that knew better: {answered or 'nothing'}")
    return is_lost and not answered


def _asked(way: object) -> object:
    try:
        return way()  # type: ignore[operator]
    except IncarnationChangedError:
        return ""


def main() -> int:
    """Start the servers, and run both parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--failovers", type=int, default=10)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()

    with Pair() as pair:
        CapsuleRegistry.open(pair.url, migrate=True).close()
        good = not options.failovers or load(pair, options.failovers, options.seed)
        return 0 if lose(pair) and good else 1


if __name__ == "__main__":
    sys.exit(main())
