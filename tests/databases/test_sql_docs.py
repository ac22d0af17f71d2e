"""Every statement of docs/sql.md answers its question, in each database's own client."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from capsule_registry import CapsuleManifest, CapsuleRegistry, RegistryAdmin
from capsule_registry.database.database import Database
from capsule_registry.schema.tables import file_metadata, leases, metadata
from support.backends import NAMES, first_url
from support.factories import TELEGRAM, make_manifest, make_uplink

if TYPE_CHECKING:
    from conftest import Clock
    from support.backends import Backend

PAGE = (Path(__file__).parents[2] / "docs" / "sql.md").read_text()
#: Capsules of today.
MODERN = """[package]
name = "modern"
version = "1.0.0"
[[component]]
file = "m.wasm"
hash = "blake3:5ca1ab1e"
[subscribe]
"llm.*" = { wit = "opaque", handler = "h" }
[imports]
"n:nobody" = "^1"
[exports]
"n:shared" = "1.0.0"
[[command]]
name = "remember"
kind = "cli"
"""
OTHER = '[package]\nname = "other"\nversion = "1.0.0"\n[exports]\n"n:shared" = "2.0.0"\n'
#: Printed before what a statement prints.
MARK = "@@ answer"
SESSION = UUID("6f9619ff-8b86-4d01-b42d-00cf4fc964ff")
ADRIFT, LEASE = (UUID(int=number) for number in (1, 2))
#: Questions to which the tests' registry has no answer.
WITHOUT_ROWS: set[str] = set()
#: The lines that some answers must have, by their columns.
TELLING: dict[str, list[tuple[str, ...]]] = {
    "Who registered a capsule, when and why?": [("5", "alice"), ("8", "operator")],
    "What was registered at a revision?": [("importer", "5"), ("notes", "8")],
    "Which capsule did a session UUID belong to at a given time?": [("notes", "uuid.registered")],
    "Which capsules were replaced or removed this week?": [
        ("notes", "0.1.0", "replaced"),
        ("scratch", "removed"),
    ],
    "Which capsules may publish to a topic?": [("notes", "llm.*")],
    "Which capsules may reach a host?": [("importer", "Example.com")],
    "Which rights stand in a manifest and do not count, and why?": [
        ("importer", "kv", "index", "component 1", ">0.10.4", "legacy")
    ],
    "By which rules are the capsules judged?": [("legacy", "legacy", "4")],
    "When did a capsule get a right, and when did it lose it?": [("5", "alice", "added")],
    "Who is called for a topic, and in which order?": [("modern", "h", "100", "llm.*")],
    "Which capsules answer a command of the shell?": [("modern",)],
    "Which import is unmet?": [("modern", "n:nobody", "^1")],
    "Which interfaces do several capsules export?": [("n:shared", "2", "modern", "other")],
    "Which capsules are made of a file of that hash?": [("modern", "component", "m.wasm")],
    "Which capsules offer a tool of the same name?": [("find", "importer"), ("find", "notes")],
    "Which session UUIDs point to a reservation?": [(str(ADRIFT), "ghost")],
    "Which uplinks were filed by hand and not declared?": [("importer", "discord")],
    "Does every revision follow the one before it?": [("4", "16", "0")],
    "Do the two ends of the history agree with the head?": [("16", "agrees", "agrees")],
    "Does every revision have the events that it had?": [("13", "0")],
    "What do capsules require that nobody offers under that very name?": [("last", "topic:nobody")],
    "Which leases ran out, and when?": [("16", "slept")],
    "What was pruned, when and by whom?": [("operator", "retention", "3")],
}


@dataclass(frozen=True)
class Statement:
    """A statement of the page, its question, and the one database it is for, if any."""

    question: str
    database: str
    text: str

    def runs_on(self, name: str) -> bool:
        return self.database in ("", name)


def sections() -> dict[str, str]:
    """Return the text under each third-level heading."""
    parts = re.split(r"^##(#?) +(.+)\n", PAGE, flags=re.MULTILINE)[1:]
    found = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    return {title: text for level, title, text in found if level}


STATEMENTS = [
    Statement(title, database, text)
    for title, section in sections().items()
    for database, text in re.findall(
        r"^```sql ?([^\n]*)\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL
    )
]
QUESTIONS = [title for title in sections() if title.endswith("?")]


class Object:
    """A capsule that did not start."""

    def __init__(self) -> None:
        self.manifest = make_manifest("broken")
        self.state = "failed"
        self.state_reason = "no entry point"


@pytest.fixture
def filled(registry: CapsuleRegistry, url: str, clock: Clock) -> CapsuleRegistry:
    """A registry with an answer for each question, one step per hour."""
    tool = {"name": "find", "description": "finds", "input_schema": {}}
    notes: dict[str, Any] = {"tool": [tool], "capabilities": {"ipc_publish": ["llm.*", "llm"]}}
    registry.register(make_manifest("retired"))
    registry.unregister("retired")
    registry.history.prune(registry.history.anchor(), reason="retention", actor="operator")

    clock.step(timedelta(hours=1))
    with registry.transaction(reason="first ones", actor="alice") as transaction:
        transaction.register(make_manifest("notes", uplink=[TELEGRAM], **notes), uuids=[SESSION])
        may = {"host_process": ["git log"], "net": ["Example.com"]}
        part = {"file": "x", "capabilities": {"kv": ["index"]}}
        importer = make_manifest("importer", tool=[tool], capabilities=may, component=[part])
        transaction.register(importer)
        transaction.register(CapsuleManifest.parse(MODERN))
        transaction.register(CapsuleManifest.parse(OTHER))
    clock.step(timedelta(hours=1))
    registry.register_uuid(ADRIFT, "ghost")
    registry.register_uplink("importer", make_uplink())

    clock.step(timedelta(hours=1))
    with registry.transaction(reason="new version", actor="operator") as transaction:
        transaction.unregister("notes")
        transaction.register(make_manifest("notes", package={"version": "0.2.0"}, **notes))
        transaction.register_uuid(SESSION, "notes")
    registry.register_uuid(SESSION, "importer")
    registry.register(Object())
    registry.register(make_manifest("scratch"))
    registry.unregister("scratch")
    with RegistryAdmin.open(url) as admin:
        admin.accept_restore(actor="operator")
    needing = {"requires": ["topic:nobody"]}
    registry.register(make_manifest("last", dependencies=needing))
    registry.leases.open("slept", renew=False)
    clock.step(timedelta(minutes=1))
    registry.leases.reap()
    registry._database.write(lambda conn: conn.execute(sa.insert(leases), lease()))
    return registry


def lease() -> dict[str, Any]:
    """Return a lease that expires soon by the real clock, which the statements use."""
    now = datetime.now(UTC)
    return {
        "namespace": "default",
        "id": LEASE,
        "name": "worker",
        "host": "h1",
        "pid": 7,
        "actor": "alice",
        "ttl_ms": 3_600_000,
        "opened_at": now,
        "opened_revision": 12,
        "expires_at": now + timedelta(minutes=30),
    }


def client(url: str) -> tuple[list[str], dict[str, str]]:
    """Return the command of the client that prints bare rows, and its environment."""
    place = first_url(url)
    match place.get_backend_name():
        case "sqlite":
            return ["sqlite3", "-batch", "-bail", "-readonly", str(place.database)], {}
        case "postgresql":
            shown = place.set(drivername="postgresql").render_as_string(hide_password=False)
            command = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-f", "-", shown]
            read_only = "-c default_transaction_read_only=on"
            return command, {"PGOPTIONS": read_only, "PGTZ": "UTC"}
        case _:
            command = ["mariadb", "--no-defaults", "--batch", "--skip-column-names"]
            command += [f"--host={place.host}", f"--port={place.port or 3306}", "--protocol=tcp"]
            command += [f"--user={place.username}", f"--database={place.database}"]
            command += ["--show-warnings", "--init-command=SET SESSION TRANSACTION READ ONLY"]
            return command, {"MYSQL_PWD": str(place.password or "")}


def answers(url: str, statements: list[Statement]) -> list[list[str]]:
    """Return the lines that each statement prints; fail with the name of one that fails."""
    command, environment = client(url)
    program = shutil.which(command[0])
    if program is None:
        reason = f"the client {command[0]} is not installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    script = "".join(f"SELECT '{MARK}';\n{statement.text}\n" for statement in statements)
    done = subprocess.run(
        [program, *command[1:]],
        input=script,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
        timeout=60,
    )
    parts = [part.splitlines() for part in done.stdout.split(f"{MARK}\n")[1:]]
    if (done.returncode, done.stderr) != (0, ""):
        last = statements[max(len(parts), 1) - 1]
        pytest.fail(f"{last.question}\n{last.text}\n{done.returncode}: {done.stderr}")
    return parts


def is_told(line: str, words: tuple[str, ...]) -> bool:
    """Return whether *words* are columns of *line*, in that order."""
    columns = iter(re.split(r"[|\t]", line))
    return all(word in columns for word in words)


def test_every_statement_runs_and_finds_something(
    filled: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """Its client prints at least one row, and nothing on standard error."""
    statements = [one for one in STATEMENTS if one.runs_on(backend.name)]
    found = answers(url, statements)
    pairs = [*zip(statements, found, strict=True)]

    assert WITHOUT_ROWS == {one.question for one, lines in pairs if not lines}
    assert [] == [line for _, lines in pairs for line in lines if line.startswith("Warning")]
    assert [] == [
        (question, words)
        for question, expected in TELLING.items()
        for words in expected
        if not any(
            is_told(line, words)
            for one, lines in pairs
            if one.question == question
            for line in lines
        )
    ]


def test_a_statement_that_fails_is_named(
    filled: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """The control: of several statements, the failing one is named."""
    broken = Statement("Is it broken?", "", "SELECT nothing FROM nowhere;")

    with pytest.raises(pytest.fail.Exception, match=r"Is it broken\?"):
        answers(url, [STATEMENTS[0], broken, STATEMENTS[0]])


def test_the_checks_see_what_was_done_to_the_history(
    filled: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """An auditor's query that should return 0 or agree does not after tampering."""
    for statement in (
        "DELETE FROM events WHERE revision = 5 AND position = 1",
        "DELETE FROM revisions WHERE revision IN (4, 8, 16)",
        "UPDATE revisions SET hash = 'x' WHERE revision = 9",
    ):
        backend.tamper(url, statement)
    expected = {
        "Does every revision follow the one before it?": ("2", "9"),
        "Do the two ends of the history agree with the head?": ("16", "differs", "differs"),
        "Does every revision have the events that it had?": ("1", "5"),
    }

    found = {one.question: one for one in STATEMENTS if one.question in expected}
    lines = answers(url, [found[question] for question in expected])
    for words, [line] in zip(expected.values(), lines, strict=True):
        assert is_told(line, words), line


def test_every_table_and_view_is_described_with_its_columns(backend: Backend, url: str) -> None:
    """The page lists the columns of each, complete and in order."""
    database = Database.open(url)
    with database.connected(database.engine) as connection:
        found = sa.inspect(connection)
        views = {
            name: [column["name"] for column in found.get_columns(name)]
            for name in found.get_view_names()
        }
    database.close()
    all_tables = (*metadata.sorted_tables, *file_metadata.sorted_tables)
    tables = {table.name: [column.name for column in table.c] for table in all_tables}

    assert {**tables, **views} == {
        title.strip("`"): re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)
        for title, text in sections().items()
        if title.startswith("`")
    }


def test_the_diagram_has_every_table() -> None:
    """Each has its whole primary key."""
    [diagram] = re.findall(r"```mermaid\n(.*?)```", PAGE, flags=re.DOTALL)

    assert {
        table.name: list(table.primary_key.columns.keys()) for table in metadata.sorted_tables
    } == {
        name: re.findall(r"(\w+) PK", body)
        for name, body in re.findall(
            r"^    (\w+) \{\n(.*?)^    \}", diagram, re.MULTILINE | re.DOTALL
        )
    }


def test_every_question_is_answered_on_every_database() -> None:
    """At least twenty questions, one statement per block, each naming the namespace."""
    assert len(QUESTIONS) >= 20
    assert {*QUESTIONS} == {one.question for one in STATEMENTS}
    assert {one.database for one in STATEMENTS} == {"", *NAMES}
    for name in NAMES:
        assert {*QUESTIONS} == {one.question for one in STATEMENTS if one.runs_on(name)}
    for one in STATEMENTS:
        assert (1, ";\n") == (one.text.count(";"), one.text[-2:])
        assert "'default'" in one.text or "FROM schema_versions" in one.text
