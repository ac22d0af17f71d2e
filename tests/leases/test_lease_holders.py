"""Leases of real processes and threads, on real clocks."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from capsule_registry import (
    CapsuleRegistry,
    ConflictError,
    LeaseLostError,
    RegistryClosedError,
    TransactionInProgressError,
    UuidHeldError,
    clocks,
)
from capsule_registry.schema.tables import leases
from support.backends import engine_on
from support.factories import make_manifest
from support.lease_steps import (
    ABSENT,
    HOUR,
    MANIFEST,
    ONE,
    SHORT,
    THERE,
    TTL,
    TWO,
    actions,
    record,
    seen,
    wait_until,
)
from support.processes import Child, at_once
from support.statements import watch_statements

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from capsule_registry import OpenLease
    from conftest import Clock
    from support.backends import Backend, ServerBackend, SqliteBackend

pytestmark = [
    pytest.mark.files_alone,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Python warns of fork and threads.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def open_renewed(registry: CapsuleRegistry, ttl: timedelta) -> tuple[OpenLease, threading.Thread]:
    """Return a lease and the thread that renews it."""
    before = {*threading.enumerate()}
    lease = registry.leases.open("tests", ttl)
    [thread] = {*threading.enumerate()} - before
    return lease, thread


def test_leases_are_refused_inside_the_registrys_own_transaction(registry: CapsuleRegistry) -> None:
    """At once, even while the renewing thread waits for that very transaction."""
    with registry.leases.open("tests", 3 * SHORT) as lease:
        began = time.monotonic()
        with suppress(LeaseLostError), registry.transaction() as transaction:
            transaction.register(MANIFEST)
            wait_until(lambda: time.monotonic() > began + 0.2)
            for use in (
                lease.renew,
                lambda: lease.register_uuid(ONE, "alpha"),
                lease.close,
                registry.leases.list,
                registry.leases.reap,
                lambda: registry.leases.open("another"),
            ):
                with pytest.raises(TransactionInProgressError):
                    use()
        assert time.monotonic() - began < 5
    assert [] == registry.leases.list()


def test_a_lease_is_renewed_until_it_is_closed(registry: CapsuleRegistry, clock: Clock) -> None:
    """By a thread that makes no revision, reaps others' leases, and ends with the lease."""
    registry.leases.open("left", SHORT, renew=False)
    lease, thread = open_renewed(registry, 9 * SHORT)
    with lease:
        for _ in range(3):
            clock.step(8 * SHORT)
            wait_until(lambda: record(registry, lease).expires_at == clock.now + 9 * SHORT)
        assert (False, True) == (lease.lost, thread.daemon)
        wait_until(lambda: 4 == registry.history.revision)
    assert not thread.is_alive()
    assert ["lease.expired", "lease.reaped"] == actions(registry, 3)[0]
    assert [["lease.closed"]] == actions(registry, 4)


def test_a_thread_that_finds_the_lease_lost_ends(registry: CapsuleRegistry) -> None:
    """The lease is marked lost, and closing it does nothing."""
    lease, thread = open_renewed(registry, SHORT)
    registry.leases.close(lease.id)
    wait_until(lambda: not thread.is_alive())
    assert lease.lost
    lease.close()
    assert 3 == registry.history.revision


def test_a_closed_registry_renews_nothing(url: str, registry: CapsuleRegistry) -> None:
    """Closing it ends its threads, and its leases expire."""
    with CapsuleRegistry.open(url) as mine:
        lease, thread = open_renewed(mine, TTL)
        lease.register_uuid(ONE, "alpha")
    assert not thread.is_alive()
    assert "alpha" == registry.at(revision=3).find_by_uuid(ONE)
    for use in (lease.renew, lambda: lease.register_uuid(TWO, "alpha"), lease.close):
        with pytest.raises(RegistryClosedError):
            use()


def test_threads_share_a_lease(registry: CapsuleRegistry) -> None:
    """Four register UUIDs through a lease being renewed, and all UUIDs go with it."""
    with registry.leases.open("tests", TTL) as lease:

        def work(number: int) -> None:
            for count in range(5):
                lease.register_uuid(UUID(int=10 * number + count), f"c{number}")
                lease.renew()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [lease.id] * 20 == [filed.lease_id for filed in registry.uuids()]
    assert [] == registry.uuids()


def test_a_forked_child_holds_nothing(url: str) -> None:
    """The lease is the parent's: a child can neither write through it, renew nor close it."""
    with CapsuleRegistry.open(url) as registry, registry.leases.open("t", 20 * SHORT) as lease:
        lease.register_uuid(ONE, "alpha")

        def work(say: Callable[[str], None]) -> None:
            with lease:
                uses: list[Callable[[], object]] = [
                    lambda: lease.register_uuid(TWO, "alpha"),
                    lambda: registry.register_uuid(TWO, "alpha", lease=lease),
                    lease.renew,
                ]
                for use in uses:
                    with pytest.raises(LeaseLostError):
                        use()
                say(f"{lease.lost} {len(threading.enumerate())} {registry.find_by_uuid(ONE)}")
            registry.close()

        assert (["True 1 alpha"], 0) == Child(work).end()
        first = record(registry, lease).expires_at
        wait_until(lambda: record(registry, lease).expires_at > first + 5 * SHORT)
        assert ("alpha", False) == (registry.find_by_uuid(ONE), lease.lost)


@pytest.mark.stress
def test_what_a_killed_process_held_goes(backend: Backend, url: str) -> None:
    """Within its ttl by the database's clock, in the views too; any reaper then removes it."""

    def work(say: Callable[[str], None]) -> None:
        with CapsuleRegistry.open(url) as mine, mine.leases.open("tests", 10 * SHORT) as lease:
            mine.register(MANIFEST, uuids=[ONE], lease=lease)
            first = record(mine, lease).expires_at
            wait_until(lambda: record(mine, lease).expires_at > first + 2 * SHORT)
            say(str(lease.id))
            time.sleep(60)

    with CapsuleRegistry.open(url) as registry:
        child = Child(work)
        lease_id = child.readline()
        assert (THERE, 1) == (seen(registry), len(backend.rows(url, "SELECT * FROM live_uuids")))
        child.kill()
        child.end()
        wait_until(lambda: seen(registry) == ABSENT)
        wait_until(lambda: not backend.rows(url, "SELECT * FROM live_uuids"))
        assert 3 == registry.history.revision
        assert [lease_id] == [str(lease.id) for lease in registry.leases.reap()]
        assert registry.history.verify().ok


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_on_a_server_the_clients_clocks_change_nothing(
    server: ServerBackend, url: str, monkeypatch: pytest.MonkeyPatch, step: timedelta
) -> None:
    """A client with a wrong clock opens, renews, reads and reaps like any other."""
    with CapsuleRegistry.open(url) as right:
        held = right.leases.open("right", TTL, renew=False)
        right.register(MANIFEST, uuids=[ONE], lease=held)
        monkeypatch.setattr(clocks, "host_clock", lambda: record(right, held).opened_at + step)
        with CapsuleRegistry.open(url) as wrong:
            mine = wrong.leases.open("wrong", 15 * SHORT, renew=False)
            mine.renew()
            mine.register_uuid(TWO, "alpha")
            assert [THERE, THERE] == [seen(wrong, ONE), seen(right, TWO)]
            assert [] == wrong.leases.reap()
            wait_until(lambda: seen(wrong, TWO) == ABSENT == seen(right, TWO))
            assert (THERE, [mine.id]) == (seen(wrong), [one.id for one in wrong.leases.reap()])


@pytest.mark.stress
def test_on_a_file_a_step_back_revives_nothing(
    sqlite: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease ends after its ttl of uptime at the latest, and an expired one stays expired."""
    url, now = sqlite.new_url(), clocks.host_clock()
    with CapsuleRegistry.open(url) as registry:
        lease = registry.leases.open("tests", 15 * SHORT, renew=False)
        registry.register(MANIFEST, uuids=[ONE], lease=lease)
    monkeypatch.setattr(clocks, "host_clock", lambda: now - HOUR)
    with CapsuleRegistry.open(url) as later:
        wait_until(lambda: seen(later) == ABSENT)
        assert ([], lease.id) == (later.leases.list(), later.leases.reap()[0].id)
        with pytest.raises(LeaseLostError):
            later.leases.renew(lease.id)


def test_on_a_file_a_step_forward_ends_leases_early(
    sqlite: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And for good, once anybody has written meanwhile."""
    url, now = sqlite.new_url(), clocks.host_clock()
    with CapsuleRegistry.open(url) as registry:
        lease = registry.leases.open("tests", TTL, renew=False)
        registry.register(MANIFEST, uuids=[ONE], lease=lease)
        with monkeypatch.context() as patch:
            patch.setattr(clocks, "host_clock", lambda: now + HOUR)
            assert ABSENT == seen(registry)
            registry.register(make_manifest("b"))
    with CapsuleRegistry.open(url) as later:
        assert ABSENT == seen(later)


def test_a_renewal_whose_answer_was_lost_is_done_again(
    server: ServerBackend, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The renewing caller learns that the lease is held, and no revision is made."""
    with CapsuleRegistry.open(url) as registry:
        lease = registry.leases.open("tests", TTL, renew=False)
        first = record(registry, lease).expires_at
        dialect = registry._database.engine.dialect
        original = dialect.do_commit

        def commit(connection: Any) -> None:
            monkeypatch.setattr(dialect, "do_commit", original)
            original(connection)
            server.break_connections(url)
            connection.cursor().execute("SELECT 1")

        monkeypatch.setattr(dialect, "do_commit", commit)
        lease.renew()
        assert (True, 2) == (record(registry, lease).expires_at > first, registry.history.revision)


def test_any_number_of_reapers_may_run(
    registry: CapsuleRegistry, backend: Backend, url: str, clock: Clock
) -> None:
    """Of four processes, exactly one reaps each expired lease, and none a live one."""
    gone = [registry.leases.open("gone", renew=False).id for _ in range(8)]
    for number, lease_id in enumerate(gone):
        registry.register_uuid(UUID(int=number), f"c{number}", lease=lease_id)
    clock.step(TTL)
    live = registry.leases.open("live", renew=False)

    def work(number: int, say: Callable[[str], None]) -> None:
        with CapsuleRegistry.open(url, clock=clock) as mine:
            for lease in mine.leases.reap():
                say(str(lease.id))

    lines = [line for found in at_once(4, work) for line in found]
    assert sorted(map(str, gone)) == sorted(lines)
    assert [live.id] == [UUID(row["id"]) for row in backend.table(url, "leases")]
    assert ([], []) == (backend.table(url, "uuid_mappings"), backend.table(url, "capsules"))
    assert registry.history.verify().ok


def test_a_uuid_is_not_taken_from_a_lease_that_is_being_renewed(
    server: ServerBackend, url: str
) -> None:
    """An expired lease is checked again once an earlier renewal has committed."""
    now = clocks.host_clock()
    results: list[object] = []
    waiting = threading.Event()
    engine = engine_on(url)
    with (
        CapsuleRegistry.open(url, clock=lambda: now) as holder,
        CapsuleRegistry.open(url, clock=lambda: now + TTL) as other,
        engine.connect() as renewal,
    ):
        lease = holder.leases.open("tests", TTL, renew=False)
        lease.register_uuid(ONE, "alpha")

        def take() -> None:
            try:
                other.register_uuid(ONE, "b")
            except ConflictError as error:
                results.append(type(error))

        def note(cursor: Any, statement: str, parameters: object) -> None:
            if "leases" in statement and "UPDATE" in statement:
                waiting.set()

        watch_statements(other._database.engine, note)
        renewal.execute(sa.update(leases).values(expires_at=now + 2 * TTL))
        thread = threading.Thread(target=take)
        thread.start()
        assert waiting.wait(10)
        renewal.commit()
        thread.join()
        assert ([UuidHeldError], "alpha") == (results, holder.find_by_uuid(ONE))
    engine.dispose()
