"""The verbs that only read, the same wherever one reads."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from capsule_registry.api.inquiries import DependencyReader, PermissionReader
from capsule_registry.entities import capsules, tools, uplinks
from capsule_registry.entities import export_import as transfer
from capsule_registry.entities import session_uuids as uuids
from capsule_registry.errors import InvalidTextError
from capsule_registry.identifiers import CapsuleId, is_capsule_id, to_uuid
from capsule_registry.manifest.matching import normalize_platform
from capsule_registry.manifest.parts import UplinkProfile
from capsule_registry.models.limits import check_text
from capsule_registry.models.new_capsule import to_state
from capsule_registry.models.uplink import masks_satisfying, masks_with
from capsule_registry.unit_of_work.registered_objects import key_of

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from capsule_registry.models.records import (
        CapsuleState,
        RegisteredCapsule,
        RegisteredUplink,
        RegisteredUuid,
        Tool,
    )
    from capsule_registry.models.uplink import UplinkCapabilities, UplinkDescriptor
    from capsule_registry.unit_of_work.scope import Scope


T = TypeVar("T")


class RegistryReader(PermissionReader, DependencyReader):
    """
    What can be asked.

    Each call is strict: it sees all that had committed when it was made, from whichever process.
    Capsules, uplinks, tools and UUIDs come in the order of their registration. A capsule whose id
    is only reserved (something is filed under it, but no capsule registered) is absent from all
    but `find_by_uuid`, `uuids` and the uplinks.
    """

    def _attached(self, record: RegisteredCapsule) -> RegisteredCapsule:
        """Return *record* with its `instance`, where this process has it."""
        return record.attach(self._instances.of(key_of(record)))

    def get(self, capsule_id: str) -> RegisteredCapsule | None:
        """
        Return the capsule registered under *capsule_id*, or `None`.

        Raises:
            InvalidCapsuleIdError: *capsule_id* is outside the grammar of ids.
        """
        record = self._read(lambda: partial(capsules.get, capsule_id=CapsuleId(capsule_id)))
        return None if record is None else self._attached(record)

    def list(
        self,
        *,
        state: CapsuleState | str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> builtins.list[CapsuleId]:
        """
        Return the ids of the registered capsules, or of those in one *state*.

        Args:
            state: Only those in it.
            after: Only those that come after this one; the last of one page gives the next.
            limit: At most so many, at least one.

        Raises:
            InvalidTextError: *state* is no state.
            CapsuleNotFoundError: *after* is not registered, or not any more; in a `snapshot` it is.
            ValueError: *limit* is less than one.
        """
        if limit is not None and limit < 1:
            raise ValueError("limit must be at least 1")
        return self._read(
            lambda: partial(
                capsules.ids, state=_optional_state(state), after=_optional_id(after), most=limit
            )
        )

    def values(self) -> Iterator[RegisteredCapsule]:
        """Return the registered capsules, read at the moment of the call and built as they go."""
        return map(self._attached, self._read(lambda: capsules.values))

    def __len__(self) -> int:
        return self._read(lambda: capsules.count)

    def __iter__(self) -> Iterator[CapsuleId]:
        return iter(self.list())

    def __contains__(self, capsule_id: object) -> bool:
        if not isinstance(capsule_id, str) or not is_capsule_id(capsule_id):
            return False
        return self._read(lambda: partial(capsules.is_registered, capsule_id=capsule_id))

    def __bool__(self) -> bool:
        """Be true, empty or not: a registry is no list."""
        return True

    def is_empty(self) -> bool:
        """Say whether no capsule is registered; uplinks and UUIDs do not count."""
        return len(self) == 0

    def find_by_uuid(self, uuid: UUID | str) -> CapsuleId | None:
        """
        Return the id that *uuid* is filed under, registered or not, or `None`.

        Raises:
            InvalidUuidError: *uuid* is a text that is no UUID.
        """
        return self._read(lambda: partial(uuids.find, uuid=to_uuid(uuid)))

    def uuids(self, capsule_id: str | None = None) -> builtins.list[RegisteredUuid]:
        """Return the session UUIDs, or those of one capsule."""
        return self._read(lambda: partial(uuids.list_all, capsule_id=_optional_id(capsule_id)))

    def get_uplink(self, uplink_id: UUID | str) -> UplinkDescriptor | None:
        """
        Return the uplink of that id, or `None`.

        Raises:
            InvalidUuidError: *uplink_id* is a text that is no UUID.
        """
        return self._read(lambda: partial(uplinks.get, uplink_id=to_uuid(uplink_id)))

    def find_uplink_by_platform(self, text: str) -> UplinkDescriptor | None:
        """
        Return the first uplink registered for the platform *text*, or `None`.

        *text* is compared as it is with the stored, normalised platform: `telegram` finds an
        uplink declared for ` Telegram `, `Telegram` finds none. `find_uplinks` normalises.
        """
        return self._read(lambda: partial(uplinks.find_by_platform, text=_text("platform", text)))

    def find_uplinks_with_capability(
        self, predicate: Callable[[UplinkCapabilities], object]
    ) -> builtins.list[UplinkDescriptor]:
        """
        Return the uplinks whose capabilities satisfy *predicate*.

        *predicate* is asked about each of the 128 combinations of the seven flags, whatever the
        number of uplinks, and only matching rows are fetched. So it must answer from the flags
        alone.
        """
        return self._read(
            lambda: partial(uplinks.find_with_masks, masks=[*masks_satisfying(predicate)])
        )

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
        Return the uplinks that meet all conditions given, each with the capsule it is filed under.

        *platform* is normalised first, so `" Telegram "` finds `telegram`.

        Raises:
            InvalidTextError: *profile* is none of the four.
            InvalidCapsuleIdError: *capsule_id* is outside the grammar of ids.
        """
        flags = {
            "can_receive": can_receive,
            "can_send": can_send,
            "can_approve": can_approve,
            "can_elicit": can_elicit,
            "supports_rich_media": supports_rich_media,
            "supports_threads": supports_threads,
            "supports_buttons": supports_buttons,
        }

        def prepare() -> Callable[[Scope], builtins.list[RegisteredUplink]]:
            return partial(
                uplinks.find,
                masks=masks_with(
                    {name: bool(flag) for name, flag in flags.items() if flag is not None}
                ),
                platform=_normal_platform(platform),
                profile=_profile(profile),
                capsule_id=_optional_id(capsule_id),
            )

        return self._read(prepare)

    def all_uplink_descriptors(self) -> builtins.list[UplinkDescriptor]:
        """Return all uplinks."""
        return self._read(lambda: uplinks.descriptors)

    def tools(self, capsule_id: str | None = None) -> builtins.list[Tool]:
        """Return the tools of all capsules, or of one."""
        return self._read(lambda: partial(tools.list_all, capsule_id=_optional_id(capsule_id)))

    def find_tool(self, name: str) -> builtins.list[Tool]:
        """Return every tool of that name: more than one capsule may offer it."""
        return self._read(lambda: partial(tools.find, name=_text("tool name", name)))

    def export_lines(self) -> Iterator[str]:
        """
        Yield what is registered as lines of JSON, from which `import_lines` registers it again.

        Manifests are exact to the byte; ids, order, state and what was filed by hand stay. Session
        UUIDs that belong to a lease are left out. All as of one revision, which the history tells
        in batches: nothing is held in the database. To find what there was, the last rows of all
        uplinks, or of all UUIDs, are in memory once.

        Raises, while it is read:
            RevisionCompactedError: The history was pruned beyond that revision meanwhile.
            IncarnationChangedError: The database was brought back from a backup meanwhile.
        """

        def ask(work: Callable[[Scope], T]) -> T:
            return self._read(lambda: work)

        return transfer.lines(ask, self._read(lambda: lambda scope: scope.namespace))


def _optional_state(state: CapsuleState | str | None) -> CapsuleState | None:
    return None if state is None else to_state(state)


def _optional_id(capsule_id: str | None) -> CapsuleId | None:
    return None if capsule_id is None else CapsuleId(capsule_id)


def _text(field: str, text: str) -> str:
    check_text(field, text)
    return text


def _normal_platform(platform: str | None) -> str | None:
    return None if platform is None else _text("platform", normalize_platform(platform))


def _profile(profile: UplinkProfile | str | None) -> str | None:
    try:
        return None if profile is None else UplinkProfile(profile).value
    except ValueError as error:
        raise InvalidTextError("profile", "unknown", str(error)) from error
