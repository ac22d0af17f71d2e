"""
Writes of many tasks, made by one thread.

A thread for each that waits would want the interpreter as often as the event loop does. Here a
write waits as a request, and those that come while a transaction is at work share the next one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from capsule_registry.api.writes import Writes
from capsule_registry.unit_of_work.line import MOST
from capsule_registry.unit_of_work.runner import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Executor

    from capsule_registry.api.acting import Acting
    from capsule_registry.api.registry import CapsuleRegistry
    from capsule_registry.unit_of_work.queries import Scope
    from capsule_registry.unit_of_work.requests import Request
    from capsule_registry.unit_of_work.unit import Unit

P = ParamSpec("P")
T = TypeVar("T")


class Recorder(Writes):
    """
    One call of the write methods of a registry, up to the point where it writes.

    That is the last thing that each of them does, so what they return is what that returns. Here
    it is kept as a request instead.
    """

    def __init__(self, plain: CapsuleRegistry | Acting) -> None:
        self._plain = plain
        self._objects = plain._objects  # noqa: SLF001 - the same registry
        self._new_uuid = plain._new_uuid  # noqa: SLF001
        self._made: Request[Any] | None = None

    def request_of(
        self, verb: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Request[Any] | Outcome:
        """Return the request that *verb* makes, or what it returns or raises without one."""
        try:
            result = verb(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever it is, its caller gets it
            return Outcome(None, error)
        return self._made or Outcome(result, None)

    def _write(
        self, work: Callable[Concatenate[Unit, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        self._made = self._plain._request(work, *args, **kwargs)  # noqa: SLF001 - the same registry
        result: Any = None
        return result  # type: ignore[no-any-return]

    _write_much = _write

    def _read(
        self, work: Callable[Concatenate[Scope, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return self._plain._read(work, *args, **kwargs)  # noqa: SLF001


class _Call(NamedTuple):
    """A verb that a task has called, and where it waits for the outcome."""

    future: asyncio.Future[Any]
    recorder: Recorder
    verb: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]


class Gathering:
    """
    The calls of all tasks, first come first served; the first that finds none begins at once.

    Args:
        plain: Whose write methods are called.
        executor: Has the one thread.
    """

    def __init__(self, plain: CapsuleRegistry, executor: Executor) -> None:
        self._runner = plain._runner  # noqa: SLF001 - of one house
        self._executor = executor
        self._waiting: deque[_Call] = deque()
        self._is_at_work = False
        self._is_idle = asyncio.Event()

    async def run(self, verb: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:  # noqa: ANN401 - the verb's own
        """Return what *verb* does, a write method bound to the plain registry or one who acts."""
        future = asyncio.get_running_loop().create_future()
        bound: Any = verb
        recorder = Recorder(bound.__self__)
        self._waiting.append(_Call(future, recorder, bound.__func__, args, kwargs))
        if not self._is_at_work:
            self._begin()
        return await future  # type: ignore[no-any-return]

    async def drain(self) -> None:
        """Wait until all have their outcomes."""
        if self._is_at_work:
            await self._is_idle.wait()

    def _begin(self) -> None:
        """Let the thread make the next calls, unless their tasks were cancelled."""
        calls: list[_Call] = []
        while self._waiting and len(calls) < MOST:
            if not (call := self._waiting.popleft()).future.done():
                calls.append(call)
        self._is_at_work = bool(calls)
        if calls:
            self._is_idle.clear()
            self._executor.submit(self._make, calls, asyncio.get_running_loop())
        else:
            self._is_idle.set()

    def _make(self, calls: Sequence[_Call], loop: asyncio.AbstractEventLoop) -> None:
        try:
            outcomes = self._outcomes(calls)
        except BaseException as error:  # noqa: BLE001 - nobody may wait for ever
            outcomes = [Outcome(None, error)] * len(calls)
        with suppress(RuntimeError):  # The event loop was closed meanwhile: nobody waits.
            loop.call_soon_threadsafe(self._settle, calls, outcomes)

    def _outcomes(self, calls: Sequence[_Call]) -> list[Outcome]:
        made = [one.recorder.request_of(one.verb, one.args, one.kwargs) for one in calls]
        requests = [one for one in made if not isinstance(one, Outcome)]
        outcomes = iter(self._runner.run_all(requests))
        return [one if isinstance(one, Outcome) else next(outcomes) for one in made]

    def _settle(self, calls: Sequence[_Call], outcomes: Sequence[Outcome]) -> None:
        self._begin()
        for call, (result, error) in zip(calls, outcomes, strict=True):
            if call.future.done():
                continue
            if error is None:
                call.future.set_result(result)
            else:
                call.future.set_exception(bearable(error))


def called(work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Return `work(*args, **kwargs)`, or raise its error as a future bears it."""
    try:
        return work(*args, **kwargs)
    except StopIteration as error:
        raise bearable(error) from error


def bearable(error: BaseException) -> BaseException:
    """Return *error*, or what stands for it, by PEP 479, if no future can hold it."""
    if not isinstance(error, StopIteration):
        return error
    standing = RuntimeError("a call raised StopIteration")
    standing.__cause__ = error
    return standing
