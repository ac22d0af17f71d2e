"""Following a namespace: ordered, unique, reliable, atomic, resumable, bookmarkable."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from capsule_registry import (
    CapsuleRegistry,
    FutureRevisionError,
    HistoryCorruptError,
    IncarnationChangedError,
    InvalidCapsuleIdError,
    RegistryAdmin,
    RegistryClosedError,
    TransactionInProgressError,
)
from capsule_registry.history.revisions import REVISIONS_AT_ONCE
from support.factories import CLI, make_manifest
from support.histories import make_history

if TYPE_CHECKING:
    from conftest import Clock
    from support.backends import Backend

AT_ONCE = timedelta(0)


def test_a_watch_yields_whole_revisions_in_order(registry: CapsuleRegistry) -> None:
    """From any revision on: the same revisions, each with all its events."""
    make_history(registry)
    everything = [*registry.history.watch(after=0, timeout=AT_ONCE)]

    assert [*range(1, registry.history.revision + 1)] == [one.revision for one in everything]
    assert ["namespace.created"] == [event.action for event in everything[0].events]
    for one in everything:
        assert [*range(len(one.events))] == [event.position for event in one.events]
        assert {one.revision} == {event.revision for event in one.events}
    for after in range(len(everything) + 1):
        assert everything[after:] == [*registry.history.watch(after=after, timeout=AT_ONCE)]


def test_a_cascade_is_told_event_by_event(registry: CapsuleRegistry) -> None:
    """Unregistering yields an event for each uplink and UUID removed, with its old row."""
    registry.register(make_manifest(uplink=[CLI]), uuids=["00000000-0000-0000-0000-000000000001"])
    watch = registry.history.watch(timeout=AT_ONCE)
    registry.unregister("alpha")
    [revision] = watch

    assert "tester" == revision.actor
    assert [
        ("uplink.unregistered", "alpha", "cli"),
        ("uuid.unregistered", "alpha", None),
        ("capsule.unregistered", "alpha", None),
    ] == [
        (event.action, event.capsule_id, (event.old_row or {}).get("platform"))
        for event in revision.events
    ]
    assert [None] * 3 == [event.new_row for event in revision.events]


def test_progress_is_an_attribute(registry: CapsuleRegistry) -> None:
    """`revision` is where to resume, and `lag` the number of revisions left."""
    watch = registry.history.watch(timeout=AT_ONCE)
    for name in ("a", "b", "c"):
        registry.register(make_manifest(name))
    assert (1, 3) == (watch.revision, watch.lag)
    next(watch)
    assert (2, 2) == (watch.revision, watch.lag)
    assert [3, 4] == [one.revision for one in watch]
    assert (4, 0) == (watch.revision, watch.lag)

    registry.unregister("a")
    assert [5] == [one.revision for one in watch]


def test_more_than_one_batch_is_followed(registry: CapsuleRegistry) -> None:
    """A watcher that is far behind gets everything, in order."""
    with registry.transaction() as transaction:
        transaction.register(make_manifest())
    for _ in range(REVISIONS_AT_ONCE // 2 + 1):
        registry.unregister("alpha")
        registry.register(make_manifest())
    found = [one.revision for one in registry.history.watch(after=0, timeout=AT_ONCE)]

    assert [*range(1, REVISIONS_AT_ONCE + 5)] == found


def test_a_watch_waits_for_what_comes(registry: CapsuleRegistry, url: str) -> None:
    """It wakes when another registry commits."""
    watch = registry.history.watch(timeout=timedelta(seconds=30))
    with CapsuleRegistry.open(url) as other:
        thread = threading.Timer(0.1, lambda: other.register(make_manifest()))
        thread.start()
        revision = next(watch)
        thread.join()

    assert (2, "alpha") == (revision.revision, revision.events[0].capsule_id)


def test_a_start_beyond_the_head_is_an_error(registry: CapsuleRegistry) -> None:
    """Nothing is known about revisions that do not exist yet."""
    with pytest.raises(FutureRevisionError):
        next(registry.history.watch(after=2, timeout=AT_ONCE))


def test_a_revision_that_is_missing_is_an_error(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """A gap, or a revision that lost an event, ends the watch, never silently."""
    make_history(registry)
    backend.tamper(url, "DELETE FROM events WHERE revision = 3 AND position = 0")
    watch = registry.history.watch(after=0, timeout=AT_ONCE)
    with pytest.raises(HistoryCorruptError, match="revision 3"):
        list(watch)
    backend.tamper(url, "DELETE FROM revisions WHERE revision = 2")
    watch = registry.history.watch(after=0, timeout=AT_ONCE)
    with pytest.raises(HistoryCorruptError, match="revision 2"):
        list(watch)


def test_another_incarnation_ends_the_watch(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """Once the database was restored from a backup, positions mean nothing."""
    watch, past = registry.history.watch(timeout=AT_ONCE), registry.at(revision=1)
    backend.rows(url, "UPDATE namespaces SET incarnation = '00000000-0000-0000-0000-000000000001'")
    with pytest.raises(IncarnationChangedError):
        next(watch)
    with pytest.raises(IncarnationChangedError):
        past.list()


def test_a_watch_is_resumed_in_the_same_history(registry: CapsuleRegistry, url: str) -> None:
    """Given revision and incarnation, a restore since then is never missed."""
    registry.register(make_manifest())
    watch = registry.history.watch()
    bookmark = {"after": watch.revision, "incarnation": watch.incarnation}
    assert [] == [*registry.history.watch(**bookmark, timeout=AT_ONCE)]  # type: ignore[arg-type]
    with RegistryAdmin.open(url) as admin:
        admin.accept_restore()

    with pytest.raises(IncarnationChangedError):
        registry.history.watch(**bookmark)  # type: ignore[arg-type]


def test_threads_share_a_watch(registry: CapsuleRegistry) -> None:
    """Each revision goes to exactly one of them."""
    for number in range(40):
        registry.register(make_manifest(f"c{number}"))
    watch = registry.history.watch(after=0, timeout=AT_ONCE)
    seen: list[int] = []
    threads = [
        threading.Thread(target=lambda: seen.extend(one.revision for one in watch))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [*range(1, 42)] == sorted(seen)


def test_the_history_is_not_read_inside_a_transaction(registry: CapsuleRegistry) -> None:
    """Nor followed or pruned: the thread gets an error at once."""
    watch, past = registry.history.watch(), registry.at(revision=1)
    anchor = registry.history.anchor()
    with registry.transaction():
        for refused in (
            registry.history.list,
            lambda: next(watch),
            past.list,
            lambda: registry.history.prune(anchor),
        ):
            with pytest.raises(TransactionInProgressError):
                refused()


def test_a_closed_registry_is_followed_no_more(url: str) -> None:
    """The next step of the watch raises."""
    with CapsuleRegistry.open(url) as registry:
        watch = registry.history.watch(timeout=timedelta(seconds=30))
    with pytest.raises(RegistryClosedError):
        next(watch)


def test_the_history_is_listed_in_pages(registry: CapsuleRegistry) -> None:
    """All pages together have every revision once."""
    make_history(registry)
    pages, after = [], 0
    while page := registry.history.list(after=after, limit=4):
        pages.append([one.revision for one in page])
        after = page[-1].revision

    assert [*range(1, registry.history.revision + 1)] == [n for page in pages for n in page]
    assert {4} == {len(page) for page in pages[:-1]}
    assert registry.history.list() == registry.history.list(after=0)


def test_the_history_is_searched(registry: CapsuleRegistry, clock: Clock, url: str) -> None:
    """By capsule, action, actor and time, alone and combined; revisions come whole."""
    start = clock.now
    for number, name in enumerate(("alpha", "beta", "alpha2")):
        clock.now = start + (number + 1) * timedelta(minutes=1)
        registry.register(make_manifest(name, uplink=[CLI]))
    with CapsuleRegistry.open(url, actor="somebody else", clock=clock) as other:
        clock.now = start + timedelta(minutes=4)
        other.unregister("alpha")

    def found(**wanted: object) -> list[int]:
        return [one.revision for one in registry.history.list(**wanted)]  # type: ignore[arg-type]

    assert [2, 5] == found(capsule_id="alpha")
    assert [2, 3, 4] == found(action="uplink.registered")
    assert [2] == found(action="uplink.registered", capsule_id="alpha")
    assert [5] == found(actor="somebody else")
    assert [] == found(actor="somebody else", capsule_id="beta")
    assert [3, 4, 5] == found(since=start + timedelta(minutes=2))
    assert [1, 2, 3] == found(until=start + timedelta(minutes=2))
    assert [3] == found(since=start + timedelta(minutes=2), until=start + timedelta(minutes=2))
    assert [4] == found(after=3, action="capsule.registered")
    assert [] == found(after=99)
    [whole] = registry.history.list(action="uplink.registered", capsule_id="alpha")
    assert ["capsule.registered", "uplink.registered"] == [event.action for event in whole.events]


def test_what_cannot_be_searched_for_is_an_error(registry: CapsuleRegistry) -> None:
    """Each error has its type, and nothing else happens."""
    with pytest.raises(InvalidCapsuleIdError):
        registry.history.list(capsule_id="Not An Id")
    with pytest.raises(ValueError, match="limit"):
        registry.history.list(limit=0)
    edge = timezone(timedelta(hours=14))
    for time in (datetime(1, 1, 1, tzinfo=edge), datetime.min.replace(tzinfo=UTC)):
        assert 1 == len(registry.history.list(since=time, after=0, limit=2**70))
        assert [] == registry.history.list(until=time)
    assert [] == registry.history.list(after=2**70)
    with pytest.raises(FutureRevisionError):
        registry.history.watch(after=2**70)
