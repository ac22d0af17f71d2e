"""
The tools of a capsule: what its manifest says, what its object reports, what its routes tell.

Source: astrid 0.2.0 to 2026.9. Today's runtime asks the running capsule which tools it has; what is
known before that stands here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from capsule_registry.manifest.handlers import handlers_of
from capsule_registry.manifest.matching import subtree_matches, topic_matches
from capsule_registry.manifest.parts import ToolDef
from capsule_registry.manifest.readings import ORIGINAL
from capsule_registry.manifest.routes import SUBSCRIBE, routes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from capsule_registry.manifest.manifest import CapsuleManifest
    from capsule_registry.manifest.parts import DescribedToolDef

    AnyTool = ToolDef | DescribedToolDef

#: The topic of a call of a tool, before its name; and of the question which tools there are.
_CALL: Final = "tool.v1.execute."
_QUESTION: Final = "tool.v1.request.describe"
#: No tool: its topic is that of an answer.
_RESULT: Final = "result"
#: A name that no literal pattern has.
_ANY_NAME: Final = "\0"


class ToolCatalogue(StrEnum):
    """What is known of a capsule's tools: these and no others, nothing yet, or that it has none."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    NONE = "none"


class ManifestTool(NamedTuple):
    """A tool, and how it is reached."""

    name: str
    #: What the model reads; `None` if only a route tells of the tool.
    description: str | None = None
    #: `None` unless `schema_known`.
    input_schema: Any = None
    schema_known: bool = False
    #: The record that its input is, by its name in WIT.
    input_schema_wit: str | None = None
    routed: bool = True
    mutable: bool = False


def tools_of(
    manifest: CapsuleManifest, reported: Sequence[ToolDef] | None = None
) -> list[ManifestTool]:
    """
    Return the tools: those of the manifest, the other reported ones, and those of routes by name.

    A reported tool takes the place of the manifest's of the same name. Of today's several that
    share a name the first counts.
    """
    events = [one.event for one in handlers_of(manifest)]
    found = [
        _known_tool(manifest, events, tool) for tool in merged_tools(manifest.tools, reported or ())
    ]
    if _calls_tools_itself(manifest):
        return found
    found = [*{tool.name: tool for tool in reversed(found)}.values()][::-1]
    names = {tool.name for tool in found}
    return found + [ManifestTool(name) for name in sorted({*_routed_names(events)} - names)]


def catalogue_of(
    manifest: CapsuleManifest, reported: Sequence[ToolDef] | None = None
) -> ToolCatalogue:
    """Return what is known of the tools before the capsule runs, or since it has *reported*."""
    has_tools = bool(tools_of(manifest, reported))
    if reported is not None:
        return ToolCatalogue.KNOWN if has_tools else ToolCatalogue.NONE
    if manifest.rules == ORIGINAL:
        return ToolCatalogue.KNOWN if has_tools else ToolCatalogue.UNKNOWN
    has_any_name = any(_reaches_any(one.event) for one in handlers_of(manifest))
    if has_tools and not has_any_name:
        return ToolCatalogue.KNOWN
    if has_any_name or any(map(_may_concern_tools, _subscribed(manifest))):
        return ToolCatalogue.UNKNOWN
    return ToolCatalogue.NONE


def merged_tools(declared: Iterable[AnyTool], reported: Iterable[ToolDef]) -> tuple[AnyTool, ...]:
    """Return the declared tools, replaced by reported namesakes, then the other reported ones."""
    left = list(reported)
    names = {tool.name for tool in left}
    merged: list[AnyTool] = []
    for tool in declared:
        if tool.name not in names:
            merged.append(tool)
        else:
            merged += [mine for mine in left if mine.name == tool.name]
            left = [mine for mine in left if mine.name != tool.name]
    return (*merged, *left)


def _calls_tools_itself(manifest: CapsuleManifest) -> bool:
    """Return whether the runtime calls tools itself, and dispatches no topics for them."""
    return manifest.rules == ORIGINAL or not manifest.reading.topic_tables


def _known_tool(manifest: CapsuleManifest, events: Sequence[str], tool: AnyTool) -> ManifestTool:
    is_told = isinstance(tool, ToolDef)
    topic = f"{_CALL}{tool.name}"
    return ManifestTool(
        name=tool.name,
        description=tool.description,
        input_schema=tool.input_schema,
        schema_known=is_told,
        input_schema_wit=None if isinstance(tool, ToolDef) else tool.input_schema_wit,
        routed=_calls_tools_itself(manifest) or any(topic_matches(topic, one) for one in events),
        mutable=not isinstance(tool, ToolDef) and tool.mutable,
    )


def _routed_names(events: Iterable[str]) -> Iterable[str]:
    """Yield the names of tools that handlers are called for, one by one."""
    for event in events:
        name = event.removeprefix(_CALL)
        if name != event and name not in ("*", _RESULT) and "." not in name:
            yield name


def _reaches_any(event: str) -> bool:
    """Return whether a handler of the *event* is called for any tool, whatever its name."""
    return topic_matches(f"{_CALL}{_ANY_NAME}", event)


def _subscribed(manifest: CapsuleManifest) -> Iterable[str]:
    return (one.topic for one in routes_of(manifest) if one.direction == SUBSCRIBE)


def _may_concern_tools(topic: str) -> bool:
    """Return whether who subscribes to *topic* may be told of calls, or asked for its tools."""
    name = topic.removeprefix(_CALL)
    if name != topic and "." not in name:
        return name != _RESULT
    return any(subtree_matches(one, topic) for one in (_QUESTION, f"{_CALL}{_ANY_NAME}"))
