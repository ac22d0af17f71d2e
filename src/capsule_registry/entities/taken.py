"""What there is already of what is about to be registered, found out by one question."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final, Self
from uuid import UUID

from sqlalchemy import String, bindparam, cast, literal_column, select, union_all

from capsule_registry.errors import UplinkAlreadyRegisteredError
from capsule_registry.schema.tables import capsules, manifests, uplinks
from capsule_registry.unit_of_work.queries import Query, batches

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Column, ColumnElement, Select

    from capsule_registry.models.new_capsule import Candidate
    from capsule_registry.unit_of_work.unit import Unit


def _there(kind: ColumnElement[str], key: Column[Any]) -> Select[str, str]:
    name = key.table.name
    return select(kind.label("kind"), cast(key, String(128)).label("key")).where(
        key.table.c.namespace == bindparam("namespace"),
        key.in_(bindparam(name, expanding=True)),
    )


_KINDS: Final = ("capsules", "manifests", "uplinks")
_there_already: Final = Query(
    capsules,
    (),
    union_all(
        _there(literal_column("'capsules'", String), capsules.c.id),
        _there(literal_column("'manifests'", String), manifests.c.digest),
        _there(literal_column("'uplinks'", String), uplinks.c.id),
    ),
    among=_KINDS,
)


@dataclass(frozen=True, slots=True)
class Taken:
    """The keys that are there, of those asked for; whoever takes more adds it."""

    capsules: set[str] = field(default_factory=set)
    manifests: set[str] = field(default_factory=set)
    uplinks: set[UUID] = field(default_factory=set)

    @classmethod
    def of(cls, unit: Unit, candidates: Sequence[Candidate], uplink_ids: Iterable[UUID]) -> Self:
        """Return which of *uplink_ids* are there, and what of *candidates*, be it reserved."""
        taken = cls()
        lists: tuple[Sequence[object], ...] = (
            [one.id for one in candidates],
            [one.digest for one in candidates],
            [*uplink_ids],
        )
        for some in zip_longest(*[batches(given) for given in lists], fillvalue=()):
            for row in unit.rows(_there_already, **dict(zip(_KINDS, some, strict=True))):
                taken._add(row["kind"], row["key"])
        return taken

    def _add(self, kind: str, key: str) -> None:
        if kind == "uplinks":
            self.uplinks.add(UUID(key))
        else:
            {"capsules": self.capsules, "manifests": self.manifests}[kind].add(key)

    def keep_manifest(self, unit: Unit, candidate: Candidate) -> None:
        """Keep the text of the manifest, unless it is kept already."""
        if candidate.digest in self.manifests:
            return
        row = {
            "namespace": unit.namespace,
            "digest": candidate.digest,
            "format": candidate.manifest.format,
            "text": candidate.manifest.text,
        }
        unit.changes.insert(manifests, [row])
        self.manifests.add(candidate.digest)

    def take_uplinks(self, ids: Iterable[UUID]) -> None:
        """
        Add *ids*.

        Raises:
            UplinkAlreadyRegisteredError: One of them is there.
        """
        for uplink_id in ids:
            if uplink_id in self.uplinks:
                raise UplinkAlreadyRegisteredError(uplink_id)
            self.uplinks.add(uplink_id)
