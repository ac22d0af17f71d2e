"""The leases of a namespace: opened, renewed, closed, listed and reaped."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from capsule_registry.api.open_lease import OpenLease
from capsule_registry.clocks import uptime_seconds
from capsule_registry.entities import leases
from capsule_registry.entities import session_uuids as uuids
from capsule_registry.errors import CapsuleRegistryError, InvalidTextError
from capsule_registry.identifiers import CapsuleId, to_uuid, uuid7
from capsule_registry.models.limits import MAX_NAME, check_text

if TYPE_CHECKING:
    import builtins
    from uuid import UUID
    from weakref import WeakSet

    from capsule_registry.models.records import Lease
    from capsule_registry.unit_of_work.scope import Reading
    from capsule_registry.unit_of_work.unit import Writing

logger = logging.getLogger("capsule_registry")

#: What a lease may last without being renewed.
_SHORTEST: Final = timedelta(milliseconds=100)
_LONGEST: Final = timedelta(days=365)


class Leases:
    """
    The leases that are live: each a process's hold on session UUIDs, which ends unless renewed.

    A lease that has run out counts as absent from that moment on, and so do its UUIDs, whether or
    not `reap` has removed the rows. Time is the database's clock.
    """

    def __init__(
        self,
        read: Reading,
        write: Writing,
        persist: Reading,
        actor: str,
        held: WeakSet[OpenLease],
    ) -> None:
        self._read = read
        self._write = write
        #: In a transaction that writes, but is no unit.
        self._persist = persist
        self._actor = actor
        self._held = held

    def open(
        self, name: str, ttl: timedelta = timedelta(seconds=30), *, renew: bool = True
    ) -> OpenLease:
        """
        Open a lease of this process, which lasts for *ttl* from now and from each renewal.

        Args:
            name: What people call it; it need not be unique.
            ttl: From a tenth of a second to a year. Renewing takes a commit every third of it.
            renew: Keep renewing it, in a thread, until it is closed. That thread also reaps what
                others have left.

        Raises:
            InvalidTextError: *name* is empty or too long, or *ttl* out of bounds.
        """
        check_text("name of a lease", name, MAX_NAME)
        if not name:
            raise InvalidTextError("name of a lease", "empty", "it is empty")
        if not _SHORTEST <= ttl <= _LONGEST:
            raise InvalidTextError("ttl", "range", f"{ttl} is not from {_SHORTEST} to {_LONGEST}")
        sent = uptime_seconds()
        found = self._write(
            partial(
                leases.open_one,
                lease_id=uuid7(),
                name=name,
                ttl=ttl,
                actor=self._actor,
            )
        )
        opened = OpenLease(self, found, sent)
        self._held.add(opened)
        if renew:
            opened.keep()
        return opened

    def list(self) -> builtins.list[Lease]:
        """Return the live leases, in the order in which they were opened."""
        return self._read(leases.list_all)

    def renew(self, lease_id: UUID | str) -> Lease:
        """
        Let the lease last for its whole ttl from now; this makes no revision and no event.

        Raises:
            LeaseLostError: It has run out, or was closed.
            InvalidUuidError: *lease_id* is a text that is no UUID.
        """
        return self._persist(partial(leases.renew, lease_id=to_uuid(lease_id)))

    def close(self, lease_id: UUID | str) -> None:
        """
        End the lease, and remove all UUIDs that belong to it.

        Raises:
            LeaseNotFoundError: It has run out, or was closed.
            InvalidUuidError: *lease_id* is a text that is no UUID.
        """
        self._write(partial(leases.close, lease_id=to_uuid(lease_id)))

    def reap(self) -> builtins.list[Lease]:
        """Remove what is left of leases that have run out, and return these; any number may."""
        if not self._read(leases.is_any_out):
            return []
        return self._write(leases.reap)

    def reap_by_itself(self) -> None:
        """Reap; what goes wrong is logged."""
        try:
            self.reap()
        except CapsuleRegistryError as error:
            logger.warning("Leases were not reaped: %s", error)

    def register_uuid(self, lease_id: UUID, uuid: UUID | str, capsule_id: str) -> None:
        """File *uuid* under *capsule_id* as one of the lease's; see `OpenLease.register_uuid`."""
        self._write(
            partial(
                uuids.register,
                uuid=to_uuid(uuid),
                capsule_id=CapsuleId.storable(capsule_id),
                lease_id=lease_id,
            )
        )
