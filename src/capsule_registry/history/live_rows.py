"""The live tables, held against what the history leads to."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, select

from capsule_registry.canonical_json import canonical_json
from capsule_registry.entities.derived_rows import PROJECTIONS, derive
from capsule_registry.errors import InvalidManifestError
from capsule_registry.manifest.manifest import CapsuleManifest
from capsule_registry.models.new_capsule import tools_of_json
from capsule_registry.models.uplink import UPLINK_FLAGS
from capsule_registry.schema.tables import (
    capsules,
    leases,
    manifests,
    namespaces,
    uplinks,
    uuid_mappings,
)
from capsule_registry.unit_of_work.hash_chain import SUBJECTS, row_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from sqlalchemy import Select, Table

    from capsule_registry.history.replay import Replay
    from capsule_registry.unit_of_work.scope import Row, Scope

#: How many rows are fetched at once.
_BATCH: Final = 500
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


def compare(scope: Scope, replay: Replay, now: datetime) -> None:
    """Report to *replay* every row that is not as its state says, the derived ones too."""
    expected: Counter[str] = Counter()
    each = partial(_each, scope, replay)
    each(_capsules, capsules, partial(_check_capsule, replay, expected))
    for table in (uplinks, uuid_mappings, leases):
        each(_of(table), table, partial(_check_row, replay, table, now))
    each(_of(manifests), manifests, partial(_check_manifest, replay))
    for projection in PROJECTIONS:
        each(_of(projection), projection, partial(_check_projection, replay, expected, projection))
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
    streamed = scope.conn.execution_options(yield_per=_BATCH)
    parameters = {"namespace": scope.namespace}
    with (
        replay.reading(f"{table.name}, what is left of it"),
        streamed.execute(statement, parameters) as found,
    ):
        for row in found.mappings():
            with replay.reading(f"{table.name} {row[key]}"):
                check(row)


def _check_capsule(replay: Replay, expected: Counter[str], row: Row) -> None:
    _compare_row(replay, capsules, row)
    if row["registered_at"] is not None:
        expected.update(_projections(replay, row))


def _check_row(replay: Replay, table: Table, now: datetime, row: Row) -> None:
    _compare_row(replay, table, row)
    if table is uplinks:
        mask = sum(bool(row[flag]) << bit for bit, flag in enumerate(UPLINK_FLAGS))
        if row["capability_mask"] != mask:
            replay.report(f"uplinks {row['id']}", "capability_mask is not what the flags say")
    if table is leases and row["expires_at"] > now + timedelta(milliseconds=row["ttl_ms"]):
        replay.report(f"leases {row['id']}", f"lasts until {row['expires_at']}: too long")


def _check_manifest(replay: Replay, row: Row) -> None:
    where = f"manifests {row['digest']}"
    replay.digests.discard(row["digest"])
    if hashlib.sha256(row["text"].encode()).hexdigest() != row["digest"]:
        replay.report(where, "was changed: its digest is another")
    if (row["format"] == "json") != row["text"].startswith("{"):
        replay.report(where, "format is not that of its text")


def _check_projection(replay: Replay, expected: Counter[str], table: Table, row: Row) -> None:
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
        difference = _difference(json.loads(expected), json.loads(found or "{}"))
        replay.report(f"{table.name} {subject}", difference)


def _difference(expected: dict[str, Any], found: dict[str, Any]) -> str:
    names = sorted({*expected, *found})
    return "; ".join(
        f"{name} is {found.get(name)!r}, by the history {expected.get(name)!r}"
        for name in names
        if expected.get(name) != found.get(name)
    )


def _projections(replay: Replay, row: Row) -> Iterator[str]:
    """Yield the lines of what follows from a capsule's manifest, and check the manifest."""
    where = f"capsules {row['id']}"
    try:
        manifest = CapsuleManifest.read_back(row["manifest_text"], format=row["manifest_format"])
        reported = tools_of_json(row["reported_tools"])
    except (InvalidManifestError, TypeError, ValueError) as error:
        replay.report(where, f"its manifest cannot be read: {error}")
        return
    if canonical_json(manifest.to_json()) != canonical_json(row["manifest"]):
        replay.report(where, "manifest is not what the text of the manifest says")
    for table in PROJECTIONS:
        for derived in derive(table, row["namespace"], row["id"], manifest, reported):
            yield _line(table, derived)


def _line(table: Table, row: Row) -> str:
    values = {column.name: row[column.name] for column in table.c if column.name != "namespace"}
    return f"{table.name} {canonical_json(values)}"


def _report_missing(scope: Scope, replay: Replay, expected: Counter[str]) -> None:
    replay.state.pop((namespaces.name, scope.namespace), None)
    for kind, subject in replay.state:
        replay.report(f"{kind} {subject}", "is not there, and the history says it is")
    for line in expected.elements():
        replay.report(line, "is not there, and the manifest says it is")
    for digest in sorted(replay.digests):
        replay.report(f"manifests {digest}", "is not there, and the history needs it")
