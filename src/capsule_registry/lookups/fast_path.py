"""The lookups made for every message, answered from memory while it is known to be current."""

from __future__ import annotations

import time
from time import monotonic as _now
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from capsule_registry.database.dialects.sqlite_wal_index import HEADER
from capsule_registry.identifiers import CapsuleId, to_uuid
from capsule_registry.lookups.memory import MAX_VERDICTS, keep
from capsule_registry.permissions.checks import (
    DEADLINE,
    UNKNOWN,
    decide,
    decision,
    denial,
    known_capability,
)
from capsule_registry.permissions.fault_log import CHECK_FAULTS
from capsule_registry.permissions.judgement import QUESTIONS, DecisionReason, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence, Sized
    from datetime import timedelta

    from capsule_registry.clocks import Clock
    from capsule_registry.lookups.lookups import Lookups
    from capsule_registry.lookups.memory import Entries
    from capsule_registry.models.records import RegisteredCapsule
    from capsule_registry.permissions.checks import Decided, Decision, Standing
    from capsule_registry.permissions.many_checks import Question

#: Marks a missing entry, as opposed to an entry saying that nothing is registered.
_MISSING: Final[Any] = object()
_GRANTED: Final = DecisionReason.GRANTED
_DEADLINE_SECONDS: Final = DEADLINE.total_seconds()
_LONGEST_VALUE: Final = 512


class FastPath:
    """
    The lookups made for every message, answered from memory: written for speed and nothing else.

    An entry is valid only while the database's header equals that of the entries, and for a
    millisecond after the file was seen to be the one at its path; each hit checks both, and the
    lease's end if the UUID belongs to one. What memory cannot answer is read from the database.
    """

    _lookups: Lookups
    _clock: Clock
    #: The threads that are inside a transaction of this registry.
    _inside: Sized

    if TYPE_CHECKING:

        def check(  # noqa: D102 - of the next class in the MRO
            self,
            uuid: UUID | str,
            capability: str,
            value: str | None = None,
            *,
            timeout: timedelta = DEADLINE,
        ) -> Decision: ...

        def _attached(self, record: RegisteredCapsule) -> RegisteredCapsule: ...

        def _refuse_inside_transaction(self) -> None: ...

    def find_by_uuid(self, uuid: UUID | str) -> CapsuleId | None:
        """Return the capsule id of *uuid*, or `None`; see `Reads.find_by_uuid`."""
        entries = self._lookups.entries
        if (
            type(uuid) is UUID
            and type(uuid.int) is int
            and entries.memory[HEADER] == entries.header
            and _now() < entries.trusted_until
            and not self._inside
        ):
            found: Any = entries.owners.get(uuid.int, _MISSING)
            if found is None or type(found) is CapsuleId:
                return found
            if found is not _MISSING and self._clock.is_before(found.end):
                return found.capsule_id  # type: ignore[no-any-return]
        self._refuse_inside_transaction()
        return self._lookups.find(to_uuid(uuid))

    def get(self, capsule_id: str) -> RegisteredCapsule | None:
        """
        Return the capsule registered under *capsule_id*, or `None`; see `Reads.get`.

        The record may be shared with other callers, so its contents must not be changed.
        """
        entries = self._lookups.entries
        is_plain = type(capsule_id) is CapsuleId or type(capsule_id) is str
        if (
            is_plain
            and entries.memory[HEADER] == entries.header
            and _now() < entries.trusted_until
            and not self._inside
        ):
            found: RegisteredCapsule | None = entries.records.get(capsule_id, _MISSING)
            if found is not _MISSING:
                return found
        self._refuse_inside_transaction()
        return self._lookups.get(CapsuleId(capsule_id), self._attached)

    def is_allowed(
        self,
        uuid: UUID | str,
        capability: str,
        value: str | None = None,
        *,
        timeout: timedelta = DEADLINE,
    ) -> bool:
        """Return whether the sender is allowed; see `Reads.is_allowed`."""
        began = time.monotonic()
        try:
            remembered = self._remembered(uuid, capability, value)
        except CHECK_FAULTS as fault:
            return denial(fault, uuid).allowed
        if remembered is None:
            return self.check(uuid, capability, value, timeout=timeout).allowed
        seconds = _DEADLINE_SECONDS if timeout is DEADLINE else timeout.total_seconds()
        return remembered[2].why is _GRANTED and time.monotonic() - began <= seconds

    def _decide(self, uuid: object, capability: object, value: object, seconds: float) -> Decided:
        remembered = self._remembered(uuid, capability, value)
        if remembered is not None:
            return decision(*remembered)
        self._refuse_inside_transaction()
        return self._lookups.check(uuid, capability, value, seconds)

    def _decide_many(self, questions: Sequence[Question], seconds: float) -> Sequence[Decided]:
        if _now() >= self._lookups.entries.trusted_until:
            self._lookups.look_again()  # Else many would last longer than the trust.
        remembered = [*map(self._remembered, *zip(*questions, strict=True))] if questions else []
        found = [decision(*one) for one in remembered if one is not None]
        # Each was compared with the header: if no revision came between, all are of one moment.
        if len(found) == len(questions) and len({one.revision for one in found}) <= 1:
            return found
        self._refuse_inside_transaction()
        return self._lookups.check_many(questions, seconds)

    def _remembered(
        self, uuid: object, capability: object, value: object
    ) -> tuple[int, CapsuleId | None, Verdict] | None:
        """Return revision, capsule and verdict from the entries, or `None` if any is missing."""
        entries = self._lookups.entries
        if type(uuid) is not UUID or type(uuid.int) is not int or self._inside:
            return None
        owner = entries.owners.get(uuid.int, _MISSING)
        if owner is None:
            verdict = UNKNOWN
        else:
            if type(owner) is not CapsuleId:
                if owner is _MISSING or not self._clock.is_before(owner.end):
                    return None
                owner = owner.capsule_id
            if type(capability) is not str or not (value is None or type(value) is str):
                return None
            standing = entries.standings.get(owner)
            if standing is None:
                return None
            verdict = entries.verdicts.get((standing, capability, value), UNKNOWN)
            if verdict is UNKNOWN:
                verdict = _decided(entries, standing, capability, value)
        # Compared last: then all that was read above is of one moment, which is now.
        if entries.memory[HEADER] != entries.header or _now() >= entries.trusted_until:
            return None
        return entries.revision, owner, verdict


def _decided(entries: Entries, standing: Standing, capability: str, value: str | None) -> Verdict:
    """Return the verdict on a capsule, and cache it: it depends on the standing alone."""
    verdict = decide(standing, known_capability(capability), value)
    if capability in QUESTIONS and len(value or "") <= _LONGEST_VALUE:
        keep(entries.verdicts, (standing, capability, value), verdict, MAX_VERDICTS)
    return verdict
