"""
Lookups in a file, answered from memory as long as nobody has committed anything that matters.

An entry is valid while the header of the WAL index is that under which it was read, or what has
been committed since is about something else: triggers log the keys of all rows that change, by
whatever program. Four rules make that safe. A connection that has read stays open as long as the
header is looked at; no descriptor on the header is closed meanwhile (see `dialects.wal_index`); the
header is read before the rows are; and everything is let go of before the process forks.
"""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from capsule_registry.database import forking
from capsule_registry.database.dialects.sqlite import (
    LOG_TRIGGERS,
    count_log_triggers,
    journal_mode_of,
)
from capsule_registry.database.dialects.sqlite_file import connector, network_file_system
from capsule_registry.database.dialects.sqlite_library import sqlite_module
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
    MOST_CAPSULES,
    MOST_UUIDS,
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
    """On a connection of its own that is kept, beside what has been read before."""

    def __init__(self, database: Database, namespace: str, clock: Clock, file: Path) -> None:
        super().__init__(database, namespace, clock)
        self._file = file
        self._lock = Lock()
        self._connection: Any = None
        self._scope: PreparedScope | None = None
        self._plain = self._statements[session_uuids.PLAIN.statement, 0].sql
        self._run: Any = None
        self._index: WalIndex | None = None
        #: Why nothing is kept, once that is known.
        self.distrust: str | None = None
        forking.watch(self)

    def look_up(self, work: Callable[[PreparedScope], T]) -> T:
        """Return *work* of a scope."""
        with self._lock:
            try:
                return work(self._scope or self._open())
            except sqlite_module.Error as error:
                failure = self._failed(error)
        raise failure

    def find(self, uuid: UUID) -> CapsuleId | None:
        """Return the id that *uuid* is filed under."""
        with self._lock:  # As `look_up` does, with less.
            try:
                return self._find(self._scope or self._open(), uuid)
            except sqlite_module.Error as error:
                failure = self._failed(error)
        raise failure

    def _failed(self, error: Exception) -> Exception:
        """Let go of everything, and return what *error* of the driver is to the caller."""
        self._let_go()
        wrapped = wrap(error, self._database.reader)
        failure = translated(wrapped, self._database.address)
        failure.__cause__ = error
        return failure

    def _find(self, scope: PreparedScope, uuid: UUID) -> CapsuleId | None:
        entries = self._refreshed(scope)
        # What most are is found out by the least that can be asked.
        plain = self._run(self._plain, (self._namespace, str(uuid))).fetchall()
        if plain:
            capsule_id = known_id(plain[0][0])
            if entries is not NOTHING:
                keep(entries.owners, uuid.int, capsule_id, MOST_UUIDS)
            return capsule_id
        owner = session_uuids.owner(scope, uuid)
        keep_owner(entries, uuid, owner)
        return None if owner is None or owner.is_gone else owner.capsule_id

    def get(
        self, capsule_id: str, attach: Callable[[RegisteredCapsule], RegisteredCapsule]
    ) -> RegisteredCapsule | None:
        """Return the registered capsule of that id, with what *attach* adds."""

        def work(scope: PreparedScope) -> RegisteredCapsule | None:
            entries = self._refreshed(scope)
            record = capsules.get(scope, capsule_id)
            if record is not None:
                record = attach(record)
            if entries is not NOTHING:
                keep(entries.records, capsule_id, record, MOST_CAPSULES)
            return record

        return self.look_up(work)

    def check(self, uuid: object, capability: object, value: object) -> Decision:
        """Decide whether the sender may; see `checks.check`."""
        asked, known = checks.asked_uuid(uuid), checks.known_capability(capability)

        def work(scope: PreparedScope) -> Decision:
            entries = self._refreshed(scope)
            if entries is not NOTHING:
                capsule_id, standing = self._standing(scope, entries, asked)
                verdict = checks.decide(standing, known, value) if standing else checks.UNKNOWN
                # What was read in turn is of one moment only if nothing has changed.
                if entries.memory[HEADER] == entries.header:
                    return checks.decision(entries.revision, capsule_id, verdict)
            return checks.check(scope, uuid, capability, value)

        return self.look_up(work)

    @property
    def way(self) -> str:
        """How lookups are answered, and why not from memory where they are not."""

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
        """Close the connection, and let go of all entries. Idempotent."""
        with self._lock:
            self._let_go()

    def before_fork(self) -> None:
        """Wait for a running lookup, and let go of everything."""
        self._lock.acquire()
        self._let_go()

    def after_fork(self, *, in_child: bool) -> None:
        """Go on, with a connection and a map that are made anew."""
        if in_child:
            self._lock = Lock()
        else:
            self._lock.release()

    def _standing(
        self, scope: PreparedScope, entries: Entries, uuid: UUID | None
    ) -> tuple[CapsuleId | None, Standing | None]:
        """Return under which id *uuid* is filed, and what that capsule may do."""
        owner = None if uuid is None else session_uuids.owner(scope, uuid)
        if uuid is not None:
            keep_owner(entries, uuid, owner)
        if owner is None or owner.is_gone:
            return None, None
        standing = entries.standings.get(owner.capsule_id)
        if standing is None:
            standing = checks.standing(scope, owner.capsule_id)
            keep(entries.standings, owner.capsule_id, standing, MOST_CAPSULES)
        return owner.capsule_id, standing

    def _open(self) -> PreparedScope:
        if self._database.closed:
            raise RegistryClosedError
        self.distrust = None
        opened = inode(self._file)
        connection = connector(read_only=self._database.read_only)(self._file)
        cursor = connection.cursor()
        self._connection = connection
        self._run = cursor.execute
        self._scope = self._scope_on(cursor)
        try:
            self._index = self._trusted(cursor, opened)
        except UntrustedIndexError as error:
            self.distrust = str(error)
        return self._scope

    def _trusted(self, cursor: Any, opened: Inode | None) -> WalIndex:  # noqa: ANN401 - the driver's own
        """Return the index, or raise `UntrustedIndexError`."""
        mode = journal_mode_of(cursor)
        if mode != "wal":
            raise UntrustedIndexError(f"the journal mode is {mode}")
        if kind := network_file_system(self._file):
            raise UntrustedIndexError(f"it is on a network file system ({kind})")
        if not os.access(self._file, os.W_OK):
            raise UntrustedIndexError("the file cannot be written")
        if forking.abandoned:
            raise UntrustedIndexError("the process was forked inside a transaction")
        return WalIndex.of(self._file, opened)

    def _refreshed(self, scope: PreparedScope) -> Entries:
        """Return the entries that are valid now; `NOTHING` where none can be kept."""
        index, entries = self._index, self.entries
        if index is None:
            return NOTHING
        header = index.memory[HEADER]  # Before anything is read.
        if entries.header == header:
            return entries
        try:
            index.require_current()
            self.entries = self._renewed(scope, index, header)
        except UntrustedIndexError as error:
            self.entries, self._index, self.distrust = NOTHING, None, str(error)
        return self.entries

    def _renewed(self, scope: PreparedScope, index: WalIndex, header: bytes) -> Entries:
        """Return entries of *header*: those of before it that nothing has happened to."""
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
        # Where the file was put back from a backup, the log leads to something else.
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
    """Return what answers lookups in that *database*."""
    if database.address.file is not None:
        return FileLookups(database, namespace, clock, database.address.file)
    # A database in memory has one connection, and how many a caller's engine may have is theirs.
    is_shared = database.dialect.is_file or not database.owns_engines
    return (PooledLookups if is_shared else ServerLookups)(database, namespace, clock)


def _require_log(cursor: Any) -> None:  # noqa: ANN401 - the driver's own
    """Raise `UntrustedIndexError` where a trigger is missing that fills the log of changes."""
    found = count_log_triggers(cursor)
    if found < LOG_TRIGGERS:
        reason = f"{LOG_TRIGGERS - found} of the triggers are missing that log what changes"
        raise UntrustedIndexError(reason)
