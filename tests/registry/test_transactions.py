"""Transactions: several changes as one."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from capsule_registry import (
    CapsuleAlreadyRegisteredError,
    CapsuleNotFoundError,
    CapsuleRegistry,
    InvalidInputError,
    InvalidTextError,
    RegistryClosedError,
    TransactionDoomedError,
    TransactionInProgressError,
)
from support.factories import OriginalCapsule, make_manifest, make_uplink

if TYPE_CHECKING:
    from collections.abc import Callable

    from capsule_registry import CapsuleId, Transaction
    from support.backends import Backend


# Python warns of a fork beside threads.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def revision(backend: Backend, url: str) -> int:
    [(head,)] = backend.rows(url, "SELECT revision FROM namespaces WHERE name = 'default'")
    return int(head)


def in_a_transaction(registry: CapsuleRegistry, capsule: OriginalCapsule) -> None:
    with registry.transaction() as transaction:
        transaction.register(capsule)


def test_a_transaction_is_one_revision_with_its_reason(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """One revision has all its changes, its actor and its reason."""
    with registry.transaction(reason="moving in") as transaction:
        transaction.register(make_manifest("a"))
        transaction.register(make_manifest("b"), uuids=[uuid4()])
        transaction.register_uplink("b", make_uplink())

    assert [(2, 4, "tester", "moving in")] == backend.rows(
        url, "SELECT revision, event_count, actor, reason FROM revisions WHERE revision > 1"
    )


def test_a_transaction_reads_its_own_writes_and_others_do_not(
    registry: CapsuleRegistry, url: str
) -> None:
    """Until it commits, only the transaction sees its changes."""
    with CapsuleRegistry.open(url) as other:
        with registry.transaction() as transaction:
            transaction.register(make_manifest())
            assert ["alpha"] == transaction.list()
            assert [] == other.list()
        assert ["alpha"] == other.list()


def test_an_exception_undoes_everything(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """A body that raises leaves no row, no revision and no instance."""
    with pytest.raises(ZeroDivisionError), registry.transaction() as transaction:
        transaction.register(OriginalCapsule("alpha"), uuids=[uuid4()])
        transaction.register_uuid(uuid4(), "ghost")
        raise ZeroDivisionError

    assert 1 == revision(backend, url)
    assert [] == backend.rows(url, "SELECT * FROM capsules")
    assert [] == registry.uuids()


def test_instances_follow_the_transaction(registry: CapsuleRegistry) -> None:
    """An object is returned inside at once, and afterwards only if it committed."""
    first, second = OriginalCapsule("alpha"), OriginalCapsule("alpha")
    registry.register(first)
    with pytest.raises(ZeroDivisionError), registry.transaction() as transaction:
        assert first is transaction.unregister("alpha").instance
        transaction.register(second)
        found = transaction.get("alpha")
        assert found is not None
        assert second is found.instance
        raise ZeroDivisionError
    kept = registry.get("alpha")

    assert kept is not None
    assert first is kept.instance
    assert [first] == [capsule.instance for capsule in registry.drain()]


def test_an_error_inside_dooms_it_though_it_is_caught(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """After an error nothing more can be done in the transaction, and nothing of it is written."""
    with pytest.raises(TransactionDoomedError, match="ghost"), registry.transaction() as doomed:
        doomed.register(make_manifest())
        with pytest.raises(CapsuleNotFoundError):
            doomed.unregister("ghost")
        with pytest.raises(TransactionDoomedError):
            doomed.list()

    assert 1 == revision(backend, url)
    assert registry.is_empty()


@pytest.mark.parametrize(
    "mistake",
    [
        lambda tx: tx.register_uuid("nonsense", "alpha"),
        lambda tx: tx.register_uuid(uuid4(), "A"),
        lambda tx: tx.register(make_manifest("Foo")),
        lambda tx: tx.register(5),
        lambda tx: tx.get("A"),
        lambda tx: tx.find_uplinks(profile="human"),
        lambda tx: tx.register_uplink("alpha", make_uplink(name="\0")),
    ],
)
def test_an_argument_that_is_refused_dooms_nothing(
    registry: CapsuleRegistry, mistake: Callable[[Transaction], object]
) -> None:
    """A call refused for its arguments has done nothing: the transaction goes on."""
    with registry.transaction() as transaction:
        transaction.register(make_manifest("before"))
        with pytest.raises(InvalidInputError):
            mistake(transaction)
        transaction.register(make_manifest("after"))

    assert ["before", "after"] == registry.list()


def test_two_threads_cannot_use_a_transaction_at_once(registry: CapsuleRegistry) -> None:
    """The second one is refused, and the transaction goes on."""
    refused: list[BaseException] = []
    with registry.transaction() as transaction:

        def use() -> None:
            try:
                transaction.list()
            except TransactionInProgressError as error:
                refused.append(error)

        with transaction._busy:
            thread = threading.Thread(target=use)
            thread.start()
            thread.join()
        transaction.register(make_manifest())

    assert 1 == len(refused)
    assert ["alpha"] == registry.list()


def test_a_transaction_may_end_on_another_thread(registry: CapsuleRegistry) -> None:
    """Web frameworks do that with generators; the thread that began it is free afterwards."""
    context = registry.transaction()
    transaction = context.__enter__()
    transaction.register(make_manifest())
    thread = threading.Thread(target=context.__exit__, args=(None, None, None))
    thread.start()
    thread.join()

    assert ["alpha"] == registry.list()


def test_a_log_handler_may_ask_the_registry(registry: CapsuleRegistry) -> None:
    """Messages come after the commit, outside the transaction, for every kind of unit."""
    seen: list[list[CapsuleId]] = []

    class Asking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(registry.list())

    logger = logging.getLogger("capsule_registry")
    handler = Asking(logging.INFO)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        registry.register(make_manifest("a"))
        registry.run(lambda tx: tx.register(make_manifest("b")))
        with registry.transaction() as transaction:
            transaction.register(make_manifest("c"))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)

    assert [["a"], ["a", "b"], ["a", "b", "c"]] == seen


def test_waiting_writers_keep_no_connection_from_readers(registry: CapsuleRegistry) -> None:
    """A read answers while a transaction is open and twenty threads wait to write."""
    with registry.transaction():
        waiting = [
            threading.Thread(target=registry.register, args=(make_manifest(f"c{number}"),))
            for number in range(20)
        ]
        for thread in waiting:
            thread.start()
        asked: list[int] = []
        reader = threading.Thread(target=lambda: asked.append(len(registry)))
        reader.start()
        reader.join(timeout=10)
        assert [0] == asked
    for thread in waiting:
        thread.join()

    assert 20 == len(registry)


def test_the_registry_cannot_be_used_inside_its_own_transaction(
    registry: CapsuleRegistry,
) -> None:
    """It raises at once on the same thread instead of deadlocking; another thread may use it."""
    seen: list[object] = []
    with registry.transaction() as transaction:
        for use in (
            registry.list,
            registry.drain,
            lambda: registry.run(lambda tx: tx.list()),
            lambda: registry.transaction().__enter__(),
        ):
            with pytest.raises(TransactionInProgressError):
                use()
        transaction.register(make_manifest())
        thread = threading.Thread(target=lambda: seen.append(registry.list()))
        thread.start()
        thread.join()

    assert [[]] == seen
    assert ["alpha"] == registry.list()


def test_a_transaction_is_over_at_its_end(registry: CapsuleRegistry) -> None:
    """It cannot be used afterwards, however it ended."""
    with registry.transaction() as ended:
        ended.register(make_manifest())
    with pytest.raises(ZeroDivisionError), registry.transaction() as failed:
        raise ZeroDivisionError

    for transaction in (ended, failed):
        with pytest.raises(RegistryClosedError):
            transaction.list()
    assert "Transaction(namespace='default', ended)" == repr(ended)


@pytest.mark.parametrize(
    "register",
    [
        lambda registry, capsule: registry.register(capsule),
        lambda registry, capsule: registry.run(lambda tx: tx.register(capsule)),
        in_a_transaction,
    ],
)
def test_an_object_is_forgotten_when_the_commit_fails(
    registry: CapsuleRegistry,
    monkeypatch: pytest.MonkeyPatch,
    register: Callable[[CapsuleRegistry, OriginalCapsule], object],
) -> None:
    """It is not the object of another process's registration with that id and generation."""

    def refuse(connection: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(registry._database.engine.dialect, "do_commit", refuse)
        register(registry, OriginalCapsule("alpha"))

    assert {} == registry._objects._objects
    assert registry.is_empty()


def test_run_returns_what_the_work_returns(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """`run` is one unit too; an error rolls it back and propagates."""

    def twice(transaction: Transaction) -> int:
        transaction.register(make_manifest("a"))
        transaction.register(make_manifest("b"))
        return len(transaction)

    assert 2 == registry.run(twice, reason="both")
    with pytest.raises(CapsuleAlreadyRegisteredError):
        registry.run(twice)
    assert 2 == revision(backend, url)


def test_nothing_changed_makes_no_revision(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """Reading, or registering again what is there, leaves the head in place."""
    uuid = uuid4()
    registry.register_uuid(uuid, "alpha")
    before = revision(backend, url)
    registry.register_uuid(uuid, "alpha")
    registry.unregister_uuid(uuid4())
    registry.unregister_uplink(uuid4())
    registry.unregister_capsule_uplinks("beta")
    with registry.transaction() as transaction:
        transaction.list()

    assert before == revision(backend, url)


@pytest.mark.parametrize("reason", ["a\0b"])
def test_a_reason_that_cannot_be_stored_is_refused(registry: CapsuleRegistry, reason: str) -> None:
    """It is refused before the transaction begins."""
    with pytest.raises(InvalidTextError), registry.transaction(reason=reason):
        pytest.fail("the body ran")
    assert registry.is_empty()


def test_a_closed_registry_says_so(url: str) -> None:
    """Every use after `close` raises the same clear error; closing twice does not."""
    registry = CapsuleRegistry.open(url)
    registry.close()
    registry.close()

    for use in (registry.list, registry.drain, lambda: registry.run(lambda tx: None)):
        with pytest.raises(RegistryClosedError):
            use()


def test_a_forgotten_registry_is_reported(url: str) -> None:
    """A registry that is never closed warns, and releases the database."""
    registry = CapsuleRegistry.open(url)
    with pytest.warns(ResourceWarning, match="unclosed registry"):
        del registry


def test_threads_share_a_registry(registry: CapsuleRegistry) -> None:
    """Eight threads that register and read at once lose nothing and see no error."""
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(10):
                name = f"c{number}-{step}"
                registry.register(make_manifest(name), uuids=[uuid4()])
                assert name in registry
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == errors
    assert 80 == len(registry)
    assert 80 == len(registry.uuids())
