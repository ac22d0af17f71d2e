"""What the runtimes read of a manifest, by their version. Source: astrid 0.2.0 to 2026.9."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from capsule_registry.manifest.forms import ManifestForm
from capsule_registry.manifest.semver import Version

if TYPE_CHECKING:
    from collections.abc import Mapping

_ROOT_ALONE: Final = frozenset[str]()
_FIVE_LISTS: Final = frozenset({"fs_read", "fs_write", "host_process", "net", "net_bind"})
_MORE_LISTS: Final = frozenset({"identity", "kv", "net_connect"})
_FLAGS: Final = frozenset({"allow_persistent", "allow_prompt_injection", "uplink"})
_LATER: Final = _FIVE_LISTS | _MORE_LISTS | _FLAGS | {"bind_workers"}


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
    #: The capabilities of components that hold for the whole capsule.
    merged: frozenset[str] = _ROOT_ALONE
    #: What has the wrong shape for a part that the runtime itself does not read is left unread.
    is_lenient: bool = False


def reading_of_version(text: str) -> Reading:
    """
    Return what the runtime of that version reads.

    Raises:
        SemverError: The text is no version.
    """
    release = Version.parse(text).release
    return Reading(
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
        merged=_merged(release),
    )


def _merged(release: tuple[int, int, int]) -> frozenset[str]:
    if release < (0, 5, 0):
        return _ROOT_ALONE
    return _FIVE_LISTS if release <= (0, 10, 4) else _LATER


#: The latest version whose rules are known.
LATEST: Final = "2026.9.4"
_TODAY: Final = reading_of_version(LATEST)
_BY_FORM: Final[Mapping[ManifestForm, Reading]] = {
    ManifestForm.LEGACY: reading_of_version("0.2.0"),
    ManifestForm.TODAY: _TODAY,
    ManifestForm.MIXED: replace(_TODAY, topic_arrays=True, interceptors=True, is_lenient=True),
}


def reading_of(form: ManifestForm, runtime_version: str | None = None) -> Reading:
    """
    Return what the runtime of that version reads; of any, what is read of a manifest in its *form*.

    Raises:
        SemverError: *runtime_version* is no version.
    """
    return _BY_FORM[form] if runtime_version is None else reading_of_version(runtime_version)
