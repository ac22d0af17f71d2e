"""Tools, commands, imports, exports and artifacts: what capsules declare to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from capsule_registry import (
    AmbiguousCommandError,
    ArtifactChangedError,
    CapsuleManifest,
    CapsuleNotFoundError,
    CapsuleRegistry,
    DependencyCycleError,
    InvalidManifestError,
    InvalidTextError,
    NewRightsError,
    SoleProviderError,
    StaleGenerationError,
    ToolCatalogue,
    boot_order,
)
from support.factories import make_manifest, make_text
from support.vector_files import rows

if TYPE_CHECKING:
    from pathlib import Path

    from capsule_registry import RegistryReader

pytestmark = pytest.mark.files_alone

DESCRIBED = {"name": "b", "description": "says b", "input_schema": {"type": "object"}}


def parsed(name: str, *lines: str) -> CapsuleManifest:
    return CapsuleManifest.parse(make_text(name, "\n".join(lines)))


def importing(name: str, *wanted: str, optional: bool = False) -> CapsuleManifest:
    entries = [
        f'"{one.partition("@")[0]}" = {{ version = "{one.partition("@")[2]}",'
        f" optional = {str(optional).lower()} }}"
        for one in wanted
    ]
    return parsed(name, "[imports]", *entries)


def exporting(name: str, *offered: str) -> CapsuleManifest:
    entries = [f'"{one.partition("@")[0]}" = "{one.partition("@")[2]}"' for one in offered]
    return parsed(name, "[exports]", *entries)


def views(registry: CapsuleRegistry) -> list[RegistryReader]:
    """Return the registry, and the past that is its present."""
    return [registry, registry.at(revision=registry.history.revision)]


def filled(registry: CapsuleRegistry, manifests: list[CapsuleManifest]) -> CapsuleRegistry:
    with registry.transaction() as transaction:
        transaction.drain()
        transaction.register_many(manifests)
    return registry


def is_distinct(manifests: list[CapsuleManifest]) -> bool:
    return len({one.package.name for one in manifests}) == len(manifests)


# Tools


def test_tools_are_those_that_upstreams_rules_give(registry: CapsuleRegistry) -> None:
    """Names, texts, routes, and whether they are all."""
    for row in rows("today/tools"):
        for view in views(filled(registry, [CapsuleManifest.parse(row["toml"])])):
            found = view.tools()

            assert row["tools"] == [
                {"name": one.name, "description": one.description, "routed": one.routed}
                for one in found
            ], row["name"]
            assert row["state"] == view.tool_catalogue("a"), row["name"]
            assert row["unrouted"] == [one.name for one in found if not one.routed], row["name"]


def test_tools_of_0_2_0_are_known_and_called_by_the_host(registry: CapsuleRegistry) -> None:
    """Each has its schema; a capsule without any has none."""
    registry.register(make_manifest("alpha", tool=[{**DESCRIBED, "input_schema": None}]))
    registry.register(make_manifest("beta"))
    [tool] = registry.tools("alpha")

    assert (True, True, False, None) == (
        tool.schema_known,
        tool.routed,
        tool.mutable,
        tool.input_schema,
    )
    assert ToolCatalogue.KNOWN is registry.tool_catalogue("alpha")
    assert ToolCatalogue.NONE is registry.tool_catalogue("beta")
    with pytest.raises(CapsuleNotFoundError):
        registry.tool_catalogue("gamma")


def test_what_a_running_capsule_reports_is_filed(registry: CapsuleRegistry) -> None:
    """In an event of its own; its namesakes give way, and the rest is known from then on."""
    manifest = parsed(
        "alpha",
        "[subscribe]",
        '"tool.v1.execute.*" = { wit = "opaque", handler = "h" }',
        "[[tool]]",
        'name = "b"\ndescription_for_llm = "?"\nmutable = true\ninput_schema_wit = "w"',
    )
    record = registry.register(manifest)
    [declared] = registry.tools()

    assert (False, "w", True, True) == (
        declared.schema_known,
        declared.input_schema_wit,
        declared.mutable,
        declared.routed,
    )
    assert ToolCatalogue.UNKNOWN is registry.tool_catalogue("alpha")
    reported = registry.report_tools("alpha", [{**DESCRIBED, "name": "c"}, DESCRIBED])

    assert record.generation == reported.generation < reported.modified_revision
    for view in views(registry):
        assert [("b", True), ("c", True)] == [(one.name, one.schema_known) for one in view.tools()]
        assert ToolCatalogue.KNOWN is view.tool_catalogue("alpha")
    [event] = registry.history.list(action="capsule.tools_reported")[0].events
    assert event.changes is not None
    assert ["c"] == [one.name for one in event.changes.added]
    assert registry.history.verify().ok


def test_the_same_report_again_makes_no_revision(registry: CapsuleRegistry) -> None:
    """Nor does one of no tools, which is told from none yet."""
    registry.register(parsed("alpha", "[subscribe]", '"tool.v1.request.describe" = "opaque"'))
    assert ToolCatalogue.UNKNOWN is registry.tool_catalogue("alpha")
    registry.report_tools("alpha", [])
    before = registry.history.revision
    registry.report_tools("alpha", [])

    assert before == registry.history.revision
    assert ToolCatalogue.NONE is registry.tool_catalogue("alpha")
    with CapsuleRegistry.open("sqlite://") as other:
        other.import_lines(registry.export_lines())
        assert ToolCatalogue.NONE is other.tool_catalogue("alpha")


@pytest.mark.parametrize(
    "tools", [[{"name": "b"}], [1], 1, None, [{**DESCRIBED, "name": "b" * 256}]]
)
def test_what_is_no_tool_is_refused(registry: CapsuleRegistry, tools: Any) -> None:
    """And changes nothing."""
    registry.register(make_manifest("alpha"))
    before = registry.history.revision
    with pytest.raises((InvalidManifestError, InvalidTextError)):
        registry.report_tools("alpha", tools)

    assert before == registry.history.revision


# Commands


def test_a_verb_finds_the_capsule_that_answers(registry: CapsuleRegistry) -> None:
    """One, none, or an error that says who."""
    for row in rows("today/commands"):
        for view in views(filled(registry, [*map(CapsuleManifest.parse, row["capsules"])])):
            try:
                found = view.find_command(row["verb"])
            except AmbiguousCommandError as error:
                assert row["ambiguous"] == [*error.names]
            else:
                assert row.get("one") == (None if found is None else found.capsule_id), row["name"]


def test_commands_are_listed_by_kind(registry: CapsuleRegistry) -> None:
    """Whatever state their capsules are in; only those that are ready answer."""
    registry.register(
        parsed("alpha", "[[command]]", 'name = "x"\nkind = "cli"', "[[command]]", 'name = "y"')
    )
    registry.set_state("alpha", "failed")

    assert [("x", "cli"), ("y", "slash")] == [(one.name, one.kind) for one in registry.commands()]
    assert ["y"] == [one.name for one in registry.commands(kind="slash")]
    assert None is registry.find_command("x")
    with pytest.raises(InvalidTextError):
        registry.commands(kind="other")


# Imports and exports


def test_the_boot_order_is_that_of_the_runtime(registry: CapsuleRegistry) -> None:
    """Exporters first, uplinks before all; with what is unmet, and who is in a circle."""
    for row in rows("today/boot_order"):
        manifests = [*map(CapsuleManifest.parse, row["capsules"])]
        try:
            order, cycle = [one.package.name for one in boot_order(manifests)], None
        except DependencyCycleError as error:
            order = [manifests[index].package.name for index in error.fallback]
            cycle = sorted(error.names)
        assert row["boot"] == order, row["name"]
        assert (sorted(row["cycle"]) if "cycle" in row else None) == cycle, row["name"]
        if not is_distinct(manifests):
            continue
        for view in views(filled(registry, manifests)):
            found = view.boot_order()

            assert row["boot"] == [*found.order], row["name"]
            unmet = [[one.capsule_id, one.requirement, one.version] for one in found.unmet]
            assert sorted(row["unmet"] + row["unmet_optional"]) == sorted(unmet), row["name"]
            assert sorted(row["unmet"]) == sorted(
                [one.capsule_id, one.requirement, one.version] for one in view.unmet(required=True)
            )
            assert row["ready"]["prompt_subscribers"] == view.routes.subscribers("user.v1.prompt")
            assert row["ready"]["response_publishers"] == view.routes.publishers(
                "agent.v1.response"
            )


def test_who_exports_an_interface_is_found_by_version(registry: CapsuleRegistry) -> None:
    """By Cargo's rules; two who export it are told."""
    filled(
        registry,
        [exporting("alpha", "n:x@1.2.0"), exporting("beta", "n:x@2.0.0", "n:y@0.1.0")],
    )
    for view in views(registry):
        assert ["alpha", "beta"] == [one.capsule_id for one in view.providers("n:x")]
        assert ["beta"] == [one.capsule_id for one in view.providers("n:x", version=">=1.5, <3")]
        assert [] == view.providers("n:x", version="=1.2.1")
        assert [("alpha", "n:x", "1.2.0"), ("beta", "n:x", "2.0.0"), ("beta", "n:y", "0.1.0")] == [
            (one.capsule_id, one.interface, one.version) for one in view.exports()
        ]
        [shared] = view.boot_order().shared
        assert ("n:x", ("alpha", "beta")) == (shared.interface, shared.exporters)
    with pytest.raises(InvalidTextError):
        registry.providers("n:x", version="one")


def test_a_capsule_does_not_import_from_itself(registry: CapsuleRegistry) -> None:
    """Its own export meets nothing."""
    text = '[imports]\n"n:x" = "^1"\n[exports]\n"n:x" = "1.0.0"'
    registry.register(parsed("alpha", text))
    [unmet] = registry.unmet()

    assert ("alpha", "n:x", "^1", False) == (
        unmet.capsule_id,
        unmet.requirement,
        unmet.version,
        unmet.optional,
    )


def test_the_last_exporter_of_what_is_imported_stays(registry: CapsuleRegistry) -> None:
    """As upstream: by name of the interface, whatever versions, optional or not."""
    for row in rows("today/removal"):
        manifests = [*map(CapsuleManifest.parse, row["capsules"])]
        filled(registry, manifests)
        before = registry.history.revision
        if not row["blocked"]:
            registry.unregister(row["remove"])
            continue
        with pytest.raises(SoleProviderError) as caught:
            registry.unregister(row["remove"])

        assert row["interface"] == caught.value.interface
        assert row["dependent"] == caught.value.importers[0]
        assert before == registry.history.revision
        registry.unregister(row["remove"], force=True)
        assert before + 1 == registry.history.revision


def test_a_replacement_that_exports_it_no_more_is_refused(registry: CapsuleRegistry) -> None:
    """Unless it is forced, or another exports it."""
    filled(registry, [exporting("alpha", "n:x@1.0.0"), importing("beta", "n:x@^7", optional=True)])
    with pytest.raises(SoleProviderError):
        registry.replace(exporting("alpha", "n:y@1.0.0"))
    registry.replace(exporting("alpha", "n:x@9.0.0"))
    registry.register(exporting("gamma", "n:x@1.0.0"))
    registry.replace(exporting("alpha", "n:y@1.0.0"))

    with pytest.raises(SoleProviderError) as caught:
        registry.unregister("gamma")
    assert ("gamma", "n:x", ["beta"]) == (
        caught.value.capsule,
        caught.value.interface,
        [*caught.value.importers],
    )


def test_a_sync_is_judged_by_its_end(registry: CapsuleRegistry, tmp_path: Path) -> None:
    """An exporter may go with its importer, or for another exporter, but not alone."""

    def put(manifest: CapsuleManifest) -> Path:
        directory = tmp_path / manifest.package.name
        directory.mkdir(exist_ok=True)
        (directory / "Capsule.toml").write_text(manifest.text)
        return directory / "Capsule.toml"

    alpha, beta = put(exporting("alpha", "n:x@1.0.0")), put(importing("beta", "n:x@^1"))
    registry.sync(tmp_path)
    alpha.unlink()
    with pytest.raises(SoleProviderError):
        registry.sync(tmp_path, prune=True)
    put(exporting("gamma", "n:x@1.0.0"))
    registry.sync(tmp_path, prune=True)
    assert ["beta", "gamma"] == registry.list()
    (tmp_path / "gamma" / "Capsule.toml").unlink()
    beta.unlink()
    registry.sync(tmp_path, prune=True)
    assert registry.is_empty()


def test_a_sync_that_refuses_new_rights_does_nothing(
    registry: CapsuleRegistry, tmp_path: Path
) -> None:
    """The plan says which; fewer rights are no new ones."""
    path = tmp_path / "Capsule.toml"
    path.write_text(make_text("alpha", '[capabilities]\nkv = ["a", "b"]\n'))
    with pytest.raises(NewRightsError, match="alpha"):
        registry.sync(tmp_path, refuse_new_rights=True)
    assert registry.is_empty()
    [step] = registry.sync(tmp_path).changes
    assert [("kv", "a"), ("kv", "b")] == [
        (one.name, one.value) for one in step.changes.added_rights
    ]
    path.write_text(make_text("alpha", '[capabilities]\nkv = ["b"]\n'))
    [step] = registry.sync(tmp_path, refuse_new_rights=True).changes
    assert ((), ["a"]) == (step.changes.added, [one.value for one in step.changes.removed])
    path.write_text(make_text("alpha", '[publish]\n"a.b" = "opaque"\n'))
    with pytest.raises(NewRightsError):
        registry.sync(tmp_path, refuse_new_rights=True)
    assert [] == registry.grants(capability="ipc_publish")


# Artifacts

ASSEMBLED = (
    '[[component]]\nid = "c"\nfile = "c.wasm"\nhash = "{}"\n'
    '[[component.asset]]\nid = "d"\nfile = "d.bin"\nhash = "blake3:d"\n'
    "[[component.asset]]\nid = 1\n"
)


def test_artifacts_are_found_by_hash(registry: CapsuleRegistry) -> None:
    """Components and assets, with the generation that is made of them."""
    first = registry.register(parsed("alpha", ASSEMBLED.format("blake3:c")))
    second = registry.replace(parsed("alpha", ASSEMBLED.format("blake3:e")))

    for view in views(registry):
        assert [] == view.find_artifact("blake3:c")
        [component], [asset] = view.find_artifact("blake3:e"), view.find_artifact("blake3:d")
        assert ("component", "c", "c.wasm") == (component.kind, component.name, component.file)
        assert ("asset", "d", second.generation) == (asset.kind, asset.name, asset.generation)
    [earlier] = registry.at(revision=first.generation).find_artifact("blake3:c")
    assert first.generation == earlier.generation


def test_other_bytes_under_the_same_version_are_refused(registry: CapsuleRegistry) -> None:
    """If that is asked for; under another version they are not."""
    registry.register(parsed("alpha", ASSEMBLED.format("blake3:c")))
    other = ASSEMBLED.format("blake3:e")
    with pytest.raises(ArtifactChangedError) as caught:
        registry.replace(parsed("alpha", other), same_artifacts=True)

    assert ("alpha", "0.1.0", "c.wasm", "blake3:c", "blake3:e") == tuple(
        getattr(caught.value, name) for name in caught.value.facts
    )
    later = CapsuleManifest.parse(make_text("alpha", other).replace("0.1.0", "0.2.0"))
    assert "0.2.0" == registry.replace(later, same_artifacts=True).version


def test_a_stale_generation_reports_no_tools(registry: CapsuleRegistry) -> None:
    """What another incarnation has found out is not this one's."""
    old = registry.register(make_manifest("alpha"))
    registry.replace(make_manifest("alpha", package={"version": "2.0.0"}))
    with pytest.raises(StaleGenerationError):
        registry.report_tools("alpha", [DESCRIBED], expected_generation=old.generation)

    assert [] == registry.tools()
