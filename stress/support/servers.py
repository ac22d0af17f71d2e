"""Servers of a stress command's own, on loopback, which it may stop and kill as it likes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_PATIENCE_SECONDS: Final = 60.0


class Server(ABC):
    """A database server in a directory of its own."""

    #: Who runs it where the command itself is run by root, which the server refuses.
    user: ClassVar[str]
    #: What ends it in order, and what ends it as a crash would.
    shutdown: ClassVar[signal.Signals]
    crash: ClassVar[signal.Signals]

    def __init__(self) -> None:
        self.directory = Path(mkdtemp(prefix="capsule-registry-server-"))
        if os.getuid() == 0:
            shutil.chown(self.directory, self.user, self.user)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.install()

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL of an empty database in it."""

    @abstractmethod
    def install(self) -> None:
        """Make what it needs before its first start."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Return what runs it in the foreground."""

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with Path(os.devnull).open("r+b") as nothing:
                self._process = subprocess.Popen(
                    self._as_user(self.command()),
                    stdin=nothing,
                    stdout=nothing,
                    stderr=nothing,
                    cwd="/",
                )
            while self._process.poll() is None:
                if self._answers():
                    return
                time.sleep(0.05)
            time.sleep(0.2)  # What is left of the last one is still going.
        message = f"{self.command()[0]} does not start"
        raise TimeoutError(message)

    def stop(self, how: signal.Signals) -> None:
        """End it, and wait for its end."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()

    def kill(self) -> None:
        """End it as if its machine had gone, and wait for its end."""
        self.stop(signal.SIGKILL)

    def remove(self) -> None:
        """Stop it and delete all that it kept."""
        self.stop(self.crash)
        shutil.rmtree(self.directory, ignore_errors=True)

    def run(self, command: Sequence[str]) -> None:
        """Run *command* to its end."""
        subprocess.run(self._as_user(command), check=True, capture_output=True, cwd="/")

    def _as_user(self, command: Sequence[str]) -> list[str]:
        if os.getuid() != 0:
            return [*command]
        return [
            "setpriv",
            f"--reuid={self.user}",
            f"--regid={self.user}",
            "--init-groups",
            *command,
        ]

    def _answers(self) -> bool:
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", self.port)) == 0


class Postgresql(Server):
    """PostgreSQL, as installed on this machine."""

    user = "postgres"
    shutdown = signal.SIGINT  # SIGTERM would wait for every client to leave.
    crash = signal.SIGQUIT

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def install(self) -> None:
        self.run(
            [found("initdb"), "-A", "trust", "-U", "postgres", "-D", str(self.directory / "data")]
        )

    def command(self) -> Sequence[str]:
        data = str(self.directory / "data")
        options = ["-c", "listen_addresses=127.0.0.1", "-k", str(self.directory)]
        return [found("postgres"), "-D", data, "-p", str(self.port), *options]


class Mariadb(Server):
    """MariaDB, as installed on this machine."""

    user = "mysql"
    shutdown = signal.SIGTERM
    crash = signal.SIGKILL

    @property
    def url(self) -> str:
        return f"mariadb://root@127.0.0.1:{self.port}/test"

    def install(self) -> None:
        data = f"--datadir={self.directory / 'data'}"
        options = ["--auth-root-authentication-method=normal", "--skip-name-resolve"]
        self.run([found("mariadb-install-db"), "--no-defaults", data, *options])

    def command(self) -> Sequence[str]:
        return [
            found("mariadbd"),
            "--no-defaults",
            f"--datadir={self.directory / 'data'}",
            f"--socket={self.directory / 'socket'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
        ]


SERVERS: Final[dict[str, type[Server]]] = {"postgresql": Postgresql, "mariadb": Mariadb}


def free_port() -> int:
    """Return a port of loopback that nobody uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def found(program: str) -> str:
    """Return the path of *program*: distributions keep some of those off the usual path."""
    places = [*Path("/usr/lib/postgresql").glob("*/bin"), Path("/usr/sbin"), Path("/usr/bin")]
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, places)])
    found = shutil.which(program, path=path)
    if found is None:
        message = f"{program} is not installed"
        raise FileNotFoundError(message)
    return found
