"""The leases of a namespace, and a lease held by this process."""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from threading import Event, Thread, current_thread
from typing import TYPE_CHECKING, Final, Self
from weakref import WeakSet, ref

from capsule_registry.clocks import uptime_seconds
from capsule_registry.entities import leases, session_uuids
from capsule_registry.errors import (
    CapsuleRegistryError,
    InvalidTextError,
    LeaseLostError,
    LeaseNotFoundError,
    RegistryClosedError,
    RegistryUnavailableError,
)
from capsule_registry.identifiers import CapsuleId, to_generation, to_uuid, uuid7
from capsule_registry.models.storable import MAX_NAME, storable_text
from capsule_registry.plain_values import plain_duration

if TYPE_CHECKING:
    import builtins
    from uuid import UUID

    from capsule_registry.models.records import Lease
    from capsule_registry.unit_of_work.queries import Reading
    from capsule_registry.unit_of_work.unit import Writing

logger = logging.getLogger("capsule_registry")

#: The bounds of a ttl.
_SHORTEST: Final = timedelta(milliseconds=100)
_LONGEST: Final = timedelta(days=365)
#: Renewals in the time of one ttl.
RENEWALS: Final = 3
#: How long to wait for the renewing thread to end.
_STOP_SECONDS: Final = 2.0


class Leases:
    """
    The live leases: holds of processes on session UUIDs, which expire unless renewed.

    From the moment it expires, a lease is absent, and so are its UUIDs, whether or not `reap` has
    removed the rows. Time is the database's clock.
    """

    def __init__(
        self,
        read: Reading,
        write: Writing,
        amend: Reading,
        actor: str,
        held: WeakSet[OpenLease],
    ) -> None:
        self._read = read
        self._write = write
        #: In a write transaction that makes no revision.
        self._amend = amend
        self._actor = actor
        self._held = held

    def open(
        self, name: str, ttl: timedelta = timedelta(seconds=30), *, renew: bool = True
    ) -> OpenLease:
        """
        Open a lease of this process, which lasts for *ttl* from now and from each renewal.

        Args:
            name: A label for people; it need not be unique.
            ttl: From a tenth of a second to a year. Renewing takes a commit every third of it.
            renew: Renew it in a background thread until it is closed, and reap expired leases.

        Raises:
            InvalidTextError: *name* is empty or too long, or *ttl* out of bounds.
        """
        sent = uptime_seconds()
        opened = OpenLease(self, self.grant(name, ttl), sent)
        self._held.add(opened)
        if renew:
            opened.keep()
        return opened

    def grant(self, name: str, ttl: timedelta = timedelta(seconds=30)) -> Lease:
        """
        Open a lease for somebody else, who renews and closes it by its id; see `open`.

        Raises:
            InvalidTextError: *name* is empty or too long, or *ttl* out of bounds.
        """
        label, lasting = storable_text("name of a lease", name, MAX_NAME), plain_duration(ttl)
        if not label:
            raise InvalidTextError("name of a lease", "empty", "it is empty")
        if not _SHORTEST <= lasting <= _LONGEST:
            message = f"{lasting} is not from {_SHORTEST} to {_LONGEST}"
            raise InvalidTextError("ttl", "range", message)
        return self._write(leases.open_lease, uuid7(), label, lasting, self._actor)

    def list(self) -> builtins.list[Lease]:
        """Return the live leases, in the order they were opened."""
        return self._read(leases.list_all)

    def renew(self, lease_id: UUID | str) -> Lease:
        """
        Extend the lease to its whole ttl from now; this makes no revision and no event.

        Raises:
            LeaseLostError: It has expired, or was closed.
            InvalidUuidError: *lease_id* is a string but not a UUID.
        """
        return self._amend(leases.renew, to_uuid(lease_id))

    def close(self, lease_id: UUID | str) -> None:
        """
        End the lease, and remove its UUIDs.

        Raises:
            LeaseNotFoundError: It has expired, or was closed.
            InvalidUuidError: *lease_id* is a string but not a UUID.
        """
        self._write(leases.close, to_uuid(lease_id))

    def reap(self) -> builtins.list[Lease]:
        """Remove the rows of expired leases, and return these; any number of processes may."""
        if not self._read(leases.any_expired):
            return []
        return self._write(leases.reap)

    def reap_by_itself(self) -> None:
        """Reap; log an error instead of raising it."""
        try:
            self.reap()
        except CapsuleRegistryError as error:
            logger.warning("Leases were not reaped: %s", error)

    def register_uuid(
        self, lease_id: UUID, uuid: UUID | str, capsule_id: str, generation: int | None
    ) -> None:
        """File *uuid* under *capsule_id* with the lease; see `OpenLease.register_uuid`."""
        wanted = CapsuleId.storable(capsule_id)
        self._write(session_uuids.register, to_uuid(uuid), wanted, lease_id, generation)


class OpenLease:
    """
    A lease that this process holds; a context manager that closes it at the end of the block.

    Keep a reference: without one it is no longer renewed. Threads may share it. Every write through
    it checks by the database's clock that it is still held: a process that slept too long gets
    `LeaseLostError`, and so does a forked child, since the lease is its parent's. A transaction of
    this process longer than the ttl blocks renewal on SQLite, and on MariaDB if it files UUIDs of
    the lease.
    """

    def __init__(self, leases: Leases, lease: Lease, sent: float) -> None:
        self._leases = leases
        self._lease = lease
        self._lasts_until = sent + lease.ttl.total_seconds()
        self._ended = Event()
        self._is_gone = False
        self._thread: Thread | None = None
        self._reaping: Thread | None = None
        self._process = os.getpid()

    @property
    def id(self) -> UUID:
        """The id of the lease, never used for another one."""
        return self._lease.id

    @property
    def held_id(self) -> UUID:
        """
        The id, for writing through the lease.

        Raises:
            LeaseLostError: This is a forked child, and the lease is its parent's.
        """
        if os.getpid() != self._process:
            raise LeaseLostError(self.id)
        return self.id

    @property
    def lost(self) -> bool:
        """
        Whether this process must act as if it held nothing.

        True in a forked child, and once the lease was closed, found lost, or not renewed in time by
        the host's uptime, counted from before the renewal was sent.
        """
        is_parents = os.getpid() != self._process
        return is_parents or self._is_gone or uptime_seconds() >= self._lasts_until

    def register_uuid(
        self, uuid: UUID | str, capsule_id: str, *, expected_generation: int | None = None
    ) -> None:
        """
        File *uuid* under *capsule_id*, registered or not, until the lease ends.

        A UUID that is filed elsewhere without a lease is moved here. With an *expected_generation*
        it is filed only if that is registered.

        Raises:
            StaleGenerationError: Not *expected_generation* but another, or nothing, is registered.
            LeaseLostError: The lease has expired, or was closed; nothing was filed.
            UuidHeldError: Another live lease holds the UUID.
            InvalidUuidError: *uuid* is a string but not a UUID.
            InvalidCapsuleIdError: *capsule_id* is not a valid id, or too long.
        """
        try:
            generation = to_generation(expected_generation)
            self._leases.register_uuid(self.held_id, uuid, capsule_id, generation)
        except LeaseLostError:
            self.note_lost()
            raise

    def renew(self) -> None:
        """
        Extend the lease to its whole ttl from now.

        Raises:
            LeaseLostError: It has expired, or was closed.
        """
        sent = uptime_seconds()
        try:
            self._lease = self._leases.renew(self.held_id)
        except LeaseLostError:
            self.note_lost()
            raise
        self._lasts_until = sent + self._lease.ttl.total_seconds()

    def close(self) -> None:
        """
        End the lease, and remove its UUIDs. Idempotent.

        Raises:
            RegistryUnavailableError: The database cannot be reached; the lease is no longer
                renewed, so it expires by itself.
        """
        if os.getpid() != self._process:
            return
        try:
            if not self._is_gone:
                self._leases.close(self.id)
        except LeaseNotFoundError:
            pass
        except RegistryUnavailableError:
            self._ended.set()
            raise
        self._is_gone = True
        self.stop()

    def note_lost(self) -> None:
        """Act from now on as if it held nothing."""
        self._is_gone = True

    def keep(self) -> None:
        """Renew the lease in a thread until it is closed, lost, or garbage-collected."""
        interval = self._lease.ttl.total_seconds() / RENEWALS
        arguments = (ref(self), self._ended, interval)
        self._thread = Thread(target=_keep_renewing, args=arguments, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the renewing thread; wait for it, but not for long: the database may hang."""
        self._ended.set()
        if self._thread not in (None, current_thread()) and os.getpid() == self._process:
            self._thread.join(_STOP_SECONDS)

    def renew_by_itself(self) -> bool:
        """Renew, log any error, and return whether to go on renewing."""
        try:
            self.renew()
        except (LeaseLostError, RegistryClosedError) as error:
            if not self._ended.is_set():
                logger.warning("Lease lost: %s", error, extra={"lease_id": str(self.id)})
            return False
        except CapsuleRegistryError as error:
            logger.warning("Lease not renewed: %s", error, extra={"lease_id": str(self.id)})
        return True

    def reap_beside(self) -> None:
        """Reap in another thread: that waits for other writers, and a renewal must not."""
        if self._reaping is None or not self._reaping.is_alive():
            self._reaping = Thread(target=self._leases.reap_by_itself, daemon=True)
            self._reaping.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "lost" if self.lost else "held"
        return f"OpenLease(id={str(self.id)!r}, name={self._lease.name!r}, {state})"


def _keep_renewing(forgettable: ref[OpenLease], ended: Event, interval: float) -> None:
    while not ended.wait(interval):
        lease = forgettable()
        if lease is None or not lease.renew_by_itself():
            return
        lease.reap_beside()
        del lease
