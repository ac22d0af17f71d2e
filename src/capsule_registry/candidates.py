"""
What is about to be registered: read from the caller's object once, checked, turned into rows.

Nothing here needs the database, so all of it is done before a transaction begins.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from capsule_registry.canonical import canonical_json
from capsule_registry.descriptors import UplinkSource
from capsule_registry.errors import InvalidManifestError, InvalidTextError
from capsule_registry.identifiers import MAX_ID_LENGTH, CapsuleId
from capsule_registry.manifest.manifest import CapsuleManifest
from capsule_registry.manifest.parts import ToolDef
from capsule_registry.records import CapsuleState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: The longest name of an uplink, a platform or a tool, and value of a grant, that every database
#: holds; and how deep JSON may nest in the one that allows the least (MariaDB).
MAX_NAME: Final = 255
MAX_GRANT: Final = 512
MAX_JSON_DEPTH: Final = 31

_LISTED_CAPABILITIES: Final = (
    "net",
    "kv",
    "fs_read",
    "fs_write",
    "host_process",
    "net_bind",
    "ipc_publish",
    "ipc_subscribe",
    "identity",
)
_FLAG_CAPABILITIES: Final = ("uplink", "allow_prompt_injection")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A capsule that every database can hold."""

    id: CapsuleId
    manifest: CapsuleManifest
    manifest_json: dict[str, Any]
    state: CapsuleState
    state_reason: str | None
    source_dir: str | None
    reported_tools: str | None
    tools: tuple[ToolDef, ...]
    instance: object

    @classmethod
    def of(cls, capsule: object) -> Candidate:
        """
        Read *capsule* (see `Capsule`), each of its members once.

        Raises:
            InvalidManifestError: The manifest breaks a rule, or holds what some database cannot.
            InvalidCapsuleIdError: The package name is no capsule id.
            InvalidUplinkSourceError: It has uplinks, and its id cannot be their source.
        """
        manifest = capsule if isinstance(capsule, CapsuleManifest) else _member(capsule, "manifest")
        if not isinstance(manifest, CapsuleManifest):
            message = f"{type(capsule).__name__}.manifest is no CapsuleManifest"
            raise InvalidManifestError(None, "wrong_type", message)
        manifest.check()
        capsule_id = _checked_id(manifest, None if manifest is capsule else _member(capsule, "id"))
        if manifest.uplinks:
            UplinkSource.wasm(capsule_id)
        members = _Members(None) if manifest is capsule else _Members(capsule)
        reported = tuple(_tool_def(tool) for tool in members.tools)
        candidate = cls(
            id=capsule_id,
            manifest=manifest,
            manifest_json=manifest.to_json(),
            state=members.state,
            state_reason=members.state_reason,
            source_dir=members.source_dir,
            reported_tools=canonical_json([tool.model_dump(mode="json") for tool in reported])
            if reported
            else None,
            tools=merged_tools(manifest.tools, reported),
            instance=capsule,
        )
        candidate._check_storable()
        return candidate

    def _check_storable(self) -> None:
        for rule, message in self._unstorable():
            raise InvalidManifestError(None, rule, message)

    def _unstorable(self) -> Iterator[tuple[str, str]]:
        """Yield what not every database can hold, as rule and sentence."""
        yield from _too_long("capsule id", self.id, MAX_ID_LENGTH)
        for uplink in self.manifest.uplinks:
            yield from _too_long("uplink name", uplink.name, MAX_NAME)
            yield from _too_long("platform", uplink.platform, MAX_NAME)
        for tool in self.tools:
            yield from _too_long("tool name", tool.name, MAX_NAME)
        for capability, _, value in grants_of(self.manifest):
            yield from _too_long(f"value of {capability}", value, MAX_GRANT)
        texts = (self.source_dir, self.state_reason, self.manifest.text)
        if any(text and "\0" in text for text in texts):
            yield "nul", "a stored text has the character U+0000"
        for values in (self.manifest_json, [tool.model_dump(mode="json") for tool in self.tools]):
            yield from _unstorable_json(values)


class _Members:
    """The optional members of a capsule's object, each read when it is asked for."""

    def __init__(self, capsule: object | None) -> None:
        self._capsule = capsule

    @property
    def tools(self) -> Iterable[object]:
        return self._member("tools") or ()

    @property
    def state(self) -> CapsuleState:
        state = self._member("state")
        try:
            return CapsuleState.READY if state is None else CapsuleState(state)
        except ValueError as error:
            raise InvalidTextError("state", "unknown", str(error)) from error

    @property
    def state_reason(self) -> str | None:
        reason = self._member("state_reason")
        return None if reason is None else str(reason)

    @property
    def source_dir(self) -> str | None:
        source_dir = self._member("source_dir")
        return None if source_dir is None else os.fspath(source_dir)

    def _member(self, name: str) -> Any:  # noqa: ANN401 - the caller's own object
        return None if self._capsule is None else _member(self._capsule, name)


def grants_of(manifest: CapsuleManifest) -> Iterator[tuple[str, int, str]]:
    """Yield what *manifest* asks to be allowed: capability, position in its list, value."""
    for capability in _LISTED_CAPABILITIES:
        for position, value in enumerate(getattr(manifest.capabilities, capability)):
            yield capability, position, value
    for capability in _FLAG_CAPABILITIES:
        if getattr(manifest.capabilities, capability):
            yield capability, 0, "true"


def merged_tools(declared: Iterable[ToolDef], reported: Iterable[ToolDef]) -> tuple[ToolDef, ...]:
    """Return the tools of the manifest, those that the object reports in place of its namesakes."""
    left = {tool.name: tool for tool in reported}
    names = set(left)
    merged = [left.pop(tool.name, None) if tool.name in names else tool for tool in declared]
    return (*(tool for tool in merged if tool is not None), *left.values())


def check_text(field: str, text: str | None, longest: int | None = None) -> None:
    """
    Refuse a text that not every database can hold.

    Raises:
        InvalidTextError: Rule `nul` or `too_long`.
    """
    if text is None:
        return
    if "\0" in text:
        raise InvalidTextError(field, "nul", "it has the character U+0000")
    if longest is not None:
        for rule, message in _too_long(field, text, longest):
            raise InvalidTextError(field, rule, message)


def _checked_id(manifest: CapsuleManifest, reported: object) -> CapsuleId:
    name = manifest.package.name
    if reported is not None and str(reported) != name:
        message = f"the object's id is {str(reported)!r}, its manifest's package name {name!r}"
        raise InvalidManifestError(None, "id_mismatch", message)
    return CapsuleId(name)


def _member(capsule: object, name: str) -> Any:  # noqa: ANN401 - the caller's own object
    value = getattr(capsule, name, None)
    return value() if callable(value) else value


def _tool_def(tool: Any) -> ToolDef:  # noqa: ANN401 - a ToolDef, a mapping, or an object like one
    if isinstance(tool, ToolDef):
        return tool
    try:
        return ToolDef.model_validate(tool, from_attributes=True)
    except ValidationError as error:
        message = f"a tool that the object reports: {error.errors()[0]['msg']}"
        raise InvalidManifestError(None, "wrong_type", message) from error


def _too_long(what: str, text: str, longest: int) -> Iterator[tuple[str, str]]:
    if len(text) > longest:
        yield "too_long", f"{what} has {len(text)} characters, at most {longest} can be stored"


def _unstorable_json(value: object, depth: int = 1) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and "\0" in value:
        yield "nul", "a text has the character U+0000"
    if isinstance(value, (dict, list)) and depth > MAX_JSON_DEPTH:
        yield "too_deep", f"values nest more than {MAX_JSON_DEPTH} levels deep"
        return
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _unstorable_json(key, depth + 1)
            yield from _unstorable_json(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _unstorable_json(item, depth + 1)
