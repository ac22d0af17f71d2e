"""The verbs that change many capsules at once."""

from __future__ import annotations

from functools import partial
from itertools import groupby, islice
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from capsule_registry.api.writes import RegistryWriter
from capsule_registry.entities import capsules, sync
from capsule_registry.entities import export_import as transfer
from capsule_registry.entities import session_uuids as uuids
from capsule_registry.entities.sync import Desired, SyncAction, SyncPlan
from capsule_registry.identifiers import CapsuleId
from capsule_registry.models.new_capsule import Candidate

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from os import PathLike

    from capsule_registry.manifest.manifest import CapsuleManifest
    from capsule_registry.models.records import Capsule, RegisteredCapsule
    from capsule_registry.unit_of_work.unit import Unit

#: At most so many capsules are registered in one revision, unless inside a transaction.
MOST_AT_ONCE: Final = 1000


class BulkWriter(RegistryWriter):
    """What can be changed of many capsules at once."""

    #: How many of something are put into one revision.
    _most_at_once: int | None = MOST_AT_ONCE

    def register_many(
        self, given: Iterable[Capsule | CapsuleManifest]
    ) -> builtins.list[RegisteredCapsule]:
        """
        Register each of *given*, in order, as `register` does, and return them.

        At most a thousand make one revision, unless inside a transaction: an error undoes those of
        its own revision, and those of the ones before it stay. *given* is read as it is needed.

        Raises:
            CapsuleAlreadyRegisteredError, InvalidManifestError, InvalidCapsuleIdError,
            InvalidUplinkSourceError: As `register`.
        """
        waiting = iter(given)
        found: builtins.list[RegisteredCapsule] = []
        while batch := [*islice(waiting, self._most_at_once)]:
            found += self._write(partial(self._registering, batch))
        return found

    def _registering(
        self, batch: Sequence[Capsule | CapsuleManifest]
    ) -> Callable[[Unit], builtins.list[RegisteredCapsule]]:
        candidates = [*map(Candidate.of, batch)]

        def work(unit: Unit) -> builtins.list[RegisteredCapsule]:
            records = capsules.register(unit, candidates, self._new_uuid)
            return [*map(partial(self._given, unit), records, candidates)]

        return work

    def import_lines(self, lines: Iterable[str]) -> int:
        """
        Register what `export_lines` has yielded, somewhere or at some time; return how much.

        That is the count of capsules, uplinks and UUIDs. At most a thousand of them make one
        revision, unless inside a transaction: an error undoes those of its own revision, and those
        of the ones before it stay. *lines* are read as they are needed.

        Raises:
            InvalidTextError: A line is none of an export, or the last one is missing.
            ConflictError: It is registered already.
            InvalidInputError: As `register`.
        """
        found, count = transfer.read(lines), 0
        while done := self._import_some(found):
            count += done
        return count

    def _import_some(self, found: Iterator[transfer.Line]) -> int:
        """Restore the next of *found*; none is held afterwards. Return how many there were."""
        batch = [*islice(found, self._most_at_once)]
        if batch:
            self._write(lambda: partial(transfer.restore, read=batch))
        return len(batch)

    def sync(
        self, directory: str | PathLike[str], *, prune: bool = False, dry_run: bool = False
    ) -> SyncPlan:
        """
        Register the capsules of *directory* that are new, replace those whose manifest differs.

        All in one revision; nothing to change makes none. A manifest that cannot be used stops no
        other, and changes nothing of its own capsule, nor has that removed. Of several manifests of
        one id none is used. Session UUIDs of a capsule that is replaced are removed.

        Args:
            directory: See `discover`.
            prune: Unregister what is registered and not in *directory*.
            dry_run: Change nothing, and return what would be done.

        Raises:
            OSError: *directory* does not exist, or cannot be listed.
        """
        if dry_run:
            return self._read_at_once(
                lambda: partial(sync.plan, desired=sync.read(directory), prune=prune)
            )

        def prepare() -> Callable[[Unit], SyncPlan]:
            return partial(self._synchronize, sync.read(directory), prune=prune)

        return self._write(prepare)

    def _synchronize(self, desired: Desired, unit: Unit, *, prune: bool) -> SyncPlan:
        plan, by_id = sync.plan(unit, desired, prune=prune), desired.by_id
        for action, steps in groupby(plan.changes, key=attrgetter("action")):
            ids = [CapsuleId(step.capsule_id or "") for step in steps]
            if action is SyncAction.UNREGISTER:
                for capsule_id in ids:
                    capsules.unregister(unit, capsule_id)
                continue
            candidates = [by_id[capsule_id] for capsule_id in ids]
            if action is SyncAction.REGISTER:
                records = capsules.register(unit, candidates, self._new_uuid)
            else:
                records = [self._replaced(unit, candidate) for candidate in candidates]
            for record, candidate in zip(records, candidates, strict=True):
                self._given(unit, record, candidate)
        return plan

    def _replaced(self, unit: Unit, candidate: Candidate) -> RegisteredCapsule:
        uuids.retire(unit, candidate.id, ())
        return capsules.replace(unit, candidate, None, self._new_uuid)
