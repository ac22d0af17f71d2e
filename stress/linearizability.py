"""
Many processes read and write the same few capsules: could one process have done it all?

    python stress/linearizability.py --database sqlite:////tmp/stress.db

Records every call of 8 processes of 8 threads, whose writes share COMMITs, with its start, end and
result, and looks for an order of all calls that explains every result (see `checker.py`). Then
makes single reads of the history stale, and counts how many of these histories are rejected. Exits
with 1 if the history is not linearizable, or if a stale read goes unnoticed.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid5

from capsule_registry import (
    CapsuleAlreadyRegisteredError,
    CapsuleManifest,
    CapsuleNotFoundError,
    CapsuleRegistry,
    OutcomeUnknownError,
    RegistryUnavailableError,
)
from support import controls
from support.checker import Call, is_linearizable, with_stale_read
from support.workers import WORKERS

if TYPE_CHECKING:
    from collections.abc import Callable

CAPSULES: Final = [f"capsule-{number}" for number in range(10)]
#: Each capsule has three UUIDs that are filed under no other.
UUIDS: Final = {
    name: [uuid5(UUID(int=0), f"{name} {number}") for number in range(3)] for name in CAPSULES
}
#: Half of the calls only read.
_VERBS: Final = ["register", "unregister", "register_uuid", "get", "find_by_uuid", "get"]
#: How long a process waits when the database cannot be reached.
_PAUSE_SECONDS: Final = 0.05
#: How long it waits for a server that is restarting as it begins.
_PATIENCE_SECONDS: Final = 60.0


class Recorder:
    """Makes calls on one registry and records them."""

    def __init__(self, registry: CapsuleRegistry, name: str, seed: int) -> None:
        self.calls: list[Call] = []
        self.unavailable = 0
        self._registry = registry
        self._name = name
        self._chance = random.Random(f"{seed} {name}")  # noqa: S311 - nothing secret
        self.count = 0

    def call(self) -> None:
        """Make one call."""
        capsule, verb = self._chance.choice(CAPSULES), self._chance.choice(_VERBS)
        self.count += 1
        argument = {
            "register": f"0.{self._name}.{self.count}",
            "register_uuid": (uuid := str(self._chance.choice(UUIDS[capsule]))),
            "find_by_uuid": uuid,
        }.get(verb, "")
        start = time.monotonic_ns()
        try:
            result = self._do(verb, capsule, argument)
        except OutcomeUnknownError:
            self.calls.append(Call(capsule, verb, argument, None, start, None))
        except RegistryUnavailableError:
            # Nothing was changed: the call is left out of the history.
            self.unavailable += 1
            time.sleep(_PAUSE_SECONDS)
        else:
            end = time.monotonic_ns()
            self.calls.append(Call(capsule, verb, argument, result, start, end))

    def _do(self, verb: str, capsule: str, argument: str) -> str | bool | None:
        registry = self._registry
        match verb:
            case "register":
                return _register(registry, capsule, argument)
            case "unregister":
                return _unregister(registry, capsule)
            case "get":
                found = registry.get(capsule)
                return found.version if found else None
            case "find_by_uuid":
                return registry.find_by_uuid(argument) == capsule
        registry.register_uuid(argument, capsule)
        return None


def _register(registry: CapsuleRegistry, capsule: str, version: str) -> bool:
    package = {"name": capsule, "version": version}
    try:
        registry.register(CapsuleManifest.model_validate({"package": package}))
    except CapsuleAlreadyRegisteredError:
        return False
    return True


def _unregister(registry: CapsuleRegistry, capsule: str) -> str | None:
    try:
        return registry.unregister(capsule).version
    except CapsuleNotFoundError:
        return None


def opened(url: str, actor: str) -> CapsuleRegistry:
    """Open the registry, even if its server is just restarting."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return CapsuleRegistry.open(url, actor=actor)
        except RegistryUnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)


def record(  # noqa: PLR0913 - what a process is told
    number: int,
    *,
    url: str,
    seed: int,
    without: str | None,
    goes_on: Callable[[int], bool],
    threads: int = 1,
) -> tuple[list[Call], int]:
    """Make calls as process *number*; return them, and how many met no database."""
    controls.take_out(without)
    with opened(url, f"process {number}") as registry, ThreadPoolExecutor(threads) as callers:
        recorders = [Recorder(registry, str(100 * number + each), seed) for each in range(threads)]
        for done in [callers.submit(_record, one, goes_on) for one in recorders]:
            done.result()
    calls = [call for one in recorders for call in one.calls]
    return calls, sum(one.unavailable for one in recorders)


def _record(recorder: Recorder, goes_on: Callable[[int], bool]) -> None:
    while goes_on(recorder.count):
        recorder.call()


def fewer_than(limit: int, count: int) -> bool:
    """Return whether *count* is below *limit*."""
    return count < limit


def report(calls: list[Call], unavailable: int) -> bool:
    """Print and return whether the history of *calls* is linearizable."""
    unknown = sum(call.end is None for call in calls)
    began = time.monotonic()
    good = is_linearizable(calls)
    took = time.monotonic() - began
    print(
        f"{len(calls)} calls, {unknown} of unknown outcome, {unavailable} refused: "
        f"{'' if good else 'NOT '}linearizable ({took:.1f} s to say so)"
    )
    return good


def main() -> int:
    """Record a history and check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True, help="URL of a database for this alone")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--threads", type=int, default=8, help="of each process")
    parser.add_argument("--calls", type=int, default=300, help="of each thread")
    parser.add_argument("--stale", type=int, default=200, help="stale reads to plant")
    parser.add_argument("--seed", type=int, default=7)
    controls.add_option(parser)
    options = parser.parse_args()

    with CapsuleRegistry.open(options.database, migrate=True) as registry:
        registry.drain()
    work = partial(
        record,
        url=options.database,
        seed=options.seed,
        without=options.without,
        goes_on=partial(fewer_than, options.calls),
        threads=options.threads,
    )
    began = time.monotonic()
    with ProcessPoolExecutor(options.processes, mp_context=WORKERS) as processes:
        recorded = [*processes.map(work, range(options.processes))]
    took = time.monotonic() - began
    print(f"{options.processes} processes of {options.threads} threads took {took:.1f} s")
    calls = [call for part, _ in recorded for call in part]
    if not report(calls, sum(unavailable for _, unavailable in recorded)):
        return 1
    chance = random.Random(options.seed)  # noqa: S311 - nothing secret
    seen = sum(not is_linearizable(with_stale_read(calls, chance)) for _ in range(options.stale))
    print(f"{seen} of {options.stale} planted stale reads seen")
    return 0 if seen == options.stale else 1


if __name__ == "__main__":
    sys.exit(main())
