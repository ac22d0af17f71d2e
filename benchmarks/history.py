"""The cost of the history: `register` without it, `verify` against hashing the same rows."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from unittest.mock import patch

from sqlalchemy import update

from capsule_registry import CapsuleRegistry
from capsule_registry.schema.tables import namespaces
from capsule_registry.unit_of_work import runner as units
from capsule_registry.unit_of_work import unit
from support.capsules import manifest, session
from support.comparison import batches, each, in_turn, nothing, timed
from support.raw import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.comparison import Finding
    from support.raw import Raw
    from support.setting import Setting

_EVENTS = 20_000


def findings(setting: Setting) -> Iterator[Finding]:
    """Yield the rows of the history."""
    yield _price_of_a_register(setting)
    yield _speed_of_verifying(setting)


def move_head(held: unit.Unit, *, actor: str, reason: str | None) -> None:  # noqa: ARG001 - as `close_unit`
    """Replace `close_unit`: move the head, but write no history."""
    statement = update(namespaces).where(namespaces.c.name == held.namespace)
    held.conn.execute(statement.values(revision=held.revision))


def _price_of_a_register(setting: Setting) -> Finding:
    files = setting.files
    with CapsuleRegistry.open(files.new()) as kept, CapsuleRegistry.open(files.new()) as forgotten:
        without = batches(manifest, each(forgotten.register), 20, nothing)

        def register_without() -> float:
            with (
                patch.object(units, "close_unit", move_head),
                patch.object(unit.Unit, "_file", nothing),
            ):
                return without()

        ours = batches(manifest, each(kept.register), 20, nothing)
        pairs = in_turn(ours, register_without, setting.rounds(21))
    return pairs.times_as_long("register / the same without history")


def _speed_of_verifying(setting: Setting) -> Finding:
    url = setting.files.new()
    with CapsuleRegistry.open(url) as registry:
        count = _EVENTS // 10 if setting.is_quick else _EVENTS
        for start in range(0, count, 100):
            with registry.transaction() as transaction:
                for number in range(start, start + 100):
                    transaction.register_uuid(session(number % 100), f"c{start % 700}")
        raw = connect(url)
        pairs = in_turn(
            lambda: timed(each(lambda _: registry.history.verify()), [None]),
            lambda: timed(each(_read_and_hash), [raw]),
            setting.rounds(5),
        )
        raw.close()
    return pairs.times_as_fast("history.verify / reading its rows and hashing them")


def _read_and_hash(raw: Raw) -> None:
    digest = hashlib.sha256()
    for statement in ("SELECT * FROM revisions", "SELECT * FROM events"):
        for row in raw.rows(statement):
            digest.update(repr(row).encode())
