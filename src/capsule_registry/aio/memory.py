"""What a registry can answer from memory, and so on the event loop's thread."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Concatenate, NoReturn, ParamSpec, TypeVar

from capsule_registry.api.reads import Reads
from capsule_registry.lookups.fast_path import FastPath

if TYPE_CHECKING:
    from collections.abc import Callable

    from capsule_registry.api.registry import CapsuleRegistry
    from capsule_registry.unit_of_work.queries import Scope

P = ParamSpec("P")
T = TypeVar("T")


class NotRemembered(Exception):  # noqa: N818 - a signal, caught next door
    """Memory has no answer that is known to be current."""


class Memory(FastPath, Reads):
    """
    The lookups of a plain registry as far as memory answers them.

    By the same code, so by the same rules of when an answer is current. Whatever else would be read
    raises `NotRemembered`.
    """

    def __init__(self, registry: CapsuleRegistry) -> None:
        self._asked = self._missed = 0
        self._lookups = registry._lookups  # noqa: SLF001 - the same memory
        self._clock = registry._clock  # noqa: SLF001
        self._inside = registry._inside  # noqa: SLF001

    def look_again(self) -> None:
        """Let what is remembered be known as current again, once that is a millisecond ago."""
        self._asked += 1
        if monotonic() >= self._lookups.entries.trusted_until:
            self._lookups.look_again()

    @property
    def answered(self) -> int:
        """How many lookups it has answered."""
        return self._asked - self._missed

    def _refuse_inside_transaction(self) -> NoReturn:
        self._missed += 1
        raise NotRemembered

    def _read(
        self,
        work: Callable[Concatenate[Scope, P], T],  # noqa: ARG002 - nothing is read
        *args: P.args,  # noqa: ARG002
        **kwargs: P.kwargs,  # noqa: ARG002
    ) -> T:
        raise NotRemembered
