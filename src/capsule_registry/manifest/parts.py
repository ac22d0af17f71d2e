"""
The tables of a manifest, each a frozen model.

Source: astrid-capsule 0.2.0 `manifest.rs`, and astrid 010d22d for what came later.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Self

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationInfo,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from capsule_registry.errors import InvalidTextError
from capsule_registry.manifest.matching import trim
from capsule_registry.manifest.part import ManifestPart, is_empty, is_none
from capsule_registry.manifest.readings import Reading
from capsule_registry.plain_values import plain_text

if TYPE_CHECKING:
    from pydantic import ValidatorFunctionWrapHandler

LAST_PRIORITY: Final = 2**32 - 1
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


class CommandKind(StrEnum):
    """Where people type a command: in a conversation, or in a shell."""

    SLASH = "slash"
    CLI = "cli"


def to_command_kind(value: str) -> CommandKind:
    """
    Return the kind of that name.

    Raises:
        InvalidTextError: There is no such kind.
    """
    try:
        return CommandKind(plain_text(value) or "")
    except ValueError as error:
        raise InvalidTextError("kind", "unknown", f"{value!r} is no kind of command") from error


def _variant_name(value: object) -> object:
    """Return the name in `{ name = {} }`, the other way to write a variant."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and len(value) == 1 and list(value.values()) in ([{}], [[]]):
        return next(iter(value))
    raise PydanticCustomError("wrong_type", "expected the name of a variant")


_Variant = BeforeValidator(_variant_name)


def _kind_name(value: object) -> object:
    """Return the name of a variant; what can be none is no TOML, by today's parser."""
    try:
        return _variant_name(value)
    except PydanticCustomError:
        raise PydanticCustomError("toml_syntax", "expected `slash` or `cli`") from None


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
    net_connect: Texts = Field(default=(), exclude_if=is_empty)
    allow_persistent: StrictBool = Field(default=False, exclude_if=is_empty)
    bind_workers: Annotated[StrictInt, Field(ge=0, lt=2**64)] | None = Field(
        default_factory=lambda: None, exclude_if=is_none
    )

    read_if: ClassVar[Mapping[str, str]] = {
        "ipc_publish": "topic_arrays",
        "ipc_subscribe": "topic_arrays",
        "net_connect": "net_connect",
        "allow_persistent": "allow_persistent",
        "bind_workers": "bind_workers",
    }


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


class OptionsDef(ManifestPart):
    """Where the values that a setting may have are asked for."""

    http: StrictStr
    bearer: StrictStr | None = None
    select: StrictStr | None = None
    after: Texts = ()


class EnvDef(ManifestPart):
    """`[env.NAME]`: a setting that the capsule asks for."""

    type: StrictStr
    request: StrictStr | None = None
    description: StrictStr | None = None
    default: Any = None
    enum_values: Texts = ()
    placeholder: StrictStr | None = Field(default=None, exclude_if=is_none)
    options_from: OptionsDef | None = Field(
        default_factory=lambda: None,
        validation_alias=AliasChoices("options_from", "options-from"),
        serialization_alias="options_from",
        exclude_if=is_none,
    )

    read_if: ClassVar[Mapping[str, str]] = {"options_from": "kinds"}

    @model_validator(mode="before")
    @classmethod
    def _one_name_for_options(cls, value: object) -> object:
        if isinstance(value, dict) and {"options_from", "options-from"} <= value.keys():
            raise PydanticCustomError("duplicate_field", "duplicate field `options_from`")
        return value


class ContextFileDef(ManifestPart):
    """`[[context_file]]`: a file to be put before the model."""

    name: StrictStr
    file: StrictStr


class CommandDef(ManifestPart):
    """`[[command]]`: a command that people may type."""

    name: StrictStr
    description: StrictStr | None = None
    file: StrictStr | None = None
    kind: Annotated[CommandKind, BeforeValidator(_kind_name)] = Field(
        default=CommandKind.SLASH, exclude_if=lambda value: value is CommandKind.SLASH
    )

    read_if: ClassVar[Mapping[str, str]] = {"kind": "kinds"}


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
    priority: Annotated[StrictInt, Field(ge=0, le=LAST_PRIORITY)] | None = Field(
        default_factory=lambda: None, exclude_if=is_none
    )

    read_if: ClassVar[Mapping[str, str]] = {"priority": "imports"}


class CronDef(ManifestPart):
    """`[[cron]]`: an action to run on a schedule."""

    name: StrictStr
    schedule: StrictStr
    action: StrictStr


class ToolDef(ManifestPart):
    """`[[tool]]` of 0.2.0: a function that the model may call; `input_schema` is any JSON value."""

    name: StrictStr
    description: StrictStr
    input_schema: Any


class DescribedToolDef(ManifestPart):
    """`[[tool]]` of today: a function that the model may call, whose schema the capsule tells."""

    name: StrictStr
    description_for_llm: StrictStr
    input_schema_wit: StrictStr | None = Field(default_factory=lambda: None, exclude_if=is_none)
    mutable: StrictBool = Field(default=False, exclude_if=is_empty)

    @property
    def description(self) -> str:
        """What the model reads."""
        return self.description_for_llm

    @property
    def input_schema(self) -> None:
        """Unknown: the manifest names a record at most."""
        return None


def _tool_of_its_kind(
    value: object,
    handler: ValidatorFunctionWrapHandler,
    info: ValidationInfo,
) -> ToolDef | DescribedToolDef:
    """Bind a tool in the shape that the reading knows; without one, in that which it has."""
    if not isinstance(value, (dict, list)):
        return handler(value)  # type: ignore[no-any-return]  # one of both
    is_described = "description_for_llm" in value
    if isinstance(info.context, Reading):
        is_described = info.context.topic_tables
    kind = DescribedToolDef if is_described else ToolDef
    return kind.model_validate(value, context=info.context)


#: A tool of either shape.
AnyToolDef = Annotated[ToolDef | DescribedToolDef, WrapValidator(_tool_of_its_kind)]


class TopicDef(ManifestPart):
    """`[[topic]]`: a topic that the capsule declares."""

    name: StrictStr
    direction: Annotated[TopicDirection, _Variant]
    description: StrictStr | None = None
    schema_path: StrictStr | None = Field(default=None, alias="schema")
