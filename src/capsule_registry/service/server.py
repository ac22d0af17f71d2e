"""The server: where it listens, in how many processes, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import stat
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

import uvicorn
from uvicorn.supervisors import Multiprocess

from capsule_registry.service.app import create_app
from capsule_registry.service.limits import (
    IDLE_SECONDS,
    LEAVING_SECONDS,
    MOST_HEAD,
)
from capsule_registry.service.protocol import PatientProtocol

if TYPE_CHECKING:
    from pathlib import Path

    from capsule_registry.service.settings import Settings

#: Connections that wait to be accepted.
_BACKLOG: Final = 2_048


def listen(host: str, port: int) -> socket.socket:
    """
    Return a socket that listens there; port 0 takes one that is free.

    Raises:
        OSError: There is no such address, or it is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, error.strerror, f"{host}:{port}") from error
    return listener


def listen_at(path: Path) -> socket.socket:
    """
    Return a socket that listens at *path*, which only its owner can reach (mode 0600).

    What a service that was killed has left there is removed.

    Raises:
        OSError: Something else is there, a service listens there, or it cannot be created.
    """
    _remove_left(path)
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.umask(before)
    return listener


def _remove_left(path: Path) -> None:
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise FileExistsError(17, "something else than a socket is there", str(path))
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise OSError(98, "a service listens there already", str(path))


def run(settings: Settings, listener: socket.socket, workers: int) -> None:
    """Serve on *listener* in so many processes, until a signal ends it."""
    config = configured(settings, workers)
    for one in (signal.SIGINT, signal.SIGTERM):  # The server raises them again once it has ended.
        signal.signal(one, _exit)
    if workers == 1:
        uvicorn.Server(config).run([listener])
    else:
        Multiprocess(config, [listener]).run()


def _exit(*_: object) -> None:
    sys.exit(0)


def configured(settings: Settings, workers: int = 1) -> uvicorn.Config:
    """Return how the server serves: bounded in all that a client could make it do."""
    return uvicorn.Config(
        partial(create_app, settings),
        factory=True,
        workers=workers,
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=LEAVING_SECONDS,
        h11_max_incomplete_event_size=MOST_HEAD,
    )
