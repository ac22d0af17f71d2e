"""The commands that register and change capsules."""

from __future__ import annotations

import json
import sys
import time
import uuid as uuid_module
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

import capsule_registry as library
from capsule_registry.api import json_shapes
from capsule_registry.cli import exit_codes
from capsule_registry.cli.bounded_input import read_whole
from capsule_registry.cli.generations import force_option, generation_option, print_comparison
from capsule_registry.cli.output import (
    PATIENCE_SECONDS,
    STATES,
    escape,
    format_option,
    print_json,
    text_format_option,
)
from capsule_registry.cli.seconds import Seconds
from capsule_registry.cli.target import Target, pass_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from capsule_registry import CapsuleManifest, CapsuleRegistry

_LONGEST_ERROR: Final = 500
#: The most bytes that are read of reported tools.
_MOST_TOOLS: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Found:
    """A capsule found in a directory."""

    manifest: CapsuleManifest
    source_dir: Path


@click.command
@click.argument("paths", metavar="PATH…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--if-same", is_flag=True, help="What is registered already as it is may be.")
@text_format_option
@click.pass_context
def register(
    ctx: click.Context, paths: tuple[Path, ...], output_format: str, *, if_same: bool
) -> None:
    """
    Register the capsules at each PATH: a manifest, a capsule's directory, or one of several.

    Each manifest is a unit of its own: one that fails is reported, and changes nothing of the
    others.
    """
    target: Target = ctx.obj
    results = []
    with target.open() as registry:
        register_one = partial(_register_one, registry, if_same=if_same)
        for result in _registered(register_one, paths, show_progress=output_format == "text"):
            results.append(result)
            _report(result, as_text=output_format == "text")
    if output_format == "json":
        print_json(results)
    if any(result["error"] for result in results):
        ctx.exit(exit_codes.PARTLY_FAILED)


def _report(result: dict[str, Any], *, as_text: bool) -> None:
    if result["error"] is not None:
        error = escape(result["error"][:_LONGEST_ERROR])
        click.echo(f"failed {escape(result['path'])}: {error}", err=True)
    elif as_text:
        click.echo(f"registered {result['id']} {escape(str(result['version']))}")


def _registered(
    register_one: Callable[[Path], dict[str, Any]], paths: tuple[Path, ...], *, show_progress: bool
) -> Iterator[dict[str, Any]]:
    """Register each manifest, and yield the outcome."""
    found = [manifest for path in paths for manifest in _manifests_at(path)]
    with _progress(len(found), shown=show_progress) as advance:
        for path, error in found:
            yield json_shapes.registration(path, None, error) if error else register_one(path)
            advance()


def _manifests_at(place: Path) -> list[tuple[Path, str | None]]:
    """Return the manifests at *place*, or what is wrong with it."""
    try:
        found = [(path, None) for path in library.discover(place)]
    except OSError as error:
        return [(place, f"{error.strerror}")]
    return [*found] or [(place, "there is no Capsule.toml here")]


def _register_one(registry: CapsuleRegistry, path: Path, *, if_same: bool) -> dict[str, Any]:
    manifest = None
    try:
        manifest = library.CapsuleManifest.load(path, runtime_version=registry.runtime_version)
        found = _Found(manifest, path.parent.resolve())
        registry.register(found, if_same=if_same)
    except library.InvalidManifestError as error:
        return json_shapes.registration(path, manifest, f"{error.message} [{error.rule}]")
    except (library.InvalidInputError, library.ConflictError) as error:
        return json_shapes.registration(path, manifest, str(error))
    return json_shapes.registration(path, manifest, None)


@contextmanager
def _progress(total: int, *, shown: bool) -> Iterator[Callable[[], None]]:
    """Give a function to call after each step; after a second, a terminal shows a bar."""
    started, done = time.monotonic(), 0
    bar: Any = None

    def advance() -> None:
        nonlocal bar, done
        done += 1
        late = time.monotonic() - started > PATIENCE_SECONDS
        if bar is None and late and shown and sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 - only a bar needs it
            from rich.progress import Progress  # noqa: PLC0415

            bar = Progress(console=Console(stderr=True), transient=True)
            bar.start()
            bar.add_task("registering", total=total)
        if bar is not None:
            bar.update(0, completed=done)

    try:
        yield advance
    finally:
        if bar is not None:
            bar.stop()


@click.command
@click.argument("capsule_ids", metavar="ID…", nargs=-1, required=True)
@generation_option
@force_option
@click.pass_context
def unregister(
    ctx: click.Context, capsule_ids: tuple[str, ...], generation: int | None, *, force: bool
) -> None:
    """Unregister each capsule with its uplinks and UUIDs."""
    target: Target = ctx.obj
    if generation is not None and len(capsule_ids) > 1:
        raise click.UsageError("--generation is that of one capsule")
    errors = []
    with target.open() as registry:
        for capsule_id in capsule_ids:
            try:
                registry.unregister(capsule_id, expected_generation=generation, force=force)
            except (
                *(library.NotFoundError, library.InvalidInputError),
                *(library.SoleProviderError, library.StaleGenerationError),
            ) as error:
                errors.append(error)
                click.echo(f"capsule-registry: {escape(str(error))}", err=True)
            else:
                click.echo(f"unregistered {capsule_id}")
    if errors:
        ctx.exit(
            exit_codes.of_error(errors[0]) if len(capsule_ids) == 1 else exit_codes.PARTLY_FAILED
        )


@click.command
@click.argument("path", type=click.Path(path_type=Path))
@generation_option
@click.option("--uuid", "uuids", multiple=True, help="A session UUID of the new one.")
@click.option("--keep-uuids", is_flag=True, help="Keep the session UUIDs of the old one too.")
@click.option("--if-same", is_flag=True, help="Leave what is registered already as it is.")
@click.option("--same-artifacts", is_flag=True, help="Refuse other hashes of the same version.")
@click.option("--dry-run", is_flag=True, help="Only print what would be added and removed.")
@force_option
@format_option
@pass_target
def replace(
    target: Target,
    /,
    path: Path,
    output_format: str,
    *,
    dry_run: bool,
    **options: Any,  # noqa: ANN401 - passed on
) -> None:
    """Put the capsule at PATH, a manifest or a directory, in the place of the registered one."""
    found = _only_manifest_at(path)
    with target.open_to_read() if dry_run else target.open() as registry:
        manifest = library.CapsuleManifest.load(found, runtime_version=registry.runtime_version)
        if dry_run:
            print_comparison(_upgrade(registry, manifest), output_format)
            return
        capsule = _Found(manifest, found.parent.resolve())
        record = registry.replace(capsule, expected_generation=options.pop("generation"), **options)
    click.echo(f"replaced {record.id} {escape(record.version)} generation {record.generation}")


def _upgrade(registry: CapsuleRegistry, manifest: CapsuleManifest) -> library.Comparison:
    """Return what *manifest* adds to the registered one, and removes."""
    old = registry.get(manifest.package.name)
    if old is None:
        raise library.CapsuleNotFoundError(manifest.package.name)
    return registry.compare(old.manifest, manifest)


def _only_manifest_at(place: Path) -> Path:
    found = [*library.discover(place)]
    if len(found) != 1:
        raise click.UsageError(f"{place} has {len(found)} manifests, and one is needed")
    return found[0]


@click.command("set-state")
@click.argument("capsule_id", metavar="ID")
@click.argument("state", type=click.Choice(STATES))
@click.option("--because", metavar="TEXT", help="Kept beside the state.")
@generation_option
@pass_target
def set_state(
    target: Target, capsule_id: str, state: str, because: str | None, generation: int | None
) -> None:
    """Set the state of the capsule ID: only one that is ready is allowed anything."""
    with target.open() as registry:
        record = registry.set_state(capsule_id, state, because, expected_generation=generation)
    click.echo(f"{record.id} is {record.state}")


@click.command("report-tools")
@click.argument("capsule_id", metavar="ID")
@click.argument("file", type=click.File("rb"), default="-")
@generation_option
@pass_target
def report_tools(target: Target, capsule_id: str, file: Any, generation: int | None) -> None:  # noqa: ANN401 - a file
    """
    File the tools that the running capsule ID has, as JSON in FILE.

    That is an array of objects: name, description, input_schema.
    """
    tools = _tools_in(read_whole(file, "tools", _MOST_TOOLS))
    with target.open() as registry:
        record = registry.report_tools(capsule_id, tools, expected_generation=generation)
    click.echo(f"{record.id} has reported {len(tools)} tools")


def _tools_in(text: str) -> list[Any]:
    try:
        tools = json.loads(text)
    except (RecursionError, ValueError) as error:
        raise library.InvalidTextError("tools", "no_json", str(error)) from error
    if not isinstance(tools, list):
        raise library.InvalidTextError("tools", "no_list", "expected an array of objects")
    return tools


@click.command("wait-ready")
@click.argument("capsule_ids", metavar="ID…", nargs=-1, required=True)
@click.option("--timeout", type=Seconds(), default=30.0, show_default=True, metavar="SECONDS")
@click.pass_context
def wait_ready(ctx: click.Context, capsule_ids: tuple[str, ...], timeout: timedelta) -> None:
    """Wait until each capsule is ready or has failed; exit 1 unless all are ready."""
    target: Target = ctx.obj
    with target.open_history() as registry:
        found = registry.wait_ready(capsule_ids, timeout)
    for capsule_id, status in found.items():
        click.echo(f"{capsule_id} {status}")
    if {*found.values()} != {library.ReadyStatus.READY}:
        ctx.exit(exit_codes.PARTLY_FAILED)


@click.command("register-uuid")
@click.argument("capsule_id", metavar="ID")
@click.argument("uuid", required=False)
@click.option("--lease", metavar="ID", help="That it is to belong to; see `leases`.")
@generation_option
@pass_target
def register_uuid(
    target: Target,
    capsule_id: str,
    uuid: str | None,
    lease: str | None,
    generation: int | None,
) -> None:
    """File UUID, or a new one, under the capsule ID, and print it."""
    wanted = str(uuid_module.uuid4()) if uuid is None else uuid
    with target.open() as registry:
        registry.register_uuid(wanted, capsule_id, lease=lease, expected_generation=generation)
    click.echo(wanted)


@click.command
@click.option("--yes", is_flag=True, help="Really.")
@pass_target
def drain(target: Target, *, yes: bool) -> None:
    """Unregister everything in the namespace, in one revision."""
    if not yes:
        message = f"this removes everything in namespace {target.namespace}: say --yes"
        raise click.UsageError(message)
    with target.open() as registry:
        removed = registry.drain()
    for capsule in removed:
        click.echo(f"unregistered {capsule.id}")


commands = (
    register,
    replace,
    report_tools,
    set_state,
    wait_ready,
    unregister,
    register_uuid,
    drain,
)
