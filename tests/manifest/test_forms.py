"""Manifests as the runtimes since 0.2.0 read them, with the answers of their own code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from capsule_registry import CapsuleManifest, InvalidManifestError
from capsule_registry.manifest.forms import form_of
from capsule_registry.manifest.toml_document import parse_document
from support.vector_files import known_part, rows

if TYPE_CHECKING:
    from pathlib import Path

#: A runtime that reads everything; the vectors' own says 0.10.4, which did not read all.
TODAY = "2026.9.4"


def by_name(name: str) -> list[Any]:
    return [pytest.param(row, id=row["name"]) for row in rows(f"today/{name}")]


def load(row: dict[str, Any], directory: Path) -> CapsuleManifest:
    path = directory / "Capsule.toml"
    path.write_bytes(bytes.fromhex(row["toml_hex"]) if "toml_hex" in row else row["toml"].encode())
    named = "astrid-version" in row.get("toml", "")
    return CapsuleManifest.load(
        path, runtime_version=row.get("runtime", "0.10.4") if named else TODAY
    )


@pytest.mark.parametrize("row", by_name("manifest_cases"))
def test_a_manifest_is_read_as_by_todays_runtime(row: dict[str, Any], tmp_path: Path) -> None:
    """It is accepted, or refused with the same reason; what is read of it has the same values."""
    if not row["ok"]:
        with pytest.raises(InvalidManifestError) as caught:
            load(row, tmp_path)

        assert row["reason"] == caught.value.rule
        return
    found, expected = view(load(row, tmp_path)), without_spelling(row["today"])

    assert expected == known_part(found, expected)


def view(manifest: CapsuleManifest) -> dict[str, Any]:
    """Return what the vectors have of a manifest, under their names."""
    found = manifest.to_json()
    lists = ("component", "tool", "command", "uplink", "mcp_server")
    return {
        "metadata": found["package"]["metadata"],
        "capabilities": manifest.merged_capabilities.model_dump(mode="json"),
        "env": found["env"],
        **{f"{name}s": found[name] for name in lists},
        **{name: found[name] for name in ("publish", "subscribe") if name in found},
        **without_spelling({name: found.get(name, {}) for name in ("imports", "exports")}),
    }


def without_spelling(values: dict[str, Any]) -> dict[str, Any]:
    """Drop what the original spells in its own way: requirements, defaults, and handlers twice."""
    found = {name: value for name, value in values.items() if name != "interceptors"}
    for name in {"imports", "exports"} & found.keys():
        found[name] = {
            namespace: {
                interface: name == "imports" and one.get("optional", False)
                for interface, one in table.items()
            }
            for namespace, table in found[name].items()
        }
    if "components" in found:
        found["components"] = [{"file": one["file"]} for one in found["components"]]
    return found


@pytest.mark.parametrize("row", by_name("form_cases"))
def test_the_form_is_found_by_its_marks(row: dict[str, Any]) -> None:
    """What no runtime of the form takes is refused with its reason."""
    form = form_of(parse_document(row["toml"]).values)
    try:
        found = CapsuleManifest.parse(row["toml"]).form
    except InvalidManifestError as error:
        assert (row["form"], row["own"]) == (form, {"refused": error.rule})
    else:
        assert (row["form"], row["form"]) == (form, found)
        assert isinstance(row["own"], list)


@pytest.mark.parametrize("row", by_name("component_merge"))
@pytest.mark.parametrize(("runtime", "answers"), [(TODAY, "today"), ("0.10.4", "up_to_0_10_4")])
def test_capabilities_of_components_hold_for_the_capsule(
    row: dict[str, Any], runtime: str, answers: str
) -> None:
    """All of them today; until 0.10.4 five lists."""
    merged = CapsuleManifest.parse(row["toml"], runtime_version=runtime).merged_capabilities
    found = {name: getattr(merged, name) for name in row[answers]}

    assert row[answers] == {
        name: list(value) if isinstance(value, tuple) else value for name, value in found.items()
    }
