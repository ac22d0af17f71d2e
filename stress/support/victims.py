"""A registry with a varied history in two namespaces, and its rows after each change."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from capsule_registry import CapsuleManifest, CapsuleRegistry, UplinkDescriptor
from support.edits import TAIL
from support.forgeries import OTHER
from support.server_stores import MariadbStore, PostgresqlStore
from support.sqlite_store import SqliteStore

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from capsule_registry import Anchor
    from support.stores import Contents, Store

_STORES: Final[tuple[type[Store], ...]] = (SqliteStore, PostgresqlStore, MariadbStore)
#: Longer than any run.
_TTL: Final = timedelta(days=1)
_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"a": {"type": "string"}, "b": {"enum": [1, {"c": 2}]}},
}


class Loaded:
    """A capsule that has every member, `source_dir` and a state included."""

    source_dir, state, state_reason = "/opt/capsules", "failed", "no reason"

    def __init__(self, name: str, chance: random.Random) -> None:
        tool = {"name": "t", "description": "d", "input_schema": _SCHEMA}
        # Uplinks require nothing.
        is_uplink = chance.random() < 1 / 2
        self.tools = chance.choice([[], [tool, {**tool, "name": "reported"}]])
        self.manifest = CapsuleManifest.model_validate(
            {
                "package": {"name": name, "version": f"0.{chance.randrange(3)}.0"},
                "uplink": [{"name": "u", "platform": "cli", "profile": "chat"}],
                "capabilities": {"net": ["a", "b"], "kv": ["c"], "uplink": is_uplink},
                "dependencies": {
                    "provides": ["topic:x"],
                    "requires": [] if is_uplink else ["topic:y"],
                },
                "interceptor": [{"event": "e.*", "action": "a"}],
                "tool": [tool],
            }
        )


@dataclass(frozen=True)
class State:
    """All rows after a change, and the anchor taken then."""

    contents: Contents
    anchor: Anchor


@dataclass
class Victim:
    """The registry, its states by revision, and which of these are tampered with."""

    store: Store
    states: dict[int, State] = field(default_factory=dict)
    #: One before the pruning, and one after it.
    chosen: list[int] = field(default_factory=list)

    def do(self, change: Callable[[CapsuleRegistry], object]) -> None:
        """Make one change, and keep the state."""
        with CapsuleRegistry.open(self.store.url) as registry:
            change(registry)
            anchor = registry.history.anchor()
        self.states[anchor.revision] = State(self.store.read(), anchor)

    def before(self, revision: int) -> list[int]:
        """Return the earlier revisions, in order."""
        return sorted(number for number in self.states if number < revision)

    def restore(self, revision: int) -> None:
        """Make the rows of that revision, and the schema, what is there."""
        self.store.restore_schema()
        self.store.write(self.states[revision].contents)

    def write_on(self, chance: random.Random, count: int) -> None:
        """Continue the history in another way."""
        with CapsuleRegistry.open(self.store.url) as registry:
            for number in range(count):
                registry.register(Loaded(f"other-{number}", chance))
        self.store.read()


def open_store(url: str) -> Store:
    """Return the store of the database at *url*."""
    [kind] = [kind for kind in _STORES if url.startswith(kind.name)]
    return kind(url)


def build(url: str, chance: random.Random) -> Victim:
    """Make the history; half-way, prune its first third."""
    CapsuleRegistry.open(url, migrate=True).close()
    with CapsuleRegistry.open(url, namespace=OTHER) as other:
        for number in range(3):
            other.register(Loaded(f"capsule-{number}", chance), uuids=[uuid4()])
            change_something(other, chance)
    victim = Victim(open_store(url))
    victim.do(CapsuleRegistry.drain)
    for state in ("ready", "failed"):
        victim.do(partial(_age, name="oldest", state=state, chance=chance))
    _fill(victim, "first", chance)
    anchor = victim.states[sorted(victim.states)[len(victim.states) // 3]].anchor
    victim.do(lambda registry: registry.history.prune(anchor))
    _fill(victim, "second", chance)
    return victim


def change_something(registry: CapsuleRegistry, chance: random.Random) -> None:
    """Make one random change, which a later one may undo."""
    name, uuid = f"capsule-{chance.randrange(5)}", UUID(int=chance.randrange(10))
    match chance.randrange(6):
        case 0:
            metadata = {"a": "b", "c": "d"}
            uplink = UplinkDescriptor(name="by hand", platform="discord", metadata=metadata)
            registry.register_uplink(name, uplink)
        case 1:
            registry.unregister_uuid(uuid)
        case 2 | 3:
            registry.register_uuid(uuid, name)
        case _ if name in registry:
            registry.unregister(name)
        case _:
            registry.register(Loaded(name, chance), uuids=[uuid])


def _age(registry: CapsuleRegistry, name: str, state: str, chance: random.Random) -> None:
    """Give a capsule that was there before another event, by which it outlives a pruning."""
    if name not in registry:
        registry.register(Loaded(name, chance), uuids=[uuid4()])
    registry.set_state(name, state)


def _open_lease(registry: CapsuleRegistry, name: str) -> None:
    lease = registry.leases.open(name, _TTL, renew=False)
    lease.register_uuid(uuid4(), name)


def _fill(victim: Victim, name: str, chance: random.Random) -> None:
    """Make random changes, then some that are never undone."""
    for _ in range(20):
        victim.do(partial(change_something, chance=chance))
    victim.do(partial(_open_lease, name=name))
    for number in range(TAIL):
        capsule = Loaded(f"{name}-{number}", chance)
        victim.do(partial(CapsuleRegistry.register, capsule=capsule))
    victim.chosen.append(max(victim.states))
