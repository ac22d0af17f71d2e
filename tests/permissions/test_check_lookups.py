"""What a check looks up in the database: all that can decide, however an entry is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from capsule_registry import CapsuleRegistry, Decision, DecisionReason, HistoryCorruptError
from capsule_registry.manifest.matchings import Matching
from capsule_registry.permissions import checks
from capsule_registry.permissions.judgement import Entries, Entry
from capsule_registry.unit_of_work.queries import LookupScope
from support.factories import make_manifest
from support.standing import LIVE, QUESTION, SESSION, Standing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.backends import Backend

pytestmark = pytest.mark.files_alone

FIRST, TODAY = "0.2.0", "2026.9.4"
CAPABILITIES: dict[str, Any] = {
    "net": ["GOOD.com", "other.com"],
    "kv": ["first", "last"],
    "net_bind": ["127.0.0.1:80", "0.0.0.0:80"],
    "host_process": ["git", "git status"],
    "identity": ["link"],
    "allow_prompt_injection": True,
}
#: What is asked, and the entry that allows it by the rules of the first runtime and of today's.
QUESTIONS: list[tuple[str, str | None, str | None, str | None]] = [
    ("net", "a.good.com", "GOOD.com", None),
    ("net", "other.com", "other.com", "other.com"),
    ("net", "com", None, None),
    ("kv", "last", "last", "last"),
    ("kv", "*", None, None),
    ("net_bind", None, "127.0.0.1:80", None),
    ("net_bind", "127.0.0.1:80", "127.0.0.1:80", "127.0.0.1:80"),
    ("net_bind", "0.0.0.0:80", None, None),
    ("host_process", "git status -s", "git", "git"),
    ("host_process", "gitk", None, None),
    ("identity", "unlink", None, "link"),
    ("holds", "allow_prompt_injection", "true", "true"),
    ("holds", "kv", None, "first"),
    ("holds", "uplink", None, None),
    ("uplink", None, None, None),
]


@pytest.fixture(scope="module", params=[FIRST, TODAY])
def standing(request: pytest.FixtureRequest, backend: Backend) -> Iterator[Standing]:
    """A registry in which `SESSION` has these capabilities, by the rules of one runtime."""
    url, runtime = backend.new_url(), request.param
    made = CapsuleRegistry.open(url, namespace="judged", runtime_version=runtime)
    made.register(make_manifest("alpha", capabilities=CAPABILITIES), uuids=[SESSION])
    yield Standing(made, made.history.revision)
    made.close()


@pytest.mark.parametrize(("capability", "value", "first", "today"), QUESTIONS)
def test_what_covers_is_found_however_it_is_asked(
    standing: Standing, capability: str, value: str | None, first: str | None, today: str | None
) -> None:
    """However the runtime compares: now, in a snapshot, in a transaction and in the past."""
    expected = first if standing.registry.runtime_version == FIRST else today
    for way in (*LIVE, "revision"):
        found = standing.ask(way, "check", SESSION, capability, value)
        assert isinstance(found, Decision)
        assert (expected, expected is not None) == (found.grant, found.allowed), way


class NoRows(LookupScope):
    """A scope in which there is nothing."""

    namespace = "judged"

    def rows(self, *_: Any, **__: Any) -> list[Any]:
        return []


def test_a_capsule_without_a_row_is_not_registered() -> None:
    """What somebody deleted under a check may nothing."""
    nobody = checks.standing(NoRows(), "ghost")

    assert DecisionReason.NOT_REGISTERED is checks.decide(nobody, *QUESTION[1:]).why


def test_without_rules_a_capsule_is_judged_as_by_the_first() -> None:
    """A row from before rules were told apart: whether anything else is held is not told."""
    grants: dict[object, Entries] = {
        name: Entries(name, [Entry("true", Matching.FLAG, counts=True)])
        for name in ("uplink", "allow_prompt_injection")
    }
    standing = checks.Standing(is_registered=True, state="ready", rules=None, grants=grants)

    assert DecisionReason.GRANTED is checks.decide(standing, "uplink", None).why
    assert DecisionReason.NOT_GRANTED is checks.decide(standing, "holds", "uplink").why
    assert DecisionReason.GRANTED is checks.decide(standing, "holds", "allow_prompt_injection").why


#: A row by which `QUESTION` is allowed.
SOUND: dict[str, Any] = {
    "revision": 5,
    "capsule_id": "alpha",
    "lease_id": None,
    "registered_revision": 1,
    "state": "ready",
    "rules": TODAY,
    "value": "key",
    "matching": "key",
    "counts": True,
}


def decided(row: dict[str, Any]) -> Decision:
    standing = checks.standing_by(row, [("kv", row)])
    return checks.decided(NoRows(), row, standing, *QUESTION[1:])


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("revision", one) for one in ("5", b"5", 5.0, None)),
        *(("registered_revision", one) for one in ("1", b"1", 1.0)),
        *(("state", one) for one in ("Ready", "", b"ready", 1)),
        *((column, one) for column in ("value", "matching") for one in (b"key", 1)),
        *(("counts", one) for one in (None, 0, 1, "true")),
    ],
)
def test_what_the_registry_would_not_write_denies(column: str, value: object) -> None:
    """A value of another type in a row is a fault, whatever it would be read as."""
    row = SOUND | {column: value}
    with pytest.raises((HistoryCorruptError, ValueError)):
        decided(row)
    control = decided(SOUND)
    assert (True, "key", 5) == (control.allowed, control.grant, control.revision)
