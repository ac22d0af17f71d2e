"""Uplinks as values: what connects a capsule to a platform."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from capsule_registry.errors import InvalidTextError, InvalidUplinkSourceError
from capsule_registry.identifiers import UplinkId, quoted
from capsule_registry.manifest.matching import normalize_platform
from capsule_registry.manifest.parts import UplinkProfile
from capsule_registry.models.storable import storable_text
from capsule_registry.plain_values import plain_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: The seven capabilities of an uplink; the first is bit 0 of the mask.
UPLINK_FLAGS: Final = (
    "can_receive",
    "can_send",
    "can_approve",
    "can_elicit",
    "supports_rich_media",
    "supports_threads",
    "supports_buttons",
)
_SHOWN_ID_BYTES: Final = 64
_SOURCE_ID: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


class UplinkCapabilities(BaseModel):
    """What an uplink can do; all false by default. JSON must have all seven, as in the original."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    can_receive: StrictBool = False
    can_send: StrictBool = False
    can_approve: StrictBool = False
    can_elicit: StrictBool = False
    supports_rich_media: StrictBool = False
    supports_threads: StrictBool = False
    supports_buttons: StrictBool = False

    @classmethod
    def full(cls) -> Self:
        """Return all seven capabilities."""
        return cls(**dict.fromkeys(UPLINK_FLAGS, True))

    @classmethod
    def notify_only(cls) -> Self:
        """Return the capability to send alone."""
        return cls(can_send=True)

    @classmethod
    def receive_only(cls) -> Self:
        """Return the capability to receive alone: what a manifest's uplink gets."""
        return cls(can_receive=True)

    @classmethod
    def from_mask(cls, mask: int) -> Self:
        """Return the capabilities whose `mask` is *mask*, 0 to 127."""
        return cls(**{flag: bool(mask >> bit & 1) for bit, flag in enumerate(UPLINK_FLAGS)})

    @property
    def mask(self) -> int:
        """The seven flags as bits, `can_receive` being bit 0; indexed in the database."""
        return capability_mask(self.__dict__)

    @model_validator(mode="before")
    @classmethod
    def _all_in_json(cls, value: object, info: ValidationInfo) -> object:
        if info.mode == "json" and isinstance(value, dict):
            missing = [flag for flag in UPLINK_FLAGS if flag not in value]
            if missing:
                message = f"missing: {', '.join(missing)}"
                raise ValueError(message)
        return value


class UplinkSource(BaseModel):
    """
    Where an uplink comes from: the host itself, or a capsule.

    Made by `native()`, `wasm(id)` and `openclaw(id)`. As text `native`, `wasm(ID)`,
    `openclaw(ID)`; in JSON `"native"`, `{"wasm": {"capsule_id": ID}}`,
    `{"open_claw": {"capsule_id": ID}}`, which is read without checking the id.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    kind: Literal["native", "wasm", "open_claw"]
    capsule_id: str | None

    @classmethod
    def native(cls) -> UplinkSource:
        """Return the source of an uplink that no capsule brought."""
        return cls.model_construct(kind="native", capsule_id=None)

    @classmethod
    def wasm(cls, capsule_id: str) -> UplinkSource:
        """
        Return the source of an uplink of a WebAssembly capsule.

        Raises:
            InvalidUplinkSourceError: *capsule_id* is empty, begins or ends with a hyphen, or has
                a character outside `a-z`, `0-9` and `-`: stricter than a capsule id.
        """
        return cls.model_construct(kind="wasm", capsule_id=_source_id(capsule_id))

    @classmethod
    def openclaw(cls, capsule_id: str) -> UplinkSource:
        """Return the source of an uplink of an OpenClaw plug-in; raises as `wasm` does."""
        return cls.model_construct(kind="open_claw", capsule_id=_source_id(capsule_id))

    @model_validator(mode="before")
    @classmethod
    def _from_json(cls, value: object) -> object:
        if value == "native":
            return {"kind": "native", "capsule_id": None}
        if isinstance(value, dict) and len(value) == 1:
            [(kind, inner)] = value.items()
            if isinstance(inner, dict) and isinstance(inner.get("capsule_id"), str):
                return {"kind": kind, "capsule_id": inner["capsule_id"]}
        return value

    @model_validator(mode="after")
    def _native_has_no_id(self) -> Self:
        if (self.kind == "native") is not (self.capsule_id is None):
            message = "native has no capsule id, any other source has one"
            raise ValueError(message)
        return self

    @model_serializer
    def _to_json(self) -> str | dict[str, dict[str, str | None]]:
        return self.kind if self.kind == "native" else {self.kind: {"capsule_id": self.capsule_id}}

    def __str__(self) -> str:
        if self.capsule_id is None:
            return self.kind
        shown = self.capsule_id.encode()[:_SHOWN_ID_BYTES].decode(errors="ignore")
        return f"{self.kind.replace('_', '')}({shown})"


class UplinkDescriptor(BaseModel):
    """
    One uplink: its id, name, platform and capabilities.

    Built in code, the platform is normalised (trimmed, ASCII lower case), and the id and the time
    are generated if not given; read from JSON, it is kept as it is. Equality covers all fields.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    id: UplinkId = Field(default_factory=UplinkId.new)
    name: str
    platform: str
    source: UplinkSource = UplinkSource.native()
    capabilities: UplinkCapabilities = UplinkCapabilities()
    profile: UplinkProfile = UplinkProfile.CHAT
    registered_at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    metadata: dict[str, str] = Field(default_factory=dict)

    @field_validator("platform")
    @classmethod
    def _normalize(cls, platform: str, info: ValidationInfo) -> str:
        return normalize_platform(platform) if info.mode == "python" else platform


def capability_mask(flags: Mapping[Any, Any]) -> int:
    """Return the `mask` of *flags*, given by name, as in a row."""
    return sum(bool(flags[flag]) << bit for bit, flag in enumerate(UPLINK_FLAGS))


def masks_with(**flags: bool | None) -> list[int] | None:
    """Return the masks that match the *flags* given; `None`, for any, if none is given."""
    given = {name: bool(flag) for name, flag in flags.items() if flag is not None}
    if not given:
        return None
    wanted = UplinkCapabilities(**given).mask
    asked = UplinkCapabilities(**dict.fromkeys(given, True)).mask
    return [mask for mask in range(1 << len(UPLINK_FLAGS)) if mask & asked == wanted]


def masks_satisfying(predicate: Any) -> Iterator[int]:  # noqa: ANN401 - truthiness is asked
    """Yield the masks, of all 128, whose capabilities satisfy *predicate*, ascending."""
    for mask in range(1 << len(UPLINK_FLAGS)):
        if predicate(UplinkCapabilities.from_mask(mask)):
            yield mask


def to_profile(value: UplinkProfile | str) -> UplinkProfile:
    """
    Return the profile of that name.

    Raises:
        InvalidTextError: There is no such profile.
    """
    try:
        return UplinkProfile(plain_text(value) or "")
    except ValueError as error:
        raise InvalidTextError("profile", "unknown", f"{value!r} is no profile") from error


def storable_platform(text: str) -> str:
    """
    Return the platform *text*, normalised.

    Raises:
        InvalidTextError: Not every database can store it.
    """
    return normalize_platform(storable_text("platform", text))


def _source_id(text: str) -> str:
    """Check the stricter grammar. Source: astrid-core 0.2.0 `uplink/types.rs`."""
    if _SOURCE_ID.fullmatch(text):
        return text
    if not text:
        raise InvalidUplinkSourceError(text, "capsule_id must not be empty")
    shown = f'"{"".join(quoted(c) for c in text)}"'
    if not ("a" <= text[0] <= "z" or "0" <= text[0] <= "9"):
        raise InvalidUplinkSourceError(text, f"capsule_id must start with [a-z0-9], got {shown}")
    if text.endswith("-"):
        raise InvalidUplinkSourceError(text, f"capsule_id must not end with a hyphen, got {shown}")
    wrong = next(character for character in text if not _SOURCE_ID.fullmatch(f"0{character}0"))
    reason = f"capsule_id contains invalid character '{quoted(wrong)}'"
    raise InvalidUplinkSourceError(text, reason)
