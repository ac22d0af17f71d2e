"""Exceptions from a signal handler: what they interrupt is thrown away, and nothing stays taken."""

from __future__ import annotations

import pkgutil
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from capsule_registry import (
    CapsuleRegistry,
    RegistryUnavailableError,
    TransactionInProgressError,
)
from capsule_registry.api.transaction_block import TransactionBlock
from capsule_registry.database.turns import Turns
from support.backends import engine_on
from support.factories import make_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.backends import Backend, ServerBackend

#: Statements that take much longer than a tenth of a second; SQLite ends its own all the same.
SLOW = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000)"
    " SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(2)",
    "mariadb": "SELECT SLEEP(2)",
}


class Alarm(Exception):  # noqa: N818 - it is no error
    """What the handler raises."""


@contextmanager
def alarm_in(seconds: float) -> Iterator[None]:
    """Raise `Alarm` in the block after so many *seconds*."""

    def ring(*_: object) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", ["read", "write"])
def test_an_interrupted_statement_costs_its_connection_alone(
    registry: CapsuleRegistry, backend: Backend, kind: str
) -> None:
    """The caller gets the exception, and every later read and write is answered."""
    registry.register(make_manifest(), uuids=[session := uuid4()])
    run: Any = getattr(registry._database, kind)
    for _ in range(3):
        with pytest.raises(Alarm), alarm_in(0.1):
            run(lambda conn: conn.exec_driver_sql(SLOW[backend.name]).all())
        assert ["alpha"] == registry.list()
        assert "alpha" == registry.find_by_uuid(session)
        registry.register_uuid(uuid4(), "alpha")


def test_a_swallowed_interruption_poisons_no_connection(
    registry: CapsuleRegistry, backend: Backend
) -> None:
    """A snapshot whose body goes on after one gives errors of ours, and later reads are right."""
    with pytest.raises(RegistryUnavailableError), registry.snapshot() as view:
        conn = view._scope.conn  # type: ignore[union-attr]
        with pytest.raises(Alarm), alarm_in(0.1):
            conn.exec_driver_sql(SLOW[backend.name]).all()
        view.list()

    assert [] == registry.list()


#: Where the drivers wait for the answer to what they have sent.
ANSWERS: dict[str, tuple[str, Callable[..., object]]] = {
    "postgresql": ("psycopg.Connection.wait", lambda _, steps: next(steps, None)),
    "mariadb": ("pymysql.connections.Connection._read_query_result", lambda *_: None),
}


@contextmanager
def alarm_at(number: int, server: ServerBackend) -> Iterator[list[int]]:
    """
    Raise `Alarm` in the block once the statement of that *number* is sent, but not answered.

    Yields a list that is empty until then.
    """
    place, send = ANSWERS[server.name]
    wait, numbers = pkgutil.resolve_name(place), count(1)
    rung: list[int] = []

    def ring(*arguments: Any, **options: Any) -> Any:
        if next(numbers) != number:
            return wait(*arguments, **options)
        rung.append(number)
        send(*arguments)
        raise Alarm

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, ring)
        yield rung


def read_snapshot(registry: CapsuleRegistry) -> None:
    with registry.snapshot() as view:
        view.list()
        view.is_empty()


#: What is interrupted on an engine of the caller's.
CALLS: dict[str, Callable[[CapsuleRegistry], object]] = {
    "read": lambda registry: registry.list(),
    "snapshot": read_snapshot,
    "write": lambda registry: registry.register_uuid(uuid4(), "alpha"),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_pool_of_the_callers_gets_no_interrupted_connection_back(
    server: ServerBackend, url: str, call: str
) -> None:
    """Whichever statement an exception comes in, no other is raised, and later reads are right."""
    engine = engine_on(url, isolation_level="READ COMMITTED")
    with CapsuleRegistry.open(engine=engine) as registry:
        for number in count(1):
            engine.dispose()
            assert 0 == read(engine, 0)
            with alarm_at(number, server) as rung, suppress(Alarm):
                CALLS[call](registry)
            assert [1, 2] == [read(engine, 1), read(engine, 2)], number
            if not rung:
                break
    engine.dispose()

    assert number > 4


def read(engine: sa.Engine, number: int) -> Any:
    with engine.connect() as connection:
        return connection.scalar(sa.select(sa.literal(number)))


def test_a_turn_that_was_lost_comes_back() -> None:
    """Its holder is gone without a word: the next one has it at once."""
    turns = Turns(None, "here")
    turns.take(1)

    assert turns.take(1).held


def test_a_turn_that_was_left_behind_comes_back() -> None:
    """A thread that has it and asks again was interrupted in giving it back; its end comes late."""
    turns = Turns(None, "here")
    left = turns.take(1)
    again = turns.take(1)
    left.end()

    assert again.held
    with pytest.raises(RegistryUnavailableError, match="another thread"):
        _in_thread(lambda: turns.take(0.1))
    again.end()
    assert _in_thread(lambda: turns.take(0.1)).held


def _in_thread(work: Any) -> Any:
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except RegistryUnavailableError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def interrupt_exit(work: Callable[[], object]) -> None:
    """Do *work*, but raise `Alarm` before the first step of the end of a transaction's block."""

    def trace(frame: Any, event: str, _: object) -> None:
        if event == "call" and frame.f_code is TransactionBlock.__exit__.__code__:
            sys.settrace(None)
            raise Alarm

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)


@pytest.mark.parametrize("way", ["transaction", "run"])
def test_a_transaction_whose_end_was_interrupted_is_over(
    registry: CapsuleRegistry, url: str, way: str
) -> None:
    """While the exception is handled, its thread and other processes write, and it left nothing."""
    lost, kept = uuid4(), uuid4()

    def file() -> None:
        if way == "run":
            registry.run(lambda transaction: transaction.register_uuid(lost, "alpha"))
            return
        with registry.transaction() as transaction:
            transaction.register_uuid(lost, "alpha")

    try:
        interrupt_exit(file)
    except Alarm:
        registry.register_uuid(kept, "alpha")
        with CapsuleRegistry.open(url) as another:
            another.register_uuid(uuid4(), "alpha")

    assert "alpha" == registry.find_by_uuid(kept)
    assert registry.find_by_uuid(lost) is None


def test_a_transaction_inside_another_is_refused_while_an_exception_is_handled(
    registry: CapsuleRegistry,
) -> None:
    """What is open is not taken for interrupted."""
    with alarm_in(60), registry.transaction() as transaction:
        transaction.register_uuid(uuid4(), "alpha")
        try:
            signal.raise_signal(signal.SIGALRM)
        except Alarm:
            with pytest.raises(TransactionInProgressError):
                registry.register_uuid(uuid4(), "alpha")
    assert 1 == len(registry.uuids())
