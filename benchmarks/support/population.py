"""
SQLite files with very many rows.

One capsule is registered through the registry; `executemany` writes its rows again for all others
with other ids, UUIDs and revisions. So they are what the registry would have written, whatever the
schema. With the history, the whole hash chain is right and passes `history.verify`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from capsule_registry import CapsuleRegistry
from capsule_registry.unit_of_work.hash_chain import hash_lines, sha256_of_lines
from support.capsules import SESSIONS, capsule_id, manifest, session, sessions_of
from support.raw import connect
from support.rows import HISTORY, Rows, columns_of_table, without_triggers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from capsule_registry import CapsuleManifest
    from support.raw import Raw

    #: Values by table and column.
    Changes = Mapping[str, Mapping[str, Any]]

#: The revision that registers the first capsule.
_FIRST: Final = 2
_AT_ONCE: Final = 1000
_REVISIONS: Final = (
    "revision",
    "generation",
    "registered_revision",
    "modified_revision",
    "created_revision",
)
#: A revision inside a row image.
_IMAGED: Final = "|".join(rf'(?<="{name}":){_FIRST}(?=[,}}])' for name in _REVISIONS)
#: Each capsule has this many numbers of its own for UUIDs other than sessions.
_OTHER_UUIDS: Final = 1 << 32


@dataclass(frozen=True)
class Population:
    """
    *count* capsules like the first one.

    `changes` returns the values in which a capsule differs from the first; only without a history,
    whose row images would not follow.
    """

    count: int
    first: CapsuleManifest = field(default_factory=partial(manifest, 0))
    sessions: int = SESSIONS
    has_history: bool = True
    changes: Callable[[int], Changes] | None = None

    def build(self, file: Path) -> str:
        """Write the file, and return the URL of the registry in it."""
        url = f"sqlite:///{file}"
        with CapsuleRegistry.open(url, actor="population") as registry:
            registry.register(self.first, uuids=sessions_of(0)[: self.sessions])
            created = registry.history.list()[0].events[0].new_row or {}
        raw = connect(url)
        for setting in ("journal_mode = MEMORY", "synchronous = OFF", "cache_size = -500000"):
            raw.run(f"PRAGMA {setting}")
        raw.run("PRAGMA foreign_keys = OFF")  # The copies' keys are right as the first's are.
        triggers = without_triggers(raw)
        self._multiply(raw, UUID(created["incarnation"]))
        for statement in triggers:
            raw.run(statement)
        raw.run("PRAGMA journal_mode = WAL")
        raw.close()
        return url

    def _multiply(self, raw: Raw, incarnation: UUID) -> None:
        copier = _Copier(self, Rows.of_revision(raw, _FIRST), incarnation)
        for start in range(1, self.count, _AT_ONCE):
            raw.run(raw.begin)
            copies = copier.some(range(start, min(start + _AT_ONCE, self.count)))
            for table, columns, rows in copies.tables():
                raw.insert_many(table, columns, rows)
            raw.run("COMMIT")
        if self.has_history:
            raw.run("UPDATE namespaces SET revision = ?, head_hash = ?", copier.head)


class _Copier:
    """Makes the rows of other capsules from those of the first."""

    def __init__(self, population: Population, first: Rows, incarnation: UUID) -> None:
        self._population, self._incarnation = population, incarnation
        revision = first.dicts("revisions")[0]
        self.head = (_FIRST, revision["hash"])
        self._committed_at = datetime.fromisoformat(revision["committed_at"])
        self._sessions = [*map(str, sessions_of(0)[: population.sessions])]
        self._others = [row["id"] for row in first.dicts("uplinks")] + [revision["request_id"]]
        self._digest = first.dicts("manifests")[0]["digest"]
        known = [capsule_id(0), self._digest, *self._sessions, *self._others]
        pattern = re.compile(f"({'|'.join(map(re.escape, known))}|{_IMAGED})")
        tables = first.of if population.has_history else first.of.keys() - HISTORY
        self._stencils = {
            name: [_Stencil(columns_of_table(name), row, pattern) for row in first.of[name]]
            for name in first.of
            if name in tables
        }
        self._text = _Stencil(["text"], [first.dicts("manifests")[0]["text"]], pattern)

    def some(self, numbers: range) -> Rows:
        """Return the rows of the capsules *numbers*."""
        found: dict[str, list[tuple[Any, ...]]] = {name: [] for name in self._stencils}
        for number in numbers:
            for name, rows in self._copy(number).items():
                found[name] += map(tuple, rows)
        return Rows(found)

    def _copy(self, number: int) -> dict[str, list[list[Any]]]:
        revision, values = _FIRST + number, self._values(number)
        found = {
            name: [stencil.filled(values, revision) for stencil in stencils]
            for name, stencils in self._stencils.items()
        }
        if self._population.has_history:
            self._chain(found)
        changes = self._population.changes(number) if self._population.changes else {}
        for name, changed in changes.items():
            for column, value in changed.items():
                for row in found[name]:
                    row[columns_of_table(name).index(column)] = value
        return found

    def _values(self, number: int) -> dict[str, str]:
        """Return the values of capsule *number* by those of the first."""
        others = ((number << 32) + _OTHER_UUIDS + place for place in range(len(self._others)))
        values = {capsule_id(0): capsule_id(number), str(_FIRST): str(_FIRST + number)}
        sessions = (session(number * SESSIONS + place) for place in range(len(self._sessions)))
        values |= zip(self._sessions, map(str, sessions), strict=True)
        values |= zip(self._others, (str(session(other)) for other in others), strict=True)
        text = self._text.filled(values, 0)[0]
        return values | {self._digest: hashlib.sha256(text.encode()).hexdigest()}

    def _chain(self, found: dict[str, list[list[Any]]]) -> None:
        """Give the copied revision its hashes."""
        columns, row = columns_of_table("revisions"), found["revisions"][0]
        row[columns.index("previous_hash")] = self.head[1]
        header = dict(zip(columns, row, strict=True)) | {"committed_at": self._committed_at}
        named = columns_of_table("events")
        events = [dict(zip(named, event, strict=True)) for event in found["events"]]
        digest = sha256_of_lines(hash_lines(self._incarnation, header, events))
        row[columns.index("hash")] = digest
        self.head = (header["revision"], digest)


class _Stencil:
    """A row template: the texts that *pattern* finds, and the revisions, are left open."""

    def __init__(self, columns: list[str], row: Any, pattern: re.Pattern[str]) -> None:  # noqa: ANN401 - any sequence
        self._row = [*row]
        self._revisions = [
            place
            for place, name in enumerate(columns)
            if name in _REVISIONS and row[place] == _FIRST
        ]
        split = [pattern.split(value) if isinstance(value, str) else [] for value in row]
        self._texts = [(place, parts) for place, parts in enumerate(split) if len(parts) > 1]

    def filled(self, values: Mapping[str, str], revision: int) -> list[Any]:
        """Return the row with each key of *values* replaced by its value."""
        row = self._row.copy()
        for place in self._revisions:
            row[place] = revision
        for place, parts in self._texts:
            filled = parts.copy()
            filled[1::2] = [values[found] for found in parts[1::2]]
            row[place] = "".join(filled)
        return row
