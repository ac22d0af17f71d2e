"""Reads of registered capsules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError
from sqlalchemy import and_, bindparam, select

from capsule_registry.errors import CapsuleNotFoundError, HistoryCorruptError
from capsule_registry.identifiers import CapsuleId, known_id
from capsule_registry.manifest.forms import ManifestForm
from capsule_registry.manifest.manifest import CapsuleManifest
from capsule_registry.models.capsule_page import EVERY_CAPSULE, CapsulePage
from capsule_registry.models.records import CapsuleState, CapsuleSummary, RegisteredCapsule
from capsule_registry.schema.row_images import UNREADABLE
from capsule_registry.schema.tables import capsules, manifests, namespaces
from capsule_registry.unit_of_work.high_water_mark import HEAD
from capsule_registry.unit_of_work.queries import (
    ORDER,
    Query,
    counting,
    matching,
    page,
    query,
    rows_by,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from capsule_registry.unit_of_work.queries import LookupScope, Row, Scope

#: No limit: more rows than there can be.
_ALL: Final = 2**31 - 1
_OF_CAPSULE: Final = and_(
    manifests.c.namespace == capsules.c.namespace, manifests.c.digest == capsules.c.manifest_digest
)
_WHOLE: Final = (
    capsules,
    manifests.c.format.label("manifest_format"),
    manifests.c.text.label("manifest_text"),
)
_WITH_MANIFEST: Final = (
    select(*_WHOLE)
    .join(manifests, _OF_CAPSULE)
    .order_by(*(capsules.c[name] for name in ORDER[capsules.name]))
)
_SUMMARY: Final = tuple(CapsuleSummary.model_fields)


def _whole(*by: str, among: tuple[str, ...] = ()) -> Query:
    statement = _WITH_MANIFEST.where(matching(capsules, by, among))
    found_by = rows_by(capsules, *by, *among)
    return Query(capsules, by, statement, among, with_manifest=True, found_by=found_by)


_all = _whole()
_by_id = _whole("id")
#: The capsule of an id; null if none is registered.
_beside_head = Query(
    capsules,
    ("id",),
    select(*HEAD, *_WHOLE)
    .select_from(namespaces)
    .outerjoin(
        capsules,
        and_(
            capsules.c.namespace == namespaces.c.name,
            capsules.c.id == bindparam("id"),
            capsules.c.registered_revision.is_not(None),
        ),
    )
    .outerjoin(manifests, _OF_CAPSULE)
    .where(namespaces.c.name == bindparam("namespace")),
    with_manifest=True,
    with_head=True,
)
_among = _whole(among=("id",))
_outlines = query(capsules, columns=("id", "manifest_digest", "source_dir"))
_BY: Final[tuple[tuple[str, ...], ...]] = ((), ("form",), ("state",), ("form", "state"))
_pages: Final = {
    (columns, by): page(capsules, *by, columns=columns)
    for columns in (("id",), _SUMMARY)
    for by in _BY
}
_place = query(capsules, "id", columns=("registered_revision", "position"), is_ordered=False)
_states = query(capsules, among=("id",), columns=("id", "state"), is_ordered=False)
_is_there = query(capsules, "id", columns=("id",), is_ordered=False)
_count = counting(capsules)
_count_of_state = counting(capsules, "state")


def get(scope: LookupScope, capsule_id: str) -> RegisteredCapsule | None:
    """Return the registered capsule of that id, or `None`."""
    row = scope.row(_beside_head, id=capsule_id)
    return None if row is None or row["id"] is None else restored(row)


def find_row(scope: LookupScope, capsule_id: str) -> Row | None:
    """Return the row of the registered capsule of that id, with its manifest, or `None`."""
    return scope.row(_by_id, id=capsule_id)


def require_row(scope: LookupScope, capsule_id: str) -> Row:
    """
    Return the row of the registered capsule of that id, with its manifest.

    Raises:
        CapsuleNotFoundError: No such capsule is registered.
    """
    found = scope.rows(_by_id, id=capsule_id)
    if not found:
        raise CapsuleNotFoundError(str(capsule_id))
    return found[0]


def is_registered(scope: Scope, capsule_id: str) -> bool:
    """Return whether a capsule of that id is registered."""
    return scope.row(_is_there, id=capsule_id) is not None


def ids(scope: Scope, shown: CapsulePage = EVERY_CAPSULE) -> list[CapsuleId]:
    """Return the ids of the registered capsules that are *shown*, in order."""
    wanted, values = _page(scope, ("id",), shown)
    return [known_id(row["id"]) for row in scope.rows(wanted, **values)]


def summaries(scope: Scope, shown: CapsulePage = EVERY_CAPSULE) -> list[CapsuleSummary]:
    """Return the summaries of the capsules that `ids` would list."""
    wanted, values = _page(scope, _SUMMARY, shown)
    return [_summary(row) for row in scope.rows(wanted, **values)]


def _page(
    scope: Scope, columns: tuple[str, ...], shown: CapsulePage
) -> tuple[Query, dict[str, Any]]:
    """Return the query for what is *shown*, and its parameters."""
    place = None if shown.after is None else scope.row(_place, id=shown.after)
    if shown.after is not None and place is None:
        raise CapsuleNotFoundError(str(shown.after))
    values: dict[str, Any] = {
        "after_revision": place["registered_revision"] if place else 0,
        "after_position": place["position"] if place else 0,
        "most": shown.most or _ALL,
    }
    return _pages[columns, tuple(shown.conditions)], {**values, **shown.conditions}


def states(scope: Scope, ids: Iterable[CapsuleId]) -> dict[str, CapsuleState]:
    """Return the states of those of *ids* that are registered."""
    found = scope.rows(_states, id=[*ids])
    return {row["id"]: CapsuleState(row["state"]) for row in found}


def outlines(scope: Scope) -> Sequence[Row]:
    """Return id, digest and directory of each registered capsule, in order of registration."""
    return scope.rows(_outlines)


def rows_of(scope: Scope, ids: Sequence[CapsuleId]) -> Sequence[Row]:
    """Return the rows of the registered capsules of those *ids*, in order of registration."""
    return scope.rows(_among, id=list(ids))


def values(scope: Scope) -> Iterator[RegisteredCapsule]:
    """Return all registered capsules in order of registration, read by one query."""
    return map(restored, scope.rows(_all))


def count(scope: Scope, state: CapsuleState | None = None) -> int:
    """Return how many capsules are registered, or are in that state."""
    return scope.count(_count) if state is None else scope.count(_count_of_state, state=state)


def restored(row: Row) -> RegisteredCapsule:
    """
    Return the capsule of a row with its manifest.

    Raises:
        HistoryCorruptError: The row was not written by the registry.
    """
    try:
        manifest = CapsuleManifest.restore(
            row["manifest"],
            format=row["manifest_format"],
            text=row["manifest_text"],
            form=ManifestForm(row["form"]),
            rules=row["rules"],
        )
        return record_of(row, manifest)
    except (ValidationError, ValueError) as error:
        raise HistoryCorruptError(f"capsule {row['id']}", str(error)) from error


def _summary(row: Row) -> CapsuleSummary:
    try:
        return CapsuleSummary(**{name: row[name] for name in _SUMMARY})
    except ValidationError as error:
        raise HistoryCorruptError(f"capsule {row['id']}", str(error)) from error


def read_back(row: Row, language: Any, text: Any) -> CapsuleManifest:  # noqa: ANN401 - as stored
    """
    Return the manifest of a row of the history, of its stored *text*.

    Raises:
        HistoryCorruptError: The row or the text was not written by the registry.
    """
    try:
        return CapsuleManifest.read_back(
            text, format=language, form=ManifestForm(row["form"]), rules=row["rules"]
        )
    except UNREADABLE as error:
        raise HistoryCorruptError(f"the manifest of capsule {row['id']}", str(error)) from error


def record_of(row: Row, manifest: CapsuleManifest) -> RegisteredCapsule:
    """Return the capsule of a row and its *manifest*."""
    capsule_id = row["id"]
    return RegisteredCapsule.model_construct(
        id=capsule_id if type(capsule_id) is CapsuleId else known_id(capsule_id),
        version=row["version"],
        manifest=manifest,
        manifest_text=manifest.text,
        manifest_digest=row["manifest_digest"],
        source_dir=row["source_dir"],
        state=CapsuleState(row["state"]),
        state_reason=row["state_reason"],
        generation=row["generation"],
        restored_generation=row["restored_generation"],
        modified_revision=row["modified_revision"],
        registered_at=row["registered_at"],
        form=ManifestForm(row["form"]),
        rules=row["rules"],
    )
