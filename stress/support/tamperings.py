"""The classes of tampering: how each is done, on which databases, and what may pass."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Final

from support import edits, forgeries
from support.stores import copied, joined, split

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from support.edits import Edit
    from support.stores import Contents
    from support.victims import Victim

    #: Does one to the victim in its state of a revision, and returns where.
    Tamper = Callable[[Victim, int, random.Random], str]

_FILES: Final = frozenset({"sqlite"})
#: Databases that keep a flag as a number.
_NUMBERS: Final = frozenset({"sqlite", "mariadb"})
_EVERYWHERE: Final = frozenset({"sqlite", "postgresql", "mariadb"})


class Passes(Enum):
    """When verification may find nothing."""

    NEVER = "never"
    WITHOUT_AN_ANCHOR = "without an anchor"
    BY_DESIGN = "by design"


@dataclass(frozen=True)
class Tampering:
    """One class."""

    do: Tamper
    on: frozenset[str] = _EVERYWHERE
    passes: Passes = Passes.NEVER


def edit_rows(
    victim: Victim, revision: int, chance: random.Random, *, edit: Edit, namespace: str | None
) -> str:
    """Edit rows, of one namespace or of all, until the database takes it and something differs."""
    contents = victim.states[revision].contents
    refusals: tuple[type[Exception], ...] = (*victim.store.refusals, TypeError, ValueError)
    of_interest, rest = split(contents, namespace)
    while True:
        edited = copied(of_interest)
        try:
            where = edit(edited, chance)
            is_changed = victim.store.write(joined(edited, rest))
        except refusals:
            continue  # The database takes no such rows, or they cannot be hashed.
        if is_changed:
            return where


def put_back(victim: Victim, revision: int, chance: random.Random) -> str:
    """Restore an earlier state."""
    earlier = chance.choice(victim.before(revision))
    victim.restore(earlier)
    return f"revision {earlier}"


def write_anew(victim: Victim, revision: int, chance: random.Random) -> str:
    """Restore a state that is not much earlier, and go on from there to about the same length."""
    earlier = chance.choice(victim.before(revision)[-edits.TAIL :])
    victim.restore(earlier)
    victim.write_on(chance, max(1, revision - earlier + chance.randint(-1, 1)))
    return f"revision {earlier}"


def change_schema(victim: Victim, revision: int, chance: random.Random) -> str:
    """Drop or replace an object of the schema, or edit what it says of its version."""
    if chance.random() < 1 / len(_SCHEMA_KINDS):
        kinds: list[Edit] = [edits.change_version, partial(edits.delete_row, names=_VERSIONS)]
        edit = chance.choice(kinds)
        return edit_rows(victim, revision, chance, edit=edit, namespace=None)
    while True:
        objects = victim.store.objects()
        kind = chance.choice(_SCHEMA_KINDS)
        found = [one for one in objects if one.name.startswith(kind)]
        if not found:
            continue
        one = chance.choice(found)
        is_replaced = bool(one.replace) and chance.random() < 1 / 2
        do = one.replace if is_replaced else (one.drop,)
        try:
            victim.store.change_schema(do, one.restore)
        except victim.store.refusals:
            continue  # Something depends on it.
        return f"{one.name} {'replaced' if is_replaced else 'dropped'}"


_VERSIONS: Final = ("schema_versions",)
_SCHEMA_KINDS: Final = ("view", "trigger", "function", "foreign key", "index")


def _rows(
    edit: Edit,
    on: frozenset[str] = _EVERYWHERE,
    passes: Passes = Passes.NEVER,
    namespace: str | None = forgeries.NAMESPACE,
) -> Tampering:
    return Tampering(partial(edit_rows, edit=edit, namespace=namespace), on, passes)


def _edit_another(contents: Contents, chance: random.Random) -> str:
    kinds = [edits.change_value, edits.delete_row, edits.swap_rows, edits.insert_row]
    return chance.choice(kinds)(contents, chance)


TAMPERINGS: Final[dict[str, Tampering]] = {
    "value changed": _rows(edits.change_value),
    "row deleted": _rows(edits.delete_row),
    "rows swapped": _rows(edits.swap_rows),
    "row inserted": _rows(edits.insert_row),
    "event replayed": _rows(edits.replay_event),
    "value spelled otherwise": _rows(edits.spell_otherwise, _FILES),
    "value of another type": _rows(edits.retype, _FILES),
    "tail cut": _rows(edits.cut_tail),
    "history rewritten": _rows(edits.rewrite, passes=Passes.WITHOUT_AN_ANCHOR),
    "end put back": Tampering(put_back, passes=Passes.WITHOUT_AN_ANCHOR),
    "end written anew": Tampering(write_anew, passes=Passes.WITHOUT_AN_ANCHOR),
    "event between revisions": _rows(forgeries.event_between, _FILES),
    "key of JSON twice": _rows(forgeries.say_twice),
    "flag in another form": _rows(forgeries.flag_otherwise, _NUMBERS),
    "namespace as a BLOB": _rows(forgeries.namespace_as_blob, _FILES),
    "creation moved": _rows(forgeries.move_creation),
    "row of nobody": _rows(forgeries.give_to_nobody, namespace=None),
    "row of another namespace": _rows(forgeries.give_to_another, namespace=None),
    "another namespace edited": _rows(_edit_another, namespace=forgeries.OTHER),
    "lease lengthened": _rows(forgeries.lengthen),
    # As a renewal would have, which files no event.
    "lease renewed": _rows(forgeries.lengthen_within, passes=Passes.BY_DESIGN),
    "boot id taken away": _rows(forgeries.take_boot_id, _FILES),
    "schema changed": Tampering(change_schema),
}
