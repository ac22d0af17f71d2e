"""An event loop under observation."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Generator

T = TypeVar("T")

#: How long a condition may take to come true.
SECONDS = 20


async def ticks(count: int) -> None:
    """Let the event loop run everything else that is ready, so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Wait until *condition* holds."""
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


class CancelledAt(Generic[T]):
    """Awaits a coroutine, and cancels the task at the coroutine's wait of that number."""

    def __init__(self, number: int, coroutine: Coroutine[Any, Any, T]) -> None:
        self._left = number
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, T]:
        steps = self._coroutine.__await__()
        error: BaseException | None = None
        while True:
            try:
                waited_for = next(steps) if error is None else steps.throw(error)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            self._left -= 1
            if self._left == 0:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            error = None
            try:
                yield waited_for
            except asyncio.CancelledError as cancelled:
                error = cancelled


async def cancelled_everywhere(
    make: Callable[[], Coroutine[Any, Any, object]],
) -> AsyncIterator[bool]:
    """Run what *make* returns, cancelled at its first wait, its second …; yield whether it was."""
    for number in count(1):
        was_cancelled = False
        try:
            await asyncio.create_task(_of(CancelledAt(number, make())))
        except asyncio.CancelledError:
            was_cancelled = True
        yield was_cancelled
        if not was_cancelled:
            return


async def _of(awaitable: CancelledAt[T]) -> T:
    return await awaitable
