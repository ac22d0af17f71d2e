"""
The verbs of the registry, and of what it leads to, as coroutines.

`verbs.pyi`, which `tests/support/stubs.py` makes of the plain classes, has their signatures for
type checkers and editors.
"""

from __future__ import annotations

from typing import TypeVar

from capsule_registry.aio.coroutines import Verbs
from capsule_registry.api.history import History
from capsule_registry.api.leases import Leases
from capsule_registry.api.reads import Reads
from capsule_registry.api.routes import Routes
from capsule_registry.api.writes import Writes

S = TypeVar("S", bound=Reads)


class AsyncRoutes(Verbs[Routes], of=Routes):
    """The routes of a registry, or of a view of it; see `Routes`."""


class AsyncReads(Verbs[S], of=Reads):
    """The read methods; see `RegistryReader`."""

    @property
    def routes(self) -> AsyncRoutes:
        """Who talks to whom: who is called for a topic, who publishes it, who subscribes."""
        return AsyncRoutes(self._plain.routes, self._runner)


class AsyncWrites(AsyncReads[S], of=Writes):
    """The write methods; see `CapsuleRegistry`."""


#: What `AsyncLeases` does itself, and what is for open leases alone.
_OF_OPEN_LEASES = {"open", "reap_by_itself", "register_uuid"}


class HistoryVerbs(Verbs[History], of=History, without={"watch"}):
    """What can be asked of the history; see `History`."""


class LeasesVerbs(Verbs[Leases], of=Leases, without=_OF_OPEN_LEASES):
    """What can be asked of the leases; see `Leases`."""
