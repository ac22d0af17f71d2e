"""The command: what it does, its options, its errors and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from click import Context

from capsule_registry import CapsuleRegistry
from capsule_registry.cli.main import SUMMARIES, capsule_registry
from capsule_registry.schema.version import SCHEMA_VERSION
from support.commands import invoke, run, run_json, write_capsule
from support.factories import make_manifest, make_text

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
