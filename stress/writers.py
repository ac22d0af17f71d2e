"""
Many processes that write to one namespace without a pause: is any of them starved?

    python stress/writers.py --database sqlite:////tmp/stress.db --processes 16 --seconds 30

Prints how many units each process did, the slowest against the fastest, and how long one unit took
(median, 99th percentile, longest). Exits with 1 if any call raised an error. `--no-queue` takes the
queue of SQLite's writers away, as a control.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import time
from contextlib import nullcontext
from typing import Any
from uuid import uuid4

from capsule_registry import CapsuleRegistry
from capsule_registry.write_queue import WriteQueue


def work(url: str, number: int, seconds: float, queued: bool, results: Any) -> None:
    """Re-point UUIDs until the time is up, and report how long each unit took."""
    if not queued:
        WriteQueue.turn = lambda self, timeout: nullcontext()  # type: ignore[assignment,method-assign]
    took: list[float] = []
    with CapsuleRegistry.open(url, actor=f"writer {number}") as registry:
        registry.register_uuid(uuid4(), f"writer-{number}")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            started = time.monotonic()
            registry.register_uuid(uuid4(), f"writer-{number}")
            took.append(time.monotonic() - started)
    results.put(took)


def main() -> int:
    """Run the writers, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True, help="URL of a database with the schema")
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--no-queue", action="store_true")
    options = parser.parse_args()

    CapsuleRegistry.open(options.database, migrate=True).close()
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    writers = [
        context.Process(
            target=work,
            args=(options.database, number, options.seconds, not options.no_queue, results),
        )
        for number in range(options.processes)
    ]
    for writer in writers:
        writer.start()
    waited = options.seconds + 120
    done: list[list[float]] = []
    while len(done) < len(writers) and any(writer.is_alive() for writer in writers):
        try:
            done.append(results.get(timeout=1))
        except multiprocessing.queues.Empty:  # type: ignore[attr-defined]
            waited -= 1
            if waited < 0:
                break
    for writer in writers:
        writer.join()
    failed = sum(writer.exitcode != 0 for writer in writers)
    counts = sorted(len(took) for took in done)
    times = sorted(second for took in done for second in took)
    print(f"units a process: {counts}")
    print(f"units a second: {sum(counts) / options.seconds:.0f}")
    print(f"slowest / fastest process: {counts[0] / counts[-1]:.2f}")
    print(
        f"seconds a unit: median {statistics.median(times):.4f}, "
        f"p99 {times[int(len(times) * 0.99)]:.3f}, longest {times[-1]:.3f}"
    )
    print(f"processes that failed: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
