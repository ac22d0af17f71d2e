"""Cached lookups in a file: never an answer from a past moment."""

from __future__ import annotations

import math
import os
import random
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from capsule_registry import CapsuleRegistry
from capsule_registry.entities.session_uuids import WITHOUT_LEASE
from capsule_registry.lookups.file_lookups import FileLookups
from capsule_registry.unit_of_work.prepared_statements import PreparedScope
from support.factories import make_manifest
from support.sql_writer import SESSION, Writer

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = [
    pytest.mark.usefixtures("sqlite"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # A fork beside threads.
]

ROUNDS = 20_000


@pytest.fixture
def registry(url: str) -> Iterator[CapsuleRegistry]:
    """A registry in which the session may ask for a key, with that answer cached."""
    with CapsuleRegistry.open(url) as registry:
        registry.register(make_manifest("beta"))
        registry.register(make_manifest("alpha", capabilities={"kv": ["key"]}), uuids=[SESSION])
        assert "alpha" == registry.find_by_uuid(SESSION)
        assert registry.is_allowed(SESSION, "kv", "key")
        yield registry


def test_what_was_read_is_told_without_asking(
    registry: CapsuleRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repeated question runs no statement, in whatever form it is asked."""
    registry.get("alpha")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the database was asked")

    monkeypatch.setattr(registry._lookups, "_run", refuse)
    monkeypatch.setattr(PreparedScope, "rows", refuse)
    assert "alpha" == registry.find_by_uuid(UUID(str(SESSION)))
    assert registry.is_allowed(SESSION, "kv", "key")
    assert registry.check(SESSION, "kv", "other").allowed is False
    found = registry.get("alpha")
    assert found is not None
    assert "alpha" == found.id


@pytest.mark.stress
def test_another_process_is_seen_at_once(registry: CapsuleRegistry, writer: Writer) -> None:
    """After each of 20,000 changes by another process, every answer is current."""
    draw = random.Random(20_000)  # noqa: S311 - the same steps each time
    owner, state, grant = "alpha", "ready", "key"
    rare = ["checkpoint", "reopen", "rollback", "vacuum", "kill"]
    for number in range(ROUNDS):
        verb = draw.choices(
            ["point", "remove", "state", "grant", "other", *rare],
            [40, 5, 15, 15, 15, 2, 1, 4, 0.2, 0.1],
        )[0]
        if not owner and verb in ("point", "remove"):
            verb = "file"
        if verb == "kill":
            writer.kill()
        else:
            value = ""
            if verb in ("point", "file"):
                owner = value = draw.choice(["alpha", "beta"])
            elif verb == "remove":
                owner = ""
            elif verb == "state":
                state = value = draw.choice(["ready", "ready", "failed"])
            elif verb == "grant":
                grant = value = draw.choice(["key", "key", "none"])
            writer.do(f"{verb} {value or number}")
        may = (owner, state, grant) == ("alpha", "ready", "key")
        for _ in range(2):
            assert (owner or None) == registry.find_by_uuid(SESSION), (number, verb)
            assert may == registry.is_allowed(SESSION, "kv", "key"), (number, verb)

    assert registry._lookups.distrust is None  # type: ignore[attr-defined]


def test_without_the_header_it_would_be_stale(registry: CapsuleRegistry, writer: Writer) -> None:
    """The control: if neither header nor file ever seem to change, entries are stale."""
    entries = registry._lookups.entries
    entries.memory, entries.trusted_until = entries.header, math.inf
    writer.do("point beta")

    assert "alpha" == registry.find_by_uuid(SESSION)


def test_a_plain_mapping_is_found_by_one_statement(registry: CapsuleRegistry, url: str) -> None:
    """Its parameters, which the driver takes by place, are those that the statement was made of."""
    lookups = registry._lookups
    assert isinstance(lookups, FileLookups)
    bound = lookups._statements[WITHOUT_LEASE.statement, 0].parameters(
        {"namespace": "the namespace", "uuid": SESSION}
    )

    assert ["the namespace", str(SESSION)] == bound


def test_a_lease_that_runs_out_is_gone_without_a_commit(url: str) -> None:
    """Each hit checks the clock; a lease seen as expired does not come back."""
    now = [datetime(2100, 1, 1, tzinfo=UTC)]
    with CapsuleRegistry.open(url, clock=lambda: now[0]) as registry:
        registry.register(make_manifest("alpha", capabilities={"kv": ["key"]}))
        lease = registry.leases.open("worker", timedelta(seconds=10), renew=False)
        lease.register_uuid(SESSION, "alpha")
        for _ in range(2):
            assert "alpha" == registry.find_by_uuid(SESSION)
            assert registry.is_allowed(SESSION, "kv", "key")
        for seconds in (10, -20):
            now[0] += timedelta(seconds=seconds)
            assert None is registry.find_by_uuid(SESSION)
            assert not registry.is_allowed(SESSION, "kv", "key")


def test_a_renewal_empties_no_cache_and_a_closed_lease_is_gone(
    registry: CapsuleRegistry, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a lease's end is an event, in whichever process it happens."""
    with CapsuleRegistry.open(url) as other:
        lease = other.leases.open("worker", timedelta(hours=1), renew=False)
        session = UUID(int=7)
        lease.register_uuid(session, "beta")
        assert "beta" == registry.find_by_uuid(session)
        lease.renew()
        registry.find_by_uuid(SESSION)  # Reads the events: there are none.
        with monkeypatch.context() as patched:
            patched.setattr(registry._lookups, "_run", None)
            assert "beta" == registry.find_by_uuid(session)
        lease.close()
        assert None is registry.find_by_uuid(session)


@pytest.mark.stress
def test_threads_never_see_what_was_before(registry: CapsuleRegistry) -> None:
    """A lookup that begins after a change was acknowledged sees it or a later one."""
    acknowledged, stale, done = [0], [], threading.Event()
    registry.register_uuid(SESSION, "c-0")

    def read() -> None:
        while not done.is_set():
            least = acknowledged[0]
            found = registry.find_by_uuid(SESSION)
            if found is None or int(found.removeprefix("c-")) < least:
                stale.append((least, found))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for number in range(1, 50):
            registry.register_uuid(SESSION, f"c-{number}")
            acknowledged[0] = number
    finally:
        done.set()
        for reader in readers:
            reader.join()

    assert [] == stale


def test_both_sides_of_a_fork_see_what_others_do(registry: CapsuleRegistry, writer: Writer) -> None:
    """Neither side keeps what was open before: each reads anew and is never stale."""
    go, answer = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        outcome = 1
        try:
            first = registry.find_by_uuid(SESSION)
            os.write(answer[1], b"1")
            os.read(go[0], 1)
            outcome = 0 if (first, registry.find_by_uuid(SESSION)) == ("alpha", "beta") else 2
        finally:
            os._exit(outcome)
    os.read(answer[0], 1)
    writer.do("point beta")
    os.write(go[1], b"1")
    _, status = os.waitpid(child, 0)
    for descriptor in (*go, *answer):
        os.close(descriptor)

    assert 0 == os.waitstatus_to_exitcode(status)
    assert "beta" == registry.find_by_uuid(SESSION)
    writer.do("point alpha")
    assert "alpha" == registry.find_by_uuid(SESSION)


def test_descriptors_go_with_their_files(url: str) -> None:
    """Repeated opening and closing leaves no descriptor open."""
    opened = []
    for _ in range(5):
        with CapsuleRegistry.open(url) as registry:
            registry.find_by_uuid(SESSION)
        opened.append(len([*Path("/proc/self/fd").iterdir()]))

    assert opened[1] == opened[-1]
