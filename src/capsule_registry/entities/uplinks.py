"""Uplinks: which capsule connects to which platform, and what the connection can do."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic import ValidationError

from capsule_registry.entities.reservations import release, reserve
from capsule_registry.errors import HistoryCorruptError, UplinkAlreadyRegisteredError
from capsule_registry.identifiers import MAX_ID_LENGTH, CapsuleId, UplinkId, to_uuid
from capsule_registry.manifest.matching import normalize_platform
from capsule_registry.manifest.parts import UplinkProfile
from capsule_registry.models.records import RegisteredUplink
from capsule_registry.models.storable import MAX_NAME, storable_text
from capsule_registry.models.uplink import (
    UPLINK_FLAGS,
    UplinkCapabilities,
    UplinkDescriptor,
    UplinkSource,
    capability_mask,
    to_profile,
)
from capsule_registry.plain_values import plain_time
from capsule_registry.schema.tables import uplinks
from capsule_registry.unit_of_work.queries import counting, put_in_order, query

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from capsule_registry.manifest.parts import UplinkDef
    from capsule_registry.unit_of_work.queries import Query, Row, Scope
    from capsule_registry.unit_of_work.unit import Unit

_RECEIVING = UplinkCapabilities.receive_only()
ALL: Final = query(uplinks)
_by_id = query(uplinks, "id", is_ordered=False)
OF_CAPSULE: Final = query(uplinks, "capsule_id")
_first_of_platform = query(uplinks, "platform", limit=1)
_ids = query(uplinks, columns=("id",))
_among = query(uplinks, among=("id",), is_ordered=False)
_count = counting(uplinks)


class Filed(NamedTuple):
    """An uplink, its owner, and whether the manifest declares it or it was filed by hand."""

    capsule_id: CapsuleId
    descriptor: UplinkDescriptor
    declared: bool


@cache
def _filtered(by: tuple[str, ...], among: tuple[str, ...]) -> Query:
    return query(uplinks, *by, among=among, is_ordered=False)


def get(scope: Scope, uplink_id: UUID) -> UplinkDescriptor | None:
    """Return the uplink of that id, or `None`."""
    row = scope.row(_by_id, id=uplink_id)
    return descriptor_of(row) if row else None


def find_by_platform(scope: Scope, text: str) -> UplinkDescriptor | None:
    """Return the first uplink, in order of registration, whose stored platform is *text*."""
    row = scope.row(_first_of_platform, platform=text)
    return descriptor_of(row) if row else None


def find_with_masks(scope: Scope, masks: Sequence[int]) -> list[UplinkDescriptor]:
    """Return the uplinks that have one of *masks*, in order of registration."""
    return [found.descriptor for found in find(scope, masks=masks)]


def find(
    scope: Scope, /, *, masks: Sequence[int] | None, **values: str | None
) -> list[RegisteredUplink]:
    """Return the uplinks with one of *masks*, if any are given, and *values* in their columns."""
    if masks is not None and not masks:
        return []
    wanted: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
    among = {} if masks is None else {"capability_mask": masks}
    found = scope.rows(_filtered(tuple(wanted), tuple(among)), **wanted, **among)
    return [
        RegisteredUplink(capsule_id=CapsuleId(row["capsule_id"]), descriptor=descriptor_of(row))
        for row in put_in_order(uplinks, found)
    ]


def descriptors(scope: Scope) -> list[UplinkDescriptor]:
    """Return all uplinks, in order of registration."""
    return [descriptor_of(row) for row in scope.rows(ALL)]


def ids(scope: Scope) -> list[UUID]:
    """Return the ids of all uplinks, in order of registration."""
    return [row["id"] for row in scope.rows(_ids)]


def rows_of(scope: Scope, ids: Sequence[UUID]) -> Sequence[Row]:
    """Return the rows of the uplinks of those *ids*, in order of registration."""
    return put_in_order(uplinks, scope.rows(_among, id=list(ids)))


def count(scope: Scope) -> int:
    """Return how many uplinks there are."""
    return scope.count(_count)


def storable(descriptor: UplinkDescriptor) -> UplinkDescriptor:
    """Return *descriptor* by value, if every database can hold it."""
    source, metadata = descriptor.source, descriptor.metadata.items()
    return UplinkDescriptor.model_construct(
        id=UplinkId(int=to_uuid(descriptor.id).int),
        name=storable_text("uplink name", descriptor.name, MAX_NAME),
        platform=storable_text("platform", descriptor.platform, MAX_NAME),
        source=UplinkSource.model_construct(
            kind=source.kind,
            capsule_id=storable_text("source", source.capsule_id, MAX_ID_LENGTH),
        ),
        capabilities=UplinkCapabilities.from_mask(capability_mask(vars(descriptor.capabilities))),
        profile=to_profile(descriptor.profile),
        registered_at=plain_time(descriptor.registered_at),
        metadata={
            storable_text("metadata", key): storable_text("metadata", text)
            for key, text in metadata
        },
    )


def register(unit: Unit, capsule_id: CapsuleId, descriptor: UplinkDescriptor) -> None:
    """File *descriptor* unchanged under *capsule_id*, registered or not."""
    restore(unit, [Filed(capsule_id, descriptor, declared=False)])


def restore(unit: Unit, filed: Sequence[Filed]) -> None:
    """File each of *filed* unchanged, under its capsule's id, registered or not."""
    _refuse_taken(unit, [one.descriptor.id for one in filed])
    reserve(unit, [one.capsule_id for one in filed])
    _insert(unit, [*map(_row, filed)])


def declare(
    unit: Unit, capsule_id: CapsuleId, declared: Iterable[UplinkDef], ids: Iterable[UUID]
) -> None:
    """File a manifest's uplinks under free *ids*: receive-only, with the capsule as source."""
    source = UplinkSource.wasm(capsule_id)
    _insert(
        unit,
        [
            {
                "id": uplink_id,
                "capsule_id": capsule_id,
                "name": uplink.name,
                "platform": normalize_platform(uplink.platform),
                "source_kind": source.kind,
                "source_capsule_id": source.capsule_id,
                "profile": uplink.profile.value,
                **_RECEIVING.__dict__,
                "metadata": {},
                "declared": True,
                "registered_at": unit.at,
            }
            for uplink, uplink_id in zip(declared, ids, strict=True)
        ],
    )


def withdraw(unit: Unit, capsule_id: CapsuleId) -> None:
    """Remove the uplinks that the capsule's manifest declared; those filed by hand stay."""
    declared = [row for row in _of_capsule(unit, capsule_id) if row["declared"]]
    unit.delete(uplinks, declared, "uplink.unregistered")


def unregister(unit: Unit, uplink_id: UUID) -> bool:
    """Remove the uplink; return whether it existed."""
    found = unit.rows(_by_id, id=uplink_id)
    _delete(unit, found)
    return bool(found)


def unregister_of_capsule(unit: Unit, capsule_id: CapsuleId) -> int:
    """Remove all uplinks filed under *capsule_id*, registered or not; return how many."""
    found = _of_capsule(unit, capsule_id)
    _delete(unit, found)
    return len(found)


def _of_capsule(scope: Scope, capsule_id: str) -> Sequence[Row]:
    return scope.rows(OF_CAPSULE, capsule_id=capsule_id)


def _row(filed: Filed) -> dict[str, Any]:
    capsule_id, descriptor, is_declared = filed
    return {
        "id": descriptor.id,
        "capsule_id": capsule_id,
        "name": descriptor.name,
        "platform": descriptor.platform,
        "source_kind": descriptor.source.kind,
        "source_capsule_id": descriptor.source.capsule_id,
        "profile": descriptor.profile.value,
        **descriptor.capabilities.__dict__,
        "metadata": descriptor.metadata,
        "declared": is_declared,
        "registered_at": descriptor.registered_at,
    }


def _insert(unit: Unit, rows: Sequence[dict[str, Any]]) -> None:
    """Insert *rows*, which lack their place in the order."""
    for position, row in enumerate(rows, unit.next_position):
        row |= {"created_revision": unit.revision, "position": position}
    unit.insert(uplinks, rows, "uplink.registered")
    for row in rows:
        unit.log(
            logging.DEBUG,
            "Registered uplink",
            capsule_id=str(row["capsule_id"]),
            uplink_id=str(row["id"]),
            uplink_name=row["name"],
        )


def _refuse_taken(unit: Unit, uplink_ids: Sequence[UUID]) -> None:
    taken = unit.existing({uplinks: uplink_ids})[uplinks]
    for uplink_id in uplink_ids:
        if uplink_id in taken:
            raise UplinkAlreadyRegisteredError(uplink_id)
        taken.add(uplink_id)


def _delete(unit: Unit, found: Sequence[Row]) -> None:
    """Delete uplinks of one owner, and its reservation if nothing else is filed under it."""
    unit.delete(uplinks, found, "uplink.unregistered")
    if found:
        release(unit, found[0]["capsule_id"])


def descriptor_of(row: Row) -> UplinkDescriptor:
    """Return the descriptor of a row as it was given; the platform is not normalised again."""
    try:
        return UplinkDescriptor.model_construct(
            id=UplinkId(int=row["id"].int),
            name=row["name"],
            platform=row["platform"],
            source=UplinkSource.model_validate(
                {"kind": row["source_kind"], "capsule_id": row["source_capsule_id"]}
            ),
            capabilities=UplinkCapabilities.model_validate(
                {flag: row[flag] for flag in UPLINK_FLAGS}
            ),
            profile=UplinkProfile(row["profile"]),
            registered_at=row["registered_at"],
            metadata=row["metadata"],
        )
    except (ValidationError, ValueError) as error:
        raise HistoryCorruptError(f"uplink {row['id']}", str(error)) from error
