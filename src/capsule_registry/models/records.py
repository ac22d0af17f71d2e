"""The records that the registry returns, and the objects that it accepts."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self, runtime_checkable
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from capsule_registry.canonical_json import canonical_json
from capsule_registry.errors import InvalidTextError
from capsule_registry.identifiers import CapsuleId
from capsule_registry.manifest.forms import ManifestForm
from capsule_registry.manifest.manifest import CapsuleManifest
from capsule_registry.manifest.matchings import Matching
from capsule_registry.models.uplink import UplinkDescriptor

if TYPE_CHECKING:
    from collections.abc import Callable


class CapsuleState(StrEnum):
    """A capsule's lifecycle state. Only a ready capsule is allowed anything."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    UNLOADING = "unloading"


@runtime_checkable
class Capsule(Protocol):
    """
    What can be registered: anything with a manifest.

    If the object also has `id`, `state`, `state_reason`, `source_dir` or `tools`, they are used;
    each, the manifest included, may be an attribute or a method without arguments, and is read
    once. `id` must equal the manifest's package name. Tools that the object reports replace the
    manifest's of the same name. Nothing else of the object is ever touched.
    """

    @property
    def manifest(self) -> CapsuleManifest | Callable[[], CapsuleManifest]:
        """The capsule's manifest."""


class Tool(BaseModel):
    """
    A function that the model may call, and the capsule that offers it.

    `description` is `None` if only a route tells of the tool, `input_schema` unless `schema_known`:
    the running capsule tells them (`report_tools`). One that is not `routed` is never reached by
    dispatch. `mutable` says whether the manifest says that it changes something.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    capsule_id: CapsuleId
    name: str
    description: str | None
    input_schema: Any
    schema_known: bool = True
    input_schema_wit: str | None = None
    routed: bool = True
    mutable: bool = False


class RegisteredCapsule(BaseModel):
    """
    A registered capsule.

    `generation` is the revision of the register or replace that put it there, `modified_revision`
    that of its last change. `manifest_text` is the exact text given and `manifest_digest` its
    SHA-256. `form` is how the manifest is written, `rules` by which it is read and judged: those of
    its form, by name, or of a runtime, by version; `original` if it was registered before rules
    were told apart. `restored_generation` is that which a rollback has brought back as this one.
    `instance` is the very object that this process registered, else `None`; it is left
    out of equality, JSON and pickles.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    id: CapsuleId
    version: str
    manifest: CapsuleManifest
    manifest_text: str
    manifest_digest: str
    source_dir: str | None
    state: CapsuleState
    state_reason: str | None
    generation: int
    modified_revision: int
    registered_at: AwareDatetime
    form: ManifestForm
    rules: str
    restored_generation: int | None = None

    _instance: Any = PrivateAttr(default=None)

    @property
    def instance(self) -> Any:  # noqa: ANN401 - whatever was registered
        """The object that this process registered, or `None` if another process did."""
        return self._instance

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RegisteredCapsule):
            return NotImplemented
        return self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((self.id, self.generation, self.modified_revision))

    def __getstate__(self) -> dict[Any, Any]:
        return {**super().__getstate__(), "__pydantic_private__": {"_instance": None}}


class CapsuleSummary(BaseModel):
    """A registered capsule without its manifest; the fields are those of `RegisteredCapsule`."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    id: CapsuleId
    version: str
    manifest_digest: str
    source_dir: str | None
    state: CapsuleState
    state_reason: str | None
    generation: int
    modified_revision: int
    registered_at: AwareDatetime
    form: ManifestForm
    rules: str
    restored_generation: int | None = None


class RegisteredUplink(BaseModel):
    """An uplink, and the capsule id that it is registered under."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    capsule_id: CapsuleId
    descriptor: UplinkDescriptor


class RegisteredUuid(BaseModel):
    """A session UUID, its capsule id, registered or not, and its lease."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    uuid: UUID
    capsule_id: CapsuleId
    lease_id: UUID | None
    registered_at: AwareDatetime


class Lease(BaseModel):
    """
    A process's hold on session UUIDs, until `expires_at` unless renewed.

    `opened_revision` is its fencing token: the later of two leases has the greater one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    id: UUID
    name: str
    host: str
    pid: int
    actor: str
    ttl: timedelta
    opened_at: AwareDatetime
    opened_revision: int
    expires_at: AwareDatetime


class Grant(BaseModel):
    """
    An entry of a capsule's manifest: if it counts, one thing that it may do once it is ready.

    `matching` says how the value is compared, `place` where it stands (`capabilities`,
    `component 2`, `publish`, `subscribe`), `read_by` which runtimes read it there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    capsule_id: CapsuleId
    capability: str
    value: str
    state: CapsuleState
    matching: Matching
    place: str
    read_by: str
    counts: bool


class Interceptor(NamedTuple):
    """An action to run for an event; `instance` is the object this process registered, if any."""

    capsule_id: CapsuleId
    action: str
    instance: Any


class Provision(BaseModel):
    """A capability that a capsule offers to others, or an interface, which has a version."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    capsule_id: CapsuleId
    capability: str
    state: CapsuleState
    version: str | None = None


class Dependency(BaseModel):
    """
    A capability that a capsule requires, and all capsules providing it, itself included.

    Or an interface that it imports, in the versions that `version` asks for, and all others that
    export it so; without an `optional` one it works.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    capsule_id: CapsuleId
    requirement: str
    providers: tuple[CapsuleId, ...]
    version: str | None = None
    optional: bool = False


class SharedInterface(BaseModel):
    """An interface that several capsules export: none of them is the one who does."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    interface: str
    exporters: tuple[CapsuleId, ...]


class BootOrder(BaseModel):
    """
    The order in which capsules start: providers first, uplinks before all others.

    If some require each other in a cycle, `cycle` names them and those waiting for them, and
    `order` is that of registration, uplinks first. `unmet` lists what nobody provides, optional
    imports included; `shared` the interfaces that several export.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    order: tuple[CapsuleId, ...]
    unmet: tuple[Dependency, ...]
    cycle: tuple[CapsuleId, ...]
    shared: tuple[SharedInterface, ...] = ()


class ReadyStatus(StrEnum):
    """The outcome of waiting for a capsule."""

    READY = "ready"
    TIMEOUT = "timeout"
    CRASHED = "crashed"


class Anchor(BaseModel):
    """
    The hash of a namespace's whole history up to `revision`.

    Kept elsewhere, it shows whether that history was rewritten or truncated since. As text, it is
    one line of JSON.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    namespace: str
    incarnation: UUID
    revision: int = Field(ge=1)
    hash: str = Field(pattern=r"^[0-9a-f]{64}$")

    #: The most that is read of what is to be an anchor.
    MAX_BYTES: ClassVar = 4096

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Return the anchor in *text*, as written by `str`.

        Raises:
            InvalidTextError: The text is not an anchor.
        """
        if len(text) > cls.MAX_BYTES:
            message = f"it has more than {cls.MAX_BYTES} bytes"
            raise InvalidTextError("anchor", "too_large", message)
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise InvalidTextError("anchor", "grammar", error.errors()[0]["msg"]) from error

    def __str__(self) -> str:
        return canonical_json(self.model_dump(mode="json"))
