"""
Verification: a namespace's history is whole, and its live tables and the schema match it.

The history is replayed revision by revision (see `replay`); then every live row, derived ones
included, is compared with the replayed state, and the schema with what the migrations make.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, exists, func, select

from capsule_registry.canonical_json import canonical_json
from capsule_registry.entities.derived_rows import DERIVED, derive
from capsule_registry.errors import InvalidManifestError
from capsule_registry.history import revisions
from capsule_registry.history.replay import Discrepancy, Replay, json_object
from capsule_registry.manifest.forms import ManifestForm
from capsule_registry.manifest.manifest import CapsuleManifest
from capsule_registry.models.new_capsule import tools_of_json
from capsule_registry.models.uplink import capability_mask
from capsule_registry.schema.drift import find_drift
from capsule_registry.schema.row_images import SUBJECTS, row_image
from capsule_registry.schema.stored_forms import enforces_types, misstored, with_stored
from capsule_registry.schema.tables import (
    capsules,
    events,
    leases,
    manifests,
    metadata,
    uplinks,
    uuid_mappings,
)
from capsule_registry.schema.tables import namespaces as namespaces_table
from capsule_registry.schema.tables import revisions as revisions_table
from capsule_registry.unit_of_work import namespaces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Table

    from capsule_registry.clocks import Moment
    from capsule_registry.models.records import Anchor
    from capsule_registry.unit_of_work.namespaces import Head
    from capsule_registry.unit_of_work.queries import Row, Scope

_OF_CAPSULE: Final = (manifests.c.namespace == capsules.c.namespace) & (
    manifests.c.digest == capsules.c.manifest_digest
)
#: The most rows per fetch.
_FETCHED_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Verification:
    """The result: where the history ends, how much was read, and the discrepancies."""

    revision: int
    hash: str
    revision_count: int
    event_count: int
    discrepancies: tuple[Discrepancy, ...]
    #: The other namespaces of the database, which were not looked at.
    others: tuple[str, ...] = ()
    #: What of the schema was not compared with what the migrations make, and why.
    not_compared: tuple[str, ...] = ()

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
    _report_strays(scope, replay)
    others = _others(scope, replay)
    _compare_live_rows(scope, replay, scope.moment().not_before(head.last_commit_at))
    not_compared = _report_drift(scope, replay)
    return Verification(
        replay.revision,
        replay.hash,
        replay.revision_count,
        replay.event_count,
        tuple(replay.discrepancies),
        others,
        not_compared,
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
    if head.runtime_version != replay.runtime_version:
        named = f"{head.runtime_version}, by the history {replay.runtime_version}"
        replay.report("head", f"runtime_version is {named}")


def _report_strays(scope: Scope, replay: Replay) -> None:
    """Report rows that the replay does not reach: outside the history's range, or in between."""
    for table, reached in (
        (events, replay.kept[0] + replay.event_count),
        (revisions_table, replay.revision_count),
    ):
        count = scope.scalar(select(func.count()).where(table.c.namespace == scope.namespace))
        if count != reached:
            replay.report(table.name, f"has {count} rows, {reached} of them in the history")


def _others(scope: Scope, replay: Replay) -> tuple[str, ...]:
    """Return the other namespaces, and report rows that belong to none."""
    names = scope.execute(select(namespaces_table.c.name)).scalars().all()
    for name in names:
        if not isinstance(name, str):
            replay.report("namespaces", f"the name {name!r} is no text")
    for table in metadata.sorted_tables:
        if "namespace" in table.c:
            is_known = exists().where(namespaces_table.c.name == table.c.namespace)
            found = select(func.count()).select_from(table).where(~is_known)
            if count := scope.scalar(found):
                replay.report(table.name, f"{count} rows belong to no namespace")
    return tuple(sorted(str(name) for name in names if name != scope.namespace))


def _report_drift(scope: Scope, replay: Replay) -> tuple[str, ...]:
    """Report what of the schema is not as it was made, and return what cannot be compared."""
    findings = [*find_drift(scope.conn)]
    for found in findings:
        if found.problem is not None:
            replay.report(found.name, found.problem)
    return tuple(f"{one.name}: {one.value}" for one in findings if one.problem is None)


def _compare_live_rows(scope: Scope, replay: Replay, now: Moment) -> None:
    """Report to *replay* every row, derived ones included, that differs from its state."""
    expected: Counter[str] = Counter()
    each = partial(_each, scope, replay)
    each(capsules, partial(_verify_capsule, replay, expected))
    each(uplinks, partial(_verify_uplink, replay))
    each(uuid_mappings, partial(_compare_row, replay, uuid_mappings))
    each(leases, partial(_verify_lease, replay, now))
    each(manifests, partial(_verify_manifest, replay))
    for table in DERIVED:
        each(table, partial(_verify_derived, replay, expected, table))
    _report_missing(scope, replay, expected)


def _each(scope: Scope, replay: Replay, table: Table, check: Callable[[Row], None]) -> None:
    """Check each row of *table*: the form in which it is stored, and by *check*."""
    dialect = scope.conn.dialect
    is_typed = enforces_types(dialect.name)
    statement = with_stored(table, is_typed=is_typed)
    if table is capsules:
        statement = statement.add_columns(
            manifests.c.format.label("manifest_format"), manifests.c.text.label("manifest_text")
        ).outerjoin(manifests, _OF_CAPSULE)
    key = next(column.name for column in table.primary_key if column.name != "namespace")
    wanted = statement.where(table.c.namespace == bindparam("namespace"))
    streamed = wanted.execution_options(yield_per=_FETCHED_AT_ONCE)
    with (
        replay.reading(f"{table.name}, what is left of it"),
        scope.execute(streamed, {"namespace": scope.namespace}) as found,
    ):
        for row in found.mappings():
            with replay.reading(f"{table.name} {row[key]}"):
                for name in misstored(table, row, dialect, is_typed=is_typed):
                    replay.report(f"{table.name} {row[key]}", f"{name} is stored in another form")
                check(row)


def _verify_capsule(replay: Replay, expected: Counter[str], row: Row) -> None:
    _compare_row(replay, capsules, row)
    if not replay.may_be_created(row["id"], row["created_revision"]):
        where = f"capsules {row['id']}"
        replay.report(where, f"created_revision is {row['created_revision']}, by no event")
    if row["registered_at"] is not None:
        expected.update(_derived_lines(replay, row))


def _verify_uplink(replay: Replay, row: Row) -> None:
    _compare_row(replay, uplinks, row)
    if row["capability_mask"] != capability_mask(row):
        replay.report(f"uplinks {row['id']}", "capability_mask is not what the flags say")


def _verify_lease(replay: Replay, now: Moment, row: Row) -> None:
    """Renewals are not in the history, so only what no renewal could have done is noticed."""
    _compare_row(replay, leases, row)
    where = f"leases {row['id']}"
    if row["expires_at"] > now.time + timedelta(milliseconds=row["ttl_ms"]):
        replay.report(where, f"lasts until {row['expires_at']}: too long")
    if now.boot_id is not None and row["boot_id"] is None:
        replay.report(where, "boot_id is missing, without which its uptime does not count")
    uptime = now.uptime_ms
    is_of_this_boot = uptime is not None and row["boot_id"] == now.boot_id
    if is_of_this_boot and row["expires_uptime_ms"] > uptime + row["ttl_ms"]:
        replay.report(where, f"lasts until {row['expires_uptime_ms']} ms of uptime: too long")


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
        manifest = CapsuleManifest.read_back(
            row["manifest_text"],
            format=row["manifest_format"],
            form=ManifestForm(row["form"]),
            rules=row["rules"],
        )
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
