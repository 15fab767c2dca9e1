"""Curves as points: smoothed, on a logarithmic axis, and thinned to what a terminal can show."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

import msgspec

from runicorn.reading.curves import smoothed as by_distance

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Point = tuple[float, float]


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


def smoothed(values: Sequence[float], weight: float) -> array[float]:
    """The exponential moving average, without the pull of its beginning towards 0.

    Args:
        values: finite ones.
        weight: of what was before, from 0 (nothing changes) to below 1.
    """
    found, _ = by_distance(range(len(values)), values, weight, 0.0)
    return found


def on_log_axis(x: Sequence[float], y: Sequence[float]) -> tuple[array[float], array[float]]:
    """Those points whose y is above 0, with its decimal logarithm instead."""
    return array("d", (at for at, value in zip(x, y, strict=True) if value > 0)), array(
        "d", (math.log10(value) for value in y if value > 0)
    )


def thinned(x: Sequence[float], y: Sequence[float], columns: int) -> list[Point]:
    """Of points that are sorted by x those that make a difference in so many columns.

    In each column the first, the last, the lowest and the highest.
    """
    if len(x) <= 4 * columns:
        return list(zip(x, y, strict=True))
    left, step = x[0], (x[-1] - x[0]) / columns
    kept: list[Point] = []
    begin = 0
    for column in range(1, columns + 1):
        end = bisect_left(x, left + column * step, begin) if column < columns else len(x)
        if begin < end:
            part = y[begin:end]
            chosen = {0, end - begin - 1, part.index(min(part)), part.index(max(part))}
            kept.extend((x[begin + at], part[at]) for at in sorted(chosen))
            begin = end
    return kept


def _apart(low: float, high: float) -> Point:
    if low < high:
        return low, high
    margin = abs(low) * 0.1 or 1.0
    return low - margin, high + margin
