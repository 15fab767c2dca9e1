"""The columns of a stretch of an events file, in memory.

Lines that have the same names, each with the same kind of value, form a group, and a group keeps one array for each
of its names beside those of steps and times. So a metric that is always logged together with the same others, which
most are, is one array that is read as it lies there.
"""

from __future__ import annotations

import struct
from array import array
from itertools import chain, groupby, islice, pairwise, repeat
from operator import itemgetter, lt
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UnsetType

from runicorn.reading.decoding import Block
from runicorn.reading.lenient import ImageLine, Origin  # noqa: TC001 - msgspec looks up the types of Header

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runicorn.reading.decoding import Rows

FLOATS, INTS, OTHERS = "d", "q", "o"
_ABSENT = "-"
_KIND_OF: dict[type, str] = {float: FLOATS, int: INTS, UnsetType: _ABSENT}
_MOST_PROBLEMS = 1000


class Group:
    """Lines that have the same names with the same kinds of values.

    Attributes:
        names: of its columns.
        kinds: of each column, one letter.
        numbers: which lines of numbers of the part they are: pairs of the first one and how many follow each other.
        origins: pairs of the number of an origin and how many lines have it.
        steps: of each line.
        times: of each line.
        columns: the values of each name; a memoryview where they lie in a file.
    """

    def __init__(self, names: tuple[str, ...], kinds: str) -> None:
        self.names = names
        self.kinds = kinds
        self.numbers: array[int] = array("q")
        self.origins: array[int] = array("q")
        self.steps: Any = array(INTS)
        self.times: Any = array(FLOATS)
        self.columns: list[Any] = [[] if kind == OTHERS else array(kind) for kind in kinds]

    def line_numbers(self) -> Iterator[int]:
        """Which lines of numbers of the part they are."""
        pairs = iter(self.numbers)
        return chain.from_iterable(range(first, first + count) for first, count in zip(pairs, pairs, strict=True))

    def is_in_order(self) -> bool:
        """Whether its lines are in the order of the file; those of a block are not where one had a huge integer."""
        firsts = self.numbers[::2]
        return all(map(lt, firsts, islice(firsts, 1, None)))

    def origin_numbers(self) -> Iterator[int]:
        """The number of each line's origin."""
        pairs = iter(self.origins)
        return chain.from_iterable(repeat(origin, count) for origin, count in zip(pairs, pairs, strict=True))

    def add_runs(self, numbers: Sequence[int], first: int, origins: list[tuple[int, int]]) -> None:
        """Note lines by their rising numbers in a block whose first line has number ``first``, and runs of origins."""
        ends = [] if isinstance(numbers, range) else _breaks(numbers)
        for begin, end in pairwise([0, *ends, len(numbers)]):
            _lengthen(self.numbers, first + numbers[begin], end - begin, follows=True)
        for origin, count in origins:
            _lengthen(self.origins, origin, count)


GroupEntry = tuple[list[str], str, list[int], list[int], list[int]]
"""A group in a header: names, kinds, line numbers, origins, and the offsets of its arrays with that of the end."""


class Header(msgspec.Struct, array_like=True):
    """What a part says of itself.

    Attributes:
        start: where its stretch of the events file begins, bytes.
        end: where it ends.
        seal: the last bytes before the end, to know the file again.
        lines: how many lines of numbers it has.
        origins: those of its lines, by number.
        images: its lines of type ``image``.
        problems: byte offset in the file, and reason; the first of them.
        problem_count: how many there are.
        groups: where each lies in the file of the part.
        size_bytes: of all arrays.
    """

    start: int
    end: int
    seal: bytes = b""
    lines: int = 0
    origins: list[Origin] = []
    images: list[ImageLine] = []
    problems: list[tuple[int, str]] = []
    problem_count: int = 0
    groups: list[GroupEntry] = []
    size_bytes: int = 0


class Part:
    """A stretch of an events file as columns.

    Args:
        start: where it begins, bytes.

    Attributes:
        columns_by_name: of each name the groups that have it, with the number of its column there. A run may have
            thousands of names, and as many groups.
    """

    def __init__(self, start: int) -> None:
        self.header = Header(start, start)
        self.groups: dict[tuple[tuple[str, ...], str], Group] = {}
        self.columns_by_name: dict[str, list[tuple[Group, int]]] = {}
        self.origin_numbers: dict[Origin, int] = {}

    def add(self, block: Block, size_bytes: int) -> None:
        """Append what the next so many bytes of the file hold."""
        header = self.header
        for offset, reason in block.problems:
            if len(header.problems) < _MOST_PROBLEMS:
                header.problems.append((header.end + offset, reason))
            header.problem_count += 1
        header.images.extend(block.images)
        count = 0
        for rows in block.rows:
            self._add_rows(rows)
            count += len(rows.numbers)
        header.lines += count
        header.end += size_bytes

    def skip(self, size_bytes: int, reason: str) -> None:
        """Leave the next so many bytes of the file out, and tell so."""
        self.add(Block([], [], [(0, reason)]), size_bytes)
        self.header.seal = b""

    def add_group(self, group: Group) -> None:
        """Take one that has names and kinds of its own."""
        self.groups[group.names, group.kinds] = group
        for number, name in enumerate(group.names):
            self.columns_by_name.setdefault(name, []).append((group, number))

    def _add_rows(self, rows: Rows) -> None:
        """Sort the lines into their groups: at once where all have the same, else by the types of their cells."""
        types = [set(map(type, column)) for column in rows.columns]
        if all(len(each) == 1 for each in types):
            self._add_uniform(rows, "".join(_kind_of(each.pop()) for each in types))
            return
        which = [number for number, each in enumerate(types) if len(each) > 1]
        of_lines: dict[tuple[type, ...], list[int]] = {}
        for line, combination in enumerate(zip(*(map(type, rows.columns[number]) for number in which), strict=True)):
            of_lines.setdefault(combination, []).append(line)
        of_kinds: dict[str, list[int]] = {}
        for combination, lines in of_lines.items():
            kinds = [_kind_of(next(iter(each))) for each in types]
            for number, kind in zip(which, combination, strict=True):
                kinds[number] = _kind_of(kind)
            of_kinds.setdefault("".join(kinds), []).extend(lines)
        for uniform, lines in of_kinds.items():
            self._add_uniform(_chosen(rows, sorted(lines)), uniform)

    def _add_uniform(self, rows: Rows, all_kinds: str) -> None:
        kept = [number for number, kind in enumerate(all_kinds) if kind != _ABSENT]
        names = tuple(rows.names[number] for number in kept)
        columns = [rows.columns[number] for number in kept]
        try:
            self._append(rows, names, all_kinds.replace(_ABSENT, ""), columns)
        except struct.error:  # an integer beyond 64 bit, of Runicorn 0.7.2
            for line in range(len(rows.steps)):
                one = _chosen(rows._replace(columns=columns), [line])
                kinds = "".join(_kind_of_value(column[0]) for column in one.columns)
                self._append(one, names, kinds, one.columns)

    def _append(self, rows: Rows, names: tuple[str, ...], kinds: str, columns: Sequence[Sequence[Any]]) -> None:
        packed: list[Any] = [
            column if kind == OTHERS else struct.pack(f"{len(column)}{kind}", *column)
            for kind, column in zip(kinds, columns, strict=True)
        ]
        group = self.groups.get((names, kinds))
        if group is None:
            group = Group(names, kinds)
            self.add_group(group)
        origins = rows.origins
        runs = groupby(origins) if isinstance(origins, list) else [(origins, rows.numbers)]
        numbered = [(self._origin_number(origin), sum(1 for _ in those)) for origin, those in runs]
        group.add_runs(rows.numbers, self.header.lines, numbered)
        extend(group.steps, rows.steps)
        extend(group.times, rows.times)
        for kind, values, more in zip(kinds, group.columns, packed, strict=True):
            if kind == OTHERS:
                values.extend(more)
            else:
                values.frombytes(more)

    def _origin_number(self, origin: Origin) -> int:
        number = self.origin_numbers.get(origin)
        if number is None:
            number = self.origin_numbers[origin] = len(self.header.origins)
            self.header.origins.append(origin)
        return number


def _chosen(rows: Rows, lines: list[int]) -> Rows:
    """Some of the lines."""
    origins = rows.origins

    def chosen_of(cells: Any) -> Sequence[Any]:
        return itemgetter(*lines)(cells) if len(lines) > 1 else (cells[lines[0]],)

    return rows._replace(
        numbers=chosen_of(rows.numbers),
        steps=array(INTS, chosen_of(rows.steps)),
        times=array(FLOATS, chosen_of(rows.times)),
        origins=list(chosen_of(origins)) if isinstance(origins, list) else origins,
        columns=[chosen_of(column) for column in rows.columns],
    )


def _breaks(numbers: Sequence[int]) -> list[int]:
    """Where rising numbers do not follow one another: the positions of those that begin anew."""
    if numbers[-1] - numbers[0] == len(numbers) - 1:
        return []
    return [position for position, (before, number) in enumerate(pairwise(numbers), 1) if number - before != 1]


def extend(values: array[Any], more: array[Any] | memoryview) -> None:
    """Append what is of the same kind, as bytes."""
    values.frombytes(memoryview(more).cast("B"))


def _kind_of_value(value: Any) -> str:
    if type(value) is int and not -(2**63) <= value < 2**63:
        return OTHERS
    return _kind_of(type(value))


def _kind_of(kind: type) -> str:
    return _KIND_OF.get(kind, OTHERS)


def _lengthen(pairs: array[int], value: int, count: int, *, follows: bool = False) -> None:
    """Append a run to pairs of value and count, or lengthen the last one where it goes on."""
    if pairs and pairs[-2] + (pairs[-1] if follows else 0) == value:
        pairs[-1] += count
    else:
        pairs.extend((value, count))
