"""Running the command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner, Result

from capsule_registry.cli.main import capsule_registry
from support.factories import make_text

if TYPE_CHECKING:
    from pathlib import Path


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


def write_capsule(directory: Path, name: str, extra: str = "") -> Path:
    folder = directory / name
    folder.mkdir(parents=True)
    (folder / "Capsule.toml").write_text(make_text(name, extra))
    return folder
