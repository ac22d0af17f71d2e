"""Services of a registry: in a thread of the test for most, in processes where those matter."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx
import uvicorn

from capsule_registry.service.server import configured, listen
from capsule_registry.service.settings import LOOPBACK, Settings
from capsule_registry.service.tokens import Caller, Role, create
from support.lease_steps import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How long anything may take.
SECONDS = 30
BASE = "/v1/namespaces/default"
ALL = "*"
#: Without reading the machine's certificates.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Service:
    """A service that answers at *address*, and those it lets in."""

    def __init__(self, address: str, tokens: Path | None) -> None:
        self.address = address
        self._tokens = tokens
        self._known: dict[tuple[str, str], str] = {}

    def token(self, role: str, namespace: str = ALL) -> str:
        """Return a token of that role, the same each time."""
        assert self._tokens is not None
        if (found := self._known.get((role, namespace))) is None:
            name = role if namespace == ALL else f"{role}-{namespace}"
            found = create(self._tokens, Caller(name, Role(role), namespace))
            self._known[role, namespace] = found
        return found

    def client(
        self, role: str | None = "writer", namespace: str = ALL, **options: Any
    ) -> httpx.Client:
        """Return a client with a token of that role, whose paths begin at the namespace."""
        headers = {}
        if role is not None and self._tokens is not None:
            headers["Authorization"] = f"Bearer {self.token(role, namespace)}"
        options = {"timeout": SECONDS, "trust_env": False, "verify": NO_TLS, **options}
        return httpx.Client(base_url=self.address, headers=headers, **options)


@contextmanager
def served(url: str, tokens: Path | None, *, writes: bool = True) -> Iterator[Service]:
    """Serve the database at *url* from a thread of this process."""
    if tokens is not None:
        create(tokens, Caller("first", Role.READER, ALL))
    settings = Settings(
        url, allow_writes=writes and tokens is not None, tokens=tokens, hosts=LOOPBACK
    )
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(configured(settings))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive())
        assert server.started, "the service did not start"
        port = listener.getsockname()[1]
        yield Service(f"http://127.0.0.1:{port}", tokens)
    finally:
        server.should_exit = True
        thread.join(SECONDS)
        listener.close()
        assert not thread.is_alive(), "the service did not end"


class ServiceProcess(Service):
    """A service in processes of its own, as the command starts it."""

    def __init__(self, url: str, *options: str, tokens: Path | None = None) -> None:
        if tokens is not None:
            create(tokens, Caller("first", Role.READER, ALL))
            options = (*options, "--tokens", str(tokens))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "capsule_registry", "--database", url, "serve", *options],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        #: What it has written, line by line.
        self.log: list[str] = [self.process.stderr.readline()]
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        said = self.log[0].strip()
        assert said.startswith("serving at "), [*self.log, self.process.wait(SECONDS)]
        super().__init__(said.removeprefix("serving at "), tokens)
        if said.startswith("serving at http"):
            with self.client(None) as client:
                wait_until(lambda: _is_alive(client))

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.log.extend(self.process.stderr)

    @property
    def workers(self) -> list[int]:
        """The processes that answer, if there are several: not the one that watches over them."""
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [pid for pid in map(int, found.split()) if "spawn_main" in _command_of(pid)]

    def end(self) -> int:
        """Ask it to end, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(SECONDS)
        self._reading.join(SECONDS)
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.end()
        assert self.process.stderr is not None
        self.process.stderr.close()


def _command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def _is_alive(client: httpx.Client) -> bool:
    try:
        return client.get("/livez").is_success
    except httpx.TransportError:
        return False


def kill(pid: int) -> None:
    """Kill a process at once."""
    os.kill(pid, signal.SIGKILL)


def events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Yield Server-Sent Events: `id`, `event` and `data`, or `comment`."""
    found: dict[str, Any] = {}
    for line in lines:
        if not line:
            if found:
                yield found
            found = {}
        elif line.startswith(":"):
            yield {"comment": line[1:].strip()}
        else:
            name, _, value = line.partition(": ")
            found[name] = json.loads(value) if name == "data" else value
