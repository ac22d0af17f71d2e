"""Namespaces: independent registries inside one database."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from sqlalchemy import bindparam, delete, func, select, update

from capsule_registry.canonical_json import canonical_json
from capsule_registry.database.dialects.expressions import DatabaseNow
from capsule_registry.errors import (
    FutureRevisionError,
    NamespaceNotFoundError,
    RevisionCompactedError,
)
from capsule_registry.schema.tables import (
    capsules,
    events,
    leases,
    manifests,
    namespaces,
    revisions,
)
from capsule_registry.unit_of_work.hash_chain import GENESIS_HASH
from capsule_registry.unit_of_work.head import open_unit, require_readable
from capsule_registry.unit_of_work.high_water_mark import Position

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

    from capsule_registry.clocks import Clock
    from capsule_registry.database.dialects.dialect import Dialect
    from capsule_registry.unit_of_work.queries import Scope
    from capsule_registry.unit_of_work.unit import Unit

#: Earlier than any clock; the first unit sets the time.
_BEGINNING: Final = datetime(2000, 1, 1, tzinfo=UTC)
_listing = (
    select(
        namespaces.c.name,
        namespaces.c.incarnation,
        namespaces.c.revision,
        namespaces.c.head_hash,
        namespaces.c.runtime_version,
        select(func.count())
        .where(
            capsules.c.namespace == namespaces.c.name, capsules.c.registered_revision.is_not(None)
        )
        .scalar_subquery()
        .label("capsule_count"),
    )
    .where(namespaces.c.revision > 0)
    .order_by(namespaces.c.name)
)
_head = select(
    namespaces.c.incarnation,
    namespaces.c.revision,
    namespaces.c.head_hash.label("hash"),
    namespaces.c.compacted_revision,
    namespaces.c.last_commit_at,
    namespaces.c.runtime_version,
    DatabaseNow().label("now"),
).where(namespaces.c.name == bindparam("namespace"))
_found = select(namespaces.c.name).where(namespaces.c.name == bindparam("namespace"))


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a namespace, and the revision up to which its history was pruned."""

    incarnation: UUID
    revision: int
    hash: str
    compacted_revision: int
    last_commit_at: datetime
    runtime_version: str | None
    #: The database's time when this was read, if it has a clock.
    now: datetime | None

    def require_known(self, revision: int) -> None:
        """
        Require that the state at *revision* is known.

        Raises:
            FutureRevisionError: It is beyond the head.
            RevisionCompactedError: It was pruned.
        """
        if revision > self.revision:
            raise FutureRevisionError(revision, self.revision)
        if revision < self.compacted_revision:
            raise RevisionCompactedError(revision, self.compacted_revision)


def create(
    conn: Connection,
    namespace: str,
    clock: Clock,
    dialect: Dialect,
    runtime_version: str | None = None,
) -> Unit:
    """
    Create the namespace; return the unit, not yet closed, that files its creation.

    Concurrent processes take turns: the second one finds the namespace and files nothing.
    """
    row = {
        "name": namespace,
        "incarnation": uuid4(),
        "revision": 0,
        "head_hash": GENESIS_HASH,
        "compacted_revision": 0,
        "last_commit_at": _BEGINNING,
        "runtime_version": runtime_version,
    }
    conn.execute(dialect.insert_if_missing(namespaces), row)
    unit = open_unit(conn, namespace, clock, dialect)
    if unit.revision == 1:
        unit.file("namespace.created", namespaces.name, None, image(unit))
    return unit


def image(unit: Unit) -> dict[str, str]:
    """Return the row image of the namespace that its own events hold."""
    said = {"incarnation": str(unit.incarnation), "name": unit.namespace}
    if unit.runtime_version is None:
        return said
    return {**said, "runtime_version": unit.runtime_version}


def renew(unit: Unit) -> Unit:
    """
    Give the namespace that *unit* holds a new incarnation; return the unit to continue with.

    Watches and views of the old history learn from it that their positions are no longer valid.
    """
    before = canonical_json(image(unit))
    renewed = replace(unit, incarnation=uuid4())
    change = update(namespaces).where(namespaces.c.name == unit.namespace)
    unit.execute(change.values(incarnation=renewed.incarnation))
    renewed.file("namespace.restored", namespaces.name, before, image(renewed))
    return renewed


def set_runtime(unit: Unit, version: str | None) -> Unit:
    """Name the runtime by whose rules all capsules are judged; return the unit to continue with."""
    before = canonical_json(image(unit))
    changed = replace(unit, runtime_version=version)
    change = update(namespaces).where(namespaces.c.name == unit.namespace)
    unit.execute(change.values(runtime_version=version))
    changed.file("namespace.runtime_changed", namespaces.name, before, image(changed))
    return changed


def exists(scope: Scope) -> bool:
    """Return whether the scope's namespace exists."""
    return scope.scalar(_found, {"namespace": scope.namespace}) is not None


def head(scope: Scope) -> Head:
    """
    Return the head of the scope's namespace.

    Raises:
        NamespaceNotFoundError: The namespace was dropped.
        HistoryCorruptError: The row was not written by the registry.
        IncarnationChangedError: It is behind the latest head seen.
    """
    last = scope.seen and scope.seen.last
    row = scope.execute(_head, {"namespace": scope.namespace}).mappings().one_or_none()
    if row is None:
        raise NamespaceNotFoundError(scope.namespace)
    require_readable(scope.namespace, {**row})
    found = Head(**row)
    if scope.seen and last:
        scope.seen.take(Position(found.revision, found.incarnation, found.hash), last)
    return found


def list_all(conn: Connection) -> list[dict[str, Any]]:
    """Return name, incarnation, revision, head_hash and capsule_count of each, sorted by name."""
    return [{**row} for row in conn.execute(_listing).mappings()]


def drop(unit: Unit) -> None:
    """Delete the namespace that *unit* holds, with everything registered and all its history."""
    namespace = unit.namespace
    # The triggers refuse to delete anything beyond the mark of pruning.
    everything = update(namespaces).where(namespaces.c.name == namespace)
    unit.execute(everything.values(compacted_revision=namespaces.c.revision))
    for table in (capsules, leases, events, revisions, manifests):
        unit.execute(delete(table).where(table.c.namespace == namespace))
    unit.execute(delete(namespaces).where(namespaces.c.name == namespace))
