"""Reading a namespace as it was at a past revision, from the history by index."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, func, select

from capsule_registry.entities.capsules import read_back
from capsule_registry.entities.derived_rows import DERIVED, derive
from capsule_registry.models.new_capsule import tools_of_json
from capsule_registry.models.uplink import capability_mask
from capsule_registry.schema.row_images import SUBJECTS, row_of_image
from capsule_registry.schema.tables import (
    capsules,
    events,
    leases,
    manifests,
    namespaces,
    uplinks,
    uuid_mappings,
)
from capsule_registry.unit_of_work.prepared_statements import batches
from capsule_registry.unit_of_work.queries import ORDER, Scope, put_in_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from uuid import UUID

    from sqlalchemy import Table

    from capsule_registry.manifest.manifest import CapsuleManifest
    from capsule_registry.unit_of_work.queries import Query, Row

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
_of_subjects = _images.where(
    _until, events.c.subject.in_(bindparam("subjects", expanding=True))
).order_by(events.c.revision, events.c.position)
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
_live_ends = select(leases.c.id, leases.c.expires_at).where(
    leases.c.namespace == bindparam("namespace"), leases.c.id.in_(bindparam("ids", expanding=True))
)
_endings = select(events.c.old_row, events.c.new_row).where(
    events.c.namespace == bindparam("namespace"),
    events.c.kind == leases.name,
    events.c.subject.in_(bindparam("ids", expanding=True)),
    events.c.revision > bindparam("revision"),
    events.c.action.in_(["lease.expired", "lease.closed"]),
)
#: What derived rows have of their capsules, as `queries.derived` gives it.
_OF_OWNER: Final = ("state", "generation", "registered_at", "rules")
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PastScope(Scope):
    """
    A namespace as it was at `revision`; it answers the same queries as the live tables.

    Its clock stands at that revision's time: a lease that had expired by then counts as gone, even
    if it was reaped later.
    """

    revision: int

    def rows(self, query: Query, **values: Any) -> Sequence[Row]:  # noqa: ANN401 - bound values
        """Return the rows that *query* would have found at that revision, in its order."""
        if query.in_parts is not None:
            return query.in_parts(self, **values)
        if any(values[name] is None for name in query.by):
            return []  # As in SQL: nothing equals null.
        if query.table is namespaces:
            return [{"revision": self.revision}]
        if query.table in DERIVED:
            found: Iterable[Row] = self._derived(query.table, values)
        elif query.table is capsules:
            found = self._capsules(values, with_manifest=query.with_manifest)
        elif query.table in (uuid_mappings, leases):
            found = self._with_leases(query.table, values)
        else:
            found = self._rows_of(query.table, values)
        kept = [row for row in found if _meets(query, row, values)]
        if query.table.name in ORDER:
            kept = put_in_order(query.table, kept)
        if query.is_page:
            place = (values["after_revision"], values["after_position"])
            order = ORDER[query.table.name]
            kept = [row for row in kept if tuple(row[name] for name in order) > place]
        return kept[: values["most"] if query.is_page else query.limit]

    def count(self, query: Query, **values: Any) -> int:  # noqa: ANN401 - bound values
        """Return how many rows *query* would have found."""
        return len(self.rows(query, **values))

    def _rows_of(self, table: Table, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for image in self._last_images(table, values):
            row = row_of_image(table, self.namespace, image)
            if table is uplinks:
                row["capability_mask"] = capability_mask(row)
            yield row

    def _last_images(self, table: Table, values: dict[str, Any]) -> Iterable[str]:
        """Return the images of the rows that existed, narrowed down by the keys in *values*."""
        parameters = {
            "namespace": self.namespace,
            "kind": table.name,
            "revision": self.revision,
        }
        subject = values.get(SUBJECTS[table].name)
        if isinstance(subject, list):
            found = self.execute(_of_subjects, {**parameters, "subjects": [*map(str, subject)]})
        elif subject is not None:
            found = self.execute(_of_subject, {**parameters, "subject": str(subject)})
        elif (capsule_id := values.get("capsule_id")) is not None:
            found = self.execute(_of_capsule, {**parameters, "capsule_id": capsule_id})
        else:
            found = self.execute(_of_all, parameters)
        last: dict[str, str | None] = {name: image for name, image in found.all()}  # noqa: C416 - typed
        return [image for image in last.values() if image is not None]

    def _capsules(self, values: dict[str, Any], *, with_manifest: bool) -> Iterable[dict[str, Any]]:
        found = [
            row for row in self._rows_of(capsules, values) if row["registered_revision"] is not None
        ]
        if not with_manifest:
            return found
        return ({**row, "manifest": one.to_json()} for row, one in self._manifests(found))

    def _manifests(
        self, found: Sequence[dict[str, Any]]
    ) -> Iterator[tuple[dict[str, Any], CapsuleManifest]]:
        """Yield each capsule's row, with its manifest's text added, and the manifest."""
        for batch in batches(found):
            digests = list({row["manifest_digest"] for row in batch})
            parameters = {"namespace": self.namespace, "digests": digests}
            texts = {
                digest: (language, text)
                for digest, language, text in self.execute(_texts, parameters).all()
            }
            for row in batch:
                language, text = texts.get(row["manifest_digest"], (None, None))
                whole = {**row, "manifest_format": language, "manifest_text": text}
                yield whole, read_back(row, language, text)

    def _derived(self, table: Table, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        of_capsule = {"id": values["capsule_id"]} if "capsule_id" in values else {}
        found = [*self._capsules(of_capsule, with_manifest=False)]
        for row, manifest in self._manifests(found):
            reported = tools_of_json(row["reported_tools"])
            for derived in derive(table, row, manifest, reported):
                yield {
                    **derived,
                    "registered_revision": row["registered_revision"],
                    "capsule_position": row["position"],
                    **{name: row[name] for name in _OF_OWNER},
                }

    def _with_leases(self, table: Table, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the rows of UUIDs or leases, with the times at which their leases end."""
        key = "id" if table is leases else "lease_id"
        found = [*self._rows_of(table, values)]
        ends = self._ends([*{row[key] for row in found if row[key] is not None}])
        time = self.clock.moment(None).time
        for row in found:
            yield {
                **row,
                "expires_at": ends.get(row[key]),
                "boot_id": None,
                "expires_uptime_ms": None,
                "last_commit_at": time,
                "now": None,
            }

    def _ends(self, lease_ids: Sequence[UUID]) -> dict[UUID, datetime]:
        """
        Return when the leases that were open then expired, or will unless renewed.

        A lease closed later by its holder never expired. One without a record is left out: gone.
        """
        ends: dict[UUID, datetime] = {}
        for batch in batches(lease_ids):
            parameters: dict[str, Any] = {"namespace": self.namespace, "ids": batch}
            ends |= {row.id: row.expires_at for row in self.execute(_live_ends, parameters).all()}
            parameters |= {"ids": [str(lease_id) for lease_id in batch], "revision": self.revision}
            for image, later in self.execute(_endings, parameters).all():
                row = row_of_image(leases, self.namespace, later or image)
                ends[row["id"]] = row["expired_at"] or _NEVER
        return ends


def _meets(query: Query, row: Row, values: dict[str, Any]) -> bool:
    return all(row[name] == values[name] for name in query.by) and all(
        row[name] in values[name] for name in query.among
    )
