"""
May the sender of this message do that?

Decided from the rows that an auditor sees: the UUID, its lease, the capsule's state and its grants,
all read in one statement. Every failure denies.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import and_, bindparam, select

from capsule_registry import leases
from capsule_registry.chain import UNREADABLE
from capsule_registry.errors import (
    HistoryCorruptError,
    InvalidUuidError,
    NamespaceNotFoundError,
)
from capsule_registry.identifiers import CapsuleId, to_uuid
from capsule_registry.permissions import RULES, covering, is_understood, plain_text
from capsule_registry.queries import Query
from capsule_registry.records import CapsuleState
from capsule_registry.tables import capsules, grants, namespaces, uuid_mappings
from capsule_registry.tables import leases as leases_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from capsule_registry.scope import Row, Scope


class Why(StrEnum):
    """What a decision rests on."""

    GRANTED = "granted"
    #: The UUID is not filed, or its lease has run out.
    UNKNOWN_UUID = "unknown_uuid"
    #: It is filed under an id of which no capsule is registered.
    NOT_REGISTERED = "not_registered"
    #: The capsule is in another state than ready.
    NOT_READY = "not_ready"
    #: There is no such capability.
    UNKNOWN_CAPABILITY = "unknown_capability"
    #: The value is missing, or none that can be asked for with this capability.
    MALFORMED_VALUE = "malformed_value"
    #: No grant of the capsule covers the value.
    NOT_GRANTED = "not_granted"
    #: What is stored cannot be read as what the registry writes.
    UNREADABLE = "unreadable"
    #: The answer came after the deadline.
    TOO_LATE = "too_late"


class Decision(BaseModel):
    """
    Whether the sender may, why, and as of which revision.

    `capsule_id` is what the UUID is filed under; `grant` the entry of the manifest that allows it.
    `revision` is `None` only where not even that could be read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    allowed: bool
    why: Why
    capsule_id: CapsuleId | None = None
    grant: str | None = None
    revision: int | None = None


#: The head, and as far as there are any: the UUID, its lease, its capsule, and that one's grants.
STANDING: Final = Query(
    uuid_mappings,
    ("uuid",),
    select(
        namespaces.c.revision,
        uuid_mappings.c.capsule_id,
        uuid_mappings.c.lease_id,
        *leases.ENDS,
        capsules.c.registered_revision,
        capsules.c.state,
        grants.c.value,
    )
    .outerjoin(
        uuid_mappings,
        and_(
            uuid_mappings.c.namespace == namespaces.c.name,
            uuid_mappings.c.uuid == bindparam("uuid"),
        ),
    )
    .outerjoin(leases_table, leases.OF_UUID)
    .outerjoin(
        capsules,
        and_(
            capsules.c.namespace == uuid_mappings.c.namespace,
            capsules.c.id == uuid_mappings.c.capsule_id,
        ),
    )
    .outerjoin(
        grants,
        and_(
            grants.c.namespace == capsules.c.namespace,
            grants.c.capsule_id == capsules.c.id,
            grants.c.capability == bindparam("capability"),
        ),
    )
    .where(namespaces.c.name == bindparam("namespace"))
    .order_by(grants.c.position),
)


def check(scope: Scope, uuid: object, capability: object, value: object) -> Decision:
    """
    Decide; what is wrong with the arguments, or with the rows, denies.

    Raises:
        NamespaceNotFoundError: The namespace was dropped, so there is nobody to ask.
    """
    asked = plain_text(capability)
    known = asked if asked in RULES else None
    try:
        rows = scope.rows(STANDING, uuid=_uuid(uuid), capability=known)
        if not rows:
            raise NamespaceNotFoundError(scope.namespace)
        return _decide(scope, rows, known, value)
    except UNREADABLE:
        return Decision(allowed=False, why=Why.UNREADABLE)


def _uuid(uuid: object) -> UUID | None:
    """Return the UUID; what is none is filed nowhere."""
    try:
        return uuid if isinstance(uuid, UUID) else to_uuid(plain_text(uuid) or "")
    except InvalidUuidError:
        return None


def _decide(scope: Scope, rows: Sequence[Row], capability: str | None, value: object) -> Decision:
    row, revision = rows[0], rows[0]["revision"]
    if not isinstance(revision, int):
        raise HistoryCorruptError(f"namespace {scope.namespace}", "its revision is no number")
    if not isinstance(row["registered_revision"], int | None):
        raise HistoryCorruptError("a capsule", "its registered_revision is no number")
    if row["capsule_id"] is None or not leases.stands(scope, row):
        return Decision(allowed=False, why=Why.UNKNOWN_UUID, revision=revision)
    capsule_id = CapsuleId(row["capsule_id"])
    grant = None
    if row["registered_revision"] is None:
        why = Why.NOT_REGISTERED
    elif row["state"] != CapsuleState.READY:
        why = Why.NOT_READY
    elif capability is None:
        why = Why.UNKNOWN_CAPABILITY
    else:
        entries = [row["value"] for row in rows if isinstance(row["value"], str)]
        grant = covering(capability, entries, value)
        if grant is not None:
            why = Why.GRANTED
        else:
            understood = is_understood(capability, value)
            why = Why.NOT_GRANTED if understood else Why.MALFORMED_VALUE
    return Decision(
        allowed=grant is not None, why=why, capsule_id=capsule_id, grant=grant, revision=revision
    )
