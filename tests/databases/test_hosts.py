"""Several hosts in one URL: an unreachable one is skipped, one that is behind is refused."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from capsule_registry import (
    CapsuleRegistry,
    IncarnationChangedError,
    InvalidDatabaseError,
    RegistryAdmin,
    RegistryUnavailableError,
)
from capsule_registry.database.address import read_address
from support.factories import make_manifest
from support.histories import cut_tail

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.backends import ServerBackend

#: Nobody listens there.
NOWHERE = "127.0.0.1:1"


def spread(url: str, *hosts: str, **options: str) -> str:
    """Return *url* with *hosts* in place of its own."""
    whole = sa.make_url(url)._replace(host=None, port=None)
    return whole.update_query_dict({"host": hosts, **options}).render_as_string(hide_password=False)


def host_of(url: str) -> str:
    """Return the first host of *url*, with its port."""
    whole = sa.make_url(url)
    if "host" in whole.query:  # A cluster.
        hosts = whole.query["host"]
        return hosts if isinstance(hosts, str) else hosts[0]
    return f"{whole.host}:{whole.port}"


def ways(registry: CapsuleRegistry) -> dict[str, Callable[[], object]]:
    """Return calls of every kind of verb."""
    return {
        "find_by_uuid": lambda: registry.find_by_uuid(uuid4()),
        "check": lambda: registry.check(uuid4(), "ipc_publish", "a"),
        "is_allowed": lambda: registry.is_allowed(uuid4(), "ipc_publish", "a"),
        "get": lambda: registry.get("alpha"),
        "list": registry.list,
        "history": lambda: registry.history.revision,
        "register": lambda: registry.register(make_manifest("beta")),
    }


def refused(registry: CapsuleRegistry) -> list[str]:
    """Return the verbs that raise `IncarnationChangedError`."""
    found = []
    for name, way in ways(registry).items():
        try:
            way()
        except IncarnationChangedError:
            found.append(name)
    return found


def test_hosts_may_be_one_list(server: ServerBackend, url: str) -> None:
    """Needs no shell quotes; the address that errors show can be reused once the user is added."""
    hosts = f"{NOWHERE},{host_of(url)}"
    with CapsuleRegistry.open(spread(url, hosts)) as registry:
        assert [] == registry.list()
        assert str(registry._database.address).endswith(f"?host={hosts}")


def test_a_host_without_a_port_has_the_usual_one(server: ServerBackend, url: str) -> None:
    """No port is passed to the driver."""
    found = read_address(spread(url, "a,[::1]:5"))

    assert [{"host": "a"}, {"host": "::1", "port": 5}] == [host.options for host in found.hosts]


@pytest.mark.parametrize("place", [0, 1])
def test_a_host_that_is_gone_is_passed_over(server: ServerBackend, url: str, place: int) -> None:
    """Wherever it stands in the URL, the other host is used for reads and writes."""
    hosts = [host_of(url)]
    hosts.insert(place, NOWHERE)
    with CapsuleRegistry.open(spread(url, *hosts)) as registry:
        registry.register(make_manifest(), uuids=[uuid := uuid4()])
        server.break_connections(url)

        assert "alpha" == registry.find_by_uuid(uuid)
        registry.unregister("alpha")
        assert [] == registry.list()


def test_hosts_are_named_and_nothing_else(url: str, server: ServerBackend) -> None:
    """An error shows which hosts were tried, without user, password or options."""
    hosts = [NOWHERE, "[::1]:1"]
    stranger = sa.make_url(spread(url, *hosts)).set(username="canary", password="canary")  # noqa: S106 - it is looked for
    with pytest.raises(RegistryUnavailableError) as caught:
        CapsuleRegistry.open(stranger.render_as_string(hide_password=False), read_only=True)

    assert "canary" not in str(caught.value)
    assert caught.value.database.endswith(f"?host={NOWHERE},[::1]:1")


def test_a_port_that_is_no_number_is_invalid(url: str, server: ServerBackend) -> None:
    """The URL is refused before any connection is made."""
    with pytest.raises(InvalidDatabaseError, match="NAME:PORT"):
        CapsuleRegistry.open(spread(url, "127.0.0.1:x", NOWHERE))


def test_the_shell_is_opened_on_a_host_that_answers(server: ServerBackend, url: str) -> None:
    """It is on the host that the other commands use, of several."""
    for hosts in ([host_of(url), NOWHERE], [NOWHERE, host_of(url)]):
        with RegistryAdmin.open(spread(url, *hosts)) as admin, admin.shell() as shell:
            assert shell.arguments  # Entering it has run the shell once.


def test_a_host_that_fails_again_and_again_is_asked_all_the_same(
    server: ServerBackend, url: str
) -> None:
    """A freshly made connection is used even if others fail meanwhile."""
    with CapsuleRegistry.open(url) as registry:
        with registry._database.connected(registry._database.reader) as connection:
            connection.info["capsule_registry.origin"].host.failed_at = float("inf")

        assert [[], [], []] == [registry.list() for _ in range(3)]
        registry.register(make_manifest())
        assert ["alpha"] == registry.list()


def test_limits_are_set_for_several_hosts_and_given_ones_stand(
    server: ServerBackend, url: str
) -> None:
    """With several hosts the next one is tried after seconds; timeouts in the URL are kept."""
    hosts = (NOWHERE, host_of(url))
    alone, both = read_address(spread(url, hosts[1])), read_address(spread(url, *hosts))
    given = read_address(spread(url, *hosts, connect_timeout="60"))

    assert [None, "3", "60"] == [
        address.url.query.get("connect_timeout") for address in (alone, both, given)
    ]


class Closed:
    """Refuses connections a given number of times, or for good."""

    def __init__(self, registry: CapsuleRegistry, times: int | None) -> None:
        self.asked = 0
        self._times = times
        for engine in (registry._database.engine, registry._database.reader):
            dialect: Any = engine.dialect
            error = dialect.loaded_dbapi.OperationalError(2003, "nobody there")
            dialect.connect = partial(self._connect, dialect.connect, error)

    def _connect(
        self, connect: Callable[..., object], error: Exception, *args: object, **options: object
    ) -> object:
        self.asked += 1
        if self._times is None or self.asked <= self._times:
            raise error
        return connect(*args, **options)


def test_a_write_waits_for_another_host_to_take_over(server: ServerBackend, url: str) -> None:
    """With no host up, a write is retried and then done once; a read fails at once."""
    with CapsuleRegistry.open(spread(url, host_of(url), NOWHERE)) as registry:
        server.break_connections(url)
        closed = Closed(registry, 9)
        with pytest.raises(RegistryUnavailableError):
            registry.list()
        registry.register(make_manifest())

        assert ["alpha"] == registry.list()
        assert closed.asked > 9


@pytest.mark.parametrize("is_alone", [True, False])
def test_a_write_is_not_tried_forever(
    server: ServerBackend, url: str, *, is_alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is unavailable after the deadline, or at once if there is no other host."""
    monkeypatch.setattr("capsule_registry.database.retries.RETRY_SECONDS", 0.3)
    hosts = (host_of(url),) if is_alone else (host_of(url), NOWHERE)
    with CapsuleRegistry.open(spread(url, *hosts)) as registry:
        server.break_connections(url)
        closed = Closed(registry, None)
        with pytest.raises(RegistryUnavailableError):
            registry.register(make_manifest())

    assert is_alone == (closed.asked <= 2)


def test_a_server_that_is_behind_is_refused(server: ServerBackend, url: str) -> None:
    """It lacks acknowledged commits: no verb answers until an operator accepts the restore."""
    with CapsuleRegistry.open(url) as registry:
        registry.register(make_manifest())
        registry.register_uuid(uuid4(), "alpha")
        cut_tail(registry, server, url)
        server.break_connections(url)

        assert [*ways(registry)] == refused(registry)
        with CapsuleRegistry.open(url) as another:
            assert ["alpha"] == another.list()
        with RegistryAdmin.open(url) as admin:
            admin.accept_restore()
        assert [] == refused(registry)  # Also the control.
        assert ["alpha", "beta"] == registry.list()


@pytest.mark.parametrize("way", ["check", "is_allowed", "find_by_uuid", "get", "history"])
def test_what_an_answer_shows_is_not_unlearnt(server: ServerBackend, url: str, way: str) -> None:
    """A server that lacks the revision by which a lookup was answered is refused from then on."""
    with CapsuleRegistry.open(url) as registry, CapsuleRegistry.open(url) as another:
        for call in ways(registry).values():  # Each connection is there, and has looked.
            call()
        registry.unregister("beta")
        server.break_connections(url)
        assert [] == refused(registry)
        another.register_uuid(uuid4(), "alpha")
        ways(registry)[way]()
        cut_tail(another, server, url)
        server.break_connections(url)

        assert [*ways(registry)] == refused(registry)


def test_a_server_with_another_history_is_refused(server: ServerBackend, url: str) -> None:
    """It has as many revisions or more, but not the ones already seen."""
    with CapsuleRegistry.open(url) as registry:
        registry.register(make_manifest())
        registry.unregister("alpha")
        cut_tail(registry, server, url)
        with CapsuleRegistry.open(url) as another:
            another.register_uuid(uuid4(), "other")
            another.register_uuid(uuid4(), "other")
        server.break_connections(url)

        assert [*ways(registry)] == refused(registry)


def test_a_role_that_may_not_see_the_history_is_served(server: ServerBackend, url: str) -> None:
    """It cannot tell two histories apart, but notices one that is behind."""
    with CapsuleRegistry.open(url) as registry:
        registry.register(make_manifest())
        with RegistryAdmin.open(url) as admin:
            name = server.as_user(url, "")
            user = sa.make_url(name).username or ""
            for statement in admin.grants(readers=[user]):
                server.rows(url, statement)
        with CapsuleRegistry.open(name, read_only=True) as reader:
            assert ["alpha"] == reader.list()
            registry.register_uuid(uuid4(), "alpha")
            server.break_connections(url)
            assert ["alpha"] == reader.list()
