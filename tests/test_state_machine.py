"""Any sequence of calls does what the hash maps of the original would do, and is remembered."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

import pytest
from hypothesis import settings, stateful
from hypothesis import strategies as st

from capsule_registry import CapsuleRegistry, errors
from conftest import Clock
from factories import TELEGRAM, make_manifest, make_uplink

if TYPE_CHECKING:
    from collections.abc import Callable

    from backends import Backend
    from capsule_registry import Anchor, CapsuleManifest, UplinkDescriptor

UUIDS = [UUID(int=number) for number in range(1, 4)]
UPLINK_IDS = [UUID(int=number) for number in range(11, 17)]


@dataclass(frozen=True)
class Capsule:
    """A capsule, and the ids that its uplinks are to get."""

    id: str
    uplink_ids: list[UUID]
    tool_names: list[str]

    @property
    def manifest(self) -> CapsuleManifest:
        tools = [{"name": n, "description": "", "input_schema": {}} for n in self.tool_names]
        return make_manifest(self.id, uplink=[TELEGRAM for _ in self.uplink_ids], tool=tools)


@dataclass
class Model:
    """The maps of the original, in order of registration, and the events of the last revision."""

    capsules: dict[str, Capsule] = field(default_factory=dict)
    uplinks: dict[UUID, str] = field(default_factory=dict)
    uuids: dict[UUID, str] = field(default_factory=dict)
    compacted: int = 0
    events: list[tuple[str, str | None]] = field(default_factory=list)

    def register(self, capsule: Capsule, uuids: list[UUID]) -> Capsule:
        if capsule.id in self.capsules:
            raise errors.CapsuleAlreadyRegisteredError(capsule.id)
        self.capsules[capsule.id] = capsule
        self.events.append(("capsule.registered", capsule.id))
        for uplink_id in capsule.uplink_ids:
            self._file_uplink(uplink_id, capsule.id)
        for uuid in uuids:
            self.register_uuid(uuid, capsule.id)
        return capsule

    def unregister(self, capsule_id: str) -> Capsule:
        if capsule_id not in self.capsules:
            raise errors.CapsuleNotFoundError(capsule_id)
        self.unregister_capsule_uplinks(capsule_id)
        for uuid in [uuid for uuid, owner in self.uuids.items() if owner == capsule_id]:
            self.unregister_uuid(uuid)
        self.events.append(("capsule.unregistered", capsule_id))
        return self.capsules.pop(capsule_id)

    def drain(self) -> list[Capsule]:
        drained = [self.unregister(capsule_id) for capsule_id in [*self.capsules]]
        for uplink_id in [*self.uplinks]:
            self.unregister_uplink(uplink_id)
        for uuid in [*self.uuids]:
            self.unregister_uuid(uuid)
        return drained

    def register_uuid(self, uuid: UUID, capsule_id: str) -> None:
        if self.uuids.get(uuid) != capsule_id:
            self._reserve(capsule_id)
            self.unregister_uuid(uuid)
            self.uuids[uuid] = capsule_id
            self.events.append(("uuid.registered", capsule_id))

    def unregister_uuid(self, uuid: UUID) -> bool:
        return self._remove(self.uuids, uuid, "uuid.unregistered")

    def register_uplink(self, capsule_id: str, descriptor: UplinkDescriptor) -> None:
        self._reserve(capsule_id)
        self._file_uplink(descriptor.id, capsule_id)

    def unregister_uplink(self, uplink_id: UUID) -> bool:
        return self._remove(self.uplinks, uplink_id, "uplink.unregistered")

    def unregister_capsule_uplinks(self, capsule_id: str) -> int:
        found = [uplink_id for uplink_id, owner in self.uplinks.items() if owner == capsule_id]
        return sum(self.unregister_uplink(uplink_id) for uplink_id in found)

    def prune(self, through: Anchor) -> int:
        if through.revision <= self.compacted:
            raise errors.RevisionCompactedError(through.revision, self.compacted)
        gone, self.compacted = through.revision - self.compacted, through.revision
        self.events.append(("history.pruned", None))
        return gone

    def has(self, capsule_id: str) -> bool:
        return capsule_id in {*self.capsules, *self.uplinks.values(), *self.uuids.values()}

    def _reserve(self, capsule_id: str) -> None:
        if not self.has(capsule_id):
            self.events.append(("capsule.reserved", capsule_id))

    def _file_uplink(self, uplink_id: UUID, capsule_id: str) -> None:
        if uplink_id in self.uplinks:
            raise errors.UplinkAlreadyRegisteredError(uplink_id)
        self.uplinks[uplink_id] = capsule_id
        self.events.append(("uplink.registered", capsule_id))

    def _remove(self, of: dict[UUID, str], key: UUID, action: str) -> bool:
        owner = of.pop(key, None)
        if owner is not None:
            self.events.append((action, owner))
            if not self.has(owner):
                self.events.append(("capsule.released", owner))
        return owner is not None


def answers(on: Any) -> dict[str, Any]:
    """Return what the model, or a reader, has: of each map all, in order."""
    if isinstance(on, Model):
        return {
            "list": [*on.capsules],
            "find_by_uuid": [on.uuids.get(uuid) for uuid in UUIDS],
            "uuids": [*on.uuids.items()],
            "all_uplink_descriptors": [*on.uplinks],
            "find_uplinks": [*on.uplinks.items()],
            "tools": [(one.id, name) for one in on.capsules.values() for name in one.tool_names],
        }
    return {
        "list": on.list(),
        "find_by_uuid": [on.find_by_uuid(uuid) for uuid in UUIDS],
        "uuids": [(found.uuid, found.capsule_id) for found in on.uuids()],
        "all_uplink_descriptors": [uplink.id for uplink in on.all_uplink_descriptors()],
        "find_uplinks": [(found.descriptor.id, found.capsule_id) for found in on.find_uplinks()],
        "tools": [(tool.capsule_id, tool.name) for tool in on.tools()],
    }


def outcome(work: Callable[[Any], Any], manager: AbstractContextManager[Any]) -> tuple[Any, ...]:
    """Return what *work* returns, or the error that it or the end of the block raises."""
    try:
        with manager as on:
            return None, work(on)
    except errors.CapsuleRegistryError as error:
        return type(error), error.args


Change = tuple[str, dict[str, Any]]
IDS = st.sampled_from(["alpha", "beta", "gamma", "delta"])
SESSION, UPLINK_ID = st.sampled_from(UUIDS), st.sampled_from(UPLINK_IDS)
CAPSULES = st.builds(Capsule, IDS, st.lists(UPLINK_ID, max_size=2), st.sampled_from([[], ["t"]]))
BY_HAND = st.sampled_from([make_uplink(id=uplink_id) for uplink_id in UPLINK_IDS])
VERBS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "register": {"capsule": CAPSULES, "uuids": st.lists(SESSION, max_size=2)},
    "unregister": {"capsule_id": IDS},
    "register_uuid": {"uuid": SESSION, "capsule_id": IDS},
    "unregister_uuid": {"uuid": SESSION},
    "register_uplink": {"capsule_id": IDS, "descriptor": BY_HAND},
    "unregister_uplink": {"uplink_id": UPLINK_ID},
    "unregister_capsule_uplinks": {"capsule_id": IDS},
    "drain": {},
}
CHANGES: st.SearchStrategy[Change] = st.one_of(
    *(st.tuples(st.just(verb), st.fixed_dictionaries(VERBS[verb])) for verb in VERBS)
)


class RegistryMachine(stateful.RuleBasedStateMachine):
    """A registry and the model, side by side."""

    backend: ClassVar[Backend]
    anchors: ClassVar[stateful.Bundle[Anchor]] = stateful.Bundle("anchors")

    def __init__(self) -> None:
        super().__init__()
        self.url = self.backend.new_url()
        self.clock = Clock()
        self.chance = Random(0)  # noqa: S311 - the same revisions after the same steps
        self.model = Model()
        #: When each revision was made, from 0 on, and what the model answered then.
        self.then = [(self.clock.now, answers(self.model))] * 2
        #: What the uplinks that are declared next will be called.
        self.uplink_ids: list[UUID] = []
        self.open()

    def open(self) -> None:
        self.registry = CapsuleRegistry.open(
            self.url, clock=self.clock, actor="tester", new_uuid=lambda: self.uplink_ids.pop(0)
        )

    def perform(self, on: Any, verb: str, arguments: dict[str, Any]) -> list[Any]:
        """Call *verb* of the model, the registry or a transaction; return the ids of records."""
        if verb == "register":
            self.uplink_ids = [*arguments["capsule"].uplink_ids]
        result = getattr(on, verb)(**arguments)
        found = result if isinstance(result, list) else [result]
        return [getattr(one, "id", one) for one in found]

    def attempt(self, work: Callable[[Any], Any], manager: AbstractContextManager[Any]) -> None:
        """Do *work* on both: the same comes of it, and one revision if it changed anything."""
        self.clock.step(timedelta(seconds=1))
        changed = replace(deepcopy(self.model), events=[])
        expected = outcome(work, nullcontext(changed))
        events = [sorted(changed.events)] if expected[0] is None and changed.events else []
        assert expected == outcome(work, manager)
        assert events == [
            sorted((event.action, event.capsule_id) for event in revision.events)
            for revision in self.registry.history.list(after=len(self.then) - 1)
        ]
        if events:
            self.model = changed
            self.then.append((self.clock.now, answers(changed)))

    @stateful.rule(changes=st.lists(CHANGES, min_size=2, max_size=5), gives_up=st.booleans())
    def transaction(self, changes: list[Change], gives_up: bool) -> None:
        def body(on: Any) -> Any:
            results = [self.perform(on, *change) for change in changes]
            if gives_up:
                raise errors.CapsuleRegistryError
            return results, answers(on)

        self.attempt(body, self.registry.transaction())

    @stateful.rule()
    def reopen(self) -> None:
        self.registry.close()
        self.open()

    @stateful.rule(target=anchors)
    def anchor(self) -> Anchor:
        return self.registry.history.anchor()

    @stateful.rule(through=anchors)
    def prune(self, through: Anchor) -> None:
        self.attempt(lambda on: on.prune(through), nullcontext(self.registry.history))

    @stateful.invariant()
    def is_as_the_model_is(self) -> None:
        assert len(self.then) - 1 == self.registry.history.revision
        assert answers(self.model) == answers(self.registry)

    @stateful.invariant()
    def was_as_the_model_was(self) -> None:
        earlier, compacted = range(len(self.then) - 1), self.model.compacted
        for revision in self.chance.sample(earlier, min(5, len(earlier))):
            time, expected = self.then[revision]
            if revision < compacted:
                for moment in ({"revision": revision}, {"time": time}):
                    with pytest.raises(errors.RevisionCompactedError):
                        self.registry.at(**moment)
            else:
                assert expected == answers(self.registry.at(revision=revision))
            if revision > compacted:
                assert revision == self.registry.at(time=time).revision

    def teardown(self) -> None:
        with self.registry:
            assert self.registry.history.verify().ok


def rule_of(verb: str) -> Any:
    """Return the rule that calls *verb* alone; one that removes waits until something is there."""

    def call(self: RegistryMachine, **arguments: Any) -> None:
        self.attempt(lambda on: self.perform(on, verb, arguments), nullcontext(self.registry))

    call.__name__ = verb
    called = stateful.rule(**VERBS[verb])(call)  # type: ignore[call-overload]
    adds = verb.startswith("register")
    return stateful.precondition(lambda self: adds or self.then[-1][1] != self.then[0][1])(called)


for _verb in VERBS:
    setattr(RegistryMachine, _verb, rule_of(_verb))


def test_any_sequence_of_calls_does_what_the_model_does(backend: Backend) -> None:
    """The registry answers, refuses, counts and remembers as the model, on every database."""
    machine = type("Machine", (RegistryMachine,), {"backend": backend})
    runs = int(os.environ.get("CAPSULE_REGISTRY_TEST_RUNS", "5"))
    stateful.run_state_machine_as_test(
        machine, settings=settings(max_examples=runs, stateful_step_count=50, deadline=None)
    )
