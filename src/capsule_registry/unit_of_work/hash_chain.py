"""
The hashes that chain the revisions, and the lines that are hashed.

`audit export` prints the lines of a revision, and their SHA-256 is its hash, so an auditor can
check it with `sha256sum`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from capsule_registry.canonical_json import json_text
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
    return [_header(incarnation, revision), *map(event_line, events)]


def _header(incarnation: UUID, revision: Mapping[Any, Any]) -> str:
    return (
        f'{{"actor":{json_text(revision["actor"])},'
        f'"committed_at":{json_text(time_text(revision["committed_at"]))},'
        f'"database_user":{json_text(revision["database_user"])},'
        f'"event_count":{json_text(revision["event_count"])},"incarnation":"{incarnation}",'
        f'"namespace":{json_text(revision["namespace"])},'
        f'"previous_hash":{json_text(revision["previous_hash"])},'
        f'"reason":{json_text(revision["reason"])},"request_id":"{revision["request_id"]}",'
        f'"revision":{json_text(revision["revision"])}}}'
    )


def event_line(event: Mapping[Any, Any]) -> str:
    """
    Return the line of an event: canonical JSON, built by hand for speed.

    Without changes it has no member of that name, as before there were any.
    """
    changes = event["changes"]
    changed = "" if changes is None else f'"changes":{json_text(changes)},'
    return (
        f'{{"action":{json_text(event["action"])},"capsule_id":{json_text(event["capsule_id"])},{changed}'
        f'"kind":{json_text(event["kind"])},"new_row":{json_text(event["new_row"])},'
        f'"old_row":{json_text(event["old_row"])},"position":{event["position"]},'
        f'"revision":{event["revision"]},"subject":{json_text(event["subject"])}}}'
    )


def sha256_of_lines(lines: Iterable[str]) -> str:
    """Return the SHA-256 of *lines*, each ended by a newline, as `sha256sum` prints it."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()
