"""The run time of a whole command, start-up included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from capsule_registry import CapsuleRegistry
from support.capsules import manifest
from support.comparison import in_turn, timed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.comparison import Finding, Round
    from support.setting import Setting

_PYTHON: Final = (sys.executable, "-c")


def findings(setting: Setting) -> Iterator[Finding]:
    """Yield the rows of start-up."""
    command = str(Path(sys.executable).with_name("capsule-registry"))
    url, compiled = setting.files.new(), setting.directory / "compiled"
    with CapsuleRegistry.open(url) as registry:
        registry.register_many(manifest(number) for number in range(10))
    rounds = setting.rounds(11)
    pairs = in_turn(
        _running([command, "--database", url, "list"], compiled),
        _running([*_PYTHON, "import sqlalchemy, pydantic"], compiled),
        rounds,
    )
    yield pairs.times_as_long(
        "capsule-registry list, 10 capsules / import sqlalchemy, pydantic", 1.6
    )
    pairs = in_turn(
        _running([command, "--help"], compiled), _running([*_PYTHON, "pass"], compiled), rounds
    )
    yield pairs.times_as_long("capsule-registry --help / python -c pass", 6)


def _running(command: Sequence[str], compiled: Path) -> Round:
    """Return a round that runs *command*, all of it compiled, as where it is installed."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(compiled)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def run(given: Sequence[Sequence[str]]) -> None:
        for one in given:
            subprocess.run(  # noqa: S603 - written above
                one, check=True, capture_output=True, env=environment
            )

    return lambda: timed(run, [command])
