"""Tamper evidence: any difference from what was written is reported exactly."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from capsule_registry import (
    Anchor,
    CapsuleRegistry,
    FutureRevisionError,
    HistoryCorruptError,
    IncarnationChangedError,
    InvalidTextError,
    RegistryAdmin,
    RevisionCompactedError,
)
from capsule_registry.api import history
from support.factories import CLI, TELEGRAM, make_manifest, make_uplink
from support.histories import cut_tail, make_history
from support.moments import STEPS, answers

if TYPE_CHECKING:
    from support.backends import Backend


# Python warns of a fork beside threads.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

STRAY = (
    "INSERT INTO events SELECT namespace, {}, 0, action, kind, 'evil', 'evil', NULL, new_row,"
    " changes FROM events WHERE revision = 2 AND position = 0"
)

UNUSED = (
    "DELETE FROM manifests WHERE digest NOT IN"
    " (SELECT manifest_digest FROM capsules WHERE manifest_digest IS NOT NULL)"
)


def fill(registry: CapsuleRegistry) -> None:
    """Make a history that ends with a registered capsule."""
    make_history(registry)
    registry.register(
        make_manifest(
            "full",
            uplink=[TELEGRAM, CLI],
            tool=[{"name": "t", "description": "d", "input_schema": {}}],
            capabilities={"net": ["a", "b"], "uplink": True},
        ),
        uuids=[uuid4()],
    )


def problems(registry: CapsuleRegistry, anchor: Anchor | None = None) -> list[str]:
    """Return the places of all discrepancies."""
    return [found.where for found in registry.history.verify(anchor).discrepancies]


def test_what_the_registry_wrote_is_well(registry: CapsuleRegistry) -> None:
    """After every kind of change nothing is found, and everything was read."""
    seen: list[int] = []
    for step in STEPS:
        step(registry)
        assert registry.history.verify().ok
    result = registry.history.verify(registry.history.anchor(), progress=seen.append)

    assert result.ok
    assert len(STEPS) + 1 == result.revision == result.revision_count == seen[-1]
    assert registry.history.anchor().hash == result.hash
    assert result.event_count > result.revision_count


@pytest.mark.parametrize(
    "edit",
    [
        ("UPDATE capsules SET state = 'failed' WHERE id = 'full'", "capsules full", "state is"),
        ("UPDATE uplinks SET can_send = NOT can_send WHERE name = 'u1'", "uplinks", "can_send is"),
        ("UPDATE uuid_mappings SET capsule_id = 'full'", "uuid_mappings", "capsule_id is 'full'"),
        ("DELETE FROM uuid_mappings WHERE capsule_id = 'full'", "uuid_mappings", "is not there"),
        ("UPDATE grants SET value = '*' WHERE value = 'b'", "grants", "no manifest says so"),
        ("DELETE FROM grants WHERE value = 'b'", "grants", "the manifest says it is"),
        ("UPDATE tools SET description = 'evil'", "tools", "no manifest says so"),
        ("UPDATE manifests SET text = '{}'", "manifests", "its digest is another"),
        ("DELETE FROM capsules WHERE id = 'full'", "capsules full", "is not there"),
        ("UPDATE events SET subject = 'x' WHERE revision = 3", "revision 3", "hash is another"),
        ("DELETE FROM events WHERE revision = 3", "revision 3", "events it had"),
        ("DELETE FROM revisions WHERE revision = 3", "revision 4", "between is missing"),
        ("UPDATE revisions SET actor = 'x' WHERE revision = 3", "revision 3", "hash is another"),
        ("UPDATE revisions SET hash = 'x' WHERE revision = 3", "revision 4", "not continue"),
        ("UPDATE namespaces SET revision = 9 WHERE name = 'default'", "head", "says revision 9"),
        ("UPDATE namespaces SET compacted_revision = 1", "head", "pruned through 1"),
        ("UPDATE events SET new_row = 'x' WHERE revision = 2", "revision 2", "hash is another"),
        ("UPDATE events SET new_row = '[]' WHERE kind = 'uplinks'", "uplinks", "cannot be read"),
        (UNUSED, "manifests", "the history needs it"),
        ("UPDATE manifests SET format = 'toml'", "manifests", "not that of its text"),
        (STRAY.format(0), "events", "of them in the history"),
        (STRAY.format(99), "events", "of them in the history"),
    ],
)
def test_an_edit_behind_its_back_shows(
    registry: CapsuleRegistry, backend: Backend, url: str, edit: tuple[str, str, str]
) -> None:
    """In the live tables or the history: the report says where, and what differs."""
    statement, where, what = edit
    fill(registry)
    assert registry.history.verify().ok
    backend.tamper(url, statement)
    found = registry.history.verify().discrepancies

    assert [one for one in found if one.where.startswith(where) and what in one.problem], found


def test_a_tail_that_was_cut_shows_with_an_anchor(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """Without an anchor nothing is noticed; with one taken before the cut it is."""
    registry.register(make_manifest("kept"))
    uuid = uuid4()
    registry.register_uuid(uuid, "kept")
    anchor = Anchor.parse(str(registry.history.anchor()))
    cut_tail(registry, backend, url)
    backend.rows(url, "DELETE FROM uuid_mappings")

    assert [] == problems(registry)
    assert ["head"] == problems(registry, anchor)


def test_a_history_that_was_rewritten_shows_with_an_anchor(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """A history of the same length with recomputed hashes is not the anchored one."""
    registry.register(make_manifest("victim"))
    anchor = registry.history.anchor()
    cut_tail(registry, backend, url)
    backend.rows(url, "DELETE FROM grants")
    backend.rows(url, "DELETE FROM capsules")
    with pytest.raises(IncarnationChangedError, match="revision 1 instead of revision 2"):
        registry.register(make_manifest("impostor"))
    with CapsuleRegistry.open(url) as another:
        another.register(make_manifest("impostor"))

        assert [] == problems(another)
        assert ["revision 2"] == problems(another, anchor)


def test_the_export_is_what_the_hashes_are_made_of(registry: CapsuleRegistry) -> None:
    """The SHA-256 of each revision's lines is its hash, which the next header repeats."""
    fill(registry)
    lines = [*registry.history.export()]
    headers = [number for number, line in enumerate(lines) if "previous_hash" in json.loads(line)]
    hashes = ["0" * 64]
    for start, end in zip(headers, [*headers[1:], len(lines)], strict=True):
        header = json.loads(lines[start])
        assert hashes[-1] == header["previous_hash"]
        assert end - start - 1 == header["event_count"]
        text = "".join(f"{line}\n" for line in lines[start:end])
        hashes.append(hashlib.sha256(text.encode()).hexdigest())

    assert registry.history.revision == len(headers)
    assert registry.history.anchor().hash == hashes[-1]
    assert lines[headers[3] :] == [*registry.history.export(after=3)]


def test_what_is_pruned_goes_and_the_rest_verifies(registry: CapsuleRegistry) -> None:
    """All that is registered, and the history since the anchor, can still be read."""
    then: dict[int, dict[str, Any]] = {}
    anchors = {}
    for step in STEPS:
        step(registry)
        then[registry.history.revision] = answers(registry)
        anchors[registry.history.revision] = registry.history.anchor()
    live = answers(registry)

    for through in (4, 9):
        registry.history.prune(anchors[through], reason="old")
        assert live == answers(registry)
        assert registry.history.verify().ok
        assert registry.history.verify(anchors[through]).ok
        assert registry.history.verify(anchors[12]).ok
        for revision, expected in then.items():
            if revision >= through:
                assert expected == answers(registry.at(revision=revision))
            else:
                with pytest.raises(RevisionCompactedError) as caught:
                    registry.at(revision=revision)
                assert (revision, through) == (caught.value.requested, caught.value.compacted)
        assert through + 1 == registry.history.list()[0].revision
        assert ["anchor"] == problems(registry, anchors[through - 1])
    last = registry.history.list(after=registry.history.revision - 1)[0]
    assert ["history.pruned"] == [event.action for event in last.events]
    assert "old" == last.reason
    with pytest.raises(RevisionCompactedError):
        next(registry.history.watch(after=3, timeout=timedelta(0)))
    with pytest.raises(RevisionCompactedError):
        next(registry.history.export(after=3))
    with pytest.raises(RevisionCompactedError):
        registry.history.list(after=3)


def test_views_that_are_open_end_at_a_pruning(registry: CapsuleRegistry) -> None:
    """A view of pruned history raises at the next call, and never answers wrongly."""
    registry.register(make_manifest("a"))
    past, watch = registry.at(revision=1), registry.history.watch(after=1)
    registry.register(make_manifest("b"))
    registry.history.prune(registry.history.anchor())
    with pytest.raises(RevisionCompactedError):
        past.list()
    with pytest.raises(RevisionCompactedError):
        next(watch)


def test_of_two_prunings_at_once_the_second_finds_it_done(
    registry: CapsuleRegistry, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pruning between another's check and its lock is not taken for corruption."""
    registry.register(make_manifest())
    anchor = registry.history.anchor()
    with CapsuleRegistry.open(url) as other:
        look = history._require_anchored

        def overtaken(*arguments: Any) -> None:
            look(*arguments)
            monkeypatch.setattr(history, "_require_anchored", look)
            other.history.prune(anchor)

        monkeypatch.setattr(history, "_require_anchored", overtaken)
        assert 0 == registry.history.prune(anchor)
    assert registry.history.verify(anchor).ok


def test_only_what_was_anchored_is_pruned(registry: CapsuleRegistry) -> None:
    """An anchor of another history, or beyond the head, deletes nothing."""
    registry.register(make_manifest())
    anchor = registry.history.anchor()
    for wrong, error in (
        ({"hash": "0" * 64}, HistoryCorruptError),
        ({"namespace": "other"}, HistoryCorruptError),
        ({"revision": 9}, FutureRevisionError),
    ):
        with pytest.raises(error):
            registry.history.prune(anchor.model_copy(update=wrong))
    assert 2 == registry.history.revision
    registry.history.prune(anchor)
    with pytest.raises(RevisionCompactedError):
        registry.history.prune(anchor)


INSERTED = (
    "INSERT INTO events SELECT namespace, 2, 99, action, kind, 'x', NULL, NULL, new_row, changes"
    " FROM events WHERE revision = 3 AND position = 0"
)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET capsule_id = 'evil' WHERE revision = 2",
        "DELETE FROM events WHERE revision = 2",
        INSERTED,
    ],
)
def test_an_edit_of_what_a_pruning_kept_shows(
    registry: CapsuleRegistry, backend: Backend, url: str, statement: str
) -> None:
    """The pruning's own record vouches for it."""
    registry.register(make_manifest("old"))
    anchor = registry.history.anchor()
    registry.register(make_manifest("new"))
    registry.history.prune(anchor)
    assert registry.history.verify().ok
    backend.tamper(url, statement)

    assert "pruned history" in problems(registry)


def test_a_restored_database_begins_a_new_incarnation(registry: CapsuleRegistry, url: str) -> None:
    """It is recorded, the chain goes on, and what was open on the old one ends."""
    registry.register(make_manifest())
    anchor = registry.history.anchor()
    watch, past = registry.history.watch(), registry.at(revision=2)
    with RegistryAdmin.open(url) as admin:
        admin.accept_restore(actor="operator", reason="disk died")
    [restored] = registry.history.list(after=2)

    assert ["namespace.restored"] == [event.action for event in restored.events]
    assert ("operator", "disk died") == (restored.actor, restored.reason)
    for ended in (lambda: next(watch), past.list):
        with pytest.raises(IncarnationChangedError):
            ended()
    registry.register(make_manifest("after"))
    assert registry.history.verify(anchor).ok
    assert anchor.incarnation != registry.history.anchor().incarnation
    lines = [json.loads(line) for line in registry.history.export()]
    incarnations = [line["incarnation"] for line in lines if "incarnation" in line]
    assert [str(anchor.incarnation)] * 2 == incarnations[:2]
    assert [str(registry.history.anchor().incarnation)] * 2 == incarnations[2:]


@pytest.mark.parametrize(
    "text", ["", "{}", "null", "[]", '{"namespace":"a","incarnation":"x","revision":1,"hash":""}']
)
def test_text_that_is_no_anchor_is_refused(text: str) -> None:
    """Such text is invalid input."""
    with pytest.raises(InvalidTextError):
        Anchor.parse(text)


def test_a_lease_that_lasts_too_long_shows(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """A row that the history does not know is reported, whatever its table."""
    fill(registry)
    registry.register_uplink("full", make_uplink())
    backend.rows(
        url,
        "INSERT INTO leases (namespace, id, name, host, pid, actor, ttl_ms, opened_at, "
        "opened_revision, expires_at) VALUES ('default', '00000000-0000-0000-0000-000000000001', "
        "'n', 'h', 1, 'a', 1000, ?, 1, ?)",
        [
            f"{year}-01-01T00:00:00.000000{'' if backend.is_server else 'Z'}"
            for year in (2030, 2999)
        ],
    )

    assert ["leases 00000000-0000-0000-0000-000000000001"] * 2 == problems(registry)


FORGED = [
    "UPDATE events SET subject = 'evil' WHERE revision = 3",
    "UPDATE events SET action = 'capsule.forged' WHERE revision = 2",
    "UPDATE events SET old_row = new_row WHERE revision = 2 AND position = 0",
    "UPDATE revisions SET actor = 'somebody else' WHERE revision = 3",
    "DELETE FROM events WHERE revision = 3 AND position = 0",
    INSERTED,
]


@pytest.mark.parametrize("forge", FORGED)
def test_pruning_does_not_launder_what_was_changed(
    registry: CapsuleRegistry, backend: Backend, url: str, forge: str
) -> None:
    """What is deleted, and what is kept, is replayed up to the honest anchor before anything is."""
    fill(registry)
    anchor = registry.history.anchor()
    registry.register(make_manifest("later"))
    backend.tamper(url, forge)
    before = backend.table(url, "events"), backend.table(url, "revisions")

    with pytest.raises(HistoryCorruptError, match="nothing was pruned"):
        registry.history.prune(anchor)
    assert before == (backend.table(url, "events"), backend.table(url, "revisions"))
    assert not registry.history.verify().ok


def test_pruning_again_does_not_launder_what_was_kept(
    registry: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """Events that an earlier pruning kept are held against its record."""
    fill(registry)
    registry.history.prune(registry.history.anchor())
    anchor = registry.history.anchor()
    backend.tamper(url, "UPDATE events SET new_row = REPLACE(new_row, 'full', 'fool')")

    with pytest.raises(HistoryCorruptError, match="what was kept of it was changed"):
        registry.history.prune(anchor)
    assert not registry.history.verify().ok


def test_what_is_changed_between_the_look_and_the_pruning_is_seen(
    registry: CapsuleRegistry, backend: Backend, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unit that deletes replays again, under the lock."""
    fill(registry)
    anchor = registry.history.anchor()
    run = registry._runner.run

    def be_overtaken(*arguments: Any) -> Any:
        backend.tamper(url, FORGED[1])
        return run(*arguments)

    monkeypatch.setattr(registry._runner, "run", be_overtaken)
    with pytest.raises(HistoryCorruptError, match="nothing was pruned"):
        registry.history.prune(anchor)
    assert 0 == backend.table(url, "namespaces")[0]["compacted_revision"]
