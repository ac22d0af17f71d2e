"""The service: a check against an empty endpoint, many in one request, and who follows."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from statistics import quantiles
from threading import Thread
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from capsule_registry import CapsuleRegistry
from support.capsules import manifest
from support.comparison import Finding, Target, in_turn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.databases import Databases
    from support.setting import Setting

_EMPTY: Final = Path(__file__).with_name("support") / "empty_endpoint.py"
_PATH: Final = "/v1/namespaces/default"
_REQUESTS: Final = 300
_WATCHERS: Final = 200
_COMMITS: Final = 100
_PAUSE_SECONDS: Final = 0.05


def findings(setting: Setting) -> Iterator[Finding]:
    """Yield the rows of the service."""
    for databases in (setting.files, *setting.servers):
        url, uuid = databases.new(), uuid4()
        with CapsuleRegistry.open(url, actor="benchmark") as registry:
            registry.register(manifest(0), uuids=[uuid])
            question = {"uuid": str(uuid), "capability": "kv", "value": "x"}
            with _served(url) as port, _running([sys.executable, str(_EMPTY)]) as empty:
                yield from _checks(setting, databases, port, empty, question)
                yield from _watches(setting, databases, registry, port)


@contextmanager
def _served(url: str) -> Iterator[int]:
    command = [sys.executable, "-m", "capsule_registry", "--database", url]
    with _running([*command, "serve", "--port", "0"]) as port:
        yield port


@contextmanager
def _running(command: Sequence[str]) -> Iterator[int]:
    """Run a service, and yield the port that it says it is at."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603 - its own
    output: Any = process.stderr
    try:
        port = int(output.readline().rpartition(":")[2])
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait()
        output.close()


def _wait_for(port: int) -> None:
    while True:
        try:
            connection = HTTPConnection("127.0.0.1", port)
            connection.request("GET", "/livez")
            connection.getresponse().read()
        except OSError:
            time.sleep(0.01)
        else:
            return


def _checks(
    setting: Setting, databases: Databases, port: int, empty: int, question: dict[str, str]
) -> Iterator[Finding]:
    one, many = json.dumps(question), json.dumps([question] * 100)
    path = f"{_PATH}/check"

    def asking(at: int, where: str, body: str, times: int) -> Any:  # noqa: ANN401 - a round
        connection = HTTPConnection("127.0.0.1", at)

        def ask() -> float:
            began = time.perf_counter()
            for _ in range(times):
                connection.request("POST", where, body, {"Content-Type": "application/json"})
                connection.getresponse().read()
            return (time.perf_counter() - began) / times

        return ask

    rounds = setting.rounds(21)
    asked = asking(port, path, one, _REQUESTS)
    pairs = in_turn(asked, asking(empty, "/check", one, _REQUESTS), rounds, unmeasured=3)
    target = None if databases.is_server else 0.7
    title = databases.title
    yield pairs.times_as_fast(f"POST /check / an empty endpoint, {title}", target)
    pairs = in_turn(asking(port, path, many, _REQUESTS // 3), asked, rounds, unmeasured=3)
    yield pairs.times_as_long(f"POST /check of 100 questions / of one, {title}", 3)


def _watches(
    setting: Setting, databases: Databases, registry: CapsuleRegistry, port: int
) -> Iterator[Finding]:
    """Let many follow, and one write; measure how long after its commit each revision comes."""
    written: dict[int, float] = {}
    first = registry.history.revision
    commits = _COMMITS // (5 if setting.is_quick else 1)

    def write() -> None:
        for number in range(1, commits + 1):
            time.sleep(_PAUSE_SECONDS)
            registry.register_uuid(uuid4(), "a")
            written[first + number] = time.perf_counter()

    async def follow() -> list[tuple[int, float]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"GET {_PATH}/watch?after={first} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        )
        seen: list[tuple[int, float]] = []
        while len(seen) < commits:
            line = await reader.readline()
            if line.startswith(b"id: ") and (number := int(line[4:])) > first:
                seen.append((number, time.perf_counter()))
            elif line.startswith(b"event: begun"):
                begun.append(None)
        writer.close()
        return seen

    async def follow_all() -> list[list[tuple[int, float]]]:
        tasks = [asyncio.create_task(follow()) for _ in range(_WATCHERS)]
        while len(begun) < _WATCHERS:  # noqa: ASYNC110 - a hundred lines come at once
            await asyncio.sleep(0.01)
        thread = Thread(target=write)
        thread.start()
        found = await asyncio.gather(*tasks)
        thread.join()
        return found

    begun: list[None] = []
    found = asyncio.run(follow_all())
    expected = [*range(first + 1, first + commits + 1)]
    if any([number for number, _ in seen] != expected for seen in found):
        raise AssertionError("one who followed missed a revision, or saw one twice")
    delays = [max(at - written[number], 0.0) for seen in found for number, at in seen]
    p99 = quantiles(delays, n=100)[98]
    name = f"{_WATCHERS} who follow, 20 commits a second, 99th percentile, {databases.title}"
    yield Finding.figure(name, [p99], "s", Target(0.1, is_least=False))
