"""
The hashes that chain the revisions, and the lines that are hashed.

`audit export` prints the lines of a revision, and their SHA-256 is its hash, so an auditor can
check it with `sha256sum`.
"""

from __future__ import annotations

import hashlib
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, Final

from capsule_registry.canonical_json import canonical_json
from capsule_registry.database.dialects.types import time_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from uuid import UUID

#: The hash before revision 1.
GENESIS_HASH: Final = "0" * 64


def hash_lines(
    incarnation: UUID, revision: Mapping[Any, Any], events: Sequence[Mapping[Any, Any]]
) -> list[str]:
    """
    Return the lines of a revision; their SHA-256, each line ended by a newline, is its hash.

    The header comes first, then one line per event, each canonical JSON. Row images are the texts
    that the table holds, so what is hashed is what is stored.
    """
    header = {
        "actor": revision["actor"],
        "committed_at": time_text(revision["committed_at"]),
        "database_user": revision["database_user"],
        "event_count": revision["event_count"],
        "incarnation": str(incarnation),
        "namespace": revision["namespace"],
        "previous_hash": revision["previous_hash"],
        "reason": revision["reason"],
        "request_id": str(revision["request_id"]),
        "revision": revision["revision"],
    }
    return [canonical_json(header), *map(event_line, events)]


def event_line(event: Mapping[Any, Any]) -> str:
    """
    Return the line of an event: canonical JSON, built by hand for speed.

    Without changes it has no member of that name, as before there were any.
    """
    changes = event["changes"]
    changed = "" if changes is None else f'"changes":{_text(changes)},'
    return (
        f'{{"action":{_text(event["action"])},"capsule_id":{_text(event["capsule_id"])},{changed}'
        f'"kind":{_text(event["kind"])},"new_row":{_text(event["new_row"])},'
        f'"old_row":{_text(event["old_row"])},"position":{event["position"]},'
        f'"revision":{event["revision"]},"subject":{_text(event["subject"])}}}'
    )


def sha256_of_lines(lines: Iterable[str]) -> str:
    """Return the SHA-256 of *lines*, each ended by a newline, as `sha256sum` prints it."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _text(value: str | None) -> str:
    return "null" if value is None else encode_basestring(value)
