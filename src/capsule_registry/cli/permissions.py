"""The commands on permissions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from capsule_registry.api import json_shapes
from capsule_registry.cli.answering import answer_lines
from capsule_registry.cli.exit_codes import NOT_PERMITTED
from capsule_registry.cli.output import escape, print_json, text_format_option
from capsule_registry.cli.target import at_option, listing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capsule_registry import Decision, RegistryReader
    from capsule_registry.cli.target import Target


@click.command
@click.argument("uuid", required=False)
@click.argument("capability", required=False)
@click.argument("value", required=False)
@click.option("--stdin", "from_stdin", is_flag=True, help="Answer lines of JSON, as they come.")
@at_option
@text_format_option
@click.pass_context
def check(  # noqa: PLR0913, PLR0917 - one for each argument and option
    ctx: click.Context,
    uuid: str | None,
    capability: str | None,
    value: str | None,
    output_format: str,
    moment: dict[str, Any] | None,
    *,
    from_stdin: bool,
) -> None:
    """
    Say whether the sender with the session UUID may do something; exit 9 if not.

    With --stdin, each line asks by an object with `uuid`, `capability` and `value`, and is answered
    by a line at once; a list of such objects is answered by a list, of one moment.
    """
    target: Target = ctx.obj
    if from_stdin:
        if uuid is not None:
            raise click.UsageError("--stdin takes its questions from lines, not from arguments")
        with target.open_history() as registry:  # What is missing would stay so.
            answer_lines(registry.at(**moment) if moment else registry)
        return
    if uuid is None or capability is None:
        raise click.UsageError("say a UUID and a capability, or --stdin")
    with target.view(moment) as registry:
        decision = registry.check(uuid, capability, value)
    if output_format == "json":
        print_json(json_shapes.by_fields(decision))
    else:
        click.echo(_sentence(decision))
    if not decision.allowed:
        ctx.exit(NOT_PERMITTED)


def _sentence(decision: Decision) -> str:
    word = "allowed" if decision.allowed else "denied"
    of = f" {decision.capsule_id}" if decision.capsule_id else ""
    by = f" by {escape(decision.grant)}" if decision.grant else ""
    return f"{word}{of}: {decision.why}{by}, as of revision {decision.revision}"


@click.command
@click.option("--capability", help="Such as ipc_publish.")
@click.option("--value", help="That cover this topic, host, path, command line …")
@click.option("--capsule", "capsule_id", metavar="ID", help="Of this capsule only.")
@listing("capability", "value", "capsule_id", "state", "matching", "place", "read_by", "counts")
def grants(registry: RegistryReader, **conditions: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - passed on
    """List what capsules may do, or who may do something."""
    return map(json_shapes.by_fields, registry.grants(**conditions))


commands = (check, grants)
