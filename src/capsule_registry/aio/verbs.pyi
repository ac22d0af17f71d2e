# Generated from the plain classes by tests/support/stubs.py.
import builtins
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from os import PathLike
from typing import TypeVar
from uuid import UUID

from capsule_registry.aio.coroutines import Verbs
from capsule_registry.api.capsule_writes import HeldLease
from capsule_registry.api.differences import Difference
from capsule_registry.api.generation_writes import Compared
from capsule_registry.api.history import History
from capsule_registry.api.leases import Leases
from capsule_registry.api.reads import Reads
from capsule_registry.api.routes import Routes
from capsule_registry.entities.sync import SyncPlan
from capsule_registry.history.revisions import Revision
from capsule_registry.history.verification import Verification
from capsule_registry.identifiers import CapsuleId
from capsule_registry.manifest.forms import ManifestForm
from capsule_registry.manifest.manifest import CapsuleManifest
from capsule_registry.manifest.parts import CommandKind, ToolDef, UplinkProfile
from capsule_registry.manifest.tools import ToolCatalogue
from capsule_registry.models.comparison import Comparison
from capsule_registry.models.declarations import Artifact, Call, Command, Export, Route
from capsule_registry.models.records import (
    Anchor,
    BootOrder,
    Capsule,
    CapsuleState,
    CapsuleSummary,
    Dependency,
    Grant,
    Interceptor,
    Lease,
    Provision,
    RegisteredCapsule,
    RegisteredUplink,
    RegisteredUuid,
    Tool,
)
from capsule_registry.models.uplink import UplinkCapabilities, UplinkDescriptor
from capsule_registry.permissions.checks import Decision

S = TypeVar("S", bound=Reads)

class AsyncRoutes(Verbs[Routes]):
    async def called(self, topic: str) -> builtins.list[Call]: ...
    async def list(self, capsule_id: str | None = None) -> builtins.list[Route]: ...
    async def publishers(self, topic: str) -> builtins.list[CapsuleId]: ...
    async def subscribers(self, topic: str) -> builtins.list[CapsuleId]: ...
    async def unheard(self) -> builtins.list[Route]: ...
    async def unsaid(self) -> builtins.list[Route]: ...

class AsyncReads(Verbs[S]):
    @property
    def routes(self) -> AsyncRoutes: ...
    async def all_uplink_descriptors(self) -> builtins.list[UplinkDescriptor]: ...
    async def boot_order(self) -> BootOrder: ...
    async def check(
        self,
        uuid: UUID | str,
        capability: str,
        value: str | None = None,
        *,
        timeout: timedelta = ...,
    ) -> Decision: ...
    async def check_many(
        self,
        questions: Iterable[tuple[UUID | str, str] | tuple[UUID | str, str, str | None]],
        *,
        timeout: timedelta = ...,
    ) -> builtins.list[Decision]: ...
    async def commands(
        self, *, kind: CommandKind | str | None = None
    ) -> builtins.list[Command]: ...
    async def count(self, *, state: CapsuleState | str | None = None) -> int: ...
    async def dependencies(self) -> builtins.list[Dependency]: ...
    def export_lines(self) -> AsyncIterator[str]: ...
    async def exports(self) -> builtins.list[Export]: ...
    async def find_artifact(self, hash: str) -> builtins.list[Artifact]: ...
    async def find_by_uuid(self, uuid: UUID | str) -> CapsuleId | None: ...
    async def find_command(self, verb: str) -> Command | None: ...
    async def find_tool(self, name: str) -> builtins.list[Tool]: ...
    async def find_uplink_by_platform(self, text: str) -> UplinkDescriptor | None: ...
    async def find_uplinks(
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
    ) -> builtins.list[RegisteredUplink]: ...
    async def find_uplinks_with_capability(
        self, predicate: Callable[[UplinkCapabilities], object]
    ) -> builtins.list[UplinkDescriptor]: ...
    async def get(self, capsule_id: str) -> RegisteredCapsule | None: ...
    async def get_uplink(self, uplink_id: UUID | str) -> UplinkDescriptor | None: ...
    async def grants(
        self,
        *,
        capability: str | None = None,
        value: str | None = None,
        capsule_id: str | None = None,
    ) -> builtins.list[Grant]: ...
    async def interceptors(self, topic: str) -> builtins.list[Interceptor]: ...
    async def is_allowed(
        self,
        uuid: UUID | str,
        capability: str,
        value: str | None = None,
        *,
        timeout: timedelta = ...,
    ) -> bool: ...
    async def is_empty(self) -> bool: ...
    async def list(
        self,
        *,
        state: CapsuleState | str | None = None,
        form: ManifestForm | str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> builtins.list[CapsuleId]: ...
    async def providers(
        self, capability: str, *, version: str = "*"
    ) -> builtins.list[Provision]: ...
    async def summaries(
        self,
        *,
        state: CapsuleState | str | None = None,
        form: ManifestForm | str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> builtins.list[CapsuleSummary]: ...
    async def tool_catalogue(self, capsule_id: str) -> ToolCatalogue: ...
    async def tools(self, capsule_id: str | None = None) -> builtins.list[Tool]: ...
    async def unmet(self, *, required: bool | None = None) -> builtins.list[Dependency]: ...
    async def uuids(self, capsule_id: str | None = None) -> builtins.list[RegisteredUuid]: ...
    def values(self) -> AsyncIterator[RegisteredCapsule]: ...

class AsyncWrites(AsyncReads[S]):
    async def compare(
        self, old: Compared, new: Compared, *, capsule_id: str | None = None
    ) -> Comparison: ...
    async def drain(self) -> builtins.list[RegisteredCapsule]: ...
    async def import_lines(self, lines: Iterable[str]) -> int: ...
    async def register(
        self,
        capsule: Capsule | CapsuleManifest,
        *,
        uuids: Iterable[UUID | str] = (),
        lease: HeldLease = None,
        if_same: bool = False,
    ) -> RegisteredCapsule: ...
    async def register_many(
        self, given: Iterable[Capsule | CapsuleManifest]
    ) -> builtins.list[RegisteredCapsule]: ...
    async def register_uplink(self, capsule_id: str, descriptor: UplinkDescriptor) -> None: ...
    async def register_uuid(
        self,
        uuid: UUID | str,
        capsule_id: str,
        *,
        lease: HeldLease = None,
        expected_generation: int | None = None,
    ) -> None: ...
    async def replace(
        self,
        capsule: Capsule | CapsuleManifest,
        *,
        expected_generation: int | None = None,
        uuids: Iterable[UUID | str] = (),
        keep_uuids: bool = False,
        lease: HeldLease = None,
        if_same: bool = False,
        same_artifacts: bool = False,
        force: bool = False,
    ) -> RegisteredCapsule: ...
    async def report_tools(
        self,
        capsule_id: str,
        tools: Iterable[ToolDef | object],
        *,
        expected_generation: int | None = None,
    ) -> RegisteredCapsule: ...
    async def rollback(
        self,
        capsule_id: str,
        to: int | datetime | None = None,
        *,
        expected_generation: int | None = None,
        keep_uuids: bool = False,
        force: bool = False,
    ) -> RegisteredCapsule: ...
    @property
    async def runtime_version(self) -> str | None: ...
    async def set_state(
        self,
        capsule_id: str,
        state: CapsuleState | str,
        reason: str | None = None,
        *,
        expected_generation: int | None = None,
    ) -> RegisteredCapsule: ...
    async def sync(
        self,
        manifests: str | PathLike[str] | Mapping[str, str],
        *,
        prune: bool = False,
        dry_run: bool = False,
        refuse_new_rights: bool = False,
        force: bool = False,
    ) -> SyncPlan: ...
    async def unregister(
        self, capsule_id: str, *, expected_generation: int | None = None, force: bool = False
    ) -> RegisteredCapsule: ...
    async def unregister_capsule_uplinks(self, capsule_id: str) -> int: ...
    async def unregister_uplink(self, uplink_id: UUID | str) -> bool: ...
    async def unregister_uuid(self, uuid: UUID | str) -> bool: ...

class HistoryVerbs(Verbs[History]):
    async def anchor(self) -> Anchor: ...
    async def diff(
        self, before: int | datetime, after: int | datetime | None = None
    ) -> builtins.list[Difference]: ...
    def export(self, *, after: int | None = None) -> AsyncIterator[str]: ...
    async def list(
        self,
        *,
        after: int | None = None,
        capsule_id: str | None = None,
        action: str | None = None,
        actor: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
    ) -> builtins.list[Revision]: ...
    async def prune(
        self, through: Anchor, *, reason: str | None = None, actor: str | None = None
    ) -> int: ...
    @property
    async def revision(self) -> int: ...
    async def verify(
        self, anchor: Anchor | None = None, *, progress: Callable[[int], object] = ...
    ) -> Verification: ...

class LeasesVerbs(Verbs[Leases]):
    async def close(self, lease_id: UUID | str) -> None: ...
    async def grant(self, name: str, ttl: timedelta = ...) -> Lease: ...
    async def list(self) -> builtins.list[Lease]: ...
    async def reap(self) -> builtins.list[Lease]: ...
    async def renew(self, lease_id: UUID | str) -> Lease: ...
