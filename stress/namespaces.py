"""
One namespace against eight written at once: do namespaces wait for each other?

    python stress/namespaces.py --database postgresql://… --seconds 10

Writers file UUIDs without a pause, in turn: one writer in one namespace, eight in one, and one in
each of eight. Prints the transactions per second of each round, and the ratios of the medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from uuid import uuid4

from capsule_registry import CapsuleRegistry
from support.workers import WORKERS


def write(namespace: str, *, url: str, start: float, seconds: float) -> int:
    """File UUIDs in *namespace* for *seconds* from *start* on, and return how many."""
    count = 0
    with CapsuleRegistry.open(url, namespace=namespace) as registry:
        registry.register_uuid(uuid4(), "writer")
        time.sleep(max(0, start - time.monotonic()))
        while time.monotonic() < start + seconds:
            registry.register_uuid(uuid4(), "writer")
            count += 1
    return count


def units_a_second(
    processes: ProcessPoolExecutor, names: list[str], url: str, seconds: float
) -> float:
    """Return the rate of one process per name of *names*, all writing at once."""
    start = time.monotonic() + 2
    work = partial(write, url=url, start=start, seconds=seconds)
    return sum(processes.map(work, names)) / seconds


def main() -> None:
    """Run the rounds, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True, help="URL of a database for this alone")
    parser.add_argument("--namespaces", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    CapsuleRegistry.open(options.database, migrate=True).close()
    several = [f"namespace-{number}" for number in range(options.namespaces)]
    cases = {"one writer of one": several[:1], "one": several[:1] * len(several), "each": several}
    rates: dict[str, list[float]] = {name: [] for name in cases}
    with ProcessPoolExecutor(len(several), mp_context=WORKERS) as processes:
        for _ in range(options.rounds):
            for name, names in cases.items():
                rate = units_a_second(processes, names, options.database, options.seconds)
                rates[name].append(rate)
                print(f"{name}: {rate:.0f} units a second")
    medians = {name: statistics.median(found) for name, found in rates.items()}
    alone = medians["each"] / medians["one writer of one"]
    shared = medians["each"] / medians["one"]
    print(f"{len(several)} namespaces do {alone:.2f} times as many units as one with one writer,")
    print(f"and {shared:.2f} times as many as one with {len(several)} writers")


if __name__ == "__main__":
    main()
