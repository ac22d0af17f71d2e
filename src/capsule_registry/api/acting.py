"""Changes on behalf of others: recorded as theirs, by a program that serves them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from capsule_registry.api.capsule_writes import MAX_PER_REVISION
from capsule_registry.api.leases import Leases
from capsule_registry.api.writes import Writes
from capsule_registry.unit_of_work.runner import recordable

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from capsule_registry.api.registry import CapsuleRegistry
    from capsule_registry.unit_of_work.queries import Scope
    from capsule_registry.unit_of_work.requests import Request
    from capsule_registry.unit_of_work.unit import Unit

P = ParamSpec("P")
T = TypeVar("T")


class Acting(Writes):
    """
    The methods of *registry*, as what *actor* does: for a program that serves several.

    Make one for each request that is served: it is not for two threads at once.

    Args:
        registry: Whose namespace is changed.
        actor: Recorded with the changes made through it, and with the leases.
        reason: Recorded with the changes.
        request_id: For one change, which is done once and is one revision, however large; see
            `CapsuleRegistry.run`.

    Raises:
        InvalidTextError: Not every database can hold *actor* or *reason*.
    """

    def __init__(
        self,
        registry: CapsuleRegistry,
        actor: str,
        *,
        reason: str | None = None,
        request_id: UUID | None = None,
    ) -> None:
        recordable(actor, reason)
        self._registry = registry
        self._actor, self._reason, self._request_id = actor, reason, request_id
        self._objects = registry._objects  # noqa: SLF001 - of the same registry
        self._new_uuid = registry._new_uuid  # noqa: SLF001
        self._max_per_revision = MAX_PER_REVISION if request_id is None else None
        self._last: Request[Any] | None = None

    @property
    def revision(self) -> int | None:
        """The revision that the last change made, `None` if there was none or it made none."""
        return None if self._last is None else self._last.revision

    @property
    def leases(self) -> Leases:
        """The namespace's leases; those opened here are the actor's."""
        registry = self._registry
        return Leases(
            registry._read,  # noqa: SLF001 - of the same registry
            self._write,
            registry._amend,  # noqa: SLF001
            self._actor,
            registry._held,  # noqa: SLF001
        )

    def _request(
        self, work: Callable[Concatenate[Unit, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Request[T]:
        runner = self._registry._runner  # noqa: SLF001 - of the same registry
        request = runner.request(work, self._reason, self._actor, *args, **kwargs)
        self._last = request
        return request.called(self._request_id)

    def _write(
        self, work: Callable[Concatenate[Unit, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        self._registry._refuse_inside_transaction()  # noqa: SLF001 - of the same registry
        return self._registry._runner.run_together(self._request(work, *args, **kwargs))  # noqa: SLF001

    def _write_much(
        self, work: Callable[Concatenate[Unit, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        self._registry._refuse_inside_transaction()  # noqa: SLF001 - of the same registry
        return self._registry._runner.run_request(self._request(work, *args, **kwargs))  # noqa: SLF001

    def _read(
        self, work: Callable[Concatenate[Scope, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return self._registry._read(work, *args, **kwargs)  # noqa: SLF001 - of the same registry

    def _read_at_one_moment(
        self, work: Callable[Concatenate[Scope, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return self._registry._read_at_one_moment(work, *args, **kwargs)  # noqa: SLF001 - likewise

    def __repr__(self) -> str:
        return f"Acting(actor={self._actor!r}, namespace={self._registry.namespace!r})"
