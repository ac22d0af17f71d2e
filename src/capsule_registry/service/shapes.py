"""The JSON objects that are no records of the library, for OpenAPI; `json_shapes` makes them."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictFloat

from capsule_registry.identifiers import CapsuleId
from capsule_registry.manifest.tools import ToolCatalogue
from capsule_registry.models.comparison import ManifestEntry
from capsule_registry.models.declarations import CallMode
from capsule_registry.models.records import RegisteredCapsule
from capsule_registry.models.uplink import UplinkDescriptor
from capsule_registry.permissions.checks import Decision


class Shape(BaseModel):
    """An object with these members and no others."""

    model_config = ConfigDict(extra="forbid")


class Namespace(Shape):
    """A namespace and the head of its history."""

    name: str
    revision: int
    capsule_count: int
    head_hash: str
    incarnation: UUID
    runtime_version: str | None


class Uplink(UplinkDescriptor):
    """An uplink, and the capsule id it is filed under."""

    model_config = ConfigDict(extra="forbid")

    capsule_id: CapsuleId


class InterceptorAction(Shape):
    """A capsule's action for an event."""

    capsule_id: CapsuleId
    action: str


class HandlerCall(Shape):
    """A handler to call for a topic."""

    capsule_id: CapsuleId
    handler: str
    priority: int
    topic: str
    mode: CallMode
    is_gated: bool


class Party(Shape):
    """A capsule that publishes or hears a topic."""

    capsule_id: CapsuleId


class Resolution(Shape):
    """The id that a UUID is filed under, registered or not, if any."""

    uuid: UUID
    capsule_id: CapsuleId | None


class Catalogue(Shape):
    """What is known of a capsule's tools."""

    tool_catalogue: ToolCatalogue


class ManifestChange(ManifestEntry):
    """What one manifest has, and the other has not."""

    change: Literal["added", "removed"]


class Change(Shape):
    """What a write did: its revision, if it made one, and whether it was done already before."""

    revision: int | None = Field(description="The revision that it made; null if it changed none.")
    repeated: bool = Field(
        description="It was done before under this Idempotency-Key, as that revision; `result` is "
        "null then."
    )


class CapsuleChange(Change):
    """What a write did to a capsule."""

    result: RegisteredCapsule | None


class CapsulesChange(Change):
    """What a write did to capsules."""

    result: list[RegisteredCapsule] | None


class RemovalChange(Change):
    """Whether there was what was to be removed."""

    result: bool | None


class CountChange(Change):
    """How many a write did something to."""

    result: int | None


class NothingChange(Change):
    """A write that returns nothing."""

    result: None = None


Decisions = Decision | list[Decision]
Resolutions = Resolution | list[Resolution]


class ReadyQuestion(Shape):
    """Which capsules to wait for, and how long."""

    ids: list[CapsuleId] = Field(max_length=1_000)
    timeout: StrictFloat = Field(default=10, ge=0, le=60, description="Seconds.")

    @property
    def patience(self) -> timedelta:
        """How long to wait."""
        return timedelta(seconds=self.timeout)
