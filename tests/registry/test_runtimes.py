"""The runtime of a namespace, and what its capsules may do by it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from capsule_registry import (
    CapsuleManifest,
    CapsuleNotFoundError,
    CapsuleRegistry,
    InvalidManifestError,
    InvalidTextError,
    NamespaceNotFoundError,
    RegistryAdmin,
    RuntimeRefusedError,
    RuntimeVersionError,
)
from capsule_registry.manifest.handlers import handlers_of
from support.commands import run, run_json
from support.vector_files import rows

if TYPE_CHECKING:
    from pathlib import Path

    from support.backends import Backend

TODAY = "2026.9.4"
#: Refusals that the vectors of form leave aside: of `astrid-version`, and of `[[topic]]` without a
#: direction by the runtimes that read it.
LEFT_ASIDE = ({"refused": "astrid_version_unsatisfied"}, {"refused": "missing_field"})
PACKAGE = '[package]\nname = "{}"\nversion = "0.1.0"\n'
ARRAYS = PACKAGE.format("arrays") + '[capabilities]\nipc_publish = ["a.*"]\nnet = ["b.example"]\n'
TABLES = PACKAGE.format("tables") + '[publish]\n"a.*" = "opaque"\n'
PARTS = (
    PACKAGE.format("parts")
    + '[[component]]\nfile = "x"\n[component.capabilities]\nnet = ["b.example"]\n'
)
TEXTS = (ARRAYS, TABLES, PARTS)
#: The runtimes by the columns of the vectors.
RUNTIMES = {"0.2.0": "0.2.0", "0.7.0_topics": "0.7.0", "today": TODAY, "own": None}


def registered(registry: CapsuleRegistry, text: str) -> UUID:
    """Register a manifest as the registry's runtime reads it; return a session of it."""
    session = uuid4()
    manifest = CapsuleManifest.parse(text, runtime_version=registry.runtime_version)
    registry.register(manifest, uuids=[session])
    return session


def answers(registry: CapsuleRegistry, text: str, asked: list[list[Any]]) -> Any:
    """Return what is allowed, one by one and all at once, or the rule that refuses the manifest."""
    try:
        session = registered(registry, text)
    except InvalidManifestError as error:
        return {"refused": error.rule}
    questions = [(session, capability, value) for capability, value in asked]
    found = [one.allowed for one in registry.check_many(questions)]
    assert found == [registry.is_allowed(*question) for question in questions]
    registry.drain()
    return ["allowed" if one else "denied" for one in found]


def folded(found: list[str]) -> list[str]:
    """Return the answers with what the host refuses as invalid among what is denied."""
    return ["allowed" if one == "allowed" else "denied" for one in found]


def without_valued_binds(asked: list[list[Any]], found: Any) -> Any:
    """Leave out what 0.2.0's form answers by today's rule on purpose."""
    if not isinstance(found, list):
        return found
    return [
        answer
        for (capability, value), answer in zip(asked, found, strict=False)
        if capability != "net_bind" or value is None
    ]


@pytest.mark.parametrize("column", RUNTIMES)
def test_rights_are_those_of_the_runtime(column: str, backend: Backend) -> None:
    """Or, without one, of each manifest's own form; what is refused is refused by its reason."""
    with CapsuleRegistry.open(
        backend.new_url(), namespace="judged", runtime_version=RUNTIMES[column]
    ) as registry:
        for row in rows("today/form_cases"):
            asked = row["ask"]
            expected, found = row[column], answers(registry, row["toml"], asked)
            if column == "0.7.0_topics" and isinstance(found, list):
                found = [one for one, ask in zip(found, asked, strict=True) if ask[0][:4] == "ipc_"]
            if column == "0.2.0":
                expected, found = (without_valued_binds(asked, one) for one in (expected, found))
            if found in LEFT_ASIDE and isinstance(expected, list):
                continue
            assert expected == found, row["name"]


@pytest.mark.stress
@pytest.mark.parametrize("column", ["0.2.0", "today", "own"])
def test_rights_of_real_manifests_are_those_of_the_runtime(
    column: str, corpus: Path, backend: Backend
) -> None:
    """For each of the public manifests, whatever version of a runtime it asks for."""
    asked = 0
    with CapsuleRegistry.open(
        backend.new_url(), namespace="judged", runtime_version=RUNTIMES[column]
    ) as registry:
        for row in rows("today/real_manifests"):
            if "ask" not in row:
                continue
            text = (corpus / "manifests" / row["id"] / "Capsule.toml").read_text(encoding="utf-8")
            if column != "own":
                text = re.sub(r"(?m)^astrid-version.*$", "", text)
            refused = row.get(f"refused_{column}")
            expected = {"refused": refused} if refused else folded(row[column])
            found = answers(registry, text, row["ask"])
            if column == "0.2.0":
                expected = without_valued_binds(row["ask"], expected)
                found = without_valued_binds(row["ask"], found)
            assert expected == found, row["id"]
            asked += len(row["ask"])
    assert asked > 4_000


@pytest.mark.stress
def test_what_an_earlier_release_registered_keeps_every_answer(registry: CapsuleRegistry) -> None:
    """Its manifests are judged as 0.2.0 judges, whatever came later, until they are read anew."""
    asked = 0
    for row in rows("today/form_cases"):
        if row["form"] != "legacy" or not isinstance(row["0.2.0"], list):
            continue
        session = uuid4()
        with CapsuleRegistry.open("sqlite://") as earlier:
            capsule_id = earlier.register(CapsuleManifest.parse(row["toml"])).id
            lines = [json.loads(line) for line in earlier.export_lines()]
        for line in lines:
            line.pop("form", None)
            line.pop("rules", None)
        registry.import_lines(map(json.dumps, lines))
        registry.register_uuid(session, capsule_id)
        assert {"original"} == {one.rules for one in registry.values()}
        found = [registry.is_allowed(session, *question) for question in row["ask"]]
        answered = ["allowed" if one else "denied" for one in found]
        assert without_valued_binds(row["ask"], row["0.2.0"]) == without_valued_binds(
            row["ask"], answered
        ), row["name"]
        asked += len(found)
        registry.drain()
    assert asked > 100


@pytest.mark.parametrize(
    ("runtime", "expected"), [("0.2.0", False), ("0.7.0", False), ("0.8.0", True), (TODAY, True)]
)
def test_older_hosts_tell_of_one_capability_whether_it_is_held(
    backend: Backend, runtime: str, *, expected: bool
) -> None:
    """Of all others only since 0.8.0."""
    text = PACKAGE.format("holder") + (
        '[capabilities]\nnet = ["a.example"]\nallow_prompt_injection = true\n'
    )
    with CapsuleRegistry.open(
        backend.new_url(), namespace="judged", runtime_version=runtime
    ) as registry:
        session = registered(registry, text)
        assert expected == registry.is_allowed(session, "holds", "net")
        assert registry.is_allowed(session, "holds", "allow_prompt_injection")
        assert expected == registry.check_many([(session, "holds", "net")])[0].allowed


def test_what_is_held_at_all_is_told(registry: CapsuleRegistry) -> None:
    """A list that is not empty, or a flag that is set; topics and unknown names are not held."""
    cases = [row for row in rows("today/process_identity_flags") if row["capability"] == "holds"]
    for row in cases:
        text = PACKAGE.format("holder") + row["capabilities_toml"]
        expected = [row["answer"]]
        assert expected == answers(registry, text, [["holds", row["name"]]]), row
    assert len(cases) > 10


def test_a_runtime_is_chosen_when_the_namespace_is_made(backend: Backend) -> None:
    """Later it is a fact of the namespace: naming another one is refused, naming none is not."""
    url = backend.new_url()
    with CapsuleRegistry.open(url, namespace="one", runtime_version=TODAY) as registry:
        assert TODAY == registry.runtime_version
        assert TODAY == registry.transaction().__enter__().runtime_version
    for runtime in (TODAY, None):
        with CapsuleRegistry.open(url, namespace="one", runtime_version=runtime) as registry:
            assert TODAY == registry.runtime_version
    with pytest.raises(RuntimeVersionError) as caught:
        CapsuleRegistry.open(url, namespace="one", runtime_version="0.2.0")
    assert ("one", "0.2.0", TODAY) == (
        caught.value.namespace,
        caught.value.expected,
        caught.value.actual,
    )
    with CapsuleRegistry.open(url) as registry:
        assert None is registry.runtime_version
    with pytest.raises(RuntimeVersionError):
        CapsuleRegistry.open(url, runtime_version=TODAY)


@pytest.mark.parametrize("version", ["", "1", "v0.2.0", "0.2.0 ", "x" * 65, 2026, "none"])
def test_a_runtime_is_a_version(version: Any, url: str) -> None:
    """Anything else is refused before anything is made."""
    with pytest.raises(InvalidTextError, match="runtime_version"):
        CapsuleRegistry.open(url, namespace="new", runtime_version=version)
    with RegistryAdmin.open(url) as admin:
        with pytest.raises(InvalidTextError, match="runtime_version"):
            admin.set_runtime("default", version)
        with pytest.raises(InvalidTextError, match="runtime_version"):
            admin.create_namespace("new", runtime_version=version)
        assert "new" not in [one.name for one in admin.namespaces()]


def test_a_runtime_is_set_with_the_rights_that_come_and_go(
    registry: CapsuleRegistry, url: str
) -> None:
    """A dry run says them and changes nothing; then all is derived again in one revision."""
    sessions = [registered(registry, text) for text in TEXTS]
    before = registry.history.revision
    expected = [
        ("arrays", [], ["a.*"]),
        ("tables", [], []),
        ("parts", ["b.example"], []),
    ]
    with RegistryAdmin.open(url) as admin:
        planned = admin.set_runtime("default", TODAY, dry_run=True)
        assert before == registry.history.revision
        done = admin.set_runtime("default", TODAY, actor="operator", reason="new host")

    assert planned == done
    assert expected == [
        (one.capsule_id, [right.value for right in one.gained], [right.value for right in one.lost])
        for one in done
    ]
    assert before + 1 == registry.history.revision
    [revision] = registry.history.list(after=before)
    assert ("operator", "new host") == (revision.actor, revision.reason)
    assert ["namespace.runtime_changed", *(3 * ["capsule.rederived"])] == [
        event.action for event in revision.events
    ]
    assert TODAY == registry.runtime_version
    assert {TODAY} == {one.rules for one in registry.values()}
    found = [registry.is_allowed(one, "ipc_publish", "a.b") for one in sessions]
    assert [False, True, False] == found
    assert "not_read_by_runtime" == registry.check(sessions[0], "ipc_publish", "a.b").why
    assert registry.is_allowed(sessions[2], "net", "b.example")
    assert registry.history.verify().ok


def test_what_was_allowed_before_stays_so_in_the_past(registry: CapsuleRegistry, url: str) -> None:
    """And a snapshot decides by the rules of its moment."""
    session = registered(registry, ARRAYS)
    before = registry.history.revision
    with registry.snapshot() as snapshot, RegistryAdmin.open(url) as admin:
        admin.set_runtime("default", TODAY)

        assert snapshot.is_allowed(session, "ipc_publish", "a.b")
        assert registry.at(revision=before).is_allowed(session, "ipc_publish", "a.b")
        assert not registry.is_allowed(session, "ipc_publish", "a.b")
        assert not registry.at(revision=before + 1).is_allowed(session, "ipc_publish", "a.b")
        assert ["segments"] == [
            one.matching for one in registry.at(revision=before).grants(capability="ipc_publish")
        ]
        admin.set_runtime("default", None)
        assert registry.is_allowed(session, "ipc_publish", "a.b")
    assert registry.history.verify().ok


def test_who_has_it_open_judges_by_the_new_runtime(registry: CapsuleRegistry, url: str) -> None:
    """What is remembered is forgotten, and what is registered next is read by it."""
    session = registered(registry, ARRAYS)
    for _ in range(3):
        assert registry.is_allowed(session, "ipc_publish", "a.b")
    with RegistryAdmin.open(url) as admin:
        admin.set_runtime("default", TODAY)
    assert not registry.is_allowed(session, "ipc_publish", "a.b")
    # Parsed in its own form, as by a program that knows nothing of it.
    other = registry.register(CapsuleManifest.parse(PARTS))
    assert TODAY == other.rules
    built = registry.register(CapsuleManifest.model_validate({"package": {"name": "b"}} | VERSION))
    assert TODAY == built.rules
    assert registry.history.verify().ok


VERSION: dict[str, Any] = {
    "package": {"name": "built", "version": "0.1.0"},
    "capabilities": {"net_connect": ["a.example:443"]},
}


def test_a_runtime_that_refuses_a_capsule_is_refused(registry: CapsuleRegistry, url: str) -> None:
    """All that it refuses are named, and nothing is changed; a dry run tells the problems."""
    old = PACKAGE.format("old") + 'astrid-version = "^0.10"\n[publish]\n"a.b" = "x"\n'
    session = registered(registry, old)
    registered(registry, ARRAYS)
    before = registry.history.revision
    with RegistryAdmin.open(url) as admin:
        [problem, _] = admin.set_runtime("default", TODAY, dry_run=True)
        with pytest.raises(RuntimeRefusedError) as caught:
            admin.set_runtime("default", TODAY)
        assert ("old",) == caught.value.names
        assert "astrid_version_unsatisfied" in str(caught.value)
        assert "major 2026" in str(caught.value)
        assert caught.value.reason == problem.problem
        assert before == registry.history.revision
        assert registry.is_allowed(session, "ipc_publish", "a.b")
        registry.unregister("old")
        admin.set_runtime("default", TODAY)
    with pytest.raises(InvalidManifestError, match="astrid_version_unsatisfied"):
        registry.register(CapsuleManifest.parse(old))
    assert ["arrays"] == registry.list()


def test_no_reading_of_a_runtime_is_left_behind(backend: Backend) -> None:
    """To name none any more is refused, too, where a manifest's own form refuses it."""
    text = PACKAGE.format("a") + '[capabilities]\nipc_publish = ["x.*"]\n[publish]\n"a.b" = {}\n'
    url = backend.new_url()
    with CapsuleRegistry.open(url, namespace="n", runtime_version="0.2.0") as registry:
        session = registered(registry, text)
        assert registry.is_allowed(session, "ipc_publish", "x.y")
        with RegistryAdmin.open(url) as admin:
            with pytest.raises(RuntimeRefusedError, match="Runtime none refuses") as caught:
                admin.set_runtime("n", None)
            assert (None, ("a",)) == (caught.value.version, caught.value.names)
            assert "0.2.0" == registry.runtime_version
            registry.unregister("a")
            admin.set_runtime("n", None)


def test_all_rights_that_come_are_shown(registry: CapsuleRegistry, url: str) -> None:
    """Also those whose entry stays and is compared otherwise; not what then allows nothing."""
    text = PACKAGE.format("places") + (
        '[capabilities]\nfs_read = ["home://a", "workspace://s"]\nnet_bind = ["foo"]\n'
        'identity = ["admin"]\nnet = ["b.example"]\nhost_process = ["git"]\n'
    )
    registered(registry, text)
    with RegistryAdmin.open(url) as admin:
        [change] = admin.set_runtime("default", TODAY, dry_run=True)
    assert [("fs_read", "home://a", "path"), ("identity", "admin", "operation")] == [
        (one.capability, one.value, one.matching) for one in change.gained
    ]
    assert ["home://a", "workspace://s", "foo", "admin"] == [one.value for one in change.lost]


@pytest.mark.parametrize("version", ["original", "mixed", "legacy", "", "1.0"])
def test_a_manifest_is_parsed_for_a_version_alone(version: str) -> None:
    """The names of rules, which the registry uses, are no versions."""
    with pytest.raises(InvalidTextError, match="runtime_version"):
        CapsuleManifest.parse(TABLES, runtime_version=version)


@pytest.mark.parametrize(("runtime", "priority"), [("0.7.0", 100), ("0.8.0", 5)])
def test_handlers_have_a_priority_since_0_8_0(runtime: str, priority: int) -> None:
    """Before, the key is an unknown one; and table keys are not checked for empty segments."""
    text = PACKAGE.format("a") + (
        '[subscribe]\n"a.b" = { wit = "x", handler = "h", priority = 5 }\n'
    )
    manifest = CapsuleManifest.parse(text, runtime_version=runtime)
    assert [priority] == [one.priority for one in handlers_of(manifest)]
    odd = (
        PACKAGE.format("a")
        + '[publish]\n"a..b" = "x"\n[subscribe]\n"c" = { wit = "x", priority = 5 }\n'
    )
    if priority == 5:
        with pytest.raises(InvalidManifestError):
            CapsuleManifest.parse(odd, runtime_version=runtime)
    else:
        assert CapsuleManifest.parse(odd, runtime_version=runtime)


def test_many_questions_of_the_past_are_answered_in_time(registry: CapsuleRegistry) -> None:
    """A manifest is read once for all questions of its capsule."""
    keys = "".join(f'"kind{number}.v1.*" = "x"\n' for number in range(200))
    texts = [f"{PACKAGE.format(f'c{number}')}[publish]\n{keys}" for number in range(5)]
    sessions = [registered(registry, text) for text in texts]
    past = registry.at(revision=registry.history.revision)
    questions = [(sessions[one % 5], "ipc_publish", f"kind{one % 200}.v1.x") for one in range(300)]
    assert {"granted"} == {one.why for one in past.check_many(questions)}


ASKING = [("grants", "--value", "b.example"), ("check", "UUID", "net", "b.example")]
#: Edits, and the commands that then meet what nobody of ours has written.
ODD_EDITS: dict[str, list[tuple[str, ...]]] = {
    "UPDATE namespaces SET runtime_version = 'zz'": [
        *(("namespaces", "rederive"), ("doctor",), ("set-state", "arrays", "ready")),
        *(("show", "arrays"), ("audit", "verify")),
    ],
    "UPDATE grants SET matching = 'zzz'": [("grants",), *ASKING, ("audit", "verify")],
    "UPDATE grants SET matching = 'nothing'": [*ASKING, ("audit", "verify")],
}


@pytest.mark.parametrize("edit", ODD_EDITS)
def test_what_nobody_of_ours_has_written_is_no_traceback(
    registry: CapsuleRegistry, backend: Backend, url: str, edit: str
) -> None:
    """It is corrupt, or denies, and says so in a line; verification finds it."""
    session = registered(registry, ARRAYS)
    backend.tamper(url, edit)
    found = {
        command: run(url, *(str(session) if one == "UUID" else one for one in command)).exit_code
        for command in ODD_EDITS[edit]
    }
    assert {*found.values()} <= {0, 1, 8, 9}, found
    assert 8 == found["audit", "verify"]


def test_manifests_of_earlier_releases_are_read_anew(registry: CapsuleRegistry, url: str) -> None:
    """In their own form, all or one; what that refuses stays, and `doctor` says how many gain."""
    with CapsuleRegistry.open("sqlite://") as other:
        texts = (TABLES, PARTS, ARRAYS)
        for text in texts:
            other.register(CapsuleManifest.parse(text))
        lines = [json.loads(line) for line in other.export_lines()]
    refused = PACKAGE.format("refused") + '[publish]\n"a.b" = {}\n'
    said = {**lines[1], "id": "refused", "manifest_text": refused}
    lines = [lines[0], *lines[1:-1], said, {"count": 4, "kind": "end"}]
    for line in lines:
        line.pop("form", None)
        line.pop("rules", None)
    registry.import_lines(map(json.dumps, lines))
    assert {"original"} == {one.rules for one in registry.values()}
    [finding] = [one for one in run_json(url, "doctor") if one["name"] == "rules of default"]
    assert "; 1 capsules would gain rights" in finding["value"]
    before = registry.history.revision
    with RegistryAdmin.open(url) as admin:
        planned = admin.rederive("default", dry_run=True)
        assert [("tables", ["a.*"], None)] == [
            (one.capsule_id, [right.value for right in one.gained], one.problem)
            for one in planned
            if one.gained or one.lost
        ]
        assert ["refused"] == [one.capsule_id for one in planned if one.problem]
        with pytest.raises(CapsuleNotFoundError):
            admin.rederive("default", capsule_id="nobody")
        [one] = admin.rederive("default", capsule_id="tables")
        assert ("tables", "today") == (one.capsule_id, one.rules)
        admin.rederive("default")
        assert before + 2 == registry.history.revision
        again = admin.rederive("default")
        assert ["refused"] == [one.capsule_id for one in again]
        assert before + 2 == registry.history.revision
        with pytest.raises(NamespaceNotFoundError):
            admin.rederive("nowhere")
    assert {"tables": "today", "parts": "legacy", "arrays": "legacy", "refused": "original"} == {
        one.id: one.rules for one in registry.values()
    }
    assert registry.history.verify().ok


def test_a_namespace_has_its_runtime_in_the_tables(
    backend: Backend, url: str, registry: CapsuleRegistry
) -> None:
    """So an auditor sees what decides, and verification that it was changed behind its back."""
    registered(registry, ARRAYS)
    with RegistryAdmin.open(url) as admin:
        admin.set_runtime("default", TODAY)
        assert [TODAY] == [one.runtime_version for one in admin.namespaces()]
    query = "SELECT runtime_version FROM namespaces"
    assert [(TODAY,)] == backend.rows(url, query)
    shown = "SELECT capability, value, place, read_by FROM grants WHERE NOT counts"
    assert [("ipc_publish", "a.*", "capabilities", "<0.8.0")] == backend.rows(url, shown)
    assert [("b.example", "host")] == backend.rows(
        url, "SELECT value, matching FROM capability_grants"
    )
    backend.tamper(url, "UPDATE namespaces SET runtime_version = '0.2.0'")
    assert "head" in {one.where for one in registry.history.verify().discrepancies}
    backend.tamper(url, f"UPDATE namespaces SET runtime_version = '{TODAY}'")
    for edit in (
        "UPDATE grants SET counts = TRUE WHERE NOT counts",
        "UPDATE grants SET matching = 'host_any_case' WHERE matching = 'host'",
        "UPDATE grants SET read_by = '*'",
        "UPDATE capsules SET rules = '0.2.0'",
    ):
        assert registry.history.verify().ok
        with pytest.raises(AssertionError):
            backend.tamper(url, edit)
            assert registry.history.verify().ok
        backend.tamper(url, UNDO[edit])


UNDO = {
    "UPDATE grants SET counts = TRUE WHERE NOT counts": (
        "UPDATE grants SET counts = FALSE WHERE capability = 'ipc_publish'"
    ),
    "UPDATE grants SET matching = 'host_any_case' WHERE matching = 'host'": (
        "UPDATE grants SET matching = 'host' WHERE matching = 'host_any_case'"
    ),
    "UPDATE grants SET read_by = '*'": (
        "UPDATE grants SET read_by = '<0.8.0' WHERE capability = 'ipc_publish'"
    ),
    "UPDATE capsules SET rules = '0.2.0'": f"UPDATE capsules SET rules = '{TODAY}'",
}


def test_the_command_sets_a_runtime_and_reads_anew(
    registry: CapsuleRegistry, url: str, tmp_path: Path
) -> None:
    """It prints a row for each right that comes or goes, whole changes as JSON, and lists it."""
    registered(registry, ARRAYS)
    result = run(url, "namespaces", "set-runtime", TODAY, "--dry-run", "--format", "csv")
    assert [
        "capsule_id,change,capability,value,matching",
        "arrays,lost,ipc_publish,a.*,segments",
    ] == result.stdout.splitlines()
    [change] = run_json(url, "namespaces", "set-runtime", TODAY)
    assert ("arrays", TODAY, []) == (change["capsule_id"], change["rules"], change["gained"])
    assert [TODAY] == [one["runtime_version"] for one in run_json(url, "namespaces", "list")]
    changed, lost = run_json(url, "diff", str(registry.history.revision - 1))
    assert ("removed", "right", "arrays ipc_publish", "a.*", None) == tuple(lost.values())
    assert ("changed", "arrays") == (changed["change"], changed["id"])
    assert changed["after"].endswith(f"rules {TODAY}")
    (tmp_path / "Capsule.toml").write_text(TABLES)
    assert 0 == run(url, "register", tmp_path).exit_code
    assert TODAY == run_json(url, "show", "tables")["rules"]
    assert 0 == run(url, "namespaces", "rederive", "--capsule", "tables").exit_code
    assert 5 == run(url, "namespaces", "set-runtime", "today").exit_code
    assert 0 == run(url, "namespaces", "set-runtime", "none").exit_code
    assert None is registry.runtime_version
    assert 0 == run(url, "namespaces", "create", "other", "--runtime-version", TODAY).exit_code
    assert 4 == run(url, "namespaces", "create", "other", "--runtime-version", "0.2.0").exit_code


@pytest.mark.parametrize(
    ("form", "rules"),
    [("mixed", "mixed"), ("today", "today"), ("today", "legacy"), ("legacy", "nonsense")],
)
def test_an_import_does_not_choose_its_form(
    registry: CapsuleRegistry, backend: Backend, form: str, rules: str
) -> None:
    """The text says it; a line that says another is refused, and nothing is registered."""
    registered(registry, ARRAYS)
    lines = [json.loads(line) for line in registry.export_lines()]
    lines[1] |= {"form": form, "rules": rules}
    with (
        CapsuleRegistry.open(backend.new_url(), namespace="other") as other,
        pytest.raises(InvalidTextError, match="line 2"),
    ):
        other.import_lines(map(json.dumps, lines))


def test_an_export_is_judged_by_the_runtime_it_comes_to(backend: Backend) -> None:
    """And in a namespace without one by the forms of its manifests."""
    with CapsuleRegistry.open(backend.new_url(), namespace="one", runtime_version=TODAY) as first:
        registered(first, ARRAYS)
        lines = [*first.export_lines()]
        for runtime, rules in ((None, "legacy"), (TODAY, TODAY), ("0.2.0", "0.2.0")):
            name = f"n{rules.replace('.', '-')}"
            with CapsuleRegistry.open(
                backend.new_url(), namespace=name, runtime_version=runtime
            ) as other:
                other.import_lines(lines)
                assert [rules] == [one.rules for one in other.values()]
                assert other.history.verify().ok
