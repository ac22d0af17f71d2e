"""Running the command."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner, Result

from capsule_registry.cli.main import capsule_registry
from support.factories import make_text

if TYPE_CHECKING:
    from pathlib import Path


#: Runs the command so that it shows progress at once.
IMPATIENT = """
import sys
from capsule_registry.cli import output, registering
from capsule_registry.cli.main import main
output.PATIENCE_SECONDS = registering.PATIENCE_SECONDS = 0.0
sys.argv = ["capsule-registry", *sys.argv[1:]]
main()
"""
EVIL = "\x1b[2J\u202e\u0007evil"


def invoke(*arguments: object) -> Result:
    result = CliRunner().invoke(capsule_registry, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def run(url: str, *arguments: object) -> Result:
    return invoke("--database", url, *arguments)


def run_json(url: str, *arguments: object) -> Any:
    result = run(url, *arguments, "--format", "json")
    assert 0 == result.exit_code, result.stderr
    return json.loads(result.stdout)


def progress(url: str, *arguments: object, on_terminal: bool) -> bytes:
    """Return what the command writes to standard error, a terminal or a pipe, if it shows all."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", IMPATIENT, "--database", url, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=child if on_terminal else subprocess.PIPE,
        env={**os.environ, "TERM": "xterm"},
    )
    _, piped = process.communicate(timeout=60)
    os.close(child)
    drawn = os.read(parent, 100_000) if on_terminal else piped
    os.close(parent)
    assert 0 == process.returncode
    return drawn


def write_capsule(directory: Path, name: str, extra: str = "") -> Path:
    folder = directory / name
    folder.mkdir(parents=True)
    (folder / "Capsule.toml").write_text(make_text(name, extra))
    return folder
