"""
Output of results: a table for people, JSON or CSV for programs.

Text from a manifest never reaches a terminal raw: unprintable characters (control characters,
marks that change the direction of writing) are escaped.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from capsule_registry import Comparison

    Row = Mapping[str, Any]

#: What begins a formula, in the form of East Asian texts too. Tabs and line ends, which some
#: spreadsheets pass over before it, are escaped. Source: OWASP, "CSV Injection".
_COMPUTED: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
#: Progress is shown after this long.
PATIENCE_SECONDS: Final = 1.0

#: The states of a capsule, without loading the library.
FORMS: Final = ("legacy", "today", "mixed")
STATES: Final = ("unloaded", "loading", "ready", "failed", "unloading")

format_option = click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="A table for people, JSON or CSV for programs.",
)
text_format_option = click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Text for people, JSON for programs.",
)


def escape(text: str) -> str:
    """Return *text* with unprintable characters escaped."""
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )


def print_rows(rows: Sequence[Row], columns: Sequence[str], output_format: str) -> None:
    """Print *rows*: whole as JSON, only their *columns* as a table or CSV."""
    printers: dict[str, Callable[[], None]] = {
        "json": lambda: print_json(rows),
        "csv": lambda: _print_csv(rows, columns),
        "table": lambda: _print_table(rows, columns),
    }
    printers[output_format]()


def print_json(value: object) -> None:
    """Print *value* as JSON in ASCII."""
    import json  # noqa: PLC0415 - help needs none

    click.echo(json.dumps(value, indent=2))


def print_text(text: str) -> None:
    """Print the lines of *text*, each escaped."""
    for line in text.rstrip("\n").split("\n"):
        click.echo(escape(line.removesuffix("\r")))


def print_changes(found: Comparison, indent: str, *, err: bool = False) -> None:
    """Print a line for each entry that came or went, first those rights that are new."""
    rights = found.added_rights
    others = [one for one in found.added if one not in rights]
    for mark, entries, color in (
        ("+", rights, "yellow"),
        ("+", others, None),
        ("-", found.removed, None),
    ):
        for one in entries:
            what = " ".join(filter(None, (one.part, one.name, one.value)))
            click.echo(click.style(f"{indent}{mark} {escape(what)}", fg=color), err=err)


def _print_csv(rows: Sequence[Row], columns: Sequence[str]) -> None:
    import csv  # noqa: PLC0415 - only it needs them
    import io  # noqa: PLC0415

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(_as_text, columns))
    writer.writerows([[_csv_cell(row[column]) for column in columns] for row in rows])
    click.echo(buffer.getvalue(), nl=False)


def _print_table(rows: Sequence[Row], columns: Sequence[str]) -> None:
    heads = [escape(column.replace("_", " ")) for column in columns]
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    (_print_fitting_table if sys.stdout.isatty() else _print_plain_table)(heads, cells)


def _print_fitting_table(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Print a table that is folded to the width of the terminal."""
    from rich import box  # noqa: PLC0415 - only a table needs it
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD)
    for head in heads:
        table.add_column(Text(head))
    for row in cells:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    Console().print(table)


def _print_plain_table(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Print a table as wide as its cells, without loading what a terminal needs."""
    widths = [max(map(_width, column)) for column in zip(heads, *cells, strict=True)]
    click.echo(_line(heads, widths))
    click.echo(_line(["─" * width for width in widths], widths))
    for row in cells:
        click.echo(_line(row, widths))


def _line(cells: Iterable[str], widths: Iterable[int]) -> str:
    padded = (
        cell + " " * (width - _width(cell)) for cell, width in zip(cells, widths, strict=True)
    )
    return "  ".join(padded).rstrip()


def _width(cell: str) -> int:
    """Return how many columns of a terminal *cell* takes."""
    if cell.isascii():
        return len(cell)
    from unicodedata import combining, east_asian_width  # noqa: PLC0415 - rarely needed

    wide = sum(east_asian_width(one) in ("F", "W") for one in cell)
    return len(cell) + wide - sum(map(bool, map(combining, cell)))


def _csv_cell(value: object) -> str:
    cell = _cell(value)
    return _as_text(cell) if isinstance(value, str) else cell


def _as_text(cell: str) -> str:
    """Return *cell*, marked as text by an apostrophe if a spreadsheet would compute it."""
    return f"'{cell}" if cell.startswith(_COMPUTED) else cell


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return escape(value)
    import json  # noqa: PLC0415 - as above

    return escape(json.dumps(value))


class Ticker:
    """A progress display on a terminal, updated once a second."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._last = time.monotonic()

    def __call__(self, number: int) -> None:
        """Print *number*, if an update is due."""
        now = time.monotonic()
        if sys.stderr.isatty() and now - self._last > PATIENCE_SECONDS:
            self._last = now
            click.echo(f"{self._what} {number}", err=True)
