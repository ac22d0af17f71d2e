"""
The verbs of a plain class as coroutines, by one mechanism for all of them.

What each takes, returns and raises is what the plain verb does.
"""

from __future__ import annotations

from functools import wraps
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from capsule_registry.aio.workers import Kind
from capsule_registry.api.history import History
from capsule_registry.api.reads import Reads
from capsule_registry.api.routes import Routes
from capsule_registry.api.writes import Writes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Container, Iterator

    from capsule_registry.aio.workers import Runner

S = TypeVar("S")

#: Verbs that may take minutes, whichever class they are of.
_LONG: Final = frozenset(
    {
        *("diff", "drain", "export", "export_lines", "import_lines", "prune", "register_many"),
        *("sync", "values", "verify"),
    }
)
#: Classes that only read.
_READING: Final = (Reads, History, Routes)
#: How many items of an iterator are read at once.
_AT_ONCE: Final = 100


class Verbs(Generic[S]):
    """
    The verbs of a plain object as coroutines; a subclass says *of* which class, *without* which.

    What a subclass or a base of it has already is left as it is. A verb that returns an iterator
    is an asynchronous generator here, and a property is awaited.
    """

    def __init__(self, plain: S, runner: Runner) -> None:
        self._plain = plain
        self._runner = runner

    def __init_subclass__(cls, of: type | None = None, without: Container[str] = ()) -> None:
        for name in verb_names(of):
            if not hasattr(cls, name) and name not in without:
                setattr(cls, name, _coroutine_of(name, getattr(of, name)))


def verb_names(of: type | None) -> list[str]:
    """Return the names of the public methods and properties of a class, in order."""
    return [name for name in dir(of) if not name.startswith("_")]


def is_iterator(member: Any) -> bool:  # noqa: ANN401 - any member of a class
    """Return whether *member* is a method that returns an iterator."""
    returned = getattr(member, "__annotations__", {}).get("return", "")
    return str(returned).startswith("Iterator[")


def _coroutine_of(name: str, member: Any) -> Any:  # noqa: ANN401 - any member of a class
    if isinstance(member, property):
        return property(_getting(name))
    return (_iterating if is_iterator(member) else _calling)(name, member, _kind_of(name))


def _kind_of(name: str) -> Kind:
    if name in _LONG:
        return Kind.LONG
    if name == "compare" or any(hasattr(one, name) for one in _READING):
        return Kind.READ
    return Kind.BATCH if hasattr(Writes, name) else Kind.WRITE


def _getting(name: str) -> Callable[..., Any]:
    async def get(self: Verbs[Any]) -> Any:  # noqa: ANN401 - the plain property's own
        return await self._runner.run(Kind.READ, getattr, self._plain, name)

    return get


def _calling(name: str, plain: Callable[..., Any], kind: Kind) -> Callable[..., Any]:
    @wraps(plain)
    async def call(self: Verbs[Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the plain verb's own
        return await self._runner.run(kind, getattr(self._plain, name), *args, **kwargs)

    return call


def _iterating(
    name: str, plain: Callable[..., Any], kind: Kind
) -> Callable[..., AsyncIterator[Any]]:
    @wraps(plain)
    async def iterate(self: Verbs[Any], *args: Any, **kwargs: Any) -> AsyncIterator[Any]:  # noqa: ANN401 - likewise
        run = self._runner.run
        found = await run(kind, getattr(self._plain, name), *args, **kwargs)
        while some := await run(kind, _next_of, found):
            for one in some:
                yield one

    return iterate


def _next_of(found: Iterator[Any]) -> list[Any]:
    return [*islice(found, _AT_ONCE)]
