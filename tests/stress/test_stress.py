"""Short runs of the stress commands: each finds nothing, and its control is found."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

import galera
from capsule_registry import CapsuleRegistry
from support.checker import Call, is_linearizable
from support.cluster import LIBRARIES, Cluster
from support.servers import found
from support.stress_runs import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.backends import Backend, ServerBackend, SqliteBackend

FEW_WATCHERS = ["--writers", "2", "--watchers", "2", "--events", "300", "--wake-ups", "5"]
FEW_LEASES = ["--rounds", "6", "--at-once", "3", "--ttl", "0.3"]


def skip_without(program: str) -> None:
    """Skip the test if *program* is not installed."""
    try:
        found(program)
    except FileNotFoundError as error:
        pytest.skip(str(error))


def skip_without_tracing() -> None:
    """Skip the test if the system calls of a process cannot be traced."""
    skip_without("strace")
    tried = subprocess.run([found("strace"), "-o", os.devnull, "true"], check=False)
    if tried.returncode:
        pytest.skip("strace may not trace a process here")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A Galera cluster for all tests here, since it is slow to start."""
    skip_without("mariadbd")
    if not any(map(os.path.exists, LIBRARIES)):
        pytest.skip("Galera is not installed")
    with Cluster(is_separable=False) as started:
        yield started


def history(*calls: tuple[str, str, str | bool | None, int, int | None]) -> list[Call]:
    """Return calls on one capsule: verb, argument, result, start and end."""
    return [Call("a", verb, argument, *rest) for verb, argument, *rest in calls]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expected", "calls"),
    [
        (True, history()),
        (True, history(("register", "1", True, 1, 2), ("get", "", "1", 3, 4))),
        # Stale: the read began after the registration had ended.
        (False, history(("register", "1", True, 1, 2), ("get", "", None, 3, 4))),
        # Concurrent: it may have come first.
        (True, history(("register", "1", True, 1, 5), ("get", "", None, 3, 4))),
        # Two winners.
        (False, history(("register", "1", True, 1, 4), ("register", "2", True, 2, 5))),
        (True, history(("register", "1", False, 1, 4), ("register", "2", True, 2, 5))),
        # Two reads during a write, of which the later sees less.
        (
            False,
            history(("register", "1", True, 1, 9), ("get", "", "1", 2, 3), ("get", "", None, 4, 5)),
        ),
        # An unknown outcome may take effect at any later time, or never.
        (True, history(("register", "1", None, 1, None), ("get", "", None, 2, 3))),
        (
            True,
            history(
                ("register", "1", None, 1, None), ("get", "", None, 2, 3), ("get", "", "1", 4, 5)
            ),
        ),
        (
            False,
            history(
                ("register", "1", None, 3, None), ("get", "", "1", 1, 2), ("get", "", "1", 4, 5)
            ),
        ),
        # A missing cascade: a UUID outlives its capsule.
        (
            False,
            history(
                ("register", "1", True, 1, 2),
                ("register_uuid", "u", None, 3, 4),
                ("unregister", "", "1", 5, 6),
                ("find_by_uuid", "u", True, 7, 8),
            ),
        ),
        # A registration adopts a UUID registered before.
        (
            True,
            history(
                ("register_uuid", "u", None, 1, 2),
                ("unregister", "", None, 3, 4),
                ("register", "1", True, 5, 6),
                ("find_by_uuid", "u", True, 7, 8),
            ),
        ),
    ],
)
def test_the_checker_decides_what_can_be_decided_by_hand(expected: bool, calls: list[Call]) -> None:
    """Small histories whose linearizability anybody can see."""
    assert expected == is_linearizable(calls)


@pytest.mark.stress
@pytest.mark.parametrize(("guard", "expected"), [(None, 0), ("foreign-keys", 1)])
def test_histories_are_linearizable(backend: Backend, guard: str | None, expected: int) -> None:
    """Four processes of four threads: some order explains what they saw; without cascades none."""
    control = ["--without", guard] if guard else []
    calls = "100" if guard else "25"
    sizes = ["--processes", "4", "--threads", "4", "--calls", calls, "--stale", "50"]
    code, output = run("linearizability.py", "--database", backend.empty_url(), *sizes, *control)

    assert expected == code, output
    assert bool(guard) == ("NOT linearizable" in output)
    assert guard or "50 of 50 planted stale reads seen" in output


@pytest.mark.stress
@pytest.mark.parametrize(("guard", "expected"), [(None, 0), ("transaction", 1)])
def test_killed_writers_lose_nothing(backend: Backend, guard: str | None, expected: int) -> None:
    """Three rounds lose nothing; if each statement commits by itself, one of many does."""
    control = ["--without", guard, "--rounds", "40"] if guard else ["--rounds", "3"]
    code, output = run("kills.py", "--database", backend.empty_url(), *control)

    assert expected == code, output
    assert bool(guard) != ("none lost" in output)


@pytest.mark.stress
@pytest.mark.parametrize(
    ("journal", "guard", "expected"),
    [("delete", None, 0), ("wal", None, 0), ("delete", "extra", 1)],
)
def test_power_cuts_lose_nothing(journal: str, guard: str | None, expected: int) -> None:
    """Whatever was not synchronised is lost or not; a journal that is back undoes a commit."""
    skip_without_tracing()
    control = ["--without", guard] if guard else []
    few = ["--journal", journal, "--units", "8", "--cuts", "40"]
    code, output = run("power_cuts.py", *few, *control)

    assert expected == code, output
    assert bool(guard) != (" 0 of them lost" in output)


@pytest.mark.stress
def test_interruptions_lose_nothing(backend: Backend) -> None:
    """After any exception from a signal handler the next write and read succeed at once."""
    few = ["--interruptions", "100" if backend.is_server else "300"]
    code, output = run("interrupts.py", "--database", backend.empty_url(), *few)

    assert 0 == code, output
    assert "none lost" in output


@pytest.mark.stress
def test_a_turn_that_an_interruption_leaves_taken_is_noticed(sqlite: SqliteBackend) -> None:
    """The control, which is the same for all databases; the seed is one that comes to it soon."""
    control = ["--interruptions", "3000", "--seed", "5", "--without", "turn"]
    code, output = run("interrupts.py", "--database", sqlite.empty_url(), *control)

    assert 1 == code, output
    assert "another thread of this process keeps it locked" in output


@pytest.mark.stress
def test_writers_of_one_file_take_turns(sqlite: SqliteBackend) -> None:
    """Eight write for two seconds: no caller gets an error, and none starves."""
    sizes = ["--processes", "8", "--seconds", "2"]
    code, output = run("writers.py", "--database", sqlite.empty_url(), *sizes)

    assert 0 == code, output
    [counts] = [line for line in output.splitlines() if line.startswith("units a process")]
    assert 0 < min(map(int, re.findall(r"\d+", counts))), output


@pytest.mark.stress
@pytest.mark.parametrize(("server", "program"), [("postgresql", "initdb"), ("mariadb", "mariadbd")])
def test_restarts_give_no_wrong_answer(server: str, program: str) -> None:
    """While its server crashes and stops under load, callers get errors or true answers."""
    skip_without(program)
    code, output = run("restarts.py", server, "--restarts", "2", "--processes", "4")

    assert 0 == code, output
    assert ": linearizable" in output


@pytest.mark.stress
def test_watchers_miss_nothing(backend: Backend) -> None:
    """Each follows whole revisions in order, resuming anywhere while the history is pruned."""
    code, output = run("watchers.py", "--database", backend.empty_url(), *FEW_WATCHERS)

    assert 0 == code, output


@pytest.mark.stress
def test_watchers_that_see_something_twice_are_found(sqlite: SqliteBackend) -> None:
    """The control: a watch that sometimes repeats a revision breaks a property."""
    control = [*FEW_WATCHERS, "--break", "repeat"]
    code, output = run("watchers.py", "--database", sqlite.empty_url(), *control)

    assert 1 == code, output


@pytest.mark.stress
def test_nothing_is_done_through_a_lease_that_is_gone(backend: Backend) -> None:
    """Holders that oversleep cannot write and are allowed nothing."""
    code, output = run("leases.py", "--database", backend.empty_url(), *FEW_LEASES)

    assert 0 == code, output
    assert "6 rounds in" in output


@pytest.mark.stress
@pytest.mark.parametrize("guard", ["expiry", "hold"])
def test_what_is_done_through_a_lease_that_is_gone_is_found(
    sqlite: SqliteBackend, guard: str
) -> None:
    """The control of the rules, which are the same for all databases."""
    control = [*FEW_LEASES, "--without", guard]
    code, output = run("leases.py", "--database", sqlite.empty_url(), *control)

    assert 1 == code, output
    assert "6 rounds in" in output
    assert (guard != "expiry") == ("checks allowed after the end: 0" in output), output


@pytest.mark.stress
def test_leases_that_go_by_the_clients_clocks_are_found(server: ServerBackend) -> None:
    """The control: deciding by client clocks that are an hour off, either way, is noticed."""
    control = [*FEW_LEASES, "--without", "clock"]
    code, output = run("leases.py", "--database", server.empty_url(), *control)

    assert 1 == code, output
    assert "6 rounds in" in output


@pytest.mark.stress
@pytest.mark.parametrize(("check", "expected"), [(None, 0), ("stored", 1)])
def test_tampering_is_found(backend: Backend, check: str | None, expected: int) -> None:
    """A few edits of each class are found; JSON that says two things is not, without its check."""
    if backend.name == "galera":
        pytest.skip("edits of a cluster are those of a server")
    control = ["--without", check, "--class", "key of JSON twice"] if check else []
    few = ["--cases", "2", *control]
    code, output = run("tampering.py", "--database", backend.empty_url(), *few)

    assert expected == code, output
    assert bool(check) == ("passed: " in output)


@pytest.mark.stress
@pytest.mark.parametrize(("guard", "expected"), [(None, 0), ("numbers", 1), ("labels", 1)])
def test_all_parsers_of_urls_read_the_host_that_was_allowed(
    guard: str | None, expected: int
) -> None:
    """Those of the standard library and what else is installed; with a laxer rule they do not."""
    control = ["--without", guard] if guard else []
    code, output = run("urls.py", "--cases", "10000", *control)

    assert expected == code, output
    assert "10000 cases" in output


@pytest.mark.stress
@pytest.mark.parametrize(
    ("guard", "expected"),
    [(None, 0), ("components", 1), ("ambiguous", 1), ("loopback", 1), ("segments", 1)],
)
def test_what_the_rules_allow_was_granted(guard: str | None, expected: int) -> None:
    """By readers that are not ours; with a part of a rule taken out they find it elsewhere."""
    control = ["--without", guard] if guard else []
    code, output = run("values.py", "--cases", "2000", *control)

    assert expected == code, output
    assert "connections           2000" in output


@pytest.mark.stress
def test_a_failover_to_a_standby_loses_nothing() -> None:
    """No acknowledged write is lost, and if the standby was behind, a registry notices."""
    skip_without("initdb")
    code, output = run("standby.py", "--failovers", "1")

    assert 0 == code, output
    assert " 0 acknowledged registrations lost" in output
    assert "lost what it should" in output


@pytest.mark.stress
def test_a_cluster_that_loses_a_node_loses_nothing(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor does a node ever miss what another has acknowledged."""
    few = ["--kills", "1", "--stops", "0", "--partitions", "0", "--reads", "300", "--upgrades", "1"]
    is_sound = galera.is_sound(cluster, galera.make_parser().parse_args(few))
    output = capsys.readouterr().out

    assert is_sound, output
    assert ": linearizable" in output


@pytest.mark.stress
def test_reads_of_a_cluster_that_do_not_wait_are_stale(cluster: Cluster) -> None:
    """The control: without the guard, another node's writes are missed."""
    urls = [node.url for node in cluster.nodes[:2]]
    CapsuleRegistry.open(cluster.url(), migrate=True).close()
    few = ["--reads", "1000", "--without", "sync_wait"]
    code, output = run("galera.py", "--nodes", *urls, *few)

    assert 1 == code, output
    assert re.search(r"^[1-9]\d* of 1000 reads", output, re.MULTILINE), output
