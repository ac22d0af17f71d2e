"""Database servers on loopback for stress commands, which may stop and kill them."""

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
#: In memory, where there are so many bytes for the servers.
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - what is made in it is private
_ROOM: Final = 4 * 2**30


class Server(ABC):
    """A database server in a directory of its own."""

    #: The user that runs the server if the command runs as root, which servers refuse.
    user: ClassVar[str]
    #: The signals that end it cleanly, and as a crash would.
    shutdown: ClassVar[signal.Signals]
    crash: ClassVar[signal.Signals]

    def __init__(self) -> None:
        self.directory = Path(mkdtemp(prefix="capsule-registry-server-", dir=_fast_place()))
        if os.getuid() == 0:
            shutil.chown(self.directory, self.user, self.user)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.install()

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL of an empty database on it."""

    @abstractmethod
    def install(self) -> None:
        """Create what the server needs before its first start."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Return the command that runs it in the foreground."""

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
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
            time.sleep(0.2)  # The last one is still shutting down.
        message = f"{self.command()[0]} does not start"
        raise TimeoutError(message)

    def stop(self, how: signal.Signals) -> None:
        """Send the signal *how*, and wait for the server's end."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()

    def kill(self) -> None:
        """Send SIGKILL, and wait for the server's end."""
        self.stop(signal.SIGKILL)

    def remove(self) -> None:
        """Stop the server and delete its data."""
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
        settings = [
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self.directory}",
            # A server that was killed would leave its shared memory behind.
            "dynamic_shared_memory_type=mmap",
        ]
        options = [word for setting in settings for word in ("-c", setting)]
        return [found("postgres"), "-D", data, "-p", str(self.port), *options]


class Mariadb(Server):
    """MariaDB, as installed on this machine."""

    user = "mysql"
    shutdown = signal.SIGTERM
    crash = signal.SIGKILL

    def __init__(self, *options: str) -> None:
        self.settings = options
        super().__init__()

    @property
    def url(self) -> str:
        return f"mariadb://root@127.0.0.1:{self.port}/test"

    def install(self) -> None:
        data = f"--datadir={self.directory / 'data'}"
        options = ["--auth-root-authentication-method=normal", "--skip-name-resolve"]
        of_pages = [option for option in self.settings if "page-size" in option]
        self.run([found("mariadb-install-db"), "--no-defaults", data, *options, *of_pages])

    def command(self) -> Sequence[str]:
        return [
            found("mariadbd"),
            "--no-defaults",
            f"--datadir={self.directory / 'data'}",
            f"--socket={self.directory / 'socket'}",
            # A server that starts deletes what others have in a directory that they share.
            f"--tmpdir={self.directory}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            *self.settings,
        ]


SERVERS: Final[dict[str, type[Server]]] = {"postgresql": Postgresql, "mariadb": Mariadb}


def _fast_place() -> Path | None:
    """Return a file system in memory, if there is one: processes are killed, never the machine."""
    has_room = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM
    return _MEMORY if has_room else None


def free_port() -> int:
    """Return an unused port of loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def found(program: str) -> str:
    """Return the path of *program*, which distributions may keep off the PATH."""
    places = [*Path("/usr/lib/postgresql").glob("*/bin"), Path("/usr/sbin"), Path("/usr/bin")]
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, places)])
    found = shutil.which(program, path=path)
    if found is None:
        message = f"{program} is not installed"
        raise FileNotFoundError(message)
    return found
