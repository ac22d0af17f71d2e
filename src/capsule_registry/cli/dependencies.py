"""The commands on dependencies and interceptors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from capsule_registry.api import json_shapes
from capsule_registry.cli.exit_codes import PARTLY_FAILED
from capsule_registry.cli.output import (
    escape,
    format_option,
    print_json,
    print_rows,
    text_format_option,
)
from capsule_registry.cli.target import at_option, listing, pass_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capsule_registry import Dependency, RegistryReader
    from capsule_registry.cli.target import Target


#: Characters special to Mermaid or HTML, and their escapes; `#` must be first.
_MERMAID = (("#", "#35;"), ("&", "#amp;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;"))


@click.command
@click.argument("topic")
@listing("capsule_id", "action")
def interceptors(registry: RegistryReader, topic: str) -> Iterator[dict[str, Any]]:
    """List the actions that an event of TOPIC calls for, of the capsules that are ready."""
    return map(json_shapes.interceptor, registry.interceptors(topic))


@click.command
@click.argument("capability")
@click.option("--version", default="*", help="Of an interface: the versions that will do.")
@listing("capsule_id", "capability", "version", "state")
def providers(registry: RegistryReader, capability: str, version: str) -> Iterator[dict[str, Any]]:
    """List all who offer what meets the requirement CAPABILITY, such as topic:llm.*."""
    return map(json_shapes.by_fields, registry.providers(capability, version=version))


@click.command
@listing("capsule_id", "interface", "version", "state")
def exports(registry: RegistryReader) -> Iterator[dict[str, Any]]:
    """List the interfaces that capsules export, in the order of registration."""
    return map(json_shapes.by_fields, registry.exports())


@click.command
@click.option(
    "--required/--optional",
    default=None,
    help="Only those without which a capsule does not work, or only the others.",
)
@at_option
@format_option
@click.pass_context
def unmet(
    ctx: click.Context, output_format: str, moment: dict[str, Any] | None, *, required: bool | None
) -> None:
    """List the requirements and imports that nobody meets; exit 1 if one is required."""
    target: Target = ctx.obj
    with target.view(moment) as registry:
        found = registry.unmet(required=required)
    rows = [*map(json_shapes.by_fields, found)]
    print_rows(rows, ("capsule_id", "requirement", "version", "optional"), output_format)
    if not all(one.optional for one in found):
        ctx.exit(PARTLY_FAILED)


@click.command("boot-order")
@at_option
@text_format_option
@click.pass_context
def boot_order(ctx: click.Context, output_format: str, moment: dict[str, Any] | None) -> None:
    """Print the ids in the order in which capsules start; exit 1 if some wait in a circle."""
    target: Target = ctx.obj
    with target.view(moment) as registry:
        found = registry.boot_order()
    if output_format == "json":
        print_json(json_shapes.by_fields(found))
    else:
        for capsule_id in found.order:
            click.echo(capsule_id)
    for one in found.unmet:
        wants = "would use" if one.optional else "requires"
        click.echo(f"unmet: {one.capsule_id} {wants} {escape(_wanted(one))}", err=True)
    for rivals in found.shared:
        who = ", ".join(rivals.exporters)
        click.echo(f"several export {escape(rivals.interface)}: {who}", err=True)
    if found.cycle:
        click.echo(f"in a circle, or waiting for one: {', '.join(found.cycle)}", err=True)
        ctx.exit(PARTLY_FAILED)


@click.command
@at_option
@click.option(
    "--format",
    "language",
    type=click.Choice(["dot", "mermaid"]),
    default="dot",
    show_default=True,
    help="For Graphviz, or for Markdown.",
)
@pass_target
def graph(target: Target, language: str, moment: dict[str, Any] | None) -> None:
    """Draw who needs whom: an arrow from each capsule to all who provide what it requires."""
    with target.view_at_once(moment) as registry:
        capsule_ids, found = registry.list(), registry.dependencies()
    for line in {"dot": _dot, "mermaid": _mermaid}[language](capsule_ids, found):
        click.echo(line)


def _wanted(one: Dependency) -> str:
    return one.requirement if one.version is None else f"{one.requirement} {one.version}"


def _dot(capsule_ids: list[Any], found: list[Dependency]) -> list[str]:
    def quoted(text: str) -> str:
        shown = escape(text).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{shown}"'

    lines = [f"  {quoted(one)};" for one in capsule_ids]
    for one in found:
        label = quoted(_wanted(one))
        lines += [
            f"  {quoted(one.capsule_id)} -> {quoted(provider)} [label={label}];"
            for provider in one.providers
        ]
        if not one.providers:
            missing = quoted(f"unmet {_wanted(one)}")
            lines.append(f"  {missing} [label={label}, style=dashed];")
            lines.append(f"  {quoted(one.capsule_id)} -> {missing} [style=dashed];")
    return ["digraph capsules {", *lines, "}"]


def _mermaid(capsule_ids: list[Any], found: list[Dependency]) -> list[str]:
    def quoted(text: str) -> str:
        shown = escape(text)
        for character, code in _MERMAID:
            shown = shown.replace(character, code)
        return f'"{shown}"'

    names = {one: f"c{number}" for number, one in enumerate(capsule_ids)}
    lines = [f"  {name}[{quoted(one)}]" for one, name in names.items()]
    for number, one in enumerate(found):
        label, needing = quoted(_wanted(one)), names[one.capsule_id]
        lines += [f"  {needing} -->|{label}| {names[provider]}" for provider in one.providers]
        if not one.providers:
            lines.append(f"  {needing} -.-> u{number}({label})")
    return ["flowchart LR", *lines]


commands = (interceptors, providers, exports, unmet, boot_order, graph)
