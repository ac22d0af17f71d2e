"""
The rules for a manifest of the right shape, one function per part.

The first one broken is reported. Source: astrid-capsule 0.2.0, manifest load, in the original's
order and wording; for today's tables astrid 010d22d.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from capsule_registry.manifest.matching import has_valid_segments
from capsule_registry.manifest.semver import Requirement, SemverError, Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from capsule_registry.manifest.parts import (
        CommandDef,
        DependenciesDef,
        InterceptorDef,
        PackageDef,
        TopicDef,
    )

    #: The name of the broken rule, and a message.
    Violation = tuple[str, str]

_NAME_OF_INTERFACE: Final = re.compile(r"[a-z][a-z0-9-]*")
#: The first version by the calendar.
_CALENDAR: Final = (2026, 0, 0)
_VERB: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
#: Verbs of the runtime's own command.
_RESERVED: Final = frozenset(
    {
        *("new", "install", "update", "list", "remove", "tree", "deps", "build", "check"),
        *("config", "show", "run", "help"),
    }
)
_CAPABILITY_TYPES: Final = ("topic", "tool", "llm", "uplink")
_EMPTY_SEGMENTS: Final = (
    "contains empty segments (consecutive dots, leading/trailing dots, or is empty)"
)
_TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]*", re.ASCII)


def of_topic_keys(table: str, keys: Iterable[str]) -> Iterator[Violation]:
    """Yield the violations in the topics and patterns of a table."""
    for key in keys:
        if not has_valid_segments(key):
            yield f"empty_segments_{table}", f"[{table}] key '{key}' {_EMPTY_SEGMENTS}"


def of_interfaces(table: str, namespaces: Mapping[str, Iterable[str]]) -> Iterator[Violation]:
    """Yield the violations in the names of interfaces."""
    shape = "must be lower-case letters, digits and hyphens, and begin with a letter"
    for namespace, interfaces in namespaces.items():
        if not _NAME_OF_INTERFACE.fullmatch(namespace):
            yield "bad_namespace", f"[{table}] namespace '{namespace}' {shape}"
        for interface in interfaces:
            if not _NAME_OF_INTERFACE.fullmatch(interface):
                yield "bad_interface_name", f"[{table}] interface '{interface}' {shape}"


def of_commands(commands: Iterable[CommandDef]) -> Iterator[Violation]:
    """Yield the violations in the names of commands for a shell."""
    for command in commands:
        if command.kind != "cli":
            continue
        if not _VERB.fullmatch(command.name):
            yield (
                "bad_cli_name",
                (
                    f"[[command]] '{command.name}' of kind cli must be at most 32 lower-case "
                    "letters, digits and hyphens, and begin with a letter"
                ),
            )
        if command.name in _RESERVED:
            yield "bad_cli_name", f"[[command]] '{command.name}' is a verb of the runtime's own"


def of_uplink(*, is_uplink: bool, has_imports: bool) -> Iterator[Violation]:
    """Yield the violation of an uplink that needs others, before which it is loaded."""
    if is_uplink and has_imports:
        yield "uplink_with_imports", "[imports] is not allowed on uplink capsules"


def of_publish_patterns(patterns: Iterable[str]) -> Iterator[Violation]:
    """Yield the violations in the topics that a capsule publishes."""
    for pattern in patterns:
        if not has_valid_segments(pattern):
            yield "empty_segments_ipc_publish", f"ipc_publish pattern '{pattern}' {_EMPTY_SEGMENTS}"


def of_interceptors(interceptors: Iterable[InterceptorDef]) -> Iterator[Violation]:
    """Yield the violations in the events of interceptors."""
    for interceptor in interceptors:
        if not has_valid_segments(interceptor.event):
            yield (
                "empty_segments_interceptor",
                f"interceptor event pattern '{interceptor.event}' {_EMPTY_SEGMENTS}",
            )


def of_dependencies(dependencies: DependenciesDef, *, is_uplink: bool) -> Iterator[Violation]:
    """Yield the violations in what a capsule provides and requires."""
    for capability in dependencies.provides:
        yield from _capability("provides", capability)
    for capability in dependencies.requires:
        yield from _capability("requires", capability)
    if is_uplink and dependencies.requires:
        yield (
            "uplink_with_requires",
            (
                "[dependencies].requires is not allowed on uplink capsules "
                "(uplinks load before non-uplinks and cannot depend on them)"
            ),
        )


def _of_calendar(runtime_version: str) -> str:
    """Return what explains a requirement that a calendar version does not meet."""
    if Version.parse(runtime_version).release < _CALENDAR:
        return ""
    return (
        " (a version by the calendar is compared as any other: major 2026 is not admitted by"
        " requirements such as ^0.10, 0.10 or <1, but by >=0.10)"
    )


def of_package(package: PackageDef, runtime_version: str | None) -> Iterator[Violation]:
    """Yield the violations in the versions of `[package]`."""
    wanted = package.astrid_version
    if wanted is not None:
        try:
            requirement = Requirement.parse(wanted)
        except SemverError as error:
            yield "bad_astrid_version_req", f"invalid astrid-version '{wanted}' - {error}"
        else:
            if runtime_version is not None and not requirement.matches(
                Version.parse(runtime_version)
            ):
                said = f"capsule requires astrid-version {wanted}, but this runtime is"
                yield (
                    "astrid_version_unsatisfied",
                    f"{said} {runtime_version}{_of_calendar(runtime_version)}",
                )
    try:
        Version.parse(package.version)
    except SemverError:
        yield (
            "bad_semver_version",
            (
                f"invalid version '{package.version}' in [package] - "
                "must be valid semver (MAJOR.MINOR.PATCH)"
            ),
        )


def _capability(field: str, text: str) -> Iterator[Violation]:
    place = f"[dependencies].{field}"
    kind, colon, body = text.partition(":")
    if not text:
        yield "dep_empty_string", f"{place} contains an empty capability string"
    elif not colon:
        yield (
            "dep_missing_prefix",
            f"{place} '{text}' must have a type prefix (e.g. topic:, tool:, llm:, uplink:)",
        )
    elif kind not in _CAPABILITY_TYPES:
        yield (
            "dep_unknown_prefix",
            (
                f"{place} '{text}' has unknown prefix '{kind}:' "
                "(expected one of: topic:, tool:, llm:, uplink:)"
            ),
        )
    elif not has_valid_segments(body):
        yield "dep_empty_segments", f"{place} '{text}' body {_EMPTY_SEGMENTS}"
    elif field == "provides" and "*" in body:
        yield (
            "dep_wildcard_in_provides",
            (
                f"{place} '{text}' contains a wildcard - "
                "provides must be concrete capabilities, not patterns"
            ),
        )


def of_topics(topics: Iterable[TopicDef]) -> Iterator[Violation]:
    """Yield the violations in the topics that a capsule declares."""
    seen: set[tuple[str, str]] = set()
    for topic in topics:
        yield from _topic(topic)
        pair = (topic.name, topic.direction.value)
        if pair in seen:
            yield (
                "topic_duplicate",
                f"[[topic]] duplicate declaration: '{pair[0]}' with direction '{pair[1]}'",
            )
        seen.add(pair)


def _topic(topic: TopicDef) -> Iterator[Violation]:
    name, schema = f"[[topic]] name '{topic.name}'", topic.schema_path
    if not has_valid_segments(topic.name):
        yield "topic_empty_segments", f"{name} {_EMPTY_SEGMENTS}"
    if not _TOPIC_NAME.fullmatch(topic.name):
        if "*" in topic.name:
            yield (
                "topic_wildcard",
                (
                    f"{name} must be a concrete topic name, not a pattern "
                    "(wildcards are not allowed in topic declarations)"
                ),
            )
        yield (
            "topic_bad_characters",
            (
                f"{name} contains invalid characters "
                "(only alphanumeric, hyphens, underscores, and dots are allowed)"
            ),
        )
    if schema is not None and schema.startswith("/"):
        yield (
            "topic_schema_absolute",
            f"[[topic]] '{topic.name}' schema path must be relative, got absolute path '{schema}'",
        )
    if schema is not None and ".." in schema.split("/"):
        yield (
            "topic_schema_parent_dir",
            f"[[topic]] '{topic.name}' schema path must not contain '..' components: '{schema}'",
        )
