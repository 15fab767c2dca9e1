"""One curve over all members of a group: each is drawn once, on a grid that all of them share."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from runicorn.reading.curves import MOST_BUCKETS, Curve, Query, curve, round_width
from runicorn.reading.stretches import FoundPoints, first_and_last
from runicorn.viewer.answers import plain_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runicorn.viewer.changes import RunRow
    from runicorn.viewer.open_runs import OpenRun

    Find = Callable[[RunRow, OpenRun], tuple[FoundPoints, Query]]

_SUMS = ("total", "in_range", "others", "nan", "inf", "replaced")


class Member(NamedTuple):
    """What one run has in one bucket."""

    low: float
    high: float
    mean: float
    smooth: float


def group_curve(
    members: list[tuple[RunRow, OpenRun]], find: Find, query: Query
) -> tuple[dict[str, Any], dict[str, array[float]]]:
    """The mean over the members with its deviation and bounds, and what is told of it.

    Args:
        members: the runs that have the metric.
        find: their values, and what of them is wanted; called while the run's lock is held.
        query: what is wanted of the group.
    """
    width = _shared_width(members, find, query)
    made: list[Curve] = []
    for row, opened in members:
        with opened.reading():
            found, of_run = find(row, opened)
            made.append(curve(found, msgspec.structs.replace(of_run, width=width)))
    buckets: dict[float, list[Member]] = {}
    for each in made:
        for x, member in _in_buckets(each):
            buckets.setdefault(x, []).append(member)
    arrays = _arrays(sorted(buckets.items()), has_smooth=query.smooth > 0)
    return {**_figures(made, arrays, width), "indexed": min((run.indexed for _, run in members), default=1.0)}, arrays


def _shared_width(members: list[tuple[RunRow, OpenRun]], find: Find, query: Query) -> float:
    """Of a bucket: round, and no narrower than the member that was logged most seldom has its values apart."""
    ends: list[tuple[float, float]] = []
    buckets = query.buckets
    for row, opened in members:
        with opened.reading():
            found, of_run = find(row, opened)
            own = first_and_last(found.stretches)
        if own is None:
            continue
        offset = own[0] if of_run.offset is None else of_run.offset
        ends.append((own[0] - offset, own[1] - offset))
        span, count = own[1] - own[0], found.total - found.others
        shown = _clipped(ends[-1], query)
        share = (shown[1] - shown[0]) / span if span > 0 else 1.0
        buckets = min(buckets, max(1, math.ceil((count - 1) * share)))
    if not ends:
        return query.width or 1.0
    low, high = _clipped((min(first for first, _ in ends), max(last for _, last in ends)), query)
    span = max(0.0, high - low)
    if query.width is not None and span <= query.width * MOST_BUCKETS:
        return query.width
    whole = all(isinstance(end, int) for both in ends for end in both)
    return float(round_width(span, min(buckets, MOST_BUCKETS), whole=whole))


def _clipped(ends: tuple[float, float], query: Query) -> tuple[float, float]:
    low = ends[0] if query.start is None else max(query.start, ends[0])
    return low, max(low, ends[1] if query.stop is None else min(query.stop, ends[1]))


def _in_buckets(made: Curve) -> Iterator[tuple[float, Member]]:
    """Lower bound and content of each bucket that has finite values."""
    arrays = made.arrays
    if made.kind != "buckets":  # there are no values
        return
    smooth = arrays.get("smooth", arrays["mean"])
    for x, *values in zip(arrays["x"], arrays["min"], arrays["max"], arrays["mean"], smooth, strict=True):
        if math.isfinite(values[2]):
            yield x, Member(*values)


def _arrays(buckets: list[tuple[float, list[Member]]], *, has_smooth: bool) -> dict[str, array[float]]:
    means = [[member.mean for member in members] for _, members in buckets]
    arrays = {
        "x": array("d", [x for x, _ in buckets]),
        "mean": array("d", map(_mean, means)),
        "min": array("d", [min(member.low for member in members) for _, members in buckets]),
        "max": array("d", [max(member.high for member in members) for _, members in buckets]),
        "std": array("d", map(_deviation, means)),
        "members": array("d", [float(len(members)) for _, members in buckets]),
    }
    if has_smooth:
        arrays["smooth"] = array("d", [_mean([member.smooth for member in members]) for _, members in buckets])
    return arrays


def _figures(made: list[Curve], arrays: dict[str, array[float]], width: float) -> dict[str, Any]:
    firsts = [each.first_x for each in made if each.first_x is not None]
    lasts = [each.last_x for each in made if each.last_x is not None]
    hidden = [each.log_hidden for each in made if each.log_hidden is not None]
    return {
        "kind": "group",
        "n": len(arrays["x"]),
        "width": width,
        "members": len(made),
        "shown": len(arrays["x"]),
        "exact": True,
        **{name: sum(getattr(each, name) for each in made) for name in _SUMS},
        "low": min(arrays["min"], default=None),
        "high": max(arrays["max"], default=None),
        "first_x": min(firsts, default=None),
        "last_x": max(lasts, default=None),
        "last_value": plain_number(arrays["mean"][-1]) if arrays["mean"] else None,
        "log_hidden": sum(hidden) if hidden else None,
    }


def _mean(values: list[float]) -> float:
    try:
        return math.fsum(values) / len(values)
    except OverflowError:
        return math.fsum(value / len(values) for value in values)


def _deviation(values: list[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = _mean(values)
    try:
        return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    except OverflowError:
        return math.hypot(*((value - mean) / math.sqrt(len(values) - 1) for value in values))
