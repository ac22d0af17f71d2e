"""The live tables, held against what the history leads to."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, select

from capsule_registry.candidates import merged_tools, tools_of_json
from capsule_registry.canonical import canonical_json
from capsule_registry.chain import SUBJECTS, row_image
from capsule_registry.descriptors import UPLINK_FLAGS
from capsule_registry.errors import HistoryCorruptError, InvalidManifestError
from capsule_registry.manifest.manifest import CapsuleManifest
from capsule_registry.tables import (
    capsules,
    grants,
    leases,
    manifests,
    namespaces,
    tools,
    uplinks,
    uuid_mappings,
)
from capsule_registry.tools import grant_rows, tool_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import Select, Table

    from capsule_registry.replay import Replay
    from capsule_registry.scope import Row, Scope

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
    for row in _rows(scope, replay, _capsules, capsules.name):
        _compare_row(replay, capsules, row)
        if row["registered_at"] is not None:
            expected.update(_projections(replay, row))
    for table in (uplinks, uuid_mappings, leases):
        for row in _rows(scope, replay, _of(table), table.name):
            _compare_row(replay, table, row)
            _check_what_has_no_history(replay, table, row, now)
    for row in _rows(scope, replay, _of(manifests), manifests.name):
        if hashlib.sha256(row["text"].encode()).hexdigest() != row["digest"]:
            replay.report(f"manifests {row['digest']}", "was changed: its digest is another")
    for projection in (tools, grants):
        for row in _rows(scope, replay, _of(projection), projection.name):
            _take(replay, expected, _line(projection, row))
    _report_missing(scope, replay, expected)


def _check_what_has_no_history(replay: Replay, table: Table, row: Row, now: datetime) -> None:
    if table is uplinks:
        mask = sum(bool(row[flag]) << bit for bit, flag in enumerate(UPLINK_FLAGS))
        if row["capability_mask"] != mask:
            replay.report(f"uplinks {row['id']}", "capability_mask is not what the flags say")
    if table is leases and row["expires_at"] > now + timedelta(milliseconds=row["ttl_ms"]):
        replay.report(f"leases {row['id']}", f"lasts until {row['expires_at']}: too long")


def _of(table: Table) -> Select[Any]:
    return select(table).where(table.c.namespace == bindparam("namespace"))


def _rows(scope: Scope, replay: Replay, statement: Select[Any], name: str) -> Iterator[Row]:
    streamed = scope.conn.execution_options(yield_per=_BATCH)
    try:
        yield from streamed.execute(statement, {"namespace": scope.namespace}).mappings()
    except HistoryCorruptError as error:
        replay.report(name, f"cannot be read any further: {error}")


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
    """Yield the lines of the tools and grants that a capsule must have, and check its manifest."""
    where = f"capsules {row['id']}"
    try:
        manifest = CapsuleManifest.read_back(row["manifest_text"], format=row["manifest_format"])
        reported = tools_of_json(row["reported_tools"])
    except (InvalidManifestError, TypeError, ValueError) as error:
        replay.report(where, f"its manifest cannot be read: {error}")
        return
    if manifest.to_json() != row["manifest"]:
        replay.report(where, "manifest is not what the text of the manifest says")
    for tool in tool_rows(row["namespace"], row["id"], merged_tools(manifest.tools, reported)):
        yield _line(tools, tool)
    for grant in grant_rows(row["namespace"], row["id"], manifest):
        yield _line(grants, grant)


def _line(table: Table, row: Row) -> str:
    values = {column.name: row[column.name] for column in table.c if column.name != "namespace"}
    return f"{table.name} {canonical_json(values)}"


def _take(replay: Replay, expected: Counter[str], line: str) -> None:
    if expected[line]:
        expected[line] -= 1
    else:
        replay.report(line, "is there, and no manifest says so")


def _report_missing(scope: Scope, replay: Replay, expected: Counter[str]) -> None:
    replay.state.pop((namespaces.name, scope.namespace), None)
    for kind, subject in replay.state:
        replay.report(f"{kind} {subject}", "is not there, and the history says it is")
    for line in expected.elements():
        replay.report(line, "is not there, and the manifest says it is")
