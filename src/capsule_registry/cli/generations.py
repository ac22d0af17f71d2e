"""The commands on generations of a capsule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from capsule_registry.api import json_shapes
from capsule_registry.api.moments import value_of
from capsule_registry.cli.output import escape, format_option, print_rows
from capsule_registry.cli.target import LAST_REVISION, RevisionOrTime, Target, pass_target

if TYPE_CHECKING:
    from capsule_registry import Comparison
    from capsule_registry.api.moments import Moment


generation_option = click.option(
    "--generation", type=click.IntRange(0, LAST_REVISION), help="Only if this one stands there."
)
force_option = click.option(
    "--force", is_flag=True, help="Even if others import what nobody would export."
)


@click.command
@click.argument("capsule_id", metavar="ID")
@click.option("--to", type=RevisionOrTime(), metavar="MOMENT", help="Else the generation before.")
@generation_option
@click.option("--keep-uuids", is_flag=True, help="Keep the session UUIDs.")
@force_option
@pass_target
def rollback(  # noqa: PLR0913 - one for each argument and option
    target: Target,
    capsule_id: str,
    to: Moment | None,
    generation: int | None,
    *,
    keep_uuids: bool,
    force: bool,
) -> None:
    """Register again what stood under ID at a generation, another revision, or a time."""
    moment = None if to is None else value_of(to)
    with target.open() as registry:
        record = registry.rollback(
            capsule_id,
            moment,
            expected_generation=generation,
            keep_uuids=keep_uuids,
            force=force,
        )
    click.echo(
        f"rolled back {record.id} to {escape(record.version)} of generation "
        f"{record.restored_generation}, as generation {record.generation}"
    )


@click.command
@click.argument("capsule_id", metavar="ID")
@click.argument("before", type=RevisionOrTime(), metavar="MOMENT")
@click.argument("later", type=RevisionOrTime(), metavar="MOMENT", required=False)
@format_option
@pass_target
def compare(
    target: Target,
    capsule_id: str,
    before: dict[str, Any],
    later: dict[str, Any] | None,
    output_format: str,
) -> None:
    """Show what the capsule ID has more and less than at a MOMENT: a generation, or a time."""
    with target.open_history() as registry:
        old = next(iter(before.values()))
        new = registry.history.revision if later is None else next(iter(later.values()))
        found = registry.compare(old, new, capsule_id=capsule_id)
    print_comparison(found, output_format)


def print_comparison(found: Comparison, output_format: str) -> None:
    """Print what is added and removed, rights first."""
    columns = ("change", "part", "name", "value", "matching")
    print_rows(json_shapes.comparison(found), columns, output_format)


commands = (rollback, compare)
