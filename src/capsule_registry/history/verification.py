"""
Verification: a namespace's history is whole, and its live tables match it.

The history is replayed revision by revision (see `replay`); then every live row, derived ones
included, is compared with the replayed state.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, func, select

from capsule_registry.canonical_json import canonical_json
from capsule_registry.entities.derived_rows import DERIVED, derive
from capsule_registry.errors import InvalidManifestError
from capsule_registry.history import revisions
from capsule_registry.history.replay import Discrepancy, Replay, json_object
from capsule_registry.manifest.manifest import CapsuleManifest
from capsule_registry.models.new_capsule import tools_of_json
from capsule_registry.models.uplink import capability_mask
from capsule_registry.schema.row_images import SUBJECTS, row_image
from capsule_registry.schema.tables import (
    capsules,
    events,
    leases,
    manifests,
    uplinks,
    uuid_mappings,
)
from capsule_registry.schema.tables import namespaces as namespaces_table
from capsule_registry.schema.tables import revisions as revisions_table
from capsule_registry.unit_of_work import namespaces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from sqlalchemy import Select, Table

    from capsule_registry.models.records import Anchor
    from capsule_registry.unit_of_work.namespaces import Head
    from capsule_registry.unit_of_work.queries import Row, Scope

#: The most rows per fetch.
_FETCHED_AT_ONCE: Final = 500
_capsules = (
    select(
        capsules,
        manifests.c.format.label("manifest_format"),
        manifests.c.text.label("manifest_text"),
    )
    .outerjoin(
        manifests,
        (manifests.c.namespace == capsules.c.namespace)
        & (manifests.c.digest == capsules.c.manifest_digest),
    )
    .where(capsules.c.namespace == bindparam("namespace"))
)


@dataclass(frozen=True, slots=True)
class Verification:
    """The result: where the history ends, how much was read, and the discrepancies."""

    revision: int
    hash: str
    revision_count: int
    event_count: int
    discrepancies: tuple[Discrepancy, ...]

    @property
    def ok(self) -> bool:
        """Whether there are no discrepancies."""
        return not self.discrepancies


def verify(scope: Scope, anchor: Anchor | None, progress: Callable[[int], object]) -> Verification:
    """
    Verify the whole history in one snapshot: against itself, the live rows and *anchor*.

    Args:
        scope: On a connection that reads one snapshot.
        anchor: Kept elsewhere; without it, a cut tail or a rewrite to the end goes unnoticed.
        progress: Called after each batch with the last revision read.
    """
    head = namespaces.head(scope)
    replay = Replay(scope.namespace)
    with replay.reading("the history, or what is left of it"):
        _follow(scope, head, replay, anchor, progress)
    _verify_head(replay, head)
    _report_strays(scope, replay, head)
    _compare_live_rows(scope, replay, max(scope.moment().time, head.last_commit_at))
    return Verification(
        replay.revision,
        replay.hash,
        replay.revision_count,
        replay.event_count,
        tuple(replay.discrepancies),
    )


def _follow(
    scope: Scope,
    head: Head,
    replay: Replay,
    anchor: Anchor | None,
    progress: Callable[[int], object],
) -> None:
    if head.compacted_revision:
        replay.begin_after(scope, head.compacted_revision)
    before = None
    while batch := revisions.after(scope, replay.revision):
        for row, of_revision in batch:
            if before is None:
                before = row["previous_hash"] if head.compacted_revision else replay.hash
                replay.hash = before
                _verify_anchor(replay, anchor)
            replay.follow(row, of_revision)
            _verify_anchor(replay, anchor)
        progress(replay.revision)
    replay.verify_pruning(head.compacted_revision, before or "")
    if anchor is not None and anchor.revision < head.compacted_revision:
        replay.report(
            "anchor", f"is older than what was pruned: revision {head.compacted_revision}"
        )
    if anchor is not None and anchor.revision > replay.revision:
        replay.report("head", f"is before the anchor, revision {anchor.revision}: a tail was cut")


def _verify_anchor(replay: Replay, anchor: Anchor | None) -> None:
    if anchor is None or anchor.revision != replay.revision:
        return
    if (anchor.namespace, anchor.hash) != (replay.namespace, replay.hash):
        replay.report(f"revision {anchor.revision}", "is not the one that was anchored")


def _verify_head(replay: Replay, head: Head) -> None:
    if (head.revision, head.hash) != (replay.revision, replay.hash):
        said = f"revision {head.revision}, the history ends with {replay.revision}"
        replay.report("head", f"says {said}, or with another hash")
    if head.last_commit_at != replay.committed_at:
        replay.report("head", f"last_commit_at is {head.last_commit_at}: not that of its revision")
    if head.incarnation != replay.incarnation:
        replay.report("head", "has an incarnation that the history knows nothing of")


def _report_strays(scope: Scope, replay: Replay, head: Head) -> None:
    """Report rows outside the history's range, which the replay does not reach."""
    for table, first in ((events, 1), (revisions_table, head.compacted_revision + 1)):
        for outside in (table.c.revision < first, table.c.revision > head.revision):
            found = select(func.count()).where(table.c.namespace == scope.namespace, outside)
            if count := scope.scalar(found):
                replay.report(table.name, f"{count} rows lie outside of the history")


def _compare_live_rows(scope: Scope, replay: Replay, now: datetime) -> None:
    """Report to *replay* every row, derived ones included, that differs from its state."""
    expected: Counter[str] = Counter()
    each = partial(_each, scope, replay)
    each(_capsules, capsules, partial(_verify_capsule, replay, expected))
    for table_of_rows in (uplinks, uuid_mappings, leases):
        each(_of(table_of_rows), table_of_rows, partial(_verify_row, replay, table_of_rows, now))
    each(_of(manifests), manifests, partial(_verify_manifest, replay))
    for table in DERIVED:
        each(_of(table), table, partial(_verify_derived, replay, expected, table))
    _report_missing(scope, replay, expected)


def _of(table: Table) -> Select[Any]:
    return select(table).where(table.c.namespace == bindparam("namespace"))


def _each(
    scope: Scope,
    replay: Replay,
    statement: Select[Any],
    table: Table,
    check: Callable[[Row], None],
) -> None:
    key = next(column.name for column in table.primary_key if column.name != "namespace")
    streamed = scope.conn.execution_options(yield_per=_FETCHED_AT_ONCE)
    parameters = {"namespace": scope.namespace}
    with (
        replay.reading(f"{table.name}, what is left of it"),
        streamed.execute(statement, parameters) as found,
    ):
        for row in found.mappings():
            with replay.reading(f"{table.name} {row[key]}"):
                check(row)


def _verify_capsule(replay: Replay, expected: Counter[str], row: Row) -> None:
    _compare_row(replay, capsules, row)
    if row["registered_at"] is not None:
        expected.update(_derived_lines(replay, row))


def _verify_row(replay: Replay, table: Table, now: datetime, row: Row) -> None:
    _compare_row(replay, table, row)
    if table is uplinks and row["capability_mask"] != capability_mask(row):
        replay.report(f"uplinks {row['id']}", "capability_mask is not what the flags say")
    if table is leases and row["expires_at"] > now + timedelta(milliseconds=row["ttl_ms"]):
        replay.report(f"leases {row['id']}", f"lasts until {row['expires_at']}: too long")


def _verify_manifest(replay: Replay, row: Row) -> None:
    where, text = f"manifests {row['digest']}", row["text"]
    replay.digests.discard(row["digest"])
    if not isinstance(text, str):
        raise TypeError("the text of a manifest is no text")
    if hashlib.sha256(text.encode()).hexdigest() != row["digest"]:
        replay.report(where, "was changed: its digest is another")
    if (row["format"] == "json") != text.startswith("{"):
        replay.report(where, "format is not that of its text")


def _verify_derived(replay: Replay, expected: Counter[str], table: Table, row: Row) -> None:
    line = _line(table, row)
    if expected[line]:
        expected[line] -= 1
    else:
        replay.report(line, "is there, and no manifest says so")


def _compare_row(replay: Replay, table: Table, row: Row) -> None:
    subject = str(row[SUBJECTS[table].name])
    expected = replay.state.pop((table.name, subject), None)
    found = row_image(table, row)
    if expected is None:
        replay.report(f"{table.name} {subject}", "is there, and the history knows nothing of it")
    elif expected != found:
        difference = _difference(json_object(expected), json_object(found))
        replay.report(f"{table.name} {subject}", difference)


def _difference(expected: dict[str, Any], found: dict[str, Any]) -> str:
    names = sorted({*expected, *found})
    return "; ".join(
        f"{name} is {found.get(name)!r}, by the history {expected.get(name)!r}"
        for name in names
        if expected.get(name) != found.get(name)
    )


def _derived_lines(replay: Replay, row: Row) -> Iterator[str]:
    """Yield a line for each row derived from a capsule's manifest, and check the manifest."""
    where = f"capsules {row['id']}"
    try:
        manifest = CapsuleManifest.read_back(row["manifest_text"], format=row["manifest_format"])
        reported = tools_of_json(row["reported_tools"])
    except (InvalidManifestError, TypeError, ValueError) as error:
        replay.report(where, f"its manifest cannot be read: {error}")
        return
    if canonical_json(manifest.to_json()) != canonical_json(row["manifest"]):
        replay.report(where, "manifest is not what the text of the manifest says")
    for table in DERIVED:
        for derived in derive(table, row, manifest, reported):
            yield _line(table, derived)


def _line(table: Table, row: Row) -> str:
    values = {column.name: row[column.name] for column in table.c if column.name != "namespace"}
    return f"{table.name} {canonical_json(values)}"


def _report_missing(scope: Scope, replay: Replay, expected: Counter[str]) -> None:
    replay.state.pop((namespaces_table.name, scope.namespace), None)
    for kind, subject in replay.state:
        replay.report(f"{kind} {subject}", "is not there, and the history says it is")
    for line in expected.elements():
        replay.report(line, "is not there, and the manifest says it is")
    for digest in sorted(replay.digests):
        replay.report(f"manifests {digest}", "is not there, and the history needs it")
