"""Namespaces: independent registries inside one database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from sqlalchemy import bindparam, insert, select

from capsule_registry.chain import GENESIS_HASH
from capsule_registry.schema import lock_version
from capsule_registry.tables import namespaces
from capsule_registry.unit import Scope, open_unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from capsule_registry.dialects.dialect import Dialect
    from capsule_registry.unit import Unit

#: Before any clock: the first unit sets the time.
_BEGINNING: Final = datetime(2000, 1, 1, tzinfo=UTC)
_found = select(namespaces.c.name).where(namespaces.c.name == bindparam("namespace"))


def create(
    conn: Connection, namespace: str, dialect: Dialect, clock: Callable[[], datetime] | None
) -> Unit:
    """
    Make the namespace, and return the unit, not yet closed, that files its creation.

    Processes that do so at once take turns: whoever comes second finds it, and files nothing.
    """
    conn.execute(lock_version)
    missing = not exists(Scope(conn, namespace))
    if missing:
        row = {
            "name": namespace,
            "incarnation": uuid4(),
            "revision": 0,
            "head_hash": GENESIS_HASH,
            "compacted_revision": 0,
            "last_commit_at": _BEGINNING,
        }
        conn.execute(insert(namespaces), row)
    unit = open_unit(conn, namespace, dialect, clock)
    if missing:
        unit.created_namespace()
    return unit


def exists(scope: Scope) -> bool:
    """Say whether the scope's namespace is there."""
    return scope.conn.scalar(_found, {"namespace": scope.namespace}) is not None
