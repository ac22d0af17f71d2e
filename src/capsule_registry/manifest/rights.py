"""
The rights that stand in a manifest: each with its place, and how it is compared.

What the runtime does not read stands here too, marked so. Source: astrid 0.2.0 to 2026.9.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from capsule_registry.manifest.matchings import Matching
from capsule_registry.manifest.readings import FIVE_LISTS, ORIGINAL, Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from capsule_registry.manifest.manifest import CapsuleManifest
    from capsule_registry.manifest.parts import CapabilitiesDef

#: The lists of topics, each with the table whose keys stand in its place.
_TABLES: Final = {"ipc_publish": "publish", "ipc_subscribe": "subscribe"}
_LISTS: Final = (
    *("net", "net_connect", "kv", "fs_read", "fs_write", "host_process", "net_bind"),
    *(*_TABLES, "identity"),
)
_FLAGS: Final = ("uplink", "allow_prompt_injection", "allow_persistent")
#: All capabilities, in the order in which their grants are listed.
CAPABILITIES: Final = (*_LISTS, *_FLAGS)
#: The value of a flag's entry.
_SET: Final = "true"
_ROOT: Final = "capabilities"

#: The runtimes that read an entry, as a requirement of versions: of any, and of none.
_ALL: Final = "*"
_NONE: Final = "none"
_ARRAYS: Final = "<0.8.0"
_KEYS: Final = ">=0.6.0"
_SINCE: Final = {"net_connect": ">=0.7.0", "allow_persistent": ">=0.8.0"}
_COMPONENTS: Final = ">=0.5.0"
_ALL_OF_COMPONENTS: Final = ">0.10.4"
#: By capability: the member of `Reading` that says how entries are compared.
_BY_READING: Final = {
    "net": "hosts",
    "net_bind": "binds",
    "fs_read": "paths",
    "fs_write": "paths",
    "host_process": "commands",
    "identity": "levels",
}
#: By capability: how they are compared by all.
_ALWAYS: Final = {
    **dict.fromkeys(_TABLES, Matching.SEGMENTS),  # The arrays never covered more.
    "net_connect": Matching.HOST_PORT,
    "kv": Matching.KEY,
}


class Right(NamedTuple):
    """One entry of a manifest that asks for a capability."""

    capability: str
    #: Its place among the entries for the capability.
    position: int
    value: str
    matching: Matching
    #: Where it stands: `capabilities`, `component N` (counted from 1), `publish` or `subscribe`.
    place: str
    #: The runtimes that read it there, as a requirement of versions, or `none`.
    read_by: str
    #: Whether the rules by which the manifest is read count it.
    counts: bool


def rights_of(manifest: CapsuleManifest) -> list[Right]:
    """Return the rights that stand in *manifest*, by capability, each in its order there."""
    return manifest.derived(_rights_of)


def _rights_of(manifest: CapsuleManifest) -> list[Right]:
    if manifest.rules == ORIGINAL:
        return [*_original(manifest)]
    reading = manifest.reading
    found = [
        *_of_tables(manifest, reading),
        *_of_root(manifest, reading),
        *_of_components(manifest, reading),
    ]
    by_capability: dict[str, list[Right]] = {name: [] for name in CAPABILITIES}
    for capability, value, matching, place, read_by, counts in found:
        rights = by_capability[capability]
        position = len(rights)
        rights.append(Right(capability, position, value, matching, place, read_by, counts))
    return [*chain.from_iterable(by_capability.values())]


#: A right without its position: capability, value, matching, place, readers, whether it counts.
_Found = tuple[str, str, Matching, str, str, bool]


def _of_tables(manifest: CapsuleManifest, reading: Reading) -> Iterator[_Found]:
    """Yield the keys of `[publish]` and `[subscribe]`, which have no order: so sorted."""
    for capability, table in _TABLES.items():
        keys = getattr(manifest, table)
        for key in sorted(keys):
            yield capability, key, reading.topic_keys, table, _KEYS, True
        unread = (manifest.model_extra or {}).get(table)
        if not keys and isinstance(unread, dict):
            for key in sorted(unread):
                yield capability, key, Matching.SUBTREE, table, _KEYS, False


def _of_root(manifest: CapsuleManifest, reading: Reading) -> Iterator[_Found]:
    for name, values, is_read in _stated(manifest.capabilities):
        read_by = _ARRAYS if name in _TABLES else _SINCE.get(name, _ALL)
        # An array gives way to a table that is not empty.
        counts = is_read and not (name in _TABLES and getattr(manifest, _TABLES[name]))
        matching = matching_of(name, reading)
        for value in values:
            yield name, value, matching, _ROOT, read_by, counts


def _of_components(manifest: CapsuleManifest, reading: Reading) -> Iterator[_Found]:
    for number, component in enumerate(manifest.components, start=1):
        if component.capabilities is None:
            continue
        for name, values, is_read in _stated(component.capabilities):
            read_by = _COMPONENTS if name in FIVE_LISTS else _ALL_OF_COMPONENTS
            if name in _TABLES:  # No runtime has read them there.
                read_by = _NONE
            counts = is_read and name in reading.merged
            matching = matching_of(name, reading)
            for value in values:
                yield name, value, matching, f"component {number}", read_by, counts


def _stated(capabilities: CapabilitiesDef) -> Iterator[tuple[str, Sequence[str], bool]]:
    """Yield each capability with its entries, and whether the runtime reads its key."""
    unread = capabilities.model_extra or {}
    for name in _LISTS:
        if name in unread:
            yield name, [*_texts(unread[name])], False
        else:
            yield name, getattr(capabilities, name), True
    for name in _FLAGS:
        if unread.get(name, getattr(capabilities, name)) is True:
            yield name, [_SET], name not in unread


def _texts(values: Any) -> Iterator[str]:  # noqa: ANN401 - of any shape
    """Yield the texts in what was left unread."""
    if isinstance(values, list):
        yield from (value for value in values if isinstance(value, str))


def matching_of(capability: str, reading: Reading) -> Matching:
    """Return how the runtime compares the entries of a capability's list, or of its flag."""
    if capability in _BY_READING:
        matching: Matching = getattr(reading, _BY_READING[capability])
        return matching
    return _ALWAYS.get(capability, Matching.FLAG)


def _original(manifest: CapsuleManifest) -> Iterator[Right]:
    """Yield the rights as they were derived before rules were told apart."""
    asked = manifest.merged_capabilities
    lists: dict[str, Iterable[str]] = {
        name: getattr(asked, name) for name in _LISTS if name != "net_connect"
    }
    for capability, table in _TABLES.items():
        if keys := getattr(manifest, table):
            lists[capability] = sorted(keys)
    lists |= {
        name: [_SET] for name in _FLAGS if name != "allow_persistent" and getattr(asked, name)
    }
    of_first = Reading()
    for name, values in lists.items():
        for position, value in enumerate(values):
            matching = matching_of(name, of_first)
            yield Right(name, position, value, matching, _ROOT, _ALL, counts=True)
