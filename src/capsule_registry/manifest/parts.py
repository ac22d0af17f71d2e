"""
The tables of a manifest, each a frozen model.

Source: astrid-capsule 0.2.0 `manifest.rs`. Field order is the original's, because a table may also
be written as an array of its values. A default of `None` marks what may be absent from a table but
not from such an array; any other default may be absent from both. Unknown keys are kept.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    model_validator,
)
from pydantic_core import PydanticCustomError

from capsule_registry.manifest.matching import trim

#: A list of strings; kept as a tuple, so that a manifest is frozen all the way down.
Texts = Annotated[tuple[StrictStr, ...], Field(strict=False)]


class UplinkProfile(StrEnum):
    """How people talk through an uplink."""

    CHAT = "chat"
    INTERACTIVE = "interactive"
    NOTIFY = "notify"
    BRIDGE = "bridge"

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Return the profile that *text* names, ignoring case and surrounding white space.

        Raises:
            ValueError: `unknown uplink profile: …`.
        """
        name = trim(text.lower())
        try:
            return cls(name)
        except ValueError:
            message = f"unknown uplink profile: {name}"
            raise ValueError(message) from None


class TopicDirection(StrEnum):
    """Whether a capsule publishes a topic or subscribes to it."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"


def _variant_name(value: object) -> object:
    """Return the name in `{ name = {} }`, the other way to write a variant."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and len(value) == 1 and list(value.values()) in ([{}], [[]]):
        return next(iter(value))
    raise PydanticCustomError("wrong_type", "expected the name of a variant")


_Variant = BeforeValidator(_variant_name)


class ManifestPart(BaseModel):
    """The base of all tables of a manifest."""

    model_config = ConfigDict(
        frozen=True, extra="allow", validate_by_alias=True, validate_by_name=True
    )

    @model_validator(mode="before")
    @classmethod
    def _from_array(cls, value: object) -> object:
        """Read the array form of a table: values by position, extra ones ignored."""
        if not isinstance(value, list):
            return value
        keys = [field.alias or name for name, field in cls.model_fields.items()]
        needed = [
            number
            for number, field in enumerate(cls.model_fields.values(), start=1)
            if field.is_required() or (field.default is None and not field.default_factory)
        ]
        if len(value) < max(needed, default=0):
            raise PydanticCustomError(
                "wrong_type",
                "invalid length {length}, expected {table} with {count} elements",
                {"length": len(value), "table": cls.__name__, "count": len(keys)},
            )
        return dict(zip(keys, value, strict=False))


class PackageDef(ManifestPart):
    """`[package]`: who the capsule is; `name` becomes its id."""

    name: StrictStr
    version: StrictStr
    description: StrictStr | None = None
    authors: Texts = ()
    repository: StrictStr | None = None
    homepage: StrictStr | None = None
    documentation: StrictStr | None = None
    license: StrictStr | None = None
    license_file: StrictStr | None = Field(default=None, alias="license-file")
    readme: StrictStr | None = None
    keywords: Texts = ()
    categories: Texts = ()
    astrid_version: StrictStr | None = Field(default=None, alias="astrid-version")
    publish: StrictBool | None = None
    include: Texts | None = None
    exclude: Texts | None = None
    metadata: Any = None


class CapabilitiesDef(ManifestPart):
    """`[capabilities]`: what the capsule asks to be allowed."""

    uplink: StrictBool = False
    net: Texts = ()
    kv: Texts = ()
    fs_read: Texts = ()
    fs_write: Texts = ()
    host_process: Texts = ()
    net_bind: Texts = ()
    ipc_publish: Texts = ()
    ipc_subscribe: Texts = ()
    identity: Texts = ()
    allow_prompt_injection: StrictBool = False


class ComponentDef(ManifestPart):
    """`[[component]]`: a file that the capsule runs; `entrypoint` is another name for `file`."""

    id: StrictStr = ""
    file: StrictStr = Field(
        validation_alias=AliasChoices("file", "entrypoint"), serialization_alias="file"
    )
    hash: StrictStr | None = None
    type: StrictStr = ""
    link: Texts = ()
    capabilities: CapabilitiesDef | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_name_for_file(cls, value: object) -> object:
        if isinstance(value, dict) and {"file", "entrypoint"} <= value.keys():
            raise PydanticCustomError("duplicate_field", "duplicate field `file`")
        return value


class DependenciesDef(ManifestPart):
    """`[dependencies]`: capabilities that the capsule offers to others and needs from them."""

    provides: Texts = ()
    requires: Texts = ()


class EnvDef(ManifestPart):
    """`[env.NAME]`: a setting that the capsule asks for."""

    type: StrictStr
    request: StrictStr | None = None
    description: StrictStr | None = None
    default: Any = None
    enum_values: Texts = ()
    placeholder: StrictStr | None = Field(default=None, exclude_if=lambda value: value is None)


class ContextFileDef(ManifestPart):
    """`[[context_file]]`: a file to be put before the model."""

    name: StrictStr
    file: StrictStr


class CommandDef(ManifestPart):
    """`[[command]]`: a command that people may type."""

    name: StrictStr
    description: StrictStr | None = None
    file: StrictStr | None = None


class McpServerDef(ManifestPart):
    """`[[mcp_server]]`: a Model Context Protocol server that the capsule starts."""

    id: StrictStr
    description: StrictStr | None = None
    type: StrictStr | None = None
    command: StrictStr | None = None
    args: Texts = ()


class SkillDef(ManifestPart):
    """`[[skill]]`: a document that teaches the model something."""

    name: StrictStr
    description: StrictStr | None = None
    file: StrictStr


class UplinkDef(ManifestPart):
    """`[[uplink]]`: a connection to a platform; the platform is normalised when registered."""

    name: StrictStr
    platform: StrictStr
    profile: Annotated[UplinkProfile, _Variant]


class LlmProviderDef(ManifestPart):
    """`[[llm_provider]]`: a model that the capsule serves."""

    id: StrictStr
    description: StrictStr | None = None
    capabilities: Texts = ()


class InterceptorDef(ManifestPart):
    """`[[interceptor]]`: an action to run for events whose topic matches `event`."""

    event: StrictStr
    action: StrictStr


class CronDef(ManifestPart):
    """`[[cron]]`: an action to run on a schedule."""

    name: StrictStr
    schedule: StrictStr
    action: StrictStr


class ToolDef(ManifestPart):
    """`[[tool]]`: a function that the model may call; `input_schema` is any JSON value."""

    name: StrictStr
    description: StrictStr
    input_schema: Any


class TopicDef(ManifestPart):
    """`[[topic]]`: a topic that the capsule declares."""

    name: StrictStr
    direction: Annotated[TopicDirection, _Variant]
    description: StrictStr | None = None
    schema_path: StrictStr | None = Field(default=None, alias="schema")
