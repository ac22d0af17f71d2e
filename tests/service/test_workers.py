"""The service as the command starts it: where it listens, several processes, and how it ends."""

from __future__ import annotations

import json
import stat
import threading
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest

from capsule_registry import CapsuleRegistry
from capsule_registry.service.tokens import Role
from support.commands import run
from support.factories import make_manifest, make_text
from support.lease_steps import wait_until
from support.services import BASE, SECONDS, ServiceProcess, events, kill

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from support.backends import Backend, SqliteBackend

CAPSULES = f"{BASE}/capsules"


def test_workers_that_are_killed_lose_nothing(backend: Backend, url: str, tmp_path: Path) -> None:
    """What was acknowledged is there; a request sent again under its key counts once."""
    tokens = tmp_path / "tokens"
    with ServiceProcess(
        url, "--port", "0", "--workers", "3", "--allow-writes", tokens=tokens
    ) as service:
        writers = [Writer(service, number) for number in range(6)]
        for writer in writers:
            writer.start()
        for _ in range(4):
            before = sum(len(writer.acknowledged) for writer in writers)
            wait_until(lambda: sum(len(one.acknowledged) for one in writers) > before + 20)  # noqa: B023
            kill(service.workers[0])
        for writer in writers:
            writer.end()

    with CapsuleRegistry.open(url) as registry:
        by_request = {one.request_id: one for one in registry.history.list(limit=100_000)}
        found = {str(one.uuid): one.capsule_id for one in registry.uuids()}
        for writer in writers:
            assert writer.acknowledged
            for key, (uuid, revision) in writer.acknowledged.items():
                assert revision == by_request[key].revision
                assert found[uuid] == "a"
        acknowledged = {key for writer in writers for key in writer.acknowledged}
        assert len(acknowledged) == sum(
            one.request_id in acknowledged for one in by_request.values()
        )
        assert registry.history.verify().ok


class Writer(threading.Thread):
    """Files session UUIDs, each under a key, and again until it is acknowledged."""

    def __init__(self, service: ServiceProcess, number: int) -> None:
        super().__init__(daemon=True, name=f"writer {number}")
        self._client = service.client()
        self._ending = threading.Event()
        #: By key: the UUID that was filed, and the revision that the answer named.
        self.acknowledged: dict[Any, tuple[str, int]] = {}
        self.repeated = 0

    def run(self) -> None:
        with self._client as client:
            while not self._ending.is_set():
                key, uuid = uuid4(), str(uuid4())
                answer = self._put_until_acknowledged(client, key, uuid)
                self.acknowledged[key] = uuid, answer["revision"]
                self.repeated += answer["repeated"]

    def _put_until_acknowledged(self, client: httpx.Client, key: Any, uuid: str) -> Any:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                answer = client.put(
                    f"{BASE}/uuids/{uuid}",
                    json={"capsule_id": "a"},
                    headers={"Idempotency-Key": str(key)},
                )
                if answer.status_code == 200:
                    return answer.json()
            except httpx.TransportError:
                pass  # Its worker was killed: whether it was done is asked by sending it again.
            time.sleep(0.01)
        pytest.fail("it was not acknowledged in time")

    def end(self) -> None:
        self._ending.set()
        self.join(SECONDS)
        assert not self.is_alive()


def test_without_a_key_a_request_sent_again_counts_twice(
    sqlite: SqliteBackend, tmp_path: Path
) -> None:
    """The control: so it is the key that makes it count once."""
    url = sqlite.new_url()
    with (
        ServiceProcess(url, "--port", "0", "--allow-writes", tokens=tmp_path / "t") as service,
        service.client() as client,
    ):
        for _ in range(2):
            client.post(f"{BASE}/leases", json={"name": "twice"})
        assert 2 == len(client.get(f"{BASE}/leases").json())


def test_it_ends_politely(sqlite: SqliteBackend, tmp_path: Path) -> None:
    """On SIGTERM: what runs is answered, those who follow get their position, and it exits 0."""
    url = sqlite.new_url()
    with (
        ServiceProcess(url, "--port", "0", "--allow-writes", tokens=tmp_path / "t") as service,
        service.client(None) as client,
    ):
        headers = {"Authorization": f"Bearer {service.token('writer')}"}
        asked = {"ids": ["x"], "timeout": 1}
        waiting = threading.Thread(
            target=lambda: answers.append(
                client.post(f"{BASE}/wait-ready", json=asked, headers=headers)
            )
        )
        answers: list[httpx.Response] = []
        with client.stream("GET", f"{BASE}/watch?after=0", headers=headers) as answer:
            found = events(answer.iter_lines())
            assert ["begun", None] == [next(found).get("event") for _ in range(2)]
            waiting.start()
            time.sleep(0.2)
            service.process.terminate()
            ended = next(found)
            assert ("ended", "1", {"revision": 1}) == (ended["event"], ended["id"], ended["data"])
            assert [] == [*found]
        waiting.join(SECONDS)
        assert {"x": "timeout"} == answers[0].json()
        assert 0 == service.process.wait(SECONDS)
    assert ["serving at " in line for line in service.log] == [True], service.log


def test_it_listens_at_a_socket_of_its_owner_alone(sqlite: SqliteBackend, tmp_path: Path) -> None:
    """Of mode 0600; what a killed one has left is removed, and what another one uses is not."""
    url, place = sqlite.new_url(), tmp_path / "registry.sock"
    run(url, "register", _capsule(tmp_path))
    for ending in ("kill", "end"):
        with ServiceProcess(url, "--uds", str(place)) as service:
            assert 0o600 == stat.S_IMODE(place.stat().st_mode)
            transport = httpx.HTTPTransport(uds=str(place), verify=False)
            with httpx.Client(
                transport=transport, base_url="http://anything", trust_env=False
            ) as client:
                wait_until(lambda: client.get("/livez").is_success)
                assert ["a"] == [one["id"] for one in client.get(CAPSULES).json()]
            second = run(url, "serve", "--uds", place)
            assert (7, True) == (second.exit_code, "listens there already" in second.stderr)
            if ending == "kill":
                kill(service.process.pid)
                service.process.wait(SECONDS)
    assert not place.exists()
    place.write_text("something else")
    assert 4 == run(url, "serve", "--uds", place).exit_code
    assert "something else" == place.read_text()


def _capsule(directory: Path) -> Path:
    path = directory / "Capsule.toml"
    path.write_text(make_text("a"))
    return path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--host", "0.0.0.0"), "--tokens"),  # noqa: S104 - what is refused
        (("--host", "192.0.2.1"), "--tokens"),
        (("--host", "example.org"), "--tokens"),
        (("--host", "::", "--tokens", "TOKENS"), "--allow-host"),
        (("--allow-writes",), "--tokens"),
        (("--port", "70000"), "65535"),
        (("--workers", "0"), "range"),
    ],
)
def test_what_is_not_safe_is_refused(
    sqlite: SqliteBackend, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    """Before anything listens: there is no option that turns that off."""
    tokens = tmp_path / "tokens"
    run(
        "sqlite://",
        "token",
        "create",
        "x",
        "--role",
        "reader",
        "--namespace",
        "*",
        "--tokens",
        tokens,
    )
    given = [str(tokens) if one == "TOKENS" else one for one in options]
    result = run(sqlite.new_url(), "serve", *given)

    assert (2, True) == (result.exit_code, said in result.stderr), result.stderr


def test_what_is_wrong_is_said_before_it_serves(sqlite: SqliteBackend, tmp_path: Path) -> None:
    """A database or a file of tokens that cannot be used, an address that is taken."""
    url, tokens = sqlite.new_url(), tmp_path / "tokens"
    assert 5 == run(url, "serve", "--tokens", tokens).exit_code
    tokens.touch()
    tokens.chmod(0o644)
    assert 9 == run(url, "serve", "--tokens", tokens).exit_code
    assert 5 == run("nonsense://x", "serve").exit_code
    assert 7 == run(f"sqlite:///{tmp_path}/missing.db", "serve").exit_code
    with ServiceProcess(url, "--port", "0") as service:
        port = httpx.URL(service.address).port
        taken = run(url, "serve", "--port", port)
        assert (7, True) == (taken.exit_code, "in use" in taken.stderr)


def token(*arguments: object) -> Result:
    return run("sqlite://", "token", *arguments)


def test_tokens_are_made_listed_and_revoked(tmp_path: Path) -> None:
    """By the command, which prints a token once."""
    tokens = tmp_path / "tokens"
    common = ("--tokens", tokens)
    made = token("create", "anna", "--role", "writer", "--namespace", "a", *common)
    assert (0, True) == (made.exit_code, made.stdout.startswith("anna."))
    again = token("create", "anna", "--role", "reader", "--namespace", "*", *common)
    assert 4 == again.exit_code
    for name, namespace in (("an na", "a"), ("anna\n", "a"), ("bob", "A"), ("", "a")):
        wrong = token("create", name, "--role", "reader", "--namespace", namespace, *common)
        assert 5 == wrong.exit_code, name
    listed = token("list", *common, "--format", "json")
    assert [{"name": "anna", "role": "writer", "namespace": "a"}] == json.loads(listed.stdout)
    assert [0, 3] == [token("revoke", "anna", *common).exit_code for _ in range(2)]
    assert {"reader", "writer", "auditor"} == {*Role}


def test_every_worker_sees_what_another_wrote(backend: Backend, url: str, tmp_path: Path) -> None:
    """At once: any number of processes, beside those that use the library."""
    with (
        CapsuleRegistry.open(url) as registry,
        ServiceProcess(
            url, "--port", "0", "--workers", "2", "--allow-writes", tokens=tmp_path / "t"
        ) as service,
    ):
        clients = [service.client() for _ in range(6)]
        for number in range(10):
            registry.register(make_manifest(f"l{number}"))
            made = clients[number % 6].post(CAPSULES, json={"manifest": make_text(f"s{number}")})
            assert 200 == made.status_code
            for client in clients:
                found = {one["id"] for one in client.get(CAPSULES).json()}
                assert {f"l{number}", f"s{number}"} <= found
            assert f"s{number}" in registry
        for client in clients:
            client.close()
