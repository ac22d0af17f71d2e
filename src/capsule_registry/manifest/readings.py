"""What the runtimes read of a manifest and how they compare it, by version: 0.2.0 to 2026.9."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, overload

from capsule_registry.errors import InvalidTextError
from capsule_registry.manifest.forms import ManifestForm
from capsule_registry.manifest.matchings import Matching
from capsule_registry.manifest.semver import SemverError, Version
from capsule_registry.plain_values import plain_text

if TYPE_CHECKING:
    from collections.abc import Mapping

_ROOT_ALONE: Final = frozenset[str]()
#: The capabilities of components that the runtimes merged first.
FIVE_LISTS: Final = frozenset({"fs_read", "fs_write", "host_process", "net", "net_bind"})
_MORE_LISTS: Final = frozenset({"identity", "kv", "net_connect"})
_FLAGS: Final = frozenset({"allow_persistent", "allow_prompt_injection", "uplink"})
_LONGEST_VERSION: Final = 64
_LATER: Final = FIVE_LISTS | _MORE_LISTS | _FLAGS | {"bind_workers"}


@dataclass(frozen=True, slots=True)
class Reading:
    """Which parts of a manifest are read; the others are unknown keys, whatever their shape."""

    #: `[dependencies]`, `[[llm_provider]]`, `[[cron]]`.
    dependencies: bool = False
    #: `[[tool]]`, of whichever shape.
    tools: bool = False
    #: `ipc_publish` and `ipc_subscribe`.
    topic_arrays: bool = False
    interceptors: bool = False
    #: `[[topic]]`.
    topics: bool = False
    skills: bool = False
    #: `[imports]`, `[exports]`, and the priority of interceptors.
    imports: bool = False
    #: `[publish]`, `[subscribe]`, and tools described for a model.
    topic_tables: bool = False
    net_connect: bool = False
    allow_persistent: bool = False
    #: `command.kind` and `env.NAME.options_from`; the text may be TOML 1.1.
    kinds: bool = False
    bind_workers: bool = False
    #: The keys of the topic tables are the only rights: so they are checked, handlers have a
    #: priority, and the host tells of every capability whether it is held.
    table_rights: bool = False
    #: Several who are called for a topic are called one after another, whatever their priorities.
    chains_calls: bool = False
    #: The capabilities of components that hold for the whole capsule.
    merged: frozenset[str] = _ROOT_ALONE
    #: What has the wrong shape for a part that the runtime itself does not read is left unread.
    is_lenient: bool = False
    #: How entries are compared: the keys of `[publish]` and `[subscribe]`, and those of lists.
    topic_keys: Matching = Matching.SEGMENTS
    hosts: Matching = Matching.HOST_ANY_CASE
    paths: Matching = Matching.WRITTEN_PATH
    commands: Matching = Matching.COMMAND
    levels: Matching = Matching.LEVEL
    binds: Matching = Matching.ANY_OR_BIND


@lru_cache(maxsize=64)
def reading_of_version(text: str) -> Reading:
    """
    Return what the runtime of that version reads.

    Raises:
        SemverError: The text is no version.
    """
    release = Version.parse(text).release
    reading = Reading(
        dependencies=release < (0, 5, 0),
        tools=not (0, 5, 0) <= release < (0, 6, 0),
        topic_arrays=release < (0, 8, 0),
        interceptors=release < (0, 8, 0),
        topics=release < (0, 8, 0),
        skills=release < (0, 10, 4),
        imports=release >= (0, 5, 0),
        topic_tables=release >= (0, 6, 0),
        net_connect=release >= (0, 7, 0),
        allow_persistent=release >= (0, 8, 0),
        kinds=release >= (0, 9, 0),
        bind_workers=release > (0, 10, 4),
        table_rights=release >= (0, 8, 0),
        chains_calls=(0, 5, 0) <= release < (0, 9, 0),
        merged=_merged(release),
        topic_keys=Matching.SUBTREE if release >= (0, 8, 0) else Matching.SEGMENTS,
    )
    if release < (0, 5, 0):
        return reading
    return replace(
        reading,
        hosts=Matching.HOST,
        paths=Matching.PATH,
        commands=Matching.PROGRAM,
        levels=Matching.OPERATION,
        binds=Matching.SOCKET if release <= (0, 10, 4) else Matching.BIND,
    )


def _merged(release: tuple[int, int, int]) -> frozenset[str]:
    if release < (0, 5, 0):
        return _ROOT_ALONE
    return FIVE_LISTS if release <= (0, 10, 4) else _LATER


#: The latest version whose rules are known.
LATEST: Final = "2026.9.4"
_TODAY: Final = reading_of_version(LATEST)
_BY_FORM: Final[Mapping[str, Reading]] = {
    ManifestForm.LEGACY: reading_of_version("0.2.0"),
    ManifestForm.TODAY: _TODAY,
    ManifestForm.MIXED: replace(_TODAY, topic_arrays=True, interceptors=True, is_lenient=True),
}


#: The rules of what was registered before rules were told apart: its own form is read, and compared
#: as 0.2.0 does.
ORIGINAL: Final = "original"


def reading_of(form: ManifestForm, rules: str | None = None) -> Reading:
    """
    Return what is read of a manifest in its *form* by those *rules*.

    Args:
        form: How it is written.
        rules: The version of a runtime; else its own form's, by name, `ORIGINAL` or `None`.

    Raises:
        SemverError: *rules* are neither its form's nor those of a version.
    """
    if rules in (None, ORIGINAL, form):
        return _BY_FORM[form]
    return reading_of_version(rules)


def reading_by(rules: str) -> Reading:
    """
    Return what a host of those *rules* reads; by `ORIGINAL`, as 0.2.0 does.

    Raises:
        SemverError: They are neither a form's nor those of a version.
    """
    if rules == ORIGINAL:
        return _BY_FORM[ManifestForm.LEGACY]
    return _BY_FORM.get(rules) or reading_of_version(rules)


@overload
def to_runtime_version(value: str) -> str: ...


@overload
def to_runtime_version(value: str | None) -> str | None: ...


def to_runtime_version(value: str | None) -> str | None:
    """
    Return *value*, if any, as the version of a runtime.

    Raises:
        InvalidTextError: It is no version of at most 64 characters.
    """
    if value is None:
        return None
    text = plain_text(value)
    if text is None or len(text) > _LONGEST_VERSION:
        said = f"expected a version of at most {_LONGEST_VERSION} characters"
        raise InvalidTextError("runtime_version", "no_version", said)
    try:
        reading_of_version(text)  # Kept, where parsing is not: every unit asks.
    except SemverError as error:
        raise InvalidTextError("runtime_version", "no_version", str(error)) from error
    return text
