"""
The signatures of the asyncio verbs, for type checkers and editors, taken from the plain classes.

After a change of a verb: python tests/support/stubs.py
"""

from __future__ import annotations

import ast
import builtins
import inspect
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capsule_registry.aio import verbs
from capsule_registry.aio.coroutines import is_iterator

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = Path(verbs.__file__).with_suffix(".pyi")
_HEAD = "# Generated from the plain classes by tests/support/stubs.py."


def stub() -> str:
    """Return the text of `verbs.pyi`."""
    names = {"AsyncIterator": "from collections.abc"}
    tree = ast.parse(inspect.getsource(verbs))
    classes = [_class(node, names) for node in tree.body if isinstance(node, ast.ClassDef)]
    variables = [node for node in tree.body if _is_type_variable(node)]
    _note(variables, verbs, names)
    imports = [f"{source} import {name}".strip() for name, source in names.items()]
    return _formatted("\n".join([_HEAD, *imports, *map(ast.unparse, variables), *classes]) + "\n")


def _formatted(text: str) -> str:
    for arguments in (["check", "--fix", "--quiet", "--select", "I"], ["format"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", str(FILE), "-"]
        text = subprocess.run(
            command, input=text, capture_output=True, text=True, check=True
        ).stdout
    return text


def _is_type_variable(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and "TypeVar" in ast.unparse(node.value)


def _class(node: ast.ClassDef, names: dict[str, str]) -> str:
    """Return the stub of a class of `verbs`; note in *names* the modules of what it mentions."""
    cls = getattr(verbs, node.name)
    own = [item for item in node.body if isinstance(item, ast.FunctionDef)]
    shown = [_declared(item, verbs, names) for item in own]
    generated = [name for name in vars(cls) if name[0] != "_" and name not in {o.name for o in own}]
    plain = next((word.value for word in node.keywords if word.arg == "of"), None)
    if isinstance(plain, ast.Name):
        shown += [_generated(getattr(verbs, plain.id), name, names) for name in generated]
    bases = ", ".join(map(ast.unparse, node.bases))
    _note(node.bases, verbs, names)
    return f"class {node.name}({bases}):\n" + textwrap.indent("\n".join(shown), "    ")


def _generated(plain: type, name: str, names: dict[str, str]) -> str:
    """Return the declaration of the verb that is made of *name* of a *plain* class."""
    member = getattr(plain, name)
    function: Any = member.fget if isinstance(member, property) else member
    node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(node, ast.FunctionDef)
    node.decorator_list = [ast.Name("property")] if isinstance(member, property) else []
    if is_iterator(member):
        node.returns = ast.parse("Async" + ast.unparse(node.returns or node), mode="eval").body
        return _declared(node, inspect.getmodule(function), names)
    return _declared(node, inspect.getmodule(function), names, "async ")


def _declared(node: ast.FunctionDef, module: Any, names: dict[str, str], before: str = "") -> str:
    """Return the declaration of a function."""
    node.body = [ast.Expr(ast.Constant(...))]
    node.args.defaults = [*map(_default, node.args.defaults)]
    node.args.kw_defaults = [one and _default(one) for one in node.args.kw_defaults]
    _note([node.args, *([node.returns] if node.returns else [])], module, names)
    text = ast.unparse(node)
    return text.replace("def ", f"{before}def ", 1)


def _default(value: ast.expr) -> ast.expr:
    return value if isinstance(value, (ast.Constant, ast.Tuple)) else ast.Constant(...)


def _note(nodes: list[Any], module: Any, names: dict[str, str]) -> None:
    """Note where the names that *nodes* of a *module* mention come from."""
    known = dict(_imported(module))
    for name in _mentioned(nodes):
        if name in known:
            names[name] = known[name]
        elif module is not verbs and name not in names and not hasattr(builtins, name):
            names[name] = f"from {module.__name__}"


def _mentioned(nodes: list[Any]) -> Iterator[str]:
    for found in (found for node in nodes for found in ast.walk(node)):
        if isinstance(found, ast.Name):
            if found.id == "list":  # Here that is a verb.
                found.id = "builtins.list"
            yield found.id.partition(".")[0]


def _imported(module: Any) -> Iterator[tuple[str, str]]:
    """Yield the names that a module imports, each with how its import begins."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ImportFrom):
            yield from ((one.name, f"from {node.module}") for one in node.names)
        elif isinstance(node, ast.Import):
            yield from ((one.name, "") for one in node.names)


if __name__ == "__main__":
    FILE.write_text(stub())
