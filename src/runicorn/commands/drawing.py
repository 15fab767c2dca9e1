"""A plot as lines of text: dots and colours where the terminal has them, else letters."""

from __future__ import annotations

import math
import os
import sys
from itertools import groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING

from runicorn.commands import plain_plot, render
from runicorn.commands.drawn_curves import Bounds, DrawnCurve, Point, bounds_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_MARKS = "abcdefghijklmnopqrstuvwxyz"
_BEHIND, _ALONE = ".", "*"
_EMPTY = "\u2800"
"""A Braille cell without a dot."""
_STRONG = (33, 208, 41, 170, 220, 44, 197, 250)
"""Of the 256 colours of terminals: to be told from each other on dark and on light."""
_PALE = (24, 94, 22, 53, 58, 23, 52, 240)
_LOOKS = 4


def draw(curves: Sequence[DrawnCurve], *, width: int, height: int, log: bool, time: bool) -> list[str]:
    """Lines of a plot with its axes and legend.

    Args:
        curves: at least one point in all; on a logarithmic axis with the logarithms of their values.
        width: of the whole, in characters.
        height: of the part with the curves, in lines.
        log: the y axis is logarithmic.
        time: the x axis is in seconds.
    """
    bounds = bounds_of(curves)

    def y_text(value: float) -> str:
        return f"{10**value if log else value:.4g}"

    margin = max(map(len, plain_plot.labels_of(bounds, height, y_text))) + _LOOKS - 1
    columns = max(1, width - margin)
    dots = _dots(curves, bounds, columns, height)
    rows = _letters(curves, bounds, columns, height) if dots is None else dots
    lines = plain_plot.framed(rows, bounds, columns, y_text, render.duration if time else _step_text)
    return [*lines, *_legend(curves, dots=dots is not None, margin=margin, width=width, log=log, time=time)]


def _dots(curves: Sequence[DrawnCurve], bounds: Bounds, columns: int, height: int) -> list[str] | None:
    """Rows of Braille dots, coloured; None where the library, the terminal or its colours are missing."""
    several = len({curve.number for curve in curves}) > 1 or any(not curve.name for curve in curves)
    if not sys.stdout.isatty() or not _can_print(_EMPTY) or (several and not _has_colours()):
        return None
    try:
        from plotille import Canvas, color
    except ImportError:
        return None
    cells = [[(_EMPTY, 0)] * columns for _ in range(height)]
    # A canvas each: where one line runs over another, it is to be seen.
    for curve in sorted(curves, key=lambda each: bool(each.name)):
        drawn = Canvas(columns, height, bounds.left, bounds.low, bounds.right, bounds.high, no_color=True)
        for (x0, y0), (x1, y1) in pairwise(curve.points):
            drawn.line(x0, y0, x1, y1)
        if len(curve.points) == 1:
            drawn.point(*curve.points[0])
        for row, line in zip(cells, str(drawn.plot(linesep="\n")).split("\n"), strict=True):
            row[:] = [
                (shown, _colour(curve)) if shown != _EMPTY else below for shown, below in zip(line, row, strict=True)
            ]
    plainly = not _has_colours()
    return [
        "".join(
            color("".join(shown for shown, _ in group), fg=number, mode="byte", no_color=plainly or not number)
            for number, group in groupby(row, key=itemgetter(1))
        )
        for row in cells
    ]


def _letters(curves: Sequence[DrawnCurve], bounds: Bounds, columns: int, height: int) -> list[str]:
    ordered = sorted(curves, key=lambda each: bool(each.name))
    marked = [(_mark(curve, curves), _joined(curve.points, columns, bounds)) for curve in ordered]
    return plain_plot.canvas(marked, bounds, columns, height)


def _joined(points: list[Point], columns: int, bounds: Bounds) -> list[Point]:
    """The points, and between those that are far apart one for each column."""
    column = (bounds.right - bounds.left) / columns
    found = points[:1]
    for (x0, y0), (x1, y1) in pairwise(points):
        steps = min(columns, int((x1 - x0) / column))
        found += [(x0 + (x1 - x0) * at / steps, y0 + (y1 - y0) * at / steps) for at in range(1, steps)]
        found.append((x1, y1))
    return found


def _legend(curves: Sequence[DrawnCurve], *, dots: bool, margin: int, width: int, log: bool, time: bool) -> list[str]:
    axes = [*(["y logarithmic"] if log else []), "x time since the run began" if time else "x step"]
    lines = []
    for curve in curves:
        if curve.name:
            mark = _coloured("--", curve) if dots else _mark(curve, curves)
            name = render.shortened(curve.name, max(8, width - margin - 4))
            lines.append(f"{' ' * (margin - 1)}{mark} {name}")
    if any(not curve.name for curve in curves):
        axes.append("behind: not smoothed")
    return [*lines, f"{' ' * (margin - 1)}({', '.join(axes)})"]


def _mark(curve: DrawnCurve, curves: Sequence[DrawnCurve]) -> str:
    if not curve.name:
        return _BEHIND
    alone = all(each.number == curve.number for each in curves)
    return _ALONE if alone else _MARKS[curve.number % len(_MARKS)]


def _colour(curve: DrawnCurve) -> int:
    colours = _STRONG if curve.name else _PALE
    return colours[curve.number % len(colours)]


def _coloured(text: str, curve: DrawnCurve) -> str:
    from plotille import color

    return str(color(text, fg=_colour(curve), mode="byte", no_color=not _has_colours()))


def _has_colours() -> bool:
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _step_text(value: float) -> str:
    return str(round(value)) if math.isfinite(value) else ""
