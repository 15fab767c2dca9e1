"""The values of a metric as stretches in which x rises: what curves are drawn from, mostly views of mapped files."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from runicorn.reading import sessions
from runicorn.reading.part import FLOATS, OTHERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from runicorn.reading.events import EventsFile
    from runicorn.reading.lenient import Origin
    from runicorn.reading.levels import Levels, LevelStore
    from runicorn.reading.part import Group, Header

    Place = tuple[EventsFile, Header, Group, int]
    Ranges = list[tuple[int, int]]

STEP, TIME = "step", "time"
METRIC = "metric:"
_MOST_RANGES = 256
_FARTHEST = 1e300
"""Beyond that, x is not drawn: the distance of two of them may be infinite."""


class Stretch:
    """Values whose x rises.

    Attributes:
        x: of each value of a group, or of some that were picked from it.
        y: the values.
        start: the first of the stretch.
        stop: behind its last.
        group: that they are from.
    """

    def __init__(self, x: Any, y: Any, ends: tuple[int, int], number: int, group: Group, rows: Any = None) -> None:
        self.x, self.y = x, y
        self.start, self.stop = ends
        self.make_levels: Callable[[], Levels | None] = _nothing
        self._number = number
        self.group = group
        self._rows = rows
        self._ends: list[int] | None = None

    def order(self, at: int) -> tuple[int, int]:
        """Sorts its values by when they were logged among those of all stretches: number of the part, and line."""
        row = at if self._rows is None else self._rows[at]
        numbers = self.group.numbers
        if len(numbers) == 2:
            return self._number, numbers[0] + row
        if self._ends is None:
            self._ends = list(accumulate(numbers[1::2]))
        pair = bisect_right(self._ends, row)
        return self._number, numbers[2 * pair] + row - (self._ends[pair - 1] if pair else 0)


class FoundPoints(NamedTuple):
    """What there is of a metric.

    Attributes:
        stretches: of its values.
        total: how many values there are, numbers or not.
        others: how many of them are no numbers, or have no x.
        replaced: how many there are that a later session has superseded.
    """

    stretches: list[Stretch]
    total: int
    others: int
    replaced: int


def collect(
    files: Iterable[EventsFile],
    name: str,
    store: LevelStore,
    *,
    x: str = STEP,
    is_wanted: Callable[[Origin], bool] | None = None,
    superseded: bool = False,
) -> FoundPoints:
    """Find the values of a metric in the files, as far as they were read.

    Args:
        files: of the run.
        name: of the metric.
        store: of the run's levels.
        x: ``step``, ``time`` or ``metric:<name>``; of another metric what the same lines have.
        is_wanted: says which origins; None = all.
        superseded: only those that a later session has superseded, instead of all others.
    """
    collector = _Collector(store, x, is_wanted, superseded=superseded)
    for file in files:
        collector.add(file, name)
    return FoundPoints(collector.stretches, collector.total, collector.others, collector.replaced)


def is_of_rank(files: Iterable[EventsFile], name: str, rank: int | None) -> Callable[[Origin], bool]:
    """Says which origins have the values of a metric that are one line: of a rank, else of 0 or the first that has."""
    wanted = _main_rank(files, name) if rank is None else rank
    return lambda origin: (origin[1] or 0) == wanted


def _main_rank(files: Iterable[EventsFile], name: str) -> int:
    ranks = {
        header.origins[number][1] or 0
        for file in files
        for header, of_name in file.of_metric(name)
        for group, _ in of_name
        for number in set(group.origins[::2])
    }
    return min(ranks, default=0)


class _Collector:
    def __init__(
        self, store: LevelStore, x: str, is_wanted: Callable[[Origin], bool] | None, *, superseded: bool
    ) -> None:
        self.stretches: list[Stretch] = []
        self.total = self.others = self.replaced = 0
        self._store = store
        self._x = x
        self._is_wanted = is_wanted
        self._superseded = superseded
        self._parts = 0

    def add(self, file: EventsFile, name: str) -> None:
        pieces = [(file.session_of(header), header, of_name) for header, of_name in file.of_metric(name)]
        limits = sessions.limits_of(file, name, pieces)
        others = _columns_of(file, self._x.removeprefix(METRIC)) if self._x.startswith(METRIC) else {}
        for session, header, of_name in pieces:
            self._parts += 1
            for group, number in of_name:
                ranges = _ranges_of(group, header.origins, self._is_wanted)
                ranges = self._of_session((file, header, group, number), ranges, limits.get(session))
                self.total += sum(stop - start for start, stop in ranges)
                self._add_ranges((file, header, group, number), ranges, others)

    def _of_session(self, place: Place, ranges: Ranges, limit: int | None) -> Ranges:
        """The ranges of which nothing was superseded; of those that were, if they are asked for."""
        if limit is None:
            return [] if self._superseded else ranges
        file, header, group, _ = place
        falls = self._store.falls(file, header, group, of_times=False)
        kept: Ranges = []
        old: Ranges = []
        if falls.is_unsorted:
            for start, stop in ranges:
                for at in range(start, stop):
                    _lengthen(old if group.steps[at] >= limit else kept, at)
        else:
            for start, stop in (rising for each in ranges for rising in falls.rising(*each)):
                cut = bisect_left(group.steps, limit, start, stop)
                kept += [(start, cut)] if start < cut else []
                old += [(cut, stop)] if cut < stop else []
        self.replaced += sum(stop - start for start, stop in old)
        return old if self._superseded else kept

    def _add_ranges(self, place: Place, ranges: Ranges, others: dict[tuple[int, int], Any]) -> None:
        file, header, group, number = place
        y = group.columns[number]
        if self._x.startswith(METRIC):
            x = others.get((header.start, group.numbers[0]))
            if x is None:
                self.others += sum(stop - start for start, stop in ranges)
            else:
                self._add_picked(place, x, ranges)
            return
        falls = self._store.falls(file, header, group, of_times=self._x == TIME)
        x = group.times if self._x == TIME else group.steps
        if group.kinds[number] == OTHERS or falls.is_unsorted or len(ranges) > _MOST_RANGES:
            self._add_picked(place, x, ranges)
            return
        for start, stop in (rising for each in ranges for rising in falls.rising(*each)):
            begin, end = start, stop
            if self._x == TIME:
                begin, end = _finite_range(x, start, stop)
                self.others += stop - start - (end - begin)
            if begin < end:
                stretch = Stretch(x, y, (begin, end), self._parts, group)
                stretch.make_levels = lambda: self._store.levels(file, header, group, number)
                self.stretches.append(stretch)

    def _add_picked(self, place: Place, x: Any, ranges: Ranges) -> None:
        """Take values one by one, and put them into order."""
        _, _, group, number = place
        y = group.columns[number]
        found = []
        for at in (at for start, stop in ranges for at in range(start, stop)):
            here, value = _as_float(x[at]), _as_float(y[at])
            if here is None or value is None or not abs(here) < _FARTHEST:
                self.others += 1
            else:
                found.append((here if self._x != STEP else x[at], at, value))
        found.sort()
        if found:
            xs = array("q" if self._x == STEP else FLOATS, [each[0] for each in found])
            ys = array(FLOATS, [each[2] for each in found])
            rows = [each[1] for each in found]
            self.stretches.append(Stretch(xs, ys, (0, len(found)), self._parts, group, rows))


def _nothing() -> None:
    return None


def _ranges_of(group: Group, origins: Sequence[Origin], is_wanted: Callable[[Origin], bool] | None) -> Ranges:
    """The rows of a group that come from where they shall."""
    count = len(group.steps)
    wanted = None if is_wanted is None else [is_wanted(origin) for origin in origins]
    if wanted is None or all(wanted):
        return [(0, count)] if count else []
    found: Ranges = []
    at = 0
    pairs = iter(group.origins)
    for origin, length in zip(pairs, pairs, strict=True):
        if wanted[origin]:
            if found and found[-1][1] == at:
                found[-1] = (found[-1][0], at + length)
            else:
                found.append((at, at + length))
        at += length
    return found


def _columns_of(file: EventsFile, name: str) -> dict[tuple[int, int], Any]:
    """The columns of another metric, by the part's beginning and the first line of the group."""
    return {
        (header.start, group.numbers[0]): group.columns[number]
        for header, of_name in file.of_metric(name)
        for group, number in of_name
    }


def _finite_range(x: Any, start: int, stop: int) -> tuple[int, int]:
    if x[start] != x[start]:  # NaN: it stands alone
        return start, start
    return bisect_right(x, -_FARTHEST, start, stop), bisect_left(x, _FARTHEST, start, stop)


def _lengthen(ranges: Ranges, at: int) -> None:
    if ranges and ranges[-1][1] == at:
        ranges[-1] = (ranges[-1][0], at + 1)
    else:
        ranges.append((at, at + 1))


def _as_float(value: Any) -> float | None:
    """A value as a number; None if it is text, nothing, or beyond all floats."""
    if not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def all_points(stretches: Iterable[Stretch]) -> Iterator[tuple[float, tuple[int, int], float]]:
    """Every value: x, what sorts it among others of that x, and y."""
    for stretch in stretches:
        for at in range(stretch.start, stretch.stop):
            yield stretch.x[at], stretch.order(at), stretch.y[at]


def first_and_last(stretches: Iterable[Stretch]) -> tuple[float, float] | None:
    """The least and the greatest x; None if there is none."""
    ends = [(stretch.x[stretch.start], stretch.x[stretch.stop - 1]) for stretch in stretches]
    if not ends:
        return None
    return min(first for first, _ in ends), max(last for _, last in ends)
