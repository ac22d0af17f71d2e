"""
Lookups in a SQLite file, answered from memory until a commit changes what was read.

An entry is valid while the header of the WAL index is the one it was read under, or what was
committed since concerns other rows: the events of the revisions since name them. The library counts
its own commits in the file, and the header counts all; if another program's is among them, which
may have changed anything, every entry is dropped. Five rules make that safe. A connection that has
read stays open while the header is in use; no descriptor on the index is closed meanwhile (see
`sqlite_wal_index`); the header is read before the rows; everything is released before the process
forks; and a millisecond after it was last looked at, the file is compared with the one at its path.
"""

from __future__ import annotations

import time
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from capsule_registry.database import forking
from capsule_registry.database.dialects.sqlite_file import network_file_system
from capsule_registry.database.dialects.sqlite_library import sqlite_module
from capsule_registry.database.dialects.sqlite_sidecars import may_write
from capsule_registry.database.dialects.sqlite_wal_index import HEADER, let_go
from capsule_registry.database.driver_errors import translated, wrap
from capsule_registry.entities import capsules, session_uuids
from capsule_registry.entities.session_uuids import Owner
from capsule_registry.errors import DatabaseReplacedError, RegistryClosedError
from capsule_registry.identifiers import CapsuleId, known_id
from capsule_registry.lookups.lookups import Lookups, PooledLookups, ServerLookups
from capsule_registry.lookups.memory import (
    HEAD_AND_CHANGES,
    MAX_CAPSULES,
    MAX_CHANGES,
    MAX_UUIDS,
    NOTHING,
    TRUSTED_SECONDS,
    Entries,
    forget,
    keep,
    keep_owner,
)
from capsule_registry.permissions import checks

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable
    from uuid import UUID

    from capsule_registry.clocks import Clock
    from capsule_registry.database.database import Database
    from capsule_registry.database.dialects.sqlite_connections import FileConnector
    from capsule_registry.database.dialects.sqlite_identity import FileIdentity
    from capsule_registry.models.records import RegisteredCapsule
    from capsule_registry.permissions.checks import Decided, Standing
    from capsule_registry.unit_of_work.high_water_mark import HighWaterMark
    from capsule_registry.unit_of_work.prepared_statements import PreparedScope

T = TypeVar("T")


class FileLookups(Lookups):
    """Lookups on a connection of their own that stays open, with a cache of what was read."""

    def __init__(
        self, database: Database, seen: HighWaterMark, clock: Clock, files: FileConnector
    ) -> None:
        super().__init__(database, seen, clock)
        self._files = files
        self._lock = Lock()
        self._connection: Any = None
        self._scope: PreparedScope | None = None
        self._without_lease = self._statements[session_uuids.WITHOUT_LEASE.statement, 0].sql
        self._run: Any = None
        self._identity: FileIdentity | None = None
        #: Until when the file is known to be the one at its path, by `time.monotonic`.
        self._trusted_until = 0.0
        #: Why nothing is cached, once that is known.
        self.distrust: str | None = None
        forking.watch(self)

    def look_up(self, work: Callable[[PreparedScope], T], seconds: float | None = None) -> T:  # noqa: ARG002 - a server's
        """Return the result of *work* on the connection's scope."""
        self._database.measures.lookup()
        with self._lock:
            try:
                return work(self._scope or self._open())
            except DatabaseReplacedError:
                self._let_go()
                raise
            except sqlite_module.Error as error:
                failure = self._failed(error)
        raise failure

    def find(self, uuid: UUID) -> CapsuleId | None:
        """Return the capsule id of *uuid*."""
        self._database.measures.lookup()
        with self._lock:  # As `look_up`, with less overhead.
            try:
                return self._find(self._scope or self._open(), uuid)
            except DatabaseReplacedError:
                self._let_go()
                raise
            except sqlite_module.Error as error:
                failure = self._failed(error)
        raise failure

    def _failed(self, error: Exception) -> Exception:
        """Release everything, and return the driver's *error* as one of the registry's."""
        self._let_go()
        wrapped = wrap(error, self._database.reader)
        failure = translated(wrapped, self._database.address)
        failure.__cause__ = error
        return failure

    def _find(self, scope: PreparedScope, uuid: UUID) -> CapsuleId | None:
        entries = self._refresh(scope)
        if (kept := self._kept_owner(entries, uuid)) is not None:
            return kept  # It was only the file that had to be looked at again.
        # The cheapest statement, which answers for UUIDs without a lease: most of them.
        found = self._run(self._without_lease, (self._namespace, str(uuid))).fetchall()
        if found:
            capsule_id = known_id(found[0][0])
            if entries is not NOTHING:
                keep(entries.owners, uuid.int, capsule_id, MAX_UUIDS)
            return capsule_id
        return self._owner(scope, entries, uuid)

    def get(
        self, capsule_id: str, attach: Callable[[RegisteredCapsule], RegisteredCapsule]
    ) -> RegisteredCapsule | None:
        """Return the registered capsule of that id, with what *attach* adds."""

        def work(scope: PreparedScope) -> RegisteredCapsule | None:
            entries = self._refresh(scope)
            if (kept := entries.records.get(capsule_id)) is not None:
                return kept
            record = capsules.get(scope, capsule_id)
            if record is not None:
                record = attach(record)
            if entries is not NOTHING:
                keep(entries.records, capsule_id, record, MAX_CAPSULES)
            return record

        return self.look_up(work)

    def check(self, uuid: object, capability: object, value: object, seconds: float) -> Decided:
        """Decide whether the sender is allowed; see `checks.check`."""
        asked, known = checks.asked_uuid(uuid), checks.known_capability(capability)

        def work(scope: PreparedScope) -> Decided:
            entries = self._refresh(scope)
            if entries is not NOTHING:
                capsule_id, standing = self._standing(scope, entries, asked)
                verdict = checks.decide(standing, known, value) if standing else checks.UNKNOWN
                # Rows read one after another are of one moment only if nothing has changed.
                if entries.memory[HEADER] == entries.header:
                    return checks.decision(entries.revision, capsule_id, verdict)
            return checks.check(scope, uuid, capability, value)

        return self.look_up(work, seconds)

    @property
    def way(self) -> str:
        """How lookups are answered and, if not from memory, why."""
        reason = self.look_up(lambda _: self.distrust)
        return f"each asks the file: {reason}" if reason else "from memory, until somebody commits"

    def look_again(self) -> None:
        """Look whether the file is still the one at its path, unless a lookup is at work."""
        if self._scope is None or not self._lock.acquire(blocking=False):
            return
        try:
            now = time.monotonic()
            self._files.require_current(self._identity)
            self._trusted_until = self.entries.trusted_until = now + TRUSTED_SECONDS
        except DatabaseReplacedError:
            return  # Whoever looks something up now is told.
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the connection, and drop all entries. Idempotent."""
        with self._lock:
            self._let_go()

    def before_fork(self) -> None:
        """Wait for a running lookup, and release everything."""
        self._lock.acquire()
        self._let_go()

    def after_fork(self, *, in_child: bool) -> None:
        """Go on, with a new connection and a new map."""
        if in_child:
            self._lock = Lock()
        else:
            self._lock.release()

    def _standing(
        self, scope: PreparedScope, entries: Entries, uuid: UUID | None
    ) -> tuple[CapsuleId | None, Standing | None]:
        """Return the capsule id of *uuid*, and that capsule's standing."""
        capsule_id = None if uuid is None else self._owner(scope, entries, uuid)
        if capsule_id is None:
            return None, None
        standing = entries.standings.get(capsule_id)
        if standing is None:
            standing = checks.standing(scope, capsule_id)
            keep(entries.standings, capsule_id, standing, MAX_CAPSULES)
        return capsule_id, standing

    def _owner(self, scope: PreparedScope, entries: Entries, uuid: UUID) -> CapsuleId | None:
        if (kept := self._kept_owner(entries, uuid)) is not None:
            return kept
        owner = session_uuids.owner(scope, uuid)
        keep_owner(entries, uuid, owner)
        return None if owner is None or owner.is_gone else owner.capsule_id

    def _kept_owner(self, entries: Entries, uuid: UUID) -> CapsuleId | None:
        kept = entries.owners.get(uuid.int)
        if not isinstance(kept, Owner):
            return kept
        return kept.capsule_id if kept.end and self._clock.is_before(kept.end) else None

    def _open(self) -> PreparedScope:
        if self._database.closed:
            raise RegistryClosedError
        self._connection, self._identity = self._files.connect()
        cursor = self._connection.cursor()
        self._run = cursor.execute
        self._scope = self._scope_on(cursor)
        self.distrust = self._why_distrusted(self._identity)
        return self._scope

    def _why_distrusted(self, identity: FileIdentity) -> str | None:
        """Return why nothing may be cached, or `None`."""
        if kind := network_file_system(self._files.path):
            return f"locks cannot be trusted on its file system ({kind})"
        if forking.abandoned:
            return "the process was forked inside a transaction"
        return identity.distrust

    def _refresh(self, scope: PreparedScope) -> Entries:
        """
        Return the entries that are valid now; `NOTHING` if nothing can be cached.

        Raises:
            DatabaseReplacedError: The file was replaced while it was open.
        """
        entries, now = self.entries, time.monotonic()
        if now >= self._trusted_until:
            self._files.require_current(self._identity)
            self._trusted_until = entries.trusted_until = now + TRUSTED_SECONDS
        memory = self._identity.index if self._identity else None
        if memory is None or self.distrust is not None:
            return NOTHING
        header = memory[HEADER]  # Before anything is read.
        if entries.header != header:
            self.entries = self._renew(scope, memory, header)
        return self.entries

    def _renew(self, scope: PreparedScope, memory: mmap.mmap, header: bytes) -> Entries:
        """Return the entries for *header*: the earlier ones whose rows have not changed."""
        before, fresh = self.entries, Entries()
        rows = scope.rows(HEAD_AND_CHANGES, then=before.revision)
        if not rows or not isinstance(rows[0]["revision"], int):
            return NOTHING
        head = rows[0]
        self._clock.advance(head["last_commit_at"])
        fresh.memory, fresh.header, fresh.trusted_until = memory, header, self._trusted_until
        fresh.revision, fresh.hash = head["revision"], head["head_hash"]
        fresh.own_commits = head["own_commits"] or 0
        # Another hash: the file was restored from a backup, and the events are of another history.
        is_continued = head["hash_then"] == before.hash and fresh.follows(before)
        if is_continued and len(rows) <= MAX_CHANGES and forget(before, rows):
            fresh.adopt(before)
        return fresh

    def _let_go(self) -> None:
        self.entries, self._identity, self._scope, self._run = NOTHING, None, None, None
        self._trusted_until = 0.0
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            let_go()


def lookups_on(database: Database, seen: HighWaterMark, clock: Clock) -> Lookups:
    """Return the lookups for *database*, in the namespace of *seen*."""
    files = database.files
    # Who may not write it may have to read a copy, which the pool keeps current.
    if files is not None and (may_write(files.path) or not database.read_only):
        return FileLookups(database, seen, clock, files)
    # A database in memory has one connection, and a caller's engine sets its own limit.
    is_shared = database.dialect.is_file or not database.owns_engines
    return (PooledLookups if is_shared else ServerLookups)(database, seen, clock)
