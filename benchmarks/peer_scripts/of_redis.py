"""Redis over a Unix socket, each write synchronised: an id under each UUID."""

from __future__ import annotations

import subprocess
import time

import redis  # type: ignore[import-not-found] # in an environment of its own
from answering import answer, directory

socket = directory().resolve() / "socket"
settings = ["--port", "0", "--unixsocket", str(socket), "--dir", str(directory()), "--save", ""]
settings += ["--appendonly", "yes", "--appendfsync", "always"]
server = subprocess.Popen(["redis-server", *settings], stdout=subprocess.DEVNULL)  # noqa: S603, S607
try:
    while not socket.exists() and server.poll() is None:
        time.sleep(0.05)
    client = redis.Redis(unix_socket_path=str(socket), decode_responses=True)
    answer(
        client.info()["redis_version"],
        {"register": lambda name: client.set(name, "capsule-0000000"), "find": client.get},
    )
finally:
    server.terminate()
    server.wait()
