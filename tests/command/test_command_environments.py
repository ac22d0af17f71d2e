"""The command where something that programs rely on is missing: one clear line, no traceback."""

from __future__ import annotations

import compileall
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click import Context

import capsule_registry as library
from capsule_registry import CapsuleRegistry
from capsule_registry.cli.main import capsule_registry
from support.commands import write_capsule
from support.factories import make_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.backends import Backend, SqliteBackend

CHECKOUT = Path(__file__).parents[2]
FORKED = CHECKOUT / "tests" / "support" / "forked_commands.py"
UUID = "00000000-0000-4000-8000-000000000001"
#: The exit codes that `docs/command.md` has.
DOCUMENTED = range(12)
#: Runs the command as its console script does, after what `PREPARED` has.
SCRIPT = """
import sys
{prepared}
from capsule_registry.cli.main import main
main()
"""
NOBODY = """
import os, pwd
def nobody(*_): raise KeyError("no such user")
pwd.getpwuid = pwd.getpwnam = nobody
for name in ("HOME", "XDG_DATA_HOME", "USER", "LOGNAME", "LNAME", "USERNAME"):
    os.environ.pop(name, None)
"""
#: The package is imported from the first entry of PYTHONPATH, not from the checkout.
ELSEWHERE = f"""
sys.path[:] = [path for path in sys.path if path != {str(CHECKOUT / "src")!r}]
"""
#: Forks a child for each of several commands.
FORKING = """
import runpy, sys
{prepared}
runpy.run_path({script!r}, run_name="__main__")
"""
#: What is missing, as a shell does it, or before the package is imported.
SHELLS = {
    "no standard input": 'exec "$@" <&-',
    "no standard output": 'exec "$@" >&-',
    "no standard error": 'exec "$@" 2>&-',
    "no standard streams": 'exec "$@" <&- >&- 2>&-',
    "a full output": 'exec "$@" >/dev/full',
    "nothing but full outputs": 'exec "$@" >/dev/full 2>/dev/full',
    "a full disk": 'ulimit -f 0; exec "$@"',
    "no descriptors": 'ulimit -n 7; exec "$@"',
    "no directory": 'mkdir gone; cd gone; rmdir ../gone; exec "$@"',
}
PREPARED = {"no home": NOBODY, "an archive": ELSEWHERE, "no sources": ELSEWHERE}
ENVIRONMENTS = (*SHELLS, *PREPARED)
#: Where nothing can be said.
SILENT = (
    *("no standard output", "no standard error", "no standard streams"),
    "nothing but full outputs",
)
#: More arguments of commands which would not end, or want to be told twice.
MORE = {
    "audit prune": ("--yes",),
    "drain": ("--yes",),
    "leases open": ("--ttl", "60"),
    "serve": ("--allow-writes",),  # Which is refused, since nobody would be let in.
    "token create": ("--role", "reader", "--namespace", "*", "--tokens", "tokens"),
    "token list": ("--tokens", "tokens"),
    "token revoke": ("--tokens", "tokens"),
    "wait-ready": ("--timeout", "0"),
    "watch": ("--timeout", "0.1"),
}


def commands(
    command: click.Command = capsule_registry, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that there is, with its name."""
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    with Context(command) as context:
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, (*path, name))


def arguments(name: str, command: click.Command, directory: Path) -> list[str]:
    """Return the words that call *command*."""
    capsule = str(directory / "capsule")
    values = {
        "before": "1",
        "capability": "kv",
        "capsule_id": "alpha",
        "capsule_ids": "alpha",
        "directory": str(directory),
        "file": "-" if name in ("export", "import") else str(directory / "copy.db"),
        "later": "1",
        "lease_id": UUID,
        "name": "other",
        "path": capsule,
        "paths": capsule,
        "query": "SELECT 1",
        "state": "ready",
        "topic": "a.b",
        "uuid": UUID,
        "value": "key",
        "verb": "x",
        "hash_": "blake3:1",
        "version": "0.7.0",
    }
    words = [values[str(one.name)] for one in command.params if isinstance(one, click.Argument)]
    return [*name.split(), *words, *MORE.get(name, ())]


def installed(environment: str, directory: Path) -> Path | None:
    """Install the package as an archive or without its sources, and return the path to import."""
    if environment not in ("an archive", "no sources"):
        return None
    packages = directory / "packages"
    package = packages / "capsule_registry"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(library.__file__).parent, package, ignore=ignored)
    shutil.copytree(CHECKOUT / "migrations", package / "migrations", ignore=ignored)
    if environment == "an archive":
        return Path(shutil.make_archive(str(directory / "archive"), "zip", packages))
    compileall.compile_dir(packages, quiet=1, legacy=True)
    for source in packages.rglob("*.py"):
        source.unlink()
    return packages


def variables(path: Path | None) -> dict[str, str]:
    """Return the environment variables with which the package is imported from *path*."""
    return {**os.environ, "PYTHONPATH": str(path or CHECKOUT / "src")}


def call(
    environment: str, words: Sequence[str], directory: Path, path: Path | None
) -> subprocess.CompletedProcess[str]:
    """Run the command in that *environment*, in an interpreter of its own."""
    script = SCRIPT.format(prepared=PREPARED.get(environment, ""))
    shell = SHELLS.get(environment, 'exec "$@"')
    directory.mkdir()
    return subprocess.run(
        ["sh", "-c", shell, "sh", sys.executable, "-c", script, *words],  # noqa: S607 - any shell
        cwd=directory,
        env=variables(path),
        capture_output=True,
        stdin=None if environment == "no standard input" else subprocess.DEVNULL,
        text=True,
        check=False,
        timeout=60,
    )


def call_each(
    environment: str, calls: Sequence[list[str]], directory: Path, path: Path | None
) -> list[subprocess.CompletedProcess[str]]:
    """Run the commands in that *environment*, each in a fork of one interpreter."""
    script = FORKING.format(prepared=PREPARED.get(environment, ""), script=str(FORKED))
    places = [directory / str(number) for number in range(len(calls))]
    for place in places:
        place.mkdir()
    words = json.dumps([(str(place), words) for place, words in zip(places, calls, strict=True)])
    done = subprocess.run(
        [sys.executable, "-c", script, environment, words],
        env=variables(path),
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
        timeout=300,
    )
    assert 0 == done.returncode, done.stderr
    return [subprocess.CompletedProcess([], *ended) for ended in json.loads(done.stdout)]


@pytest.mark.stress
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_command_anywhere(environment: str, sqlite: SqliteBackend, tmp_path: Path) -> None:
    """No command shows a traceback, or exits with a code that is not documented."""
    url = sqlite.new_url()
    with CapsuleRegistry.open(url) as registry:
        registry.register(make_manifest(), uuids=[UUID])
    write_capsule(tmp_path, "capsule")
    path = installed(environment, tmp_path)
    calls = [arguments(name, command, tmp_path) for name, command in commands()]
    calls = [["--database", url, *words] for words in calls]
    # The user's own database is made, or it is said why not.
    calls += [["list"], ["register-uuid", "alpha"]]
    # What happens while the package is imported there, one of a new interpreter's own shows.
    results = [call(environment, ["--database", url, "list"], tmp_path / "new", path)]
    results += call_each(environment, calls, tmp_path, path)
    for words, result in zip([["list"], *calls], results, strict=True):
        assert "Traceback" not in result.stderr, (words, result.stderr)
        assert result.returncode in DOCUMENTED, (words, result)
        if result.returncode and environment not in SILENT:
            assert result.stderr or result.stdout, words


def test_import_without_standard_input_is_refused(url: str, tmp_path: Path) -> None:
    """It reads as empty, which is no export."""
    result = call("no standard input", ["--database", url, "import"], tmp_path / "a", None)

    assert (5, 1) == (result.returncode, len(result.stderr.splitlines()))


def test_without_a_home_the_default_database_is_refused(tmp_path: Path) -> None:
    """Nothing is created in a directory that happens to be called `~`."""
    result = call("no home", ["register-uuid", "alpha"], tmp_path / "a", None)

    assert (5, 1) == (result.returncode, len(result.stderr.splitlines()))
    assert "HOME" in result.stderr
    assert [] == [*(tmp_path / "a").iterdir()]


def test_a_database_that_is_named_needs_no_home(backend: Backend, url: str, tmp_path: Path) -> None:
    """A user that the system does not know can use any database, and is recorded by number."""
    result = call("no home", ["--database", url, "register-uuid", "alpha"], tmp_path / "a", None)

    assert 0 == result.returncode, result.stderr
    [(actor,)] = backend.rows(url, "SELECT actor FROM revisions WHERE revision = 2")
    assert actor.startswith(f"uid {os.getuid()}@")


def test_what_was_done_is_not_worth_another_try(
    registry: CapsuleRegistry, url: str, tmp_path: Path
) -> None:
    """If only the output fails, the change stands, and neither code nor message call for more."""
    words = ["--database", url, "register-uuid", "alpha"]
    result = call("a full output", words, tmp_path / "a", None)

    assert 11 == result.returncode
    assert "what was changed until then stays changed" in result.stderr
    assert ["alpha"] == [found.capsule_id for found in registry.uuids()]


def test_without_sources_a_schema_is_made(tmp_path: Path) -> None:
    """Migrations run from compiled files; from an archive they do not, which is said."""
    for environment, expected in (("no sources", 0), ("an archive", 6)):
        directory = tmp_path / environment
        directory.mkdir()
        path = installed(environment, directory)
        words = ["--database", f"sqlite:///{directory}/new.db", "register-uuid", "alpha"]
        result = call(environment, words, directory / "cwd", path)

        assert expected == result.returncode, result.stderr
        assert bool(expected) == ("install capsule-registry unpacked" in result.stderr)
