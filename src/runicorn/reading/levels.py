"""Levels of a column: what each block of 256 values comes to, so that a curve of millions is drawn from thousands.

They are made when a long curve is asked for the first time, part by part, and kept beside the parts in the cache;
those of a part that grows are made longer. What was removed is made again.
"""

from __future__ import annotations

import hashlib
import math
import struct
from array import array
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from runicorn.reading.part import FLOATS, INTS, OTHERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runicorn.reading.events import EventsFile
    from runicorn.reading.part import Group, Header

BLOCK = 256
_LOOK = 8192
_LEAST_KEPT = 64 * BLOCK
_MOST_HELD = 4096
_HEAD = struct.Struct("=4s5q")
_MAGIC = b"lvl2"
_COUNTS = "H"
_STEPS, _TIMES, _LEVELS = "steps", "times", "levels "
"""What is known of a group, or of a column; a metric may have any name."""


class Summed(NamedTuple):
    """What some values come to.

    Attributes:
        low: the least finite one; infinity if there is none.
        high: the greatest; minus infinity if there is none.
        total: of the finite ones.
        finite: how many are.
        nan: how many are NaN.
    """

    low: float
    high: float
    total: float
    finite: int
    nan: int


NOTHING = Summed(math.inf, -math.inf, 0.0, 0, 0)


def summed(values: Any) -> Summed:
    """What an array, or a view of one, comes to."""
    chunk = values.tolist()
    if not chunk:
        return NOTHING
    total = float(sum(chunk))
    if math.isfinite(total):
        return Summed(min(chunk), max(chunk), total, len(chunk), 0)
    finite = [value for value in chunk if math.isfinite(value)]  # or their sum is beyond all floats
    nan = sum(map(math.isnan, chunk))
    if not finite:
        return Summed(math.inf, -math.inf, 0.0, 0, nan)
    return Summed(min(finite), max(finite), float(sum(finite)), len(finite), nan)


class Falls:
    """Where an array does not rise: the places of values that are below the one before, or beside NaN.

    Attributes:
        places: of them, in order.
        is_unsorted: there are too many of them to be of use.
    """

    def __init__(self, places: array[int] | None = None, seen: int = 0) -> None:
        self.places: array[int] = array(INTS) if places is None else places
        self.seen = seen

    @property
    def is_unsorted(self) -> bool:
        """Whether it is in no order."""
        return len(self.places) > 64 + self.seen // BLOCK

    def look(self, values: Any) -> None:
        """Look at what has come."""
        while self.seen < len(values):
            begin = max(0, self.seen - 1)
            chunk = values[begin : self.seen + _LOOK].tolist()
            if sorted(chunk) != chunk or math.isnan(sum(chunk)):
                later = (at for at in range(1, len(chunk)) if not chunk[at] >= chunk[at - 1])
                self.places.extend(begin + at for at in later)
            self.seen = begin + len(chunk)

    def rising(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The stretches between two places in which it rises."""
        inner = [place for place in self.places if start < place < stop]
        return list(zip([start, *inner], [*inner, stop], strict=True)) if start < stop else []


class Levels:
    """Of a column of floats or integers, and of the steps and times beside it.

    Attributes:
        low: the least finite value of each whole block; infinity if there is none.
        high: the greatest.
        total: of the finite ones.
        finite: how many there are.
        nan: how many are NaN.
    """

    def __init__(self) -> None:
        self.low: array[float] = array(FLOATS)
        self.high: array[float] = array(FLOATS)
        self.total: array[float] = array(FLOATS)
        self.finite: array[int] = array(_COUNTS)
        self.nan: array[int] = array(_COUNTS)

    def grow(self, values: Any) -> None:
        """Add the blocks that have become whole."""
        for block in range(len(self.low), len(values) // BLOCK):
            one = summed(values[block * BLOCK : (block + 1) * BLOCK])
            for column, value in zip(self.columns(), one, strict=True):
                column.append(value)

    def of(self, values: Any, start: int, stop: int) -> Summed:
        """What the values between two places come to: whole blocks from here, the edges from the values."""
        first, last = -(-start // BLOCK), min(stop // BLOCK, len(self.low))
        if last - first < 2:
            return summed(values[start:stop])
        left, right = summed(values[start : first * BLOCK]), summed(values[last * BLOCK : stop])
        total = left.total + right.total + sum(self.total[first:last])
        return Summed(
            min(left.low, right.low, *self.low[first:last]),
            max(left.high, right.high, *self.high[first:last]),
            total,
            left.finite + right.finite + sum(self.finite[first:last]),
            left.nan + right.nan + sum(self.nan[first:last]),
        )

    def columns(self) -> tuple[array[Any], ...]:
        """Its arrays, as ``Summed`` has them."""
        return self.low, self.high, self.total, self.finite, self.nan


class LevelStore:
    """The levels of one run's columns, held in memory and kept in the cache.

    Not to be used by several threads at once.
    """

    def __init__(self) -> None:
        self._growing: WeakKeyDictionary[Group, dict[str, Levels | Falls]] = WeakKeyDictionary()
        self._held: dict[str, Levels | Falls] = {}

    def falls(self, file: EventsFile, header: Header, group: Group, *, of_times: bool) -> Falls:
        """Where the steps of a group fall, or its times; all of its metrics share them."""
        x, what = (group.times, _TIMES) if of_times else (group.steps, _STEPS)
        if isinstance(x, array):
            found = self._growing.setdefault(group, {}).setdefault(what, Falls())
            assert isinstance(found, Falls)
            found.look(x)
            return found
        key = _key(file, header, group, what)
        held = self._take(key)
        if not isinstance(held, Falls):
            held = _read_falls(file.kept(key), len(x))
            if held is None:
                held = Falls()
                held.look(x)
                if len(x) >= _LEAST_KEPT:
                    file.keep_beside(_pieces_of_falls(held), key)
            self._hold(key, held)
        return held

    def levels(self, file: EventsFile, header: Header, group: Group, number: int) -> Levels | None:
        """The levels of a column; None if it has others than floats and 64 bit integers."""
        if group.kinds[number] == OTHERS:
            return None
        values = group.columns[number]
        if isinstance(values, array):
            found = self._growing.setdefault(group, {}).setdefault(_LEVELS + group.names[number], Levels())
            assert isinstance(found, Levels)
            found.grow(values)
            return found
        key = _key(file, header, group, _LEVELS, group.names[number], group.kinds[number])
        held = self._take(key)
        if not isinstance(held, Levels):
            held = _read_levels(file.kept(key), len(values))
            if held is None:
                held = Levels()
                held.grow(values)
                if len(values) >= _LEAST_KEPT:
                    file.keep_beside(_pieces_of_levels(held), key)
            self._hold(key, held)
        return held

    def _take(self, key: str) -> Levels | Falls | None:
        found = self._held.pop(key, None)
        if found is not None:
            self._held[key] = found  # the one that was used last is the last to go
        return found

    def _hold(self, key: str, what: Levels | Falls) -> None:
        self._held[key] = what
        if len(self._held) > _MOST_HELD:
            del self._held[next(iter(self._held))]


def _key(file: EventsFile, header: Header, group: Group, *what: str) -> str:
    """A name for a file of the cache: the stretch of the events file, and a digest of what else tells it."""
    parts = (what, file.name, list(group.numbers), header.lines)
    digest = hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass") + header.seal).hexdigest()[:32]
    return f"{header.start}-{header.end}-{digest}.levels"


def _pieces_of_levels(levels: Levels) -> list[bytes | memoryview]:
    return [_HEAD.pack(_MAGIC, len(levels.low), 0, 0, 0, 0), *(memoryview(each) for each in levels.columns())]


def _read_levels(content: bytes | None, count: int) -> Levels | None:
    """The levels in a file of the cache; None if it is not whole, or of another column."""
    found = Levels()
    blocks = count // BLOCK
    if content is None or content[: _HEAD.size] != _HEAD.pack(_MAGIC, blocks, 0, 0, 0, 0):
        return None
    return found if _fill(content, [(column, blocks) for column in found.columns()]) else None


def _pieces_of_falls(falls: Falls) -> list[bytes | memoryview]:
    return [_HEAD.pack(_MAGIC, falls.seen, len(falls.places), 0, 0, 1), memoryview(falls.places)]


def _read_falls(content: bytes | None, count: int) -> Falls | None:
    if content is None or len(content) < _HEAD.size:
        return None
    _, _, places, *_ = _HEAD.unpack_from(content)
    found = Falls(seen=count)
    if content[: _HEAD.size] != _HEAD.pack(_MAGIC, count, places, 0, 0, 1):
        return None
    return found if _fill(content, [(found.places, places)]) else None


def _fill(content: bytes, columns: Sequence[tuple[array[Any], int]]) -> bool:
    """Fill arrays with so many values each; False if the file has not just those."""
    at = _HEAD.size
    for column, count in columns:
        size = count * column.itemsize
        if count < 0 or at + size > len(content):
            return False
        column.frombytes(content[at : at + size])
        at += size
    return at == len(content)
