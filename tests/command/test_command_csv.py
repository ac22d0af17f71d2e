"""CSV: a spreadsheet that opens it computes nothing."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest

from support.commands import run, run_json, write_capsule

if TYPE_CHECKING:
    from pathlib import Path

    from capsule_registry import CapsuleRegistry
    from support.backends import SqliteBackend

#: Texts that a spreadsheet would compute, and how they are shown.
COMPUTED = {
    "=1+1": "'=1+1",
    '=HYPERLINK("http://x")': '\'=HYPERLINK("http://x")',
    "+1": "'+1",
    "-1": "'-1",
    "@SUM(1)": "'@SUM(1)",
    "＝1": "'＝1",
    "＋1": "'＋1",
    "－1": "'－1",
    "＠x": "'＠x",
    "\t=1": "\\t=1",
    "\r=1": "\\r=1",
    "\n=1": "\\n=1",
}
#: Texts that it would not, which stay as they are.
PLAIN = ("", "a=1", "1-1", "'=1", " x", "alpha")


def _cells(output: str) -> list[list[str]]:
    return [*csv.reader(io.StringIO(output))]


@pytest.mark.parametrize(("text", "shown"), [*COMPUTED.items(), *zip(PLAIN, PLAIN, strict=True)])
def test_a_text_that_would_be_computed_is_marked(
    sqlite: SqliteBackend, text: str, shown: str
) -> None:
    """By an apostrophe in front; JSON has it as it is."""
    url = sqlite.new_url()
    quoted = text.replace("'", "''")
    query = f"SELECT '{quoted}' AS value"

    assert [["value"], [shown]] == _cells(run(url, "sql", query, "--format", "csv").stdout)
    assert [{"value": text}] == run_json(url, "sql", query)


def test_a_heading_is_marked_too(sqlite: SqliteBackend) -> None:
    """The columns of a query have names that its author chose."""
    printed = run(sqlite.new_url(), "sql", 'SELECT 1 AS "=1+1"', "--format", "csv").stdout

    assert [["'=1+1"], ["1"]] == _cells(printed)


def test_a_number_below_zero_is_a_number(sqlite: SqliteBackend) -> None:
    """It is not marked, since it computes nothing."""
    printed = run(sqlite.new_url(), "sql", "SELECT -1 AS a, -0.5 AS b", "--format", "csv").stdout

    assert [["a", "b"], ["-1", "-0.5"]] == _cells(printed)


def test_what_manifests_say_is_marked(registry: CapsuleRegistry, url: str, tmp_path: Path) -> None:
    """In the listings that show texts of theirs."""
    directory = write_capsule(
        tmp_path,
        "alpha",
        '[[tool]]\nname = "=tool()"\ndescription = "@description"\ninput_schema = {}\n'
        '[[uplink]]\nname = "+uplink"\nplatform = "x"\nprofile = "chat"\n',
    )
    assert 0 == run(url, "register", directory).exit_code
    cells = {
        cell
        for command in ("tools", "uplinks")
        for row in _cells(run(url, command, "--format", "csv").stdout)
        for cell in row
    }

    assert {"'=tool()", "'@description", "'+uplink"} <= cells
    assert "=tool()" == run_json(url, "tools")[0]["name"]
