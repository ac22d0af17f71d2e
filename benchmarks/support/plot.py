"""A plot of a run: how far each ratio is from its target."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from support.table import line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from support.comparison import Finding

_ROW, _TEXT, _BARS, _TOP = 22, 480, 420, 68
#: The axis runs from a hundredth of the target to a hundred times it.
_DECADES: Final = 2
_GREEN, _RED = "#2a7d4f", "#b3392f"


def write(file: Path, findings: Sequence[Finding], caption: str) -> None:
    """Write the plot as SVG: a bar from the target (1) to each margin; right is better."""
    shown = [found for found in findings if found.ratio is not None and found.target is not None]
    where, _, versions = caption.partition("; ")
    height = _TOP + _ROW * len(shown) + 10
    bars = "\n".join(_bar(found, _TOP + _ROW * place) for place, found in enumerate(shown))
    file.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_TEXT + _BARS + 180}" height="{height}"'
        ' font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{_title(where, 14)}\n'
        f"{_title(versions, 28)}\n{_axis(height)}\n{bars}\n</svg>\n"
    )


def _title(text: str, top: int) -> str:
    return f'<text x="8" y="{top}" font-size="10">{escape(text)}</text>'


def _place(margin: float) -> float:
    """Return the place of *margin* on the axis."""
    decades = math.log10(margin) if margin > 0 else -_DECADES
    decades = min(max(decades, -_DECADES), _DECADES)
    return _TEXT + _BARS * (decades + _DECADES) / (2 * _DECADES)


def _axis(height: int) -> str:
    marks = []
    for decade in range(-_DECADES, _DECADES + 1):
        place, text = _place(10.0**decade), f"{10.0**decade:g} x"
        colour = "black" if decade == 0 else "#cccccc"
        marks.append(f'<path d="M{place:.0f} {_TOP - 8}V{height - 8}" stroke="{colour}"/>')
        text = "target" if decade == 0 else text
        marks.append(f'<text x="{place:.0f}" y="{_TOP - 14}" text-anchor="middle">{text}</text>')
    return "\n".join(marks)


def _bar(found: Finding, top: int) -> str:
    if found.ratio is None or found.target is None:
        return ""
    end = _place(found.target.margin(found.ratio))
    left, width = min(end, _place(1)), max(abs(end - _place(1)), 1)
    colour = _GREEN if found.is_met else _RED
    ratio = line(found).split("|")[4].strip()
    return (
        f'<text x="{_TEXT - 14}" y="{top + 12}" text-anchor="end">{escape(found.name)}</text>'
        f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{_ROW - 6}" fill="{colour}"/>'
        f'<text x="{_TEXT + _BARS + 8}" y="{top + 12}">{ratio} ({found.target})</text>'
    )
