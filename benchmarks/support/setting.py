"""The setting of one run of the suite: databases, sizes, peers."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from capsule_registry import CapsuleManifest
from support.capsules import capsule_id, manifest
from support.comparison import Finding
from support.databases import Databases
from support.population import Population

if TYPE_CHECKING:
    from pathlib import Path

    from support.population import Changes

#: Measures some rows of the table.
Group = Callable[["Setting"], Iterator[Finding]]

#: The sizes that the targets name.
SMALL: Final = 1_000
MIDDLE: Final = 10_000
LARGE: Final = 1_000_000
#: One in this many uplinks can approve.
RARE: Final = 100
PLATFORMS: Final = 100


@dataclass
class Setting:
    """
    Directory, databases, sizes and peers; files are built once and reused.

    *peers* maps the name of a peer to the Python that runs its script.
    """

    directory: Path
    servers: tuple[Databases, ...] = ()
    peers: Mapping[str, str] = field(default_factory=dict)
    is_quick: bool = False
    _built: dict[str, str] = field(default_factory=dict)

    @property
    def files(self) -> Databases:
        """SQLite files, each time in a new directory."""
        directory = self.directory / f"files-{time.monotonic_ns()}"
        directory.mkdir()
        return Databases(directory)

    @property
    def large(self) -> int:
        """The largest size: 1,000,000, or less in a quick run."""
        return MIDDLE if self.is_quick else LARGE

    def rounds(self, usual: int) -> int:
        """Return how many rounds to measure."""
        return max(3, usual // 3) if self.is_quick else usual

    def sessions(self, count: int) -> str:
        """Return the URL of a registry with *count* session UUIDs, ten a capsule."""
        return self._build(f"sessions-{count}", Population(count // 10))

    def uplinks(self, count: int) -> str:
        """
        Return the URL of a registry of *count* capsules with an uplink each, without a history.

        One uplink in a hundred can approve; they are spread over a hundred platforms.
        """
        first = manifest(0, uplinks=1, tools=0)
        population = Population(count, first, 0, has_history=False, changes=_of_uplinks)
        return self._build(f"uplinks-{count}", population)

    def routes(self, count: int) -> str:
        """Return the URL of *count* capsules, each called for a topic and a command of its own."""
        name = capsule_id(0)
        first = CapsuleManifest.parse(
            f'[package]\nname = "{name}"\nversion = "1.0.0"\n'
            f'[subscribe]\n"{name}.v1.ask" = {{ wit = "opaque", handler = "ask" }}\n'
            f'[[command]]\nname = "ask-{name}"\nkind = "cli"\n'
        )
        population = Population(count, first, 0, has_history=False)
        return self._build(f"routes-{count}", population)

    def _build(self, name: str, population: Population) -> str:
        file = self.directory / f"{name}.db"
        if name not in self._built:
            began = time.monotonic()
            self._built[name] = population.build(file)
            seconds = time.monotonic() - began
            if seconds > 1:
                print(f"  (built {name} in {seconds:.0f} s)", flush=True)
        read_through(file)
        return self._built[name]


def read_through(file: Path) -> None:
    """
    Bring the file into the page cache, so that the disk is not measured.

    By another process: closing the file in this one would drop SQLite's locks on it.
    """
    subprocess.run(["cat", str(file)], check=True, stdout=subprocess.DEVNULL)  # noqa: S603, S607 - our own file


def platform(number: int) -> str:
    """Return the platform of an uplink."""
    return f"platform-{number % PLATFORMS}"


def _of_uplinks(number: int) -> Changes:
    changed: dict[str, Any] = {"platform": platform(number)}
    changed["can_approve"] = number % RARE == 0
    return {"uplinks": changed}
