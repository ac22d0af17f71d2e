"""The records of what manifests declare beyond rights and tools."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from capsule_registry.identifiers import CapsuleId
from capsule_registry.manifest.matchings import Matching
from capsule_registry.manifest.parts import CommandKind, TopicDirection
from capsule_registry.models.records import CapsuleState


class CallMode(StrEnum):
    """How those are called who are called for one topic."""

    #: One alone.
    SINGLE = "single"
    #: All at once; no result stops another.
    FAN_OUT = "fan_out"
    #: One after another: each may change what is passed on, or end it with an answer or a denial.
    CHAIN = "chain"


class Call(NamedTuple):
    """
    A handler to call for a topic.

    `topic` is the pattern that covers it. `is_gated` says that people call for the topic, each as
    far as they may. `instance` is the object that this process registered, if any.
    """

    capsule_id: CapsuleId
    handler: str
    priority: int
    topic: str
    mode: CallMode
    is_gated: bool
    instance: Any


class Route(BaseModel):
    """
    A topic or pattern that a capsule publishes or subscribes to.

    `matching` says how it covers topics, `place` where it stands: `publish`, `subscribe`,
    `capabilities`, or `interceptor`, which is called without a right to subscribe.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    capsule_id: CapsuleId
    state: CapsuleState
    direction: TopicDirection
    topic: str
    matching: Matching
    place: str
    handler: str | None
    priority: int | None
    wit: str | None
    pin_kind: str | None
    pin: str | None
    fanout: bool


class Command(BaseModel):
    """A command that a capsule answers, in a conversation (`slash`) or in a shell (`cli`)."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    capsule_id: CapsuleId
    state: CapsuleState
    name: str
    kind: CommandKind
    description: str | None


class Export(BaseModel):
    """An interface that a capsule offers to others, in one version."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    capsule_id: CapsuleId
    state: CapsuleState
    interface: str
    version: str


class Artifact(BaseModel):
    """A component or asset of a capsule's generation, and the hash that its manifest writes."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    capsule_id: CapsuleId
    generation: int
    kind: str
    name: str
    file: str
    hash: str
