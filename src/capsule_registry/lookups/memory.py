"""The cache of what was read from a file, and what invalidates it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import and_, bindparam, select

from capsule_registry.database.dialects.sqlite import OWN_COMMITS
from capsule_registry.database.dialects.sqlite_wal_index import commits_between
from capsule_registry.schema.tables import (
    capsules,
    events,
    leases,
    namespaces,
    revisions,
    uplinks,
    uuid_mappings,
)
from capsule_registry.unit_of_work.queries import Query

if TYPE_CHECKING:
    from collections.abc import Iterable

    from capsule_registry.entities.session_uuids import Owner
    from capsule_registry.identifiers import CapsuleId
    from capsule_registry.models.records import RegisteredCapsule
    from capsule_registry.permissions.checks import Standing
    from capsule_registry.permissions.judgement import Verdict
    from capsule_registry.unit_of_work.queries import Row

K = TypeVar("K")
V = TypeVar("V")

#: The most entries of each kind; when it is full, all of that kind are dropped.
MAX_UUIDS: Final = 100_000
MAX_CAPSULES: Final = 2_000
MAX_VERDICTS: Final = 50_000
#: With more changes than this, everything is dropped.
MAX_CHANGES: Final = 1_000
#: Longer than this, the file that is open may be another than the one at its path.
TRUSTED_SECONDS: Final = 0.001
#: After every revision: then nothing is read of what has changed.
NO_REVISION: Final = 2**62
#: The head, and what has changed after the revision `then`, all of one moment.
HEAD_AND_CHANGES: Final = Query(
    namespaces,
    (),
    select(
        namespaces.c.revision,
        namespaces.c.head_hash,
        namespaces.c.last_commit_at,
        OWN_COMMITS.label("own_commits"),
        revisions.c.hash.label("hash_then"),
        events.c.kind,
        events.c.subject,
    )
    .outerjoin(
        revisions,
        and_(
            revisions.c.namespace == namespaces.c.name,
            revisions.c.revision == bindparam("then"),
        ),
    )
    .outerjoin(
        events,
        and_(events.c.namespace == namespaces.c.name, events.c.revision > bindparam("then")),
    )
    .where(namespaces.c.name == bindparam("namespace"))
    .limit(MAX_CHANGES + 1),
)
#: The kinds of events that concern no entry; `None` where there is no event.
_WITHOUT_ENTRIES: Final = (leases.name, uplinks.name, None)


class Entries:
    """
    What was read under the database's header `header`, valid while that is the current one.

    The dicts are shared with the entries of later headers, which remove what has changed. So an
    answer made of several entries holds only if the header is still the same afterwards.
    """

    __slots__ = (
        "hash",
        "header",
        "memory",
        "own_commits",
        "owners",
        "records",
        "revision",
        "standings",
        "trusted_until",
        "verdicts",
    )

    def __init__(self) -> None:
        #: The map that begins with the current header.
        self.memory: Any = b""
        self.header = b"none is like this"
        #: Until when the map is known to be of the file at its path, by `time.monotonic`.
        self.trusted_until = 0.0
        #: The namespace's head, and how many commits of the file the library had made.
        self.revision, self.hash, self.own_commits = NO_REVISION, "", -1
        #: By the UUID's integer; without a lease, the capsule id alone.
        self.owners: dict[int, CapsuleId | Owner | None] = {}
        self.records: dict[str, RegisteredCapsule | None] = {}
        self.standings: dict[str, Standing] = {}
        self.verdicts: dict[tuple[Standing, str, str | None], Verdict] = {}

    def follows(self, earlier: Entries) -> bool:
        """Return whether every commit since the *earlier* entries was made by the library."""
        commits = commits_between(earlier.header, self.header)
        return self.own_commits - earlier.own_commits == commits

    def adopt(self, earlier: Entries) -> None:
        """Share the dicts of *earlier* entries."""
        self.owners, self.records = earlier.owners, earlier.records
        self.standings, self.verdicts = earlier.standings, earlier.verdicts


#: No cache.
NOTHING: Final = Entries()


def keep(kept: dict[K, V], key: K, value: V, most: int) -> None:
    """Cache *value*; if there are *most* already, drop them first."""
    if len(kept) >= most:
        kept.clear()
    kept[key] = value


def keep_owner(entries: Entries, uuid: UUID, owner: Owner | None) -> None:
    """Cache the owner of *uuid*, unless its lease is gone: no log would tell of its return."""
    if entries is not NOTHING and not (owner and owner.is_gone):
        kept = owner.capsule_id if owner and owner.end is None else owner
        keep(entries.owners, uuid.int, kept, MAX_UUIDS)


def forget(entries: Entries, changes: Iterable[Row]) -> bool:
    """
    Drop the entries that *changes*, rows with the kind and subject of an event, concern.

    Return `False` if one may concern any entry.
    """
    for row in changes:
        match row["kind"], row["subject"]:
            case capsules.name, key:
                entries.records.pop(key, None)
                entries.standings.pop(key, None)
            case uuid_mappings.name, key:
                entries.owners.pop(_integer(key), None)
            case kind, _ if kind not in _WITHOUT_ENTRIES:
                return False
    return True


def _integer(uuid: str) -> int:
    """Return the key of *uuid* among the owners; -1, which is no key, if malformed."""
    try:
        return UUID(uuid).int
    except ValueError:
        return -1
