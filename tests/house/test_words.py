"""Commands that pages, docstrings and remedies name are ones that exist."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from capsule_registry.cli.main import SUMMARIES, capsule_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[2]
#: Without the changelog, which may name what is gone.
PAGES = sorted({*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/*.md")} - {CHECKOUT / "CHANGELOG.md"})
SOURCES = sorted((CHECKOUT / "src").rglob("*.py"))
_BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_OURS = re.compile(r"(?:^|[\s/(])capsule-registry ([^|;&>]+)")
_SCRIPT = re.compile(r"python ((?:stress|benchmarks|tests)/\S+\.py)([^|;&>]*)")


def spans(text: str) -> Iterator[str]:
    """Yield each line of code and each piece between backticks of *text*."""
    for block in _BLOCK.findall(text):
        yield from block.splitlines()
    yield from re.findall(r"`([^`]+)`", _BLOCK.sub("", text))


def command_lines(text: str) -> Iterator[str]:
    """Yield the words after the command's name wherever *text* shows a command line."""
    groups = [name for name in SUMMARIES if isinstance(found(name), click.Group)]
    shortened = re.compile(rf"(?:{'|'.join(groups)}) [a-z-]")
    for span in spans(text):
        yield from _OURS.findall(span)
        if shortened.match(span):
            yield span


def found(name: str) -> click.Command | None:
    return capsule_registry.get_command(click.Context(capsule_registry), name)


def fault(line: str) -> str | None:
    """Return the word of a command *line* that the command does not know."""
    command: click.Command = capsule_registry
    words = iter(shlex.split(line.replace("[", " ").replace("]", " ").replace("…", "")))
    for word in words:
        if word.startswith("-"):
            option = next((one for one in command.params if word in one.opts), None)
            if option is None and word not in ("-h", "--help"):
                return word
            if isinstance(option, click.Option) and not option.is_flag:
                next(words, None)
        elif isinstance(command, click.Group) and not word.isupper():
            inner = command.get_command(click.Context(command), word)
            if inner is None:
                return word
            command = inner
    return None


def texts_of(source: Path) -> Iterator[str]:
    """Yield the strings of a module; what is filled in is shown as X."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values
            )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_exists(page: Path) -> None:
    """Its subcommand and its options too."""
    lines = [*command_lines(page.read_text())]

    assert [] == [(line, word) for line in lines if (word := fault(line))]


def test_every_command_in_the_source_exists() -> None:
    """In docstrings, help and what errors say is to be done."""
    lines = [line for path in SOURCES for text in texts_of(path) for line in command_lines(text)]

    assert "audit head" in lines
    assert [] == [(line, word) for line in lines if (word := fault(line))]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("history", "history"),
        ("db query", "query"),
        ("--databse X list", "--databse"),
        ("--database X audit verify --ancor FILE", "--ancor"),
        ("audit verify --anchor FILE", None),
        ("[--database URL] [--reason TEXT] COMMAND …", None),
    ],
)
def test_a_command_that_does_not_exist_is_noticed(line: str, word: str | None) -> None:
    """The control."""
    assert [line] == [*command_lines(f"`capsule-registry {line}`")]
    assert word == fault(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_script_of_a_page_exists(page: Path) -> None:
    """And has the options that are shown with it."""
    for span in spans(page.read_text()):
        for script, rest in _SCRIPT.findall(span):
            text = (CHECKOUT / script).read_text()
            support = [path.read_text() for path in (CHECKOUT / script).parent.rglob("*.py")]
            for option in re.findall(r"--[a-z-]+", rest):
                assert option in text or any(option in one for one in support), span
