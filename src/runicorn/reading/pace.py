"""How many steps a second a run has made, from the times of its records."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

from runicorn.reading.column import Column
from runicorn.reading.part import FLOATS, INTS, Group
from runicorn.reading.stretches import TIME, FoundPoints, Stretch
from runicorn.storage import run_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runicorn.reading.events import EventsFile

NAME = "steps_per_second"
_MOST_POINTS = 20_000
_MOST_VALUES = 500
_LEAST_S = 1.0


def pace(files: Iterable[EventsFile]) -> Column:
    """Steps a second over the time, by the lines whose names are the most frequent ones.

    A run whose step falls was resumed, or has begun anew: what is between is no pace.

    Args:
        files: of the run; the main one counts.
    """
    points = _points(files)
    steps: array[int] = array(INTS)
    times: array[float] = array(FLOATS)
    values: array[float] = array(FLOATS)
    if len(points) > 1:
        span_s = points[-1][0] - points[0][0]
        width_s = max(min(_LEAST_S, span_s / 10), span_s / _MOST_VALUES)
        begun_s, before = points[0]
        made = 0
        for time_s, step in points[1:]:
            if step < before:
                begun_s, before, made = time_s, step, 0
                continue
            made += step - before
            before = step
            if time_s - begun_s >= width_s > 0:
                steps.append(step)
                times.append(time_s)
                values.append(made / (time_s - begun_s))
                begun_s, made = time_s, 0
    return Column(NAME, steps, times, values, [((None, None, None), len(steps))] if len(steps) else [])


def points_of_pace(files: Iterable[EventsFile], x: str) -> FoundPoints:
    """The same for a curve; ``x`` is ``step`` or ``time``."""
    column = pace(files)
    count = len(column)
    if not count:
        return FoundPoints([], 0, 0, 0)
    group = Group((NAME,), FLOATS)
    group.numbers = array(INTS, [0, count])
    xs: Sequence[float] = column.time if x == TIME else column.step
    order = sorted(range(count), key=lambda at: (xs[at], at))
    ordered: array[float] = array(FLOATS if x == TIME else INTS, [xs[at] for at in order])
    values: Sequence[Any] = column.value
    ys: array[float] = array(FLOATS, [values[at] for at in order])
    return FoundPoints([Stretch(ordered, ys, (0, count), 0, group, order)], count, 0, 0)


def _points(files: Iterable[EventsFile]) -> list[tuple[float, int]]:
    """Time and step of the lines that count, in the order of time; of very many, some."""
    by_names: dict[tuple[str, ...], list[Group]] = {}
    for file in files:
        if file.name == run_files.EVENTS:
            for _, groups in file.bare_groups(()):
                for group in groups:
                    by_names.setdefault(tuple(group.names), []).append(group)
    if not by_names:
        return []
    chosen = max(by_names.values(), key=lambda groups: sum(len(group.steps) for group in groups))
    total = sum(len(group.steps) for group in chosen)
    stride = max(1, total // _MOST_POINTS)
    found = [
        (group.times[at], group.steps[at])
        for group in chosen
        for at in range(0, len(group.steps), stride)
        if abs(group.times[at]) < _FARTHEST_S  # no NaN either
    ]
    found.sort()
    return found


_FARTHEST_S = 1e12
