"""The read methods, shared by the registry, its transactions and its views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsule_registry.api.declared_reads import DeclaredReads
from capsule_registry.entities import (
    capsules,
    export_import,
    session_uuids,
    uplinks,
)
from capsule_registry.identifiers import CapsuleId, is_capsule_id, optional_id, to_uuid
from capsule_registry.models.capsule_page import CapsulePage
from capsule_registry.models.new_capsule import to_state
from capsule_registry.models.storable import required_text
from capsule_registry.models.uplink import (
    masks_satisfying,
    masks_with,
    storable_platform,
    to_profile,
)
from capsule_registry.permissions import checks, grants, many_checks
from capsule_registry.permissions.checks import DEADLINE, Decided, Decision
from capsule_registry.permissions.deadline import decided_in_time
from capsule_registry.plain_values import plain_text

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import timedelta
    from uuid import UUID

    from capsule_registry.manifest.forms import ManifestForm
    from capsule_registry.manifest.parts import UplinkProfile
    from capsule_registry.models.records import (
        CapsuleState,
        CapsuleSummary,
        Grant,
        RegisteredCapsule,
        RegisteredUplink,
        RegisteredUuid,
    )
    from capsule_registry.models.uplink import UplinkCapabilities, UplinkDescriptor
    from capsule_registry.permissions.many_checks import Question


class Reads(DeclaredReads):
    """
    The read methods.

    Each call is strict: it sees everything that any process had committed when it was made.
    Capsules, uplinks, tools and UUIDs come in registration order. A reserved id (something is
    filed under it, but no capsule registered) appears only in `find_by_uuid`, `uuids` and uplinks.
    """

    def _attached(self, record: RegisteredCapsule) -> RegisteredCapsule:
        """Return *record* with its `instance`, where this process has it."""
        return self._objects.attach(record)

    # Capsules

    def get(self, capsule_id: str) -> RegisteredCapsule | None:
        """
        Return the capsule registered under *capsule_id*, or `None`.

        Raises:
            InvalidCapsuleIdError: *capsule_id* is not a valid id.
        """
        record = self._read(capsules.get, CapsuleId(capsule_id))
        return None if record is None else self._attached(record)

    def list(
        self,
        *,
        state: CapsuleState | str | None = None,
        form: ManifestForm | str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> builtins.list[CapsuleId]:
        """
        Return the ids of the registered capsules.

        Args:
            state: Only capsules in this state.
            form: Only capsules whose manifests are read in this form.
            after: Only capsules after this one; for the next page, the last id of this one.
            limit: The page size, at least one.

        Raises:
            InvalidTextError: *state* is not a state, or *form* not a form.
            CapsuleNotFoundError: *after* is not registered, or no longer; in a `snapshot` it stays.
            ValueError: *limit* is less than one.
        """
        return self._read(capsules.ids, CapsulePage.of(state, form, after, limit))

    def summaries(
        self,
        *,
        state: CapsuleState | str | None = None,
        form: ManifestForm | str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> builtins.list[CapsuleSummary]:
        """Return the registered capsules without their manifests; raises as `list` does."""
        return self._read(capsules.summaries, CapsulePage.of(state, form, after, limit))

    def values(self) -> Iterator[RegisteredCapsule]:
        """Return the registered capsules, read when called and built as they are consumed."""
        return map(self._attached, self._read(capsules.values))

    def count(self, *, state: CapsuleState | str | None = None) -> int:
        """
        Return how many capsules are registered, or are in that state.

        Raises:
            InvalidTextError: *state* is not a state.
        """
        return self._read(capsules.count, None if state is None else to_state(state))

    def __len__(self) -> int:
        return self.count()

    def __iter__(self) -> Iterator[CapsuleId]:
        return iter(self.list())

    def __contains__(self, capsule_id: object) -> bool:
        text = plain_text(capsule_id)
        if text is None or not is_capsule_id(text):
            return False
        return self._read(capsules.is_registered, text)

    def __bool__(self) -> bool:
        return True  # Even if it is empty.

    def is_empty(self) -> bool:
        """Return whether no capsule is registered; uplinks and UUIDs do not count."""
        return len(self) == 0

    # Session UUIDs

    def find_by_uuid(self, uuid: UUID | str) -> CapsuleId | None:
        """
        Return the id that *uuid* is filed under, registered or not, or `None`.

        Raises:
            InvalidUuidError: *uuid* is a string but not a UUID.
        """
        return self._read(session_uuids.find, to_uuid(uuid))

    def uuids(self, capsule_id: str | None = None) -> builtins.list[RegisteredUuid]:
        """Return the session UUIDs, or those of one capsule."""
        return self._read(session_uuids.list_all, optional_id(capsule_id))

    # Uplinks

    def get_uplink(self, uplink_id: UUID | str) -> UplinkDescriptor | None:
        """
        Return the uplink of that id, or `None`.

        Raises:
            InvalidUuidError: *uplink_id* is a string but not a UUID.
        """
        return self._read(uplinks.get, to_uuid(uplink_id))

    def find_uplink_by_platform(self, text: str) -> UplinkDescriptor | None:
        """
        Return the first uplink registered for the platform *text*, or `None`.

        *text* is compared as it is with the stored, normalised platform: `telegram` finds an
        uplink declared for ` Telegram `, `Telegram` does not. `find_uplinks` normalises.
        """
        return self._read(uplinks.find_by_platform, required_text("platform", text))

    def find_uplinks_with_capability(
        self, predicate: Callable[[UplinkCapabilities], object]
    ) -> builtins.list[UplinkDescriptor]:
        """
        Return the uplinks whose capabilities satisfy *predicate*.

        *predicate* is called for each of the 128 combinations of the seven flags, however many
        uplinks there are, and only matching rows are fetched. So it must depend on the flags alone.
        """
        return self._read(uplinks.find_with_masks, [*masks_satisfying(predicate)])

    def find_uplinks(  # noqa: PLR0913 - one keyword for each thing to filter by
        self,
        *,
        platform: str | None = None,
        profile: UplinkProfile | str | None = None,
        capsule_id: str | None = None,
        can_receive: bool | None = None,
        can_send: bool | None = None,
        can_approve: bool | None = None,
        can_elicit: bool | None = None,
        supports_rich_media: bool | None = None,
        supports_threads: bool | None = None,
        supports_buttons: bool | None = None,
    ) -> builtins.list[RegisteredUplink]:
        """
        Return the uplinks that meet all conditions, each with the capsule id it is filed under.

        *platform* is normalised first, so `" Telegram "` finds `telegram`.

        Raises:
            InvalidTextError: *profile* is not one of the four.
            InvalidCapsuleIdError: *capsule_id* is not a valid id.
        """
        return self._read(
            uplinks.find,
            masks=masks_with(
                can_receive=can_receive,
                can_send=can_send,
                can_approve=can_approve,
                can_elicit=can_elicit,
                supports_rich_media=supports_rich_media,
                supports_threads=supports_threads,
                supports_buttons=supports_buttons,
            ),
            platform=None if platform is None else storable_platform(platform),
            profile=None if profile is None else to_profile(profile).value,
            capsule_id=optional_id(capsule_id),
        )

    def all_uplink_descriptors(self) -> builtins.list[UplinkDescriptor]:
        """Return all uplinks."""
        return self._read(uplinks.descriptors)

    def check(
        self,
        uuid: UUID | str,
        capability: str,
        value: str | None = None,
        *,
        timeout: timedelta = DEADLINE,
    ) -> Decision:
        """
        Decide whether the sender of a message may do something, and why, as of which revision.

        The UUID, its lease, the capsule's state and its grants are those at the moment of the
        call. Anything wrong with the arguments or the rows denies; faults that deny are logged.

        Args:
            uuid: The session UUID that the message is stamped with.
            capability: Its name in manifests, such as `ipc_publish`.
            value: The topic, URL, path, command line … asked for; nothing for a flag.
                `docs/design.md` has the rule of each.
            timeout: Deny if the answer took longer. A server gives up a statement that does; a
                connection that hangs is waited for as long as the URL says (`docs/databases.md`).

        Raises:
            RegistryUnavailableError: The database cannot be reached; nothing is allowed then.
            IncarnationChangedError: The server is behind what this registry has seen.
            NamespaceNotFoundError: The namespace was dropped.
        """
        return decided_in_time(
            lambda seconds: [self._decide(uuid, capability, value, seconds)], [uuid], timeout
        )[0]

    def check_many(
        self,
        questions: Iterable[tuple[UUID | str, str] | tuple[UUID | str, str, str | None]],
        *,
        timeout: timedelta = DEADLINE,
    ) -> builtins.list[Decision]:
        """
        Decide many checks of one moment by one statement; see `check`.

        Args:
            questions: At most 500: each a UUID, a capability and, if it takes one, a value.
            timeout: For all of them together; a fault denies its own question alone.

        Returns:
            The decisions, in the order of *questions*.

        Raises:
            InvalidTextError: There are too many, or one is no such tuple.
            RegistryUnavailableError, IncarnationChangedError, NamespaceNotFoundError: As `check`.
        """
        asked = many_checks.questions_in(questions)
        senders = [one.uuid for one in asked]
        return decided_in_time(lambda seconds: self._decide_many(asked, seconds), senders, timeout)

    def is_allowed(
        self,
        uuid: UUID | str,
        capability: str,
        value: str | None = None,
        *,
        timeout: timedelta = DEADLINE,
    ) -> bool:
        """Return whether the sender of a message may do something; raises as `check` does."""
        return self.check(uuid, capability, value, timeout=timeout).allowed

    def _decide(self, uuid: object, capability: object, value: object, _: float) -> Decided:
        """Return the decision, however late, or the fault that denies."""
        return self._read(checks.check, uuid, capability, value)

    def _decide_many(self, questions: Sequence[Question], _: float) -> Sequence[Decided]:
        """Return the same for each of *questions*, by one statement."""
        return self._read(many_checks.check_many, questions)

    def grants(
        self,
        *,
        capability: str | None = None,
        value: str | None = None,
        capsule_id: str | None = None,
    ) -> builtins.list[Grant]:
        """
        Return the grants that meet all conditions, whatever state their capsules are in.

        With *value*, those that allow it: who may publish to this topic, start this process, reach
        this host; without, also entries that do not count. In the order of capsules and manifests.

        Raises:
            InvalidCapsuleIdError: *capsule_id* is not a valid id.
            InvalidTextError: *capability* does not exist, or does not take *value*.
        """
        name, asked = grants.askable(capability, value)
        wanted = optional_id(capsule_id)
        return self._read(grants.find, capability=name, value=asked, capsule_id=wanted)

    # Export

    def export_lines(self) -> Iterator[str]:
        """
        Yield what is registered as lines of JSON that `import_lines` can register again.

        Manifests are exact to the byte; ids, order, state and what was filed by hand are kept.
        Session UUIDs of leases are left out. All lines are as of one revision, read from the
        history in batches without holding anything in the database. The last rows of all uplinks,
        and then of all UUIDs, are in memory at one point.

        Raises, during iteration:
            RevisionCompactedError: The history was pruned beyond that revision meanwhile.
            IncarnationChangedError: The database was restored from a backup meanwhile.
        """
        return export_import.lines(self._read, self._read(lambda scope: scope.namespace))


#: The public name of `Reads`.
RegistryReader = Reads
