"""Every option that takes a number refuses what is none, as usage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.commands import run

if TYPE_CHECKING:
    from support.backends import SqliteBackend

_SECONDS = (
    ("wait-ready", "alpha", "--timeout"),
    ("watch", "--timeout"),
    ("leases", "open", "tests", "--ttl"),
)
_NO_SECONDS = ("nan", "-nan", "inf", "-inf", "infinity", "-1", "-0.001", "1e400", "1e300", "x", "")
_WHOLE = (
    ("replace", "alpha", "--generation"),
    ("log", "--after"),
    ("log", "--limit"),
    ("watch", "--after"),
    ("audit", "export", "--after"),
)
_NO_WHOLE = ("nan", "inf", "-1", "1.5", "x", "")
_TOO_LARGE = str(2**63)
_CASES = [
    *((option, value) for option in _SECONDS for value in _NO_SECONDS),
    *((option, value) for option in _WHOLE for value in _NO_WHOLE),
    *((option, _TOO_LARGE) for option in _WHOLE if option[-1] != "--limit"),
    *((("list", "--at"), value) for value in ("nan", "inf", "-1", "1.5", _TOO_LARGE, "")),
]


@pytest.mark.parametrize(("option", "value"), _CASES, ids=map(repr, _CASES))
def test_no_number_is_usage(sqlite: SqliteBackend, option: tuple[str, ...], value: str) -> None:
    """It exits with 2 and one line, before anything is opened."""
    *command, name = option
    result = run(sqlite.empty_url(), *command, f"{name}={value}")

    assert (2, 1) == (result.exit_code, result.stderr.count("\n"))


@pytest.mark.parametrize("value", ["0", "0.1", "1e-9", ".25"])
def test_a_number_is_taken(sqlite: SqliteBackend, value: str) -> None:
    """So the refusals are of the values, and not of the options."""
    url = sqlite.new_url()
    codes = [
        run(url, "wait-ready", "alpha", f"--timeout={value}").exit_code,
        run(url, "watch", f"--timeout={value}").exit_code,
        run(url, "leases", "open", "tests", "--ttl=30").exit_code,
    ]

    assert [1, 0, 0] == codes
