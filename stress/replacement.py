"""
Capsules are replaced, and loads fail, while others look: does anyone see what never was?

    python stress/replacement.py replace --database sqlite:////tmp/stress.db --rounds 1000
    python stress/replacement.py load --database sqlite:////tmp/stress.db --rounds 1000

`replace`: one process replaces a capsule, four watch it. In a snapshot its manifest, tools, grants,
uplinks and UUIDs must be of one generation; nobody may find it missing; and the grant that a check
of a kept UUID rests on must be that of the manifest at the check's revision.

`load`: a capsule is registered, and replaced without a pause. Another process loads one of the same
id: it is refused and then closes its lease or lets it expire, or it is killed after filing its UUID
and before the transaction ends. Two processes check that UUID before, during and after: it must
never be allowed what the registered capsule may do.

| `--without` | the control |
|---|---|
| `unit` | `replace`: unregisters, then registers; `load`: files the UUID, then registers |
| `transaction` | `replace` alone: each statement commits by itself |
| `lease` | `load` alone: as `unit`, and without a lease, as hosts of the original do |

A control waits at its weak point until every watcher has looked. Exits with 1 if anything wrong was
seen: `replace` at once, `load` at the end, with the number of loads.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid5

from capsule_registry import (
    CapsuleAlreadyRegisteredError,
    CapsuleManifest,
    CapsuleRegistry,
    LeaseLostError,
    UplinkCapabilities,
    UplinkDescriptor,
)
from capsule_registry.entities import derived_rows
from support import controls

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from capsule_registry import OpenLease

    Found = tuple[list[str], Counter[Any]]
    Looking = Callable[["Board", int, str], Found]

_CASES: Final = {"replace": ("unit", "transaction"), "load": ("unit", "lease")}
_READERS: Final = 4
_CHECKERS: Final = 2
_PATIENCE: Final = 60
#: So long that no check is denied because the machine is busy.
_UNHURRIED: Final = timedelta(seconds=_PATIENCE)
_ID: Final = "target"
_KEPT: Final = UUID(int=1)
_CONTEXT: Final = get_context("fork")
#: The ttl of leases that are to expire during the run, and of others.
_SHORT: Final = timedelta(seconds=5)
_LONG: Final = timedelta(seconds=30)
#: The words of the command, which every entry that is a prefix of it covers.
_WORDS: Final = 9
_COMMAND: Final = " ".join(["run"] * _WORDS)
_BY_HAND: Final = UplinkDescriptor(
    name="by-hand", platform="cli", capabilities=UplinkCapabilities.full()
)


@dataclass(frozen=True)
class Board:
    """The state that the processes of a run share."""

    #: The current round.
    round: Any
    #: For each watcher, the round in which its last look began, and the looks it has finished.
    began: Any
    looks: Any
    #: Set when the rounds are over, or something wrong was seen.
    end: Any

    @classmethod
    def of(cls, watchers: int) -> Board:
        """Return the board of a run with *watchers* watchers."""
        return cls(
            _CONTEXT.Value("q", 0),
            _CONTEXT.Array("q", watchers),
            _CONTEXT.Array("q", watchers),
            _CONTEXT.Event(),
        )

    def looked(self, number: int, began: int) -> None:
        """Record that watcher *number* finished a look begun in the round *began*."""
        self.began[number] = began
        self.looks[number] += 1


class Watchers:
    """Processes that look, and return the faults they saw and how often they saw what."""

    def __init__(self, board: Board, url: str, works: list[Looking]) -> None:
        self.board = board
        self._works = [start(board, url, *work) for work in enumerate(works)]

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition* holds, or a watcher has seen a fault."""
        deadline = time.monotonic() + _PATIENCE
        while not condition() and not self.board.end.is_set():
            if time.monotonic() > deadline or not all(one.is_alive() for one, _ in self._works):
                raise TimeoutError("those that look do not go on")
            time.sleep(0.0005)

    def wait_for_all(self) -> None:
        """Wait until each watcher has begun and finished another look."""
        before = [*self.board.looks]
        self.wait(
            lambda: all(now > then + 1 for now, then in zip(self.board.looks, before, strict=True))
        )

    def end(self) -> Found:
        """End the watchers, and return what all of them found."""
        self.board.end.set()
        found = [receiving.recv() for _, receiving in self._works]
        for process, _ in self._works:
            process.join()
        return [fault for faults, _ in found for fault in faults], sum(
            (counts for _, counts in found), Counter()
        )


def start(board: Board, url: str, number: int, work: Looking) -> tuple[BaseProcess, Connection]:
    """Start a process that does *work*."""
    receiving, sending = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=report, args=(sending, work, board, number, url), daemon=True)
    process.start()
    return process, receiving


def report(sending: Connection, work: Looking, board: Board, number: int, url: str) -> None:
    """Do *work*, and send its result; an exception is a fault."""
    try:
        found = work(board, number, url)
    except Exception:  # noqa: BLE001 - whatever it is
        found = ([traceback.format_exc()], Counter())
    if found[0]:
        board.end.set()
    sending.send(found)


def manifest(number: int) -> CapsuleManifest:
    """Return manifest *number*, which can be told by each of its tables."""
    tools = [
        {"name": f"tool-{number}-{one}", "description": "", "input_schema": {}} for one in range(3)
    ]
    return CapsuleManifest.model_validate(
        {
            "package": {"name": _ID, "version": f"{number}.0.0"},
            "uplink": [{"name": f"uplink-{number}", "platform": "cli", "profile": "chat"}],
            "tool": tools,
            "capabilities": {"host_process": [entry(number)], "kv": [str(number)]},
        }
    )


def entry(number: int) -> str:
    """Return the `host_process` entry of manifest *number*, which covers the command."""
    return " ".join(["run"] * (number % _WORDS + 1))


def own_uuid(number: int) -> UUID:
    """Return the UUID that comes and goes with manifest, or load, *number*."""
    return uuid5(_KEPT, str(number))


def look_at_generations(board: Board, number: int, url: str) -> Found:
    """Watch the capsule until the end; count generations, and what checks rested on."""
    counts: Counter[Any] = Counter()
    with CapsuleRegistry.open(url, read_only=True) as registry:
        while not board.end.is_set():
            began = board.round.value
            if registry.get(_ID) is None or _ID not in registry:
                return ["the capsule was missing"], counts
            fault = torn(registry, counts)
            if fault:
                return [fault], counts
            decision = registry.check(_KEPT, "host_process", _COMMAND, timeout=_UNHURRIED)
            counts["check", decision.revision, decision.grant, decision.why.value] += 1
            board.looked(number, began)
    return [], counts


def torn(registry: CapsuleRegistry, counts: Counter[Any]) -> str | None:
    """Return what in a snapshot is not of the registered generation, if anything."""
    with registry.snapshot() as view:
        record = view.get(_ID)
        if record is None:
            return "the capsule was missing in a snapshot"
        number = int(record.version.partition(".")[0])
        found = {
            "manifest": record.manifest,
            "tools": [tool.name for tool in view.tools(_ID)],
            "grants": [(grant.capability, grant.value) for grant in view.grants(capsule_id=_ID)],
            "uplinks": [uplink.descriptor.name for uplink in view.find_uplinks(capsule_id=_ID)],
            "uuids": {mapping.uuid for mapping in view.uuids(_ID)},
            "owner": view.find_by_uuid(own_uuid(number)),
        }
    counts["generation", record.generation, number] += 1
    expected = {
        "manifest": manifest(number),
        "tools": [f"tool-{number}-{one}" for one in range(3)],
        "grants": [("kv", str(number)), ("host_process", entry(number))],
        "uplinks": ["by-hand", f"uplink-{number}"],
        "uuids": {_KEPT, own_uuid(number)},
        "owner": _ID,
    }
    wrong = [name for name in expected if found[name] != expected[name]]
    return (
        f"generation {number} with { ({name: found[name] for name in wrong}) }" if wrong else None
    )


def replace_generations(
    registry: CapsuleRegistry, watchers: Watchers, options: argparse.Namespace
) -> list[str]:
    """Replace the capsule again and again, each time after a look; return the faults."""
    board, numbers = watchers.board, {registry.history.revision: 0}
    watchers.wait_for_all()
    for number in range(1, options.rounds + 1):
        uuids = [_KEPT, own_uuid(number)]
        if options.without == "unit":
            registry.unregister(_ID)
            watchers.wait_for_all()
            record = registry.register(manifest(number), uuids=uuids)
        else:
            record = registry.replace(manifest(number), uuids=uuids)
        numbers[record.generation] = number
        board.round.value = number
        watchers.wait(lambda: number in [*board.began])  # noqa: B023 - it is called here
        if board.end.is_set():
            break
    faults, counts = watchers.end()
    for kind, *what in counts:
        if kind == "generation" and numbers.get(what[0]) != what[1]:
            faults.append(f"generation {what[0]} was never that of manifest {what[1]}")
        if kind == "check":
            revision, grant, why = what
            granted = entry(numbers[max(one for one in numbers if one <= revision)])
            if grant != granted:
                faults.append(f"a check at {revision}: {why} by {grant}, and {granted} was granted")
    kinds = Counter(kind for kind, *_ in counts)
    total = sum(count for what, count in counts.items() if what[0] == "check")
    print(f"{len(numbers)} generations, {kinds['generation']} of them seen, in {total} looks")
    return faults


def pause_between_statements(watchers: Watchers) -> None:
    """Take out the transaction, and wait after the old rows are deleted."""
    controls.take_out("transaction")
    clear = derived_rows.clear

    def clear_and_wait(*arguments: Any) -> None:  # noqa: ANN401 - handed on
        clear(*arguments)
        watchers.wait_for_all()

    derived_rows.clear = clear_and_wait  # type: ignore[assignment]


def check_loads(board: Board, number: int, url: str) -> Found:
    """Check the UUIDs of this load, of the last one and of a random one until the end."""
    counts: Counter[Any] = Counter()
    chance = random.Random(number)  # noqa: S311 - nothing secret
    with CapsuleRegistry.open(url, read_only=True) as registry:
        while not board.end.is_set():
            began = board.round.value
            for load in (began, began - 1, chance.randint(max(0, began - 200), began)):
                decision = registry.check(
                    own_uuid(load), "host_process", _COMMAND, timeout=_UNHURRIED
                )
                counts[decision.why.value] += 1
                if decision.allowed:
                    counts["allowed", load] += 1
            board.looked(number, began)
    return [], counts


def be_replaced(board: Board, number: int, url: str) -> Found:
    """Replace the registered capsule until the end; its own UUID must stay allowed."""
    counts: Counter[Any] = Counter()
    with CapsuleRegistry.open(url) as registry:
        while not board.end.is_set():
            began = board.round.value
            counts["replaced"] += 1
            registry.replace(manifest(counts["replaced"]), keep_uuids=True)
            if not registry.is_allowed(_KEPT, "host_process", _COMMAND, timeout=_UNHURRIED):
                return ["the UUID of the registered capsule was denied"], counts
            board.looked(number, began)
    return [], counts


def fail_to_load(
    registry: CapsuleRegistry, watchers: Watchers, options: argparse.Namespace
) -> list[str]:
    """Load a capsule whose id is taken, each time after all have checked its UUID."""
    board, failed = watchers.board, 0
    for number in range(1, options.rounds + 1):
        board.round.value = number
        watchers.wait(lambda: min(board.began) >= number)  # noqa: B023 - it is called here
        if board.end.is_set():
            break
        way = ("closes", "lapses", "dies")[number % 3]
        ttl = _SHORT if way == "lapses" and not options.without else _LONG
        if way == "dies":
            die_loading(registry, number, options)
        else:
            lease = open_lease(registry, ttl, options)
            load(registry, lease, number, watchers, options)
            if way == "closes" and lease is not None:
                lease.close()
        failed += 1
    board.round.value = options.rounds + 1
    watchers.wait(lambda: min(board.began) > options.rounds)
    faults, counts = watchers.end()
    registry.leases.reap()
    left = [mapping.uuid for mapping in registry.uuids() if mapping.uuid != _KEPT]
    allowed = {what[1] for what in counts if isinstance(what, tuple)}
    told = {what: count for what, count in counts.items() if not isinstance(what, tuple)}
    print(f"{failed} loads failed; what the checks rested on: {told}")
    wrong = {
        f"{len(allowed)} of them were allowed what somebody else's capsule may": allowed,
        f"{len(left)} of their UUIDs are left": left,
    }
    return faults + [fault for fault, which in wrong.items() if which]


def open_lease(
    registry: CapsuleRegistry, ttl: timedelta, options: argparse.Namespace
) -> OpenLease | None:
    """Open the lease of a load; hosts of the original have none."""
    if options.without == "lease":
        return None
    return registry.leases.open("load", ttl, renew=False)


def load(
    registry: CapsuleRegistry,
    lease: OpenLease | None,
    number: int,
    watchers: Watchers,
    options: argparse.Namespace,
) -> None:
    """Load the capsule, and be refused."""
    uuids = [own_uuid(number)]
    if options.without:
        registry.register_uuid(uuids.pop(), _ID, lease=lease)
        watchers.wait_for_all()
    with suppress(CapsuleAlreadyRegisteredError, LeaseLostError):
        registry.register(manifest(number), uuids=uuids, lease=lease)
        raise AssertionError(f"load {number} was not refused")


def die_loading(registry: CapsuleRegistry, number: int, options: argparse.Namespace) -> None:
    """In a child process, file the UUID and be killed before the registration."""
    if (pid := os.fork()) == 0:
        try:
            lease = open_lease(registry, _LONG, options)
            if options.without:
                registry.register_uuid(own_uuid(number), _ID, lease=lease)
                os.kill(os.getpid(), signal.SIGKILL)
            with registry.transaction() as transaction:
                transaction.register_uuid(own_uuid(number), _ID, lease=lease)
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            traceback.print_exc()
            os._exit(1)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != -signal.SIGKILL:
        raise AssertionError(f"load {number} ended otherwise than it was to")


def main() -> int:
    """Run the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=_CASES)
    parser.add_argument("--database", required=True, help="URL of a database for this alone")
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--without", choices=("unit", "transaction", "lease"), help="the control")
    options = parser.parse_args()
    if options.without not in (None, *_CASES[options.case]):
        parser.error(f"{options.case} has no control without {options.without}")

    began = time.monotonic()
    with CapsuleRegistry.open(options.database, migrate=True) as registry:
        registry.drain()
        registry.register_uplink(_ID, _BY_HAND)
        sessions = [_KEPT, own_uuid(0)] if options.case == "replace" else [_KEPT]
        registry.register(manifest(0), uuids=sessions)
    if options.case == "replace":
        looking: list[Looking] = [look_at_generations for _ in range(_READERS)]
        run = replace_generations
    else:
        looking = [*(check_loads for _ in range(_CHECKERS)), be_replaced]
        run = fail_to_load
    watchers = Watchers(Board.of(len(looking)), options.database, looking)
    # Taken out of this process alone: the watchers are forked already.
    if options.without == "transaction":
        pause_between_statements(watchers)
    with CapsuleRegistry.open(options.database) as registry:
        faults = run(registry, watchers, options)
        if not faults:
            faults = [str(found) for found in registry.history.verify().discrepancies]
    print(f"{time.monotonic() - began:.1f} s")
    print("\n".join(faults) or "nothing was seen that never was")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
