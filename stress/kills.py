"""
Writers are killed at random moments: is anything acknowledged lost, or half done?

    python stress/kills.py --database sqlite:////tmp/stress.db --rounds 200

In each round two processes of eight threads, whose writes share COMMITs, register capsules, each
with an uplink and a UUID, and print the id of each once it is acknowledged; both get SIGKILL after
30 to 120 ms of writing. Then every acknowledged capsule must be there with its uplink and its UUID,
the database's own checks must pass, and another process must be able to write at once. Exits with 1
at the first round that fails, or in which a writer met an error.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from uuid import uuid4

from capsule_registry import CapsuleManifest, CapsuleRegistry, Finding, RegistryAdmin
from support import controls

_WRITER = "--as-writer"
_THREADS = 8


def write(url: str, name: str) -> None:
    """Register capsules by several threads until the process is killed."""
    with CapsuleRegistry.open(url) as registry, ThreadPoolExecutor(_THREADS) as callers:
        for done in [callers.submit(_write, registry, f"{name}t{n}") for n in range(_THREADS)]:
            done.result()


def _write(registry: CapsuleRegistry, name: str) -> None:
    for number in count(1):
        uplink = {"name": "u", "platform": "cli", "profile": "chat"}
        package = {"name": f"{name}-{number}", "version": "0.1.0"}
        manifest = CapsuleManifest.model_validate({"package": package, "uplink": [uplink]})
        registry.register(manifest, uuids=[uuid4()])
        os.write(1, f"{package['name']}\n".encode())  # In one step: no line is mixed with another.


def killed_round(
    url: str, number: int, chance: random.Random, options: argparse.Namespace
) -> set[str]:
    """Kill two writers at a random moment, and return what they had acknowledged."""
    command = [sys.executable, __file__, "--database", url, _WRITER]
    if options.without:
        command[-1:-1] = ["--without", options.without]
    writers = [
        subprocess.Popen([*command, f"r{number}w{n}"], stdout=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    acknowledged: set[str] = set()
    for writer in writers:
        if writer.stdout is not None:
            acknowledged.add(writer.stdout.readline().strip())
    time.sleep(chance.uniform(0.03, 0.12))
    for writer in writers:
        writer.send_signal(signal.SIGKILL)
        output, _ = writer.communicate()
        acknowledged |= set(output.split("\n")[:-1])
        if writer.returncode != -signal.SIGKILL:
            sys.exit(f"round {number}: a writer ended by itself, with {writer.returncode}")
    return acknowledged - {""}


def is_whole(url: str, number: int, acknowledged: set[str]) -> bool:
    """Return whether everything acknowledged is there and whole, and empty the registry."""
    with CapsuleRegistry.open(url) as registry:
        stored = set(registry.list())
        whole = len(stored) == len(registry.uuids()) == len(registry.find_uplinks())
        missing = acknowledged - stored
        wrong = [finding for finding in findings(url) if finding.problem]
        print(f"round {number}: {len(acknowledged)} acknowledged, {len(missing)} missing")
        for finding in wrong:
            print(f"{finding.name}: {finding.value}: {finding.problem}")
        registry.drain()
    return whole and not missing and not wrong


def findings(url: str) -> list[Finding]:
    """Return the results of the database's own checks."""
    with RegistryAdmin.open(url, read_only=True) as admin:
        return [found for found in admin.findings() if found.name in ("foreign keys", "integrity")]


def main() -> int:
    """Run the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True, help="URL of a database for this alone")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    controls.add_option(parser)
    parser.add_argument(_WRITER, metavar="NAME", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_writer:
        controls.take_out(options.without)
        write(options.database, options.as_writer)

    CapsuleRegistry.open(options.database, migrate=True).close()
    chance, total = random.Random(options.seed), 0  # noqa: S311 - nothing secret
    for number in range(options.rounds):
        acknowledged = killed_round(options.database, number, chance, options)
        total += len(acknowledged)
        if not is_whole(options.database, number, acknowledged):
            return 1
    print(f"{total} acknowledged in {options.rounds} rounds, none lost")
    return 0


if __name__ == "__main__":
    sys.exit(main())
