"""
A capsule to be registered: read once from the caller's object, and validated.

Nothing here needs the database, so all of it happens before the transaction begins.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from inspect import getattr_static
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from capsule_registry.canonical_json import canonical_json
from capsule_registry.errors import InvalidManifestError, InvalidTextError
from capsule_registry.identifiers import MAX_ID_LENGTH, CapsuleId
from capsule_registry.manifest.artifacts import artifacts_of
from capsule_registry.manifest.manifest import CapsuleManifest
from capsule_registry.manifest.parts import ToolDef
from capsule_registry.manifest.rights import Right, rights_of
from capsule_registry.manifest.tools import tools_of
from capsule_registry.models.records import CapsuleState
from capsule_registry.models.storable import (
    MAX_CAPABILITY,
    MAX_GRANT,
    MAX_NAME,
    require_short,
    storable_text,
    storable_values,
)
from capsule_registry.models.uplink import UplinkSource
from capsule_registry.plain_values import plain_text

if TYPE_CHECKING:
    from capsule_registry.models.storable import Bounded

#: What is read from a capsule's object, in this order.
_MEMBERS: Final = ("manifest", "tools", "id", "state", "state_reason", "source_dir")


@dataclass(frozen=True, slots=True)
class NewCapsule:
    """A validated capsule that every database can store."""

    id: CapsuleId
    manifest: CapsuleManifest
    manifest_json: dict[str, Any]
    digest: str
    state: CapsuleState | None  # If the object has one.
    state_reason: str | None
    source_dir: str | None
    #: What the object reported, or `None` if that is nothing, so that it may report later.
    reported_tools: tuple[ToolDef, ...] | None
    instance: object
    #: The generation that it is a return to.
    restored_generation: int | None = None

    @classmethod
    def of(cls, capsule: object) -> NewCapsule:
        """
        Read *capsule* (see `Capsule`), each of its members once.

        Raises:
            InvalidManifestError: The manifest or a tool breaks a rule, or cannot be stored.
            InvalidCapsuleIdError: The package name is not a capsule id.
            InvalidUplinkSourceError: It has uplinks, and its id begins or ends with a hyphen.
            InvalidTextError: The state is unknown, or its reason or the directory cannot be stored.
        """
        if isinstance(capsule, CapsuleManifest):
            members: dict[str, Any] = {"manifest": capsule}
        else:
            members = {name: _member(capsule, name) for name in _MEMBERS}
        manifest = storable_manifest(members.get("manifest"))
        return cls(
            id=_verified_id(manifest, members.get("id")),
            manifest=manifest,
            manifest_json=manifest.to_json(),
            digest=manifest.digest,
            state=_state(members.get("state")),
            state_reason=_text("state reason", members.get("state_reason")),
            source_dir=_directory(members.get("source_dir")),
            reported_tools=reported_tools(members.get("tools") or ()) or None,
            instance=capsule,
        )

    def restoring(
        self, generation: int, tools: Iterable[ToolDef] | None, source_dir: str | None
    ) -> NewCapsule:
        """Return the capsule as that *generation* was, with no object."""
        return replace(
            self,
            reported_tools=None if tools is None else tuple(tools),
            source_dir=source_dir,
            instance=None,
            restored_generation=generation,
        )

    def judged_by(self, runtime_version: str | None) -> NewCapsule:
        """
        Return the capsule with its manifest as that runtime reads it; if `None`, in its own form.

        Raises:
            InvalidManifestError: The manifest is refused then, or cannot be stored.
        """
        judged = self.manifest.judged_by(runtime_version)
        if judged is self.manifest:
            return self
        manifest = storable_manifest(judged)
        return replace(self, manifest=manifest, manifest_json=manifest.to_json())


def storable_manifest(manifest: object) -> CapsuleManifest:
    """
    Validate *manifest*, and return it as it will be read back.

    Raises:
        InvalidManifestError: It breaks a rule, or cannot be stored.
        InvalidTextError: A text of it is too long.
    """
    if not isinstance(manifest, CapsuleManifest):
        message = f"the manifest is no CapsuleManifest but {type(manifest).__name__}"
        raise InvalidManifestError(None, "wrong_type", message)
    values = storable_values(manifest)
    try:
        stored = CapsuleManifest.as_stored(manifest, values)
    except ValidationError as error:
        raise InvalidManifestError(None, "wrong_type", str(error.errors()[0]["msg"])) from error
    require_short(_bounded_texts(stored))
    return stored


def _bounded_texts(manifest: CapsuleManifest) -> list[Bounded]:
    """Return the texts whose length is limited."""
    capabilities = (*manifest.dependencies.requires, *manifest.effective_provides)
    found = [("capsule id", manifest.package.name, MAX_ID_LENGTH)]
    for uplink in manifest.uplinks:
        found += [("uplink name", uplink.name, MAX_NAME), ("platform", uplink.platform, MAX_NAME)]
    found += [("tool name", tool.name, MAX_NAME) for tool in tools_of(manifest)]
    found += [("command name", command.name, MAX_NAME) for command in manifest.commands]
    interfaces = (name for name, _ in (*manifest.all_imports, *manifest.all_exports))
    found += [("interface name", name, MAX_GRANT) for name in interfaces]
    found += [("hash of a file", one.hash, MAX_NAME) for one in artifacts_of(manifest)]
    counting = (right for right in rights_of(manifest) if right.counts)
    found += [(f"value of {right.capability}", right.value, MAX_GRANT) for right in counting]
    found += [("event of an interceptor", one.event, MAX_GRANT) for one in manifest.interceptors]
    found += [("capability", capability, MAX_CAPABILITY) for capability in capabilities]
    return found


def storable_rights(manifest: CapsuleManifest) -> list[Right]:
    """Return the rights of *manifest* but for those that are too long, none of which counts."""
    return [right for right in rights_of(manifest) if len(right.value) <= MAX_GRANT]


def tools_of_json(text: str | None) -> list[ToolDef] | None:
    """Return the reported tools that were stored as *text*; `None` if none were reported yet."""
    return None if text is None else [ToolDef.model_validate(tool) for tool in json.loads(text)]


def reported_tools(tools: object) -> tuple[ToolDef, ...]:
    """
    Validate *tools*: each a `ToolDef`, a mapping, or an object like one.

    Raises:
        InvalidManifestError: One is no tool, or cannot be stored.
    """
    return tuple(map(_tool_def, _listed(tools)))


def json_of_tools(tools: Iterable[ToolDef]) -> str:
    """Return *tools* as they are stored."""
    return canonical_json([one.model_dump(mode="json") for one in tools])


def _member(capsule: object, name: str) -> Any:  # noqa: ANN401 - the caller's own object
    """Return the member, called if it is a method; `None` if the object has none."""
    try:
        value = getattr(capsule, name)
    except AttributeError:
        missing = object()
        if getattr_static(capsule, name, missing) is missing:
            return None
        raise  # The member exists, but failed: that is not the same as having none.
    return value() if callable(value) else value


def _listed(tools: object) -> Iterable[object]:
    if not isinstance(tools, Iterable):
        message = f"the tools that the object reports are no list but {type(tools).__name__}"
        raise InvalidManifestError(None, "wrong_type", message)
    return tools


def _verified_id(manifest: CapsuleManifest, reported: object) -> CapsuleId:
    name = manifest.package.name
    if reported is not None and str(reported) != name:
        message = f"the object's id is {str(reported)!r}, its manifest's package name {name!r}"
        raise InvalidManifestError(None, "id_mismatch", message)
    capsule_id = CapsuleId(name)
    if manifest.uplinks:
        UplinkSource.wasm(capsule_id)  # The source of its uplinks.
    return capsule_id


def _state(value: Any) -> CapsuleState | None:  # noqa: ANN401 - the caller's own object
    return None if value is None else to_state(value)


def to_state(value: Any) -> CapsuleState:  # noqa: ANN401 - the caller's own object
    """
    Return the state of that name.

    Raises:
        InvalidTextError: There is no such state.
    """
    try:
        return CapsuleState(plain_text(value) or "")
    except ValueError as error:
        raise InvalidTextError("state", "unknown", f"{value!r} is no state") from error


def _text(field: str, value: object) -> str | None:
    return None if value is None else storable_text(field, str(value))


def _directory(value: Any) -> str | None:  # noqa: ANN401 - the caller's own object
    if value is None:
        return None
    try:
        directory = os.fsdecode(value)
    except TypeError as error:
        raise InvalidTextError("source directory", "no_path", str(error)) from error
    return storable_text("source directory", directory)


def _tool_def(tool: Any) -> ToolDef:  # noqa: ANN401 - a ToolDef, a mapping, or an object like one
    try:
        checked = ToolDef.model_validate(tool, from_attributes=True)
    except ValidationError as error:
        message = f"a tool that the object reports: {error.errors()[0]['msg']}"
        raise InvalidManifestError(None, "wrong_type", message) from error
    storable_values(checked)
    require_short([("tool name", checked.name, MAX_NAME)])
    return checked
