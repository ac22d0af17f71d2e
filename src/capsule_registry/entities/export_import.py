"""
Export of what is registered as lines of JSON, and its import into another registry.

The first line names the format, the last one the count. In between are the capsules, the uplinks
and the session UUIDs, each in order of registration. Leases and their UUIDs are left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import chain, groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from capsule_registry.canonical_json import canonical_json
from capsule_registry.entities import capsules, registration, session_uuids, uplinks
from capsule_registry.errors import InvalidInputError, InvalidTextError
from capsule_registry.identifiers import CapsuleId, to_uuid
from capsule_registry.manifest.forms import ManifestForm
from capsule_registry.manifest.manifest import CapsuleManifest, Format
from capsule_registry.manifest.readings import ORIGINAL
from capsule_registry.models.new_capsule import NewCapsule, tools_of_json
from capsule_registry.models.uplink import UplinkDescriptor
from capsule_registry.unit_of_work.prepared_statements import batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from uuid import UUID

    from capsule_registry.manifest.parts import ToolDef
    from capsule_registry.unit_of_work.queries import Reading, Row, Scope
    from capsule_registry.unit_of_work.unit import Unit

    #: The function that restores lines of one kind, and the content of one line.
    Line = tuple[Callable[[Unit, Sequence[Any]], None], Any]

#: The version of the line format.
_FORMAT: Final = 1
#: The longest line that is read. One of a manifest's text has at most a quarter of that; more can
#: only be what a program has given as tools or metadata.
MAX_LINE: Final = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Exported:
    """A capsule as read from its line."""

    manifest: CapsuleManifest
    tools: Sequence[ToolDef] | None
    state: str
    state_reason: str | None
    source_dir: str | None


def lines(ask: Reading, namespace: str) -> Iterator[str]:
    """Yield the lines that `read` takes; every call of *ask* must read the same moment."""
    count = 0
    yield canonical_json({"format": _FORMAT, "kind": "registry", "namespace": namespace})
    for value in chain(
        map(_capsule_line, _rows(ask, capsules.ids, capsules.rows_of)),
        map(_uplink_line, _rows(ask, uplinks.ids, uplinks.rows_of)),
        map(_uuid_line, _rows(ask, session_uuids.without_lease, session_uuids.rows_of)),
    ):
        count += 1
        yield canonical_json(value)
    yield canonical_json({"count": count, "kind": "end"})


def _rows(
    ask: Reading,
    ids_in: Callable[[Scope], Sequence[Any]],
    rows_of: Callable[[Scope, Sequence[Any]], Sequence[Row]],
) -> Iterator[Row]:
    """Yield all rows, holding only their ids and one batch in memory."""
    ids = ask(ids_in)
    for batch in batches(ids):
        yield from ask(rows_of, batch)


def _capsule_line(row: Row) -> dict[str, Any]:
    return {
        "kind": "capsule",
        "id": row["id"],
        "manifest_format": row["manifest_format"],
        "manifest_text": row["manifest_text"],
        "reported_tools": json.loads(row["reported_tools"] or "null"),
        "source_dir": row["source_dir"],
        "state": row["state"],
        "state_reason": row["state_reason"],
        "form": row["form"],
        "rules": row["rules"],
    }


def _uplink_line(row: Row) -> dict[str, Any]:
    return {
        "kind": "uplink",
        "capsule_id": row["capsule_id"],
        "declared": row["declared"],
        "descriptor": uplinks.descriptor_of(row).model_dump(mode="json"),
    }


def _uuid_line(row: Row) -> dict[str, Any]:
    return {"kind": "uuid", "uuid": str(row["uuid"]), "capsule_id": row["capsule_id"]}


def read(given: Iterable[str]) -> Iterator[Line]:
    """
    Yield the content of each line but the first and the last, for `restore`.

    Raises:
        InvalidTextError: A line is not one that `lines` yields, its content cannot be registered,
            or the last one is missing; names the line.
    """
    number = count = 0
    is_whole = False
    for number, line in enumerate(given, 1):
        value = _parsed(line, number)
        if number == 1:
            _require_first(value)
        elif is_whole or value.get("kind") == "end":
            is_whole = not is_whole and value == {"count": count, "kind": "end"}
            if not is_whole:
                raise _invalid(number, "the count is another, or more follows the end")
        else:
            count += 1
            yield _line(value, number)
    if not is_whole:
        raise _invalid(number + 1, "it ends early")


def restore(unit: Unit, read: Iterable[Line]) -> None:
    """Register what `read` yields, in its order."""
    for restore_all, found in groupby(read, key=itemgetter(0)):
        restore_all(unit, [said for _, said in found])


def _require_first(value: Mapping[str, Any]) -> None:
    if (value.get("kind"), value.get("format")) != ("registry", _FORMAT):
        raise _invalid(1, f"it does not begin as an export of format {_FORMAT}")


def _parsed(line: str, number: int) -> dict[str, Any]:
    if len(line) > MAX_LINE:
        raise InvalidTextError(f"line {number}", "too_large", f"it has more than {MAX_LINE} bytes")
    try:
        value = json.loads(line)
    except (RecursionError, ValueError) as error:
        raise _invalid(number, str(error)) from error
    if not isinstance(value, dict):
        raise _invalid(number, "it is no object")
    return value


def _line(value: dict[str, Any], number: int) -> Line:
    try:
        restore_all, read_one = _KINDS[value.pop("kind")]
        return restore_all, read_one(**value)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise _invalid(number, str(error)) from error


def _capsule(  # noqa: PLR0913 - one for each member of the line
    *,
    id: str,  # noqa: A002 - its name in the line
    manifest_format: str,
    manifest_text: str,
    reported_tools: object,
    source_dir: str | None,
    state: str,
    state_reason: str | None,
    form: str = ManifestForm.LEGACY,  # What an earlier release exported is read as that read it.
    rules: str = ORIGINAL,
) -> NewCapsule:
    if manifest_format not in ("toml", "json"):
        raise ValueError(f"a manifest in the format {manifest_format!r}")
    if (manifest_format == "json") != manifest_text.startswith("{"):
        raise ValueError(f"a manifest that is no {manifest_format.upper()}")
    language: Format = "json" if manifest_format == "json" else "toml"
    manifest = _manifest(manifest_text, language, ManifestForm(form), rules)
    tools = tools_of_json(None if reported_tools is None else json.dumps(reported_tools))
    found = NewCapsule.of(_Exported(manifest, tools, state, state_reason, source_dir))
    new = replace(found, reported_tools=None if tools is None else tuple(tools))
    if new.id != id:
        raise InvalidTextError("id", "id_mismatch", f"{id!r} is not {new.id!r}")
    return new


def _manifest(text: str, language: Format, form: ManifestForm, rules: str) -> CapsuleManifest:
    """Return the manifest; its text says how it is read, unless an earlier release has read it."""
    manifest = CapsuleManifest.read_back(text, format=language, form=form, rules=rules)
    if rules == ORIGINAL:
        manifest.require_valid()
        return manifest
    found = manifest.read_anew(manifest.runtime_version)
    if found.form is not form:
        raise ValueError(f"a manifest in the form {found.form}, not {form}")
    return found


def _uplink(*, capsule_id: str, declared: bool, descriptor: object) -> uplinks.Filed:
    if not isinstance(declared, bool):
        raise TypeError(f"declared is {declared!r}")
    owner = CapsuleId.storable(capsule_id)
    found = uplinks.storable(UplinkDescriptor.model_validate_json(json.dumps(descriptor)))
    return uplinks.Filed(owner, found, declared)


def _uuid(*, uuid: str, capsule_id: str) -> tuple[UUID, CapsuleId]:
    return to_uuid(uuid), CapsuleId.storable(capsule_id)


_KINDS: Final[dict[str, tuple[Callable[[Unit, Sequence[Any]], None], Callable[..., Any]]]] = {
    "capsule": (registration.restore, _capsule),
    "uplink": (uplinks.restore, _uplink),
    "uuid": (session_uuids.restore, _uuid),
}


def _invalid(number: int, problem: str) -> InvalidInputError:
    return InvalidTextError(f"line {number}", "export", problem)
