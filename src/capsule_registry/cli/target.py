"""The registry or database that a command works on, opened as the global options say."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from dataclasses import dataclass
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Final

import click

import capsule_registry as library
from capsule_registry.api.moments import parse_moment
from capsule_registry.cli.output import format_option, print_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from capsule_registry import CapsuleRegistry, RegistryAdmin, RegistryReader

LAST_REVISION: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Target:
    """The global options."""

    database: str | None
    namespace: str
    actor: str | None
    reason: str | None
    allow_network_file_system: bool

    def open(self) -> CapsuleRegistry:
        """Open the registry for writing."""
        return self._open(self.database)

    def open_history(self) -> CapsuleRegistry:
        """Open the registry to read its history; a missing database is an error."""
        return self._open(self.database, read_only=True)

    def open_to_read(self) -> CapsuleRegistry:
        """Open the registry read-only; a missing default database reads as empty."""
        if self.database is None and not library.default_file().exists():
            return self._open("sqlite://")
        return self._open(self.database, read_only=True)

    @contextmanager
    def view(self, moment: dict[str, Any] | None) -> Iterator[RegistryReader]:
        """Open the registry for reading, as of now or of *moment*."""
        with self.open_to_read() as registry:
            yield registry.at(**moment) if moment else registry

    @contextmanager
    def view_at_once(self, moment: dict[str, Any] | None) -> Iterator[RegistryReader]:
        """Open the registry for reading, with all reads as of one moment."""
        with self.open_to_read() as registry:
            if moment:
                yield registry.at(**moment)
                return
            with registry.snapshot() as view:
                yield view

    def _open(self, database: str | None, *, read_only: bool = False) -> CapsuleRegistry:
        registry = library.CapsuleRegistry.open(
            database,
            namespace=self.namespace,
            actor=self.actor,
            reason=self.reason,
            read_only=read_only,
            allow_network_file_system=self.allow_network_file_system,
        )
        collect_garbage()
        return registry

    def administrate(self, *, create: bool = True, read_only: bool = False) -> RegistryAdmin:
        """Open the database for administration."""
        collect_garbage()
        return library.RegistryAdmin.open(
            self.database,
            create=create,
            read_only=read_only,
            allow_network_file_system=self.allow_network_file_system,
        )


def collect_garbage() -> None:
    """Collect garbage from now on, but not what was loaded, which stays."""
    gc.freeze()
    gc.enable()


class RevisionOrTime(click.ParamType[dict[str, Any]]):
    """A revision, or a time in ISO 8601 with a zone."""

    name = "revision or time"

    def convert(self, value: Any, param: Any, ctx: Any) -> dict[str, Any]:  # noqa: ANN401 - click's own
        """Return *value* as a keyword argument of `CapsuleRegistry.at`."""
        if isinstance(value, dict):
            return value
        try:
            return {**parse_moment(value)}
        except library.InvalidTextError as error:
            self.fail(error.message, param, ctx)


at_option = click.option(
    "--at",
    "moment",
    type=RevisionOrTime(),
    metavar="MOMENT",
    help="As it was at this revision or time.",
)

pass_target = click.make_pass_decorator(Target)


def listing(
    *columns: str,
) -> Callable[[Callable[..., Iterable[Mapping[str, Any]]]], Callable[..., None]]:
    """
    Make a command of a function that returns rows of a registry, as JSON shapes.

    It takes `--at` and `--format`, and prints the *columns* of the rows, or whole rows as JSON.
    """

    def decorate(rows_of: Callable[..., Iterable[Mapping[str, Any]]]) -> Callable[..., None]:
        @at_option
        @format_option
        @pass_target
        def command(
            target: Target,
            /,
            output_format: str,
            moment: dict[str, Any] | None,
            **arguments: Any,  # noqa: ANN401 - of the function's own options
        ) -> None:
            with target.view(moment) as registry:
                rows = [*rows_of(registry, **arguments)]
            print_rows(rows, columns, output_format)

        return update_wrapper(command, rows_of)

    return decorate
