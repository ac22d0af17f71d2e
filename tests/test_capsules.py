"""Registering capsules, finding them and letting them go."""

from __future__ import annotations

import json
import logging
import pickle
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from capsule_registry import (
    CapsuleAlreadyRegisteredError,
    CapsuleManifest,
    CapsuleRegistry,
    CapsuleState,
    InvalidCapsuleIdError,
    InvalidManifestError,
    InvalidTextError,
    Tool,
    UplinkAlreadyRegisteredError,
)
from factories import CLI, TELEGRAM, OriginalCapsule, make_manifest, make_text, make_uplink

if TYPE_CHECKING:
    from backends import SqliteBackend
    from conftest import Clock


def test_a_registered_capsule_has_all_that_was_given(
    registry: CapsuleRegistry, clock: Clock
) -> None:
    """`register` returns the record, and `get` finds an equal one, whatever the process."""
    text = make_text("alpha", "# kept\r\n")
    capsule = SimpleNamespace(
        manifest=CapsuleManifest.parse(text), source_dir="/srv/alpha", state="loading"
    )

    record = registry.register(capsule)

    assert record == registry.get("alpha")
    assert (text, "/srv/alpha", CapsuleState.LOADING) == (
        record.manifest_text,
        record.source_dir,
        record.state,
    )
    assert (2, 2, clock.now) == (
        record.generation,
        record.modified_revision,
        record.registered_at,
    )
    assert capsule.manifest == record.manifest


def test_every_listing_is_in_order_of_registration(registry: CapsuleRegistry) -> None:
    """Ids, records and iteration come in the order of registration, not of names."""
    for name in ("zeta", "alpha", "mid"):
        registry.register(make_manifest(name))

    assert ["zeta", "alpha", "mid"] == registry.list()
    assert ["zeta", "alpha", "mid"] == [capsule.id for capsule in registry.values()]
    assert ["zeta", "alpha", "mid"] == [*registry]
    assert (3, False) == (len(registry), registry.is_empty())
    assert "alpha" in registry
    assert "ALPHA" not in registry
    assert registry


def test_a_reservation_is_no_capsule(registry: CapsuleRegistry) -> None:
    """An id that something is filed under is absent from all that lists, counts or gets."""
    registry.register_uuid(uuid4(), "ghost")

    assert [] == registry.list()
    assert [] == [*registry.values()]
    assert registry.get("ghost") is None
    assert "ghost" not in registry
    assert registry.is_empty()


def test_uuids_are_filed_in_the_same_revision_or_not_at_all(registry: CapsuleRegistry) -> None:
    """A refused registration leaves its UUID nowhere, not with the capsule that has the id."""
    accepted, refused = uuid4(), uuid4()
    first = registry.register(make_manifest(), uuids=[accepted])
    with pytest.raises(CapsuleAlreadyRegisteredError):
        registry.register(make_manifest(), uuids=[refused])

    assert "alpha" == registry.find_by_uuid(accepted)
    assert registry.find_by_uuid(refused) is None
    assert first == registry.get("alpha")


def test_the_instance_is_the_object_that_this_process_registered(
    registry: CapsuleRegistry, url: str
) -> None:
    """Another registry has no instance; a record without it is equal, and no JSON has it."""
    capsule = OriginalCapsule("alpha")
    record = registry.register(capsule)
    with CapsuleRegistry.open(url) as other:
        seen_by_other = other.get("alpha")

    assert seen_by_other is not None
    assert seen_by_other.instance is None
    assert record == seen_by_other
    assert capsule is record.instance
    assert [capsule] == [found.instance for found in registry.values()]
    assert "instance" not in json.loads(record.model_dump_json())
    assert pickle.loads(pickle.dumps(record)) == record
    assert pickle.loads(pickle.dumps(record)).instance is None


def test_the_instance_is_forgotten_with_its_generation(registry: CapsuleRegistry, url: str) -> None:
    """When another process replaces the capsule, this process's object is no longer handed out."""
    registry.register(OriginalCapsule("alpha"))
    with CapsuleRegistry.open(url) as other:
        other.unregister("alpha")
        other.register(make_manifest())
    found = registry.get("alpha")

    assert found is not None
    assert found.instance is None


def test_a_generation_is_never_used_twice(registry: CapsuleRegistry) -> None:
    """Each registration of an id has a greater generation than the ones before."""
    generations = []
    for _ in range(3):
        generations.append(registry.register(make_manifest()).generation)
        registry.unregister("alpha")

    assert sorted(set(generations)) == generations


def test_a_time_never_goes_back(registry: CapsuleRegistry, clock: Clock) -> None:
    """After a step back of the clock, what is written has the time of the last commit."""
    before = registry.register(make_manifest("before")).registered_at
    clock.step(timedelta(hours=-1))

    assert before == registry.register(make_manifest("after")).registered_at


def test_tools_that_the_object_reports_win(registry: CapsuleRegistry) -> None:
    """A reported tool stands in place of its namesakes in the manifest; new ones follow."""
    declared: list[dict[str, Any]] = [
        {"name": name, "description": "declared", "input_schema": {}} for name in ("a", "b", "a")
    ]
    reported = [
        {"name": "c", "description": "reported", "input_schema": True},
        {"name": "a", "description": "reported", "input_schema": {"type": "object"}},
    ]
    registry.register(
        SimpleNamespace(manifest=make_manifest(tool=declared), tools=lambda: reported)
    )
    registry.register(make_manifest("beta", tool=declared[:1]))

    assert [("a", "reported"), ("b", "declared"), ("c", "reported")] == [
        (tool.name, tool.description) for tool in registry.tools("alpha")
    ]
    assert [
        Tool(capsule_id="alpha", name="a", description="reported", input_schema={"type": "object"}),
        Tool(capsule_id="beta", name="a", description="declared", input_schema={}),
    ] == registry.find_tool("a")
    assert [] == registry.find_tool("nothing")
    assert 4 == len(registry.tools())


def test_each_member_of_the_object_is_read_once(registry: CapsuleRegistry) -> None:
    """What the object says twice cannot contradict itself."""
    calls: list[str] = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            calls.append(name)
            return {"manifest": make_manifest(), "id": "alpha", "state": "ready"}.get(name)

    registry.register(Counting())

    assert sorted(set(calls)) == sorted(calls)


def test_an_object_whose_id_is_not_its_manifests_is_refused(registry: CapsuleRegistry) -> None:
    """The id of the object must be the package name."""
    with pytest.raises(InvalidManifestError) as caught:
        registry.register(SimpleNamespace(manifest=make_manifest(), id=lambda: "other"))

    assert "id_mismatch" == caught.value.rule
    assert registry.is_empty()


@pytest.mark.parametrize(
    ("rule", "tables"),
    [
        ("too_long", {"uplink": [{**CLI, "name": "n" * 256}]}),
        ("too_long", {"uplink": [{**CLI, "platform": "p" * 256}]}),
        ("too_long", {"tool": [{"name": "t" * 256, "description": "", "input_schema": 1}]}),
        ("too_long", {"capabilities": {"net": ["v" * 513]}}),
        ("too_long", {"package": {"name": "a" * 129}}),
        ("nul", {"package": {"description": "a\0b"}}),
        ("nul", {"env": {"A": {"type": "string", "default": {"\0": 1}}}}),
        ("too_deep", {"package": {"metadata": json.loads("[" * 40 + "]" * 40)}}),
        ("bad_semver_version", {"package": {"version": "1"}}),
        ("topic_duplicate", {"topic": [{"name": "a", "direction": "publish"}] * 2}),
    ],
)
def test_what_some_database_cannot_hold_is_refused_by_all(
    registry: CapsuleRegistry, rule: str, tables: dict[str, Any]
) -> None:
    """`register` refuses it, and `parse` does not where it is only a matter of storage."""
    with pytest.raises(InvalidManifestError) as caught:
        registry.register(make_manifest(**tables))

    assert rule == caught.value.rule
    assert registry.is_empty()


def test_the_longest_that_is_allowed_is_kept(registry: CapsuleRegistry) -> None:
    """At the bounds nothing is refused, and nothing is cut."""
    name = "a" * 128
    record = registry.register(
        make_manifest(
            name,
            uplink=[{"name": "é" * 255, "platform": "p" * 255, "profile": "chat"}],
            capabilities={"net": ["é" * 512]},
        )
    )

    assert record == registry.get(name)
    assert "é" * 255 == registry.find_uplinks(capsule_id=name)[0].descriptor.name


@pytest.mark.parametrize("text", ["", "Foo", "foo ", "fóo", "a/b", "a\n", "x" * 129])
def test_an_id_outside_the_grammar_is_refused(registry: CapsuleRegistry, text: str) -> None:
    """Neither a capsule nor anything else can be filed under such an id."""
    with pytest.raises(InvalidCapsuleIdError):
        registry.register_uuid(uuid4(), text)
    with pytest.raises(InvalidCapsuleIdError):
        registry.register_uplink(text, make_uplink())
    assert text not in registry


def test_a_package_name_outside_the_grammar_parses_and_is_not_registered(
    registry: CapsuleRegistry,
) -> None:
    """The grammar of ids is checked when a capsule is registered, as in the original."""
    manifest = CapsuleManifest.parse(make_text("Foo bar"))

    with pytest.raises(InvalidCapsuleIdError):
        registry.register(manifest)


def test_a_failed_registration_leaves_nothing(backend: SqliteBackend, url: str) -> None:
    """A forced duplicate of an uplink id undoes all of it: rows, reservation and history."""
    fixed = UUID(int=7)
    tables = ("capsules", "uplinks", "tools", "grants", "manifests", "revisions", "events")

    def counts() -> list[int]:
        return [backend.rows(url, f"SELECT count(*) FROM {table}")[0][0] for table in tables]

    before = counts()
    with CapsuleRegistry.open(url, new_uuid=lambda: fixed) as registry:
        with pytest.raises(UplinkAlreadyRegisteredError) as caught:
            registry.register(make_manifest(uplink=[TELEGRAM, CLI]), uuids=[uuid4()])
        assert fixed == caught.value.uplink_id

    assert before == counts()


def test_messages_are_logged_after_the_commit_alone(
    registry: CapsuleRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Messages, levels and fields are the original's; what was rolled back is not logged."""
    caplog.set_level(logging.DEBUG, "capsule_registry")
    uuid = uuid4()
    with pytest.raises(ZeroDivisionError), registry.transaction() as transaction:
        transaction.register(make_manifest("gone"))
        raise ZeroDivisionError
    assert [] == caplog.records

    registry.register(make_manifest(uplink=[CLI]), uuids=[uuid])
    registry.unregister("alpha")

    assert [
        ("DEBUG", "Registered uplink"),
        ("INFO", "Registered capsule"),
        ("DEBUG", "Registered capsule UUID mapping"),
        ("INFO", "Unregistered capsule"),
    ] == [(record.levelname, record.getMessage()) for record in caplog.records]
    fields = [
        {
            name: getattr(record, name)
            for name in ("capsule_id", "uplink_name", "uuid")
            if hasattr(record, name)
        }
        for record in caplog.records
    ]
    assert [
        {"capsule_id": "alpha", "uplink_name": "u2"},
        {"capsule_id": "alpha"},
        {"capsule_id": "alpha", "uuid": str(uuid)},
        {"capsule_id": "alpha"},
    ] == fields


def test_an_unknown_state_is_refused(registry: CapsuleRegistry) -> None:
    """A state outside the five is a clear error."""
    with pytest.raises(InvalidTextError):
        registry.register(SimpleNamespace(manifest=make_manifest(), state="asleep"))


def test_values_that_differ_only_in_their_json_survive(registry: CapsuleRegistry) -> None:
    """Numbers, nulls, booleans and texts that look like numbers come back as they were."""
    schemas = [1, 1.0, "1", "1.0", True, None, "null", {"ü": [1e300, -0.0]}, 2**62]
    registry.register(
        make_manifest(
            tool=[{"name": "t", "description": "", "input_schema": value} for value in schemas]
        )
    )
    found = registry.get("alpha")

    assert found is not None
    assert repr(schemas) == repr([tool.input_schema for tool in registry.tools()])
    assert repr(schemas) == repr([tool.input_schema for tool in found.manifest.tools])


def test_repr_shows_counts_and_ten_ids(registry: CapsuleRegistry) -> None:
    """The debug view has the original's three fields; at most ten ids."""
    for number in range(12):
        registry.register(make_manifest(f"c{number}"))

    ids = [f"c{number}" for number in range(10)]
    expected = f"CapsuleRegistry(capsule_count=12, capsule_ids={ids}, uplink_count=0)"
    assert expected == repr(registry)


def test_repr_never_raises(url: str) -> None:
    """Inside its own transaction and after its end a registry still has a repr."""
    registry = CapsuleRegistry.open(url)
    with registry.transaction():
        assert repr(registry).startswith("CapsuleRegistry(")
    registry.close()

    assert "CapsuleRegistry(not available)" == repr(registry)
