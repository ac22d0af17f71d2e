"""Output: what reaches a terminal, a pipe and a full disk."""

from __future__ import annotations

import csv
import io
import os
import pty
import re
import subprocess
import sys
from shlex import quote
from typing import TYPE_CHECKING

import pytest

from capsule_registry import CapsuleManifest, CapsuleRegistry
from support.commands import EVIL, progress, run, run_json, write_capsule
from support.factories import CLI, TELEGRAM, make_manifest, make_text

if TYPE_CHECKING:
    from pathlib import Path

    from support.backends import SqliteBackend


def test_tables_and_csv_have_what_json_has(registry: CapsuleRegistry, url: str) -> None:
    """All three output formats of a listing name the same rows."""
    registry.register(make_manifest("alpha", uplink=[TELEGRAM, CLI]))
    for command in ("list", "uplinks", "tools", "uuids"):
        rows = run_json(url, command)
        parsed = [*csv.DictReader(io.StringIO(run(url, command, "--format", "csv").stdout))]
        table = run(url, command).stdout
        assert len(rows) == len(parsed)
        for row, cells in zip(rows, parsed, strict=True):
            assert all(str(row[name]) == cell for name, cell in cells.items())
            assert all(cell in table for cell in cells.values())


def test_output_that_the_terminal_cannot_show_is_escaped(
    registry: CapsuleRegistry, url: str
) -> None:
    """In a locale with few characters, the rest of the output is still printed."""
    tool = {"name": "日本", "description": "", "input_schema": {}}
    registry.register(make_manifest(tool=[tool]))
    for how in ("table", "csv"):
        result = subprocess.run(
            [sys.executable, "-m", "capsule_registry", "--database", url, "tools", "--format", how],
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (0, "") == (result.returncode, result.stderr)
        assert "alpha" in result.stdout


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_output_that_cannot_be_written_is_no_traceback(url: str, redirection: str) -> None:
    """A closed output is no error; a full disk is one line of error."""
    command = f"{sys.executable} -m capsule_registry --database {quote(url)} list {redirection}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)  # noqa: S607 - bash is wherever it is

    assert len(result.stderr.splitlines()) <= 1


def test_text_from_a_manifest_never_reaches_the_terminal_raw(
    registry: CapsuleRegistry, url: str, tmp_path: Path
) -> None:
    """All output escapes control characters and bidi marks, and JSON stays valid."""
    escaped = "\\u001b[2J\\u202e\\u0007evil"
    write_capsule(
        tmp_path / "x",
        "evil",
        f'description = "{escaped}"\n[[tool]]\nname = "{escaped}"\ndescription = "{escaped}"\n'
        f'input_schema = {{}}\n[[uplink]]\nname = "{escaped}"\nplatform = "{escaped}"\n'
        'profile = "chat"\n# \u202e\n',
    )
    failing = write_capsule(tmp_path / "y", "fail", f'repository = "{escaped}"\nlicense = 1\n')
    failing.rename(failing.with_name(f"fail{EVIL}"))
    commands: list[tuple[object, ...]] = [
        ("register", tmp_path / "x"),
        ("register", tmp_path / "y"),
        ("register", tmp_path / EVIL),
        ("list",),
        ("show", "evil"),
        ("show", EVIL),
        ("resolve", EVIL),
        ("unregister", EVIL),
        ("register-uuid", EVIL),
    ]
    for command in ("list", "tools", "uplinks", "uuids"):
        commands += [(command, "--format", how) for how in ("table", "csv", "json")]
    for arguments in commands:
        result = run(url, *arguments)
        printed = result.stdout + result.stderr
        assert all(character.isprintable() or character == "\n" for character in printed), arguments
    assert EVIL == run_json(url, "tools")[0]["name"]


def test_a_table_on_a_terminal_fits_its_width(registry: CapsuleRegistry, url: str) -> None:
    """On a 40-column terminal no line is longer, and nothing is cut off."""
    registry.register(CapsuleManifest.parse(make_text("a-capsule-with-a-rather-long-name")))
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "capsule_registry", "--database", url, "list"],
        stdout=child,
        env={**os.environ, "COLUMNS": "40", "TERM": "xterm"},
    )
    process.wait(timeout=30)
    os.close(child)
    output = re.sub(r"\x1b\[[0-9;]*m", "", os.read(parent, 100_000).decode())
    os.close(parent)

    assert 0 == process.returncode
    assert max(len(line) for line in output.splitlines()) <= 40


@pytest.mark.stress
@pytest.mark.parametrize("on_terminal", [True, False])
def test_progress_is_shown_on_a_terminal_alone(
    sqlite: SqliteBackend, tmp_path: Path, on_terminal: bool
) -> None:
    """A slow `register` draws a progress bar, but never into a file or a pipe."""
    for number in range(30):
        write_capsule(tmp_path, f"c{number}")
    drawn = progress(sqlite.new_url(), "register", tmp_path, on_terminal=on_terminal)

    assert on_terminal == (b"registering" in drawn)


def test_a_closed_pipe_is_no_traceback(registry: CapsuleRegistry, url: str) -> None:
    """When the reader goes away, the command ends quietly."""
    with registry.transaction() as transaction:
        for number in range(300):
            transaction.register(make_manifest(f"c{number}"))
    command = (
        f"{sys.executable} -m capsule_registry --database {quote(url)} list --format json | head -1"
    )
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)  # noqa: S607 - bash is wherever it is

    assert ("[\n", "") == (result.stdout, result.stderr)
