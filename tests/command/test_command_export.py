"""The commands `export` and `import`: files, pipes and errors."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from capsule_registry import CapsuleRegistry
from support.commands import invoke, progress, run
from support.exports import body, furnish, listing
from support.factories import make_manifest, make_text

if TYPE_CHECKING:
    from pathlib import Path

    from support.backends import SqliteBackend

pytestmark = pytest.mark.files_alone


COMMAND = f"{sys.executable} -m capsule_registry"


def shell(script: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run *script* in a shell, as a user would."""
    command = ["bash", "-o", "pipefail", "-c", script]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, check=False
    )


def into(name: str, *arguments: object) -> tuple[object, ...]:
    return ("--namespace", name, *arguments)


def test_a_file_carries_everything(registry: CapsuleRegistry, url: str, tmp_path: Path) -> None:
    """`import` registers all that `export` wrote, and prints only the count."""
    furnish(registry)
    file = tmp_path / "all.jsonl"
    exported = run(url, "export", file)
    imported = run(url, "--reason", "moved", *into("copy", "import", file))

    assert (0, "", "") == (exported.exit_code, exported.stdout, exported.stderr)
    assert [*registry.export_lines()] == file.read_text().split("\n")[:-1]
    assert (0, "", "imported 10\n") == (imported.exit_code, imported.stdout, imported.stderr)
    with CapsuleRegistry.open(url, namespace="copy") as copy:
        assert listing(registry) == listing(copy)
        assert copy.history.verify().ok


def test_the_reason_of_an_import_is_recorded(
    registry: CapsuleRegistry, url: str, tmp_path: Path
) -> None:
    """`import` records its reason like every other change."""
    furnish(registry)
    (tmp_path / "all.jsonl").write_text(run(url, "export").stdout)
    run(url, "--reason", "moved", "--actor", "me", *into("copy", "import", tmp_path / "all.jsonl"))
    with CapsuleRegistry.open(url, namespace="copy") as copy:
        [_, revision] = copy.history.list()
        assert ("me", "moved") == (revision.actor, revision.reason)


@pytest.mark.parametrize("environment", [{}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}])
def test_a_pipe_carries_everything(sqlite: SqliteBackend, environment: dict[str, str]) -> None:
    """Piping from one process to another works, also in a locale with few characters."""
    source, target = sqlite.new_url(), sqlite.new_url()
    with CapsuleRegistry.open(source) as registry, CapsuleRegistry.open(target) as found:
        furnish(registry)
        done = shell(
            f"{COMMAND} --database {source} export | {COMMAND} --database {target} import",
            **environment,
        )

        assert (0, b"", b"imported 10\n") == (done.returncode, done.stdout, done.stderr)
        assert body(registry) == body(found)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (b"", "line 1"),
        (b"{}\n", "line 1"),
        (b"\xff\xfe", ""),
        (b'{"format":1,"kind":"registry"}\n{"kind":"uuid","uuid":"\xff', ""),
        (b'{"format":1,"kind":"registry"}\n', "line 2"),
        (b'{"format":1,"kind":"registry"}\n\n{"count":0,"kind":"end"}\n', "line 2"),
        (b'{"format":1,"kind":"registry"}\n{"kind":"\x1b[2J"}\n', "line 2"),
    ],
)
def test_what_is_no_export_is_one_clear_line(
    registry: CapsuleRegistry, url: str, tmp_path: Path, given: bytes, message: str
) -> None:
    """Nothing is registered, only the error is printed, and no escape sequence gets through."""
    file = tmp_path / "lines"
    file.write_bytes(given)
    result = run(url, "import", file)

    assert (5, "", 1) == (result.exit_code, result.stdout, len(result.stderr.splitlines()))
    assert message in result.stderr
    assert result.stderr.rstrip("\n").isprintable()
    assert 1 == registry.history.revision


def test_importing_twice_is_a_conflict(registry: CapsuleRegistry, url: str, tmp_path: Path) -> None:
    """It exits with 4, names what is already registered, and changes nothing."""
    furnish(registry)
    file = tmp_path / "all.jsonl"
    run(url, "export", file)
    head = registry.history.revision
    result = run(url, "import", file)

    assert (4, "") == (result.exit_code, result.stdout)
    assert "Already registered: odd" in result.stderr
    assert head == registry.history.revision


def test_what_cannot_be_read_or_written_is_one_clear_line(url: str, tmp_path: Path) -> None:
    """A missing file, a directory, or a file in a missing directory."""
    for arguments in (
        ("import", tmp_path / "missing"),
        ("import", tmp_path),
        ("export", tmp_path),
        ("export", tmp_path / "missing" / "file"),
        ("sync", tmp_path / "missing"),
    ):
        result = run(url, *arguments)
        assert result.exit_code in (1, 2, 5), arguments
        assert ("", 1) == (result.stdout, len(result.stderr.splitlines())), arguments


def test_exporting_creates_nothing(url: str, tmp_path: Path) -> None:
    """An unknown namespace is not found, and an existing output file stays as it is."""
    file = tmp_path / "of-before"
    file.write_text("precious")

    assert 3 == run(url, *into("unknown", "export", file)).exit_code
    assert "precious" == file.read_text()
    empty = invoke("export")
    assert (0, 2) == (empty.exit_code, len(empty.stdout.splitlines()))
    assert [] == [*tmp_path.rglob("*.db")]


@pytest.mark.parametrize("end", ["| head -1 >/dev/null", ">/dev/full", ">&-"])
def test_output_that_cannot_be_written_is_no_traceback(sqlite: SqliteBackend, end: str) -> None:
    """A closed pipe or a full disk causes at most one line of error."""
    url = sqlite.new_url()
    with CapsuleRegistry.open(url) as registry:
        registry.register_many(make_manifest(f"c{number}") for number in range(400))
    done = shell(f"{COMMAND} --database {url} export {end}")

    assert len(done.stderr.splitlines()) <= 1
    assert b"Traceback" not in done.stderr


@pytest.mark.stress
@pytest.mark.parametrize("on_terminal", [True, False])
@pytest.mark.parametrize("command", ["export", "import"])
def test_progress_is_shown_on_a_terminal_alone(
    sqlite: SqliteBackend, tmp_path: Path, command: str, on_terminal: bool
) -> None:
    """A slow one shows its current line, but never into a file or a pipe."""
    url, file = sqlite.new_url(), tmp_path / "lines"
    with CapsuleRegistry.open(url) as registry:
        registry.register_many(make_manifest(f"c{number}") for number in range(30))
        file.write_text("".join(f"{line}\n" for line in registry.export_lines()))
        registry.drain()
    drawn = progress(url, command, file, on_terminal=on_terminal)

    assert on_terminal == (b"line 2" in drawn)


def test_a_text_of_other_alphabets_is_written_as_it_is(
    registry: CapsuleRegistry, url: str, tmp_path: Path
) -> None:
    """Line separators and marks inside a manifest do not end a line of the file."""
    text = make_text("a", "# 日本 \u2028 \u2029 \x85\r\n")
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "Capsule.toml").write_bytes(text.encode())
    run(url, "sync", folder)
    run(url, "export", tmp_path / "lines")

    assert 3 == (tmp_path / "lines").read_bytes().count(b"\n")
    assert 0 == run(url, *into("copy", "import", tmp_path / "lines")).exit_code
    with CapsuleRegistry.open(url, namespace="copy") as copy:
        assert [text] == [one.manifest_text for one in copy.values()]
