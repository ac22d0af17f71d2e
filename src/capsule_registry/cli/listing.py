"""The commands that list and show what is registered; none of them creates anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

import capsule_registry as library
from capsule_registry.api import json_shapes
from capsule_registry.cli.exit_codes import NOT_FOUND
from capsule_registry.cli.output import (
    FORMS,
    STATES,
    escape,
    print_json,
    print_text,
    text_format_option,
)
from capsule_registry.cli.target import Target, at_option, listing, pass_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capsule_registry import RegisteredCapsule, RegistryReader


@click.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--form", type=click.Choice(FORMS), help="Only those read in this form.")
@listing("id", "version", "state", "form", "generation", "registered_at")
def list_capsules(
    registry: RegistryReader, state: str | None, form: str | None
) -> Iterator[dict[str, Any]]:
    """List the registered capsules, in the order of their registration."""
    return map(json_shapes.capsule_summary, registry.summaries(state=state, form=form))


@click.command
@click.argument("capsule_id", metavar="ID")
@at_option
@text_format_option
@pass_target
def show(
    target: Target, capsule_id: str, output_format: str, moment: dict[str, Any] | None
) -> None:
    """Show all of one capsule, its manifest included."""
    with target.view(moment) as registry:
        capsule = registry.get(capsule_id)
    if capsule is None:
        raise library.CapsuleNotFoundError(capsule_id)
    if output_format == "json":
        print_json(json_shapes.capsule(capsule))
    else:
        _print_capsule(capsule)


def _print_capsule(capsule: RegisteredCapsule) -> None:
    for name, value in json_shapes.capsule_summary(capsule).items():
        click.echo(f"{name.replace('_', ' ')}: {escape('' if value is None else str(value))}")
    click.echo("")
    print_text(capsule.manifest_text)


@click.command
@click.option("--platform", help="Of this platform only, however it is written.")
@click.option("--profile", type=click.Choice(["chat", "interactive", "notify", "bridge"]))
@click.option("--capsule", "capsule_id", metavar="ID", help="Of this capsule only.")
@listing("capsule_id", "name", "platform", "profile", "id", "registered_at")
def uplinks(registry: RegistryReader, **conditions: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - passed on
    """List the uplinks, in the order of their registration."""
    return map(json_shapes.uplink, registry.find_uplinks(**conditions))


@click.command
@click.argument("name", required=False)
@listing("name", "capsule_id", "routed", "mutable", "description")
def tools(registry: RegistryReader, name: str | None) -> Iterator[dict[str, Any]]:
    """List the tools of all capsules, or every tool called NAME."""
    found = registry.tools() if name is None else registry.find_tool(name)
    return map(json_shapes.by_fields, found)


@click.command("commands")
@click.option("--kind", type=click.Choice(["slash", "cli"]), help="Only those of this kind.")
@listing("name", "kind", "capsule_id", "state", "description")
def list_commands(registry: RegistryReader, kind: str | None) -> Iterator[dict[str, Any]]:
    """List the commands that capsules answer."""
    return map(json_shapes.by_fields, registry.commands(kind=kind))


@click.command("find-command")
@click.argument("verb")
@at_option
@click.pass_context
def find_command(ctx: click.Context, verb: str, moment: dict[str, Any] | None) -> None:
    """Print the id of the capsule that answers the command VERB of a shell."""
    target: Target = ctx.obj
    with target.view(moment) as registry:
        found = registry.find_command(verb)
    if found is None:
        click.echo(f"capsule-registry: Not found: command {escape(verb)}", err=True)
        ctx.exit(NOT_FOUND)
    click.echo(found.capsule_id)


@click.command("find-artifact")
@click.argument("hash_", metavar="HASH")
@listing("capsule_id", "generation", "kind", "name", "file")
def find_artifact(registry: RegistryReader, hash_: str) -> Iterator[dict[str, Any]]:
    """List the components and assets with that HASH, such as blake3:…."""
    return map(json_shapes.by_fields, registry.find_artifact(hash_))


@click.command
@click.option("--capsule", "capsule_id", metavar="ID", help="Of this capsule only.")
@listing("uuid", "capsule_id", "lease_id", "registered_at")
def uuids(registry: RegistryReader, capsule_id: str | None) -> Iterator[dict[str, Any]]:
    """List the session UUIDs, in the order in which they were filed."""
    return map(json_shapes.by_fields, registry.uuids(capsule_id))


@click.command
@click.argument("uuid")
@at_option
@click.pass_context
def resolve(ctx: click.Context, uuid: str, moment: dict[str, Any] | None) -> None:
    """Print the id of the capsule that UUID is filed under."""
    target: Target = ctx.obj
    with target.view(moment) as registry:
        capsule_id = registry.find_by_uuid(uuid)
    if capsule_id is None:
        click.echo(f"capsule-registry: Not found: UUID {uuid}", err=True)
        ctx.exit(NOT_FOUND)
    click.echo(capsule_id)


commands = (
    *(list_capsules, show, uplinks, tools, uuids, resolve),
    *(list_commands, find_command, find_artifact),
)
