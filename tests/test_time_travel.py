"""The registry as it was: every read verb answers at every revision what it answered then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from capsule_registry import CapsuleManifest, CapsuleRegistry, FutureRevisionError
from factories import CLI, TELEGRAM, make_manifest, make_text, make_uplink

if TYPE_CHECKING:
    from collections.abc import Callable

    from capsule_registry.api.reads import RegistryReader
    from conftest import Clock

ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))
BY_HAND = make_uplink(metadata={"ключ": "\u202e"})
TOOL = {"name": "search", "description": "d", "input_schema": {"type": "object"}}


class Reporting:
    """A capsule whose object reports a tool that its manifest does not declare."""

    manifest = make_manifest("reporting", tool=[TOOL])

    def tools(self) -> list[Any]:
        return [{"name": "extra", "description": "", "input_schema": None}]


STEPS: list[Callable[[CapsuleRegistry], object]] = [
    lambda r: r.register(make_manifest("alpha", uplink=[TELEGRAM, CLI], tool=[TOOL]), uuids=[ONE]),
    lambda r: r.register_uuid(TWO, "ghost"),
    lambda r: r.register_uuid(ONE, "ghost"),
    lambda r: r.register_uplink("ghost", BY_HAND),
    lambda r: r.register(CapsuleManifest.parse(make_text("beta", "# kept\n[extra]\nx = 1.0\n"))),
    lambda r: r.register(Reporting(), uuids=[THREE]),
    lambda r: r.register(make_manifest("ghost")),
    lambda r: r.unregister("alpha"),
    lambda r: r.register(make_manifest("alpha", package={"version": "0.2.0"}, uplink=[CLI])),
    lambda r: r.unregister_uplink(BY_HAND.id),
    lambda r: r.unregister_uuid(THREE),
    lambda r: r.drain(),
    lambda r: r.register(make_manifest("after", tool=[TOOL]), uuids=[TWO]),
]


def answers(reader: RegistryReader) -> dict[str, Any]:
    """Return what every read verb answers."""
    ids = ("alpha", "beta", "ghost", "reporting", "after", "never")
    return {
        "list": [reader.list(), reader.list(limit=2), reader.list(limit=1, state="ready")],
        "page": [reader.list(after=name, limit=1) for name in reader],
        "values": [*reader.values()],
        "texts": [capsule.manifest_text for capsule in reader.values()],
        "get": [reader.get(name) for name in ids],
        "in": [name in reader for name in ids],
        "len": (len(reader), reader.is_empty(), [*reader]),
        "find_by_uuid": [reader.find_by_uuid(uuid) for uuid in (ONE, TWO, THREE, uuid4())],
        "uuids": [reader.uuids(), *(reader.uuids(name) for name in ids)],
        "uplinks": [reader.all_uplink_descriptors(), reader.get_uplink(BY_HAND.id)],
        "platform": [reader.find_uplink_by_platform(name) for name in ("cli", "telegram", "x")],
        "able": reader.find_uplinks_with_capability(lambda able: able.can_send),
        "find_uplinks": [
            reader.find_uplinks(),
            reader.find_uplinks(platform="CLI"),
            reader.find_uplinks(capsule_id="alpha"),
            reader.find_uplinks(profile="chat", can_receive=True),
        ],
        "tools": [reader.tools(), *(reader.tools(name) for name in ids)],
        "find_tool": [reader.find_tool("search"), reader.find_tool("extra")],
    }


def test_every_verb_answers_as_it_did_then(registry: CapsuleRegistry, clock: Clock) -> None:
    """After each step all answers are noted; at each revision and time they are the same."""
    then = [(registry.history.revision, clock.now, answers(registry))]
    for step in STEPS:
        clock.step(timedelta(seconds=10))
        step(registry)
        then.append((registry.history.revision, clock.now, answers(registry)))

    assert [*range(1, len(STEPS) + 2)] == [revision for revision, _, _ in then]
    for revision, time, expected in then:
        assert expected == answers(registry.at(revision=revision))
        assert expected == answers(registry.at(time=time))
        assert expected == answers(registry.at(time=time + timedelta(seconds=9)))


def test_before_the_beginning_nothing_is_registered(registry: CapsuleRegistry) -> None:
    """A time before the namespace was created, and revision 0, are empty."""
    registry.register(make_manifest())
    for past in (registry.at(time=datetime(1999, 1, 1, tzinfo=UTC)), registry.at(revision=0)):
        assert (0, []) == (past.revision, past.list())


def test_what_cannot_be_told_is_an_error(registry: CapsuleRegistry) -> None:
    """A revision beyond the head, and arguments that say nothing or two things."""
    with pytest.raises(FutureRevisionError) as caught:
        registry.at(revision=2)
    assert (2, 1) == (caught.value.requested, caught.value.head)
    for wrong in ({}, {"revision": 1, "time": datetime.now(UTC)}, {"time": datetime(2030, 1, 1)}):  # noqa: DTZ001 - without a zone
        with pytest.raises(TypeError):
            registry.at(**wrong)


def test_a_snapshot_is_one_moment(registry: CapsuleRegistry, url: str) -> None:
    """Several reads see the same, whatever commits meanwhile; nobody is kept waiting."""
    registry.register(make_manifest("before"), uuids=[ONE])
    expected = answers(registry)
    with CapsuleRegistry.open(url) as other, registry.snapshot() as view:
        assert expected == answers(view)
        other.unregister("before")
        other.register(make_manifest("later"))
        assert expected == answers(view)
        assert 2 == view.revision
        assert ["later"] == registry.list()
        watch = registry.history.watch(after=view.revision, timeout=timedelta(0))
        assert [3, 4] == [revision.revision for revision in watch]


def test_the_instance_of_a_record_is_found_again(registry: CapsuleRegistry) -> None:
    """A view gives the very object that this process registered, if it stands still."""
    capsule = Reporting()
    registry.register(capsule)
    with registry.snapshot() as view:
        record = view.get("reporting")

    assert record is not None
    assert capsule is record.instance
