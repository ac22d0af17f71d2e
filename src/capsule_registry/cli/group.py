"""The options before the command's name, and what becomes of errors."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

import capsule_registry as library
from capsule_registry.cli.commands import MODULES, SUMMARIES
from capsule_registry.cli.output import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from capsule_registry import (
        CapsuleRegistry,
        CapsuleRegistryError,
        RegistryAdmin,
        RegistryReader,
    )

#: A number of more digits is no revision.
_MANY_DIGITS: Final = 19
LAST_REVISION: Final = 2**63 - 1
PARTLY_FAILED: Final = 1
NOT_FOUND: Final = 3
UNAVAILABLE: Final = 7
HISTORY_CORRUPT: Final = 8
NOT_PERMITTED: Final = 9
_LONGEST_SENTENCE: Final = 1000

#: The exit code of each branch of errors; the first that fits counts.
_EXIT_CODES: Final = (
    ("UsageError", 2),
    ("NotFoundError", NOT_FOUND),
    ("ConflictError", 4),
    ("InvalidInputError", 5),
    ("DependencyCycleError", 5),
    ("RevisionError", 5),
    ("SchemaVersionError", 6),
    ("RegistryUnavailableError", 7),
    ("HistoryCorruptError", HISTORY_CORRUPT),
    ("PermissionDeniedError", NOT_PERMITTED),
)

#: The exit code of an error of the file system that no error of ours stands for.
_OS_EXIT_CODES: Final = {
    FileExistsError: 4,
    FileNotFoundError: 5,
    IsADirectoryError: 5,
    NotADirectoryError: 5,
    PermissionError: 9,
}


@dataclass(frozen=True, slots=True)
class Target:
    """What the options before the command's name say."""

    database: str | None
    namespace: str
    actor: str | None
    reason: str | None
    allow_network_file_system: bool

    def open(self) -> CapsuleRegistry:
        """Open the registry to change it."""
        return self._open(self.database)

    def open_history(self) -> CapsuleRegistry:
        """Open the registry to read what has happened: one that is not there has no history."""
        return self._open(self.database, read_only=True)

    def open_to_read(self) -> CapsuleRegistry:
        """Open the registry to read it; the default database reads as empty while there is none."""
        if self.database is None and not library.default_file().exists():
            return self._open("sqlite://")
        return self._open(self.database, read_only=True)

    @contextmanager
    def view(self, moment: dict[str, Any] | None) -> Iterator[RegistryReader]:
        """Give what is there to be read, now or at *moment*."""
        with self.open_to_read() as registry:
            yield registry.at(**moment) if moment else registry

    @contextmanager
    def view_at_once(self, moment: dict[str, Any] | None) -> Iterator[RegistryReader]:
        """Give what is there to be read, all as of one moment."""
        with self.open_to_read() as registry:
            if moment:
                yield registry.at(**moment)
                return
            with registry.snapshot() as view:
                yield view

    def _open(self, database: str | None, *, read_only: bool = False) -> CapsuleRegistry:
        return library.CapsuleRegistry.open(
            database,
            namespace=self.namespace,
            actor=self.actor,
            reason=self.reason,
            read_only=read_only,
            allow_network_file_system=self.allow_network_file_system,
        )

    def administrate(self, *, read_only: bool = False) -> RegistryAdmin:
        """Open the database itself."""
        return library.RegistryAdmin.open(
            self.database,
            read_only=read_only,
            allow_network_file_system=self.allow_network_file_system,
        )


class Moment(click.ParamType[dict[str, Any]]):
    """A revision, or a time in ISO 8601 with a zone."""

    name = "revision or time"

    def convert(self, value: Any, param: Any, ctx: Any) -> dict[str, Any]:  # noqa: ANN401 - click's own
        """Return the argument of `CapsuleRegistry.at` that *value* says."""
        if isinstance(value, dict):
            return value
        if value.isascii() and value.isdigit() and len(value) < _MANY_DIGITS:
            return {"revision": int(value)}
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither a revision nor a time", param, ctx)
        if time.tzinfo is None:
            wanted = f"{time.isoformat()}Z"
            self.fail(f"{value!r} has no zone: write {wanted} for UTC", param, ctx)
        return {"time": time}


at_option = click.option(
    "--at", "moment", type=Moment(), metavar="MOMENT", help="As it was at this revision or time."
)

pass_target = click.make_pass_decorator(Target)


class _Group(click.Group):
    """
    The commands, each loaded when it is run.

    They say what went wrong in one line, and exit with its code.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own
        """Return the names, in order."""
        return sorted(SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's own
        """Return the command of that name."""
        if cmd_name not in MODULES:
            return None
        module = import_module(f"capsule_registry.cli.{MODULES[cmd_name]}")
        commands: Iterable[click.Command] = module.commands
        return next(command for command in commands if command.name == cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what each command does, without loading it."""
        stand_ins = [click.Command(name, help=summary) for name, summary in SUMMARIES.items()]
        click.Group(commands=stand_ins).format_commands(ctx, formatter)

    def main(self, *args: Any, **options: Any) -> NoReturn:  # noqa: ANN401 - click's own
        """Run the command, print what went wrong if anything did, and exit."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            code = super().main(*args, **{**options, "standalone_mode": False})
            sys.stdout.flush()
        except library.CapsuleRegistryError as error:
            code = _fail(str(error), exit_code(error))
        except click.ClickException as error:
            code = _fail(f"{error.format_message()} (see --help)", error.exit_code)
        except click.Abort:
            code = _fail("interrupted", PARTLY_FAILED)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = PARTLY_FAILED
        except OSError as error:
            code = _fail(_os_sentence(error), _OS_EXIT_CODES.get(type(error), UNAVAILABLE))
        sys.exit(code if isinstance(code, int) else 0)


def _fail(sentence: str, code: int) -> int:
    shown = escape(sentence)
    more = "…" if len(shown) > _LONGEST_SENTENCE else ""
    click.echo(f"capsule-registry: {shown[:_LONGEST_SENTENCE]}{more}", err=True)
    return code


def _os_sentence(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)


def exit_code(error: CapsuleRegistryError) -> int:
    """Return the exit code of *error*."""
    return next(
        (code for name, code in _EXIT_CODES if isinstance(error, getattr(library, name))),
        PARTLY_FAILED,
    )


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
    help="Open a SQLite file also where locks cannot be trusted.",
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
    6 schema, 7 unavailable, 8 history corrupt, 9 not permitted.
    """
    ctx.obj = Target(database, namespace, actor, reason, allow_network_file_system)
