"""The commands that serve, and that let clients in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

import capsule_registry as library
from capsule_registry.cli.exit_codes import NOT_FOUND
from capsule_registry.cli.output import escape, format_option, print_rows
from capsule_registry.cli.target import collect_garbage, pass_target
from capsule_registry.service.settings import LOOPBACK, Settings, is_any_address, is_loopback
from capsule_registry.service.tokens import Role, caller_of, create, read, revoke

if TYPE_CHECKING:
    import socket

    from capsule_registry.cli.target import Target

_MISSING: Final = "a service needs more: pip install 'capsule-registry[service]'"
_ROLES: Final = [role.value for role in Role]
_FILE: Final = click.Path(dir_okay=False, path_type=Path)

tokens_option = click.option(
    "--tokens",
    type=_FILE,
    metavar="FILE",
    envvar="CAPSULE_REGISTRY_TOKENS",
    show_envvar=True,
    required=True,
    help="The file of tokens, of mode 0600.",
)


@click.command
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8765,
    show_default=True,
    help="0 takes one that is free.",
)
@click.option(
    "--uds", type=_FILE, metavar="PATH", help="Listen at a Unix socket instead, of mode 0600."
)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes."
)
@click.option(
    "--tokens",
    type=_FILE,
    metavar="FILE",
    envvar="CAPSULE_REGISTRY_TOKENS",
    show_envvar=True,
    help="Let in whoever has one of these; else everybody on this machine may read.",
)
@click.option("--allow-writes", is_flag=True, help="Let writers change what is registered.")
@click.option(
    "--allow-host",
    "names",
    multiple=True,
    metavar="NAME",
    help="A name by which clients call it; all others are refused.",
)
@pass_target
def serve(  # noqa: PLR0913, PLR0917 - one for each option
    target: Target,
    /,
    host: str,
    port: int,
    uds: Path | None,
    workers: int,
    tokens: Path | None,
    names: tuple[str, ...],
    *,
    allow_writes: bool,
) -> None:
    """
    Serve the database over HTTP, to hosts in any language: see docs/service.md.

    Without --tokens it serves reads alone, and only to this machine.
    """
    if allow_writes and tokens is None:
        raise click.UsageError("--allow-writes needs --tokens: who changes something is recorded")
    try:
        from capsule_registry.service import server  # noqa: PLC0415 - of an extra
    except ModuleNotFoundError as error:
        raise click.UsageError(_MISSING) from error
    if uds is None and tokens is None and not is_loopback(host):
        raise click.UsageError(f"--host {host} can be reached from elsewhere, so it needs --tokens")
    if uds is None and not names and is_any_address(host):
        raise click.UsageError(f"--host {host} has no name: say by --allow-host how it is called")
    if tokens is not None:
        read(tokens)
    settings = Settings(
        target.database,
        target.namespace,
        allow_writes=allow_writes,
        tokens=tokens,
        hosts=frozenset() if uds else _hosts(host, names),
        allow_network_file_system=target.allow_network_file_system,
    )
    _open_once(target, settings)
    listener = server.listen(host, port) if uds is None else server.listen_at(uds)
    click.echo(f"serving at {_address(listener)}", err=True)
    try:
        server.run(settings, listener, workers)
    finally:
        if uds is not None:
            uds.unlink(missing_ok=True)


def _hosts(host: str, names: tuple[str, ...]) -> frozenset[str]:
    known = {name.lower() for name in (host, *names)}
    return frozenset(known | LOOPBACK if any(map(is_loopback, known)) else known)


def _open_once(target: Target, settings: Settings) -> None:
    """Open the database as the service will, so that what is wrong is said here, and once."""
    collect_garbage()
    library.CapsuleRegistry.open(**settings.opening, namespace=target.namespace).close()


def _address(listener: socket.socket) -> str:
    address = listener.getsockname()
    if isinstance(address, str):
        return f"the socket {address}"
    host, port = address[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@click.group
def token() -> None:
    """Let clients of a service in, and out again."""


@token.command("create")
@click.argument("name")
@tokens_option
@click.option(
    "--role",
    type=click.Choice(_ROLES),
    required=True,
    help="What it is for.",
)
@click.option("--namespace", metavar="NAME", required=True, help="For this one alone; * for all.")
def create_token(name: str, tokens: Path, role: str, namespace: str) -> None:
    """Make a token, and print it: this once, since only its hash is kept."""
    click.echo(create(tokens, caller_of(name, role, namespace)))


@token.command("list")
@tokens_option
@format_option
def list_tokens(tokens: Path, output_format: str) -> None:
    """List whom tokens are for, in the order in which they were made."""
    callers = [one.caller for one in read(tokens).values()]
    rows = [{"name": one.name, "role": one.role, "namespace": one.namespace} for one in callers]
    print_rows(rows, ("name", "role", "namespace"), output_format)


@token.command("revoke")
@click.argument("name")
@tokens_option
@click.pass_context
def revoke_token(ctx: click.Context, name: str, tokens: Path) -> None:
    """Let in no more whoever has that token; exit 3 if there is none."""
    if not revoke(tokens, name):
        click.echo(f"capsule-registry: there is no token called {escape(name)}", err=True)
        ctx.exit(NOT_FOUND)


commands = (serve, token)
