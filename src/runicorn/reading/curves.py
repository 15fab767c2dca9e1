"""Curves of a given width: of millions of values what a screen can show, and every value that stands out.

Values are put into buckets by x, whose bounds are multiples of a round step: growth does not move them, and runs share
them. Of each bucket a curve has the least and the greatest value, the mean, the last one, and how many there are. So a
single outlier among millions is seen at every zoom. Few values are given as they are.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

import msgspec

from runicorn.reading.levels import NOTHING, Summed, summed
from runicorn.reading.stretches import FoundPoints, Stretch, first_and_last

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

POINTS, BUCKETS = "points", "buckets"
MOST_BUCKETS = 4000
_RAW = 512 * 1024
"""Below so many values in range the levels are not needed, and not made."""
_UNITS_OF_RANGE = 1000
"""The weight of smoothing is that over a thousandth of the whole curve."""
_FINEST = 2.0**-40


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What of a curve is wanted.

    Attributes:
        start: least x; None = from the first on.
        stop: greatest x, which is included; None = to the last.
        buckets: about so many at most.
        width: of a bucket, instead of that, and never points; wider where there would be more than 4,000.
        offset: is taken off x; None = the first x.
        smooth: 0 to below 1.
        count_hidden: count values that a logarithmic axis cannot show.
        only_buckets: never points, however few there are.
    """

    start: float | None = None
    stop: float | None = None
    buckets: int = 1000
    width: float | None = None
    offset: float | None = 0
    smooth: float = 0.0
    count_hidden: bool = False
    only_buckets: bool = False


class Curve(msgspec.Struct, kw_only=True):
    """A curve.

    Attributes:
        kind: ``points`` or ``buckets``.
        arrays: of equal length, sorted by ``x``: ``x`` and ``y`` of points; of buckets ``x`` (the lower bound),
            ``min``, ``max``, ``mean``, ``last``, ``count``, and ``nonfinite`` where one has some; ``smooth`` if asked.
        width: of a bucket; the one that they would have where these are points.
        total: how many values the metric has.
        in_range: how many of them are numbers between start and stop.
        others: how many are no numbers, or have no x.
        replaced: how many a later session has superseded.
        nan: how many in range are NaN.
        inf: how many in range are infinite.
        low: the least finite value in range; None if there is none.
        high: the greatest.
        last_value: the value of the greatest x in range; of several the one logged last.
        first_x: of the whole curve; None if it is empty.
        last_x: of the whole curve.
        log_hidden: how many in range are 0 or below; None if not asked.
    """

    kind: str
    arrays: dict[str, array[float]]
    width: float
    total: int
    in_range: int
    others: int
    replaced: int
    nan: int = 0
    inf: int = 0
    low: float | None = None
    high: float | None = None
    last_value: float | None = None
    first_x: float | None = None
    last_x: float | None = None
    log_hidden: int | None = None


class Grid:
    """Bounds of buckets: multiples of a width.

    Args:
        width: of a bucket; an integer where all x are.
        offset: what is taken off x.
    """

    def __init__(self, width: float, offset: float = 0) -> None:
        self.width = width
        self.offset = offset
        self._key: Callable[[float], float] | None = None
        if not (isinstance(offset, int) and isinstance(width, int)) and offset:
            self._key = self.shifted

    def shifted(self, x: float) -> float:
        """Where an x stands on the axis."""
        return x - self.offset

    def number(self, x: float) -> int:
        """The number of the bucket that holds an x of the axis."""
        if isinstance(x, int) and isinstance(self.width, int):
            return x // self.width
        number = math.floor(x / self.width)
        while x < number * self.width:
            number -= 1
        while x >= (number + 1) * self.width:
            number += 1
        return number

    def first_at(self, stretch: Stretch, bound: float, start: int, stop: int) -> int:
        """The first place of a stretch whose x is not below a bound of the axis."""
        if self._key is None:
            return bisect_left(stretch.x, bound + self.offset, start, stop)
        return bisect_left(stretch.x, bound, start, stop, key=self._key)

    def first_behind(self, stretch: Stretch, bound: float, start: int, stop: int) -> int:
        """The first place of a stretch whose x is above a bound of the axis."""
        if self._key is None:
            return bisect_right(stretch.x, bound + self.offset, start, stop)
        return bisect_right(stretch.x, bound, start, stop, key=self._key)


def round_width(span: float, buckets: int, *, whole: bool) -> float:
    """The least of 1, 2, 5, 10, 20 and so on (0.1, 0.2 ... too unless whole) that fits so many times into a span."""
    least = span / max(1, buckets)
    if whole and least <= 1:
        return 1
    if not least > 0:
        return 1.0
    exponent = math.floor(math.log10(least)) - 1
    for power in range(exponent, exponent + 4):
        for digit in (1, 2, 5):
            width: float = digit * 10**power if power >= 0 else digit / 10**-power
            if width >= least:
                return width if whole else float(width)
    raise AssertionError("one of twelve widths over four powers of ten fits")


class _Bucket:
    __slots__ = ("count", "finite", "high", "last", "last_at", "low", "nan", "total")

    def __init__(self) -> None:
        self.low, self.high, self.total, self.finite, self.nan = NOTHING
        self.count = 0
        self.last = math.nan
        self.last_at: tuple[float, Stretch, int] | None = None

    def add(self, more: Summed, stretch: Stretch, start: int, stop: int) -> None:
        self.low, self.high = min(self.low, more.low), max(self.high, more.high)
        self.total += more.total
        self.finite += more.finite
        self.nan += more.nan
        self.count += stop - start
        at = stop - 1
        x = stretch.x[at]
        before = self.last_at
        if before is None or x > before[0] or (x == before[0] and stretch.order(at) > before[1].order(before[2])):
            self.last_at = (x, stretch, at)

    @property
    def mean(self) -> float:
        if not self.finite:
            return math.nan
        mean = self.total / self.finite
        # A sum of huge values may be beyond all floats, and one that is rounded beside its bounds.
        return self.high if math.isnan(mean) else min(max(mean, self.low), self.high)


def curve(found: FoundPoints, query: Query) -> Curve:
    """Draw a curve of what was found."""
    ends = first_and_last(found.stretches)
    if ends is None:
        empty = {name: array("d") for name in ("x", "y")}
        return Curve(
            kind=POINTS, arrays=empty, width=query.width or 1.0, total=found.total, in_range=0, others=found.others,
            replaced=found.replaced,
        )  # fmt: skip
    whole = all(isinstance(end, int) for end in ends)
    offset = ends[0] if query.offset is None else query.offset
    first, last = ends[0] - offset, ends[1] - offset
    low = first if query.start is None else max(query.start, first)
    high = last if query.stop is None else min(query.stop, last)
    grid = Grid(_width(query, low, high, whole=whole and isinstance(offset, int)), offset)
    ranges = _in_range(found.stretches, grid, query, (low, high))
    count = sum(stop - start for _, start, stop in ranges)
    made = Curve(
        kind=POINTS, arrays={}, width=float(grid.width), total=found.total, in_range=count, others=found.others,
        replaced=found.replaced, first_x=float(first), last_x=float(last),
    )  # fmt: skip
    if query.width is None and not query.only_buckets and count <= 2 * query.buckets:
        _add_points(made, ranges, grid)
    else:
        _add_buckets(made, ranges, grid, count)
    if query.count_hidden:
        made.log_hidden = _hidden(made, ranges)
    if query.smooth:
        before = None if low <= first else _smoothed_before(found, query, offset, (first, low))
        _add_smooth(made, query.smooth, unit_of(first, last), before)
    return made


def _width(query: Query, low: float, high: float, *, whole: bool) -> float:
    span = max(0.0, float(high) - float(low))
    finest = max(abs(low), abs(high)) * _FINEST
    if query.width is not None and query.width > 0 and span <= query.width * MOST_BUCKETS:
        width: float = max(1, round(query.width)) if whole else float(query.width)
        return width if whole else max(width, finest)
    buckets = min(max(1, query.buckets), MOST_BUCKETS)
    width = round_width(span, buckets, whole=whole)
    return width if whole or width >= finest else round_width(finest, 1, whole=False)


Ranges = list[tuple[Stretch, int, int]]


def _in_range(stretches: Sequence[Stretch], grid: Grid, query: Query, ends: tuple[float, float]) -> Ranges:
    found = []
    for stretch in stretches:
        start, stop = stretch.start, stretch.stop
        if query.start is not None:
            start = grid.first_at(stretch, ends[0], start, stop)
        if query.stop is not None:
            stop = grid.first_behind(stretch, ends[1], start, stop)
        if start < stop:
            found.append((stretch, start, stop))
    return found


def _add_points(made: Curve, ranges: Ranges, grid: Grid) -> None:
    points = sorted(
        (grid.shifted(stretch.x[at]), stretch.order(at), number, at)
        for number, (stretch, start, stop) in enumerate(ranges)
        for at in range(start, stop)
    )
    values = array("d", [float(ranges[number][0].y[at]) for _, _, number, at in points])
    made.arrays = {"x": array("d", [float(x) for x, *_ in points]), "y": values}
    whole = summed(values)
    _add_figures(made, whole, len(values))
    made.last_value = values[-1] if values else None


def _add_buckets(made: Curve, ranges: Ranges, grid: Grid, count: int) -> None:
    buckets: dict[int, _Bucket] = {}
    for stretch, start, stop in ranges:
        levels = stretch.make_levels() if count >= _RAW else None
        at = start
        while at < stop:
            number = grid.number(grid.shifted(stretch.x[at]))
            end = grid.first_at(stretch, (number + 1) * grid.width, at, stop)
            values = levels.of(stretch.y, at, end) if levels is not None else summed(stretch.y[at:end])
            buckets.setdefault(number, _Bucket()).add(values, stretch, at, end)
            at = end
    numbers = sorted(buckets)
    ordered = [buckets[number] for number in numbers]
    made.kind = BUCKETS
    made.arrays = {
        "x": array("d", [float(number * grid.width) for number in numbers]),
        "min": array("d", [each.low if each.finite else math.nan for each in ordered]),
        "max": array("d", [each.high if each.finite else math.nan for each in ordered]),
        "mean": array("d", [each.mean for each in ordered]),
        "last": array("d", [_last_of(each) for each in ordered]),
        "count": array("d", [float(each.count) for each in ordered]),
    }
    if any(each.finite < each.count for each in ordered):
        made.arrays["nonfinite"] = array("d", [float(each.count - each.finite) for each in ordered])
    low = min((each.low for each in ordered), default=math.inf)  # of a run that ends before the range there is none
    high = max((each.high for each in ordered), default=-math.inf)
    finite, nan = sum(each.finite for each in ordered), sum(each.nan for each in ordered)
    _add_figures(made, Summed(low, high, 0.0, finite, nan), count)
    made.last_value = made.arrays["last"][-1] if ordered else None


def _last_of(bucket: _Bucket) -> float:
    assert bucket.last_at is not None
    _, stretch, at = bucket.last_at
    return float(stretch.y[at])


def _add_figures(made: Curve, whole: Summed, count: int) -> None:
    made.nan = whole.nan
    made.inf = count - whole.finite - whole.nan
    if whole.finite:
        made.low, made.high = float(whole.low), float(whole.high)


def _hidden(made: Curve, ranges: Ranges) -> int:
    if made.low is None or made.low > 0:
        return 0
    return sum(
        sum(1 for value in stretch.y[start:stop].tolist() if value <= 0 and math.isfinite(value))
        for stretch, start, stop in ranges
    )


def unit_of(first: float, last: float) -> float:
    """The unit of x that the weight of smoothing is for, of a whole curve."""
    return (last - first) / _UNITS_OF_RANGE


State = tuple[float, float, float]
"""Of an average that moves: weighted sum, sum of weights, and the x that it has come to."""


def smoothed(
    x: Sequence[float], y: Sequence[float], weight: float, unit: float, state: State | None = None
) -> tuple[array[float], State | None]:
    """The exponential moving average over x, without the pull of its beginning towards 0.

    What was before has the given weight for each unit of x: the average does not depend on how densely was logged.

    Args:
        x: in rising order.
        y: of each; what is not finite is passed over.
        weight: from 0 to below 1.
        unit: of x; 0 = each value counts as one further.
        state: where it goes on.
    """
    found = array("d")
    for here, value in zip(x, y, strict=True):
        if math.isfinite(value):
            if state is None:
                state = (1.0 - weight) * value, 1.0 - weight, here
            else:
                total, weights, before = state
                kept = weight ** max((here - before) / unit, 0.0) if unit > 0 else weight
                if here <= before and unit > 0:  # several at one x: as one more of them each
                    kept = weight ** (1.0 / _UNITS_OF_RANGE)
                state = kept * total + (1.0 - kept) * value, kept * weights + (1.0 - kept), here
        found.append(math.nan if state is None or not state[1] else state[0] / state[1])
    return found, state


def _smoothed_before(found: FoundPoints, query: Query, offset: float, ends: tuple[float, float]) -> State | None:
    """The average that what is left of the range has come to."""
    earlier = msgspec.structs.replace(query, start=None, stop=ends[1], width=None, offset=offset, smooth=0.0)
    made = curve(found, earlier)
    # What stands at the bound itself belongs to the range.
    x, y = made.arrays["x"], made.arrays["y" if made.kind == POINTS else "mean"]
    count = bisect_left(x, ends[1])
    whole = first_and_last(found.stretches)
    assert whole is not None
    _, state = smoothed(x[:count], y[:count], query.smooth, unit_of(*whole))
    return state


def _add_smooth(made: Curve, weight: float, unit: float, state: State | None) -> None:
    values = made.arrays["y" if made.kind == POINTS else "mean"]
    made.arrays["smooth"], _ = smoothed(made.arrays["x"], values, weight, unit, state)
