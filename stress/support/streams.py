"""What a watcher saw, checked for the six properties of etcd's watch."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from capsule_registry import Revision


def digest(revision: Revision) -> str:
    """Return a digest of the revision and of all its events."""
    return sha256(revision.model_dump_json().encode()).hexdigest()


@dataclass
class Stream:
    """What one watcher saw: digests by revision, and where it had to start anew."""

    seen: dict[int, str] = field(default_factory=dict)
    #: Its position, the revision up to which the history was pruned, and that of its snapshot.
    pruned: list[tuple[int, int, int]] = field(default_factory=list)
    watches: int = 0
    broken: list[str] = field(default_factory=list)

    def see(self, before: int, revision: Revision, bookmark: int) -> None:
        """Check one revision that came after *before* in the same watch."""
        number, what = revision.revision, digest(revision)
        positions = [(event.revision, event.position) for event in revision.events]
        holds = {
            "ordered": number >= before,
            "unique": number != before,
            "reliable": number <= before + 1,
            "atomic": self.seen.setdefault(number, what) == what
            and positions == [(number, position) for position in range(len(positions))],
            "bookmarkable": number == bookmark,
        }
        for name in (name for name, good in holds.items() if not good):
            self.broken.append(f"{name}: revision {number} after {before}, bookmark {bookmark}")

    def faults(self, truth: Mapping[int, str], pruned: Iterable[int]) -> list[str]:
        """Return the faults; *truth* has the digest of every revision."""
        if self.broken:
            return self.broken  # It was not followed to the end.
        skipped = {n for start, _, end in self.pruned for n in range(start + 1, end + 1)}
        wrong = {
            "atomic": [n for n in self.seen if self.seen[n] != truth.get(n)],
            "bookmarkable": [n for n in truth if n not in self.seen and n not in skipped],
            "resumable": [
                start for start, until, _ in self.pruned if until not in pruned or start >= until
            ],
        }
        return [f"{name}: revisions {which}" for name, which in wrong.items() if which]
