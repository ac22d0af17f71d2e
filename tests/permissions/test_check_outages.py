"""Outages: if the database cannot answer, or not in time, nothing is allowed."""

from __future__ import annotations

from contextlib import ExitStack, closing
from datetime import timedelta
from functools import partial
from itertools import chain, count
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from capsule_registry import (
    CapsuleRegistry,
    CapsuleRegistryError,
    DatabaseReplacedError,
    Decision,
    DecisionReason,
    InvalidDatabaseError,
    NamespaceNotFoundError,
    PermissionDeniedError,
    RegistryAdmin,
    RegistryClosedError,
    RegistryUnavailableError,
    TransactionInProgressError,
)
from capsule_registry.database.driver_cursor import DriverCursor
from capsule_registry.unit_of_work.prepared_statements import PreparedScope
from support.standing import PAST, QUESTION, VERBS, WAYS, Standing, is_no, is_yes, stand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import sqlalchemy as sa

    from support.backends import Backend, ServerBackend, SqliteBackend

pytestmark = pytest.mark.files_alone


#: The error or reason that each code becomes.
CODES: dict[str, dict[Any, DecisionReason | type[CapsuleRegistryError]]] = {
    "sqlite": {
        1: DecisionReason.UNREADABLE,
        5: RegistryUnavailableError,
        6: RegistryUnavailableError,
        261: RegistryUnavailableError,
        517: RegistryUnavailableError,
        8: PermissionDeniedError,
        10: RegistryUnavailableError,
        11: DecisionReason.UNREADABLE,
        13: RegistryUnavailableError,
        14: RegistryUnavailableError,
        23: PermissionDeniedError,
        26: InvalidDatabaseError,
    },
    "postgresql": {
        "08006": RegistryUnavailableError,
        "25006": PermissionDeniedError,
        "40001": RegistryUnavailableError,
        "40P01": RegistryUnavailableError,
        "42501": PermissionDeniedError,
        "42P01": DecisionReason.UNREADABLE,
        "53300": RegistryUnavailableError,
        "55P03": RegistryUnavailableError,
        "57014": RegistryUnavailableError,
        "57P01": RegistryUnavailableError,
        "58030": RegistryUnavailableError,
        "XX001": DecisionReason.UNREADABLE,
    },
    "mariadb": {
        1020: RegistryUnavailableError,
        1047: RegistryUnavailableError,
        1053: RegistryUnavailableError,
        1142: PermissionDeniedError,
        1146: DecisionReason.UNREADABLE,
        1205: RegistryUnavailableError,
        1213: RegistryUnavailableError,
        1317: RegistryUnavailableError,
        1927: RegistryUnavailableError,
        1969: RegistryUnavailableError,
        2006: RegistryUnavailableError,
        2013: RegistryUnavailableError,
    },
}


@pytest.fixture(scope="module")
def outage_url(backend: Backend) -> Iterator[str]:
    """The URL of a database in which the check is allowed, shared by all tests."""
    url = backend.empty_url()
    CapsuleRegistry.open(url, migrate=True).close()
    made = stand(url)
    yield url
    made.close()


@pytest.fixture
def standing(outage_url: str) -> Iterator[Standing]:
    """A registry in which the check is allowed, which is the control of each fault."""
    options = {"pool_size": 2, "max_overflow": 0, "pool_timeout": 0.02}
    registry = CapsuleRegistry.open(outage_url, engine_options=options)
    made = Standing(registry, registry.history.revision)
    made.assert_allowed()
    yield made
    made.close()


def engines_of(standing: Standing) -> list[sa.Engine]:
    database = standing.registry._database
    return [*dict.fromkeys((database.engine, database.reader))]


class Failing:
    """Makes all statements fail, or only the one at a given position."""

    def __init__(self, standing: Standing, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._at: int | None = None
        self._error: Exception | None = None
        for dialect in dict.fromkeys(engine.dialect for engine in engines_of(standing)):
            for name in ("do_execute", "do_execute_no_params"):
                monkeypatch.setattr(dialect, name, self._counting(getattr(dialect, name)))
        monkeypatch.setattr(PreparedScope, "rows", self._of_lookups(PreparedScope.rows))
        self._standing = standing

    def arm(self, error: Exception | None, at: int | None = None) -> None:
        """Raise *error* instead of every statement, or of number *at* from now on."""
        self._standing.forget()
        self.count, self._error, self._at = 0, error, at

    def _of_lookups(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Count lookups outside transactions; cursors inside are counted already."""
        counting = self._counting(original)

        def look_up(scope: PreparedScope, *args: Any, **values: Any) -> Any:
            inside = isinstance(scope.cursor, DriverCursor)
            return (original if inside else counting)(scope, *args, **values)

        return look_up

    def _counting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def execute(*args: Any, **options: Any) -> Any:
            self.count += 1
            if self._error is not None and self._at in (None, self.count - 1):
                raise self._error
            return original(*args, **options)

        return execute


def test_a_statement_that_fails_denies(
    standing: Standing, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the code, retryable or not, it is a typed error, also on leaving the block."""
    failing = Failing(standing, monkeypatch)
    for code, expected in CODES[backend.name].items():
        failing.arm(backend.error(code))
        standing.assert_denied(expected)
    failing.arm(None)

    standing.assert_allowed()


def test_whichever_statement_fails_nothing_is_made_up(
    standing: Standing, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any position: a typed error or the answer of a retry, never a partial one."""
    failing = Failing(standing, monkeypatch)
    for way in WAYS:
        failing.arm(None)
        standing.ask(way, "check")
        steps = failing.count
        assert 0 < steps
        for at in range(steps):
            failing.arm(backend.error(backend.passing[0]), at)
            answer = standing.ask(way, "check")
            is_typed = isinstance(answer, RegistryUnavailableError)
            assert is_typed or is_yes(answer), (way, at, answer)


def test_a_server_that_is_gone_denies(
    server: ServerBackend, standing: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all connections broken and new ones refused, nothing is allowed."""
    url = standing.registry._database.engine.url.render_as_string(hide_password=False)
    for engine in engines_of(standing):
        nowhere = partial(engine.dialect.connect, host="127.0.0.1", port=1)
        monkeypatch.setattr(
            engine.dialect,
            "connect",
            lambda *_, nowhere=nowhere, **options: nowhere(
                **{name: options[name] for name in options if name not in ("host", "port")}
            ),
        )
    server.break_connections(url)

    standing.assert_denied(RegistryUnavailableError)


def test_connections_that_broke_once_are_made_again(
    server: ServerBackend, standing: Standing
) -> None:
    """The control: once the server is back, its rows decide again."""
    url = standing.registry._database.engine.url.render_as_string(hide_password=False)
    server.break_connections(url)

    assert is_yes(standing.ask("registry", "check"))


def test_a_connection_that_breaks_inside_a_block_denies(
    server: ServerBackend, standing: Standing
) -> None:
    """A snapshot or transaction cannot move to another connection: it raises a typed error."""
    url = standing.registry._database.engine.url.render_as_string(hide_password=False)
    for way in ("snapshot", "transaction"):
        for verb in VERBS:
            with pytest.raises(CapsuleRegistryError), standing.reading(way) as reader:
                server.break_connections(url)
                with pytest.raises(RegistryUnavailableError):
                    getattr(reader, verb)(*QUESTION)
                raise RegistryClosedError


def test_a_pool_that_is_exhausted_denies(standing: Standing) -> None:
    """Without a free connection it denies; afterwards it allows again."""
    with ExitStack() as held:
        for engine in engines_of(standing):
            for _ in range(2):
                held.enter_context(engine.connect())
        # Lookups have a connection of their own.
        standing.assert_denied(RegistryUnavailableError, WAYS[1:])

    standing.assert_allowed()


def test_a_registry_that_is_closed_denies(standing: Standing) -> None:
    """Nothing is answered from the cache, neither by it nor by a view that it gave."""
    past = standing.registry.at(revision=standing.revision)
    with standing.registry.snapshot() as snapshot:
        pass
    with standing.registry.transaction() as transaction:
        pass
    standing.close()

    standing.assert_denied(RegistryClosedError)
    for reader in (past, snapshot, transaction):
        with pytest.raises(RegistryClosedError):
            reader.is_allowed(*QUESTION)


def test_inside_its_own_transaction_the_registry_denies(standing: Standing) -> None:
    """It would not see the transaction's changes, so it refuses to answer."""
    with standing.registry.transaction() as transaction:
        assert transaction.is_allowed(*QUESTION)
        standing.assert_denied(TransactionInProgressError, ("registry", "snapshot", *PAST))


def test_a_namespace_that_was_dropped_denies(url: str) -> None:
    """No way to ask allows anything once the namespace is gone."""
    with closing(stand(url)) as standing, RegistryAdmin.open(url) as admin:
        standing.assert_allowed()
        standing.registry.unregister("alpha")
        standing.registry.unregister("beta")
        admin.drop_namespace("default")

        standing.assert_denied(NamespaceNotFoundError)


@pytest.mark.parametrize("seconds", [0, -1, 1e-9])
def test_an_answer_that_comes_too_late_denies(standing: Standing, seconds: float) -> None:
    """Whatever it would have been; with an hour's timeout it is in time."""
    in_time, late = timedelta(hours=1), timedelta(seconds=seconds)

    assert all(is_yes(answer) for _, answer in standing.answers(timeout=in_time))
    standing.assert_denied(DecisionReason.TOO_LATE, timeout=late)


def test_a_slow_answer_is_late_by_the_clock_that_nobody_sets(
    standing: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default is two monotonic seconds: exactly two are in time, more are too late."""
    times = chain([100.0, 102.0, 200.0, 202.001], count(300.0, 2.001))
    clock = SimpleNamespace(monotonic=lambda: next(times))
    for module in ("permissions.deadline", "lookups.fast_path"):
        monkeypatch.setattr(f"capsule_registry.{module}.time", clock)

    assert is_yes(standing.ask("registry", "check"))
    late = standing.ask("registry", "check")
    assert Decision(allowed=False, why=DecisionReason.TOO_LATE, revision=standing.revision) == late
    assert False is standing.ask("registry", "is_allowed")


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_file_that_became_garbage_denies(sqlite: SqliteBackend, content: bytes) -> None:
    """A file that is no longer a database is reported as such, or as corrupt."""
    url = sqlite.new_url()
    with closing(stand(url)) as standing:
        standing.assert_allowed()
        standing.registry._database.engine.dispose()
        standing.forget()
        Path(url.removeprefix("sqlite:///")).write_bytes(content)

        wrong = {name: found for name, found in standing.answers() if not is_no(found)}
        assert {} == wrong, wrong


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_file_that_is_gone_denies(sqlite: SqliteBackend, is_replaced: bool) -> None:
    """If the file is missing, or replaced by an empty one, nothing is allowed any more."""
    url = sqlite.new_url()
    with closing(stand(url)) as standing:
        standing.assert_allowed()
        standing.registry._database.engine.dispose()
        standing.forget()
        file = Path(url.removeprefix("sqlite:///"))
        other = file.with_name("other.db")
        other.touch(mode=0o600)
        if is_replaced:
            other.replace(file)
        else:
            file.unlink()

        standing.assert_denied(DatabaseReplacedError)
