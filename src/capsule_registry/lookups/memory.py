"""The cache of what was read from a file, and what invalidates it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import and_, bindparam, select

from capsule_registry.database.dialects.sqlite import LAST_LOGGED, SCHEMA_COOKIE
from capsule_registry.entities.session_uuids import Owner
from capsule_registry.schema.tables import cache_log, namespaces, revisions
from capsule_registry.unit_of_work.queries import Query

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from capsule_registry.identifiers import CapsuleId
    from capsule_registry.models.records import RegisteredCapsule
    from capsule_registry.permissions.checks import Standing, Verdict
    from capsule_registry.unit_of_work.queries import LookupScope, Row

K = TypeVar("K")
V = TypeVar("V")

#: The most entries of each kind; when it is full, all of that kind are dropped.
MAX_UUIDS: Final = 100_000
MAX_CAPSULES: Final = 2_000
MAX_VERDICTS: Final = 50_000
#: With more changes than this, everything is dropped.
_MAX_CHANGES: Final = 1_000
HEAD_AND_LOG: Final = Query(
    namespaces,
    (),
    select(
        namespaces.c.revision,
        namespaces.c.head_hash,
        namespaces.c.last_commit_at,
        LAST_LOGGED.label("logged"),
        SCHEMA_COOKIE.label("schema"),
        revisions.c.hash.label("hash_then"),
    )
    .outerjoin(
        revisions,
        and_(
            revisions.c.namespace == namespaces.c.name,
            revisions.c.revision == bindparam("then"),
        ),
    )
    .where(namespaces.c.name == bindparam("namespace")),
)
_changes = Query(
    cache_log,
    (),
    select(cache_log.c.seq, cache_log.c.namespace, cache_log.c.kind, cache_log.c.key)
    .where(cache_log.c.seq > bindparam("seen"))
    .order_by(cache_log.c.seq),
)


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
        "owners",
        "records",
        "revision",
        "schema",
        "seen",
        "standings",
        "verdicts",
    )

    def __init__(self) -> None:
        #: The map that begins with the current header.
        self.memory: Any = b""
        self.header = b"none is like this"
        #: The namespace's head, the last change read from the log, and the schema cookie.
        self.revision, self.hash, self.seen, self.schema = 0, "", 0, -1
        #: By the UUID's integer; without a lease, the capsule id alone.
        self.owners: dict[int, CapsuleId | Owner | None] = {}
        self.records: dict[str, RegisteredCapsule | None] = {}
        self.standings: dict[str, Standing] = {}
        self.verdicts: dict[tuple[Standing, str, str | None], Verdict] = {}

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


def since(scope: LookupScope, seen: int, logged: int) -> Sequence[Row] | None:
    """Return the log after *seen*, at least up to *logged*; `None` if incomplete or too long."""
    if not 0 <= logged - seen <= _MAX_CHANGES:
        return None
    changes = scope.rows(_changes, seen=seen) if logged > seen else []
    last = changes[-1]["seq"] if changes else seen
    return changes if last >= logged and last - seen == len(changes) else None


def forget(entries: Entries, changes: Iterable[Row]) -> None:
    """Drop the entries that *changes*, rows of the log, are about."""
    for row in changes:
        match row["kind"], row["key"]:
            case "capsules", key:
                entries.records.pop(key, None)
                entries.standings.pop(key, None)
            case "uuid_mappings", key:
                entries.owners.pop(_integer(key), None)
            case "leases", key:
                for uuid in [uuid for uuid, owner in entries.owners.items() if _is_of(owner, key)]:
                    del entries.owners[uuid]
            case _:  # A manifest, which several capsules may share.
                entries.records.clear()


def _integer(uuid: str) -> int:
    """Return the key of *uuid* among the owners; -1, which is no key, if malformed."""
    try:
        return UUID(uuid).int
    except ValueError:
        return -1


def _is_of(owner: CapsuleId | Owner | None, lease_id: str) -> bool:
    return isinstance(owner, Owner) and str(owner.lease_id) == lease_id
