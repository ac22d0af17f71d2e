"""What was registered at some revision, read from the history by index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, func, select

from capsule_registry.candidates import merged_tools, tools_of_json
from capsule_registry.chain import SUBJECTS, row_of_image
from capsule_registry.descriptors import UPLINK_FLAGS
from capsule_registry.errors import HistoryCorruptError, InvalidManifestError
from capsule_registry.manifest.manifest import CapsuleManifest
from capsule_registry.queries import ORDER
from capsule_registry.scope import Scope
from capsule_registry.tables import capsules, events, manifests, tools, uplinks
from capsule_registry.tools import tool_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Table

    from capsule_registry.queries import Query
    from capsule_registry.scope import Row

_until = (
    (events.c.namespace == bindparam("namespace"))
    & (events.c.kind == bindparam("kind"))
    & (events.c.revision >= 1)
    & (events.c.revision <= bindparam("revision"))
)
_images = select(events.c.subject, events.c.new_row)
_of_subject = (
    _images.where(_until, events.c.subject == bindparam("subject"))
    .order_by(events.c.revision.desc(), events.c.position.desc())
    .limit(1)
)
_of_capsule = _images.where(_until, events.c.capsule_id == bindparam("capsule_id")).order_by(
    events.c.revision, events.c.position
)
_last = (
    select(events.c.subject, func.max(events.c.revision).label("revision"))
    .where(_until)
    .group_by(events.c.subject)
    .subquery("last")
)
_of_all = (
    _images.where(events.c.namespace == bindparam("namespace"), events.c.kind == bindparam("kind"))
    .join(_last, (events.c.subject == _last.c.subject) & (events.c.revision == _last.c.revision))
    .order_by(events.c.position)
)
_texts = select(manifests.c.digest, manifests.c.format, manifests.c.text).where(
    manifests.c.namespace == bindparam("namespace"),
    manifests.c.digest.in_(bindparam("digests", expanding=True)),
)
#: How many manifests are fetched at once.
_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class PastScope(Scope):
    """A namespace as it was at `revision`: it answers the queries that the live tables answer."""

    revision: int

    def rows(self, query: Query, **values: Any) -> Sequence[Row]:  # noqa: ANN401 - bound values
        """Return the rows that *query* would have found at that revision, in its order."""
        if query.table is tools:
            found: Iterable[Row] = self._tools(values)
        elif query.table is capsules:
            found = self._capsules(values, with_manifest=query.with_manifest)
        else:
            found = self._rows_of(query.table, values)
        kept = [row for row in found if _meets(query, row, values)]
        if order := ORDER.get(query.table.name):
            kept.sort(key=lambda row: [row[name] for name in order])
        return kept[: query.limit]

    def count(self, query: Query) -> int:
        """Return how many rows there were."""
        return len(self.rows(query))

    def _rows_of(self, table: Table, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for image in self._last_images(table, values):
            row = row_of_image(table, self.namespace, image)
            if table is uplinks:
                row["capability_mask"] = sum(
                    bool(row[flag]) << bit for bit, flag in enumerate(UPLINK_FLAGS)
                )
            yield row

    def _last_images(self, table: Table, values: dict[str, Any]) -> Iterable[str]:
        """Return the images of the rows that were there, of those that *values* can mean."""
        parameters = {
            "namespace": self.namespace,
            "kind": table.name,
            "revision": self.revision,
        }
        subject = values.get(SUBJECTS[table].name)
        if subject is not None and not isinstance(subject, list):
            found = self.conn.execute(_of_subject, {**parameters, "subject": str(subject)})
        elif (capsule_id := values.get("capsule_id")) is not None:
            found = self.conn.execute(_of_capsule, {**parameters, "capsule_id": capsule_id})
        else:
            found = self.conn.execute(_of_all, parameters)
        last: dict[str, str | None] = {name: image for name, image in found}  # noqa: C416 - typed
        return [image for image in last.values() if image is not None]

    def _capsules(self, values: dict[str, Any], *, with_manifest: bool) -> Iterable[dict[str, Any]]:
        found = [
            row for row in self._rows_of(capsules, values) if row["registered_revision"] is not None
        ]
        return self._with_manifests(found) if with_manifest else found

    def _with_manifests(self, found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for start in range(0, len(found), _BATCH):
            batch = found[start : start + _BATCH]
            digests = list({row["manifest_digest"] for row in batch})
            parameters = {"namespace": self.namespace, "digests": digests}
            texts = {
                digest: (language, text)
                for digest, language, text in self.conn.execute(_texts, parameters)
            }
            for row in batch:
                language, text = texts.get(row["manifest_digest"], (None, None))
                manifest = _manifest(row["id"], language, text)
                yield {
                    **row,
                    "manifest": manifest.to_json(),
                    "manifest_format": language,
                    "manifest_text": text,
                }

    def _tools(self, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        of_capsule = {"id": values["capsule_id"]} if "capsule_id" in values else {}
        for row in self._capsules(of_capsule, with_manifest=True):
            manifest = _manifest(row["id"], row["manifest_format"], row["manifest_text"])
            found = merged_tools(manifest.tools, tools_of_json(row["reported_tools"]))
            for tool in tool_rows(self.namespace, row["id"], found):
                yield {
                    **tool,
                    "registered_revision": row["registered_revision"],
                    "capsule_position": row["position"],
                }


def _meets(query: Query, row: Row, values: dict[str, Any]) -> bool:
    return all(row[name] == values[name] for name in query.by) and all(
        row[name] in values[name] for name in query.among
    )


def _manifest(capsule_id: str, language: Any, text: Any) -> CapsuleManifest:  # noqa: ANN401 - as stored
    try:
        return CapsuleManifest.read_back(text, format=language)
    except (InvalidManifestError, TypeError, ValueError) as error:
        raise HistoryCorruptError(f"the manifest of capsule {capsule_id}", str(error)) from error
