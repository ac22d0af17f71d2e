"""
etcd over gRPC on loopback: an id under each UUID, read linearizably.

The two messages are encoded by hand: they have only a key (field 1) and a value (field 2).
"""

from __future__ import annotations

import socket
import subprocess

import grpc  # type: ignore[import-not-found,import-untyped,unused-ignore] # in an environment of its own
from answering import answer, directory


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _field(number: int, text: str) -> bytes:
    data = text.encode()
    return bytes([number << 3 | 2, len(data)]) + data


client, peer = (f"http://127.0.0.1:{_free_port()}" for _ in range(2))
command = ["etcd", "--data-dir", str(directory() / "data"), "--listen-client-urls", client]
command += ["--advertise-client-urls", client, "--listen-peer-urls", peer, "--log-level", "error"]
command += ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"]
server = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603
try:
    channel = grpc.insecure_channel(client.removeprefix("http://"))
    grpc.channel_ready_future(channel).result(timeout=30)
    put, read = (channel.unary_unary(f"/etcdserverpb.KV/{verb}") for verb in ("Put", "Range"))
    version = subprocess.run(["etcd", "--version"], check=True, capture_output=True, text=True)  # noqa: S607
    answer(
        version.stdout.split()[2],
        {
            "register": lambda name: put(_field(1, name) + _field(2, "capsule-0000000")),
            "find": lambda name: read(_field(1, name)),
        },
    )
finally:
    server.terminate()
    server.wait()
