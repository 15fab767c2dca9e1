"""From a block of whole lines of an events file to columns.

Most lines of a file have the same few names. So a block is decoded at once into structs that have a field for each
name seen so far (a third of the time that dicts take), and by one attribute at a time into columns. A block with
anything else in it is decoded line by line: a new name makes a new struct, a line that no strict decoder takes (bare
``NaN`` of Runicorn 0.7.2) is read leniently, and what cannot be read is told.
"""

from __future__ import annotations

import struct
from array import array
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from runicorn.reading import lenient
from runicorn.reading.lenient import FLOATS, ImageLine, Line, Origin, Scalar
from runicorn.storage.plain_json import UNREADABLE
from runicorn.validation.metrics import HIGHEST_INT, LOWEST_INT

if TYPE_CHECKING:
    from collections.abc import Sequence

_FEW, _LEAST_BYTES_OF_A_CELL = 64, 8


class Rows(NamedTuple):
    """Lines of numbers that have their names in common; a cell is ``UNSET`` where its line has no such name.

    Attributes:
        numbers: which of the block's lines of numbers they are.
        steps: of each line.
        times: of each line, epoch seconds.
        origins: of each line; one alone where it is that of all.
        names: of the columns.
        columns: of values.
    """

    numbers: Sequence[int]
    steps: array[int]
    times: array[float]
    origins: Origin | list[Origin]
    names: tuple[str, ...]
    columns: Sequence[Sequence[Any]]


class Block(NamedTuple):
    """What a block of lines holds; problems are pairs of byte offset in the block and reason."""

    rows: list[Rows]
    images: list[ImageLine]
    problems: list[tuple[int, str]]


class Decoder:
    """Decodes the blocks of one file, and learns its names."""

    def __init__(self, names: list[str]) -> None:
        """Begin with the names that are known already, where they are few."""
        self._learn(dict.fromkeys([*names, "stage"] if 0 < len(names) < _FEW else []), 0, marked=False)

    def decode(self, block: bytes) -> Block:
        """Decode a block of lines (at least one), each with its newline; the last one may be without."""
        if not self._wide:
            try:
                events = self._decode_lines(block)
                return Block([self._rows(events)] if events else [], [], [])
            except (*UNREADABLE, struct.error):
                pass
        return self._line_by_line(block)

    def _learn(self, names: dict[str, None], line_bytes: int, *, marked: bool) -> None:
        """Make the structs for these names, of lines of that length; not where most cells would be empty."""
        self._names = names
        self._marked = marked
        fields = [name for name in names if name != "stage"]
        sparse = len(names) > _FEW and line_bytes < len(names) * _LEAST_BYTES_OF_A_CELL
        self._wide = sparse or not all(map(_can_be_field, fields))
        if self._wide:
            return
        self._metrics = tuple(fields)
        attributes = {f"f{number}": name for number, name in enumerate(fields)}
        self._attribute_of = {name: attribute for attribute, name in attributes.items()}
        definitions: list[Any] = [("global_step", int), ("time", float)]
        definitions += [("stage", str | UnsetType, UNSET)] if "stage" in names else []
        definitions += [(attribute, Scalar | UnsetType, UNSET) for attribute in attributes]
        options: dict[str, Any] = {"forbid_unknown_fields": True, "gc": False}
        self._data = msgspec.defstruct("Data", definitions, rename=attributes, **options)
        marks: list[Any] = [
            ("nonfinite", dict[str, str] | UnsetType, UNSET),
            ("producer", str | UnsetType, UNSET),
            ("rank", int | UnsetType, UNSET),
        ]
        head: list[Any] = [("ts", Any), ("type", Literal["metrics"]), ("data", self._data)]
        self._event = msgspec.defstruct("Event", [*head, *(marks if marked else [])], **options)
        self._decode_lines = msgspec.json.Decoder(self._event).decode_lines
        self._attributes = [attrgetter(attribute) for attribute in attributes]

    def _rows(self, events: list[Any]) -> Rows:
        data = [event.data for event in events]
        columns = [list(map(attribute, data)) for attribute in self._attributes]
        origins: Origin | list[Origin] = (None, None, None)
        if self._marked or "stage" in self._names:
            origins = self._origins(events, data)
        if self._marked:
            self._restore(events, columns)
        steps, times = array("q"), array("d")
        steps.frombytes(struct.pack(f"{len(data)}q", *map(_global_step, data)))
        times.frombytes(struct.pack(f"{len(data)}d", *map(_time, data)))
        return Rows(range(len(data)), steps, times, origins, self._metrics, columns)

    def _origins(self, events: list[Any], data: list[Any]) -> Origin | list[Origin]:
        nothing: list[Any] = [UNSET]
        marks = [
            list(map(_stage, data)) if "stage" in self._names else nothing,
            list(map(_rank, events)) if self._marked else nothing,
            list(map(_producer, events)) if self._marked else nothing,
        ]
        if all(len(set(mark)) == 1 for mark in marks):
            return _origin(*(mark[0] for mark in marks))
        whole = [mark * len(data) if mark is nothing else mark for mark in marks]
        return list(map(_origin, *whole))

    def _restore(self, events: list[Any], columns: list[list[Any]]) -> None:
        """Put NaN and the infinities where JSON had to say null."""
        for number, event in enumerate(events):
            if event.nonfinite is UNSET:
                continue
            for name, word in event.nonfinite.items():
                if name in self._names and word in FLOATS and name != "stage":
                    column = columns[self._metrics.index(name)]
                    if column[number] is None:
                        column[number] = FLOATS[word]

    def _line_by_line(self, block: bytes) -> Block:
        while True:
            found = Block([], [], [])
            events: list[Any] = []
            names, marked = dict(self._names), self._marked
            offset = 0
            for line in block.splitlines(keepends=True) if b"\r" not in block else split_lines(block):
                strict = self._strict(line)
                loose = [] if strict else lenient.read(line, offset, found.images, found.problems)
                for parsed in loose:
                    names.update(dict.fromkeys(parsed.data))
                    if parsed.stage is not None:
                        names["stage"] = None
                    marked = marked or parsed.marked
                events.extend(strict or loose)
                offset += len(line)
            if not self._wide and (names.keys() != self._names.keys() or marked != self._marked):
                self._learn(names, len(block) // (block.count(b"\n") + 1), marked=marked)
                continue
            if events:
                found.rows.extend(wide_rows(events) if self._wide else [self._rows(self._as_structs(events))])
            return found

    def _strict(self, line: bytes) -> list[Any]:
        """What the struct takes of a line: one event, or several where the newlines between them are missing."""
        if self._wide:
            return []
        try:
            events: list[Any] = self._decode_lines(line)
        except UNREADABLE:
            return []
        return events if all(LOWEST_INT <= event.data.global_step <= HIGHEST_INT for event in events) else []

    def _as_structs(self, events: list[Any]) -> list[Any]:
        return [self._as_struct(event) if type(event) is Line else event for event in events]

    def _as_struct(self, line: Line) -> Any:
        values = {self._attribute_of[name]: value for name, value in line.data.items()}
        stage = {} if line.stage is None else {"stage": line.stage}
        data = self._data(global_step=line.step, time=line.time, **stage, **values)
        marks: dict[str, Any] = {}
        if self._marked:
            marks = {"producer": line.producer, "rank": line.rank, "nonfinite": UNSET}
            marks = {name: UNSET if mark is None else mark for name, mark in marks.items()}
        return self._event(ts=line.time, type="metrics", data=data, **marks)


def wide_rows(lines: list[Line]) -> list[Rows]:
    """Lines of too many names for a struct, by the names that they have."""
    numbers: dict[tuple[str, ...], list[int]] = {}
    for number, line in enumerate(lines):
        numbers.setdefault(tuple(line.data), []).append(number)
    found = []
    for names, those in numbers.items():
        chosen = [lines[number] for number in those]
        columns = [list(column) for column in zip(*(line.data.values() for line in chosen), strict=True)]
        origins = [_origin(line.stage, line.rank, line.producer) for line in chosen]
        found.append(
            Rows(
                those,
                array("q", [line.step for line in chosen]),
                array("d", [line.time for line in chosen]),
                origins,
                names,
                columns,
            )
        )
    return found


def _origin(stage: Any, rank: Any, producer: Any) -> Origin:
    return (
        None if stage is UNSET else stage,
        None if rank is UNSET else rank,
        None if producer is UNSET else producer,
    )


def split_lines(block: bytes) -> list[bytes]:
    """Lines that end with a newline alone, whatever else ``splitlines()`` would take for an end."""
    lines = [line + b"\n" for line in block.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines


def _can_be_field(name: str) -> bool:
    return all(sign >= " " and sign not in '"\\' for sign in name)


_global_step, _time, _stage = attrgetter("global_step"), attrgetter("time"), attrgetter("stage")
_rank, _producer = attrgetter("rank"), attrgetter("producer")
