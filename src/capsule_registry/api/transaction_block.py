"""
The block of a transaction, and how it is told that it was left although its end never ran.

A signal handler may raise before the first step of any `__exit__`. Then nothing ends, and while the
exception is handled its frames keep what is open. So whoever finds a transaction open on its own
thread looks into the exception that is being handled: if that came out of the block, it is over.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from threading import get_ident
from typing import TYPE_CHECKING

from capsule_registry.errors import TransactionInProgressError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager, _GeneratorContextManager
    from types import TracebackType

    from capsule_registry.api.transaction import Transaction
    from capsule_registry.unit_of_work.unit import Unit


class Mark:
    """What tells one block from all others, and keeps nothing open."""

    __slots__ = ()


class TransactionBlock:
    """A context manager that runs a generator, as those of `contextlib` do, and bears a mark."""

    def __init__(
        self, mark: Mark, manager: _GeneratorContextManager[Transaction, None, None]
    ) -> None:
        self._mark = mark
        self._manager = manager

    def __enter__(self) -> Transaction:
        return self._manager.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return self._manager.__exit__(kind, error, traceback)

    def abandon(self) -> None:
        """End the transaction, which was left, and roll it back."""
        self._manager.gen.close()

    @classmethod
    def left(cls, mark: Mark) -> TransactionBlock | None:
        """Return the block of *mark* if the exception being handled interrupted its end."""
        error = sys.exception()
        while error is not None:
            traceback = error.__traceback__
            while traceback is not None:
                frame = traceback.tb_frame
                if frame.f_code is cls.__exit__.__code__:
                    block: TransactionBlock = frame.f_locals["self"]
                    if block._mark is mark:
                        return block
                traceback = traceback.tb_next
            error = error.__context__
        return None


class OpenBlocks(dict[int, Mark]):
    """The blocks of a registry's transactions that are open, by thread."""

    def refuse_inside(self) -> None:
        """
        Refuse this thread the registry itself while it is in one of them.

        Raises:
            TransactionInProgressError: It is.
        """
        mark = self.get(get_ident())
        if mark is None:
            return
        if (block := TransactionBlock.left(mark)) is None:
            raise TransactionInProgressError
        block.abandon()
        self.pop(get_ident(), None)

    def block(
        self,
        open_unit: Callable[[], AbstractContextManager[Unit]],
        transaction_of: Callable[[Unit], Transaction],
    ) -> AbstractContextManager[Transaction]:
        """Return the block of the transaction of a unit that is yet to be opened."""
        mark = Mark()
        return TransactionBlock(mark, self._inside(mark, open_unit, transaction_of))

    @contextmanager
    def _inside(
        self,
        mark: Mark,
        open_unit: Callable[[], AbstractContextManager[Unit]],
        transaction_of: Callable[[Unit], Transaction],
    ) -> Iterator[Transaction]:
        self.refuse_inside()
        thread = get_ident()
        with open_unit() as unit:
            transaction = transaction_of(unit)
            try:
                self[thread] = mark
                yield transaction
                transaction.end()
            except BaseException:
                transaction.abandon()
                raise
            finally:
                if self.get(thread) is mark:
                    del self[thread]
