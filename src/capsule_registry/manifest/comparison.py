"""
What one manifest says more, and less, than another: rights, topics, handlers, tools and the rest.

Entries are compared by their text, as astrid 010d22d compares rights: `a.example` after `*` is an
addition. Two rights of one text differ too if they allow something else.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from capsule_registry.canonical_json import canonical_json
from capsule_registry.manifest.matchings import Matching
from capsule_registry.manifest.rights import rights_of
from capsule_registry.manifest.routes import routes_of
from capsule_registry.manifest.tools import tools_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from capsule_registry.manifest.manifest import CapsuleManifest
    from capsule_registry.manifest.parts import ToolDef
    from capsule_registry.manifest.rights import Right

    Reported = Sequence[ToolDef] | None


class Part(StrEnum):
    """A part of a manifest whose entries are compared."""

    #: An entry of `[capabilities]`: the capability, and its value.
    RIGHT = "right"
    #: A key of `[publish]` or `[subscribe]`: the capability that it is a right of, and the topic.
    TOPIC = "topic"
    #: A topic, and what is called for it.
    HANDLER = "handler"
    #: A tool's name.
    TOOL = "tool"
    #: The kind of a command, and its name.
    COMMAND = "command"
    #: An interface, and the versions that are asked for.
    IMPORT = "import"
    #: An interface, and its version.
    EXPORT = "export"


#: The parts that are rights.
RIGHTS: Final = (Part.RIGHT, Part.TOPIC)


class Entry(NamedTuple):
    """An entry of a manifest; `matching` says of a right how it is compared with what is asked."""

    part: Part
    name: str
    value: str
    matching: Matching | None = None


class Difference(NamedTuple):
    """The entries that a manifest has and the one before had not, and those that it has no more."""

    added: tuple[Entry, ...] = ()
    removed: tuple[Entry, ...] = ()

    def to_json(self) -> str | None:
        """Return it as the history stores it, or `None` if nothing was added or removed."""
        if not (self.added or self.removed):
            return None
        return canonical_json(
            [["added", *one] for one in self.added] + [["removed", *one] for one in self.removed]
        )


def compared(
    old: CapsuleManifest | None,
    new: CapsuleManifest | None,
    *,
    reported: tuple[Reported, Reported] = (None, None),
) -> Difference:
    """
    Return what *new* adds to *old*, and removes, in the order of the manifests.

    Args:
        old: `None` if there was no capsule.
        new: `None` if there is no more.
        reported: The tools that the object of each has reported.
    """
    rights = [[] if one is None else rights_of(one) for one in (old, new)]
    sides = []
    for manifest, of_side, tools in zip((old, new), rights, reported, strict=True):
        entries = [] if rights[0] == rights[1] else [*_rights(of_side)]
        sides.append(entries if manifest is None else [*entries, *_others(manifest, tools)])
    before, after = sides
    return Difference(_without(after, before), _without(before, after))


def meaning(matching: Matching, value: str) -> Matching:
    """Return the same for rights of one value that allow the same, though compared otherwise."""
    match matching:
        case Matching.SUBTREE if not value.endswith(".*"):
            return Matching.SEGMENTS
        case Matching.HOST_ANY_CASE if value == value.lower() and ":" not in value:
            return Matching.HOST
        case Matching.COMMAND if value:
            return Matching.PROGRAM
        case _:
            return matching


def _without(these: Sequence[Entry], those: Sequence[Entry]) -> tuple[Entry, ...]:
    left_out = {*map(_meant, those)}
    return tuple(one for one in these if _meant(one) not in left_out)


def _meant(one: Entry) -> Entry:
    return one if one.matching is None else one._replace(matching=meaning(one.matching, one.value))


def _rights(rights: Iterable[Right]) -> Iterator[Entry]:
    for right in rights:
        if right.counts:
            part = Part.TOPIC if right.place in ("publish", "subscribe") else Part.RIGHT
            yield Entry(part, right.capability, right.value, right.matching)


def _others(manifest: CapsuleManifest, reported: Reported) -> Iterator[Entry]:
    for route in routes_of(manifest):
        if route.handler is not None:
            yield Entry(Part.HANDLER, route.topic, route.handler)
    for tool in tools_of(manifest, reported):
        yield Entry(Part.TOOL, tool.name, "")
    for command in manifest.commands:
        yield Entry(Part.COMMAND, command.kind, command.name)
    for name, wanted in manifest.all_imports:
        yield Entry(Part.IMPORT, name, wanted.version)
    for name, offered in manifest.all_exports:
        yield Entry(Part.EXPORT, name, offered.version)
