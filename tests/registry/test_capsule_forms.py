"""The form of a registered capsule: kept with it, shown, and what its rights follow."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from capsule_registry import (
    CapsuleManifest,
    CapsuleRegistry,
    InvalidTextError,
    ManifestForm,
    RegistryAdmin,
)
from capsule_registry.database.database import Database
from capsule_registry.entities import registration
from capsule_registry.manifest.comparison import Difference
from capsule_registry.schema.migrations import migrations_directory
from capsule_registry.schema.upgrade import migrating
from support.commands import run_json
from support.factories import make_text

if TYPE_CHECKING:
    from support.backends import Backend

PACKAGE = '[package]\nname = "{}"\nversion = "0.1.0"\n'
LEGACY = f"""{PACKAGE.format("old")}
[capabilities]
ipc_publish = ["a.*"]
net = ["a.example"]
"""
TODAY = f"""{PACKAGE.format("new")}
[[component]]
file = "new.wasm"
[component.capabilities]
net = ["b.example"]
[publish]
"a.b" = "@scope/repo/record"
"c.*" = {{ wit = "opaque", fanout = true }}
[subscribe]
"d.e" = {{ wit = "opaque", handler = "handle" }}
"""
MIXED = f"""{PACKAGE.format("between")}
[capabilities]
ipc_publish = ["a.*"]
ipc_subscribe = ["f.*"]
[publish]
"g.h" = "opaque"
"""


@pytest.fixture
def filled(registry: CapsuleRegistry) -> CapsuleRegistry:
    """A registry with a ready capsule of each form."""
    for text in (LEGACY, TODAY, MIXED):
        registry.register(CapsuleManifest.parse(text))
    return registry


def test_each_capsule_has_its_form(filled: CapsuleRegistry, url: str) -> None:
    """In records, summaries, listings, the command, and the past."""
    expected = {"old": "legacy", "new": "today", "between": "mixed"}

    assert expected == {one.id: one.form for one in filled.values()}
    assert expected == {one.id: one.form for one in filled.summaries()}
    assert expected == {one.id: one.form for one in filled.at(revision=4).values()}
    assert ["new"] == filled.list(form="today") == filled.list(form=ManifestForm.TODAY)
    assert ["between"] == filled.list(form="mixed", state="ready")
    assert [] == filled.list(form="mixed", state="failed")
    assert ["old"] == [one["id"] for one in run_json(url, "list", "--form", "legacy")]
    assert "today" == run_json(url, "show", "new")["form"]
    with pytest.raises(InvalidTextError, match="form"):
        filled.list(form="ancient")


def test_the_views_have_the_form(filled: CapsuleRegistry, backend: Backend, url: str) -> None:
    """So an auditor sees by which rules a capsule is judged."""
    query = "SELECT id, form FROM registered_capsules ORDER BY id"

    assert [("between", "mixed"), ("new", "today"), ("old", "legacy")] == backend.rows(url, query)


@pytest.mark.parametrize(
    ("capsule", "capability", "value", "expected"),
    [
        ("old", "ipc_publish", "a.b", True),
        ("new", "ipc_publish", "a.b", True),
        ("new", "ipc_publish", "c.d", True),
        ("new", "ipc_publish", "a.c", False),
        ("new", "ipc_subscribe", "d.e", True),
        ("new", "net", "b.example", True),
        ("between", "ipc_publish", "g.h", True),
        ("between", "ipc_publish", "a.b", False),
        ("between", "ipc_subscribe", "f.g", True),
    ],
)
def test_rights_follow_the_form(
    filled: CapsuleRegistry, capsule: str, capability: str, value: str, *, expected: bool
) -> None:
    """Tables where the form has tables, arrays where it has none, and those of components."""
    uuid = uuid4()
    filled.register_uuid(uuid, capsule)

    assert expected == filled.is_allowed(uuid, capability, value)


def test_the_history_with_forms_verifies(
    filled: CapsuleRegistry, backend: Backend, url: str
) -> None:
    """And a form that was changed behind its back is found."""
    assert filled.history.verify().ok
    backend.tamper(url, "UPDATE capsules SET form = 'legacy' WHERE id = 'new'")

    assert "capsules new" in {found.where for found in filled.history.verify().discrepancies}


@pytest.mark.parametrize("runtime", ["0.2.0", "0.6.0", "2026.9.4"])
@pytest.mark.parametrize("text", [LEGACY, TODAY, MIXED])
def test_a_manifest_parsed_for_a_runtime_is_registered_in_its_own_form(
    registry: CapsuleRegistry, runtime: str, text: str
) -> None:
    """What decides is in the tables, whatever runtime its reader had in mind."""
    own = registry.register(CapsuleManifest.parse(text))
    before = registry.grants()
    registry.unregister(own.id)
    found = registry.register(CapsuleManifest.parse(text, runtime_version=runtime))

    assert (own.form, own.manifest) == (found.form, found.manifest)
    assert before == registry.grants()
    assert registry.history.verify().ok


def test_an_export_carries_the_form(filled: CapsuleRegistry, backend: Backend) -> None:
    """What an earlier release exported, without forms, is read as that release read it."""
    lines = [json.loads(line) for line in filled.export_lines()]
    without = [
        {name: value for name, value in line.items() if name not in ("form", "rules")}
        for line in lines
    ]
    for exported, forms in ((lines, ["legacy", "today", "mixed"]), (without, 3 * ["legacy"])):
        with CapsuleRegistry.open(backend.empty_url(), migrate=True) as other:
            other.import_lines(map(json.dumps, exported))

            assert forms == [one.form for one in other.values()]
            assert other.history.verify().ok


def test_what_was_registered_before_there_were_forms_stays_as_it_was(backend: Backend) -> None:
    """The migration makes it legacy, whatever its marks: nobody has other rights than before."""
    url, uuid = backend.empty_url(), uuid4()
    with CapsuleRegistry.open(url, migrate=True) as registry:
        lines = [*earlier_export(TODAY)]
        registry.import_lines(lines)
        registry.register_uuid(uuid, "new")
        before = registry.grants()
    downgrade(url)
    assert "v0002" == version(backend, url)
    with CapsuleRegistry.open(url, migrate=True) as registry:
        assert ["legacy"] == [one.form for one in registry.values()]
        assert [] == before == registry.grants()
        assert not registry.is_allowed(uuid, "ipc_publish", "a.b")
        assert registry.history.verify().ok


def test_what_was_registered_before_there_were_routes_has_them(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its topics and interceptors are routes, its tools known; the rest once it is read anew."""
    monkeypatch.setattr(registration, "compared", lambda *_, **__: Difference())
    url = backend.empty_url()
    text = make_text(
        "old",
        '[capabilities]\nipc_publish = ["x.y", "x.z"]\nipc_subscribe = ["q.*"]\n'
        '[[interceptor]]\nevent = "a.*"\naction = "act"\n'
        '[[command]]\nname = "verb"\n'
        '[[tool]]\nname = "t"\ndescription = "d"\ninput_schema = { type = "object" }\n',
    )
    with CapsuleRegistry.open(url, migrate=True) as registry:
        registry.import_lines([*earlier_export(text)])
        before = registry.routes.list(), registry.tools(), registry.tool_catalogue("old")
    downgrade(url)
    with CapsuleRegistry.open(url, migrate=True) as registry:
        assert before == (registry.routes.list(), registry.tools(), registry.tool_catalogue("old"))
        assert ["act"] == [call.handler for call in registry.routes.called("a.b")]
        assert [] == registry.commands()
        assert registry.history.verify().ok
    with RegistryAdmin.open(url) as admin:
        admin.rederive("default")
    with CapsuleRegistry.open(url) as registry:
        assert ["verb"] == [command.name for command in registry.commands()]
        assert registry.history.verify().ok


def earlier_export(text: str) -> list[str]:
    """Return the export of a release that knew no forms."""
    with CapsuleRegistry.open("sqlite://") as registry:
        registry.register(CapsuleManifest.parse(text))
        lines = [json.loads(line) for line in registry.export_lines()]
    for line in lines:
        line.pop("form", None)
        line.pop("rules", None)
    return [json.dumps(line) for line in lines]


def downgrade(url: str) -> None:
    """Take the database back to the schema without forms."""
    with closing(Database.open(url)) as database, migrating(database) as connection:
        context = MigrationContext.configure(connection)
        for later in ("v0006", "v0005", "v0004", "v0003"):
            step = ScriptDirectory(str(migrations_directory())).get_revision(later)
            assert step is not None
            step.module.downgrade(Operations(context))
        connection.exec_driver_sql("DELETE FROM schema_versions WHERE version > 'v0002'")
        connection.exec_driver_sql("UPDATE capsule_registry_version SET version_num = 'v0002'")


def version(backend: Backend, url: str) -> str:
    [(found,)] = backend.rows(url, "SELECT max(version) FROM schema_versions")
    return str(found)
