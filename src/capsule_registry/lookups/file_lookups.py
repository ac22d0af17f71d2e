"""
Lookups in a SQLite file, answered from memory until a commit changes what was read.

An entry is valid while the header of the WAL index is the one it was read under, or what was
committed since concerns other rows: triggers log the keys of all rows changed by any program.
Four rules make that safe. A connection that has read stays open while the header is in use; no
descriptor on the index is closed meanwhile (see `sqlite_wal_index`); the header is read before the
rows; and everything is released before the process forks.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from capsule_registry.database import forking
from capsule_registry.database.dialects.sqlite import (
    LOG_TRIGGERS,
    connector,
    count_log_triggers,
    journal_mode_of,
)
from capsule_registry.database.dialects.sqlite_file import named_errors, network_file_system
from capsule_registry.database.dialects.sqlite_library import sqlite_module
from capsule_registry.database.dialects.sqlite_sidecars import may_write
from capsule_registry.database.dialects.sqlite_wal_index import (
    HEADER,
    Inode,
    UntrustedIndexError,
    WalIndex,
    inode,
    let_go,
)
from capsule_registry.database.driver_errors import translated, wrap
from capsule_registry.entities import capsules, session_uuids
from capsule_registry.errors import RegistryClosedError
from capsule_registry.identifiers import CapsuleId, known_id
from capsule_registry.lookups.lookups import Lookups, PooledLookups, ServerLookups
from capsule_registry.lookups.memory import (
    HEAD_AND_LOG,
    MAX_CAPSULES,
    MAX_UUIDS,
    NOTHING,
    Entries,
    forget,
    keep,
    keep_owner,
    since,
)
from capsule_registry.permissions import checks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from uuid import UUID

    from capsule_registry.clocks import Clock
    from capsule_registry.database.database import Database
    from capsule_registry.models.records import RegisteredCapsule
    from capsule_registry.permissions.checks import Decision, Standing
    from capsule_registry.unit_of_work.prepared_statements import PreparedScope

T = TypeVar("T")


class FileLookups(Lookups):
    """Lookups on a connection of their own that stays open, with a cache of what was read."""

    def __init__(self, database: Database, namespace: str, clock: Clock, file: Path) -> None:
        super().__init__(database, namespace, clock)
        self._file = file
        self._lock = Lock()
        self._connection: Any = None
        self._scope: PreparedScope | None = None
        self._without_lease = self._statements[session_uuids.WITHOUT_LEASE.statement, 0].sql
        self._run: Any = None
        self._index: WalIndex | None = None
        #: Why nothing is cached, once that is known.
        self.distrust: str | None = None
        forking.watch(self)

    def look_up(self, work: Callable[[PreparedScope], T]) -> T:
        """Return the result of *work* on the connection's scope."""
        with self._lock:
            try:
                return work(self._scope or self._open())
            except sqlite_module.Error as error:
                failure = self._failed(error)
        raise failure

    def find(self, uuid: UUID) -> CapsuleId | None:
        """Return the capsule id of *uuid*."""
        with self._lock:  # As `look_up`, with less overhead.
            try:
                return self._find(self._scope or self._open(), uuid)
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
        # The cheapest statement, which answers for UUIDs without a lease: most of them.
        found = self._run(self._without_lease, (self._namespace, str(uuid))).fetchall()
        if found:
            capsule_id = known_id(found[0][0])
            if entries is not NOTHING:
                keep(entries.owners, uuid.int, capsule_id, MAX_UUIDS)
            return capsule_id
        owner = session_uuids.owner(scope, uuid)
        keep_owner(entries, uuid, owner)
        return None if owner is None or owner.is_gone else owner.capsule_id

    def get(
        self, capsule_id: str, attach: Callable[[RegisteredCapsule], RegisteredCapsule]
    ) -> RegisteredCapsule | None:
        """Return the registered capsule of that id, with what *attach* adds."""

        def work(scope: PreparedScope) -> RegisteredCapsule | None:
            entries = self._refresh(scope)
            record = capsules.get(scope, capsule_id)
            if record is not None:
                record = attach(record)
            if entries is not NOTHING:
                keep(entries.records, capsule_id, record, MAX_CAPSULES)
            return record

        return self.look_up(work)

    def check(self, uuid: object, capability: object, value: object) -> Decision | Exception:
        """Decide whether the sender is allowed; see `checks.check`."""
        asked, known = checks.asked_uuid(uuid), checks.known_capability(capability)

        def work(scope: PreparedScope) -> Decision | Exception:
            entries = self._refresh(scope)
            if entries is not NOTHING:
                capsule_id, standing = self._standing(scope, entries, asked)
                verdict = checks.decide(standing, known, value) if standing else checks.UNKNOWN
                # Rows read one after another are of one moment only if nothing has changed.
                if entries.memory[HEADER] == entries.header:
                    return checks.decision(entries.revision, capsule_id, verdict)
            return checks.check(scope, uuid, capability, value)

        return self.look_up(work)

    @property
    def way(self) -> str:
        """How lookups are answered and, if not from memory, why."""

        def look(scope: PreparedScope) -> str | None:
            if self._index is not None:
                _require_log(scope.cursor)
            return self.distrust

        try:
            reason = self.look_up(look)
        except UntrustedIndexError as error:
            reason = str(error)
        return f"each asks the file: {reason}" if reason else "from memory, until somebody commits"

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
        owner = None if uuid is None else session_uuids.owner(scope, uuid)
        if uuid is not None:
            keep_owner(entries, uuid, owner)
        if owner is None or owner.is_gone:
            return None, None
        standing = entries.standings.get(owner.capsule_id)
        if standing is None:
            standing = checks.standing(scope, owner.capsule_id)
            keep(entries.standings, owner.capsule_id, standing, MAX_CAPSULES)
        return owner.capsule_id, standing

    def _open(self) -> PreparedScope:
        if self._database.closed:
            raise RegistryClosedError
        self.distrust = None
        with named_errors(self._file):
            opened = inode(self._file)
        connection = connector(read_only=self._database.read_only)(self._file)
        cursor = connection.cursor()
        self._connection = connection
        self._run = cursor.execute
        self._scope = self._scope_on(cursor)
        try:
            self._index = self._trust(cursor, opened)
        except UntrustedIndexError as error:
            self.distrust = str(error)
        except BaseException:
            self._let_go()
            raise
        return self._scope

    def _trust(self, cursor: Any, opened: Inode | None) -> WalIndex:  # noqa: ANN401 - the driver's own
        """Return the index, or raise `UntrustedIndexError`."""
        mode = journal_mode_of(cursor)
        if mode != "wal":
            raise UntrustedIndexError(f"the journal mode is {mode}")
        if kind := network_file_system(self._file):
            raise UntrustedIndexError(f"it is on a network file system ({kind})")
        if forking.abandoned:
            raise UntrustedIndexError("the process was forked inside a transaction")
        return WalIndex.of(self._file, opened)

    def _refresh(self, scope: PreparedScope) -> Entries:
        """Return the entries that are valid now; `NOTHING` if nothing can be cached."""
        index, entries = self._index, self.entries
        if index is None:
            return NOTHING
        header = index.memory[HEADER]  # Before anything is read.
        if entries.header == header:
            return entries
        try:
            index.require_current()
            self.entries = self._renew(scope, index, header)
        except UntrustedIndexError as error:
            self.entries, self._index, self.distrust = NOTHING, None, str(error)
        return self.entries

    def _renew(self, scope: PreparedScope, index: WalIndex, header: bytes) -> Entries:
        """Return the entries for *header*: the earlier ones whose rows have not changed."""
        before, fresh = self.entries, Entries()
        head = scope.row(HEAD_AND_LOG, then=before.revision)
        if head is None or not isinstance(head["revision"], int):
            return NOTHING
        self._clock.advance(head["last_commit_at"])
        fresh.memory, fresh.header = index.memory, header
        fresh.revision, fresh.hash = head["revision"], head["head_hash"]
        fresh.seen, fresh.schema = head["logged"] or 0, head["schema"]
        if before.schema != fresh.schema:
            _require_log(scope.cursor)
        # Another hash: the file was restored from a backup, and the log is of another history.
        elif head["hash_then"] == before.hash:
            changes = since(scope, before.seen, fresh.seen)
            if changes is not None:
                forget(before, [row for row in changes if row["namespace"] == self._namespace])
                fresh.adopt(before)
        return fresh

    def _let_go(self) -> None:
        self.entries, self._index, self._scope, self._run = NOTHING, None, None, None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            let_go()


def lookups_on(database: Database, namespace: str, clock: Clock) -> Lookups:
    """Return the lookups for *database*."""
    file = database.address.file
    # Who may not write it may have to read a copy, which the pool keeps current.
    if file is not None and (may_write(file) or not database.read_only):
        return FileLookups(database, namespace, clock, file)
    # A database in memory has one connection, and a caller's engine sets its own limit.
    is_shared = database.dialect.is_file or not database.owns_engines
    return (PooledLookups if is_shared else ServerLookups)(database, namespace, clock)


def _require_log(cursor: Any) -> None:  # noqa: ANN401 - the driver's own
    """Raise `UntrustedIndexError` if a trigger that fills the log of changes is missing."""
    found = count_log_triggers(cursor)
    if found < LOG_TRIGGERS:
        reason = f"{LOG_TRIGGERS - found} of the triggers are missing that log what changes"
        raise UntrustedIndexError(reason)
