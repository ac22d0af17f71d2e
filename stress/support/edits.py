"""
Edits of the rows of one namespace, as someone with all rights to the database could make them.

A manifest that no row of the history mentions, since it was registered before a pruning, is not
touched: nothing vouches for it. Nor are leases, which renewals change without an event: what can be
found in them has edits of its own (see `forgeries`).
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

from capsule_registry.database.dialects.types import (
    CanonicalJson,
    CanonicalUuid,
    Flag,
    UtcDateTime,
)
from capsule_registry.unit_of_work.hash_chain import hash_lines, sha256_of_lines
from support.stores import COLUMNS, TABLES

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from support.stores import Contents, Row

    Names = Sequence[str]
    #: Changes the contents, and returns where.
    Edit = Callable[[Contents, random.Random], str]

_HISTORY: Final = ("events", "revisions")
DERIVED: Final = ("tools", "grants", "interceptors", "provisions", "requirements")
_LIVE: Final = ("capsules", "uplinks", "uuid_mappings", *DERIVED, "manifests")
_ALL: Final = (*_HISTORY, *_LIVE, "namespaces")
#: The most revisions to cut off.
TAIL: Final = 10


def pick(contents: Contents, chance: random.Random, names: Names) -> tuple[str, Row]:
    """Return one row of one of the tables, and the name of that."""
    name = chance.choice([name for name in names if contents[name]])
    row = chance.choice(contents[name])
    if name == "manifests" and not _is_mentioned(contents, row["digest"]):
        return pick(contents, chance, names)
    return name, row


def _is_mentioned(contents: Contents, digest: str) -> bool:
    images = [event[name] or "" for event in contents["events"] for name in ("old_row", "new_row")]
    return any(digest in image for image in images)


def _keys(name: str) -> list[str]:
    return [column.name for column in TABLES[name].primary_key]


def change_value(contents: Contents, chance: random.Random, names: Names = _ALL) -> str:
    """Set one column of one row to another value."""
    name, row = pick(contents, chance, names)
    column = chance.choice(COLUMNS[name])
    value = row[column]
    others = [chance.choice(contents[name])[column], None]
    match value:
        case int() if isinstance(TABLES[name].c[column].type, Flag):
            others = [1 - value]
        case int():
            others += [value - 1, value + 1]
        case str():
            others += [value + "x", value[:-1], value[::-1]]
        case None:
            others += ["x"]
    row[column] = chance.choice(others)
    return f"{name}.{column}"


def change_version(contents: Contents, chance: random.Random) -> str:
    """Change what the schema says of a migration, but for when it was made and by which library."""
    row = chance.choice(contents["schema_versions"])
    column = chance.choice(["version", "oldest_compatible"])
    row[column] = chance.choice(["v0000", "v0001", "v0002"])
    return f"schema_versions.{column}"


def delete_row(contents: Contents, chance: random.Random, names: Names = _ALL) -> str:
    """Delete one row."""
    name, row = pick(contents, chance, names)
    contents[name].remove(row)
    return name


def swap_rows(contents: Contents, chance: random.Random, names: Names = _ALL) -> str:
    """Swap the values of two rows, except for their keys."""
    name, row = pick(contents, chance, names)
    other = chance.choice(contents[name])
    for column in (column for column in row if column not in _keys(name)):
        row[column], other[column] = other[column], row[column]
    return name


def insert_row(contents: Contents, chance: random.Random, names: Names = _ALL[:-1]) -> str:
    """Insert a copy of one row under another key."""
    name, row = pick(contents, chance, names)
    copy = dict(row)
    for column in [*_keys(name)[1:], *(["request_id"] if "request_id" in row else [])]:
        match row[column]:
            case int(number):
                copy[column] = number + chance.randint(-80, 80)
            case _ if isinstance(TABLES[name].c[column].type, CanonicalUuid):
                copy[column] = str(UUID(int=chance.getrandbits(128)))
            case text:
                copy[column] = f"{text}x"
    contents[name].append(copy)
    return f"{name}{_where(contents, copy)}"


def _where(contents: Contents, row: Row) -> str:
    [head] = contents["namespaces"]
    revision = row.get("revision", head["revision"])
    if revision > head["revision"]:
        return ", beyond the head"
    return ", before the first revision" if revision <= head["compacted_revision"] else ""


def replay_event(contents: Contents, chance: random.Random) -> str:
    """Repeat one event at the end of a later revision."""
    event, later = chance.choice(contents["events"]), chance.choice(contents["revisions"])
    if later["revision"] > event["revision"]:
        place = {"revision": later["revision"], "position": later["event_count"]}
        contents["events"].append({**event, **place})
        later["event_count"] += 1
    return "events"


def spell_otherwise(contents: Contents, chance: random.Random) -> str:
    """Write one value in another form that the library reads as the same, or nearly."""
    name, row = pick(contents, chance, _ALL)
    column = chance.choice(COLUMNS[name])
    match TABLES[name].c[column].type:
        case CanonicalUuid() if row[column]:
            row[column] = chance.choice([row[column].upper(), row[column].replace("-", "")])
        case UtcDateTime() if row[column]:
            row[column] = row[column].replace(*chance.choice([("T", " "), ("Z", "+00:00")]))
        case CanonicalJson() if row[column]:
            twice = row[column].replace("{", '{"name":"evil",', 1)
            row[column] = chance.choice([row[column].replace(":", ": ", 1), twice])
    return f"{name}.{column}"


def retype(contents: Contents, chance: random.Random) -> str:
    """Set one column to a value of another type, which SQLite allows."""
    name, row = pick(contents, chance, _ALL)
    column = chance.choice(COLUMNS[name])
    value = row[column]
    others = [0.5, "x", -1, b"1"] if isinstance(value, int) else [str(value).encode()]
    row[column] = chance.choice(others)
    return f"{name}.{column}"


def cut_tail(contents: Contents, chance: random.Random) -> str:
    """Delete the last revisions, and move the head back."""
    [head] = contents["namespaces"]
    end = head["revision"] - chance.randint(1, TAIL)
    for name in _HISTORY:
        contents[name] = [row for row in contents[name] if row["revision"] <= end]
    [last] = [row for row in contents["revisions"] if row["revision"] == end]
    head |= {"revision": end, "head_hash": last["hash"], "last_commit_at": last["committed_at"]}
    return "events, revisions, namespaces"


def rewrite(contents: Contents, chance: random.Random) -> str:
    """Edit the history, then recompute all hashes, so that it is consistent again."""
    edit = chance.choice([change_value, delete_row, swap_rows, insert_row])
    where = edit(contents, chance, _HISTORY)
    [head] = contents["namespaces"]
    events: dict[int, list[Row]] = {}
    for event in sorted(contents["events"], key=lambda row: row["position"]):
        events.setdefault(event["revision"], []).append(event)
    revisions = sorted(contents["revisions"], key=lambda row: row["revision"])
    previous = revisions[0]["previous_hash"]
    for row in revisions:
        found = events.get(row["revision"], [])
        row |= {"previous_hash": previous, "event_count": len(found)}
        committed_at = datetime.fromisoformat(row["committed_at"])
        lines = hash_lines(UUID(head["incarnation"]), {**row, "committed_at": committed_at}, found)
        row["hash"] = previous = sha256_of_lines(lines)
    head |= {"revision": revisions[-1]["revision"], "head_hash": previous}
    return f"{where}, then all hashes"
