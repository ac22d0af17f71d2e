"""Manifests as values: parsed, refused, built in code, and kept to the byte."""

from __future__ import annotations

import hashlib
import json
import os
import random
import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from capsule_registry import CapsuleManifest, InvalidManifestError, discover
from support.factories import make_manifest, make_text

if TYPE_CHECKING:
    from pathlib import Path

NESTED = "[" * 70 + "]" * 70
TRAPS = {
    "brackets": "x = " + "[" * 10_000,
    "braces": "x = " + "{a=" * 10_000,
    "one dotted key": ".".join(["a"] * 32_000) + " = 1",
    "quoted dotted key": '."a"' * 60_000,
    "dotted header": "[" + ".".join(["a"] * 32_000) + "]",
    "many deep keys": "\n".join(f"k{n}." + ".".join(["a"] * 78) + " = 1" for n in range(1500)),
    "many deep headers": "\n".join(f"[k{n}." + ".".join(["a"] * 78) + "]" for n in range(1500)),
    "many tables": "\n".join(f"[k{n}]" for n in range(30_000)),
    "many arrays": "x = [" + "[]," * 80_000 + "]",
    "many deep arrays": "x = [" + f"{NESTED}," * 1800 + "]",
    "many inline tables": "x = [" + "{a=1}," * 43_000 + "]",
    "header and key and array": "[" + "a." * 79 + "a]\n" + "b." * 79 + f"b = {NESTED}",
    "unclosed multi-line strings": '\\"""\n' * 50_000,
    "strings that seem to open": '\\"""a"\n' * 37_000,
    "wrong settings": "[env]\n" + "".join(f"{n:x}=1\n" for n in range(19_000)),
    "empty settings": "".join(f"[env.x{n}]\n" for n in range(6_000)),
    "unclosed strings": 'x="a\n' * 40_000,
    "a long integer": "x = " + "9" * 260_000,
    "a long hexadecimal": "x = 0x" + "f" * 260_000,
    "a long float": "x = 1e" + "9" * 260_000,
    "backslashes": "\\" * 260_000,
    "quotes": '"' * 260_000,
    "escapes": 'x = "' + "\\u0041" * 43_000 + '"',
    "new lines": "\n" * 260_000,
    "over the limit": "#" * (256 * 1024 + 1),
}


@pytest.mark.stress
@pytest.mark.parametrize("name", TRAPS)
def test_a_trap_is_cheap(name: str) -> None:
    """Any bytes cost little time and at most 64 MiB, and raise only the typed error."""
    text = TRAPS[name]
    started = time.process_time()
    refused(text)
    elapsed = time.process_time() - started
    tracemalloc.start()
    refused(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # Each takes under 0.2 s on an idle processor; undetected, a trap takes minutes.
    assert elapsed < 5
    assert peak < 64 * 2**20


def refused(text: str) -> str | None:
    try:
        CapsuleManifest.parse(text)
    except InvalidManifestError as error:
        return error.rule
    return None


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("x = " + "[" * 81 + "]" * 81, "toml_syntax"),
        ("a." * 80 + "b = 1", "toml_syntax"),
        ("x = [" + "1," * 20_001 + "]", "too_complex"),
        ("#" * (256 * 1024 + 1), "too_large"),
        ("x = 2024-02-30", "toml_syntax"),
        ("x = '\ud800'", "not_utf8"),
    ],
)
def test_bounds_have_their_rules(text: str, rule: str) -> None:
    """Each bound has its own rule, and just below it the manifest is accepted."""
    assert rule == refused(make_text(extra=text))


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 78 + "]" * 78,
        "a." * 77 + "b = 1",
        'x = "' + "[" * 500 + '"',
        "x = '''" + "a." * 500 + "'''",
        '# """ ' + "[" * 500,
        'x = """a""b\\"""c""""',
        "x = [" + "1," * 9_000 + "]",
    ],
)
def test_what_is_within_the_bounds_is_accepted(text: str) -> None:
    """Brackets and dots in strings and comments do not count."""
    assert refused(make_text(extra=text)) is None


@settings(max_examples=400)
@given(data=st.binary(max_size=300))
def test_no_bytes_raise_anything_else(
    data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Random bytes give a manifest or the typed error."""
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    path.write_bytes(data)
    try:
        CapsuleManifest.load(path)
    except InvalidManifestError as error:
        assert str(path) in str(error)


def test_mutated_manifests_raise_nothing_else(corpus: Path) -> None:
    """Real manifests with bytes changed, cut and moved give a manifest or the typed error."""
    source = random.Random(7)  # noqa: S311 - the same mutations each time
    texts = [path.read_bytes() for path in (corpus / "manifests").rglob("Capsule.toml")]
    for _ in range(3000):
        data = bytearray(source.choice(texts))
        for _ in range(source.randint(1, 4)):
            place, length = source.randrange(len(data) + 1), source.randint(0, 30)
            other = source.choice(texts)
            start = source.randrange(len(other))
            data[place : place + length] = other[start : start + source.randint(0, 30)]
        refused(data.decode(errors="replace"))


def test_the_first_thing_wrong_in_the_document_is_reported() -> None:
    """Shape is checked before rules, and shapes in reading order."""
    text = make_text(extra='astrid-version = "x"\n[[tool]]\nname = 1\n[[uplink]]\nprofile = "x"\n')
    with pytest.raises(InvalidManifestError) as caught:
        CapsuleManifest.parse(text)

    assert ("wrong_type", "tool.0.name") == (
        caught.value.rule,
        caught.value.message.split(":")[0],
    )


def test_text_is_kept_to_the_byte(tmp_path: Path) -> None:
    """`text` keeps byte order mark, line ends and comments, and the digest is of the bytes."""
    data = ("\ufeff" + make_text(extra="# ünï\r\n\r\n")).encode()
    path = tmp_path / "Capsule.toml"
    path.write_bytes(data)
    manifest = CapsuleManifest.load(path)

    assert data == manifest.text.encode()
    assert hashlib.sha256(data).hexdigest() == manifest.digest
    assert "toml" == manifest.format


def test_a_manifest_built_in_code_has_canonical_text() -> None:
    """Its text is JSON that parses to an equal manifest."""
    manifest = make_manifest(env={"B": {"type": "string"}, "A": {"type": "x", "default": 1.5}})

    assert "json" == manifest.format
    assert manifest == CapsuleManifest.model_validate(json.loads(manifest.text))


def test_manifests_that_say_the_same_are_equal() -> None:
    """Comments and layout do not count; any differing value does, known or not."""
    plain = CapsuleManifest.parse(make_text())

    assert plain == CapsuleManifest.parse(make_text(extra="# a comment\n"))
    assert plain != CapsuleManifest.parse(make_text(extra="edition = '2024'\n"))
    assert plain != CapsuleManifest.parse(make_text("beta"))


def test_a_changed_copy_forgets_the_text() -> None:
    """A copy with other values cannot be registered under the original's text."""
    parsed = CapsuleManifest.parse(make_text())
    changed = parsed.model_copy(update={"package": make_manifest("beta").package})

    assert ("toml", "json") == (parsed.model_copy().format, changed.format)
    assert '"name":"beta"' in changed.text


def test_unknown_keys_stay_in_their_places() -> None:
    """The JSON form keeps keys unknown to 0.2.0 in place, whatever their shape."""
    extra = "edition = '2024'\n[publish.'a.b']\nwit = 'x'\n[[component]]\nfile = 'f'\nasset = 1\n"
    found = CapsuleManifest.parse(make_text(extra=extra)).to_json()

    assert "2024" == found["package"]["edition"]
    assert {"a.b": {"wit": "x"}} == found["publish"]
    assert 1 == found["component"][0]["asset"]


def test_a_field_name_of_ours_is_still_an_unknown_key() -> None:
    """The file key is `license-file`; `license_file` is unknown to the original, and kept."""
    found = CapsuleManifest.parse(make_text(extra="license_file = 'L'\n")).to_json()["package"]

    assert (None, "L") == (found["license-file"], found["license_file"])


def test_manifests_are_frozen() -> None:
    """Neither a field nor a list in it can be changed."""
    manifest = make_manifest(capabilities={"net": ["a"]})
    with pytest.raises(ValidationError):
        manifest.capabilities.uplink = True  # type: ignore[misc]

    assert ("a",) == manifest.capabilities.net


def test_a_pipe_is_no_manifest(tmp_path: Path) -> None:
    """A named pipe without a writer is refused instead of waited for."""
    os.mkfifo(tmp_path / "Capsule.toml")
    for path in (tmp_path / "Capsule.toml", "a\0b", "/\udcff/\ud800"):
        with pytest.raises(InvalidManifestError) as caught:
            CapsuleManifest.load(path)
        assert "io" == caught.value.rule


def test_discovery_looks_one_level_deep(tmp_path: Path) -> None:
    """A file, a capsule's directory, or a directory of those; no other spelling of the name."""
    for name in ("b", "a", ".hidden", "deep/er"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "Capsule.toml").touch()
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "capsule.toml").touch()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "Capsule.toml").touch()

    assert [
        ".hidden/Capsule.toml",
        "Capsule.toml",
        "a/Capsule.toml",
        "b/Capsule.toml",
        "link/Capsule.toml",
    ] == [str(path.relative_to(tmp_path)) for path in discover(tmp_path)]
    assert [tmp_path / "a" / "Capsule.toml"] == [*discover(tmp_path / "a")]
    assert [tmp_path / "x.toml"] == [*discover(_touched(tmp_path / "x.toml"))]
    with pytest.raises(FileNotFoundError):
        [*discover(tmp_path / "missing")]


def _touched(path: Path) -> Path:
    path.touch()
    return path
