"""The commands on dependencies and interceptors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from capsule_registry.api import json_shapes
from capsule_registry.cli.exit_codes import PARTLY_FAILED
from capsule_registry.cli.output import escape, print_json, text_format_option
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
@listing("capsule_id", "capability", "state")
def providers(registry: RegistryReader, capability: str) -> Iterator[dict[str, Any]]:
    """List all who offer what meets the requirement CAPABILITY, such as topic:llm.*."""
    return map(json_shapes.by_fields, registry.providers(capability))


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
        click.echo(f"unmet: {one.capsule_id} requires {escape(one.requirement)}", err=True)
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


def _dot(capsule_ids: list[Any], found: list[Dependency]) -> list[str]:
    def quoted(text: str) -> str:
        shown = escape(text).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{shown}"'

    lines = [f"  {quoted(one)};" for one in capsule_ids]
    for one in found:
        label = quoted(one.requirement)
        lines += [
            f"  {quoted(one.capsule_id)} -> {quoted(provider)} [label={label}];"
            for provider in one.providers
        ]
        if not one.providers:
            unmet = quoted(f"unmet {one.requirement}")
            lines.append(f"  {unmet} [label={label}, style=dashed];")
            lines.append(f"  {quoted(one.capsule_id)} -> {unmet} [style=dashed];")
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
        label, needing = quoted(one.requirement), names[one.capsule_id]
        lines += [f"  {needing} -->|{label}| {names[provider]}" for provider in one.providers]
        if not one.providers:
            lines.append(f"  {needing} -.-> u{number}({label})")
    return ["flowchart LR", *lines]


commands = (interceptors, providers, boot_order, graph)
