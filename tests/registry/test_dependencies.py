"""Dependencies: grants, interceptors, providers and the boot order."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from capsule_registry import (
    BootOrder,
    CapsuleManifest,
    DependencyCycleError,
    InvalidTextError,
    boot_order,
    capability_matches,
    topic_matches,
)
from capsule_registry.permissions.rules import RULES
from support.factories import CLI, OriginalCapsule, make_manifest
from support.rules import covering, is_understood
from support.vector_files import rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from capsule_registry import CapsuleRegistry, RegistryReader
    from conftest import Clock

pytestmark = pytest.mark.files_alone


#: Each example empties the fixture itself.
on_one_registry = settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
KINDS = ("topic", "tool", "llm", "uplink")
SEGMENTS = st.sampled_from(["a", "b", "c", "*", "**", "a*", "é"])


def dotted(least: int, most: int, segments: st.SearchStrategy[str] = SEGMENTS) -> Any:
    return st.lists(segments, min_size=least, max_size=most).map(".".join)


def capabilities(segments: Sequence[str]) -> Any:
    return st.builds(
        "{}:{}".format, st.sampled_from(KINDS[:2]), dotted(1, 3, st.sampled_from(segments))
    )


def fill(registry: CapsuleRegistry, manifests: Iterable[CapsuleManifest]) -> None:
    with registry.transaction() as transaction:
        transaction.drain()
        transaction.register_many(manifests)


def expected_order(manifests: Sequence[CapsuleManifest]) -> tuple[list[str], list[str]]:
    """Return the order, and the ids in a cycle, that the library derives from the manifests."""
    try:
        return [one.package.name for one in boot_order(manifests)], []
    except DependencyCycleError as error:
        return [manifests[index].package.name for index in error.fallback], [*error.names]


def order_of(found: BootOrder) -> tuple[list[str], list[str]]:
    return [*found.order], [*found.cycle]


def test_the_boot_order_of_the_vectors_is_the_librarys(registry: CapsuleRegistry) -> None:
    """The registry gives the same order, cycle and unmet requirements."""
    seen = 0
    for row in rows("toposort"):
        manifests = [CapsuleManifest.parse(text) for text in row.get("input", ())]
        names = [one.package.name for one in manifests]
        if "input" not in row or len({*names}) < len(names):
            continue  # Real manifests, and ones that share an id.
        fill(registry, manifests)
        found = registry.boot_order()

        assert expected_order(manifests) == order_of(found), row["name"]
        assert [names[index] for index in row["boot"]] == [*found.order], row["name"]
        assert [] == [one for one in found.unmet if one.providers]
        seen += 1
    assert seen > 20


@st.composite
def graphs(draw: Callable[[Any], Any]) -> list[CapsuleManifest]:
    """Manifests that provide and need so few capabilities that most needs are met."""
    manifests = []
    for number in range(draw(st.integers(0, 7))):
        is_uplink = draw(st.booleans())
        requires = () if is_uplink else draw(st.lists(capabilities("ab*"), max_size=3))
        provides = draw(st.lists(capabilities("ab"), max_size=3))
        derived = draw(st.lists(dotted(1, 2, st.sampled_from("ab*")), max_size=2))
        dependencies = {"requires": requires, "provides": provides}
        can = {"uplink": is_uplink, "ipc_publish": derived}
        name = f"c{9 - number}"
        manifests.append(make_manifest(name, dependencies=dependencies, capabilities=can))
    return manifests


@on_one_registry
@given(manifests=graphs())
def test_order_needs_and_offers_agree_with_the_manifests(
    registry: CapsuleRegistry, manifests: list[CapsuleManifest]
) -> None:
    """For any graph: the order, every provider of every requirement, and the unmet ones."""
    fill(registry, manifests)
    offers = [(one.package.name, each) for one in manifests for each in one.effective_provides]
    needs = [(one.package.name, each) for one in manifests for each in one.dependencies.requires]

    def meets(need: str) -> list[tuple[str, str]]:
        return [offer for offer in offers if capability_matches(need, offer[1])]

    found = registry.boot_order()
    assert expected_order(manifests) == order_of(found)
    assert [(name, need) for name, need in needs if not meets(need)] == [
        (one.capsule_id, one.requirement) for one in found.unmet
    ]
    assert [(name, need, [*dict(meets(need))]) for name, need in needs] == [
        (one.capsule_id, one.requirement, [*one.providers]) for one in registry.dependencies()
    ]
    for need in {"topic:*", "tool:a.b", "llm:a", "", *(each for _, each in needs)}:
        provided = [(one.capsule_id, one.capability) for one in registry.providers(need)]
        assert meets(need) == provided


@on_one_registry
@given(
    patterns=st.lists(dotted(1, 4) | dotted(8, 10, st.sampled_from("ab*")), max_size=8),
    topics=st.lists(
        dotted(1, 4) | dotted(8, 10, st.sampled_from("ab*")) | st.text(string.printable, max_size=5)
    ),
)
@example(patterns=["*.b.c.d.e.f.g.h.*"], topics=["a.b.c.d.e.f.g.h.i", "a.b.c.d.e.f.g.h"])
@example(patterns=["a", "*"], topics=["", ".", "a.", "A", "a", "*", "a" * 600])
def test_the_interceptors_of_a_topic_are_those_whose_pattern_covers_it(
    registry: CapsuleRegistry, patterns: list[str], topics: list[str]
) -> None:
    """Lookup by index for few possible patterns and a full scan otherwise give the same answer."""
    table = [{"event": each, "action": f"{each}!"} for each in patterns]
    fill(registry, [make_manifest("a", interceptor=table), make_manifest("b", interceptor=table)])

    for topic in topics:
        covering = [f"{each}!" for each in patterns if topic_matches(topic, each)]
        assert [(name, action) for name in ("a", "b") for action in covering] == [
            (found.capsule_id, found.action) for found in registry.interceptors(topic)
        ]


def test_only_who_is_ready_is_called(registry: CapsuleRegistry) -> None:
    """In registration order, each with the object that this process registered."""
    events = [{"event": "a.*", "action": "one"}, {"event": "*.b", "action": "two"}]
    host = OriginalCapsule("z-first", interceptor=events)
    registry.register(host)
    registry.register(make_manifest("second", interceptor=events[:1]))
    registry.set_state("second", "loading")

    assert [("z-first", "one", host), ("z-first", "two", host)] == registry.interceptors("a.b")
    registry.set_state("second", "ready")
    assert ["z-first", "z-first", "second"] == [
        found.capsule_id for found in registry.interceptors("a.b")
    ]


ENTRIES: dict[str, Any] = {
    "net": ["example.org", "*"],
    "kv": ["*", "index"],
    "fs_read": ["home://notes", "/etc/"],
    "fs_write": ["*"],
    "host_process": ["git", "git log"],
    "net_bind": ["127.0.0.1:80"],
    "ipc_publish": ["a.*", "a.b", "*.b.c"],
    "ipc_subscribe": ["**"],
    "identity": ["link"],
}
FLAGS = {"uplink": True, "allow_prompt_injection": True}
ALL_ENTRIES = [
    *((name, value) for name, values in ENTRIES.items() for value in values),
    *((name, "true") for name in FLAGS),
]


def test_grants_are_in_order_of_registration_then_of_the_manifest(
    registry: CapsuleRegistry,
) -> None:
    """Those of one capability stay together, now and in the past."""
    fill(registry, [make_manifest(each, capabilities={**ENTRIES, **FLAGS}) for each in ("b", "a")])
    for reader in (registry, registry.at(revision=registry.history.revision)):
        assert [(name, *entry) for name in ("b", "a") for entry in ALL_ENTRIES] == [
            (one.capsule_id, one.capability, one.value) for one in reader.grants()
        ]


def test_grants_are_those_that_cover_what_is_asked(registry: CapsuleRegistry) -> None:
    """For every capability, the entries with which `check` would be satisfied, in order."""
    fill(registry, [make_manifest(each, capabilities={**ENTRIES, **FLAGS}) for each in ("b", "a")])

    assert {*ALL_ENTRIES} == {(one.capability, one.value) for one in registry.grants()}
    assert {*RULES} - {"net_connect", "allow_persistent"} == {
        one.capability for one in registry.grants()
    }
    for value in ("a.b", "example.org", "git log -1", "home://notes/x", "admin", "index", "*"):
        for capability in filter(lambda one: is_understood(one, value), RULES):
            expected = [
                (name, entry)
                for name in ("b", "a")
                for each, entry in ALL_ENTRIES
                if each == capability and covering(capability, [entry], value) is not None
            ]
            found = registry.grants(capability=capability, value=value)
            assert expected == [(one.capsule_id, one.value) for one in found], (capability, value)
        assert sorted(
            (one.capsule_id, one.capability, one.value)
            for capability in filter(lambda one: is_understood(one, value), RULES)
            for one in registry.grants(capability=capability, value=value)
        ) == sorted(
            (one.capsule_id, one.capability, one.value) for one in registry.grants(value=value)
        )
    assert ["a"] * len(ALL_ENTRIES) == [one.capsule_id for one in registry.grants(capsule_id="a")]


NEEDY = make_manifest(
    "needy",
    dependencies={"requires": ["topic:news.*", "tool:gone"]},
    interceptor=[{"event": "news.*", "action": "read"}],
    capabilities={"ipc_publish": ["out"], "net": ["*"]},
)
NEWS = make_manifest("news", capabilities={"ipc_publish": ["news.today"]}, uplink=[CLI])


def answers(reader: RegistryReader) -> dict[str, Any]:
    return {
        "grants": [reader.grants(), reader.grants(capability="net", value="h")],
        "of one": [reader.grants(capsule_id="needy"), reader.grants(capsule_id="ghost")],
        "interceptors": [
            [found[:2] for found in reader.interceptors(topic)]
            for topic in ("news.today", "news", ".".join("abcdefghi"))
        ],
        "providers": [reader.providers("topic:news.*"), reader.providers("uplink:u2")],
        "dependencies": reader.dependencies(),
        "boot order": reader.boot_order(),
    }


def test_each_answers_at_every_revision_what_it_answered_then(
    registry: CapsuleRegistry, clock: Clock
) -> None:
    """After register, replace, state changes, a reservation and unregister."""
    steps: list[Callable[[], object]] = [
        lambda: registry.register(NEEDY),
        lambda: registry.register(NEWS),
        lambda: registry.set_state("needy", "failed"),
        lambda: registry.register_uuid("00000000-0000-0000-0000-000000000001", "ghost"),
        lambda: registry.replace(make_manifest("news", dependencies={"provides": ["tool:gone"]})),
        lambda: registry.replace(SimpleNamespace(manifest=NEEDY, state="ready")),
        lambda: registry.unregister("news"),
        lambda: registry.register(NEWS),
        registry.drain,
    ]
    then = []
    for step in steps:
        clock.step(timedelta(seconds=1))
        step()
        then.append((registry.history.revision, clock.now, answers(registry)))
        with registry.snapshot() as snapshot:
            assert then[-1][2] == answers(snapshot)

    for revision, time, answer in then:
        assert answer == answers(registry.at(revision=revision))
        assert answer == answers(registry.at(time=time))
    distinct = {str(answer) for _, _, answer in then}
    assert 6 == len(distinct)  # The control: some steps lead back, and one only reserves.
    early = datetime(2000, 1, 1, tzinfo=UTC)
    assert answers(registry) == answers(registry.at(time=early))


@pytest.mark.parametrize("text", ["\0", "\udcff"])
def test_a_text_that_no_database_holds_is_refused(registry: CapsuleRegistry, text: str) -> None:
    """Each query refuses it before asking the database."""
    for ask in (
        registry.interceptors,
        registry.providers,
        lambda value: registry.grants(value=value),
        lambda value: registry.grants(capability=value),
    ):
        with pytest.raises(InvalidTextError):
            ask(text)
