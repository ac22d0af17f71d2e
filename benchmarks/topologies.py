"""
Measure a write and a strict lookup on one server, with a standby, and on a cluster.

    python benchmarks/topologies.py

Starts a PostgreSQL server with a standby and three Galera nodes, all on loopback, and prints the
median of 300 registrations and of 1,000 lookups on each. `--database URL` adds a running server,
such as one behind a pooler. All share the cores and the disk of one machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from capsule_registry import CapsuleManifest, CapsuleRegistry

sys.path.append(str(Path(__file__).parents[1] / "stress"))

from support.cluster import Cluster
from support.replication import Pair

if TYPE_CHECKING:
    from collections.abc import Callable

_WRITES = 300
_LOOKUPS = 1000


def milliseconds(times: int, call: Callable[[int], object]) -> float:
    """Return the median time of *times* calls, each given its number."""
    took = []
    for number in range(times):
        began = time.perf_counter()
        call(number)
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000


def measure(name: str, url: str) -> None:
    """Print the medians of both at *url*."""
    with CapsuleRegistry.open(url, migrate=True) as registry:
        registry.drain()

        def register(number: int) -> None:
            uplink = {"name": "u", "platform": "cli", "profile": "chat"}
            package = {"name": f"c-{number}", "version": "1.0.0"}
            registry.register(
                CapsuleManifest.model_validate({"package": package, "uplink": [uplink]})
            )

        for number in range(_WRITES, _WRITES + 50):
            register(number)  # Warm up: compile statements, open connections.
        write = milliseconds(_WRITES, register)
        registry.register_uuid(uuid := uuid4(), "c-1")
        lookup = milliseconds(_LOOKUPS, lambda _: registry.find_by_uuid(uuid))
    print(f"{name}: register {write:.2f} ms, find_by_uuid {lookup:.3f} ms")


def main() -> None:
    """Measure each topology."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", action="append", default=[], help="a URL to measure besides")
    for url in parser.parse_args().database:
        measure(url.rpartition("@")[2], url)
    with Pair() as pair:
        measure("PostgreSQL, asynchronous standby", pair.primary.url)
        pair.primary.wait_for_standby(to_commit=True)
        measure("PostgreSQL, synchronous standby", pair.url)
    with Cluster(is_separable=False) as cluster:
        measure("Galera, three nodes", cluster.url())


if __name__ == "__main__":
    main()
