"""A Galera cluster for stress commands: three nodes that they may kill, stop and cut off."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Final, Self

import pymysql

from support.servers import Mariadb, free_port

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Where distributions put Galera.
LIBRARIES: Final = ("/usr/lib/galera/libgalera_smm.so", "/usr/lib64/galera/libgalera_smm.so")
_USER: Final = "registry"
_DATABASE: Final = "registry"
_PATIENCE_SECONDS: Final = 90.0
#: The two networks of a node in a namespace: to the other nodes, and to its clients.
_GROUP_NET: Final = "10.231.1"
_CLIENT_NET: Final = "10.231.2"


def run(*command: str, check: bool = True) -> None:
    """Run *command* to its end."""
    subprocess.run(command, check=check, capture_output=True)


class Node(Mariadb):
    """One node; if *is_separate*, in a network namespace of its own, so that it can be cut off."""

    def __init__(self, number: int, *, is_separate: bool) -> None:
        self.number = number
        self.name = f"capsule-node-{number}"
        self.is_separate = is_separate
        self.host = f"{_CLIENT_NET}.{number}" if is_separate else "127.0.0.1"
        self._group_host = f"{_GROUP_NET}.{number}" if is_separate else "127.0.0.1"
        self._ports = [free_port() for _ in range(3)]
        self._address = "gcomm://"
        if is_separate:
            self._make_namespace()
        super().__init__()

    @property
    def group(self) -> str:
        """The address for the other nodes."""
        return f"{self._group_host}:{self._ports[0]}"

    @property
    def url(self) -> str:
        return f"mariadb://{_USER}@{self.host}:{self.port}/{_DATABASE}"

    def command(self) -> Sequence[str]:
        group, ist, sst = self._ports
        provider = next(path for path in LIBRARIES if os.path.exists(path))  # noqa: PTH110
        options = {
            "bind-address": "0.0.0.0" if self.is_separate else "127.0.0.1",  # noqa: S104 - its own
            "binlog-format": "ROW",
            "innodb-autoinc-lock-mode": "2",
            "innodb-buffer-pool-size": "64M",
            "innodb-flush-log-at-trx-commit": "1",
            "wsrep-on": "ON",
            "wsrep-provider": provider,
            "wsrep-cluster-name": "capsule-registry",
            "wsrep-cluster-address": self._address,
            "wsrep-node-name": self.name,
            "wsrep-node-address": self._group_host,
            "wsrep-sst-method": "rsync",
            "wsrep-sst-receive-address": f"{self._group_host}:{sst}",
            "wsrep-provider-options": (
                f"gmcast.listen_addr=tcp://{self._group_host}:{group};"
                f"ist.recv_addr={self._group_host}:{ist};gcache.size=64M;pc.recovery=no"
            ),
            "log-error": str(self.directory / "log"),
        }
        return [*super().command(), *(f"--{name}={value}" for name, value in options.items())]

    def join(self, others: Sequence[Node]) -> None:
        """Start the node, join *others* or begin the cluster, and wait until it is whole."""
        self._address = "gcomm://" + ",".join(other.group for other in others)
        self.start()
        wait_until_whole([self, *others])

    def status(self, name: str) -> str | None:
        """Return a status variable of the node, or `None` if it does not answer."""
        try:
            found = self.ask(f"SHOW STATUS LIKE '{name}'")
        except pymysql.Error:
            return None
        return str(found[0][1]) if found else None

    def ask(self, *statements: str) -> Sequence[Sequence[object]]:
        """Run *statements* as administrator, and return the rows of the last."""
        place = str(self.directory / "socket")
        with (
            pymysql.connect(unix_socket=place, user="root", read_timeout=5) as connection,
            connection.cursor() as cursor,
        ):
            for statement in statements:
                cursor.execute(statement)
            found: Sequence[Sequence[object]] = cursor.fetchall()
            return found

    def signal(self, number: signal.Signals) -> None:
        """Send the server process a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    def cut(self, *, off: bool) -> None:
        """Cut the node off from the other nodes, but not from its clients, or reconnect it."""
        run("ip", "link", "set", f"capg{self.number}", "down" if off else "up")

    def remove(self) -> None:
        self.signal(signal.SIGCONT)
        super().remove()
        if self.is_separate:
            run("ip", "netns", "del", self.name, check=False)

    def _as_user(self, command: Sequence[str]) -> list[str]:
        inside = ["ip", "netns", "exec", self.name] if self.is_separate else []
        return [*inside, *super()._as_user(command)]

    def _answers(self) -> bool:
        with socket.socket() as trial:
            trial.settimeout(1)
            return trial.connect_ex((self.host, self.port)) == 0

    def _make_namespace(self) -> None:
        run("ip", "netns", "del", self.name, check=False)
        run("ip", "netns", "add", self.name)
        run("ip", "-n", self.name, "link", "set", "lo", "up")
        for letter, net, bridge in (("g", _GROUP_NET, "capgroup"), ("c", _CLIENT_NET, "capclient")):
            outside, inside = f"cap{letter}{self.number}", f"eth{letter}"
            run("ip", "link", "del", outside, check=False)
            run("ip", "link", "add", outside, "type", "veth", "peer", inside, "netns", self.name)
            run("ip", "link", "set", outside, "master", bridge, "up")
            address = f"{net}.{self.number}/24"
            run("ip", "-n", self.name, "addr", "add", address, "dev", inside)
            run("ip", "-n", self.name, "link", "set", inside, "up")


def wait_until_whole(nodes: Sequence[Node]) -> None:
    """Wait until all *nodes* are synced and agree on the members."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        states = {node.status("wsrep_local_state_comment") for node in nodes}
        sizes = {node.status("wsrep_cluster_size") for node in nodes}
        views = {node.status("wsrep_cluster_conf_id") for node in nodes}
        if (states, sizes, len(views)) == ({"Synced"}, {str(len(nodes))}, 1):
            return
        if time.monotonic() > deadline:
            message = f"the nodes do not find together: {states}, {sizes}, {views}"
            raise TimeoutError(message)
        time.sleep(0.1)


class Cluster:
    """Three nodes on loopback, or each in a network namespace; a context manager."""

    def __init__(self, *, is_separable: bool) -> None:
        self.is_separable = is_separable
        if self.is_separable:
            for bridge, net in (("capgroup", _GROUP_NET), ("capclient", _CLIENT_NET)):
                run("ip", "link", "del", bridge, check=False)
                run("ip", "link", "add", bridge, "type", "bridge")
                run("ip", "addr", "add", f"{net}.254/24", "dev", bridge)
                run("ip", "link", "set", bridge, "up")
        self.nodes = [Node(number, is_separate=self.is_separable) for number in (1, 2, 3)]

    def __enter__(self) -> Self:
        for place, node in enumerate(self.nodes):
            node.join(self.nodes[:place])
        self.nodes[0].ask(
            f"CREATE DATABASE {_DATABASE}",
            f"CREATE USER {_USER}@'%'",
            f"GRANT ALL ON *.* TO {_USER}@'%' WITH GRANT OPTION",
        )
        return self

    def url(self, first: int = 0, database: str = _DATABASE) -> str:
        """Return the URL of all nodes, beginning with number *first*."""
        turned = [*self.nodes[first % 3 :], *self.nodes[: first % 3]]
        hosts = ",".join(f"{node.host}:{node.port}" for node in turned)
        return f"mariadb://{_USER}@/{database}?host={hosts}"

    def others(self, node: Node) -> list[Node]:
        """Return all nodes but *node*."""
        return [other for other in self.nodes if other is not node]

    def __exit__(self, *exception: object) -> None:
        for node in self.nodes:
            node.remove()
        if self.is_separable:
            for bridge in ("capgroup", "capclient"):
                run("ip", "link", "del", bridge, check=False)
