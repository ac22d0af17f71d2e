"""Malformed questions: whatever the arguments, the answer is no, and never an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from capsule_registry import CapsuleId, Decision, DecisionReason
from support.standing import QUESTION, SESSION, WAYS, Standing, is_no, is_yes, stand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.backends import Backend

pytestmark = pytest.mark.files_alone


class Everything(str):
    """A text that claims to equal every other one, and cannot be hashed."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


class Network(str):
    """A text that claims to be the key `kv`, and to equal everything."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("kv")


class Sly(UUID):
    """A valid UUID of another class."""


QUESTIONS: dict[DecisionReason, list[tuple[Any, ...]]] = {
    DecisionReason.UNKNOWN_UUID: [
        (UUID(int=7), "kv", "key"),
        (UUID(int=0), "kv", "key"),
        ("", "kv", "key"),
        ("%", "kv", "key"),
        (None, "kv", "key"),
        (f"{{{SESSION}}}", "kv", "key"),
        (f"urn:uuid:{SESSION}", "kv", "key"),
        (SESSION.hex, "kv", "key"),
        (f"{SESSION}\n", "kv", "key"),
        (f" {SESSION}", "kv", "key"),
        (str(SESSION).encode(), "kv", "key"),
        (SESSION.bytes, "kv", "key"),
        (SESSION.int, "kv", "key"),
        (SESSION.fields, "kv", "key"),
        ([SESSION], "kv", "key"),
        ({SESSION: SESSION}, "kv", "key"),
        (Everything(""), "kv", "key"),
        (None, None, None),
    ],
    DecisionReason.UNKNOWN_CAPABILITY: [
        (SESSION, "", "key"),
        (SESSION, "KV", "key"),
        (SESSION, "kv ", "key"),
        (SESSION, "kv\0", "key"),
        (SESSION, "\ud800", "key"),
        (SESSION, "%", "key"),
        (SESSION, "*", "key"),
        (SESSION, "tool", "key"),
        (SESSION, None, "key"),
        (SESSION, b"kv", "key"),
        (SESSION, 1, "key"),
        (SESSION, ["kv"], "key"),
        (SESSION, {"kv": "key"}, "key"),
        (SESSION, Everything("vk"), "key"),
        (SESSION, Network("vk"), "key"),
        (SESSION, "holds"),
        (SESSION, "holds", "tool"),
        (SESSION, "holds", "holds"),
        (SESSION, "holds", b"kv"),
        (SESSION, "holds", Network("vk")),
    ],
    DecisionReason.MALFORMED_VALUE: [
        (SESSION, "kv"),
        (SESSION, "kv", None),
        (SESSION, "kv", ""),
        (SESSION, "kv", "key\0"),
        (SESSION, "kv", b"key"),
        (SESSION, "kv", 1),
        (SESSION, "kv", True),
        (SESSION, "kv", ["key"]),
        (SESSION, "kv", Everything("")),
        (SESSION, "uplink", "true"),
        (SESSION, "uplink", True),
        (SESSION, "uplink", ""),
        (SESSION, "identity", "root"),
        (SESSION, "identity", Everything("root")),
        (SESSION, "identity", ["admin"]),
        (SESSION, "net", "https://good.com:x/"),
        (SESSION, "net", "https://[::1/"),
        (SESSION, "fs_read", "workspace://src/../b"),
    ],
    DecisionReason.NOT_GRANTED: [
        (SESSION, "kv", "Key"),
        (SESSION, "kv", "\ud800"),
        (SESSION, "kv", "key " * 10_000),
        (SESSION, "kv", Everything("yek")),
        (SESSION, "kv", Network("yek")),
        (SESSION, "kv", "*"),
        (SESSION, "uplink"),
        (SESSION, "net_bind"),
        (SESSION, "net", "key"),
        (SESSION, "fs_write", "workspace://key"),
    ],
}


@pytest.fixture(scope="module")
def standing(backend: Backend) -> Iterator[Standing]:
    """A registry in which the correct question is allowed, and which no test here changes."""
    made = stand(backend.new_url())
    yield made
    made.close()


@pytest.mark.parametrize("why", QUESTIONS)
def test_whatever_is_wrong_with_the_question_denies(
    standing: Standing, why: DecisionReason
) -> None:
    """Both verbs, however asked, never raise; the correct question is allowed."""
    standing.assert_allowed()
    owner = None if why is DecisionReason.UNKNOWN_UUID else CapsuleId("alpha")
    expected = Decision(allowed=False, why=why, capsule_id=owner, revision=standing.revision)
    for way in WAYS:
        for question in QUESTIONS[why]:
            decision = standing.ask(way, "check", *question)
            assert expected == decision, (way, question, decision)
            assert False is standing.ask(way, "is_allowed", *question), (way, question)
    standing.assert_allowed()


@pytest.mark.parametrize("uuid", [str(SESSION), str(SESSION).upper(), Sly(int=SESSION.int)])
def test_a_uuid_is_what_it_says(standing: Standing, uuid: Any) -> None:
    """The control: text of either case, and a caller's UUID subclass, are accepted."""
    for way in WAYS:
        assert is_yes(standing.ask(way, "check", uuid, "kv", "key")), way


def test_yes_and_no_are_told_apart() -> None:
    """The control: what the fault tests take for a denial is one."""
    yes, no = (
        Decision(allowed=True, why=DecisionReason.GRANTED),
        Decision(allowed=False, why=DecisionReason.NOT_READY),
    )
    half = no.model_copy(update={"grant": "key"})

    assert [True, True] == [is_yes(answer) for answer in (True, yes)]
    assert [False] * 5 == [is_yes(answer) for answer in (1, no, None, "yes", TypeError())]
    assert [True, True] == [is_no(answer) for answer in (False, no)]
    assert [False] * 7 == [is_no(answer) for answer in (0, None, yes, True, half, "", TypeError())]


def test_the_reasons_have_names_that_stay() -> None:
    """Their values are stable, since others print, log and compare them."""
    assert [
        "granted",
        "unknown_uuid",
        "not_registered",
        "not_ready",
        "unknown_capability",
        "malformed_value",
        "not_granted",
        "not_read_by_runtime",
        "not_loopback",
        "unreadable",
        "too_late",
    ] == [*map(str, DecisionReason)]


def test_a_decision_is_a_frozen_value(standing: Standing) -> None:
    """It cannot be modified, and survives a round trip through JSON."""
    decision = standing.registry.check(*QUESTION)

    with pytest.raises(ValidationError):
        decision.allowed = False  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Decision(allowed=True, why=DecisionReason.GRANTED, more=1)  # type: ignore[call-arg]
    assert decision == Decision.model_validate_json(decision.model_dump_json())
    assert (None, None, None) == (
        Decision(allowed=False, why=DecisionReason.UNREADABLE).capsule_id,
        Decision(allowed=False, why=DecisionReason.UNREADABLE).grant,
        Decision(allowed=False, why=DecisionReason.UNREADABLE).revision,
    )
