"""
The command itself: global options, subcommands by name, and error reporting.

The command modules import nothing large but click, and are loaded when a command in them runs;
the library's names are loaded on first use.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, Final, NoReturn, TextIO

import click

import capsule_registry as library
from capsule_registry.cli import exit_codes
from capsule_registry.cli.output import escape
from capsule_registry.cli.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST_SENTENCE: Final = 1000
_UNWRITTEN: Final = "the output cannot be written, and what was changed until then stays changed"

#: The summary of each command, by module and name.
_BY_MODULE: Final = {
    "cli.permissions": {
        "check": "Say whether the sender with the session UUID may do something; exit 9 if not.",
        "grants": "List what capsules may do, or who may do something.",
    },
    "cli.routes": {
        "routes": (
            "Show who is called for a topic, who publishes it, who hears it, and what nobody does."
        ),
    },
    "cli.generations": {
        "rollback": (
            "Register again what stood under ID at a generation, another revision, or a time."
        ),
        "compare": (
            "Show what the capsule ID has more and less than at a MOMENT: a generation, or a time."
        ),
    },
    "cli.dependencies": {
        "interceptors": (
            "List the actions that an event of TOPIC calls for, of the capsules that are ready."
        ),
        "providers": (
            "List all who offer what meets the requirement CAPABILITY, such as topic:llm.*."
        ),
        "exports": "List the interfaces that capsules export, in the order of registration.",
        "unmet": "List the requirements and imports that nobody meets; exit 1 if one is required.",
        "boot-order": (
            "Print the ids in the order in which capsules start; exit 1 if some wait in a circle."
        ),
        "graph": (
            "Draw who needs whom: an arrow from each capsule to all who provide what it requires."
        ),
    },
    "cli.syncing": {
        "sync": (
            "Register the capsules of DIRECTORY that are new, and replace those that were changed."
        ),
        "export": "Write what is registered to FILE as lines of JSON, for `import`.",
        "import": (
            "Register what `export` has written to FILE, in revisions of a thousand lines at most."
        ),
    },
    "cli.operations": {
        "db": "Upgrade, look at and copy the database.",
        "doctor": (
            "Show what was read back of the database and its settings; exit 1 if anything is wrong."
        ),
        "sql": ("Run one QUERY, which cannot write, or open the database's own shell, read-only."),
        "namespaces": "List, create and drop the registries in the database.",
    },
    "cli.history": {
        "log": "Show what has happened, oldest first: who, when, why, and each change.",
        "watch": (
            "Follow what happens: each revision as a line, or as a line of JSON, as it commits."
        ),
        "diff": (
            "Show what differs between two moments (revisions or times), or between one and now."
        ),
        "audit": "Check, anchor, export and prune the history.",
    },
    "cli.leases": {
        "leases": "Hold session UUIDs for a time, and see who does.",
    },
    "cli.listing": {
        "list": "List the registered capsules, in the order of their registration.",
        "show": "Show all of one capsule, its manifest included.",
        "uplinks": "List the uplinks, in the order of their registration.",
        "tools": "List the tools of all capsules, or every tool called NAME.",
        "commands": "List the commands that capsules answer.",
        "find-command": "Print the id of the capsule that answers the command VERB of a shell.",
        "find-artifact": "List the components and assets with that HASH, such as blake3:….",
        "uuids": "List the session UUIDs, in the order in which they were filed.",
        "resolve": "Print the id of the capsule that UUID is filed under.",
    },
    "cli.registering": {
        "register": (
            "Register the capsules at each PATH: a manifest, a capsule's directory, or one of"
            " several."
        ),
        "replace": (
            "Put the capsule at PATH, a manifest or a directory, in the place of the "
            "registered one."
        ),
        "report-tools": "File the tools that the running capsule ID has, as JSON in FILE.",
        "set-state": "Set the state of the capsule ID: only one that is ready is allowed anything.",
        "wait-ready": (
            "Wait until each capsule is ready or has failed; exit 1 unless all are ready."
        ),
        "unregister": "Unregister each capsule with its uplinks and UUIDs.",
        "register-uuid": "File UUID, or a new one, under the capsule ID, and print it.",
        "drain": "Unregister everything in the namespace, in one revision.",
    },
    "service.command": {
        "serve": "Serve the database over HTTP, to hosts in any language: see docs/service.md.",
        "token": "Let clients of a service in, and out again.",
    },
}
#: The summary of each command, by name.
SUMMARIES: Final = {
    name: summary for commands in _BY_MODULE.values() for name, summary in commands.items()
}
#: The module of each command.
_MODULES: Final = {name: module for module, commands in _BY_MODULE.items() for name in commands}


class _Group(click.Group):
    """The commands, each loaded when it runs; an error is printed in one line, and exits."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own
        """Return the names, sorted."""
        return sorted(SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's own
        """Return the command of that name."""
        if cmd_name not in _MODULES:
            return None
        module = import_module(f"capsule_registry.{_MODULES[cmd_name]}")
        commands: Iterable[click.Command] = module.commands
        return next(command for command in commands if command.name == cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the summary of each command, without loading it."""
        stand_ins = [click.Command(name, help=summary) for name, summary in SUMMARIES.items()]
        click.Group(commands=stand_ins).format_commands(ctx, formatter)

    def main(self, *args: Any, **options: Any) -> NoReturn:  # noqa: ANN401 - click's own
        """Run the command, print an error if there is one, and exit."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            code = super().main(*args, **{**options, "standalone_mode": False})
            sys.stdout.flush()
        except library.CapsuleRegistryError as error:
            code = _fail(str(error), exit_codes.of_error(error))
        except click.ClickException as error:
            code = _fail(f"{error.format_message()} (see --help)", error.exit_code)
        except click.Abort:
            code = _fail("interrupted", exit_codes.PARTLY_FAILED)
        except BrokenPipeError:
            code = exit_codes.PARTLY_FAILED
        except OSError as error:
            code = _fail(_os_sentence(error), exit_codes.of_os_error(error))
        for stream in (sys.stdout, sys.stderr):
            if _is_stuck(stream):  # Python would try again as it ends, and change the exit code.
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        sys.exit(code if isinstance(code, int) else 0)


def _fail(sentence: str, code: int) -> int:
    shown = escape(sentence)
    more = "…" if len(shown) > _LONGEST_SENTENCE else ""
    with suppress(OSError):  # The exit code says it too.
        click.echo(f"capsule-registry: {shown[:_LONGEST_SENTENCE]}{more}", err=True)
    return code


def _is_stuck(stream: TextIO) -> bool:
    """Return whether *stream* holds something that cannot be written."""
    try:
        stream.flush()
    except OSError:
        return True
    return False


def _os_sentence(error: OSError) -> str:
    return f"{error.filename or _UNWRITTEN}: {error.strerror}"


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--database",
    metavar="URL",
    envvar="CAPSULE_REGISTRY_DATABASE",
    show_envvar=True,
    help="sqlite:///FILE, postgresql://… or mariadb://…; else a file in your data directory.",
)
@click.option(
    "--namespace",
    metavar="NAME",
    default="default",
    show_default=True,
    envvar="CAPSULE_REGISTRY_NAMESPACE",
    show_envvar=True,
    help="Which of the registries in the database.",
)
@click.option(
    "--actor",
    metavar="NAME",
    envvar="CAPSULE_REGISTRY_ACTOR",
    show_envvar=True,
    help="Who is recorded as having made a change; else user, host and process.",
)
@click.option("--reason", metavar="TEXT", help="Why: recorded with a change.")
@click.option(
    "--allow-network-file-system",
    is_flag=True,
    envvar="CAPSULE_REGISTRY_ALLOW_NETWORK_FILE_SYSTEM",
    show_envvar=True,
    help=(
        "Open a SQLite file also where locks cannot be trusted (network file systems, FUSE). Gives "
        "up this: if two machines, or a host and its guest, use it at once, acknowledged changes "
        "can be lost and the file can be corrupted; and what is left after a power cut is up to "
        "that file system. Lookups are not answered from memory."
    ),
)
@click.version_option(library.__version__, prog_name="capsule-registry")
@click.pass_context
def capsule_registry(  # noqa: PLR0913 - one for each option
    ctx: click.Context,
    database: str | None,
    namespace: str,
    actor: str | None,
    reason: str | None,
    *,
    allow_network_file_system: bool,
) -> None:
    """
    Keep capsules, their uplinks and session UUIDs in a SQL database.

    Exit codes: 0 done, 1 partly failed, 2 usage, 3 not found, 4 conflict, 5 invalid input,
    6 schema, 7 unavailable, 8 history corrupt, 9 not permitted, 10 unexpected,
    11 the output could not be written, while what was changed stays changed.
    """
    ctx.obj = Target(database, namespace, actor, reason, allow_network_file_system)


def main() -> None:
    """Run the command."""
    gc.disable()  # Until all is loaded (see `target.collect_garbage`): that is not garbage.
    _replace_closed_streams()
    capsule_registry(prog_name="capsule-registry")


def _replace_closed_streams() -> None:
    """Open the null device for what the parent closed, lest a database gets that descriptor."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115 - until the end
