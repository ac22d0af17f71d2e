"""The commands that only look; none of them creates anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

import capsule_registry as library
from capsule_registry.api import json_shapes
from capsule_registry.cli.exit_codes import NOT_FOUND
from capsule_registry.cli.output import (
    STATES,
    escape,
    format_option,
    print_json,
    print_rows,
    print_text,
    text_format_option,
)
from capsule_registry.cli.target import Target, at_option, pass_target

if TYPE_CHECKING:
    from capsule_registry import RegisteredCapsule


@click.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@at_option
@format_option
@pass_target
def list_capsules(
    target: Target, output_format: str, moment: dict[str, Any] | None, state: str | None
) -> None:
    """List the registered capsules, in the order of their registration."""
    with target.view(moment) as registry:
        rows = [*map(json_shapes.capsule_summary, registry.summaries(state=state))]
    print_rows(rows, ("id", "version", "state", "generation", "registered_at"), output_format)


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
@at_option
@format_option
@pass_target
def uplinks(
    target: Target,
    /,
    output_format: str,
    moment: dict[str, Any] | None,
    **conditions: Any,  # noqa: ANN401 - passed on as they are
) -> None:
    """List the uplinks, in the order of their registration."""
    with target.view(moment) as registry:
        found = registry.find_uplinks(**conditions)
    rows = [*map(json_shapes.uplink, found)]
    columns = ("capsule_id", "name", "platform", "profile", "id", "registered_at")
    print_rows(rows, columns, output_format)


@click.command
@click.argument("name", required=False)
@at_option
@format_option
@pass_target
def tools(
    target: Target, name: str | None, output_format: str, moment: dict[str, Any] | None
) -> None:
    """List the tools of all capsules, or every tool called NAME."""
    with target.view(moment) as registry:
        found = registry.tools() if name is None else registry.find_tool(name)
    rows = [*map(json_shapes.tool, found)]
    print_rows(rows, ("name", "capsule_id", "description"), output_format)


@click.command
@click.option("--capsule", "capsule_id", metavar="ID", help="Of this capsule only.")
@at_option
@format_option
@pass_target
def uuids(
    target: Target, capsule_id: str | None, output_format: str, moment: dict[str, Any] | None
) -> None:
    """List the session UUIDs, in the order in which they were filed."""
    with target.view(moment) as registry:
        rows = [*map(json_shapes.session_uuid, registry.uuids(capsule_id))]
    print_rows(rows, ("uuid", "capsule_id", "lease_id", "registered_at"), output_format)


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


commands = (list_capsules, show, uplinks, tools, uuids, resolve)
