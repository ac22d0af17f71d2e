"""The printed table."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.comparison import Finding

_HEADINGS: Final = ("what", "ours", "baseline", "ratio", "target", "met")
_WIDTHS: Final = (66, 11, 11, 11, 11, 3)
_STEPS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def heading() -> str:
    """Return the first two lines of the table, which is Markdown."""
    rule = ["-" * width for width in _WIDTHS]
    return f"{_line(_HEADINGS)}\n{_line([rule[0], *(dashes[1:] + ':' for dashes in rule[1:])])}"


def line(finding: Finding) -> str:
    """Return the table row of *finding*."""
    target = "" if finding.target is None else str(finding.target)
    if finding.why_not:
        return _line([finding.name, "", "", "", target, f"not run: {finding.why_not}"])
    met = {True: "yes", False: "NO", None: ""}[finding.is_met]
    both = [_quantity(rounds, finding.unit) for rounds in (finding.ours, finding.baseline)]
    ratio = "" if finding.ratio is None else _number(finding.ratio)
    return _line([finding.name, *both, ratio, target, met])


def _line(cells: Sequence[str]) -> str:
    first = f"{cells[0]:<{_WIDTHS[0]}}"
    others = [f"{cell:>{width}}" for cell, width in zip(cells[1:], _WIDTHS[1:], strict=True)]
    return f"| {' | '.join([first, *others])} |"


def _quantity(rounds: Sequence[float], unit: str) -> str:
    if not rounds:
        return ""
    median = statistics.median(rounds)
    if unit != "s":
        return f"{_number(median)} {unit}".strip()
    step, name = next(((s, n) for s, n in _STEPS if median >= s), _STEPS[-1])
    return f"{_number(median / step)} {name}"


def _number(value: float) -> str:
    """Return *value* rounded to three digits."""
    if value >= 100:  # noqa: PLR2004 - three digits
        return f"{value:,.0f}"
    return f"{value:.3g}"
