"""
Many processes write to one namespace without a pause: is any of them starved?

    python stress/writers.py --database sqlite:////tmp/stress.db --processes 16 --seconds 30

Prints the transactions of each process, the slowest against the fastest, and the seconds per
transaction (median, 99th percentile, longest). Any error ends it with a traceback. `--without
queue` is the control.
"""

from __future__ import annotations

import argparse
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from uuid import uuid4

from capsule_registry import CapsuleRegistry
from support import controls
from support.workers import WORKERS


def write(number: int, *, url: str, seconds: float, without: str | None) -> list[float]:
    """File UUIDs for *seconds*, and return how many seconds each took."""
    controls.take_out(without)
    took: list[float] = []
    with CapsuleRegistry.open(url, actor=f"writer {number}") as registry:
        registry.register_uuid(uuid4(), f"writer-{number}")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            started = time.monotonic()
            registry.register_uuid(uuid4(), f"writer-{number}")
            took.append(time.monotonic() - started)
    return took


def main() -> None:
    """Run the writers, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True, help="URL of a database for this alone")
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=30)
    controls.add_option(parser)
    options = parser.parse_args()

    CapsuleRegistry.open(options.database, migrate=True).close()
    work = partial(write, url=options.database, seconds=options.seconds, without=options.without)
    with ProcessPoolExecutor(options.processes, mp_context=WORKERS) as processes:
        done = [*processes.map(work, range(options.processes))]
    counts = sorted(len(took) for took in done)
    times = sorted(seconds for took in done for seconds in took)
    print(f"units a process: {counts}")
    print(f"units a second: {sum(counts) / options.seconds:.0f}")
    print(f"slowest / fastest process: {counts[0] / counts[-1]:.2f}")
    print(
        f"seconds a unit: median {statistics.median(times):.4f}, "
        f"p99 {times[int(len(times) * 0.99)]:.3f}, longest {times[-1]:.3f}"
    )


if __name__ == "__main__":
    main()
