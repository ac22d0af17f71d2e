"""The command: results on standard output, errors on standard error, exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from click import Context

from capsule_registry import CapsuleManifest, CapsuleRegistry
from capsule_registry.cli.main import SUMMARIES, capsule_registry
from capsule_registry.schema.version import SCHEMA_VERSION
from support.commands import EVIL, invoke, run, run_json, write_capsule
from support.factories import CLI, TELEGRAM, make_manifest, make_text

if TYPE_CHECKING:
    from support.backends import Backend, SqliteBackend

CHECKOUT = Path(__file__).parents[2]


def test_the_main_job(url: str) -> None:
    """The example capsules can be registered, listed, shown and resolved."""
    result = run(url, "register", CHECKOUT / "examples")
    assert (0, "") == (result.exit_code, result.stderr)
    assert ["digest", "notes", "telegram-bridge"] == [
        line.split()[1] for line in result.stdout.splitlines()
    ]

    assert [
        {"id": "digest", "version": "0.1.0", "state": "ready", "generation": 2},
        {"id": "notes", "version": "1.0.0", "state": "ready", "generation": 3},
        {"id": "telegram-bridge", "version": "0.3.1", "state": "ready", "generation": 4},
    ] == [
        {name: row[name] for name in ("id", "version", "state", "generation")}
        for row in run_json(url, "list")
    ]
    shown = run_json(url, "show", "notes")
    file = CHECKOUT / "examples" / "notes" / "Capsule.toml"
    assert file.read_text() == shown["manifest_text"]
    assert "home://notes" == shown["manifest"]["capabilities"]["fs_read"][0]
    assert str(file.parent) == shown["source_dir"]
    assert ["telegram", "cli"] == [row["platform"] for row in run_json(url, "uplinks")]
    assert ["write_note", "find_notes"] == [row["name"] for row in run_json(url, "tools")]
    assert ["notes"] == [row["capsule_id"] for row in run_json(url, "tools", "find_notes")]


def test_a_uuid_is_filed_listed_and_resolved(url: str) -> None:
    """`register-uuid` prints the UUID, given or generated, and `resolve` finds its capsule."""
    given = str(uuid4())
    assert given == run(url, "register-uuid", "alpha", given).stdout.strip()
    made = run(url, "register-uuid", "beta").stdout.strip()

    assert ["alpha\n", "beta\n"] == [run(url, "resolve", uuid).stdout for uuid in (given, made)]
    assert [(given, "alpha"), (made, "beta")] == [
        (row["uuid"], row["capsule_id"]) for row in run_json(url, "uuids")
    ]


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


def test_unregister_and_drain(registry: CapsuleRegistry, url: str) -> None:
    """Each id is unregistered in a unit of its own; `drain` must be confirmed."""
    for name in ("a", "b", "c", "d"):
        registry.register(make_manifest(name))

    result = run(url, "unregister", "a", "ghost", "b")
    assert (1, "unregistered a\nunregistered b\n") == (result.exit_code, result.stdout)
    assert "capsule-registry: Not found: capsule ghost\n" == result.stderr
    assert 2 == run(url, "drain").exit_code
    assert ["c", "d"] == registry.list()
    assert "unregistered c\nunregistered d\n" == run(url, "drain", "--yes").stdout
    assert registry.is_empty()


def test_one_bad_manifest_stops_no_other(url: str, tmp_path: Path) -> None:
    """The good ones are registered; each bad one gets a line with path and rule; exit code 1."""
    write_capsule(tmp_path, "good")
    write_capsule(tmp_path, "syntax", "x = [")
    write_capsule(tmp_path, "wrong", "license = 1")
    write_capsule(tmp_path, "Upper")
    write_capsule(tmp_path, "-c", '[[uplink]]\nname = "u"\nplatform = "p"\nprofile = "chat"\n')
    (write_capsule(tmp_path, "bytes") / "Capsule.toml").write_bytes(b"\xff\xfe")
    (write_capsule(tmp_path, "trap") / "Capsule.toml").write_text("x = " + "[" * 10_000)
    (write_capsule(tmp_path, "large") / "Capsule.toml").write_text("#" * 300_000)
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "Capsule.toml").write_text(make_text("twice"))

    result = run(url, "register", tmp_path)

    assert (1, "registered good 0.1.0\nregistered twice 0.1.0\n") == (
        result.exit_code,
        result.stdout,
    )
    lines = result.stderr.splitlines()
    assert [
        "-c",
        "Upper",
        "bytes",
        "large",
        "syntax",
        "trap",
        "two",
        "wrong",
    ] == [Path(line.split(": ")[0].removeprefix("failed ")).parent.name for line in lines]
    for rule in ("not_utf8", "too_large", "toml_syntax", "wrong_type"):
        assert any(line.endswith(f"[{rule}]") for line in lines), rule
    assert any("Already registered: twice" in line for line in lines)
    assert any("Failed to create source: invalid capsule id" in line for line in lines)
    assert ["good", "twice"] == [row["id"] for row in run_json(url, "list")]


def test_register_says_in_json_what_became_of_each(url: str, tmp_path: Path) -> None:
    """Prints an array of path, id, version and error, with the same exit code."""
    good, empty = write_capsule(tmp_path, "good"), tmp_path / "empty"
    empty.mkdir()
    result = run(url, "register", good, empty, tmp_path / "missing", "--format", "json")

    assert 1 == result.exit_code
    assert [("good", "0.1.0", None), (None, None, "there is no Capsule.toml here")] == [
        (row["id"], row["version"], row["error"]) for row in json.loads(result.stdout)
    ][:2]
    assert "No such file" in json.loads(result.stdout)[2]["error"]


def test_a_directory_whose_name_is_no_text_stops_no_other(url: str, tmp_path: Path) -> None:
    """It is reported as failed, and the capsules beside it are registered."""
    for name in (b"a", b"k\xff", b"z"):
        folder = os.fsencode(tmp_path) + b"/" + name
        os.mkdir(folder)  # noqa: PTH102 - a path of bytes
        Path(os.fsdecode(folder), "Capsule.toml").write_text(make_text(f"of-{len(name)}{name[0]}"))
    result = run(url, "register", tmp_path)

    assert 1 == result.exit_code
    assert ["of-197", "of-1122"] == [row["id"] for row in run_json(url, "list")]
    assert "not_utf8" in result.stderr


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


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["show", "ghost"], 3, "Not found: capsule ghost"),
        (["unregister", "ghost"], 3, "Not found: capsule ghost"),
        (["resolve", str(uuid4())], 3, "Not found: UUID"),
        (["show", "Ghost"], 5, "lowercase alphanumeric"),
        (["resolve", "nonsense"], 5, "Invalid UUID"),
        (["register-uuid", "a", "nonsense"], 5, "Invalid UUID"),
        (["register-uuid", "A"], 5, "lowercase alphanumeric"),
        (["uplinks", "--capsule", "A"], 5, "lowercase alphanumeric"),
        (["uplinks", "--profile", "human"], 2, "human"),
        (["nonsense"], 2, "No such command"),
        (["drain"], 2, "--yes"),
        (["register-uuid", "a", ""], 5, "Invalid UUID"),
        (["tools", "\udcff"], 5, "not_utf8"),
        (["uplinks", "--platform", "\udcff"], 5, "not_utf8"),
        (["--actor", "\udcff", "register-uuid", "a"], 5, "not_utf8"),
    ],
)
def test_bad_input_is_one_clear_line(
    url: str, arguments: list[str], code: int, message: str
) -> None:
    """The exit code is as documented, standard output is empty, and the line names the problem."""
    result = run(url, *arguments)

    assert (code, "") == (result.exit_code, result.stdout)
    assert message in result.stderr
    assert 1 == len(result.stderr.splitlines())


def test_bad_databases_are_one_clear_line(tmp_path: Path, sqlite: SqliteBackend) -> None:
    """A wrong or missing URL, another kind of file, or a schema from the future."""
    backend = sqlite
    url = sqlite.new_url()
    text = tmp_path / "notes.txt"
    text.write_text("dear diary " * 1000)
    change = "UPDATE schema_versions SET version = 'v9999', oldest_compatible = 'v9998'"
    backend.rows(url, f"{change} WHERE version = ?", [SCHEMA_VERSION])
    for database, code, message in (
        ("nonsense", 5, "sqlite:///FILE"),
        ("oracle://scott:canary@host/x", 5, "sqlite:///FILE"),
        (f"sqlite:///{tmp_path}/missing.db", 7, "does not exist"),
        (f"sqlite:///{tmp_path}/missing/r.db", 7, "does not exist"),
        (f"sqlite:///{text}", 5, "not a database"),
        (f"sqlite:///{tmp_path}", 5, "is no file"),
        (url, 6, "install a newer"),
    ):
        result = run(database, "list")
        assert (code, "", 1) == (
            result.exit_code,
            result.stdout,
            len(result.stderr.splitlines()),
        ), database
        assert message in result.stderr
        assert "canary" not in result.stderr


def test_reading_creates_nothing(tmp_path: Path, sqlite: SqliteBackend) -> None:
    """A missing default database reads as empty; an unknown namespace is not found."""
    url = sqlite.new_url()
    for command in ("list", "uplinks", "tools", "uuids"):
        assert [] == json.loads(invoke(command, "--format", "json").stdout)
    assert 3 == invoke("show", "alpha").exit_code
    assert [] == [*tmp_path.rglob("*.db")]
    before = Path(url.removeprefix("sqlite:///")).read_bytes()
    result = run(url, "--namespace", "other", "list")

    assert (3, "capsule-registry: Not found: namespace other\n") == (
        result.exit_code,
        result.stderr,
    )
    assert before == Path(url.removeprefix("sqlite:///")).read_bytes()


def test_options_come_from_the_environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Database, namespace and actor are read from variables; an empty one counts as unset."""
    monkeypatch.setenv("CAPSULE_REGISTRY_DATABASE", url)
    monkeypatch.setenv("CAPSULE_REGISTRY_NAMESPACE", "env")
    monkeypatch.setenv("CAPSULE_REGISTRY_ACTOR", "the environment")
    uuid = invoke("register-uuid", "alpha").stdout.strip()
    with CapsuleRegistry.open(url, namespace="env") as registry:
        assert "alpha" == registry.find_by_uuid(uuid)

    for name in ("DATABASE", "NAMESPACE", "ACTOR"):
        monkeypatch.setenv(f"CAPSULE_REGISTRY_{name}", "")
    assert (0, "[]\n") == (
        invoke("list", "--format", "json").exit_code,
        invoke("list", "--format", "json").stdout,
    )


def test_the_actor_is_recorded(url: str, backend: Backend) -> None:
    """`--actor` is recorded; the default names user, host and process."""
    run(url, "--actor", "auditor", "register-uuid", "alpha")
    run(url, "register-uuid", "beta")
    [(named,), (made,)] = backend.rows(url, "SELECT actor FROM revisions WHERE revision > 1")

    assert "auditor" == named
    assert f"pid {os.getpid()}" in made


def test_an_operator_upgrades_looks_and_copies(sqlite: SqliteBackend, tmp_path: Path) -> None:
    """`db upgrade`, `db status`, `db backup` and `doctor` on a fresh database."""
    backend = sqlite
    url = backend.empty_url()
    assert (7, 0) == (run(url, "db", "status").exit_code, run(url, "db", "upgrade").exit_code)
    assert [{"found": SCHEMA_VERSION, "library": SCHEMA_VERSION, "is_usable": True}] == run_json(
        url, "db", "status"
    )
    copy = tmp_path / "copy.db"
    assert 0 == run(url, "db", "backup", copy).exit_code
    assert (4, 1) == (
        (again := run(url, "db", "backup", copy)).exit_code,
        len(again.stderr.splitlines()),
    )
    assert 0 == run(f"sqlite:///{copy}", "doctor").exit_code

    findings = {row["name"]: row for row in run_json(url, "doctor")}
    assert ("1", "2", "wal", "ok", SCHEMA_VERSION, "0600") == tuple(
        findings[name]["value"]
        for name in (
            "foreign_keys",
            "synchronous",
            "journal_mode",
            "integrity",
            "schema version",
            "file mode",
        )
    )
    Path(url.removeprefix("sqlite:///")).chmod(0o644)
    assert 1 == run(url, "doctor").exit_code


def test_namespaces_are_listed_created_and_dropped(backend: Backend, url: str) -> None:
    """`drop` refuses while capsules are registered, prints the last anchor, and leaves nothing."""
    assert 0 == run(url, "namespaces", "create", "other").exit_code
    assert 0 == run(url, "namespaces", "create", "other").exit_code
    assert 5 == run(url, "namespaces", "create", "Other!").exit_code
    with CapsuleRegistry.open(url, namespace="other") as registry:
        registry.register(make_manifest(uplink=[CLI]), uuids=[uuid4()])
        registry.register_uuid(uuid4(), "ghost")
    assert [("default", 0), ("other", 1)] == [
        (row["name"], row["capsule_count"]) for row in run_json(url, "namespaces", "list")
    ]

    refused = run(url, "namespaces", "drop", "other")
    assert (4, 1) == (refused.exit_code, len(refused.stderr.splitlines()))
    [head] = [row["head_hash"] for row in backend.table(url, "namespaces") if row["revision"] == 3]
    dropped = run(url, "namespaces", "drop", "other", "--force")
    assert f"dropped other: revision 3, hash {head}\n" == dropped.stdout
    assert 3 == run(url, "namespaces", "drop", "other").exit_code
    for table in ("capsules", "uplinks", "uuid_mappings", "events", "revisions", "manifests"):
        assert [] == [row for row in backend.table(url, table) if row["namespace"] == "other"]


def test_the_sql_of_an_upgrade_makes_the_schema(sqlite: SqliteBackend) -> None:
    """`db upgrade --sql` changes nothing, and its output creates a schema that opens."""
    backend = sqlite
    source, target = backend.empty_url(), backend.empty_url()
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "capsule_registry",
            "--database",
            "sqlite://",
            "db",
            "upgrade",
            "--sql",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not Path(source.removeprefix("sqlite:///")).exists()
    for statement in result.stdout.split(";\n"):
        backend.rows(target, statement)

    with CapsuleRegistry.open(target, migrate=False) as registry:
        registry.register(make_manifest())
        assert ["alpha"] == registry.list()


def test_help_covers_every_command() -> None:
    """Every command and option has a help text."""
    with Context(capsule_registry) as context:
        names = capsule_registry.list_commands(context)
        commands = [capsule_registry.get_command(context, name) for name in names]
    for name, command in zip(names, commands, strict=True):
        assert command is not None
        assert SUMMARIES[name] == command.get_short_help_str(1000)
        assert 0 == invoke(name, "--help").exit_code
    assert invoke("--version").stdout.startswith("capsule-registry, version ")
    documented = (CHECKOUT / "docs" / "command.md").read_text()
    assert all(f"`{name}" in documented for name in names)


def test_help_loads_nothing_heavy() -> None:
    """`--help` and `--version` import click, but not SQLAlchemy, Pydantic, Alembic or rich."""
    heavy = ("sqlalchemy", "pydantic", "alembic", "rich", "platformdirs")
    script = (
        "import sys\n"
        "from capsule_registry.cli.main import main\n"
        "sys.argv = ['capsule-registry', '--help']\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert "[]\n" == result.stderr


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


PATIENT = """
import sys
from capsule_registry.cli import registering
from capsule_registry.cli.main import main
registering.PATIENCE_SECONDS = 0.0
sys.argv = ["capsule-registry", *sys.argv[1:]]
main()
"""


@pytest.mark.stress
@pytest.mark.parametrize("on_terminal", [True, False])
def test_progress_is_shown_on_a_terminal_alone(
    sqlite: SqliteBackend, tmp_path: Path, on_terminal: bool
) -> None:
    """A slow `register` draws a progress bar, but never into a file or a pipe."""
    for number in range(30):
        write_capsule(tmp_path, f"c{number}")
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PATIENT, "--database", sqlite.new_url(), "register", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=child if on_terminal else subprocess.PIPE,
        env={**os.environ, "TERM": "xterm"},
    )
    _, piped = process.communicate(timeout=60)
    os.close(child)
    drawn = os.read(parent, 100_000) if on_terminal else piped
    os.close(parent)

    assert 0 == process.returncode
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
