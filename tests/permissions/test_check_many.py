"""Many checks at once: of one moment, each answered as it would be alone."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from capsule_registry import (
    CapsuleRegistry,
    DecisionReason,
    InvalidTextError,
    NamespaceNotFoundError,
    RegistryAdmin,
)
from capsule_registry.permissions.many_checks import _standings_of
from capsule_registry.unit_of_work.prepared_statements import PreparedStatements
from support.commands import run
from support.factories import make_manifest

if TYPE_CHECKING:
    from support.backends import Backend

FIRST, SECOND, NOBODY = (UUID(int=number) for number in range(1, 4))
CAPABILITIES = {
    "ipc_publish": ["a.*", "b"],
    "net": ["a.example"],
    "net_bind": ["127.0.0.1:80", "0.0.0.0:80"],
    "allow_prompt_injection": True,
}
QUESTIONS: list[tuple[Any, ...]] = [
    (FIRST, "ipc_publish", "a.b"),
    (FIRST, "ipc_publish", "c.d"),
    (str(FIRST), "ipc_publish", "b"),
    (FIRST, "ipc_publish", "a..b"),
    (FIRST, "net_bind"),
    (FIRST, "net_bind", "127.0.0.1:80"),
    (FIRST, "net_bind", "0.0.0.0:80"),
    (FIRST, "allow_prompt_injection"),
    (FIRST, "allow_prompt_injection", None),
    (FIRST, "allow_prompt_injection", "x"),
    (FIRST, "holds", "net"),
    (FIRST, "holds", "kv"),
    (FIRST, "holds", "ipc_publish"),
    (FIRST, "holds", "nothing"),
    (FIRST, "holds", None),
    (FIRST, "nothing", "a"),
    (FIRST, None, None),
    (SECOND, "net", "https://a.example/x"),
    (NOBODY, "net", "a.example"),
    ("no uuid", "net", "a.example"),
    (None, "net", "a.example"),
    (FIRST, "ipc_publish", object()),
]


@pytest.fixture
def asked(registry: CapsuleRegistry) -> CapsuleRegistry:
    """A registry with a ready capsule, and one that is not."""
    registry.register(make_manifest("alpha", capabilities=CAPABILITIES), uuids=[FIRST])
    registry.register(make_manifest("beta", capabilities=CAPABILITIES), uuids=[SECOND])
    registry.set_state("beta", "loading")
    return registry


def test_each_is_answered_as_it_is_alone(asked: CapsuleRegistry) -> None:
    """In the order of the questions: from the database, from memory, in views and transactions."""
    expected = [asked.check(*question) for question in QUESTIONS]

    assert {"granted", "not_granted", "malformed_value", "not_loopback", "unknown_uuid"} <= {
        one.why for one in expected
    }
    for _ in range(2):
        assert expected == asked.check_many(QUESTIONS)
    asked._lookups.close()
    assert expected == asked.check_many(iter(QUESTIONS))
    with asked.snapshot() as snapshot:
        assert expected == snapshot.check_many(QUESTIONS)
    assert expected == asked.at(revision=asked.history.revision).check_many(QUESTIONS)
    with asked.transaction() as transaction:
        found = transaction.check_many(QUESTIONS)
    assert [one.why for one in expected] == [one.why for one in found]


def test_nothing_asked_is_nothing_answered(asked: CapsuleRegistry) -> None:
    """An empty list asks nobody."""
    assert [] == asked.check_many([])


@pytest.mark.parametrize(
    "questions",
    [
        [(FIRST,)],
        [(FIRST, "net", "a", "b")],
        [(FIRST, "net", "a"), 7],
        [None],
        [{"uuid": FIRST, "capability": "net"}],
        ["ab"],
        [(FIRST, "net", "a")] * 501,
    ],
    ids=["one", "four", "a number", "none", "object", "text", "501"],
)
def test_what_is_no_question_is_refused(asked: CapsuleRegistry, questions: Any) -> None:
    """So are more than five hundred, before anybody is asked."""
    with pytest.raises(InvalidTextError, match="question"):
        asked.check_many(questions)
    assert 500 == len(asked.check_many([(FIRST, "net", "a.example")] * 500))


def test_a_fault_denies_its_own_question_alone(
    asked: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """A row that no registry has written denies whoever it belongs to."""
    backend.tamper(url, "UPDATE grants SET matching = 'nothing' WHERE capability = 'net'")
    found = asked.check_many([(FIRST, "net", "a.example"), (FIRST, "ipc_publish", "a.b")])

    assert [DecisionReason.UNREADABLE, DecisionReason.GRANTED] == [one.why for one in found]


def test_a_namespace_that_was_dropped_answers_nobody(asked: CapsuleRegistry, url: str) -> None:
    """It raises, as one check does."""
    with RegistryAdmin.open(url) as admin:
        admin.drop_namespace("default", force=True)
    with pytest.raises(NamespaceNotFoundError):
        asked.check_many(QUESTIONS)


def test_all_are_of_one_moment(asked: CapsuleRegistry, url: str) -> None:
    """While both capsules change their states together, never is one ready and the other too."""
    asked.set_state("alpha", "ready")
    done = threading.Event()

    def swap() -> None:
        states = ["ready", "loading"]
        with CapsuleRegistry.open(url) as other:
            for _ in range(60):
                states.reverse()
                with other.transaction() as transaction:
                    for capsule_id, state in zip(("alpha", "beta"), states, strict=True):
                        transaction.set_state(capsule_id, state)
        done.set()

    writer = threading.Thread(target=swap)
    writer.start()
    revisions = set()
    questions = [(FIRST, "ipc_publish", "a.b"), (SECOND, "ipc_publish", "a.b")] * 5
    while not done.is_set():
        found = asked.check_many(questions)
        revisions |= {one.revision for one in found}
        assert 1 == len({one.revision for one in found})
        assert 5 == sum(one.allowed for one in found)
    writer.join()
    assert len(revisions) > 3


@pytest.mark.usefixtures("sqlite")
def test_it_is_one_statement_by_index(asked: CapsuleRegistry) -> None:
    """Every table is found by its key."""
    engine = asked._database.engine
    prepared = PreparedStatements(engine.dialect)[_standings_of.statement, 2]
    values = {"namespace": "default", "uuids": [FIRST, SECOND], "capabilities": ["net", "kv"]}
    with engine.connect() as connection:
        plan = connection.exec_driver_sql(
            f"EXPLAIN QUERY PLAN {prepared.sql}", tuple(prepared.parameters(values))
        ).all()
    steps = [row[3] for row in plan if "TEMP B-TREE" not in row[3]]

    assert len(steps) >= 5
    assert [] == [step for step in steps if step.startswith("SCAN")]
    assert [] == [step for step in steps if step.endswith("(namespace=?)")]


class Answering:
    """A process that answers lines."""

    def __init__(self, url: str, *more: str) -> None:
        command = [sys.executable, "-m", "capsule_registry", "--database", url, "check", "--stdin"]
        self.process = subprocess.Popen(
            [*command, *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def ask(self, line: object) -> Any:
        """Return the answer to *line*, an object or bytes."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        data = line if isinstance(line, bytes) else json.dumps(line).encode()
        self.process.stdin.write(data + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self) -> int:
        """End the input, and return the exit code."""
        self.process.communicate(timeout=30)
        return self.process.returncode


def question(capability: str, value: str | None = None) -> dict[str, Any]:
    return {"uuid": str(FIRST), "capability": capability, "value": value}


def test_a_process_answers_lines_for_as_long_as_they_come(asked: CapsuleRegistry, url: str) -> None:
    """Each at once and by the state of that moment; a list is answered by a list."""
    answering = Answering(url)
    found = answering.ask(question("ipc_publish", "a.b"))
    assert (True, "granted", "alpha", "a.*") == tuple(
        found[name] for name in ("allowed", "why", "capsule_id", "grant")
    )
    asked.set_state("alpha", "failed")
    assert "not_ready" == answering.ask(question("ipc_publish", "a.b"))["why"]
    asked.set_state("alpha", "ready")
    many = answering.ask([question("ipc_publish", "a.b"), question("net", "b.example")])
    assert [True, False] == [one["allowed"] for one in many]
    assert [] == answering.ask([])
    assert True is answering.ask({"uuid": str(FIRST), "capability": "net_bind"})["allowed"]
    assert 0 == answering.end()


NO_QUESTIONS = (
    b"",
    b"no json",
    b"7",
    b"null",
    b"[" * 100_000,
    b"\xff\xfe",
    b'{"uuid": "x"}',
    b'{"uuid": "x", "capability": "net", "value": "a", "more": 1}',
    b'[{"uuid": "x", "capability": "net"}, 7]',
    b'"' + b"x" * 3_000_000 + b'"',
)


@pytest.mark.usefixtures("asked", "sqlite")
def test_a_line_that_asks_nothing_is_denied_and_the_next_is_answered(url: str) -> None:
    """It says what is wrong, in one line, and the process goes on."""
    answering = Answering(url)
    for line in NO_QUESTIONS:
        refused = answering.ask(line)
        assert (False, None) == (refused["allowed"], refused["why"]), line[:40]
        assert refused["error"]
        assert answering.ask(question("ipc_publish", "a.b"))["allowed"], line[:40]
    assert 0 == answering.end()


@pytest.mark.usefixtures("sqlite")
def test_lines_are_asked_of_the_past_too(asked: CapsuleRegistry, url: str) -> None:
    """With a moment, every line is answered as of then."""
    before = str(asked.history.revision)
    asked.drain()
    answering = Answering(url, "--at", before)
    assert answering.ask(question("ipc_publish", "a.b"))["allowed"]
    assert 0 == answering.end()


@pytest.mark.usefixtures("sqlite")
def test_lines_take_no_arguments(url: str) -> None:
    """A question beside them, or half a question without them, is a mistake in usage."""
    assert 2 == run(url, "check", str(FIRST), "net", "--stdin").exit_code
    assert 2 == run(url, "check", str(FIRST)).exit_code
