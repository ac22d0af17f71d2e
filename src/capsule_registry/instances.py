"""The objects that this process registered, so that a host can have them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from capsule_registry.records import RegisteredCapsule
    from capsule_registry.unit import Unit


def key_of(record: RegisteredCapsule) -> Hashable:
    """
    Return what names one registration, and no other.

    The time is part of it: in a namespace that was dropped and made again, or brought back from a
    backup, generations are given anew.
    """
    return (record.id, record.generation, record.registered_at)


class Instances:
    """
    Objects by the registration that they were given with.

    An object is added while its unit holds the head, before others can see its row, and taken out
    again if the unit does not commit. So whoever reads the row finds the object.
    """

    def __init__(self) -> None:
        self._objects: dict[Hashable, object] = {}

    def add(self, unit: Unit, record: RegisteredCapsule, instance: object) -> None:
        """Keep *instance* for the registration *record*, made in *unit*."""
        unit.registered.append(key_of(record))
        self._objects[key_of(record)] = instance

    def of(self, record: RegisteredCapsule) -> object | None:
        """Return the object of that registration, if it was made in this process."""
        return self._objects.get(key_of(record))

    def committed(self, unit: Unit) -> None:
        """Let go of the registrations that *unit* removed."""
        for key in unit.unregistered:
            self._objects.pop(key, None)

    def rolled_back(self, unit: Unit | None) -> None:
        """Let go of the registrations that *unit*, if there was one, would have made."""
        for key in unit.registered if unit else ():
            self._objects.pop(key, None)
