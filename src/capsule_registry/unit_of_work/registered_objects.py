"""The objects that this process registered, so that a host can have them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from capsule_registry.models.records import RegisteredCapsule
    from capsule_registry.unit_of_work.unit import Registration, Unit


def key_of(record: RegisteredCapsule) -> Registration:
    """Return what names the registration *record*, and no other."""
    return key(record.id, record.generation, record.registered_at)


def key(capsule_id: str, generation: int, registered_at: datetime) -> Registration:
    """
    Return what names one registration, and no other.

    The time is part of it: in a namespace that was dropped and made again, or brought back from a
    backup, generations are given anew.
    """
    return (str(capsule_id), generation, registered_at)


class Instances:
    """
    Objects by the registration that they were given with.

    An object is added while its unit holds the head, before others can see its row, and taken out
    again if the unit does not commit. So whoever reads the row finds the object.
    """

    def __init__(self) -> None:
        #: By id, the registrations of it that may stand, and the object of each.
        self._objects: dict[str, dict[Registration, object]] = {}

    def add(self, unit: Unit, record: RegisteredCapsule, instance: object) -> None:
        """Keep *instance* for the registration *record*, made in *unit*."""
        registration = key_of(record)
        unit.registered.append(registration)
        if registration in unit.unregistered:  # Made, removed and made again in one unit.
            unit.unregistered.remove(registration)
        self._objects.setdefault(record.id, {})[registration] = instance

    def of(self, registration: Registration) -> object | None:
        """Return the object of that registration, if it was made in this process."""
        return self._objects.get(registration[0], {}).get(registration)

    def committed(self, unit: Unit) -> None:
        """Let go of the registrations that *unit* removed, or that stood before its own."""
        for registration in unit.registered:
            of_id = self._objects.get(registration[0], {})
            if registration in of_id:
                self._objects[registration[0]] = {registration: of_id[registration]}
        self._let_go(unit.unregistered)

    def rolled_back(self, unit: Unit | None) -> None:
        """Let go of the registrations that *unit*, if there was one, would have made."""
        self._let_go(unit.registered if unit else ())

    def _let_go(self, registrations: Iterable[Registration]) -> None:
        for registration in registrations:
            of_id = self._objects.get(registration[0], {})
            of_id.pop(registration, None)
            if not of_id:
                self._objects.pop(registration[0], None)
