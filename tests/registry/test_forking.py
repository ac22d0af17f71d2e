"""A registry opened before a fork works in both parent and child."""

from __future__ import annotations

import os
import threading
import traceback
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from capsule_registry import CapsuleRegistry, ForkedTransactionError
from support.factories import make_manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.backends import Backend

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Python warns of fork and threads.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def in_child(work: Callable[[], object]) -> int:
    """Run *work* in a forked child, and return its exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - the parent is told by the exit code
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_parent_and_children_use_one_registry(registry: CapsuleRegistry, backend: Backend) -> None:
    """Three children and the parent write and read through it at once, and nothing is lost."""
    registry.register(make_manifest("before"))

    def work(name: str) -> None:
        for number in range(10):
            registry.register(make_manifest(f"{name}-{number}"), uuids=[uuid4()])
            assert f"{name}-{number}" in registry

    children = []
    for name in ("a", "b", "c"):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                work(name)
                code = 0
            except BaseException:  # noqa: BLE001 - the parent is told by the exit code
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    work("parent")

    assert [0, 0, 0] == [os.waitstatus_to_exitcode(os.waitpid(c, 0)[1]) for c in children]
    assert 41 == len(registry)
    assert 40 == len(registry.uuids())


def test_a_fork_waits_for_the_calls_of_other_threads(registry: CapsuleRegistry) -> None:
    """Children forked while threads write and read find everything in order."""
    stop = threading.Event()
    errors: list[BaseException] = []

    def work(name: str) -> None:
        number = 0
        try:
            while not stop.is_set():
                number += 1
                registry.register(make_manifest(f"{name}-{number}"))
                registry.list()
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    codes = [
        in_child(partial(registry.register, make_manifest(f"child-{number}")))
        for number in range(5)
    ]
    stop.set()
    for thread in threads:
        thread.join()

    assert ([0] * 5, []) == (codes, errors)
    assert {f"child-{number}" for number in range(5)} <= set(registry.list())


def test_a_forked_child_cannot_commit_the_parents_transaction(url: str) -> None:
    """Leaving the block in the child raises, and changes nothing."""
    registry = CapsuleRegistry.open(url)
    context = registry.transaction()
    transaction = context.__enter__()
    transaction.register(make_manifest())

    def finish() -> None:
        with pytest.raises(ForkedTransactionError):
            context.__exit__(None, None, None)

    assert 0 == in_child(finish)
    context.__exit__(None, None, None)

    assert ["alpha"] == registry.list()
    registry.close()


def test_a_snapshot_stays_the_parents(registry: CapsuleRegistry, url: str) -> None:
    """A child that leaves the block does not end it, and cannot read through it."""
    registry.register(make_manifest("one"))
    with registry.snapshot() as view:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                view.list()
            except ForkedTransactionError:
                code = 0
            finally:
                os._exit(code)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with CapsuleRegistry.open(url) as other:
            other.register(make_manifest("two"))
        assert ["one"] == view.list()
