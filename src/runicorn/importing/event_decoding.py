"""From the records of TensorBoard's event files to the items of a run.

Nearly all records differ from the one before in three places: the time, the step and one float. So a record is taken
apart once. Where its float lies, and all bytes around that, tell the next one of its metric, which costs a look into
a dict.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from runicorn.importing.protobuf_wire import BYTES, Field, WireError, fields, signed, varint
from runicorn.importing.source_runs import Numbers, Restart, SourceImage, TextLine
from runicorn.importing.tensors import Location, entry, read_tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runicorn.importing.source_runs import Head, Item, Told

_MOST_KNOWN = 200_000
_MOST_SHAPES = 16
_TIME, _STEP = 0x09, 0x10
_KINDS = {5: "histograms", 6: "audio clips", 3: "histograms"}
_PLUGINS = {"histograms": "histograms", "audio": "audio clips", "pr_curves": "precision-recall curves"}
_STATUS = {1: ("finished", None), 2: ("failed", "TensorBoard's hparams say FAILURE")}
_HPARAMS = "hparams"


class _Shape:
    """Records whose float lies equally far from their end: the metric by all the other bytes."""

    def __init__(self, from_end: int, form: str) -> None:
        self.from_end = from_end
        self.form = form
        self.behind = struct.calcsize(form) - from_end
        self.unpack = struct.Struct(form).unpack_from
        self.names: dict[bytes, str] = {}


class EventDecoder:
    """Decodes the files of one directory.

    Args:
        head: is filled.
        told: what is left out.
        name_of: the metric's name for a tag.

    Attributes:
        has_parameters: hyperparameters of the session were there.
    """

    def __init__(self, head: Head, told: Told, name_of: Callable[[str], str] = str) -> None:
        self.has_parameters = False
        self._head = head
        self._told = told
        self._name_of = name_of
        self._shapes: list[_Shape] = []
        self._plugins: dict[str, str] = {}
        self._known = 0

    def decode(self, batch: list[bytes], file: str) -> Iterator[Item]:
        """The items of some records."""
        shapes, time_of = self._shapes, struct.Struct("<d").unpack_from
        for record in batch:
            try:
                # The head of almost every record: the time, and the step unless that is 0.
                if record[0] == _TIME:
                    at, step = 9, 0
                    if record[9] == _STEP:
                        step, at = record[10], 11
                        if step > 127:
                            step, at = varint(record, 10)
                    rest = record[at:]
                    for shape in shapes:
                        end = shape.from_end
                        key = rest[:-end] + rest[shape.behind :] if shape.behind else rest[:-end]
                        name = shape.names.get(key)
                        if name is not None:
                            value = shape.unpack(rest, len(rest) - end)[0]
                            yield Numbers(
                                step if step < 1 << 63 else signed(step), time_of(record, 1)[0], {name: value}
                            )
                            break
                    else:
                        yield from self._taken_apart(record, at)
                    continue
            except IndexError:  # a short one
                pass
            except (WireError, struct.error) as error:
                self._told.problem(f"{file}: a record cannot be decoded ({error}) and was left out")
                continue
            try:
                yield from self._taken_apart(record, 0)
            except (WireError, struct.error, RecursionError) as error:
                self._told.problem(f"{file}: a record cannot be decoded ({error}) and was left out")

    def _taken_apart(self, record: bytes, begin: int) -> Iterator[Item]:
        """The items of a record; ``begin`` is where what is behind time and step begins, 0 if that is not known."""
        time_s, step = 0.0, 0
        values: list[Field] = []
        restarts = False
        for field in fields(record):
            if field.number == 1:
                time_s = field.double
            elif field.number == 2:
                step = signed(field.value)
            elif field.number == 5 and field.kind == BYTES:
                for value in fields(field.data):
                    if value.number == 1:
                        value.start += field.start
                        values.append(value)
            elif field.number in {4, 9}:
                self._told.leave_out("graphs")
            elif field.number == 8:
                self._told.leave_out("profiles of graphs")
            elif field.number == 6:
                yield from self._log_message(field, time_s)
            elif field.number == 7:
                restarts = any(each.number == 1 and each.value == 1 for each in fields(field.data))
        if self._head.created_at is None:
            self._head.created_at = time_s
        if restarts:
            yield Restart(time_s)
        numbers: dict[str, Any] = {}
        for value in values:
            before = len(numbers)
            name = self._value(value, record, begin if len(values) == 1 else 0)
            if isinstance(name, tuple):
                metric, number = name
                if metric in numbers:
                    yield Numbers(step, time_s, numbers)
                    numbers, before = {}, 0
                numbers[metric] = number
            elif before == len(numbers):
                yield from self._other(value, name, step, time_s)
        if numbers:
            yield Numbers(step, time_s, numbers)

    def _value(self, value: Field, record: bytes, begin: int) -> tuple[str, Any] | str:
        """The metric and the number of a value; else what kind of value it is."""
        tag, plugin, kind = "", "", ""
        number: Any = None
        location: Location | None = None
        for field in fields(value.data):
            if field.number == 1:
                tag = field.text
            elif field.number == 9:
                plugin, content = _plugin_of(field)
                if plugin == _HPARAMS:
                    self._parameters(content)
            elif field.number == 2:
                number, location = field.single, Location(field.start, "<f")
            elif field.number == 8:
                tensor = read_tensor(field.data)
                kind = "texts" if tensor.texts else "tensors"
                if len(tensor.numbers) == 1:
                    number = tensor.numbers[0]
                    if tensor.location is not None:
                        location = Location(field.start + tensor.location.offset, tensor.location.form)
            elif field.number == 4:
                kind = "image"
            elif field.number in _KINDS:
                kind = _KINDS[field.number]
        if plugin:
            self._plugins[tag] = plugin
        plugin = self._plugins.get(tag, "")
        if plugin == _HPARAMS:
            return _HPARAMS
        if number is None or plugin not in {"", "scalars"}:
            return kind if plugin in {"", "scalars", "text", "images"} else _PLUGINS.get(plugin, f"values of {plugin}")
        name = self._name_of(tag)
        if location is not None and begin:
            self._learn(name, record, begin, value.start + location.offset, location.form)
        return name, number

    def _learn(self, name: str, record: bytes, begin: int, at: int, form: str) -> None:
        from_end = len(record) - at
        shape = next((each for each in self._shapes if (each.from_end, each.form) == (from_end, form)), None)
        if shape is None:
            if len(self._shapes) == _MOST_SHAPES:
                return
            shape = _Shape(from_end, form)
            self._shapes.append(shape)
        if self._known < _MOST_KNOWN:
            self._known += 1
            rest = record[begin:]
            shape.names[rest[:-from_end] + rest[shape.behind :] if shape.behind else rest[:-from_end]] = name

    def _other(self, value: Field, kind: str, step: int, time_s: float) -> Iterator[Item]:
        """Text and images; all else is counted."""
        tag = next((field.text for field in fields(value.data) if field.number == 1), "")
        if kind == "image":
            for field in fields(value.data):
                content = [each.data for each in fields(field.data) if each.number == 4] if field.number == 4 else []
                for each in content:
                    yield SourceImage(tag, step, time_s, None, lambda each=each: each)  # type: ignore[misc]
        elif kind == "texts":
            tensor = next(read_tensor(field.data) for field in fields(value.data) if field.number == 8)
            if self._plugins.get(tag) == "images":
                # The first two are the width and the height.
                for number, each in enumerate(tensor.texts[2:]):
                    key = tag if len(tensor.texts) == 3 else f"{tag}/{number}"
                    yield SourceImage(key, step, time_s, None, lambda each=each: each)  # type: ignore[misc]
                return
            for each in tensor.texts:
                text = each.decode("utf-8", "backslashreplace")
                yield TextLine(time_s, f"{tag.removesuffix('/text_summary')} [step {step}]: {text}")
        elif kind != _HPARAMS:
            self._told.leave_out(kind or "empty values")

    def _log_message(self, field: Field, time_s: float) -> Iterator[Item]:
        for each in fields(field.data):
            if each.number == 2:
                yield TextLine(time_s, each.text)

    def _parameters(self, content: bytes) -> None:
        head = self._head
        for field in fields(content):
            if field.number == 3:
                self.has_parameters = True
                for each in fields(field.data):
                    if each.number == 1:
                        name, value = entry(each)
                        head.config = {**head.config, name: value}
                    elif each.number == 4 and each.data:
                        head.group = each.text
                    elif each.number == 5:
                        head.started_at = each.double
            elif field.number == 4:
                for each in fields(field.data):
                    if each.number == 1 and each.value in _STATUS:
                        head.status, head.reason = _STATUS[each.value]
                    elif each.number == 2 and each.double:
                        head.ended_at = each.double


def _plugin_of(field: Field) -> tuple[str, bytes]:
    name, content = "", b""
    for each in fields(field.data):
        if each.number == 1:
            for inner in fields(each.data):
                if inner.number == 1:
                    name = inner.text
                elif inner.number == 2:
                    content = inner.data
    return name, content
