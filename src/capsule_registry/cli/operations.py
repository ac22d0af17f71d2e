"""The commands for the operator of the database."""

from __future__ import annotations

import math
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from capsule_registry.api import json_shapes
from capsule_registry.cli.exit_codes import PARTLY_FAILED, UNUSABLE_SCHEMA
from capsule_registry.cli.output import escape, format_option, print_json, print_rows
from capsule_registry.cli.shell import ending_cleanly, run_to_its_end
from capsule_registry.cli.target import Target, pass_target

if TYPE_CHECKING:
    from capsule_registry import RightsChange


@click.group
def db() -> None:
    """Upgrade, look at and copy the database."""


@db.command
@click.option("--sql", is_flag=True, help="Print the SQL for an empty database instead.")
@pass_target
def upgrade(target: Target, *, sql: bool) -> None:
    """Bring the schema to the version of this library; a SQLite file is copied first."""
    with target.administrate(read_only=sql) as admin:
        if sql:
            admin.print_upgrade()
            return
        copy = admin.upgrade()
        if copy:
            click.echo(f"copied the database to {copy}")
        click.echo(f"schema version {admin.status().found}")


@db.command
@format_option
@click.pass_context
def status(ctx: click.Context, output_format: str) -> None:
    """Show the schema version of the database and of this library."""
    target: Target = ctx.obj
    with target.administrate(read_only=True) as admin:
        found = admin.status()
    row = json_shapes.by_fields(found)
    print_rows([row], tuple(row), output_format)
    if not found.is_usable:
        ctx.exit(UNUSABLE_SCHEMA)


@db.command
@click.argument("file", type=click.Path(path_type=Path))
@pass_target
def backup(target: Target, file: Path) -> None:
    """Copy a SQLite database to the new FILE, consistent though others write."""
    with target.administrate(read_only=True) as admin:
        admin.backup(file)
    click.echo(f"copied the database to {file}")


@db.command("accept-restore")
@pass_target
def accept_restore(target: Target) -> None:
    """Say that the database was brought back from a backup: every namespace is begun anew."""
    with target.administrate(create=False) as admin:
        admin.accept_restore(actor=target.actor, reason=target.reason)
        for found in admin.namespaces():
            click.echo(escape(f"{found.name}: incarnation {found.incarnation}"))


@db.command
@click.option("--reader", "readers", multiple=True, metavar="ROLE", help="Sees what is registered.")
@click.option("--writer", "writers", multiple=True, metavar="ROLE", help="Changes it, too.")
@click.option("--auditor", "auditors", multiple=True, metavar="ROLE", help="Sees everything.")
@pass_target
def grants(
    target: Target, readers: tuple[str, ...], writers: tuple[str, ...], auditors: tuple[str, ...]
) -> None:
    """Print the statements that give roles of a server their rights; nobody may prune by them."""
    if not (readers or writers or auditors):
        raise click.UsageError("say --reader, --writer or --auditor, each with a role")
    with target.administrate(read_only=True) as admin:
        for line in admin.grants(readers=readers, writers=writers, auditors=auditors):
            click.echo(escape(line))


@click.command
@click.argument("query", required=False)
@format_option
@click.pass_context
def sql(ctx: click.Context, query: str | None, output_format: str) -> None:
    """Run one QUERY, which cannot write, or open the database's own shell, read-only."""
    target: Target = ctx.obj
    if query is None:
        ctx.exit(_run_shell(target))
    with target.administrate(read_only=True) as admin:
        found, values = admin.query(query)
    names = _numbered(found)
    rows = [dict(zip(names, map(_plain, row), strict=True)) for row in values]
    print_rows(rows, names, output_format)


def _run_shell(target: Target) -> int:
    """Run the database's own shell, and return its exit code."""
    try:
        with (
            ending_cleanly(),
            target.administrate(read_only=True) as admin,
            admin.shell() as shell,
        ):
            return run_to_its_end(shell.arguments, shell.environment_in(os.environ))
    except FileNotFoundError as error:
        reason = f"the program {error.filename} is not installed: give a QUERY instead"
        raise click.ClickException(reason) from error


def _numbered(names: list[str]) -> list[str]:
    """Return *names* with a number appended to each repetition."""
    counts = Counter[str]()
    numbered = []
    for name in names:
        counts[name] += 1
        numbered.append(name if counts[name] == 1 else f"{name} ({counts[name]})")
    return numbered


def _plain(value: object) -> object:
    """Return *value* in a form that JSON can represent."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case dict():
            return {str(name): _plain(item) for name, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case bytes():
            return value.hex()
        case _:
            return str(value)


@click.command
@format_option
@click.pass_context
def doctor(ctx: click.Context, output_format: str) -> None:
    """Show what was read back of the database and its settings; exit 1 if anything is wrong."""
    target: Target = ctx.obj
    with target.administrate(read_only=True) as admin:
        findings = admin.findings()
    rows = [*map(json_shapes.by_fields, findings)]
    print_rows(rows, ("name", "value", "problem"), output_format)
    if any(finding.problem for finding in findings):
        ctx.exit(PARTLY_FAILED)


@click.group("namespaces")
def namespaces_group() -> None:
    """List, create and drop the registries in the database."""


@namespaces_group.command("list")
@format_option
@pass_target
def list_namespaces(target: Target, output_format: str) -> None:
    """List the namespaces with the heads of their histories."""
    with target.administrate(read_only=True) as admin:
        rows = [*map(json_shapes.namespace, admin.namespaces())]
    columns = ("name", "revision", "capsule_count", "runtime_version", "head_hash")
    print_rows(rows, columns, output_format)


@namespaces_group.command
@click.argument("name")
@click.option(
    "--runtime-version", metavar="VERSION", help="By whose rules its capsules are judged."
)
@pass_target
def create(target: Target, name: str, runtime_version: str | None) -> None:
    """Create the namespace NAME; one that is there is left as it is."""
    with target.administrate() as admin:
        admin.create_namespace(name, runtime_version=runtime_version, actor=target.actor)
    click.echo(f"created {name}")


@namespaces_group.command
@click.argument("name")
@click.option("--force", is_flag=True, help="Though capsules are registered in it.")
@pass_target
def drop(target: Target, name: str, *, force: bool) -> None:
    """Delete the namespace NAME with all its history, and print the last anchor of it."""
    with target.administrate(create=False) as admin:
        last = admin.drop_namespace(name, force=force)
    click.echo(escape(f"dropped {name}: revision {last.revision}, hash {last.head_hash}"))


_NO_RUNTIME: Final = "none"
_dry_run = click.option("--dry-run", is_flag=True, help="Only say what would change.")


@namespaces_group.command("set-runtime")
@click.argument("version")
@_dry_run
@format_option
@pass_target
def set_runtime(target: Target, version: str, output_format: str, *, dry_run: bool) -> None:
    """
    Read and judge all capsules as runtime VERSION does, such as 2026.9.4; `none`: by their forms.

    Of the namespace that --namespace names. Prints which rights come and go.
    """
    wanted = None if version == _NO_RUNTIME else version
    with target.administrate(create=False, read_only=dry_run) as admin:
        changes = admin.set_runtime(
            target.namespace, wanted, dry_run=dry_run, actor=target.actor, reason=target.reason
        )
    _print_changes(changes, output_format)


@namespaces_group.command
@click.option("--capsule", "capsule_id", metavar="ID", help="Of this capsule alone.")
@_dry_run
@format_option
@pass_target
def rederive(target: Target, capsule_id: str | None, output_format: str, *, dry_run: bool) -> None:
    """
    Read the stored manifests anew, each in its own form: an earlier release may not have known it.

    Of the namespace that --namespace names. Prints which rights come and go.
    """
    with target.administrate(create=False, read_only=dry_run) as admin:
        changes = admin.rederive(
            target.namespace,
            capsule_id=capsule_id,
            dry_run=dry_run,
            actor=target.actor,
            reason=target.reason,
        )
    _print_changes(changes, output_format)


def _print_changes(changes: list[RightsChange], output_format: str) -> None:
    """Print whole changes as JSON, else a row for each right that comes or goes."""
    if output_format == "json":
        print_json([*map(json_shapes.by_fields, changes)])
        return
    rows = [row for change in changes for row in json_shapes.changed_rights(change)]
    print_rows(rows, ("capsule_id", "change", "capability", "value", "matching"), output_format)


commands = (db, doctor, sql, namespaces_group)
