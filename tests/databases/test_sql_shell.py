"""`capsule-registry sql` without a query: the database's own shell, on the same connection."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from capsule_registry import InvalidDatabaseError, PermissionDeniedError, RegistryAdmin
from support.factories import make_manifest
from support.tls_servers import TLS_SERVERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capsule_registry import CapsuleRegistry
    from support.backends import Backend, ServerBackend
    from support.tls_servers import TlsServer

CLIENTS = {"sqlite": "sqlite3", "postgresql": "psql", "mariadb": "mariadb"}
#: Everything that has a meaning in a URL, a service file, an option file or a shell.
PASSWORD = "canary p'w\\n#;%/@?=[x] "  # noqa: S105 - it is looked for
USER, DATABASE = "o'dd u", "d+b %x"
#: Options that lift the fence, by name.
LIFTING: dict[str, dict[str, str]] = {
    "postgresql": {"options": "-cdefault_transaction_read_only=off"},
    "mariadb": {"init_command": "SET SESSION TRANSACTION READ WRITE;"},
    "sqlite": {},
}
#: The user's own start-up file of each shell, with what would lift the fence.
STARTING = {
    "postgresql": (".psqlrc", "SET default_transaction_read_only = off;"),
    "mariadb": (".my.cnf", "[client]\ninit-command='SET @x = 1'\n[mysql]\ninit-command=SET @x=1\n"),
    "sqlite": (".sqliterc", ".open {file}\n"),
}
DELETE = "DELETE FROM capsules;\n"


@pytest.fixture(autouse=True)
def _installed(backend: Backend) -> None:
    if shutil.which(CLIENTS[backend.name]) is None:
        pytest.skip(f"{CLIENTS[backend.name]} is not installed")


def typed(url: str, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Return what `capsule-registry sql` printed, with *script* typed into the shell."""
    return subprocess.run(
        [sys.executable, "-m", "capsule_registry", "sql"],
        input=script,
        capture_output=True,
        text=True,
        env={**os.environ, "CAPSULE_REGISTRY_DATABASE": url, **environment},
        check=False,
        timeout=60,
    )


def given(url: str, **options: str) -> str:
    """Return *url* with *options*."""
    return sa.make_url(url).update_query_dict(options).render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def own(backend: Backend) -> Iterator[TlsServer]:
    """A server of the tests' own, that asks for a password through TLS."""
    if backend.name not in TLS_SERVERS:
        pytest.skip("it needs a server")
    try:
        server = TLS_SERVERS[backend.name]()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    try:
        server.start()
        server.create(USER, PASSWORD, DATABASE)
        yield server
    finally:
        server.remove()


@pytest.mark.stress
@pytest.mark.parametrize("way", ["network", "socket"])
def test_everything_of_the_url_arrives_at_the_shell(
    own: TlsServer, backend: Backend, way: str
) -> None:
    """User, password, host or socket, database, TLS and options are those of the URL."""
    url = own.root.set(username=USER, password=PASSWORD, database=DATABASE)
    if way == "network":
        url = url.set(host="127.0.0.1", port=own.port, query=own.options)
    else:
        url = url.set(host=None, port=None, query=own.by_socket)
    done = typed(url.render_as_string(hide_password=False), own.sees)

    assert (0, "") == (done.returncode, done.stderr)
    tls = "true" if way == "network" else "false"
    expected = [f"as {USER}", f"on {DATABASE}", f"tls {tls}"]
    if way == "network":
        expected += [f"by {own.port}", "54321ms" if backend.name == "postgresql" else "54.321"]
    assert [] == [text for text in expected if text not in done.stdout], done.stdout


@pytest.mark.stress
def test_a_password_in_the_query_string_and_tls_reach_no_process_list(
    own: TlsServer, backend: Backend
) -> None:
    """Arguments name a file at most, which only its owner may read, and which is removed."""
    secret = {"user": USER, "password": PASSWORD, **own.options}
    place: dict[str, Any] = {"host": "127.0.0.1", "port": own.port, "database": DATABASE}
    whole = sa.URL.create(own.root.drivername, **place, query=secret)
    url = whole.render_as_string(hide_password=False)
    with RegistryAdmin.open(url, read_only=True) as admin, admin.shell() as shell:
        words = " ".join(shell.arguments)
        assert [] == [text for text in (PASSWORD, USER, DATABASE, "ssl") if text in words]
        [directory] = Path(
            shell.environment.get("PGSERVICEFILE") or words.partition("=")[2]
        ).parents[:1]
        modes = [file.stat().st_mode & 0o777 for file in (directory, *directory.iterdir())]
        assert [0o700, 0o600] == modes
        [file] = directory.iterdir()
        wanted = {"postgresql": "sslmode=verify-full\n", "mariadb": 'ssl-verify-server-cert="1"\n'}
        assert wanted[backend.name] in file.read_text()

    assert not directory.exists()


def test_the_fence_comes_after_the_options_of_the_url(
    registry: CapsuleRegistry, backend: Backend, url: str, tmp_path: Path
) -> None:
    """Neither options nor the user's own start-up file make the shell write."""
    registry.register(make_manifest())
    name, text = STARTING[backend.name]
    (tmp_path / name).write_text(text.format(file=sa.make_url(url).database))
    lifted = given(url, **LIFTING[backend.name])
    done = typed(lifted, DELETE, HOME=str(tmp_path))

    assert "read" in done.stderr.lower().replace("-", "")
    assert ["alpha"] == registry.list()


def test_a_person_can_lift_the_fence_of_a_server(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """The control, as documented: on a server it is a setting; SQLite has no such way."""
    registry.register(make_manifest())
    lifting = {
        "postgresql": "SET default_transaction_read_only = off;",
        "mariadb": "SET SESSION TRANSACTION READ WRITE;",
        "sqlite": f".open {sa.make_url(url).database}",
    }
    typed(url, f"{lifting[backend.name]}\n{DELETE}")

    assert ([] if backend.is_server else ["alpha"]) == registry.list()


def test_sqlite_opens_and_attaches_no_other_file(
    registry: CapsuleRegistry, backend: Backend, url: str, tmp_path: Path
) -> None:
    """Its shell is in safe mode."""
    if backend.is_server:
        pytest.skip("it is SQLite's")
    registry.register(make_manifest())
    other = tmp_path / "other"
    for line in (
        f".open {sa.make_url(url).database}",
        f".open --new {other}",
        f"ATTACH '{other}' AS other;",
        f"VACUUM INTO '{other}';",
        f".shell touch {other}",
        f".output {other}",
        f".backup {other}",
        f"SELECT writefile('{other}', 'x');",
        "PRAGMA query_only = 0;",
    ):
        typed(url, f"{line}\n{DELETE}")
        assert not other.exists(), line
    assert ["alpha"] == registry.list()


def test_an_option_that_the_shell_does_not_have_is_refused(server: ServerBackend, url: str) -> None:
    """The error names the option and not its value; nothing is dropped."""
    odd = {
        "postgresql": {"application_name": "canary\nx"},
        "mariadb": {"collation": "utf8mb4_bin"},
    }
    [(name, value)] = odd[server.name].items()
    with (
        RegistryAdmin.open(given(url, **odd[server.name]), read_only=True) as admin,
        pytest.raises(InvalidDatabaseError, match=name) as caught,
        admin.shell(),
    ):
        pass
    assert value not in str(caught.value)


def fake(directory: Path, name: str, script: str) -> str:
    """Make a program in *directory*, and return a PATH that begins with it."""
    directory.mkdir()
    program = directory / CLIENTS[name]
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"


#: Answers as the shell of any database does that only reads.
READS_ONLY = 'case "$*" in *.databases) echo r/o;; *SHOW*) echo on; ;; *SELECT*) echo 1;;'


@pytest.mark.parametrize("answer", ["echo off 0 r/w", "exit 1", "exit 0"])
def test_a_shell_that_does_not_say_that_it_only_reads_is_not_opened(
    backend: Backend, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """The fence is read back through the program itself."""
    monkeypatch.setenv("PATH", fake(tmp_path / "bin", backend.name, answer))
    with (
        RegistryAdmin.open(url, read_only=True) as admin,
        pytest.raises(PermissionDeniedError, match="did not open read-only"),
        admin.shell(),
    ):
        pass


def test_a_shell_that_is_not_installed_is_named(backend: Backend, url: str) -> None:
    """The error says what to do instead."""
    done = typed(url, "", PATH="/nowhere")

    name = CLIENTS[backend.name]
    assert 1 == done.returncode
    assert f"{name} is not installed: give a QUERY instead" in done.stderr


def test_signals_and_exit_codes_are_the_shells(backend: Backend, url: str, tmp_path: Path) -> None:
    """An interrupt is for the shell alone, and its exit code is the command's."""
    script = f"{READS_ONLY} *) trap 'exit 5' INT; echo $$ >{tmp_path}/on; sleep 60 & wait;; esac"
    path = fake(tmp_path / "bin", backend.name, script)
    process, files = started(url, path, tmp_path)
    os.killpg(process.pid, signal.SIGINT)

    assert 5 == process.wait(timeout=30)
    assert [] == [*files.iterdir()]


def test_a_command_that_is_ended_leaves_no_file_and_no_shell(
    backend: Backend, url: str, tmp_path: Path
) -> None:
    """SIGTERM ends the shell, and what was written for it is removed."""
    script = f"{READS_ONLY} *) echo $$ >{tmp_path}/on; exec sleep 60;; esac"
    path = fake(tmp_path / "bin", backend.name, script)
    process, files = started(url, path, tmp_path)
    process.terminate()

    assert 128 + signal.SIGTERM == process.wait(timeout=30)
    assert [] == [*files.iterdir()]
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "on").read_text()), 0)


@pytest.mark.parametrize("_again", range(5))
def test_a_command_that_is_ended_while_its_shell_starts_leaves_no_shell(
    backend: Backend, url: str, tmp_path: Path, _again: int
) -> None:
    """A signal that comes before the command knows its shell ends both."""
    script = f"{READS_ONLY} *) echo $$ >{tmp_path}/on; kill $PPID; exec sleep 60;; esac"
    path = fake(tmp_path / "bin", backend.name, script)
    process, files = started(url, path, tmp_path)

    assert 128 + signal.SIGTERM == process.wait(timeout=30)
    assert [] == [*files.iterdir()]
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "on").read_text()), 0)


def started(url: str, path: str, directory: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """Return the command once its shell runs, in a process group, and where its files are."""
    files = directory / "temporary"
    files.mkdir()
    own = {"CAPSULE_REGISTRY_DATABASE": url, "PATH": path, "TMPDIR": str(files)}
    process = subprocess.Popen(
        [sys.executable, "-m", "capsule_registry", "sql"],
        env={**os.environ, **own},
        start_new_session=True,
    )
    deadline = time.monotonic() + 30
    while not ((file := directory / "on").exists() and file.read_text()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process, files
