"""
The forms of a manifest: that of astrid-capsule 0.2.0, today's, and what lies between.

A manifest does not say its form; marks do. Source: the runtimes from 0.2.0 to 2026.9, and what
stands in the manifests of their time. `astrid-version` only rules forms out.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from capsule_registry.manifest.semver import Requirement, SemverError, Version

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Document = Mapping[str, Any]


class ManifestForm(StrEnum):
    """How a manifest is written, and so by which rules it is read if no runtime is named."""

    #: As for 0.2.0: arrays of topics, `[[interceptor]]`, `[dependencies]`; also without any mark.
    LEGACY = "legacy"
    #: As for 0.8.0 and later: `[publish]`, `[subscribe]`, `[imports]`, `[exports]`.
    TODAY = "today"
    #: With marks of both, as for 0.5.0: today's rules, but arrays of topics where no table stands.
    MIXED = "mixed"


_OLDEST: Final = tuple(map(Version.parse, ("0.2.0", "0.3.0", "0.4.0")))
#: Those that read arrays of topics.
_WITH_ARRAYS: Final = (
    *_OLDEST,
    *map(Version.parse, ("0.5.0", "0.5.1", "0.6.0", "0.7.0")),
)
_TOPIC_ARRAYS: Final = ("ipc_publish", "ipc_subscribe")
_TABLES_OF_TODAY: Final = ("publish", "subscribe", "imports", "exports")
_CAPABILITIES_OF_TODAY: Final = ("net_connect", "allow_persistent", "bind_workers")


def form_of(document: Document, *, is_toml_1_1: bool = False) -> ManifestForm:
    """
    Return the form of a manifest by its *document*, whether or not it is a valid one.

    Args:
        document: The manifest as JSON values, under the names of the TOML file.
        is_toml_1_1: Its text is TOML 1.1, which is a mark of today's form, and not 1.0.
    """
    is_legacy = any(True for _ in _legacy_marks(document))
    is_today = is_toml_1_1 or any(True for _ in _marks_of_today(document))
    wanted = _requirement(document)
    if wanted is not None and not any(map(wanted.matches, _WITH_ARRAYS)):
        return ManifestForm.TODAY
    if wanted is not None and not any(map(wanted.matches, _OLDEST)):
        is_today = True
    if is_today:
        return ManifestForm.MIXED if is_legacy else ManifestForm.TODAY
    return ManifestForm.LEGACY


def _requirement(document: Document) -> Requirement | None:
    text = _table(document, "package").get("astrid-version")
    try:
        return Requirement.parse(text) if isinstance(text, str) else None
    except SemverError:
        return None


def _legacy_marks(document: Document) -> Iterator[str]:
    """Yield what only the runtimes before 0.5.0 to 0.8.0 read; an empty table is no mark."""
    for capabilities in _capabilities(document):
        yield from (name for name in _TOPIC_ARRAYS if capabilities.get(name))
        if any(entry.startswith("workspace://") for entry in _places(capabilities)):
            yield "workspace://"
    for name in ("interceptor", "llm_provider", "cron"):
        if document.get(name):
            yield name
    topics = _tables(document, "topic")
    if topics and all("direction" in topic for topic in topics):
        yield "topic"
    dependencies = _table(document, "dependencies")
    if dependencies.get("provides") or dependencies.get("requires"):
        yield "dependencies"
    if any("input_schema" in tool and not _is_of_today(tool) for tool in _tables(document, "tool")):
        yield "tool"


def _marks_of_today(document: Document) -> Iterator[str]:
    """Yield what only the runtimes since 0.5.0 read."""
    yield from (name for name in _TABLES_OF_TODAY if document.get(name))
    if any("priority" in one for one in _tables(document, "interceptor")):
        yield "interceptor.priority"
    if any("direction" not in topic for topic in _tables(document, "topic")):
        yield "topic without direction"
    for capabilities in _capabilities(document):
        yield from (name for name in _CAPABILITIES_OF_TODAY if name in capabilities)
        if any(entry.startswith("cwd://") for entry in _places(capabilities)):
            yield "cwd://"
    if any(map(_is_of_today, _tables(document, "tool"))):
        yield "tool"
    if any("kind" in command for command in _tables(document, "command")):
        yield "command.kind"
    settings = _table(document, "env").values()
    tables = (one for one in settings if isinstance(one, dict))
    if any({"options_from", "options-from"} & one.keys() for one in tables):
        yield "env.options_from"


def _is_of_today(tool: Document) -> bool:
    return "description_for_llm" in tool


def _capabilities(document: Document) -> Iterator[Document]:
    """Yield the capabilities of the root, and those of each component."""
    places = (document, *_tables(document, "component"))
    return (_table(place, "capabilities") for place in places)


def _places(capabilities: Document) -> Iterator[str]:
    lists = (capabilities.get(name) for name in ("fs_read", "fs_write"))
    entries = chain.from_iterable(one for one in lists if isinstance(one, list))
    return (entry for entry in entries if isinstance(entry, str))


def _table(document: Document, name: str) -> Document:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _tables(document: Document, name: str) -> list[Document]:
    found = document.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
