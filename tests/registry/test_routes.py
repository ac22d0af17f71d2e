"""Routes: who is called for a topic and how, who publishes and subscribes, what nobody hears."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from capsule_registry import (
    CallMode,
    CapsuleManifest,
    CapsuleRegistry,
    InvalidTextError,
    RegistryAdmin,
)
from capsule_registry.manifest.routes import is_called_by_people
from support.factories import make_manifest
from support.vector_files import rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from capsule_registry import RegistryReader

pytestmark = pytest.mark.files_alone

PACKAGE = '[package]\nname = "{}"\nversion = "0.1.0"\n'
HANDLED = '{{ wit = "opaque", handler = "{}", priority = {} }}'


def filled(registry: CapsuleRegistry, texts: Sequence[str]) -> CapsuleRegistry:
    """Return *registry* with the capsules of these manifests alone."""
    with registry.transaction() as transaction:
        transaction.drain()
        transaction.register_many(map(CapsuleManifest.parse, texts))
    return registry


def capsule(name: str, **topics: Sequence[str]) -> CapsuleManifest:
    """Return a manifest of today that publishes, subscribes to and handles topics."""
    lines = [PACKAGE.format(name), "[publish]"]
    lines += [f'"{topic}" = "opaque"' for topic in topics.get("publish", ())]
    lines += ["[subscribe]", *(f'"{topic}" = "opaque"' for topic in topics.get("subscribe", ()))]
    lines += [f'"{one}" = {HANDLED.format("h", 100)}' for one in topics.get("handle", ())]
    return CapsuleManifest.parse("\n".join(lines))


def called(registry: RegistryReader, topic: str) -> list[list[Any]]:
    return [[one.capsule_id, one.handler, one.priority] for one in registry.routes.called(topic)]


def modes(registry: RegistryReader, topic: str) -> set[str]:
    return {one.mode for one in registry.routes.called(topic)}


@contextmanager
def views(registry: CapsuleRegistry) -> Iterator[list[RegistryReader]]:
    """Yield the registry, and the views of it as it is now."""
    with registry.snapshot() as snapshot, registry.transaction() as transaction:
        pass
    with registry.snapshot() as snapshot:
        yield [registry, snapshot, registry.at(revision=registry.history.revision)]
    assert transaction is not None


def test_those_are_called_who_are_by_the_runtime(registry: CapsuleRegistry) -> None:
    """In its order, in its mode, and gated where it gates; live, in a snapshot and in the past."""
    for row in rows("today/dispatch"):
        with views(filled(registry, row["capsules"])) as asked:
            for view in asked:
                found = view.routes.called(row["topic"])

                assert row["called"] == [[*one[:3]] for one in found], row["name"]
                assert {row["mode"]} - {"none"} == {one.mode for one in found}, row["name"]
                assert {row["gated"]} >= {one.is_gated for one in found}, row["name"]


def test_topics_are_gated_as_by_the_runtime() -> None:
    """What people call for is gated; what answers them is not."""
    for row in rows("today/gated_topics"):
        assert row["gated"] == is_called_by_people(row["topic"]), row["topic"]


def test_parties_are_those_of_the_runtime(registry: CapsuleRegistry) -> None:
    """Who publishes and subscribes to a topic, by keys with and without handlers."""
    for row in rows("today/topic_parties"):
        with views(filled(registry, row["capsules"])) as asked:
            for view in asked:
                assert row["publishers"] == view.routes.publishers(row["topic"]), row
                assert row["subscribers"] == view.routes.subscribers(row["topic"]), row


def test_only_ready_capsules_are_called(registry: CapsuleRegistry) -> None:
    """They stay parties whatever state they are in."""
    registry.register(capsule("alpha", handle=["a.b"], publish=["a.b"]))
    registry.set_state("alpha", "failed")

    assert [] == called(registry, "a.b")
    assert ["alpha"] == registry.routes.publishers("a.b") == registry.routes.subscribers("a.b")
    registry.set_state("alpha", "ready")
    assert [["alpha", "h", 100]] == called(registry, "a.b")


def test_interceptors_of_0_2_0_answer_too(registry: CapsuleRegistry) -> None:
    """Each is called, at once, whatever its capsule may subscribe to."""
    manifest = make_manifest(
        "old",
        capabilities={"ipc_publish": ["x.*"], "ipc_subscribe": ["y.y"]},
        interceptors=[{"event": "a.*", "action": "second"}, {"event": "a.b", "action": "first"}],
    )
    record = registry.register(manifest)

    assert [["old", "first", 100], ["old", "second", 100]] == called(registry, "a.b")
    assert {CallMode.FAN_OUT} == modes(registry, "a.b")
    assert record.instance is registry.routes.called("a.b")[0].instance
    assert ["old"] == registry.routes.subscribers("a.b") == registry.routes.publishers("x.z")
    assert ["old"] == registry.routes.subscribers("y.y")
    assert [] == registry.routes.publishers("x.y.z")
    assert ["capabilities", "capabilities", "interceptor", "interceptor"] == [
        route.place for route in registry.routes.list("old")
    ]


@pytest.mark.parametrize(
    ("version", "mode"),
    [("0.7.0", CallMode.CHAIN), ("0.8.0", CallMode.CHAIN), ("0.9.0", "fan_out")],
)
def test_runtimes_before_0_9_0_call_in_a_chain(url: str, version: str, mode: str) -> None:
    """Whatever the priorities."""
    with RegistryAdmin.open(url) as admin:
        admin.set_runtime("default", version)
    with CapsuleRegistry.open(url) as registry:
        registry.register(capsule("alpha", handle=["a.b", "a.*"]))

        assert {mode} == modes(registry, "a.b")


def test_routes_have_all_that_the_manifest_says(registry: CapsuleRegistry) -> None:
    """The record and its pin, handler and priority, and whether it is fanned out."""
    registry.register(
        CapsuleManifest.parse(
            PACKAGE.format("alpha")
            + '[publish]\n"a.b" = { wit = "@s/r/i", tag = "v1", fanout = true }\n"c" = "opaque"\n'
            + '[subscribe]\n"d.*" = { wit = "w", handler = "h", priority = 7, path = "p" }\n'
        )
    )
    shown = ("direction", "topic", "matching", "handler", "priority", "wit", "pin_kind", "pin")
    expected = [
        ("publish", "a.b", "subtree", None, None, "@s/r/i", "tag", "v1", True),
        ("publish", "c", "subtree", None, None, "opaque", None, None, False),
        ("subscribe", "d.*", "subtree", "h", 7, "w", "path", "p", False),
    ]

    assert expected == [
        tuple(getattr(route, name) for name in (*shown, "fanout"))
        for route in registry.routes.list()
    ]


def test_what_nobody_hears_and_nobody_says_is_told(registry: CapsuleRegistry) -> None:
    """A pattern meets another if there is a topic that both cover."""
    registry.register(capsule("alpha", publish=["a.b", "c.*", "e.f.g", "x.*.z"], subscribe=["q.*"]))
    registry.register(capsule("beta", subscribe=["a.b", "c.d.e", "e.f", "x.y.*"], publish=["q"]))

    assert ["e.f.g", "q"] == [route.topic for route in registry.routes.unheard()]
    assert ["q.*", "e.f"] == [route.topic for route in registry.routes.unsaid()]
    assert [] == registry.at(revision=1).routes.unheard()


def test_a_subtree_is_not_a_chain_of_stars(registry: CapsuleRegistry) -> None:
    """Dispatch compares segment by segment; only rights and parties cover a subtree."""
    registry.register(capsule("alpha", handle=["a.*"]))

    assert ["alpha"] == registry.routes.subscribers("a.b.c")
    assert [] == called(registry, "a.b.c")
    assert [["alpha", "h", 100]] == called(registry, "a.b")


@pytest.mark.parametrize("topic", ["", "a..b", ".a", "a" + ".b" * 30, "é.*", "a" * 600])
def test_an_odd_topic_calls_nobody(registry: CapsuleRegistry, topic: str) -> None:
    """Nor does it fail."""
    registry.register(capsule("alpha", handle=["a.*", "x.y"]))

    assert [] == called(registry, topic)
    assert [] == registry.routes.publishers(topic)


@pytest.mark.parametrize("topic", [None, 1, "\0", b"a.b", "\ud800"])
def test_what_is_no_topic_is_refused(registry: CapsuleRegistry, topic: Any) -> None:
    """As one of our errors."""
    for ask in (registry.routes.called, registry.routes.publishers, registry.routes.subscribers):
        with pytest.raises(InvalidTextError):
            ask(topic)


def test_a_topic_of_many_segments_is_answered(registry: CapsuleRegistry) -> None:
    """Though it has too many patterns to look up."""
    topic = ".".join("abcdefghijkl")
    registry.register(capsule("alpha", handle=[topic, "*.b.c.d.e.f.g.h.i.j.k.l"]))

    assert 2 == len(called(registry, topic))


def test_a_replaced_capsule_has_the_new_routes(registry: CapsuleRegistry) -> None:
    """And none of the old, but in the past."""
    old = registry.register(capsule("alpha", handle=["a.b"]))
    registry.replace(capsule("alpha", handle=["c.d"]))

    assert [] == called(registry, "a.b")
    assert [["alpha", "h", 100]] == called(registry, "c.d")
    assert [["alpha", "h", 100]] == called(registry.at(revision=old.generation), "a.b")
    registry.unregister("alpha")
    assert [] == called(registry, "c.d")
    assert registry.history.verify().ok
