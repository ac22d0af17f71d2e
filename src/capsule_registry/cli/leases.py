"""The commands on leases, for hosts that write through the command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from capsule_registry.api import json_shapes
from capsule_registry.cli.output import format_option, print_rows
from capsule_registry.cli.seconds import Seconds
from capsule_registry.cli.target import pass_target

if TYPE_CHECKING:
    from datetime import timedelta

    from capsule_registry import Lease
    from capsule_registry.cli.target import Target

_COLUMNS = ("id", "name", "host", "pid", "opened_at", "expires_at")


@click.group
def leases() -> None:
    """Hold session UUIDs for a time, and see who does."""


@leases.command("open")
@click.argument("name")
@click.option(
    "--ttl", type=Seconds(), default=30.0, show_default=True, metavar="SECONDS", help="How long."
)
@pass_target
def open_lease(target: Target, name: str, ttl: timedelta) -> None:
    """Open a lease, and print its id; renew it in time, or it runs out."""
    with target.open() as registry:
        click.echo(registry.leases.grant(name, ttl).id)


@leases.command
@click.argument("lease_id", metavar="ID")
@pass_target
def renew(target: Target, lease_id: str) -> None:
    """Let a lease last for its whole ttl from now; exit 4 if it has run out."""
    with target.open() as registry:
        click.echo(f"lasts until {registry.leases.renew(lease_id).expires_at.isoformat()}")


@leases.command
@click.argument("lease_id", metavar="ID")
@pass_target
def close(target: Target, lease_id: str) -> None:
    """End a lease, and remove the session UUIDs that belong to it."""
    with target.open() as registry:
        registry.leases.close(lease_id)


@leases.command("list")
@format_option
@pass_target
def list_leases(target: Target, output_format: str) -> None:
    """List the leases that have not run out."""
    with target.open_to_read() as registry:
        _print(registry.leases.list(), output_format)


@leases.command
@format_option
@pass_target
def reap(target: Target, output_format: str) -> None:
    """Remove what is left of leases that have run out, and list these."""
    with target.open() as registry:
        _print(registry.leases.reap(), output_format)


def _print(found: list[Lease], output_format: str) -> None:
    print_rows([*map(json_shapes.by_fields, found)], _COLUMNS, output_format)


commands = (leases,)
