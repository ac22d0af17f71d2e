"""Who talks to whom: the topics that capsules publish, subscribe to, and are called for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsule_registry.entities import routes
from capsule_registry.identifiers import CapsuleId, optional_id
from capsule_registry.manifest.routes import PUBLISH, SUBSCRIBE, is_called_by_people
from capsule_registry.models.declarations import Call
from capsule_registry.models.storable import required_text

if TYPE_CHECKING:
    import builtins

    from capsule_registry.models.declarations import Route
    from capsule_registry.unit_of_work.queries import Reading
    from capsule_registry.unit_of_work.registered_objects import RegisteredObjects


class Routes:
    """
    The routes of a registry, or of a view of it.

    A route is a topic or pattern of a manifest: a key of `[publish]` or `[subscribe]`, an entry of
    the arrays before them, or an `[[interceptor]]`. Source: astrid 0.2.0 to 2026.9.
    """

    def __init__(self, read: Reading, objects: RegisteredObjects) -> None:
        self._read = read
        self._objects = objects

    def called(self, topic: str) -> builtins.list[Call]:
        """
        Return whom a message of *topic* calls, in the order of the calls; see `CallMode`.

        These are the handlers of ready capsules whose key covers the topic segment by segment: by
        priority, the lowest first, then by capsule id and handler.

        Raises:
            InvalidTextError: *topic* is no text that a database can store.
        """
        plain = required_text("topic", topic)
        found = self._read(routes.called, plain)
        is_gated, mode = is_called_by_people(plain), routes.mode_of(found)
        return [
            Call(
                CapsuleId(row["capsule_id"]),
                row["handler"],
                row["priority"],
                row["topic"],
                mode,
                is_gated,
                self._objects.of_row(row),
            )
            for row in found
        ]

    def publishers(self, topic: str) -> builtins.list[CapsuleId]:
        """Return the capsules, ready or not, that may publish *topic*, in registration order."""
        return self._read(routes.parties, PUBLISH, required_text("topic", topic))

    def subscribers(self, topic: str) -> builtins.list[CapsuleId]:
        """Return the capsules, ready or not, that hear *topic*, in registration order."""
        return self._read(routes.parties, SUBSCRIBE, required_text("topic", topic))

    def unheard(self) -> builtins.list[Route]:
        """Return what is published and nobody subscribes to, as far as patterns tell."""
        return self._read(routes.unanswered, PUBLISH)

    def unsaid(self) -> builtins.list[Route]:
        """Return what is subscribed to and nobody publishes, as far as patterns tell."""
        return self._read(routes.unanswered, SUBSCRIBE)

    def list(self, capsule_id: str | None = None) -> builtins.list[Route]:
        """
        Return all routes, or those of one capsule, in registration order.

        Raises:
            InvalidCapsuleIdError: *capsule_id* is not a valid id.
        """
        return self._read(routes.list_all, optional_id(capsule_id))
