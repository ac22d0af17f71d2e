"""No error that leaves the library carries a password, nor shows the value of an option."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from capsule_registry import CapsuleRegistry, CapsuleRegistryError
from support.commands import run
from support.factories import make_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.backends import ServerBackend

CANARY = "canary-4711"
#: What an exception may hold: texts, numbers, and what they are in.
_PLAIN = (str, bytes, int, float, type(None), BaseException)


def _with(url: str, **parts: Any) -> str:
    return sa.make_url(url).set(**parts).render_as_string(hide_password=False)


def _with_option(url: str, name: str, value: str) -> str:
    return sa.make_url(url).update_query_dict({name: value}).render_as_string(hide_password=False)


def _chain(error: object, seen: dict[int, object] | None = None) -> Iterator[tuple[str, object]]:
    """Yield every exception that can be reached from *error*, and all that these hold."""
    seen = {} if seen is None else seen
    if not isinstance(error, BaseException) or id(error) in seen:
        return
    seen[id(error)] = error
    held = {**vars(error), "cause": error.__cause__, "context": error.__context__}
    slots = {name: getattr(error, name, None) for name in ("pgconn", "conninfo", "connection")}
    yield type(error).__name__, error
    for name, value in [*held.items(), *slots.items(), *enumerate(error.args)]:
        yield f"{type(error).__name__}.{name}", value
        yield from _chain(value, seen)


def leaks(error: BaseException) -> list[str]:
    """Return where the canary, or an object that may hold it, can be reached from *error*."""
    return [
        where
        for where, value in _chain(error)
        if CANARY in f"{value} {value!r}" or not _is_plain(value)
    ]


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN) or type(value).__name__ == "PGresult"


def _wrong_password(server: ServerBackend, url: str) -> str:
    stranger = server.as_user(url, "")
    return _with(stranger, username=f"{sa.make_url(stranger).username}-no", password=CANARY)


def _refused_host(server: ServerBackend, url: str) -> str:
    return _with(url, password=CANARY, host="127.0.0.1", port=1)


def _no_database(server: ServerBackend, url: str) -> str:
    return _with(server.as_user(url, ""), database="nothing_of_this_name")


def _unknown_option(server: ServerBackend, url: str) -> str:
    return _with_option(url, "nothing_of_this_name", CANARY)


def _wrong_option(server: ServerBackend, url: str) -> str:
    name, value = {
        "postgresql": ("options", f"-c search_path={CANARY} -c nothing={CANARY}"),
        "mariadb": ("init_command", f"SET nothing = '{CANARY}'"),
    }[server.name]
    return _with_option(url, name, value)


def _wrong_file(server: ServerBackend, url: str) -> str:
    options = {"postgresql": ("sslmode", CANARY), "mariadb": ("init_command", f"{CANARY} {CANARY}")}
    return _with_option(url, *options[server.name])


@pytest.mark.parametrize(
    "spoil",
    [
        _wrong_password,
        _refused_host,
        _no_database,
        _unknown_option,
        _wrong_option,
        _wrong_file,
    ],
)
def test_a_failed_connection_gives_nothing_away(
    server: ServerBackend, url: str, spoil: Callable[[ServerBackend, str], str]
) -> None:
    """Neither in its message, nor on any exception that is chained to it."""
    spoiled = spoil(server, url)
    with pytest.raises(CapsuleRegistryError) as caught:
        CapsuleRegistry.open(spoiled, migrate=False)

    assert [] == leaks(caught.value)
    assert CANARY not in run(spoiled, "list").output


def test_a_lost_connection_gives_nothing_away(server: ServerBackend, url: str) -> None:
    """Nor does a statement that a server stops, in a transaction that cannot be begun again."""
    name, value = {
        "postgresql": ("application_name", CANARY),
        "mariadb": ("init_command", f"SET @a = '{CANARY}'"),
    }[server.name]
    with CapsuleRegistry.open(_with_option(url, name, value)) as registry:
        transaction = registry.transaction()
        with pytest.raises(CapsuleRegistryError) as caught, transaction as opened:
            opened.register(make_manifest())
            server.break_connections(url)
            opened.list()

    assert [] == leaks(caught.value)


def test_the_leaks_are_looked_for_where_drivers_have_them() -> None:
    """A connection on the cause of a cause is found, and so is a text."""
    cause, error = ValueError(CANARY), ValueError()
    cause.connection = object()  # type: ignore[attr-defined]
    error.__context__ = KeyError()
    error.__context__.__cause__ = cause

    assert [
        "KeyError.cause",
        "ValueError",
        "ValueError.connection",
        "ValueError.connection",
        "ValueError.0",
    ] == leaks(error)
