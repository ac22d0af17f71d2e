"""The objects that this process registered, kept so that a host gets them back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from capsule_registry.identifiers import CapsuleId
from capsule_registry.models.records import Interceptor

if TYPE_CHECKING:
    from datetime import datetime

    from capsule_registry.models.records import RegisteredCapsule
    from capsule_registry.unit_of_work.queries import Row
    from capsule_registry.unit_of_work.unit import Unit

    #: Id, generation and time identify a registration. The time is part of it since a namespace
    #: that was dropped and recreated, or restored, reuses generations.
    Registration = tuple[str, int, datetime]


class RegisteredObjects:
    """
    Objects by the registration that they were passed to.

    An object is added while its unit holds the head, before others can see its row, and removed
    if the unit does not commit. So whoever reads the row finds the object.
    """

    def __init__(self) -> None:
        #: By id: the registrations that may be current, and the object of each.
        self._objects: dict[str, dict[Registration, object]] = {}

    def add(self, unit: Unit, record: RegisteredCapsule, instance: object) -> RegisteredCapsule:
        """Keep *instance* for *record*, which *unit* registers; return *record* with it."""
        registration = registration_of(record)
        unit.on_commit.append(partial(self._forget_older, registration))
        unit.on_rollback.append(partial(self._forget, registration))
        self._objects.setdefault(record.id, {})[registration] = instance
        return self.attach(record, unit)

    def add_missing(
        self, unit: Unit, record: RegisteredCapsule, instance: object
    ) -> RegisteredCapsule:
        """Return *record*, which stays as it is, with its object, or *instance* if it has none."""
        if self.of(registration_of(record)) is None:
            return self.add(unit, record, instance)
        return self.attach(record, unit)

    def remove(self, unit: Unit, record: RegisteredCapsule) -> RegisteredCapsule:
        """Drop the object of *record*, which *unit* removes; return *record* with it."""
        unit.on_commit.append(partial(self._forget, registration_of(record)))
        return self.attach(record, unit)

    def attach(self, record: RegisteredCapsule, unit: Unit | None = None) -> RegisteredCapsule:
        """Return *record* with its `instance`, which is cleared if *unit* does not commit."""
        record._instance = self.of(registration_of(record))  # noqa: SLF001 - nobody else sets it
        if unit is not None:
            unit.on_rollback.append(partial(setattr, record, "_instance", None))
        return record

    def of(self, registration: Registration) -> object | None:
        """Return the object of that registration, if this process made it."""
        return self._objects.get(registration[0], {}).get(registration)

    def interceptor(self, row: Row) -> Interceptor:
        """Return the interceptor of a row, with its capsule's object."""
        return Interceptor(CapsuleId(row["capsule_id"]), row["action"], self.of_row(row))

    def of_row(self, row: Row) -> object | None:
        """Return the object of the capsule that a derived *row* belongs to."""
        return self.of((row["capsule_id"], row["generation"], row["registered_at"]))

    def _forget_older(self, registration: Registration) -> None:
        """Drop what stood before *registration*, unless another thread has removed that since."""
        of_id = self._objects.get(registration[0], {})
        if registration in of_id:
            for other in [*of_id]:
                if _age(other) < _age(registration):
                    of_id.pop(other, None)

    def _forget(self, registration: Registration) -> None:
        of_id = self._objects.get(registration[0], {})
        of_id.pop(registration, None)
        if not of_id:
            self._objects.pop(registration[0], None)


def registration_of(record: RegisteredCapsule) -> Registration:
    """Return the key that identifies the registration of *record*."""
    return str(record.id), record.generation, record.registered_at


def _age(registration: Registration) -> tuple[datetime, int]:
    # Time first: a namespace that was dropped and recreated begins its generations anew.
    _, generation, registered_at = registration
    return registered_at, generation
