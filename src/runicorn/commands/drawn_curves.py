"""Curves as points that a terminal can show."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from runicorn.reading.curves import POINTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runicorn.reading.curves import Curve

Point = tuple[float, float]
LARGEST = 1e300
"""Values beyond that are not drawn: the distance of two of them may be infinite."""


class DrawnCurve(msgspec.Struct, frozen=True):
    """A line in a plot.

    Attributes:
        name: for the legend; empty = it is behind another one, and not named.
        points: x and y of each, sorted by x, all finite; as many as make a difference.
        number: of the series that it belongs to.
    """

    name: str
    points: list[Point]
    number: int = 0


class Bounds(msgspec.Struct, frozen=True):
    """The corners of a plot; neither width nor height is 0."""

    left: float
    right: float
    low: float
    high: float


def bounds_of(curves: Iterable[DrawnCurve]) -> Bounds:
    """The corners that hold all points of curves, of which there is at least one."""
    points = [point for curve in curves for point in curve.points]
    left, right = _apart(min(x for x, _ in points), max(x for x, _ in points))
    low, high = _apart(min(y for _, y in points), max(y for _, y in points))
    return Bounds(left, right, low, high)


def drawn(made: Curve, *, log: bool, smooth: bool) -> list[list[Point]]:
    """The lines of a curve: as it was logged, and in front of it the smoothed one if there is one.

    Of each bucket the least and the greatest value, so that what sticks out is seen.

    Args:
        made: the curve.
        log: logarithms instead of values; what has none is left out.
        smooth: whether it was smoothed.
    """
    x = made.arrays["x"]
    rows: list[Iterable[Point]] = [zip(x, made.arrays["y"], strict=True)] if made.kind == POINTS else [_bars(made)]
    rows += [zip(x, made.arrays["smooth"], strict=True)] if smooth else []
    return [[(at, math.log10(y) if log else y) for at, y in row if _is_drawn(y, log=log)] for row in rows]


def _bars(made: Curve) -> Iterator[Point]:
    for x, low, high in zip(made.arrays["x"], made.arrays["min"], made.arrays["max"], strict=True):
        yield x, low
        if high != low:
            yield x, high


def _is_drawn(y: float, *, log: bool) -> bool:
    return -LARGEST < y < LARGEST and (y > 0 or not log)


def _apart(low: float, high: float) -> Point:
    if low < high:
        return low, high
    margin = abs(low) * 0.1 or 1.0
    return low - margin, high + margin
