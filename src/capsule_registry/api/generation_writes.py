"""Going back to an earlier generation of a capsule, and comparing generations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsule_registry.api.capsule_writes import CapsuleWrites
from capsule_registry.api.point_in_time import past_at
from capsule_registry.entities import capsules, generations, interfaces, registration
from capsule_registry.errors import CapsuleNotFoundError
from capsule_registry.identifiers import CapsuleId, to_generation
from capsule_registry.manifest.manifest import CapsuleManifest
from capsule_registry.models.comparison import Comparison

if TYPE_CHECKING:
    from datetime import datetime

    from capsule_registry.api.point_in_time import Past
    from capsule_registry.models.records import RegisteredCapsule
    from capsule_registry.unit_of_work.unit import Unit

    #: A manifest, or where one stands: a generation or other revision, or a time.
    Compared = CapsuleManifest | int | datetime | None


class GenerationWrites(CapsuleWrites):
    """The methods on generations of capsules; see `Writes`."""

    def rollback(
        self,
        capsule_id: str,
        to: int | datetime | None = None,
        *,
        expected_generation: int | None = None,
        keep_uuids: bool = False,
        force: bool = False,
    ) -> RegisteredCapsule:
        """
        Register again what stood under *capsule_id* then, in a revision and generation of its own.

        The manifest's text, the tools reported and the directory are those of then; the capsule
        says in `restored_generation` which generation it is a return to. It is read by the rules of
        now, and keeps its place, state and what was filed by hand, as with `replace`; if nothing is
        registered, it is registered anew.

        Args:
            capsule_id: The capsule.
            to: A generation of it or any other revision, or a time, at which it was registered; by
                default the generation before that which stands or stood last.
            expected_generation: Roll back only this generation.
            keep_uuids: Keep the session UUIDs; otherwise they are removed.
            force: As with `replace`.

        Raises:
            GenerationNotFoundError: Nothing stood there then, or what stands already.
            RevisionCompactedError: The history up to there was pruned.
            FutureRevisionError: *to* is beyond the head.
            InvalidManifestError: The runtime of the namespace refuses the manifest.
            StaleGenerationError, SoleProviderError: As `replace`.
            TypeError: *to* is a time without a zone.
        """
        wanted, generation = CapsuleId(capsule_id), to_generation(expected_generation)
        at = None if to is None else self._past(to).revision

        def work(unit: Unit) -> RegisteredCapsule:
            generations.require(unit, wanted, generation)
            new = generations.standing(unit, wanted, at)
            row = capsules.find_row(unit, wanted)
            if row is None:
                return self._register(unit, new, self._uplink_ids(new))
            old = registration.Predecessor.of(row)
            if not force:
                interfaces.require_other_providers(unit, [old.manifest], [new.manifest])
            return self._replace(unit, old, new, (), None, keep_uuids=keep_uuids)

        return self._write(work)

    def compare(self, old: Compared, new: Compared, *, capsule_id: str | None = None) -> Comparison:
        """
        Return what *new* adds to *old*, and removes: rights, topics, handlers, tools and more.

        Rights are compared as astrid 010d22d does, by their text.

        Args:
            old: A manifest; or a generation or other revision, or a time, at which *capsule_id* was
                registered; or `None` for nothing at all.
            new: The same.
            capsule_id: The capsule, unless both are manifests.

        Raises:
            CapsuleNotFoundError: It was registered at neither moment.
            FutureRevisionError, RevisionCompactedError: There is no such moment, or no more.
            InvalidCapsuleIdError: *capsule_id* is not a valid id.
            TypeError: A moment is given and no capsule, or a time without a zone.
        """
        before, after = (self._manifest_at(one, capsule_id) for one in (old, new))
        if before is after is None and capsule_id is not None:
            raise CapsuleNotFoundError(capsule_id)
        return Comparison.of_manifests(before, after)

    def _manifest_at(self, which: Compared, capsule_id: str | None) -> CapsuleManifest | None:
        if which is None or isinstance(which, CapsuleManifest):
            return which
        if capsule_id is None:
            raise TypeError("compare() needs the capsule_id of which a moment is given")
        found = self._past(which).get(capsule_id)
        return None if found is None else found.manifest

    def _past(self, moment: int | datetime) -> Past:
        return past_at(self._read, self._objects, moment)
