"""Any sequence of calls does what the original's hash maps would do, and is remembered."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

import pytest
from hypothesis import settings, stateful
from hypothesis import strategies as st

from capsule_registry import CapsuleRegistry, errors
from conftest import Clock
from support.factories import make_uplink
from support.model import Capsule, Model

if TYPE_CHECKING:
    from collections.abc import Callable

    from capsule_registry import Anchor
    from support.backends import Backend

UUIDS = [UUID(int=number) for number in range(1, 4)]
UPLINK_IDS = [UUID(int=number) for number in range(11, 17)]


def answers(on: Any) -> dict[str, Any]:
    """Return the complete contents of a model or reader, in order."""
    if isinstance(on, Model):
        return {
            "list": [*on.capsules],
            "failed": [one for one in on.capsules if on.states[one] == "failed"],
            "find_by_uuid": [on.uuids.get(uuid) if on.stands(uuid) else None for uuid in UUIDS],
            "uuids": [item for item in on.uuids.items() if on.stands(item[0])],
            "is_allowed": [on.is_allowed(uuid, "t.x") for uuid in UUIDS],
            "all_uplink_descriptors": [*on.uplinks],
            "find_uplinks": [*on.uplinks.items()],
            "tools": [(one.id, name) for one in on.capsules.values() for name in one.tool_names],
        }
    return {
        "list": on.list(),
        "failed": on.list(state="failed"),
        "find_by_uuid": [on.find_by_uuid(uuid) for uuid in UUIDS],
        "uuids": [(found.uuid, found.capsule_id) for found in on.uuids()],
        "is_allowed": [on.is_allowed(uuid, "ipc_publish", "t.x") for uuid in UUIDS],
        "all_uplink_descriptors": [uplink.id for uplink in on.all_uplink_descriptors()],
        "find_uplinks": [(found.descriptor.id, found.capsule_id) for found in on.find_uplinks()],
        "tools": [(tool.capsule_id, tool.name) for tool in on.tools()],
    }


def outcome(work: Callable[[Any], Any], manager: AbstractContextManager[Any]) -> tuple[Any, ...]:
    """Return the result of *work*, or the error that it or the end of the block raises."""
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
#: Which of the leases opened so far, counted back from the last, or none.
LEASE = st.sampled_from([None, None, 1, 2])
FILED = {"uuids": st.lists(SESSION, max_size=2), "lease": LEASE}
VERBS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "register": {"capsule": CAPSULES, **FILED},
    "replace": {"capsule": CAPSULES, "keep_uuids": st.booleans(), **FILED},
    "set_state": {"capsule_id": IDS, "state": st.sampled_from(["ready", "failed"])},
    "unregister": {"capsule_id": IDS},
    "register_uuid": {"uuid": SESSION, "capsule_id": IDS, "lease": LEASE},
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
        #: The time of each revision, from 0 on, and the model's answers then.
        self.then = [(self.clock.now, answers(self.model))] * 2
        #: The ids of the uplinks declared next.
        self.uplink_ids: list[UUID] = []
        self.lease_ids: list[UUID] = []
        self.open()

    def open(self) -> None:
        self.registry = CapsuleRegistry.open(
            self.url, clock=self.clock, actor="tester", new_uuid=lambda: self.uplink_ids.pop(0)
        )

    def perform(self, on: Any, verb: str, arguments: dict[str, Any]) -> list[Any]:
        """Call *verb* of the model, the registry or a transaction; return its records' ids."""
        if "capsule" in arguments:
            self.uplink_ids = [*arguments["capsule"].uplink_ids]
        if arguments.get("lease") is not None:
            held = self.lease_ids[-arguments["lease"] :]
            arguments = {**arguments, "lease": held[0] if held else None}
        result = getattr(on, verb)(**arguments)
        found = result if isinstance(result, list) else [result]
        return [getattr(one, "id", one) for one in found]

    def attempt(self, work: Callable[[Any], Any], manager: AbstractContextManager[Any]) -> None:
        """Do *work* on both: equal outcomes, and one revision if anything changed."""
        self.clock.step(timedelta(seconds=1))
        self.model.now = self.clock.now
        changed = replace(deepcopy(self.model), events=[])
        expected = outcome(work, nullcontext(changed))
        events = [sorted(changed.events)] if expected[0] is None and changed.events else []
        assert expected == outcome(work, manager)
        assert events == [
            sorted((event.action, event.capsule_id) for event in revision.events)
            for revision in self.registry.history.list(after=len(self.then) - 1)
        ]
        if expected[0] is None:
            self.model = changed
        if events:
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

    @stateful.rule(seconds=st.sampled_from([2, 5, 60]))
    def open_lease(self, seconds: int) -> None:
        """Open a lease and tell the model its id, which the registry chooses."""

        def work(on: Any) -> None:
            if isinstance(on, Model):
                on.open(timedelta(seconds=seconds))
            else:
                self.lease_ids.append(on.open("w", timedelta(seconds=seconds), renew=False).id)

        self.attempt(work, nullcontext(self.registry.leases))
        self.model.name_lease(self.lease_ids[-1])

    @stateful.rule(verb=st.sampled_from(["renew", "close"]), back=st.sampled_from([1, 2]))
    @stateful.precondition(lambda self: self.lease_ids)
    def end_or_renew_lease(self, verb: str, back: int) -> None:
        arguments = {"lease_id": self.lease_ids[-back:][0]}
        self.attempt(
            lambda on: self.perform(on, verb, arguments), nullcontext(self.registry.leases)
        )

    @stateful.rule()
    @stateful.precondition(lambda self: self.lease_ids)
    def reap(self) -> None:
        self.attempt(lambda on: self.perform(on, "reap", {}), nullcontext(self.registry.leases))

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
    """Return the rule that calls *verb* alone; a removing one waits until something exists."""

    def call(self: RegistryMachine, **arguments: Any) -> None:
        self.attempt(lambda on: self.perform(on, verb, arguments), nullcontext(self.registry))

    call.__name__ = verb
    called = stateful.rule(**VERBS[verb])(call)  # type: ignore[call-overload]
    adds = verb.startswith("register")
    return stateful.precondition(lambda self: adds or self.then[-1][1] != self.then[0][1])(called)


for _verb in VERBS:
    setattr(RegistryMachine, _verb, rule_of(_verb))


def test_any_sequence_of_calls_does_what_the_model_does(backend: Backend) -> None:
    """The registry answers, refuses, counts and remembers like the model."""
    machine = type("Machine", (RegistryMachine,), {"backend": backend})
    runs = int(os.environ.get("CAPSULE_REGISTRY_TEST_RUNS", "2" if backend.is_server else "5"))
    stateful.run_state_machine_as_test(
        machine, settings=settings(max_examples=runs, stateful_step_count=50, deadline=None)
    )
