"""Who is let in, to what, and how much anybody can make the service do."""

from __future__ import annotations

import logging
import socket
import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from capsule_registry import CapsuleRegistry, InvalidTextError, RegistryUnavailableError
from capsule_registry.service import gate, protocol
from capsule_registry.service.limits import MOST_BODY, MOST_HEAD
from capsule_registry.service.tokens import Caller, Role, Tokens, create, read, revoke
from support.factories import make_manifest, make_text
from support.lease_steps import wait_until
from support.services import ALL, BASE, events, served

if TYPE_CHECKING:
    from pathlib import Path

    from support.services import Service

CAPSULES = f"{BASE}/capsules"


def connect(service: Service) -> socket.socket:
    address = httpx.URL(service.address)
    return socket.create_connection((address.host, address.port or 0), timeout=20)


def answer_to(service: Service, request: bytes) -> bytes:
    """Return all that the service says to *request*, as it is sent."""
    with connect(service) as sock:
        sock.sendall(request)
        received = b""
        while chunk := sock.recv(65_536):
            received += chunk
        return received


def test_nobody_without_a_token_is_let_in(service: Service) -> None:
    """Whatever else they send in its place; the answer says what to send, and nothing of tokens."""
    token = service.token("reader")
    name, _, secret = token.partition(".")
    wrong = [
        None,
        "Bearer",
        f"Bearer {name}",
        f"Bearer {name}.",
        f"Bearer {name}.{secret[:-1]}",
        f"Bearer {name}.{secret}x",
        f"Bearer other.{secret}",
        f"Basic {token}",
        token,
        "Bearer ÿ.þ".encode("latin-1"),
    ]
    with service.client(None) as client:
        for one in wrong:
            headers: Any = {} if one is None else {"Authorization": one}
            for path in (CAPSULES, "/v1/namespaces", "/v1/openapi.json", "/nothing", "/metrics"):
                answer = client.get(path, headers=headers)
                assert (401, True) == (answer.status_code, "www-authenticate" in answer.headers)
                assert secret not in answer.text
        assert 401 == client.get(CAPSULES, params={"token": token}).status_code
        for scheme in ("Bearer", "bearer"):
            headers = {"Authorization": f"{scheme} {token}"}
            assert 200 == client.get(CAPSULES, headers=headers).status_code
        assert 200 == client.get("/livez").status_code  # The control: these are for supervisors.
        assert 200 == client.get("/readyz").status_code


def test_a_role_is_for_what_it_says(service: Service) -> None:
    """Readers read, auditors verify too, writers write; each is refused what is another's."""
    asked = {
        "read": ("GET", CAPSULES, None),
        "decide": ("POST", f"{BASE}/check", {"uuid": "x", "capability": "net"}),
        "verify": ("POST", f"{BASE}/verify", None),
        "lines": ("GET", f"{BASE}/history-lines", None),
        "write": ("POST", CAPSULES, {"manifest": make_text("a")}),
        "lease": ("POST", f"{BASE}/leases", {"name": "x"}),
        "drain": ("POST", f"{BASE}/drain", None),
    }
    everybody = {"read", "decide"}
    expected = {
        "reader": everybody,
        "auditor": everybody | {"verify", "lines"},
        "writer": everybody | {"write", "lease", "drain"},
    }
    for role, allowed in expected.items():
        with service.client(role) as client:
            for name, (method, path, body) in asked.items():
                status = client.request(method, path, json=body).status_code
                assert (200 if name in allowed else 403) == status, (role, name)


def test_a_token_is_for_its_namespace(service: Service, url: str) -> None:
    """Others are neither read nor written nor listed, whether they exist or not."""
    with CapsuleRegistry.open(url, namespace="mine"), service.client("writer", "mine") as client:
        mine = "/v1/namespaces/mine/capsules"
        assert 200 == client.post(mine, json={"manifest": make_text("a")}).status_code
        assert ["a"] == [one["id"] for one in client.get(mine).json()]
        assert ["mine"] == [one["name"] for one in client.get("/v1/namespaces").json()]
        for other in ("default", "nothing"):
            path = f"/v1/namespaces/{other}"
            for answer in (
                client.get(path),
                client.get(f"{path}/capsules"),
                client.get(f"{path}/watch"),
                client.post(f"{path}/check", json={"uuid": "x", "capability": "net"}),
                client.post(f"{path}/capsules", json={"manifest": make_text("b")}),
            ):
                assert 403 == answer.status_code, answer.url


def test_a_token_that_is_revoked_lets_nobody_in(service: Service, tmp_path: Path) -> None:
    """Within a second or so, and one that is created does at once."""
    with service.client("reader") as client:
        assert 200 == client.get(CAPSULES).status_code
        assert revoke(tmp_path / "tokens", "reader")
        assert not revoke(tmp_path / "tokens", "reader")
        wait_until(lambda: client.get(CAPSULES).status_code == 401)
    with service.client("auditor") as auditor:
        assert 200 == auditor.get(CAPSULES).status_code


def test_a_file_that_others_can_read_lets_nobody_in(
    service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor one that is damaged or gone; the log says why, and all is well once it is mended."""
    path = tmp_path / "tokens"
    with service.client("reader") as client:
        assert 200 == client.get(CAPSULES).status_code
        whole = path.read_text()
        for harm in (
            lambda: path.chmod(0o644),
            lambda: path.write_text(f"{whole}nonsense\n"),
            lambda: path.write_bytes(b"\xff\xfe"),
            path.unlink,
        ):
            caplog.clear()
            harm()
            path.exists() and path.write_text(path.read_text(errors="replace") + "#\n")
            wait_until(lambda: client.get(CAPSULES).status_code == 401)
            assert "Everybody is refused" in caplog.text
            path.unlink(missing_ok=True)
            path.touch(0o600)
            path.write_text(whole)
            wait_until(lambda: client.get(CAPSULES).status_code == 200)


def test_tokens_are_kept_as_hashes_in_a_private_file(tmp_path: Path) -> None:
    """What is printed once is not in it; names are unique; what is there already stays."""
    path = tmp_path / "tokens"
    first = create(path, Caller("anna", Role.WRITER, "default"))
    second = create(path, Caller("bob@host", Role.READER, ALL))

    assert 0o600 == path.stat().st_mode & 0o777
    assert not any(one.partition(".")[2] in path.read_text() for one in (first, second))
    assert ["anna", "bob@host"] == [*read(path)]
    tokens = Tokens(path)
    assert Caller("anna", Role.WRITER, "default") == tokens.caller(first)
    assert Caller("bob@host", Role.READER, ALL) == tokens.caller(second)
    assert first != second
    with pytest.raises(FileExistsError):
        create(path, Caller("anna", Role.READER, ALL))
    path.chmod(0o640)
    with pytest.raises(PermissionError):
        Tokens(path)
    path.chmod(0o600)
    path.write_text("anna writer default abc\nanna reader * abc\n")
    with pytest.raises(InvalidTextError):
        read(path)


def test_by_another_name_nobody_is_let_in(service: Service) -> None:
    """So no page of another site can have its own name lead here (DNS rebinding)."""
    with service.client() as client:
        port = httpx.URL(service.address).port
        for host in ("localhost", "127.0.0.1", f"LOCALHOST:{port}", f"[::1]:{port}", "[::1]"):
            assert 200 == client.get(CAPSULES, headers={"Host": host}).status_code, host
        for host in (
            "evil.example",
            "evil.example:80",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost@evil.example",
            "",
            "[::1",
            "::1",
        ):
            answer = client.get(CAPSULES, headers={"Host": host})
            assert answer.status_code in (400, 421), host


def test_no_other_site_may_read_answers(service: Service) -> None:
    """There are no CORS headers and no cookies, and a preflight is refused."""
    with service.client() as client:
        asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        for method in ("GET", "OPTIONS"):
            answer = client.request(method, CAPSULES, headers=asked)
            assert not [one for one in answer.headers if one.startswith("access-control")]
            assert "set-cookie" not in answer.headers
        assert 405 == client.options(CAPSULES, headers=asked).status_code


def test_a_body_is_bounded(service: Service, registry: CapsuleRegistry) -> None:
    """By what it announces and by what comes; a body of JSON that is nested deeply is refused."""
    with service.client() as client:
        head = f"POST {CAPSULES} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {MOST_BODY + 1}"
        token = service.token("writer")
        request = f"{head}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        assert answer_to(service, request).startswith(b"HTTP/1.1 413 ")

        def chunks() -> Any:
            for _ in range(MOST_BODY // 2**20 + 1):
                yield b" " * 2**20

        assert 413 == client.post(CAPSULES, content=chunks()).status_code
        nested = b"[" * 100_000
        for path in (CAPSULES, f"{BASE}/check"):
            answer = client.post(path, content=nested, headers={"Content-Type": "application/json"})
            assert answer.status_code in (400, 422)
            assert "Refused" == answer.json()["error"]
        large = client.post(CAPSULES, json={"manifest": "x" * 300_000})
        assert 422 == large.status_code
    assert registry.is_empty()


def test_the_head_of_a_request_is_bounded(service: Service) -> None:
    """In length, and in the time that it takes."""
    long = answer_to(service, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 2 * MOST_HEAD)
    assert long.startswith(b"HTTP/1.1 400 ")
    assert answer_to(service, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_a_client_that_is_slow_is_left(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a head that does not come to its end, be it byte by byte, and likewise a body."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.3)
    with connect(service) as sock:
        sock.sendall(b"GET /livez HTTP/1.1\r\n")
        began = time.monotonic()
        while time.monotonic() - began < 10:
            try:
                sock.sendall(b"X")
            except OSError:
                break
            time.sleep(0.05)
        assert time.monotonic() - began < 10
    with connect(service) as sock:  # The control: who is not slow is answered, also twice.
        for _ in range(2):
            sock.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sock.recv(65_536).startswith(b"HTTP/1.1 200 ")
    token = service.token("writer").encode()
    head = b"POST " + CAPSULES.encode() + b" HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
    body = answer_to(
        service,
        head + token + b"\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
    )
    assert body.startswith(b"HTTP/1.1 408 ")


def test_a_watch_is_not_taken_for_a_slow_client(
    service: Service, registry: CapsuleRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bounds are those of requests: who follows may be silent for as long as it likes."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.2)
    with service.client() as client, client.stream("GET", f"{BASE}/watch") as answer:
        lines = answer.iter_lines()
        next(lines)
        time.sleep(0.5)
        registry.register(make_manifest("a"))
        assert "id: 2" in (line for line in lines)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/namespaces/default/../default/capsules",
        "/v1/namespaces/%2e%2e/capsules",
        "/v1//namespaces",
        "/v1/namespaces/default/capsules/",
        "/v1/namespaces/default/capsules/%00",
        "/v1/namespaces/default/capsules/a%0d%0aX:1",
        "/v1/namespaces/default/capsules/..%2f..%2fetc%2fpasswd",
        "/v1/namespaces/de%66ault%00/capsules",
        "/static/../../etc/passwd",
        "//evil.example/v1/namespaces",
        "http://evil.example/v1/namespaces",
    ],
)
def test_tricks_with_paths_lead_nowhere(service: Service, path: str) -> None:
    """They are no path of the service, or no id."""
    token = service.token("reader")
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    answer = answer_to(service, f"{head}Authorization: Bearer {token}\r\n\r\n".encode())
    assert int(answer.split()[1]) in (400, 404, 422), answer
    assert b"root:" not in answer


def test_nothing_of_tokens_or_the_database_is_told_or_logged(
    url: str,
    registry: CapsuleRegistry,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A database that is away is a 503, and what it said is in the log alone."""
    caplog.set_level(logging.DEBUG)
    with served(url, tmp_path / "tokens") as service, service.client() as client:
        assert 200 == client.get(CAPSULES).status_code

        def fail(*_: object, **__: object) -> None:
            raise RegistryUnavailableError("postgresql://secret-host/x", "secret reason")

        with monkeypatch.context() as patched:
            patched.setattr(CapsuleRegistry, "summaries", fail)
            answer = client.get(CAPSULES)
        assert (503, True) == (answer.status_code, "retry-after" in answer.headers)
        assert ("RegistryUnavailableError", {}, 7) == (
            answer.json()["error"],
            answer.json()["facts"],
            answer.json()["exit_code"],
        )
        assert "secret" not in answer.text
        assert "secret reason" in caplog.text
        secrets = [service.token(role).partition(".")[2] for role in Role]
    assert not any(secret in caplog.text for secret in secrets)


def test_without_tokens_everybody_reads_and_nobody_writes(
    url: str, registry: CapsuleRegistry
) -> None:
    """As nobody can reach it from elsewhere; there are no routes that change anything."""
    registry.register(make_manifest("a"))
    with served(url, None) as service, service.client(None) as client:
        assert ["a"] == [one["id"] for one in client.get(CAPSULES).json()]
        assert 200 == client.post(f"{BASE}/verify").status_code
        assert 405 == client.post(CAPSULES, json={"manifest": make_text("b")}).status_code
        assert 405 == client.delete(f"{CAPSULES}/a").status_code
        assert 404 == client.post(f"{BASE}/drain").status_code
        paths = client.get("/v1/openapi.json").json()["paths"]
        assert "/v1/namespaces/{namespace}/drain" not in paths
    assert ["a"] == registry.list()


def test_statuses_follow_the_branches_of_errors() -> None:
    """Every error of the library has one, and nothing but a bug is a 500."""
    import capsule_registry as library
    from capsule_registry.service.problems import status_of

    expected = {
        "NotFoundError": 404,
        "ConflictError": 409,
        "InvalidInputError": 422,
        "RegistryUnavailableError": 503,
        "PermissionDeniedError": 403,
        "SchemaVersionError": 503,
        "HistoryCorruptError": 503,
    }
    for name, status in expected.items():
        branch = getattr(library, name)
        for one in [branch, *branch.__subclasses__()]:
            special = {library.StaleGenerationError: 412, library.InvalidDatabaseError: 503}
            assert special.get(one, status) == status_of(one), one
    assert HTTPStatus.GONE == status_of(library.RevisionCompactedError)


def test_who_follows_is_looked_at_again(
    service: Service, registry: CapsuleRegistry, tmp_path: Path
) -> None:
    """A token that is revoked is sent nothing more, although its stream was open."""
    with service.client("reader") as client, client.stream("GET", f"{BASE}/watch") as answer:
        found = events(answer.iter_lines())
        next(found)
        registry.register(make_manifest("a"))
        assert "2" == next(found)["id"]
        revoke(tmp_path / "tokens", "reader")
        time.sleep(1.1)  # So long a file that was read is trusted.
        registry.register(make_manifest("b"))
        assert "problem" == next(found)["event"]
        assert [] == [*found]


def test_a_body_that_nobody_reads_ends_the_connection(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So nobody without a token holds one by it; a name of `import` is no way around the bound."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    head = b"POST /v1/namespaces HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
    assert answer_to(service, head + b"x").startswith(b"HTTP/1.1 401 ")
    with service.client(None) as client:  # The control: whose body comes is answered in peace.
        for _ in range(50):
            assert 401 == client.post("/v1/namespaces", content=b"x" * 20_000).status_code
    token = service.token("reader")
    path = f"{BASE}/capsules/import"
    head = f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {MOST_BODY + 1}\r\n".encode()
    answer = answer_to(service, head + f"Authorization: Bearer {token}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_many_errors_in_one_body_are_told_briefly(service: Service) -> None:
    """An answer does not grow with what is wrong."""
    with service.client("reader") as client:
        wrong = {"x" * 1_000 + str(number): 1 for number in range(2_000)}
        answer = client.post(f"{BASE}/check", json=wrong)
    assert (422, True) == (answer.status_code, len(answer.content) < 20_000)


def test_many_who_ask_for_what_is_not_there_are_told_so(service: Service) -> None:
    """At the same time, too."""
    found: list[int] = []

    def ask() -> None:
        with service.client("auditor") as client:
            found.append(client.get("/v1/namespaces/missing").status_code)

    service.token("auditor")
    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [404] * 12 == found


def test_a_token_behind_a_link_is_that_of_the_file(tmp_path: Path) -> None:
    """A link stays a link, and what it leads to is changed."""
    path, link = tmp_path / "tokens", tmp_path / "link"
    create(path, Caller("anna", Role.READER, ALL))
    link.symlink_to(path)
    create(link, Caller("bob", Role.READER, ALL))
    assert revoke(link, "anna")
    assert (True, ["bob"]) == (link.is_symlink(), [*read(path)])
