"""Every error of a driver reaches the caller as one of the registry's."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from capsule_registry import (
    CapsuleRegistry,
    CapsuleRegistryError,
    InvalidDatabaseError,
    PermissionDeniedError,
    RegistryUnavailableError,
    UnexpectedDatabaseError,
)
from capsule_registry.cli.exit_codes import of_error
from support.factories import make_manifest
from support.injection import Injection

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.backends import Backend, ServerBackend

#: Options that the driver, or the server, refuses: by a value, or because it does not know them.
REFUSED = {
    "postgresql": (
        *("connect_timeout=5canary", "port=canary", "port=99999999", "sslmode=canary"),
        *("client_encoding=canary", "options=-c canary=1", "options=canary", "keepalives=canary"),
        *("target_session_attrs=canary", "channel_binding=canary", "gssencmode=canary"),
        *("service=canary", "tcp_user_timeout=canary", "prepare_threshold=canary"),
        *("cursor_factory=canary", "row_factory=canary", "no_such_option=canary"),
    ),
    "mariadb": (
        *("connect_timeout=5canary", "connect_timeout=-1", "port=canary", "ssl=canary", "ssl=true"),
        *("charset=canary", "read_timeout=canary", "write_timeout=canary", "local_infile=canary"),
        *("client_flag=canary", "ssl_ca=/canary", "ssl_check_hostname=canary", "conv=canary"),
        *("cursorclass=canary", "use_unicode=canary", "compress=1", "named_pipe=1"),
        *("auth_plugin_map=canary", "sql_mode=canary", "collation=canary"),
        *("init_command=canary", "no_such_option=canary"),
    ),
}
#: The kind of errors that people have met, and that mean different things to do.
MENDED: dict[str, dict[type[CapsuleRegistryError], tuple[Any, ...]]] = {
    "postgresql": {
        RegistryUnavailableError: ("25P03", "25P04", "3F000"),
        InvalidDatabaseError: ("22P05",),
    },
    "mariadb": {
        PermissionDeniedError: (1419, 1449, 1820, 4151),
        InvalidDatabaseError: (1366, 1665, 1071, 1709),
    },
}


@pytest.fixture
def injection(registry: CapsuleRegistry, monkeypatch: pytest.MonkeyPatch) -> Injection:
    """Makes a chosen statement fail."""
    return Injection(registry, monkeypatch)


def test_every_error_of_the_driver_is_ours(
    registry: CapsuleRegistry, injection: Injection, backend: Backend
) -> None:
    """Whatever code a write meets, it is retried if that is known to pass, else a typed error."""
    registry.register(make_manifest())
    outlasted = set()
    for code in backend.codes():
        injection.arm(backend.error(code), 0)
        try:
            registry.register_uuid(uuid4(), "alpha")
            outlasted.add(code)
        except CapsuleRegistryError as error:
            assert isinstance(error.__cause__, sa.exc.DBAPIError), code
        assert injection.is_spent

    assert {*backend.passing, *backend.lost} & backend.codes() == outlasted
    assert len(outlasted) == len(registry.uuids())


def test_every_error_of_the_driver_in_a_read_is_ours(
    registry: CapsuleRegistry, injection: Injection, backend: Backend
) -> None:
    """Whatever code a read meets, it answers from another connection, or raises a typed error."""
    for code in backend.codes():
        injection.arm(backend.error(code), 0)
        with suppress(CapsuleRegistryError):
            assert [] == registry.list()
            assert code in (*backend.lost, *backend.passing)
        assert injection.is_spent


def test_an_error_that_no_table_knows_is_unexpected(
    registry: CapsuleRegistry, injection: Injection, backend: Backend
) -> None:
    """A bug of ours carries the code of the driver, is not retried, and is not worth a retry."""
    code = {"sqlite": 21, "postgresql": "42601", "mariadb": 1221}[backend.name]
    for at_once in (registry.list, lambda: registry.register(make_manifest())):
        injection.arm(backend.error(code), 0)
        with pytest.raises(UnexpectedDatabaseError, match="injected") as caught:
            at_once()
        assert str(code) == caught.value.code
        assert 10 == of_error(caught.value)


def test_what_is_to_be_mended_is_told_apart(
    registry: CapsuleRegistry, injection: Injection, server: ServerBackend
) -> None:
    """A setting of the server is invalid, a missing right is not permitted, the rest may pass."""
    for expected, codes in MENDED[server.name].items():
        for code in codes:
            injection.arm(server.error(code), 0)
            with pytest.raises(expected):
                registry.register(make_manifest())


def test_a_refused_option_is_named_without_its_value(server: ServerBackend, url: str) -> None:
    """Each is the caller's error, which says which option it is; values may be secrets."""
    for text in REFUSED[server.name]:
        name, _, value = text.partition("=")
        wrong = sa.make_url(url).update_query_dict({name: value})
        with pytest.raises(InvalidDatabaseError, match=rf"\b{name}\b") as caught:
            CapsuleRegistry.open(wrong.render_as_string(hide_password=False))
        assert "canary" not in str(caught.value), text


def test_a_url_without_a_database_is_one_of_our_errors(server: ServerBackend, url: str) -> None:
    """It says what is missing, or names the database that the driver chose."""
    place = sa.make_url(url).set(database="").render_as_string(hide_password=False)
    with pytest.raises(CapsuleRegistryError, match=r"(?i)database"):
        CapsuleRegistry.open(place)


def in_snapshot(registry: CapsuleRegistry) -> object:
    with registry.snapshot() as view:
        return view.list()


def in_transaction(registry: CapsuleRegistry) -> object:
    with registry.transaction() as transaction:
        return transaction.list()


@pytest.mark.parametrize(
    "way",
    [
        in_snapshot,
        in_transaction,
        lambda registry: registry.history.verify(),
        lambda registry: registry.boot_order(),
        lambda registry: registry.run(lambda transaction: transaction.list()),
        lambda registry: registry.list(),
        lambda registry: [*registry.export_lines()],
        lambda registry: registry.leases.list(),
        lambda registry: registry.set_state("alpha", "ready"),
    ],
)
def test_connections_closed_while_they_were_idle_are_replaced(
    server: ServerBackend, url: str, way: Callable[[CapsuleRegistry], object]
) -> None:
    """Whatever comes first after that works, a block that cannot be run again included."""
    with CapsuleRegistry.open(url) as registry:
        registry.register(make_manifest())
        expected = way(registry)
        server.break_connections(url)

        assert type(expected) is type(way(registry))


def test_a_block_is_not_begun_again_once_it_runs(server: ServerBackend, url: str) -> None:
    """A connection lost in the body is an error, and the body ran once."""
    with CapsuleRegistry.open(url) as registry:
        registry.register(make_manifest())
        for block in (registry.snapshot, registry.transaction):
            ran = 0
            with pytest.raises(RegistryUnavailableError), block() as view:
                ran += 1
                server.break_connections(url)
                view.list()
            assert 1 == ran
        assert ["alpha"] == registry.list()
