"""Real manifests, checked against the verdicts of the original code."""

from __future__ import annotations

import csv
import json
import tomllib
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from capsule_registry import CapsuleManifest, CapsuleRegistry, InvalidManifestError
from capsule_registry.cli.main import capsule_registry
from support.vector_files import known_part, rows

if TYPE_CHECKING:
    from pathlib import Path

    from support.backends import SqliteBackend


def index(corpus: Path) -> list[dict[str, str]]:
    with (corpus / "index.tsv").open(newline="") as file:
        return [*csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def verdict(path: Path, runtime_version: str | None) -> str:
    try:
        CapsuleManifest.load(path, runtime_version=runtime_version)
    except InvalidManifestError as error:
        return error.rule
    return "accept"


def test_every_real_manifest_has_the_original_verdict(corpus: Path) -> None:
    """With 0.2.0 named as the runtime, it is that of 0.2.0."""
    entries = index(corpus)
    paths = {row["id"]: corpus / "manifests" / row["id"] / "Capsule.toml" for row in entries}

    assert 195 == len(entries)
    assert {row["id"]: row["v020_reason"] or "accept" for row in entries} == {
        name: verdict(path, "0.2.0") for name, path in paths.items()
    }


def test_every_real_manifest_is_read_in_its_own_form(corpus: Path) -> None:
    """Its form is found, and what the runtimes of that form refuse is refused with their reason."""
    expected = {row["id"]: row for row in rows("today/real_manifests")}
    accepted = 0
    for row in index(corpus):
        path = corpus / "manifests" / row["id"] / "Capsule.toml"
        wanted = expected[row["id"]]
        reason = wanted.get("refused_own") or (None if "own" in wanted else "missing_field")
        if reason is None:
            assert wanted["form"] == CapsuleManifest.load(path).form
            accepted += 1
        else:
            assert reason == verdict(path, None)
    assert 178 == accepted


def without_unknown_keys(given: Any, source: Any, expected: Any) -> Any:
    """Return *given* without keys that are in *source* but not in *expected*."""
    if isinstance(given, dict) and isinstance(expected, dict):
        source = source if isinstance(source, dict) else {}
        return {
            key: without_unknown_keys(value, source.get(key), expected.get(key))
            for key, value in given.items()
            if key in expected or key not in source
        }
    if isinstance(given, list) and isinstance(expected, list) and len(given) == len(expected):
        sources = source if isinstance(source, list) else [None] * len(given)
        return [without_unknown_keys(*item) for item in zip(given, sources, expected, strict=True)]
    return given


def test_every_accepted_manifest_is_parsed_as_by_the_original(corpus: Path) -> None:
    """The JSON form is the original's plus unknown keys; effective provides are equal."""
    accepted = 0
    for row in index(corpus):
        answer = json.loads((corpus / "expected" / f"{row['id']}.json").read_text())
        if answer["verdict"] != "accept":
            continue
        accepted += 1
        path = corpus / "manifests" / row["id"] / "Capsule.toml"
        manifest = CapsuleManifest.load(path, runtime_version="0.2.0")
        found = manifest.to_json()
        document = tomllib.loads(path.read_text())

        assert answer["manifest"] == without_unknown_keys(found, document, answer["manifest"])
        assert document == known_part(with_file_key(found), document), row["id"]
        assert answer["effective_provides"] == list(manifest.effective_provides)
    assert 110 == accepted


def with_file_key(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return *manifest* with `entrypoint` beside `file`, so either name is found in it."""
    components = [
        {**component, "entrypoint": component["file"]} for component in manifest["component"]
    ]
    return {**manifest, "component": components}


def loading(corpus: Path) -> dict[Path, str]:
    """Return the manifests that load, each with the id of its capsule."""
    found = {
        corpus / "manifests" / row["id"] / "Capsule.toml": row["package.name"]
        for row in index(corpus)
    }
    return {path: name for path, name in found.items() if verdict(path, None) == "accept"}


def test_every_loading_manifest_comes_back_unchanged(corpus: Path, sqlite: SqliteBackend) -> None:
    """Registered by the command, each in its own namespace, `show` returns the exact text."""
    url, runner, registered = sqlite.new_url(), CliRunner(), 0
    for number, (path, name) in enumerate(loading(corpus).items()):
        options = ["--database", url, "--namespace", f"n{number}"]
        result = runner.invoke(capsule_registry, [*options, "register", str(path)])
        assert 0 == result.exit_code, result.stderr
        shown = runner.invoke(capsule_registry, [*options, "show", name, "--format", "json"])
        assert path.read_bytes() == json.loads(shown.stdout)["manifest_text"].encode()
        registered += 1

    assert 178 == registered


def test_every_database_keeps_every_manifest_as_it_is(
    corpus: Path, registry: CapsuleRegistry
) -> None:
    """One after another in one transaction, each is read as the exact text that was registered."""
    kept = 0
    with registry.transaction() as transaction:
        for path, name in loading(corpus).items():
            transaction.register(CapsuleManifest.load(path))
            found = transaction.get(name)
            assert found is not None
            assert path.read_bytes() == found.manifest_text.encode()
            transaction.unregister(name)
            kept += 1

    assert 178 == kept
    assert registry.history.verify().ok


def test_a_directory_of_real_manifests_registers_what_it_can(
    corpus: Path, registry: CapsuleRegistry, url: str
) -> None:
    """The good ones are registered, the bad ones named, and the exit code is 1."""
    result = CliRunner().invoke(
        capsule_registry, ["--database", url, "register", str(corpus / "manifests")]
    )

    assert 1 == result.exit_code
    assert 195 == len(result.stdout.splitlines()) + len(result.stderr.splitlines())
    assert len(result.stdout.splitlines()) == len(registry)
    refused = [line for line in result.stderr.splitlines() if line.endswith("]")]
    assert 17 == len(refused)


def newest_set(corpus: Path) -> list[CapsuleManifest]:
    """Return the latest capsule of each purpose of the largest repository, by date first seen."""
    newest: dict[str, dict[str, str]] = {}
    for row in index(corpus):
        purpose = row["package.name"].removeprefix("aos-").removeprefix("astrid-capsule-")
        is_named = purpose != row["package.name"]
        if row["kind"] == "real" and is_named and "unicity-aos/aos-ce" in row["repos"]:
            newest[purpose] = max(
                newest.get(purpose, row), row, key=lambda one: (one["first_seen"], one["id"])
            )
    return [
        CapsuleManifest.load(corpus / "manifests" / row["id"] / "Capsule.toml")
        for row in newest.values()
    ]


def test_the_routes_and_tools_of_real_capsules_are_found(
    corpus: Path, sqlite: SqliteBackend
) -> None:
    """All of what a whole set of capsules publishes, subscribes to, handles and offers."""
    with CapsuleRegistry.open(sqlite.new_url()) as registry:
        registry.register_many(newest_set(corpus))
        routes = registry.routes.list()

        assert (23, 107, 97, 135, 34) == (
            len(registry),
            len([one for one in routes if one.handler is not None]),
            len([one for one in routes if one.place == "publish"]),
            len([one for one in routes if one.place == "subscribe"]),
            len(registry.tools()),
        )
        assert registry.history.verify().ok


def test_the_exporters_of_real_capsules_start_before_their_importers(
    corpus: Path, sqlite: SqliteBackend
) -> None:
    """Unless the importer is an uplink, which starts before all others."""
    with CapsuleRegistry.open(sqlite.new_url()) as registry:
        registry.register_many(newest_set(corpus))
        found = registry.boot_order()
        uplinks = {one.capsule_id for one in registry.grants(capability="uplink") if one.counts}
        places = {capsule_id: place for place, capsule_id in enumerate(found.order)}
        late = [
            (one.capsule_id, provider, one.requirement)
            for one in registry.dependencies()
            for provider in one.providers
            if one.version is not None
            and one.capsule_id not in uplinks
            and places[provider] > places[one.capsule_id]
        ]

        assert ((), []) == (found.cycle, late)
        assert 4 == len([one for one in registry.dependencies() if one.version is not None])
