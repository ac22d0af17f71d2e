"""Namespaces: independent registries inside one database."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import bindparam, insert, select

from capsule_registry.canonical import canonical_json
from capsule_registry.chain import GENESIS_HASH
from capsule_registry.schema import FoundSchema
from capsule_registry.tables import namespaces
from capsule_registry.unit import Unit

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Connection

    from capsule_registry.unit import Scope

_found = select(namespaces.c.name).where(namespaces.c.name == bindparam("namespace"))


def create(conn: Connection, namespace: str, clock: Callable[[], datetime]) -> Unit:
    """Make the namespace and return the unit, not yet closed, that files its creation."""
    at, incarnation = clock(), uuid4()
    conn.execute(
        insert(namespaces).values(
            name=namespace,
            incarnation=incarnation,
            revision=0,
            head_hash=GENESIS_HASH,
            compacted_revision=0,
            last_commit_at=at,
        )
    )
    unit = Unit(
        conn,
        namespace,
        revision=1,
        at=at,
        incarnation=incarnation,
        previous_hash=GENESIS_HASH,
        schema=FoundSchema(None, None),
    )
    unit.events.append(
        {
            "namespace": namespace,
            "revision": 1,
            "position": 0,
            "action": "namespace.created",
            "kind": namespaces.name,
            "subject": namespace,
            "capsule_id": None,
            "old_row": None,
            "new_row": canonical_json({"incarnation": str(incarnation), "name": namespace}),
        }
    )
    return unit


def exists(scope: Scope) -> bool:
    """Say whether the scope's namespace is there."""
    return scope.conn.scalar(_found, {"namespace": scope.namespace}) is not None
