"""
Checks of the verification that `stress/tampering.py` can take out, to show that it would notice.

| check | without it |
|---|---|
| `hash` | no revision's hash is recomputed |
| `anchor` | the anchor counts for nothing |
| `head` | the head is not held against the end of the history |
| `strays` | rows of the history that no revision reaches are not counted |
| `live` | no live row is read |
| `stored` | the form in which values are stored is not looked at |
| `missing` | live rows that are not there are not missed |
| `derived` | a derived row may be there that no manifest says |
| `leases` | leases may last as long as they like, by whatever clock |
| `others` | rows of no namespace are not counted, and other namespaces not named |
| `drift` | the schema is not compared with what the migrations make |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from unittest.mock import ANY

from capsule_registry.history import replay, verification
from capsule_registry.schema.tables import leases

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from sqlalchemy import Table

    from capsule_registry.unit_of_work.queries import Row


def _nothing(*_: object, **__: object) -> tuple[()]:
    return ()


def _any(*_: object) -> Any:  # noqa: ANN401 - it equals everything
    return ANY


def _as_any_row(found: replay.Replay, _: object, row: Row) -> None:
    verification._compare_row(found, leases, row)  # noqa: SLF001 - the rest of the check


def _count_alone(_: object, expected: Counter[str], table: Table, row: Row) -> None:
    expected.subtract([verification._line(table, row)])  # noqa: SLF001 - the rest of the check


_CHECKS: Final[dict[str, tuple[object, str, Callable[..., object]]]] = {
    "hash": (replay, "sha256_of_lines", _any),
    "anchor": (verification, "_verify_anchor", _nothing),
    "head": (verification, "_verify_head", _nothing),
    "strays": (verification, "_report_strays", _nothing),
    "live": (verification, "_compare_live_rows", _nothing),
    "stored": (verification, "misstored", _nothing),
    "missing": (verification, "_report_missing", _nothing),
    "derived": (verification, "_verify_derived", _count_alone),
    "leases": (verification, "_verify_lease", _as_any_row),
    "others": (verification, "_others", _nothing),
    "drift": (verification, "_report_drift", _nothing),
}
CHECKS: Final = tuple(_CHECKS)


def take_out(check: str | None) -> None:
    """Take *check*, if given, out of the library in this process."""
    if check is not None:
        module, name, replacement = _CHECKS[check]
        if not hasattr(module, name):
            raise AttributeError(name)
        setattr(module, name, replacement)
