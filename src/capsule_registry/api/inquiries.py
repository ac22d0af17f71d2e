"""The verbs that ask who may do what, and who needs whom."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from capsule_registry.entities import dependencies, interceptors
from capsule_registry.errors import HistoryCorruptError, InvalidTextError
from capsule_registry.identifiers import CapsuleId
from capsule_registry.models.limits import check_text
from capsule_registry.models.records import Interceptor
from capsule_registry.permissions import checks, grants
from capsule_registry.permissions.checks import Decision, Why
from capsule_registry.permissions.rules import RULES, is_understood
from capsule_registry.unit_of_work.registered_objects import key

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable
    from uuid import UUID

    from capsule_registry.models.records import BootOrder, Dependency, Grant, Provision
    from capsule_registry.unit_of_work.registered_objects import Instances
    from capsule_registry.unit_of_work.scope import Row, Scope

T = TypeVar("T")

#: An answer that took longer is not acted upon.
DEADLINE: Final = timedelta(seconds=2)


class Inquiry(ABC):
    """How something is asked."""

    _instances: Instances

    @abstractmethod
    def _read(self, prepare: Callable[[], Callable[[Scope], T]]) -> T:
        """
        Return what `prepare()` gives, of a scope.

        Arguments are checked in *prepare*, so that it is known what an error in them belongs to.
        """

    def _read_at_once(self, prepare: Callable[[], Callable[[Scope], T]]) -> T:
        """Do as `_read` does, for what needs several statements: all see the same moment."""
        return self._read(prepare)


class PermissionReader(Inquiry):
    """Who may do what."""

    def check(
        self,
        uuid: UUID | str,
        capability: str,
        value: str | None = None,
        *,
        timeout: timedelta = DEADLINE,
    ) -> Decision:
        """
        Say whether the sender of a message may do something, why, and as of which revision.

        One statement reads the UUID, its lease, the capsule's state and its grants as they are at
        the moment of the call. Whatever is wrong with the arguments or the rows denies.

        Args:
            uuid: The session UUID that the message is stamped with.
            capability: Such as `ipc_publish`, under the name that manifests have for it.
            value: What is asked for: a topic, a host or URL, a path, a command line, a key, a
                level; nothing for a flag. `docs/design.md` has the rule of each.
            timeout: An answer that took longer denies. It is waited for all the same, for as long
                as the database's own limits let it take (`docs/databases.md`).

        Raises:
            RegistryUnavailableError: The database cannot be asked. Nothing is allowed then.
            NamespaceNotFoundError: The namespace was dropped.
        """
        began = time.monotonic()
        try:
            decision = self._decide(uuid, capability, value)
        except HistoryCorruptError:
            decision = Decision(allowed=False, why=Why.UNREADABLE)
        if time.monotonic() - began > timeout.total_seconds():
            return Decision(allowed=False, why=Why.TOO_LATE, revision=decision.revision)
        return decision

    def is_allowed(
        self,
        uuid: UUID | str,
        capability: str,
        value: str | None = None,
        *,
        timeout: timedelta = DEADLINE,
    ) -> bool:
        """
        Say whether the sender of a message may do something; see `check`.

        Raises:
            RegistryUnavailableError: The database cannot be asked. Nothing is allowed then.
            NamespaceNotFoundError: The namespace was dropped.
        """
        return self.check(uuid, capability, value, timeout=timeout).allowed

    def _decide(self, uuid: object, capability: object, value: object) -> Decision:
        """Return the decision, however late."""
        work = partial(checks.check, uuid=uuid, capability=capability, value=value)
        return self._read(lambda: work)

    def grants(
        self,
        *,
        capability: str | None = None,
        value: str | None = None,
        capsule_id: str | None = None,
    ) -> builtins.list[Grant]:
        """
        Return what capsules may do, in whatever state they are, those that meet all conditions.

        With *value*, the grants that cover it: who may publish to this topic, start this process,
        reach this host. In order of registration, then of the manifest.

        Raises:
            InvalidCapsuleIdError: *capsule_id* is outside the grammar of ids.
            InvalidTextError: There is no such *capability*, or *value* cannot be asked for with it.
        """

        def prepare() -> Callable[[Scope], builtins.list[Grant]]:
            _check_asked(capability, value)
            wanted = None if capsule_id is None else CapsuleId(capsule_id)
            return partial(grants.find, capability=capability, value=value, capsule_id=wanted)

        return self._read(prepare)


class DependencyReader(Inquiry):
    """Whom an event calls, and who needs whom."""

    def interceptors(self, topic: str) -> builtins.list[Interceptor]:
        """
        Return what is to be done for an event of *topic*: capsule id, action, instance.

        Of the capsules that are ready, every interceptor whose pattern covers the topic, in order
        of registration; several of one capsule all count.
        Source: astrid-capsule 0.2.0 `dispatcher`.
        """

        def prepare() -> Callable[[Scope], builtins.list[Row]]:
            check_text("topic", topic)
            return partial(interceptors.find, topic=topic)

        return [*map(self._interceptor, self._read(prepare))]

    def _interceptor(self, row: Row) -> Interceptor:
        instance = self._instances.of(
            key(row["capsule_id"], row["generation"], row["registered_at"])
        )
        return Interceptor(CapsuleId(row["capsule_id"]), row["action"], instance)

    def providers(self, capability: str) -> builtins.list[Provision]:
        """
        Return everything on offer that meets the requirement *capability*, such as `topic:a.*`.

        In order of registration; see `capability_matches`.
        """

        def prepare() -> Callable[[Scope], builtins.list[Provision]]:
            check_text("capability", capability)
            return partial(dependencies.providers, requirement=capability)

        return self._read(prepare)

    def dependencies(self) -> builtins.list[Dependency]:
        """Return what each capsule requires and all who provide it, in order of registration."""
        return self._read_at_once(lambda: dependencies.list_all)

    def boot_order(self) -> BootOrder:
        """Return in which order what is registered starts, what nobody provides, and any circle."""
        return self._read_at_once(lambda: dependencies.boot_order)


def _check_asked(capability: str | None, value: str | None) -> None:
    """Refuse what can never be found, which would read as that nobody may."""
    if capability is not None and capability not in RULES:
        raise InvalidTextError("capability", "unknown", f"there is no {capability!r}")
    if capability is not None and value is not None and not is_understood(capability, value):
        raise InvalidTextError("value", "malformed", f"{value!r} is none of {capability}")
    check_text("value", value)
