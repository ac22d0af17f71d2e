"""Real processes: commits are visible to all, and killed ones leave nothing half done."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from capsule_registry import CapsuleAlreadyRegisteredError, CapsuleRegistry
from capsule_registry.schema.version import SCHEMA_VERSION
from support.backends import shape
from support.factories import CLI, make_manifest
from support.histories import assert_chain_holds, live, replayed
from support.processes import Child, at_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.backends import Backend

# Python warns of a fork beside threads.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def writing(url: str, name: str, rounds: int) -> Child:
    """Start a process that registers capsules, and prints each id once acknowledged."""

    def write(say: Callable[[str], None]) -> None:
        with CapsuleRegistry.open(url) as registry:
            for number in range(rounds):
                capsule_id = f"{name}-{number}"
                registry.register(make_manifest(capsule_id, uplink=[CLI]), uuids=[uuid4()])
                say(capsule_id)

    return Child(write)


def test_four_processes_write_at_once(backend: Backend, url: str) -> None:
    """Nothing is lost, no revision is missing, and the chain holds."""
    ends = [writer.end() for writer in [writing(url, f"w{number}", 15) for number in range(4)]]

    assert [0] * 4 == [code for _, code in ends]
    acknowledged = {line for lines, _ in ends for line in lines}
    with CapsuleRegistry.open(url) as registry:
        assert acknowledged == set(registry.list())
    assert 60 == len(acknowledged)
    assert_chain_holds(backend, url)


def test_of_many_that_register_one_id_exactly_one_wins(registry: CapsuleRegistry, url: str) -> None:
    """Sixteen processes race for ten ids: each id has one winner, and losers' UUIDs are absent."""

    def contend(number: int, say: Callable[[str], None]) -> None:
        with CapsuleRegistry.open(url, actor=f"contender {number}") as mine:
            for name in map("contended-{}".format, range(10)):
                try:
                    mine.register(make_manifest(name), uuids=[uuid4()])
                    say(f"won {name}")
                except CapsuleAlreadyRegisteredError:
                    say(f"lost {name}")

    said = Counter(line for lines in at_once(16, contend) for line in lines)
    names = [f"contended-{number}" for number in range(10)]

    assert said == Counter({f"won {n}": 1 for n in names} | {f"lost {n}": 15 for n in names})
    assert names == sorted(registry.list())
    assert 10 == len(registry.uuids())


def test_a_process_killed_at_any_moment_loses_nothing_acknowledged(
    backend: Backend, url: str
) -> None:
    """After `kill -9` acknowledged capsules are whole, and none is half written."""
    for round_number in range(3):
        writers = [writing(url, f"r{round_number}w{n}", 100_000) for n in range(2)]
        acknowledged = [writer.readline() for writer in writers for _ in range(3)]
        time.sleep(0.01 * round_number)
        for writer in writers:
            writer.kill()
            acknowledged += writer.end()[0]

        with CapsuleRegistry.open(url) as registry:
            stored = set(registry.list())
            assert set(acknowledged) <= stored
            assert len(stored) == len(registry.uuids()) == len(registry.find_uplinks())
            registry.register(make_manifest(f"after-{round_number}"))
            registry.drain()
        assert backend.is_sound(url)
    assert live(backend, url) == replayed(backend, url)
    assert_chain_holds(backend, url)


def test_processes_open_a_database_that_does_not_exist(backend: Backend) -> None:
    """Sixteen at once all succeed, with one schema and one namespace."""
    url = backend.empty_url()

    def open_and_write(number: int, say: Callable[[str], None]) -> None:
        with CapsuleRegistry.open(url, migrate=True) as registry:
            registry.register(make_manifest(f"c{number}"))

    at_once(16, open_and_write)

    steps = int(SCHEMA_VERSION.removeprefix("v"))
    assert [(steps,)] == backend.rows(url, "SELECT count(*) FROM schema_versions")
    assert [(17,)] == backend.rows(url, "SELECT revision FROM namespaces")
    assert shape(backend.new_url()) == shape(url)


def test_a_read_sees_what_another_process_has_committed(
    registry: CapsuleRegistry, url: str
) -> None:
    """A read after a line printed after a commit sees that commit."""
    writer = writing(url, "w", 30)
    for _ in range(30):
        assert writer.readline() in registry

    assert ([], 0) == writer.end()
    assert 30 == len(registry)


def test_reads_do_not_wait_for_a_writer(registry: CapsuleRegistry, url: str) -> None:
    """Every read answers while another registry's transaction is open."""
    registry.register(make_manifest(), uuids=[uuid := uuid4()])
    with CapsuleRegistry.open(url) as other, other.transaction() as transaction:
        transaction.unregister("alpha")
        assert "alpha" == registry.find_by_uuid(uuid)
        assert ["alpha"] == registry.list()
