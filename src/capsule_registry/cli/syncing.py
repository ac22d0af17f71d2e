"""The bulk commands: sync, export and import."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capsule_registry.api import json_shapes
from capsule_registry.cli.bounded_input import lines_of
from capsule_registry.cli.exit_codes import PARTLY_FAILED
from capsule_registry.cli.generations import force_option
from capsule_registry.cli.output import (
    Ticker,
    escape,
    format_option,
    print_changes,
    print_rows,
)
from capsule_registry.cli.target import pass_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from capsule_registry import SyncPlan
    from capsule_registry.cli.target import Target

_MARKS = {"register": "+", "replace": "~", "unregister": "-", "keep": " ", "refuse": "!"}


@click.command
@click.argument("directory", type=click.Path(exists=True, path_type=Path))
@click.option("--prune", is_flag=True, help="Unregister what is not in the directory.")
@click.option("--allow-empty", is_flag=True, help="Prune though there is no manifest at all.")
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
@click.option("--refuse-new-rights", is_flag=True, help="Do nothing if a right would be new.")
@force_option
@format_option
@click.pass_context
def sync(  # noqa: PLR0913 - one for each argument and option
    ctx: click.Context,
    directory: Path,
    output_format: str,
    *,
    prune: bool,
    allow_empty: bool,
    dry_run: bool,
    refuse_new_rights: bool,
    force: bool,
) -> None:
    """
    Register the capsules of DIRECTORY that are new, and replace those that were changed.

    Prints what will be done, and then does it, in one revision. A manifest that cannot be used
    changes nothing of its own capsule, and the exit code is 1.
    """
    target: Target = ctx.obj
    with target.open_to_read() if dry_run else target.open() as registry:
        plan = registry.sync(directory, prune=prune, dry_run=True)
        if prune and not allow_empty and all(step.path is None for step in plan.steps):
            raise click.UsageError(f"there is no manifest at {directory}: say --allow-empty")
        _print_plan(plan, output_format)
        if refuse_new_rights:
            plan.refuse_new_rights()
        if not dry_run:
            done = partial(
                registry.sync,
                directory,
                prune=prune,
                refuse_new_rights=refuse_new_rights,
                force=force,
            )
            plan = _apply(done, plan)
    _print_summary(plan, is_done=not dry_run)
    if not plan.ok:
        ctx.exit(PARTLY_FAILED)


def _apply(carry_out: Callable[[], SyncPlan], planned: SyncPlan) -> SyncPlan:
    """Sync, and report if what was done differs from what was *planned*."""
    done = carry_out()
    if done != planned:
        click.echo("capsule-registry: what was to be done has changed; this was done:", err=True)
        _print_steps(done, err=True)
    return done


def _print_plan(plan: SyncPlan, output_format: str) -> None:
    if output_format != "table":
        rows = [*map(json_shapes.by_fields, plan.steps)]
        columns = ("action", "capsule_id", "path", "before", "after", "problem")
        print_rows(rows, columns, output_format)
    else:
        _print_steps(plan, err=False)


def _print_steps(plan: SyncPlan, *, err: bool) -> None:
    for step in plan.steps:
        where = f" {escape(step.path)}" if step.path else ""
        problem = f": {escape(step.problem)}" if step.problem else ""
        if problem or step.action not in ("keep", "refuse"):
            who = step.capsule_id or "?"
            click.echo(f"{_MARKS[step.action]} {step.action} {who}{where}{problem}", err=err)
            print_changes(step.changes, "    ", err=err)


def _print_summary(plan: SyncPlan, *, is_done: bool) -> None:
    counts: dict[str, int] = dict.fromkeys(_MARKS, 0)
    for step in plan.steps:
        counts[step.action] += 1
    said = ", ".join(f"{action} {count}" for action, count in counts.items())
    click.echo(f"{'done' if is_done else 'to be done'}: {said}", err=True)


@click.command("export")
@click.argument("file", type=click.File("w", encoding="utf-8", atomic=True), default="-")
@pass_target
def export_lines(target: Target, file: Any) -> None:  # noqa: ANN401 - a file
    """Write what is registered to FILE as lines of JSON, for `import`."""
    os.umask(0o077)  # The file contains session UUIDs.
    with target.open_to_read() as registry:
        for line in _counted(registry.export_lines()):
            file.write(f"{line}\n")


@click.command("import")
@click.argument("file", type=click.File("rb"), default="-")
@pass_target
def import_lines(target: Target, file: Any) -> None:  # noqa: ANN401 - a file
    """Register what `export` has written to FILE, in revisions of a thousand lines at most."""
    from capsule_registry.entities.export_import import MAX_LINE  # noqa: PLC0415 - help needs none

    with target.open() as registry:
        count = registry.import_lines(_counted(lines_of(file, MAX_LINE)))
    click.echo(f"imported {count}", err=True)


def _counted(lines: Iterable[str]) -> Iterator[str]:
    show = Ticker("line")
    for number, line in enumerate(lines, start=1):
        show(number)
        yield line


commands = (sync, export_lines, import_lines)
