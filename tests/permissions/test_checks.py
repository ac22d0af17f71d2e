"""Decisions: who may do what, by UUID, lease, the capsule's state and its grants."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from capsule_registry import (
    CapsuleId,
    CapsuleRegistry,
    Decision,
    DecisionReason,
    HistoryCorruptError,
    InvalidCapsuleIdError,
    TransactionDoomedError,
    UuidHeldError,
    sqlite_module,
)
from support.factories import make_manifest
from support.standing import LIVE, QUESTION, SESSION, Standing, stand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from capsule_registry import CapsuleManifest
    from conftest import Clock
    from support.backends import Backend, SqliteBackend

pytestmark = pytest.mark.files_alone


MINUTE = timedelta(minutes=1)
CAPABILITIES: dict[str, Any] = {
    "net": ["good.com"],
    "kv": ["first", "*", "last"],
    "fs_read": ["workspace://src"],
    "host_process": ["git"],
    "net_bind": ["127.0.0.1:80"],
    "ipc_publish": ["a.*"],
    "identity": ["link"],
    "uplink": True,
}


@pytest.fixture
def standing(url: str, clock: Clock) -> Iterator[Standing]:
    """A registry in which a leased `SESSION` may ask for `key`, with a clock of its own."""
    made = stand(url, clock=clock)
    yield made
    made.close()


def may(capability: str, *values: str) -> CapsuleManifest:
    """Return the manifest of a capsule with this grant alone."""
    return make_manifest("alpha", capabilities={capability: list(values)})


def denied(why: DecisionReason, revision: int, capsule_id: str | None = None) -> Decision:
    owner = None if capsule_id is None else CapsuleId(capsule_id)
    return Decision(allowed=False, why=why, capsule_id=owner, revision=revision)


def granted(grant: str, revision: int) -> Decision:
    return Decision(
        allowed=True,
        why=DecisionReason.GRANTED,
        capsule_id=CapsuleId("alpha"),
        grant=grant,
        revision=revision,
    )


@pytest.mark.parametrize(
    ("question", "grant"),
    [
        (("net", "https://a.good.com/"), "good.com"),
        (("kv", "last"), "*"),
        (("kv", "first"), "first"),
        (("fs_read", "workspace://src/a"), "workspace://src"),
        (("host_process", "git status"), "git"),
        (("net_bind",), "127.0.0.1:80"),
        (("ipc_publish", "a.b"), "a.*"),
        (("identity", "resolve"), "link"),
        (("uplink",), "true"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_a_grant_covers_is_allowed(
    registry: CapsuleRegistry, question: tuple[str, ...], grant: str
) -> None:
    """The decision names the capsule, the first covering entry and the revision."""
    registry.register(make_manifest("alpha", capabilities=CAPABILITIES), uuids=[SESSION])

    assert granted(grant, 2) == registry.check(SESSION, *question)
    assert granted(grant, 2) == registry.check(str(SESSION).upper(), *question)
    assert True is registry.is_allowed(SESSION, *question)
    assert granted(grant, 2) == registry.at(revision=2).check(SESSION, *question)


def test_the_past_of_one_capsule_is_not_anothers(backend: Backend) -> None:
    """Neither another capsule's grants and state nor another namespace's revision counts."""
    url = backend.new_url()
    with (
        CapsuleRegistry.open(url, namespace="another") as another,
        CapsuleRegistry.open(url) as registry,
    ):
        for name in ("before", "alpha", "behind"):
            granted_to = {} if name == "alpha" else {"kv": ["key"]}
            registry.register(make_manifest(name, capabilities=granted_to))
        registry.register_uuid(SESSION, "alpha")
        another.register(make_manifest("alpha", capabilities={"kv": ["key"]}), uuids=[SESSION])
        now = registry.history.revision
        past = registry.at(revision=now)

        assert denied(DecisionReason.NOT_GRANTED, now, "alpha") == past.check(*QUESTION)
        registry.register_uuid(SESSION, "behind")
        for name in ("before", "alpha"):
            registry.set_state(name, "failed")
        now = registry.history.revision
        decision = registry.at(revision=now).check(*QUESTION)
        assert (True, "behind", now) == (decision.allowed, decision.capsule_id, decision.revision)


def test_what_is_no_uuid_is_nobody_in_the_past(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """Not even a row whose UUID somebody removed from the history."""
    registry.register(may("kv", "key"), uuids=[SESSION])
    backend.tamper(url, f"UPDATE events SET new_row = REPLACE(new_row, '\"{SESSION}\"', 'null')")

    decision = registry.at(revision=2).check("no UUID", "kv", "key")
    assert denied(DecisionReason.UNKNOWN_UUID, 2) == decision


def test_uuids_of_a_capsule_that_went_without_them_are_nobodys(
    registry: CapsuleRegistry, sqlite: SqliteBackend, url: str
) -> None:
    """A program that ignores foreign keys leaves UUIDs that no later capsule of the id adopts."""
    assert sqlite
    registry.register(may("kv", "key"), uuids=[SESSION])
    assert registry.is_allowed(*QUESTION)
    with closing(sqlite_module.connect(url.removeprefix("sqlite:///"))) as other:
        for table in ("capsules", "grants"):
            other.execute(f"DELETE FROM {table}")
        other.commit()

    assert denied(DecisionReason.UNKNOWN_UUID, 2) == registry.check(*QUESTION)
    assert None is registry.find_by_uuid(SESSION)
    registry.register(may("kv", "key"))
    assert denied(DecisionReason.UNKNOWN_UUID, 3) == registry.check(*QUESTION)
    assert None is registry.find_by_uuid(SESSION)
    assert "from memory" in registry._lookups.way


#: Each change, one minute apart, and the decision from then on.
STEPS: list[tuple[Callable[[CapsuleRegistry], object], DecisionReason]] = [
    (lambda r: r.register(may("net", "key")), DecisionReason.UNKNOWN_UUID),
    (lambda r: r.register_uuid(SESSION, "alpha"), DecisionReason.NOT_GRANTED),
    (lambda r: r.replace(may("kv", "other", "key")), DecisionReason.UNKNOWN_UUID),
    (lambda r: r.register_uuid(SESSION, "alpha"), DecisionReason.GRANTED),
    (lambda r: r.set_state("alpha", "loading"), DecisionReason.NOT_READY),
    (lambda r: r.set_state("alpha", "failed", "broken"), DecisionReason.NOT_READY),
    (lambda r: r.set_state("alpha", "unloading"), DecisionReason.NOT_READY),
    (lambda r: r.set_state("alpha", "unloaded"), DecisionReason.NOT_READY),
    (lambda r: r.set_state("alpha", "ready"), DecisionReason.GRANTED),
    (lambda r: r.register_uuid(SESSION, "ghost"), DecisionReason.NOT_REGISTERED),
    (lambda r: r.register_uuid(SESSION, "alpha"), DecisionReason.GRANTED),
    (lambda r: r.unregister_uuid(SESSION), DecisionReason.UNKNOWN_UUID),
    (lambda r: r.register_uuid(SESSION, "alpha"), DecisionReason.GRANTED),
    (lambda r: r.unregister("alpha"), DecisionReason.UNKNOWN_UUID),
    (lambda r: r.register_uuid(SESSION, "alpha"), DecisionReason.NOT_REGISTERED),
    (lambda r: r.register(may("kv", "*")), DecisionReason.GRANTED),
    (lambda r: r.replace(may("kv")), DecisionReason.UNKNOWN_UUID),
]


def test_each_revision_decides_as_it_did_then(registry: CapsuleRegistry, clock: Clock) -> None:
    """The live decision after each step is also that of its revision and time."""
    then: list[tuple[datetime, Decision]] = []
    for step, why in STEPS:
        clock.step(MINUTE)
        step(registry)
        decision = registry.check(*QUESTION)
        assert (why, why is DecisionReason.GRANTED) == (decision.why, decision.allowed), len(then)
        then.append((clock.now, decision))

    for time, decision in then:
        assert decision.revision is not None
        for past in (
            registry.at(revision=decision.revision),
            registry.at(time=time),
            registry.at(time=time + MINUTE * 0.9),
        ):
            assert decision == past.check(*QUESTION)
            assert decision.allowed is past.is_allowed(*QUESTION)
    assert denied(DecisionReason.UNKNOWN_UUID, 0) == registry.at(revision=0).check(*QUESTION)


def test_a_lease_decides_until_the_moment_at_which_it_ends(
    registry: CapsuleRegistry, clock: Clock
) -> None:
    """Allowed a microsecond before its end, denied at its end, reaped or not, live or past."""
    registry.register(may("kv", "key"))
    lease = registry.leases.open("worker", MINUTE, renew=False)
    lease.register_uuid(SESSION, "alpha")
    clock.step(MINUTE / 2)
    lease.renew()
    end = clock.now + MINUTE
    clock.now = end - timedelta.resolution

    assert granted("key", 4) == registry.check(*QUESTION)
    clock.now = end
    assert denied(DecisionReason.UNKNOWN_UUID, 4) == registry.check(*QUESTION)
    clock.now = end - MINUTE / 2  # A clock that is set back is not believed.
    assert False is registry.is_allowed(*QUESTION)
    clock.now = end + MINUTE
    for _ in range(2):
        for time, expected in (
            (end - MINUTE * 1.5, True),
            (end - timedelta.resolution, True),
            (end, False),
            (end + MINUTE / 2, False),
        ):
            assert expected is registry.at(time=time).is_allowed(*QUESTION)
        assert True is registry.at(revision=4).is_allowed(*QUESTION)
        assert False is registry.is_allowed(*QUESTION)
        registry.leases.reap()


def test_a_lease_that_was_closed_decided_until_then(standing: Standing, clock: Clock) -> None:
    """Its UUIDs go with it, but past answers still know them."""
    registry, then = standing.registry, clock.now
    clock.step(MINUTE)
    assert standing.lease is not None
    standing.lease.close()

    assert denied(DecisionReason.UNKNOWN_UUID, 6) == registry.check(*QUESTION)
    assert True is registry.at(revision=5).is_allowed(*QUESTION)
    assert True is registry.at(time=then + MINUTE / 2).is_allowed(*QUESTION)
    assert False is registry.at(time=then + MINUTE).is_allowed(*QUESTION)


def test_a_clock_that_is_behind_gives_no_lease_more_time(
    standing: Standing, url: str, clock: Clock
) -> None:
    """No process takes the time to be before the last commit, whatever its clock says."""
    now = clock.now
    behind = CapsuleRegistry.open(url, clock=lambda: now)
    assert behind.is_allowed(*QUESTION)
    clock.step(timedelta(hours=2))
    standing.registry.register(make_manifest("later"))

    assert denied(DecisionReason.UNKNOWN_UUID, 6) == behind.check(*QUESTION)
    behind.close()


def test_a_snapshot_decides_as_of_its_moment(standing: Standing, clock: Clock) -> None:
    """Whatever commits meanwhile and however late; afterwards its decisions are not kept."""
    registry = standing.registry
    with registry.snapshot() as view:
        registry.set_state("alpha", "failed")
        clock.step(timedelta(hours=2))
        assert granted("key", 5) == view.check(*QUESTION)
        assert denied(DecisionReason.UNKNOWN_UUID, 6) == registry.check(*QUESTION)


def test_a_transaction_decides_by_what_it_has_done(standing: Standing) -> None:
    """It sees its own changes as of the revision before, and a denial does not doom it."""
    with standing.registry.transaction() as transaction:
        assert granted("key", 5) == transaction.check(*QUESTION)
        transaction.set_state("alpha", "failed")
        assert denied(DecisionReason.NOT_READY, 5, "alpha") == transaction.check(*QUESTION)
        assert False is transaction.is_allowed(SESSION, "nothing", "key")
        assert False is transaction.is_allowed(SESSION, "kv", None)
        transaction.set_state("alpha", "ready")
        transaction.replace(may("kv", "other"))
        assert False is transaction.is_allowed(*QUESTION)
    assert False is standing.registry.is_allowed(*QUESTION)


def test_what_a_doomed_transaction_granted_is_not_granted(standing: Standing) -> None:
    """Rolled back changes never counted, then or now."""
    registry = standing.registry
    with pytest.raises(TransactionDoomedError), registry.transaction() as transaction:
        transaction.register(make_manifest("gamma", capabilities=CAPABILITIES))
        transaction.register_uuid(UUID(int=3), "gamma")
        assert transaction.is_allowed(UUID(int=3), "uplink")
        with pytest.raises(UuidHeldError):
            transaction.register_uuid(SESSION, "gamma")

    assert denied(DecisionReason.UNKNOWN_UUID, 5) == registry.check(UUID(int=3), "uplink")
    standing.assert_allowed(("registry", "revision"))


def test_what_another_capsule_or_namespace_may_is_its_own(standing: Standing, url: str) -> None:
    """Equal UUIDs, leases and ids elsewhere give no grants and no state here."""
    everything = make_manifest("alpha", capabilities=CAPABILITIES)
    with CapsuleRegistry.open(url, namespace="other") as other:
        lease = other.leases.open("worker", renew=False)
        other.register(everything)
        lease.register_uuid(SESSION, "alpha")
        only_there = UUID(int=3)
        other.register_uuid(only_there, "alpha")
        assert other.is_allowed(SESSION, "net", "good.com")
        standing.registry.register(make_manifest("gamma", capabilities=CAPABILITIES))

        not_its_own = (SESSION, "net", "good.com")
        for way in LIVE:
            not_granted = denied(DecisionReason.NOT_GRANTED, 6, "alpha")
            assert not_granted == standing.ask(way, "check", *not_its_own)
            unknown = denied(DecisionReason.UNKNOWN_UUID, 6)
            assert unknown == standing.ask(way, "check", only_there, "kv", "first")
        standing.registry.set_state("alpha", "failed")
        for way in LIVE:
            not_ready = denied(DecisionReason.NOT_READY, 7, "alpha")
            assert not_ready == standing.ask(way, "check", *QUESTION)
        assert other.is_allowed(SESSION, "net", "good.com")


@pytest.mark.parametrize(
    "error",
    [
        AttributeError(),
        HistoryCorruptError("", ""),
        InvalidCapsuleIdError("", ""),
        OverflowError(),
        RecursionError(),
        TypeError(),
        ValueError(),
    ],
    ids=repr,
)
def test_what_cannot_be_read_while_deciding_denies(
    standing: Standing, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It neither allows, nor raises, nor dooms a transaction, wherever reading fails."""
    assert standing.registry.is_allowed(*QUESTION)  # The control.

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("capsule_registry.permissions.checks.judge", fail)
    standing.forget()
    for way in ("registry", "snapshot", "transaction", "revision"):
        with standing.reading(way) as reader:
            assert Decision(allowed=False, why=DecisionReason.UNREADABLE) == reader.check(*QUESTION)
            assert False is reader.is_allowed(*QUESTION)
