"""The commands that show, follow and check the history."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

import capsule_registry as library
from capsule_registry.api import json_shapes
from capsule_registry.api.moments import value_of
from capsule_registry.cli.bounded_input import read_whole
from capsule_registry.cli.exit_codes import HISTORY_CORRUPT
from capsule_registry.cli.output import (
    Ticker,
    escape,
    format_option,
    print_changes,
    print_json,
    print_rows,
    text_format_option,
)
from capsule_registry.cli.seconds import Seconds
from capsule_registry.cli.target import LAST_REVISION, RevisionOrTime, Target, pass_target

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator
    from datetime import timedelta
    from uuid import UUID

    from capsule_registry import Anchor, Event, Revision, Verification
    from capsule_registry.api.moments import Moment

#: Revisions read at once.
_PAGE: Final = 200

anchor_option = click.option(
    "--anchor",
    "anchor_file",
    type=click.File("rb"),
    metavar="FILE",
    help="What `audit head` once printed; - for standard input.",
)


@click.command
@click.option(
    "--after", type=click.IntRange(0, LAST_REVISION), help="Only revisions greater than this."
)
@click.option("--capsule", "capsule_id", metavar="ID", help="With an event of this capsule.")
@click.option("--action", help="With an event of this action, such as uuid.registered.")
@click.option("--by", "actor", metavar="ACTOR", help="By this actor, exactly as recorded.")
@click.option("--since", type=RevisionOrTime(), help="At this time or later.")
@click.option("--until", type=RevisionOrTime(), help="At this time or before.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many revisions.")
@text_format_option
@pass_target
def log(target: Target, /, output_format: str, limit: int | None, **conditions: Any) -> None:  # noqa: ANN401 - passed on
    """Show what has happened, oldest first: who, when, why, and each change."""
    for name in ("since", "until"):
        if (moment := conditions[name]) is not None:
            if "time" not in moment:
                raise click.UsageError(f"--{name} takes a time")
            conditions[name] = moment["time"]
    with target.open_history() as registry:
        found = _paged(registry.history.list, limit, conditions)
        if output_format == "json":
            print_json([*map(json_shapes.by_fields, found)])
        else:
            for one in found:
                _print_revision(one)


def _paged(
    find: Callable[..., list[Revision]], limit: int | None, conditions: dict[str, Any]
) -> Iterator[Revision]:
    left = sys.maxsize if limit is None else limit
    while left and (page := find(**conditions, limit=min(left, _PAGE))):
        yield from page
        left -= len(page)
        conditions["after"] = page[-1].revision


def _print_revision(one: Revision) -> None:
    reason = f"  {one.reason}" if one.reason else ""
    click.echo(escape(f"{one.revision}  {one.committed_at.isoformat()}  {one.actor}{reason}"))
    for event in one.events:
        click.echo(escape(f"    {_sentence(event)}"))
        if event.changes is not None:
            print_changes(event.changes, "        ")


def _sentence(event: Event) -> str:
    row = event.new_row or event.old_row or {}
    more = {
        "capsules": f" {row['version']}" if row.get("version") else "",
        "uplinks": f" {row.get('name')} ({row.get('platform')})",
    }.get(event.kind, "")
    owner = f" of {event.capsule_id}" if event.kind in ("uplinks", "uuid_mappings") else ""
    return f"{event.action} {event.subject}{more}{owner}"


@click.command
@click.option(
    "--after", type=click.IntRange(0, LAST_REVISION), help="Begin after this revision; else now."
)
@click.option(
    "--incarnation", type=click.UUID, help="Of the history that --after is from; see `audit head`."
)
@click.option(
    "--timeout",
    type=Seconds(),
    metavar="SECONDS",
    help="End when nothing came.",
)
@text_format_option
@pass_target
def watch(
    target: Target,
    after: int | None,
    incarnation: UUID | None,
    timeout: timedelta | None,
    output_format: str,
) -> None:
    """Follow what happens: each revision as a line, or as a line of JSON, as it commits."""
    with target.open_history() as registry:
        follow = registry.history.watch(after=after, incarnation=incarnation, timeout=timeout)
        for one in follow:
            if output_format == "json":
                click.echo(json.dumps(json_shapes.by_fields(one)))
            else:
                changes = ", ".join(map(_sentence, one.events))
                when = one.committed_at.isoformat()
                click.echo(escape(f"{one.revision}  {when}  {one.actor}  {changes}"))
            sys.stdout.flush()


@click.command
@click.argument("before", type=RevisionOrTime(), metavar="MOMENT")
@click.argument("later", type=RevisionOrTime(), metavar="MOMENT", required=False)
@format_option
@pass_target
def diff(target: Target, before: Moment, later: Moment | None, output_format: str) -> None:
    """Show what differs between two moments (revisions or times), or between one and now."""
    with target.open_history() as registry:
        end = None if later is None else value_of(later)
        found = registry.history.diff(value_of(before), end)
    rows = [*map(json_shapes.by_fields, found)]
    print_rows(rows, ("change", "kind", "id", "before", "after"), output_format)


@click.group
def audit() -> None:
    """Check, anchor, export and prune the history."""


@audit.command
@anchor_option
@click.option("--all", "is_all", is_flag=True, help="Verify every namespace of the database.")
@format_option
@click.pass_context
def verify(ctx: click.Context, anchor_file: Any, output_format: str, *, is_all: bool) -> None:  # noqa: ANN401 - a file
    """Recompute the history and hold the tables against it; exit 8 if anything differs."""
    target: Target = ctx.obj
    anchor = _read_anchor(anchor_file)
    names = _names_of_all(target, anchor) if is_all else [target.namespace]
    results = {name: _verify(target, name, anchor, is_alone=not is_all) for name in names}
    rows = [
        {"namespace": name, **json_shapes.by_fields(found)}
        for name, result in results.items()
        for found in result.discrepancies
    ]
    if output_format != "table" or rows:
        columns = ("namespace", "where", "problem")
        print_rows(rows, columns if is_all else columns[1:], output_format)
    for name, result in results.items():
        _summarize(f"{name}: " if is_all else "", result, ignored={*names})
    if not all(result.ok for result in results.values()):
        ctx.exit(HISTORY_CORRUPT)


def _names_of_all(target: Target, anchor: Anchor | None) -> list[str]:
    """Return every namespace, and that of *anchor*, which must be there."""
    with target.administrate(create=False, read_only=True) as admin:
        names = {namespace.name for namespace in admin.namespaces()}
    return sorted(names | ({anchor.namespace} if anchor else set()))


def _verify(target: Target, name: str, anchor: Anchor | None, *, is_alone: bool) -> Verification:
    """Verify one namespace, by *anchor* if that is of it, or if nothing else is verified."""
    fits = is_alone or (anchor is not None and anchor.namespace == name)
    with replace(target, namespace=name).open_history() as registry:
        return registry.history.verify(anchor if fits else None, progress=Ticker("revision"))


def _summarize(prefix: str, result: Verification, ignored: Container[str]) -> None:
    counts = f"{result.revision_count} revisions, {result.event_count} events"
    click.echo(f"{prefix}{'well' if result.ok else 'NOT well'}: {counts}", err=True)
    for what in result.not_compared:
        click.echo(f"{prefix}not compared: {what}", err=True)
    if others := [name for name in result.others if name not in ignored]:
        click.echo(f"not looked at: the namespaces {', '.join(others)}", err=True)


@audit.command
@pass_target
def head(target: Target) -> None:
    """Print an anchor of all that has happened: keep it elsewhere."""
    with target.open_history() as registry:
        click.echo(str(registry.history.anchor()))


@audit.command
@click.option(
    "--after", type=click.IntRange(0, LAST_REVISION), help="Only revisions greater than this."
)
@pass_target
def export(target: Target, after: int | None) -> None:
    """Print the history as the lines that its hashes are made of."""
    show = Ticker("line")
    with target.open_history() as registry:
        for number, line in enumerate(registry.history.export(after=after), start=1):
            # Exactly as hashed, but escaped on a terminal.
            shown = escape(line) if sys.stdout.isatty() else line
            sys.stdout.buffer.write(f"{shown}\n".encode())
            if number % 10_000 == 0:
                show(number)
    sys.stdout.flush()


@audit.command
@anchor_option
@click.option("--yes", is_flag=True, help="Really.")
@pass_target
def prune(target: Target, anchor_file: Any, *, yes: bool) -> None:  # noqa: ANN401 - a file
    """Delete the history up to an anchor; what is left still verifies."""
    anchor = _read_anchor(anchor_file)
    if anchor is None:
        raise click.UsageError("--anchor FILE says up to where")
    if not yes:
        raise click.UsageError(f"this deletes all up to revision {anchor.revision}: say --yes")
    with target.open() as registry:
        gone = registry.history.prune(anchor, reason=target.reason)
        click.echo(f"pruned {gone} revisions; keep this anchor from now on:", err=True)
        click.echo(str(registry.history.anchor()))


def _read_anchor(file: Any) -> Anchor | None:  # noqa: ANN401 - a file
    if file is None:
        return None
    return library.Anchor.parse(read_whole(file, "anchor", library.Anchor.MAX_BYTES))


commands = (log, watch, diff, audit)
