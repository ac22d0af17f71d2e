"""The house rules that can be checked."""

from __future__ import annotations

import ast
import gc
import subprocess
from functools import cache
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
SOURCES = sorted((CHECKOUT / "src").rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    """Parse without collecting garbage: finalizers that run meanwhile upset CPython 3.11."""
    gc.disable()
    try:
        return ast.parse(path.read_text())
    finally:
        gc.enable()


def test_modules_and_classes_are_small() -> None:
    """No module over 400 lines, no class over 350."""
    too_large = []
    for path in SOURCES:
        text = path.read_text()
        if text.count("\n") > 400:
            too_large.append(path.name)
        too_large += [
            f"{path.name}:{node.name}"
            for node in ast.walk(parsed(path))
            if isinstance(node, ast.ClassDef) and (node.end_lineno or 0) - node.lineno >= 350
        ]

    assert [] == too_large


def test_functions_fit_on_a_screen() -> None:
    """No function over 60 lines, its docstring included."""
    assert [] == [
        f"{path.name}:{node.name}"
        for path in SOURCES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= 60
    ]


def test_only_dialects_names_a_database() -> None:
    """What differs from one database to another stands in one module."""
    named = {"sqlite", "postgresql", "mariadb", "mysql"}
    found = [
        f"{path.name}:{node.lineno}"
        for path in SOURCES
        if path.parent.name != "dialects"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Constant) and node.value in named
    ]

    assert [] == found


@pytest.mark.parametrize("banned", ["pickle", "marshal", "yaml", "shelve"])
def test_nothing_unsafe_is_deserialised(banned: str) -> None:
    """No module that can run code from data is imported."""
    assert [] == [
        path.name
        for path in SOURCES
        for node in ast.walk(parsed(path))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
        if name.split(".")[0] == banned
    ]


def test_sql_is_never_put_together_from_values() -> None:
    """Raw SQL is a constant, or a PRAGMA of one of our own settings."""
    allowed = {"sqlite_file.py", "upgrade.py", "admin.py"}  # PRAGMA takes no parameters
    found = [
        f"{path.name}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(parsed(path))
        if (
            isinstance(node, ast.Call)
            and getattr(node.func, "id", getattr(node.func, "attr", ""))
            in ("text", "literal_column")
            and not (node.args and isinstance(node.args[0], ast.Constant))
        )
        or (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", "") in ("exec_driver_sql", "execute")
            and node.args
            and isinstance(node.args[0], ast.JoinedStr)
            and path.name not in allowed
        )
    ]

    assert [] == found


def test_no_manifest_of_the_corpus_is_committed() -> None:
    """Other people's manifests are read where they are; only our own examples are in the tree."""
    listed = subprocess.run(
        ["git", "ls-files", "*Capsule.toml"],  # noqa: S607 - git is wherever it is
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("this is no git checkout")

    assert all(line.startswith("examples/") for line in listed.stdout.splitlines())
