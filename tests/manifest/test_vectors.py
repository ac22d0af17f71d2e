"""Made-up inputs, with the answers of the original code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from capsule_registry import (
    CapsuleId,
    CapsuleManifest,
    DependencyCycleError,
    InvalidCapsuleIdError,
    InvalidManifestError,
    InvalidUplinkSourceError,
    UplinkProfile,
    UplinkSource,
    boot_order,
    capability_matches,
    normalize_platform,
    topic_matches,
)
from capsule_registry.manifest.matching import has_valid_segments
from capsule_registry.manifest.semver import Requirement, SemverError, Version
from support.vector_files import known_part, rows

if TYPE_CHECKING:
    from pathlib import Path

#: Rows that would need a TOML parser of our own.
ONLY_BY_A_PARSER_OF_OUR_OWN = {
    "leap second in unknown key": "tomllib has no second 60, since datetime has none",
}


def manifest_cases() -> list[Any]:
    marks = {
        name: pytest.mark.xfail(reason=reason)
        for name, reason in ONLY_BY_A_PARSER_OF_OUR_OWN.items()
    }
    return [
        pytest.param(row, id=row["name"], marks=marks.get(row["name"], ()))
        for row in rows("manifest_cases")
    ]


def load(row: dict[str, Any], directory: Path) -> CapsuleManifest:
    path = directory / "Capsule.toml"
    if "toml_hex" in row:
        path.write_bytes(bytes.fromhex(row["toml_hex"]))
    elif row["toml"] is not None:
        path.write_bytes(row["toml"].encode())
    elif "directory" in row["name"]:
        path.mkdir()
    return CapsuleManifest.load(path, runtime_version="0.2.0")


@pytest.mark.parametrize("row", manifest_cases())
def test_a_manifest_is_accepted_or_refused_as_by_the_original(
    row: dict[str, Any], tmp_path: Path
) -> None:
    """Verdict, rule, message, parsed form and effective provides are the original's."""
    if not row["ok"]:
        with pytest.raises(InvalidManifestError) as caught:
            load(row, tmp_path)

        assert row["reason"] == caught.value.rule
        assert (row.get("message") or "") in caught.value.message
        return

    manifest = load(row, tmp_path)

    assert row["manifest"] == known_part(manifest.to_json(), row["manifest"])
    assert row["effective_provides"] == list(manifest.effective_provides)


@pytest.mark.parametrize("row", rows("capsule_id"), ids=lambda row: repr(row["id"]))
def test_ids_and_sources_have_the_original_grammars(row: dict[str, Any]) -> None:
    """A capsule id and the stricter source of an uplink accept what the original accepts."""
    error = row["capsule_id_error"]
    if error is None:
        assert row["id"] == CapsuleId(row["id"])
    else:
        with pytest.raises(InvalidCapsuleIdError) as caught:
            CapsuleId(row["id"])
        assert error == f"Unsupported entry point: {caught.value}"

    for make, kind in ((UplinkSource.wasm, "wasm"), (UplinkSource.openclaw, "openclaw")):
        if row["uplink_source_error"] is None:
            source = make(row["id"])
            assert row[f"{kind}_display"] == str(source)
            assert row[f"{kind}_json"] == source.model_dump(mode="json")
            assert source == UplinkSource.model_validate_json(source.model_dump_json())
        else:
            with pytest.raises(InvalidUplinkSourceError) as refused:
                make(row["id"])
            expected = f"Failed to create source: {row['uplink_source_error']}"
            assert expected == str(refused.value)


@pytest.mark.parametrize("row", rows("uplink_profile"), ids=lambda row: repr(row["s"]))
def test_profiles_are_read_leniently_from_text_and_strictly_from_json(row: dict[str, Any]) -> None:
    """`parse` folds case and trims; the manifest and JSON take only the four names."""
    if row["from_str"] is None:
        with pytest.raises(ValueError, match="unknown uplink profile") as caught:
            UplinkProfile.parse(row["s"])
        assert row["from_str_error"] == str(caught.value)
    else:
        assert row["from_str"] == UplinkProfile.parse(row["s"])

    assert (row["serde"] is not None) == (row["s"] in [*UplinkProfile])


def test_versions_are_valid_or_not_with_the_original_words() -> None:
    """Every version of the vectors gives the original's answer."""
    for row in rows("semver_version"):
        try:
            Version.parse(row["version"])
        except SemverError as error:
            assert (False, row["detail"]) == (row["valid"], str(error))
        else:
            assert row["valid"], row["version"]


def test_requirements_match_the_versions_that_cargo_says() -> None:
    """Every requirement of the vectors gives the original's answer for every version."""
    for row in rows("semver_req"):
        try:
            requirement = Requirement.parse(row["req"])
        except SemverError as error:
            assert (False, row["error"]) == (row["valid"], str(error)), row["req"]
            continue
        assert row["valid"], row["req"]
        found = {text: requirement.matches(Version.parse(text)) for text in row["matches"]}
        assert row["matches"] == found, row["req"]


def test_platforms_are_normalised_as_by_rust() -> None:
    """Unicode white space is trimmed, and ASCII letters are lowercased."""
    expected = {row["in"]: row["out"] for row in rows("normalize_platform")}

    assert expected == {text: normalize_platform(text) for text in expected}


def test_topics_and_capabilities_match_as_by_the_original() -> None:
    """Every pair of the vectors gives the original's answer."""
    for row in rows("valid_segments"):
        assert row["valid"] == has_valid_segments(row["s"]), row
    for row in rows("topic_matches"):
        assert row["matches"] == topic_matches(row["topic"], row["pattern"]), row
    for row in rows("capability_matches"):
        assert row["matches"] == capability_matches(row["requirement"], row["provided"]), row


@pytest.mark.parametrize("row", rows("toposort"), ids=lambda row: row["name"])
def test_boot_order_is_the_kernels(row: dict[str, Any], request: pytest.FixtureRequest) -> None:
    """Providers before consumers, uplink capsules first; a cycle names all that it blocks."""
    if "input_ids" in row:
        folders = {path.name[-12:]: path for path in _manifests(request)}
        given = [CapsuleManifest.load(folders[key] / "Capsule.toml") for key in row["input_ids"]]
    else:
        given = [CapsuleManifest.parse(text) for text in row["input"]]

    if "error" in row:
        with pytest.raises(DependencyCycleError) as caught:
            boot_order(given)
        assert row["error"] == str(caught.value)
        assert row["boot"] == list(caught.value.fallback)
        return

    order = boot_order(given)
    places = {id(manifest): index for index, manifest in enumerate(given)}
    assert row["boot"] == [places[id(manifest)] for manifest in order]


def _manifests(request: pytest.FixtureRequest) -> list[Path]:
    corpus: Path = request.getfixturevalue("corpus")
    return [*(corpus / "manifests").iterdir()]
