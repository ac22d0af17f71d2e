"""
A server goes down again and again while processes read and write: is an answer ever wrong?

    python stress/restarts.py postgresql --restarts 10

Starts a server of its own, and kills and stops it in turn while 8 processes make calls. A caller
may see only success or `RegistryUnavailableError`, and the history of all calls must be
linearizable (see `linearizability.py`): what was acknowledged is there, what was refused is not.
Exits with 1 if not, or if too little was written before a restart to mean anything.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from capsule_registry import CapsuleRegistry, RegistryAdmin, RegistryUnavailableError
from linearizability import record, report
from support.servers import SERVERS
from support.workers import WORKERS

if TYPE_CHECKING:
    from support.servers import Server

#: The least number of revisions between two restarts.
_LEAST_UNITS: Final = 50
_PATIENCE_SECONDS: Final = 60.0


def until_it_exists(file: Path, count: int) -> bool:  # noqa: ARG001 - as `goes_on`
    """Return whether *file* is still missing."""
    return not file.exists()


def head(url: str) -> int:
    """Return the head revision, or 0 while the server is starting."""
    try:
        with RegistryAdmin.open(url, read_only=True) as admin:
            return admin.namespaces()[0].revision
    except RegistryUnavailableError:
        return 0


def wait_for_load(url: str, since: int) -> int:
    """Wait until enough has committed after revision *since*, and return the head."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (now := head(url)) < since + _LEAST_UNITS:
        if time.monotonic() > deadline:
            message = f"only {now - since} units in {_PATIENCE_SECONDS} s"
            raise TimeoutError(message)
        time.sleep(0.1)
    return now


def restart(server: Server, times: int) -> None:
    """Kill and stop *server* in turn, *times* times, each time under load."""
    reached = 0
    for how in islice(cycle([server.crash, server.shutdown]), times):
        reached = wait_for_load(server.url, reached)
        server.stop(how)
        server.start()
        print(f"revision {reached}: restarted after {how.name}")
    wait_for_load(server.url, reached)


def main() -> int:
    """Run the processes and the restarts, and check the history."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", choices=SERVERS)
    parser.add_argument("--restarts", type=int, default=10)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()

    server = SERVERS[options.server]()
    try:
        server.start()
        CapsuleRegistry.open(server.url, migrate=True).close()
        with TemporaryDirectory() as directory:
            end = Path(directory) / "end"
            work = partial(
                record,
                url=server.url,
                seed=options.seed,
                without=None,
                goes_on=partial(until_it_exists, end),
            )
            with ProcessPoolExecutor(options.processes, mp_context=WORKERS) as processes:
                running = [processes.submit(work, number) for number in range(options.processes)]
                try:
                    restart(server, options.restarts)
                finally:
                    end.touch()
            recorded = [future.result() for future in running]
    finally:
        server.remove()
    calls = [call for part, _ in recorded for call in part]
    return 0 if report(calls, sum(unavailable for _, unavailable in recorded)) else 1


if __name__ == "__main__":
    sys.exit(main())
