"""
Other registries and key-value stores, each driven by a script in a Python of its own.

The script prints `{"version": …}` once it is ready; to each line `{"verb": …, "names": […]}` it
answers `{"seconds": …}` a call. So rounds alternate here as everywhere. The names are shared by as
many threads as `callers` says.
"""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import IO, TYPE_CHECKING, Final

from capsule_registry import CapsuleRegistry
from support.capsules import capsule_id, fresh, manifest, session
from support.comparison import Finding, Target, batches, each, for_a_while, in_turn, nothing, timed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.comparison import Round
    from support.setting import Setting

_SCRIPTS: Final = Path(__file__).with_name("peer_scripts")
#: Capsules registered before the measurement.
_RESIDENT: Final = 500
#: The verbs each peer is compared by, and how many times as fast ours must be.
_VERBS: Final[dict[str, dict[str, float | None]]] = {
    "mlflow": {"get": 100, "register": 7},
    "feast": {"get": None, "register": None},
    "redis": {"find": None},
    "etcd": {"find": None},
}
NAMES: Final = tuple(_VERBS)
_SETTINGS: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "FEAST_USAGE": "False",
    "DO_NOT_TRACK": "1",
}


class PeerError(Exception):
    """A peer's script ended without an answer; the message is its last line on stderr."""


@dataclass
class Peer:
    """A running script, and the version it reported."""

    asked: IO[str]
    answers: IO[str]
    errors: Path
    version: str = ""

    def ask(self, verb: str, names: Sequence[str], callers: int = 1) -> float:
        """Return how many seconds *verb* took, per name, by so many *callers* at once."""
        asked = {"verb": verb, "names": names, "callers": callers}
        print(json.dumps(asked), file=self.asked, flush=True)
        return float(self.answer()["seconds"])

    def answer(self) -> dict[str, str]:
        """Return the script's next answer."""
        for line in self.answers:
            if line.startswith("{"):  # Some print greetings.
                found: dict[str, str] = json.loads(line)
                return found
        raise PeerError(self.errors.read_text().strip().rpartition("\n")[2] or "no answer")


def findings(setting: Setting) -> Iterator[Finding]:
    """Yield the rows of peers."""
    for name in NAMES:
        if name not in setting.peers:
            yield from _not_run(name, f"no --peer-python {name}=…")
            continue
        try:
            with running(name, setting) as peer:
                yield from _compared(name, peer, setting)
        except (OSError, PeerError) as error:
            yield from _not_run(name, str(error))


def _not_run(name: str, why: str) -> Iterator[Finding]:
    for verb, bound in _VERBS[name].items():
        target = None if bound is None else Target(bound)
        yield Finding.not_run(f"{verb}, SQLite / {name}", why, target)


@contextmanager
def running(name: str, setting: Setting) -> Iterator[Peer]:
    """Run the script of the peer of that *name*, from an empty directory."""
    directory = Path(mkdtemp(prefix=name, dir=setting.directory))
    (directory / "manifest.json").write_text(manifest(0).text)
    errors = directory / "errors"
    with (
        errors.open("w") as stderr,
        subprocess.Popen(  # noqa: S603 - what the caller named
            [setting.peers[name], str(_SCRIPTS / f"of_{name}.py"), str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=os.environ | _SETTINGS,
        ) as process,
    ):
        if process.stdin is None or process.stdout is None:
            raise PeerError(name)
        peer = Peer(process.stdin, process.stdout, errors)
        peer.version = peer.answer()["version"]
        yield peer


def _compared(name: str, peer: Peer, setting: Setting) -> Iterator[Finding]:
    note = f"{name} {peer.version}, {_RESIDENT} capsules"
    with CapsuleRegistry.open(setting.files.new()) as registry:
        sessions = [session(number) for number in range(_RESIDENT)]
        registry.register_many(manifest(number) for number in range(_RESIDENT))
        with registry.transaction() as transaction:
            for number, uuid in enumerate(sessions):
                transaction.register_uuid(uuid, capsule_id(number))
        ours: dict[str, Round] = {
            "find": for_a_while(each(registry.find_by_uuid), fresh(sessions), 0.05),
            "get": lambda: timed(each(registry.get), _names()),
            "register": batches(
                lambda number: manifest(number, "new"), each(registry.register), 10, nothing
            ),
        }
        known = [*map(str, sessions)] if "find" in _VERBS[name] else _names()
        peer.ask("register", known)
        for verb, bound in _VERBS[name].items():
            pairs = in_turn(ours[verb], _asking(peer, verb, known), setting.rounds(9))
            yield pairs.times_as_fast(f"{verb}, SQLite / {name}", bound, note)


def _names() -> list[str]:
    return [capsule_id(number) for number in range(_RESIDENT)]


def _asking(peer: Peer, verb: str, known: Sequence[str]) -> Round:
    numbers = count()

    def once() -> float:
        if verb == "register":
            return peer.ask(verb, [capsule_id(next(numbers), "new") for _ in range(10)])
        return peer.ask(verb, [known[next(numbers) % len(known)] for _ in range(100)])

    return once
