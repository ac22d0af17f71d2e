"""The house rules that can be checked."""

from __future__ import annotations

import ast
import gc
import re
import subprocess
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import grimp
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[2]
PACKAGE = CHECKOUT / "src" / "capsule_registry"
SOURCES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))


@cache
def parsed(path: Path) -> ast.Module:
    """Parse without collecting garbage: finalizers that run meanwhile upset CPython 3.11."""
    gc.disable()
    try:
        return ast.parse(path.read_text())
    finally:
        gc.enable()


@cache
def imports() -> dict[str, set[str]]:
    """Return which modules each module imports, for type checkers included."""
    graph = grimp.build_graph("capsule_registry", cache_dir=None)
    return {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}


def strings(tree: ast.Module) -> Iterator[ast.Constant]:
    """Yield the string constants of *tree* that are no docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings: set[ast.expr] = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, documented) and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            yield from {node} - docstrings


def test_the_root_holds_the_ground_alone() -> None:
    """At the root stand at most eight modules; everything else is in one of fourteen rooms."""
    modules = [path.name for path in PACKAGE.glob("*.py")]

    assert len(modules) <= 8, modules
    assert 14 == len(ROOMS)


def test_no_module_imports_itself_through_others() -> None:
    """Imports make no circles, inside rooms and for type checkers too."""
    TopologicalSorter(imports()).prepare()  # raises CycleError, with the circle


def test_rooms_are_on_nine_floors() -> None:
    """At most nine rooms stand above each other."""
    below: dict[str, set[str]] = {room.name: set() for room in ROOMS}
    for importer, imported in imports().items():
        _, room, *_ = [*importer.split("."), ""]
        if room in below:
            rooms = {name.split(".")[1] for name in imported if "." in name}
            below[room] |= rooms & below.keys() - {room}
    floors: dict[str, int] = {}
    for room in TopologicalSorter(below).static_order():
        floors[room] = 1 + max((floors[name] for name in below[room]), default=0)

    assert max(floors.values()) <= 9, floors


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_says_what_it_is(room: Path) -> None:
    """In two or three sentences: what lives there, what it may import, and where to begin."""
    said = ast.get_docstring(parsed(room / "__init__.py")) or ""

    assert len(re.findall(r"\.(?=\s|$)", said)) in (2, 3)
    assert "import" in said
    (module,) = re.findall(r"[Bb]egin\s+with\s+`(\w+)`", said)
    assert (room / f"{module}.py").exists() or (room / module).is_dir()


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
    """What differs from one database to another stands in a module for each, SQL included."""
    named = re.compile("sqlite|postgres|mariadb|mysql|galera|wsrep|pragma", re.IGNORECASE)
    exempt = {
        PACKAGE / "__init__.py",  # says in which module each public name is
        PACKAGE / "cli" / "main.py",  # its help shows URLs
        PACKAGE / "cli" / "target.py",  # opens an empty database by its URL
    }
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}: {node.value!r}"
        for path in SOURCES
        if path.parent.name != "dialects" and path not in exempt
        for node in strings(parsed(path))
        if named.search(str(node.value))
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
    """Raw SQL is a constant, or a PRAGMA or SHOW of one of our own names."""
    allowed = {
        "sqlite_connections.py",
        "sqlite_dump.py",
        "mariadb_catalog.py",
        "upgrade.py",
        "admin.py",
    }  # Neither PRAGMA nor SHOW takes parameters.
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


def test_helpers_of_tests_and_stress_have_names_of_their_own() -> None:
    """Both folders are one package, `support`, in which a second module of a name is not found."""
    names = [
        path.name for top in ("tests", "stress") for path in CHECKOUT.glob(f"{top}/support/*.py")
    ]

    assert sorted(set(names)) == sorted(names)
