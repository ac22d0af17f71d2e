"""The commands on permissions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from capsule_registry.api import json_shapes
from capsule_registry.cli.exit_codes import NOT_PERMITTED
from capsule_registry.cli.output import escape, print_json, text_format_option
from capsule_registry.cli.target import at_option, listing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capsule_registry import RegistryReader
    from capsule_registry.cli.target import Target


@click.command
@click.argument("uuid")
@click.argument("capability")
@click.argument("value", required=False)
@at_option
@text_format_option
@click.pass_context
def check(  # noqa: PLR0913, PLR0917 - one for each argument and option
    ctx: click.Context,
    uuid: str,
    capability: str,
    value: str | None,
    output_format: str,
    moment: dict[str, Any] | None,
) -> None:
    """Say whether the sender with the session UUID may do something; exit 9 if not."""
    target: Target = ctx.obj
    with target.view(moment) as registry:
        decision = registry.check(uuid, capability, value)
    if output_format == "json":
        print_json(json_shapes.by_fields(decision))
    else:
        word = "allowed" if decision.allowed else "denied"
        of = f" {decision.capsule_id}" if decision.capsule_id else ""
        by = f" by {escape(decision.grant)}" if decision.grant else ""
        click.echo(f"{word}{of}: {decision.why}{by}, as of revision {decision.revision}")
    if not decision.allowed:
        ctx.exit(NOT_PERMITTED)


@click.command
@click.option("--capability", help="Such as ipc_publish.")
@click.option("--value", help="That cover this topic, host, path, command line …")
@click.option("--capsule", "capsule_id", metavar="ID", help="Of this capsule only.")
@listing("capability", "value", "capsule_id", "state")
def grants(registry: RegistryReader, **conditions: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - passed on
    """List what capsules may do, or who may do something."""
    return map(json_shapes.by_fields, registry.grants(**conditions))


commands = (check, grants)
