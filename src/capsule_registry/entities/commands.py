"""Commands: what people type, and which capsule answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capsule_registry.entities.derived_rows import records
from capsule_registry.errors import AmbiguousCommandError
from capsule_registry.manifest.parts import CommandKind
from capsule_registry.models.declarations import Command
from capsule_registry.models.records import CapsuleState
from capsule_registry.schema.tables import commands
from capsule_registry.unit_of_work.queries import derived

if TYPE_CHECKING:
    from capsule_registry.unit_of_work.queries import Scope

_all = derived(commands)
_named = derived(commands, "name")


def list_all(scope: Scope, kind: CommandKind | None) -> list[Command]:
    """Return the commands, or those of one kind, in order of registration."""
    return [one for one in records(Command, scope.rows(_all)) if kind in (None, one.kind)]


def find(scope: Scope, verb: str) -> Command | None:
    """
    Return the command of a shell of that name, of the capsules that are ready.

    Raises:
        AmbiguousCommandError: There are several, be it of one capsule.
    """
    found = [
        one
        for one in records(Command, scope.rows(_named, name=verb))
        if one.kind is CommandKind.CLI and one.state is CapsuleState.READY
    ]
    if len(found) > 1:
        raise AmbiguousCommandError(verb, tuple(str(one.capsule_id) for one in found))
    return found[0] if found else None
