"""A fault that denies is logged with its exception, but not on every message."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from capsule_registry.lookups import memory
from capsule_registry.permissions import checks, fault_log, rules
from support.factories import make_manifest

if TYPE_CHECKING:
    from capsule_registry import CapsuleRegistry
    from support.backends import Backend

SESSION = UUID("0000aaaa-0000-4000-8000-00000000000a")
OTHER = UUID("0000aaaa-0000-4000-8000-00000000000b")


@pytest.fixture(autouse=True)
def _nothing_logged_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fault_log, "_logged", {})


@pytest.fixture
def registry(registry: CapsuleRegistry) -> CapsuleRegistry:
    """A registry in which two sessions may ask for a key."""
    manifest = make_manifest("alpha", capabilities={"kv": ["key"]})
    registry.register(manifest, uuids=[SESSION, OTHER])
    assert registry.is_allowed(SESSION, "kv", "key")
    return registry


def warnings(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [one for one in caplog.records if one.levelno == logging.WARNING]


def subjects(caplog: pytest.LogCaptureFixture) -> list[object]:
    return [getattr(one, "subject", None) for one in warnings(caplog)]


def a_bug(*_: object) -> bool:
    raise AttributeError("a bug of ours")


def test_a_bug_of_ours_denies_and_is_logged_with_its_exception(
    registry: CapsuleRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure while deciding denies in every way to ask, and a WARNING says why and for whom."""
    for matching, rule in rules.RULES["net"].items():
        monkeypatch.setitem(rules.RULES["net"], matching, replace(rule, understand=a_bug))
    registry.register(make_manifest("beta", capabilities={"net": ["a.example"]}), uuids=[])
    registry.register_uuid(SESSION, "beta")

    for _ in range(3):
        assert not registry.is_allowed(SESSION, "net", "a.example")
        assert "unreadable" == registry.check(SESSION, "net", "a.example").why
        assert not registry.is_allowed(str(SESSION), "net", "a.example")
    registry.register_uuid(OTHER, "beta")
    with registry.snapshot() as snapshot:
        assert "unreadable" == snapshot.check(OTHER, "net", "a.example").why
    for one in warnings(caplog):
        assert "Denied for a fault: a bug of ours" == one.getMessage()
        assert isinstance(one.exc_info, tuple)
        assert AttributeError is one.exc_info[0]
    assert [str(SESSION), str(OTHER)] == subjects(caplog)


@pytest.mark.usefixtures("sqlite")
def test_it_is_logged_once_for_each_subject_in_a_minute(
    registry: CapsuleRegistry,
    backend: Backend,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Ten denials of two senders give two lines; after a minute the next is logged again."""
    backend.tamper(url, "UPDATE capsules SET registered_revision = 'a word'")
    for _ in range(5):
        assert not registry.is_allowed(SESSION, "kv", "key")
        assert not registry.is_allowed(OTHER, "kv", "key")
    assert [str(SESSION), str(OTHER)] == subjects(caplog)

    monkeypatch.setattr(fault_log, "_INTERVAL_SECONDS", 0.0)
    assert not registry.is_allowed(OTHER, "kv", "key")
    assert [str(SESSION), str(OTHER), str(OTHER)] == subjects(caplog)


@pytest.mark.usefixtures("sqlite")
def test_what_nobody_could_have_written_is_logged(
    registry: CapsuleRegistry,
    backend: Backend,
    url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A grant that is no text is a fault, not a mere denial."""
    backend.tamper(url, "UPDATE grants SET value = x'6b6579'")

    assert "unreadable" == registry.check(SESSION, "kv", "key").why
    assert [str(SESSION)] == subjects(caplog)


class Asking(logging.Handler):
    """A log handler that asks the registry, as one that names the sender might."""

    def __init__(self, registry: CapsuleRegistry) -> None:
        super().__init__()
        self.registry = registry
        self.answers: list[object] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.answers.append(self.registry.find_by_uuid(OTHER))


def test_a_log_handler_may_ask_the_registry(
    registry: CapsuleRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A denial is logged once no lock and no connection is held, however it was decided."""
    lookups: Any = registry._lookups
    if hasattr(lookups, "distrust"):
        lookups.distrust = "so that the whole check is one statement, under the lock"
        lookups.entries = memory.NOTHING
    monkeypatch.setattr(checks, "decided", a_bug)
    handler = Asking(registry)
    logger = logging.getLogger("capsule_registry")
    logger.addHandler(handler)
    try:
        assert not registry.is_allowed(SESSION, "kv", "key")
    finally:
        logger.removeHandler(handler)

    assert ["alpha"] == handler.answers


def test_the_log_stays_small(
    registry: CapsuleRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is no UUID at all is a subject by its type; a minute has no more than so many lines."""
    monkeypatch.setattr(fault_log, "_MAX_LOGGED", 2)
    monkeypatch.setattr(checks, "asked_uuid", a_bug)
    for sender in (object(), object(), "a" * 1_000, 7, 8):
        assert not registry.is_allowed(sender, "kv", "key")  # type: ignore[arg-type]

    assert ["object", "a" * 64] == subjects(caplog)

    monkeypatch.setattr(fault_log, "_INTERVAL_SECONDS", 0.0)
    assert not registry.is_allowed(7, "kv", "key")  # type: ignore[arg-type]
    assert ["object", "a" * 64, "int"] == subjects(caplog)
    assert 1 == len(fault_log._logged)
