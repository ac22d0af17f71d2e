"""Registering, finding and unregistering capsules."""

from __future__ import annotations

import json
import logging
import pickle
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from capsule_registry import (
    CapsuleAlreadyRegisteredError,
    CapsuleManifest,
    CapsuleNotFoundError,
    CapsuleRegistry,
    CapsuleState,
    HistoryCorruptError,
    IncarnationChangedError,
    InvalidCapsuleIdError,
    InvalidInputError,
    InvalidManifestError,
    RegistryAdmin,
    Tool,
    UplinkAlreadyRegisteredError,
)
from capsule_registry.unit_of_work.unit import Unit
from support.factories import CLI, TELEGRAM, OriginalCapsule, make_manifest, make_text, make_uplink

if TYPE_CHECKING:
    from conftest import Clock
    from support.backends import Backend, SqliteBackend

CYCLE: list[Any] = []
CYCLE.append(CYCLE)


def test_a_registered_capsule_has_all_that_was_given(
    registry: CapsuleRegistry, clock: Clock
) -> None:
    """`register` returns a record equal to that which `get` finds in any process."""
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
    """Ids, records and iteration are in registration order, not by name."""
    for name in ("zeta", "alpha", "mid"):
        registry.register(make_manifest(name))

    assert ["zeta", "alpha", "mid"] == registry.list()
    assert ["zeta", "alpha", "mid"] == [capsule.id for capsule in registry.values()]
    assert ["zeta", "alpha", "mid"] == [*registry]
    assert (3, False) == (len(registry), registry.is_empty())
    assert "alpha" in registry
    assert "ALPHA" not in registry
    assert registry


def test_a_listing_can_be_had_page_by_page(registry: CapsuleRegistry) -> None:
    """Each page begins after the last id of the previous one; together they are complete."""
    registry.register(make_manifest("zeta"))
    registry.register_many(make_manifest(f"c{number}") for number in range(4))
    registry.register(make_manifest("alpha"))
    registry.set_state("c2", "failed")

    assert ["zeta", "c0"] == registry.list(limit=2)
    assert ["c1", "c2"] == registry.list(after="c0", limit=2)
    assert ["c1", "c3"] == registry.list(after="c0", limit=2, state="ready")
    assert ["c3", "alpha"] == registry.list(after="c2")
    assert ["c3"] == registry.list(after="c2", limit=1, state="ready")
    assert [] == registry.list(after="alpha", limit=2)


def test_a_page_after_nothing_is_an_error(registry: CapsuleRegistry) -> None:
    """If the id given as `after` is not registered, the page has no beginning."""
    registry.register(make_manifest("alpha"))
    registry.register_uuid(uuid4(), "ghost")

    for missing in ("ghost", "never"):
        with pytest.raises(CapsuleNotFoundError):
            registry.list(after=missing)
    for limit in (0, -1):
        with pytest.raises(ValueError, match="limit must be at least 1"):
            registry.list(limit=limit)


def test_a_reservation_is_no_capsule(registry: CapsuleRegistry) -> None:
    """A reserved id is absent from all that lists, counts or gets capsules."""
    registry.register_uuid(uuid4(), "ghost")

    assert [] == registry.list()
    assert [] == [*registry.values()]
    assert registry.get("ghost") is None
    assert "ghost" not in registry
    assert registry.is_empty()


def test_uuids_are_filed_in_the_same_revision_or_not_at_all(registry: CapsuleRegistry) -> None:
    """A refused registration registers its UUID nowhere, not even with the existing capsule."""
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
    """Another registry has no instance; records are equal without it, and it is never in JSON."""
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
    """If another process replaces the capsule, this process's object is no longer returned."""
    registry.register(OriginalCapsule("alpha"))
    with CapsuleRegistry.open(url) as other:
        other.unregister("alpha")
        other.register(make_manifest())
    found = registry.get("alpha")

    assert found is not None
    assert found.instance is None


def test_instances_survive_what_other_threads_do(registry: CapsuleRegistry) -> None:
    """However registrations and removals of an id interleave, each removal returns its object."""
    lost: list[object] = []

    def work(name: str) -> None:
        for _ in range(30):
            capsule = OriginalCapsule(name)
            try:
                registry.register(capsule)
            except CapsuleAlreadyRegisteredError:
                continue
            with suppress(CapsuleNotFoundError):
                removed = registry.unregister(name)
                if removed.instance is None:
                    lost.append(removed)

    threads = [threading.Thread(target=work, args=("contended",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == lost
    assert {} == registry._objects._objects


def test_an_older_record_does_not_cost_the_newer_its_instance(
    registry: CapsuleRegistry,
) -> None:
    """Building a record of an earlier read loses no later object."""
    registry.register(OriginalCapsule("alpha"))
    earlier = registry.values()
    registry.unregister("alpha")
    newer = OriginalCapsule("alpha")
    registry.register(newer)
    assert 1 == len([*earlier])
    found = registry.get("alpha")

    assert found is not None
    assert newer is found.instance


@pytest.mark.parametrize("later", ["replace", "unregister"])
def test_an_object_survives_a_slower_thread_that_was_before_it(
    registry: CapsuleRegistry, monkeypatch: pytest.MonkeyPatch, later: str
) -> None:
    """What follows a commit may run late: it drops older objects, and brings none back."""
    committed, go_on = threading.Event(), threading.Event()
    settle = Unit.committed

    def settle_late(unit: Unit) -> None:
        if threading.current_thread().name == "slow":
            committed.set()
            assert go_on.wait(30)
        settle(unit)

    monkeypatch.setattr(Unit, "committed", settle_late)
    first, second = OriginalCapsule("alpha"), OriginalCapsule("alpha")
    slow = threading.Thread(target=registry.register, args=(first,), name="slow")
    slow.start()
    assert committed.wait(30)
    if later == "replace":
        registry.replace(second)
    else:
        registry.unregister("alpha")
    go_on.set()
    slow.join()

    found = registry.set_state("alpha", "failed") if later == "replace" else None
    assert (second if later == "replace" else None) is (found and found.instance)
    assert (1 if later == "replace" else 0) == sum(map(len, registry._objects._objects.values()))


def test_a_record_whose_state_was_set_has_its_own_object(
    registry: CapsuleRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object is that of the moment of the change, whatever is registered before it returns."""
    first, second = OriginalCapsule("alpha"), OriginalCapsule("alpha")
    registry.register(first)
    settle = Unit.committed

    def replace_first(unit: Unit) -> None:
        settle(unit)
        monkeypatch.setattr(Unit, "committed", settle)
        registry.replace(second)

    monkeypatch.setattr(Unit, "committed", replace_first)
    record = registry.set_state("alpha", "failed")

    assert first is record.instance
    found = registry.get("alpha")
    assert found is not None
    assert second is found.instance


def test_a_record_of_what_was_rolled_back_has_no_instance(registry: CapsuleRegistry) -> None:
    """The object of a rolled back registration is forgotten, also in its record."""
    with pytest.raises(ZeroDivisionError), registry.transaction() as transaction:
        record = transaction.register(OriginalCapsule("alpha"))
        assert record.instance is not None
        raise ZeroDivisionError

    assert record.instance is None


def test_a_generation_is_never_used_twice(registry: CapsuleRegistry) -> None:
    """Each registration of an id has a greater generation than all before."""
    generations = []
    for _ in range(3):
        generations.append(registry.register(make_manifest()).generation)
        registry.unregister("alpha")

    assert sorted(set(generations)) == generations


def test_a_time_never_goes_back(registry: CapsuleRegistry, clock: Clock) -> None:
    """After the clock steps back, rows are written with the time of the last commit."""
    before = registry.register(make_manifest("before")).registered_at
    clock.step(timedelta(hours=-1))

    assert before == registry.register(make_manifest("after")).registered_at


def test_tools_that_the_object_reports_win(registry: CapsuleRegistry) -> None:
    """A reported tool replaces its namesakes in the manifest; new ones follow."""
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
    """An object that answers differently the second time cannot contradict itself."""
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
        ("too_deep", {"package": {"metadata": CYCLE}}),
        ("not_json", {"package": {"metadata": float("nan")}}),
        ("not_json", {"package": {"metadata": {1: "a", "1": "b"}}}),
        ("not_json", {"package": {"metadata": object()}}),
        ("not_json", {"package": {"metadata": b"bytes"}}),
        ("not_json", {"package": {"metadata": {"a", "set"}}}),
        ("not_json", {"package": {"metadata": 10**5000}}),
        ("not_json", {"package": {"metadata": datetime.now(UTC)}}),
        ("not_utf8", {"package": {"metadata": "\ud800"}}),
        ("not_utf8", {"env": {"\ud800": {"type": "string"}}}),
        ("bad_semver_version", {"package": {"version": "1"}}),
        ("topic_duplicate", {"topic": [{"name": "a", "direction": "publish"}] * 2}),
    ],
)
def test_what_some_database_cannot_hold_is_refused_by_all(
    registry: CapsuleRegistry, rule: str, tables: dict[str, Any]
) -> None:
    """`register` refuses it; `parse` does not where only storage is at issue."""
    with pytest.raises(InvalidManifestError) as caught:
        registry.register(make_manifest(**tables))

    assert rule == caught.value.rule
    assert registry.is_empty()


@pytest.mark.parametrize(
    ("rule", "schema"),
    [
        ("not_json", float("nan")),
        ("not_json", object()),
        ("not_json", {1: 2}),
        ("not_json", {"a", "set"}),
        ("too_deep", CYCLE),
        ("nul", "\0"),
        ("not_utf8", {"\ud800": 1}),
    ],
)
def test_a_reported_tool_that_cannot_be_stored_is_refused(
    registry: CapsuleRegistry, rule: str, schema: Any
) -> None:
    """Reported tools are held to the same rules as the manifest's."""
    tool = {"name": "t", "description": "", "input_schema": schema}
    with pytest.raises(InvalidManifestError) as caught:
        registry.register(SimpleNamespace(manifest=make_manifest(), tools=[tool]))

    assert rule == caught.value.rule


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("state", "asleep"),
        ("state", 5),
        ("state_reason", "\0"),
        ("state_reason", "\ud800"),
        ("source_dir", 5),
        ("source_dir", "/a\0"),
        ("source_dir", Path("/\udcff")),
        ("tools", 5),
        ("tools", [5]),
        ("tools", [{"name": 5}]),
        ("manifest", None),
        ("manifest", "text"),
        ("id", 5),
    ],
)
def test_a_member_of_another_kind_is_invalid_input(
    registry: CapsuleRegistry, member: str, value: Any
) -> None:
    """Whatever the member is, the error is typed, and nothing is registered."""
    capsule = SimpleNamespace(**{"manifest": make_manifest(), member: value})
    with pytest.raises(InvalidInputError):
        registry.register(capsule)

    assert registry.is_empty()


def test_a_member_that_fails_is_not_a_member_that_is_missing(registry: CapsuleRegistry) -> None:
    """An object whose state cannot be read is not assumed to be ready."""

    class Broken(OriginalCapsule):
        @property
        def state(self) -> str:  # type: ignore[override]
            return self.nothing_of_the_kind  # type: ignore[attr-defined,no-any-return]

    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        registry.register(Broken("alpha"))
    assert registry.is_empty()


def test_several_reported_tools_of_one_name_are_kept(registry: CapsuleRegistry) -> None:
    """No reported tool is dropped."""
    tools = [{"name": "t", "description": text, "input_schema": 1} for text in ("a", "b")]
    declared = [{"name": "t", "description": "declared", "input_schema": 1}]
    registry.register(SimpleNamespace(manifest=make_manifest(tool=declared), tools=tools))

    assert ["a", "b"] == [tool.description for tool in registry.find_tool("t")]


def test_an_updated_copy_is_checked_when_it_is_registered(registry: CapsuleRegistry) -> None:
    """Pydantic does not validate updated copies, so `register` does."""
    for update in ({"tools": 5}, {"package": "x"}, {"commands": [{"name": 5}]}):
        with pytest.raises(InvalidManifestError) as caught:
            registry.register(make_manifest().model_copy(update=update))
        assert "wrong_type" == caught.value.rule
    with pytest.raises(InvalidManifestError):
        registry.register(CapsuleManifest.model_construct(package=None))  # type: ignore[arg-type]


def test_a_manifest_changed_after_it_was_parsed_is_stored_as_it_is(
    registry: CapsuleRegistry,
) -> None:
    """Its stored text is that of the values registered, not the text it was parsed from."""
    manifest = CapsuleManifest.parse(make_text("alpha", "[unknown]\nkey = 1"))
    (manifest.model_extra or {})["unknown"]["key"] = 2
    registry.register(manifest)
    found = registry.get("alpha")

    assert found is not None
    assert {"key": 2} == (found.manifest.model_extra or {})["unknown"]
    assert {"key": 2} == json.loads(found.manifest_text)["unknown"]
    assert registry.history.verify().ok


def test_uuids_are_filed_in_the_order_given(registry: CapsuleRegistry) -> None:
    """New ones, one filed elsewhere and a repeated one keep the order of the call."""
    uuids = [uuid4() for _ in range(5)]
    registry.register_uuid(uuids[2], "elsewhere")
    registry.register(make_manifest("alpha"), uuids=[*uuids, uuids[0]])

    assert uuids == [one.uuid for one in registry.uuids("alpha")]
    assert [] == registry.uuids("elsewhere")


def test_a_broken_row_is_reported_as_corrupt(sqlite: SqliteBackend) -> None:
    """A row broken by raw SQL is an error that says so, and never an answer."""
    with CapsuleRegistry.open(url := sqlite.new_url()) as registry:
        assert_broken_rows_are_reported(sqlite, url, registry)


def assert_broken_rows_are_reported(
    backend: SqliteBackend, url: str, registry: CapsuleRegistry
) -> None:
    registry.register(make_manifest(uplink=[CLI]))
    for table, column, value, read in (
        ("capsules", "manifest", "{", lambda: registry.get("alpha")),
        ("capsules", "manifest", "5", lambda: registry.get("alpha")),
        ("capsules", "registered_at", "yesterday", lambda: [*registry.values()]),
        ("uplinks", "metadata", "{", registry.all_uplink_descriptors),
        ("uplinks", "id", "5", registry.all_uplink_descriptors),
        ("namespaces", "incarnation", "x", lambda: registry.unregister("alpha")),
    ):
        [(before,)] = backend.rows(url, f"SELECT {column} FROM {table}")
        backend.tamper(url, f"UPDATE {table} SET {column} = ?", [value])
        with pytest.raises(HistoryCorruptError):
            read()
        backend.tamper(url, f"UPDATE {table} SET {column} = ?", [before])
    backend.rows(url, "UPDATE namespaces SET revision = 1")
    with pytest.raises(IncarnationChangedError):
        registry.unregister("alpha")


def test_the_longest_that_is_allowed_is_kept(registry: CapsuleRegistry) -> None:
    """Values at the bounds are neither refused nor truncated."""
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
    """Nothing can be registered under such an id."""
    with pytest.raises(InvalidCapsuleIdError):
        registry.register_uuid(uuid4(), text)
    with pytest.raises(InvalidCapsuleIdError):
        registry.register_uplink(text, make_uplink())
    assert text not in registry


def test_a_package_name_outside_the_grammar_parses_and_is_not_registered(
    registry: CapsuleRegistry,
) -> None:
    """Ids are checked on registration, as in the original."""
    manifest = CapsuleManifest.parse(make_text("Foo bar"))

    with pytest.raises(InvalidCapsuleIdError):
        registry.register(manifest)


def test_a_failed_registration_leaves_nothing(backend: Backend, url: str) -> None:
    """A forced duplicate uplink id undoes rows, reservation and history."""
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
    """Messages, levels and fields are the original's; rolled back changes log nothing."""
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


def test_values_that_differ_only_in_their_json_survive(registry: CapsuleRegistry) -> None:
    """Numbers, nulls, booleans and texts that look like numbers come back unchanged."""
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
    """It has the original's three fields, and at most ten ids."""
    for number in range(12):
        registry.register(make_manifest(f"c{number}"))

    ids = [f"c{number}" for number in range(10)]
    expected = f"CapsuleRegistry(capsule_count=12, capsule_ids={ids}, uplink_count=0)"
    assert expected == repr(registry)


def test_repr_never_raises(url: str) -> None:
    """It works inside the registry's own transaction and after closing."""
    registry = CapsuleRegistry.open(url)
    with registry.transaction():
        assert repr(registry).startswith("CapsuleRegistry(")
    registry.close()

    assert "CapsuleRegistry(not available)" == repr(registry)


def test_an_object_is_of_one_registration_only(registry: CapsuleRegistry, url: str) -> None:
    """In a recreated namespace the same generation is another registration."""
    capsule = OriginalCapsule("foo")
    with CapsuleRegistry.open(url, namespace="other") as mine:
        generation = mine.register(capsule).generation
        with RegistryAdmin.open(url) as admin:
            admin.drop_namespace("other", force=True)
        with CapsuleRegistry.open(url, namespace="other") as theirs:
            assert generation == theirs.register(make_manifest("foo")).generation
        found = mine.get("foo")

    assert found is not None
    assert found.instance is None


def test_a_grant_as_long_as_allowed_is_registered(registry: CapsuleRegistry) -> None:
    """A topic of 512 characters is also a provision, which its prefix makes longer."""
    registry.register(make_manifest(capabilities={"ipc_publish": ["x" * 512]}))

    assert ["x" * 512] == [one.value for one in registry.grants()]
    assert 1 == len(registry.providers(f"topic:{'x' * 512}"))
