"""Following over HTTP: each revision once, whole and in order, from wherever one was."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx

from capsule_registry.api import json_shapes
from capsule_registry.service import watching
from support.factories import make_manifest
from support.lease_steps import wait_until
from support.services import BASE, events

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from capsule_registry import CapsuleRegistry
    from support.backends import Backend
    from support.services import Service

LINES = {"Accept": "application/x-ndjson"}


def revisions(found: Iterator[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Return the next *count* messages that are revisions."""
    kept = []
    for one in found:
        if "event" not in one and "comment" not in one:
            kept.append(one)
        if len(kept) == count:
            return kept
    return kept


def test_a_watch_sends_what_is_there_and_what_comes(
    registry: CapsuleRegistry, client: httpx.Client
) -> None:
    """As messages whose ids are the revisions, in the shape that the command prints."""
    registry.register(make_manifest("a"))
    with client.stream("GET", "watch?after=0") as answer:
        assert "text/event-stream" in answer.headers["content-type"]
        found = events(answer.iter_lines())
        begun = next(found)
        assert ("begun", "0") == (begun["event"], begun["id"])
        assert str(registry.history.anchor().incarnation) == begun["data"]["incarnation"]
        there = revisions(found, 2)
        registry.set_state("a", "failed")
        registry.drain()
        come = revisions(found, 2)

    sent = [(int(one["id"]), one["data"]) for one in [*there, *come]]
    expected = registry.history.list()
    assert [(one.revision, json_shapes.by_fields(one)) for one in expected] == sent


def test_a_watch_goes_on_after_the_last_id(registry: CapsuleRegistry, client: httpx.Client) -> None:
    """`Last-Event-ID`, as of a browser, counts before `after`; without both, now does."""
    for number in range(4):
        registry.register(make_manifest(f"c{number}"))
    with client.stream("GET", "watch?after=0", headers={"Last-Event-ID": "3"}) as answer:
        assert ["4", "5"] == [one["id"] for one in revisions(events(answer.iter_lines()), 2)]
    with client.stream("GET", "watch") as answer:
        found = events(answer.iter_lines())
        assert "5" == next(found)["id"]
        registry.drain()
        assert ["6"] == [one["id"] for one in revisions(found, 1)]


def test_programs_get_lines_of_json(registry: CapsuleRegistry, client: httpx.Client) -> None:
    """Each a revision; an empty one is a sign of life."""
    registry.register(make_manifest("a"))
    with client.stream("GET", "watch?after=0", headers=LINES) as answer:
        assert "application/x-ndjson" == answer.headers["content-type"]
        found = (json.loads(line) for line in answer.iter_lines() if line)
        assert [1, 2] == [next(found)["revision"] for _ in range(2)]


def test_a_quiet_watch_shows_signs_of_life(
    registry: CapsuleRegistry, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A comment with the position, or an empty line."""
    monkeypatch.setattr(watching, "HEARTBEAT_SECONDS", 0.05)
    with client.stream("GET", "watch") as answer:
        found = events(answer.iter_lines())
        assert ["begun", "1", "1"] == [
            one.get("event") or one["comment"] for one in (next(found) for _ in range(3))
        ]
    with client.stream("GET", "watch", headers=LINES) as answer:
        lines = answer.iter_lines()
        assert ["", "", ""] == [next(lines) for _ in range(3)]
        registry.drain()
        registry.register(make_manifest("a"))
        assert 2 == next(json.loads(line)["revision"] for line in lines if line)


def test_a_position_that_cannot_be_served_is_an_error(
    registry: CapsuleRegistry, client: httpx.Client
) -> None:
    """Pruned, beyond the head, or of another history: never silence."""
    registry.register(make_manifest("a"))
    anchor = registry.history.anchor()
    registry.drain()
    registry.history.prune(anchor)
    cases = {
        "after=0": (410, "RevisionCompactedError"),
        "after=99": (409, "FutureRevisionError"),
        f"after=3&incarnation={uuid4()}": (409, "IncarnationChangedError"),
        f"incarnation={uuid4()}": (422, "InvalidTextError"),
        "after=-1": (422, "Refused"),
        "after=x": (422, "Refused"),
    }
    for query, expected in cases.items():
        for headers in ({}, LINES):
            answer = client.get(f"watch?{query}", headers=headers)
            assert expected == (answer.status_code, answer.json()["error"]), query
    assert 422 == client.get("watch", headers={"Last-Event-ID": "x"}).status_code


def test_a_history_that_is_lost_ends_a_watch_with_a_problem(
    registry: CapsuleRegistry, client: httpx.Client, backend: Backend, url: str
) -> None:
    """Once the database is another one's, as after a restore, those who follow are told."""
    with (
        client.stream("GET", "watch") as answer,
        client.stream("GET", "watch", headers=LINES) as lines,
    ):
        found, others = events(answer.iter_lines()), lines.iter_lines()
        next(found), next(others)
        backend.tamper(url, f"UPDATE namespaces SET incarnation = '{uuid4()}'")
        ended = next(one for one in found if one.get("event") == "problem")
        assert "IncarnationChangedError" == ended["data"]["error"]
        assert "IncarnationChangedError" == next(
            json.loads(line)["problem"]["error"] for line in others if line
        )
        assert [] == [*found]


def test_a_slow_client_is_waited_for_and_nobody_waits_for_it(
    registry: CapsuleRegistry, client: httpx.Client, service: Service
) -> None:
    """It gets all in the end, and others get all at once."""
    address = httpx.URL(service.address)
    token = service.token("reader")
    with socket.create_connection((address.host, address.port or 0)) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        head = f"GET {BASE}/watch?after=1 HTTP/1.1\r\nHost: localhost\r\n"
        slow.sendall(f"{head}Authorization: Bearer {token}\r\n\r\n".encode())
        with client.stream("GET", "watch?after=1", headers=LINES) as answer:
            lines = (json.loads(line) for line in answer.iter_lines() if line)
            for number in range(60):
                registry.register(
                    make_manifest(f"c{number}", package={"description": "x" * 20_000})
                )
                assert number + 2 == next(lines)["revision"]
        slow.settimeout(20)
        received = b""
        while b"\nid: 61\n" not in received:
            received += slow.recv(65_536)
    numbers = [line[4:] for line in received.split(b"\n") if line.startswith(b"id: ")]
    assert [*map(int, numbers[1:])] == [*range(2, 62)]


def test_watches_are_limited(
    client: httpx.Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those beyond are refused at once, and have room when others have gone."""
    monkeypatch.setattr(watching, "MOST_WATCHES", 3)
    with service.client() as one, service.client() as two:
        streams = [one.stream("GET", f"{BASE}/watch") for _ in range(3)]
        found = [stream.__enter__().iter_raw() for stream in streams]
        for sent in found:
            next(sent)
        refused = two.get(f"{BASE}/watch")
        assert (503, True) == (refused.status_code, "retry-after" in refused.headers)
        streams[0].__exit__(None, None, None)

        def has_room() -> bool:
            with two.stream("GET", f"{BASE}/watch") as answer:
                return answer.status_code == 200

        wait_until(has_room)
        for stream in streams[1:]:
            stream.__exit__(None, None, None)


def test_hundreds_follow_without_a_thread_each(registry: CapsuleRegistry, service: Service) -> None:
    """Each sees each revision once, whole and in order."""
    limits = httpx.Limits(max_connections=None)
    with service.client(limits=limits) as client:
        streams = [client.stream("GET", f"{BASE}/watch", headers=LINES) for _ in range(100)]
        found = [stream.__enter__().iter_lines() for stream in streams]
        for lines in found:
            next(lines)
        for number in range(5):
            registry.register(make_manifest(f"c{number}"))
        began = time.monotonic()
        for lines in found:
            got: list[int] = []
            while len(got) < 5:
                if line := next(lines):
                    got.append(json.loads(line)["revision"])
            assert [2, 3, 4, 5, 6] == got
        assert time.monotonic() - began < 30
        for stream in streams:
            stream.__exit__(None, None, None)
