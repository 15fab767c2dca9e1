"""The records of a wandb run by the numbers of their fields."""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any

import msgspec

from runicorn.importing import source_files
from runicorn.importing.foreign_values import as_step, flattened
from runicorn.importing.protobuf_wire import BYTES, Field, WireError, fields, signed, varint
from runicorn.importing.source_runs import Item, Numbers, Sample, SourceImage, TextLine
from runicorn.validation.metrics import HIGHEST_INT, LOWEST_INT
from runicorn.writer.terminal import Screen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runicorn.importing.source_runs import Head, Told

NO_END = "wandb has stored no end: the process was killed, or still ran when this was read"
_LEFT_OUT = {8: "artifacts", 9: "links to TensorBoard", 10: "alerts", 25: "uses of artifacts"}
_NUMBER, _HISTORY = b"\x08", b"\x12"
_ITEM, _KEY, _NESTED, _VALUE = 0x0A, 0x0A, 0x12, b"\x82\x01"
_decode = msgspec.json.decode
_TYPE, _TYPE_IN_JSON = "/_type", b'/_type"'
_PLAIN = frozenset({float, int, bool, str, type(None)})


class WandbRecords:
    """Decodes the records of one file.

    Args:
        directory: that the file is in; ``files/media`` is beside it.
        head: is filled.
        told: what is left out.

    Attributes:
        entity: of the run.
        project: of the run.
        run_id: empty until its record has come.
        started_at: epoch seconds; 0 until then.
    """

    def __init__(self, directory: str, head: Head, told: Told) -> None:
        self.entity = self.project = self.run_id = ""
        self.started_at = 0.0
        self._directory = directory
        self._head = head
        self._told = told
        self._names: dict[bytes, bytes] = {}
        self._config: dict[str, Any] = {}
        self._summary: dict[str, Any] = {}
        self._other: dict[str, Any] = {}
        self._screens: dict[int, Screen] = {}
        self._exit_code: int | None = None
        self._last_time = 0.0
        self._primary: tuple[str, str] | None = None

    def decode(self, record: bytes) -> list[Item]:
        """The items of one record.

        Raises:
            ValueError: it cannot be decoded.
        """
        if record[:1] == _NUMBER:  # nearly all are a number and a row
            at = varint(record, 1)[1]
            if record[at : at + 1] == _HISTORY:
                length, at = varint(record, at + 1)
                if at + length > len(record):
                    raise WireError("a row is cut")
                return self._history(record[at : at + length])
        for field in fields(record):
            if field.kind != BYTES:
                continue
            if field.number == 2:
                return self._history(field.data)
            if field.number in {4, 13}:
                return self._output(field.data)
            if field.number == 7:
                return self._stats(field.data)
            if field.number == 3:
                _update(self._summary, field.data)
            elif field.number == 5:
                _update(self._config, field.data)
            elif field.number == 17:
                self._run(field.data)
            elif field.number == 18:
                code = next((each.value for each in fields(field.data) if each.number == 1), 0)
                self._exit_code = signed(code)
            elif field.number == 12:
                self._metric(field.data)
            elif field.number == 26:
                self._environment(field.data)
            elif field.number in _LEFT_OUT:
                self._told.leave_out(_LEFT_OUT[field.number])
        return []

    def _history(self, data: bytes) -> list[Item]:
        parts: list[bytes] = []
        at, size, names = 0, len(data), self._names
        while at < size and data[at] == _ITEM:
            length, at = (data[at + 1], at + 2) if data[at + 1] < 128 else varint(data, at + 1)
            end = at + length
            if end > size:
                raise WireError("an item is cut")
            # Nearly all items are a key, or a nested one, and JSON text.
            cut = data.find(_VALUE, at, end)
            name = names.get(data[at:cut]) if cut > 0 else None
            if name is None:
                name, value = self._item(data[at:end], cut - at)
            else:
                value = data[(cut + 3 if data[cut + 2] < 128 else varint(data, cut + 2)[1]) : end]
            if value:
                parts.append(name + value)
            at = end
        row = _row(parts)
        step = row.pop("_step", None)
        if type(step) is not int or not LOWEST_INT <= step <= HIGHEST_INT:
            step = _first_step(step, _step_of(data[at:]))
        time_s = row.pop("_timestamp", self._last_time)
        row.pop("_runtime", None)
        self._last_time = time_s = float(time_s) if type(time_s) in {float, int} else self._last_time
        if _PLAIN.issuperset(map(type, row.values())):
            return [Numbers(step, time_s, row)] if row else []
        return self._mixed(row, step, time_s)

    def _item(self, item: bytes, cut: int) -> tuple[bytes, bytes]:
        """The beginning of a member of a JSON object, and its value's text."""
        keys, value, has_key = [], b"", False
        for field in fields(item):
            if field.number == 1:
                keys, has_key = [field.text], True
            elif field.number == 2 and not has_key:
                keys.append(field.text)
            elif field.number == 16:
                value = field.data
                # The value must be all that is left: only then the bytes before it stand for the name.
                is_last = field.start + len(field.data) == len(item)
        name = json.dumps("/".join(keys)).encode() + b":"
        if cut > 0 and value and is_last and len(value) == len(item) - varint(item, cut + 2)[1]:
            self._names[item[:cut]] = name
        return name, value

    def _mixed(self, row: dict[str, Any], step: int, time_s: float) -> list[Item]:
        numbers: dict[str, Any] = {}
        found: list[Item] = []
        for name, value in row.items():
            if not isinstance(value, (dict, list)):
                numbers[name] = value
            elif isinstance(value, dict) and "_type" in value:
                found += self._media(name, value, step, time_s)
            else:
                numbers.update(flattened({name: value}, self._told))
        return [*([Numbers(step, time_s, numbers)] if numbers else []), *found]

    def _media(self, name: str, value: dict[str, Any], step: int, time_s: float) -> list[Item]:
        kind = value.get("_type")
        several = value.get("filenames")
        if kind == "image-file":
            given = [(name, value.get("path"), value.get("caption"))]
        elif kind == "images/separated" and isinstance(several, list):
            captions = value.get("captions")
            captions = captions if isinstance(captions, list) else []
            given = [
                (f"{name}/{number}", path, captions[number] if number < len(captions) else None)
                for number, path in enumerate(several)
            ]
        else:
            self._told.leave_out(f"values of type {kind}")
            return []
        found: list[Item] = []
        for key, path, caption in given:
            file = source_files.media_file(os.path.join(self._directory, "files"), path)
            if file is None:
                self._told.leave_out("images whose files are not there, or lie elsewhere")
                continue
            text = caption if isinstance(caption, str) else None
            found.append(SourceImage(key, step, time_s, text, lambda file=file: source_files.read_whole(file)))  # type: ignore[misc]
        return found

    def _output(self, data: bytes) -> list[Item]:
        stream, time_s, text = 0, self._last_time, ""
        for field in fields(data):
            if field.number == 1:
                stream = field.value & 1
            elif field.number == 2:
                time_s = _timestamp(field)
            elif field.number == 3:
                text = field.text
        screen = self._screens.setdefault(0, Screen("smart"))
        return [TextLine(at, line) for at, line in screen.feed(stream, text, time_s, 0)]

    def rest(self) -> Iterator[Item]:
        """What was printed and not ended by a newline."""
        for screen in self._screens.values():
            for at, line in screen.flush():
                yield TextLine(at, line)

    def _stats(self, data: bytes) -> list[Item]:
        time_s, values = self._last_time, dict[str, Any]()
        for field in fields(data):
            if field.number == 2:
                time_s = _timestamp(field)
            elif field.number == 3:
                key, text = _pair(field.data)
                values[key] = _json(text)
        flat = flattened(values, self._told)
        return [Sample(time_s, flat)] if flat else []

    def _run(self, data: bytes) -> None:
        head = self._head
        tags = []
        for field in fields(data):
            text = field.text if field.kind == BYTES else ""
            if field.number == 1:
                self.run_id = text
            elif field.number == 2:
                self.entity = text
            elif field.number == 3:
                self.project = text
            elif field.number == 4:
                _update(self._config, field.data)
            elif field.number == 5:
                _update(self._summary, field.data)
            elif field.number == 6:
                head.group = text
            elif field.number in {7, 12}:
                self._other["job_type" if field.number == 7 else "sweep_id"] = text
            elif field.number == 8:
                head.name = text
            elif field.number == 9:
                head.notes = text
            elif field.number == 10:
                tags.append(text)
            elif field.number == 13:
                head.hostname = text
            elif field.number == 17:
                self.started_at = head.created_at = _timestamp(field)
        head.tags = tags or head.tags

    def _metric(self, data: bytes) -> None:
        name, x_axis, goal = "", "", 0
        for field in fields(data):
            if field.number == 1:
                name = field.text
            elif field.number == 4:
                x_axis = field.text
            elif field.number == 7:
                for each in fields(field.data):
                    goal = {1: 1, 2: 2}.get(each.number, goal)
            elif field.number == 8:
                goal = field.value or goal
        if x_axis and x_axis != "_step":
            self._other.setdefault("step_metrics", {})[name] = x_axis
        if name and goal and self._primary is None:
            self._primary = (name, "min" if goal == 1 else "max")

    def _environment(self, data: bytes) -> None:
        head = self._head
        for field in fields(data):
            if field.number == 1:
                head.platform = field.text
            elif field.number == 2:
                head.python = field.text
            elif field.number == 12:
                head.hostname = field.text
            elif field.number in {6, 18}:
                self._other["program" if field.number == 6 else "gpu_type"] = field.text
            elif field.number == 5:
                self._other.setdefault("arguments", []).append(field.text)

    def finish(self) -> None:
        """Fill what is known at the end."""
        head = self._head
        head.path = [self.project or "wandb"]
        head.name = head.name or self.run_id or None
        if self._exit_code is None:
            head.status, head.reason = "failed", NO_END
        elif self._exit_code:
            head.status, head.reason = "failed", f"exit code {self._exit_code}"
        else:
            head.status, head.reason = "finished", None
        head.config = {key: value for key, value in self._config.items() if key != "_wandb"}
        hidden = {"_step", "_timestamp", "_runtime", "_wandb"}
        head.summary = {key: value for key, value in self._summary.items() if key not in hidden}
        head.primary = self._primary
        identity = {"run_id": self.run_id, "project": self.project, "entity": self.entity}
        head.other = {name: value for name, value in {**identity, **self._other}.items() if value}


def _row(parts: list[bytes]) -> dict[str, Any]:
    text = b"{" + b",".join(parts) + b"}"
    try:
        row = _decode(text)
    except msgspec.DecodeError:  # bare NaN and Infinity
        row = json.loads(text)
    if type(row) is not dict:
        raise ValueError("a row is no JSON object")
    return _regrouped(row) if _TYPE_IN_JSON in text else row


def _regrouped(row: dict[str, Any]) -> dict[str, Any]:
    """Put a picture together again, which the row may have as one member for each of its fields."""
    for name in [name for name in row if name.endswith(_TYPE)]:
        above = name[: -len(_TYPE) + 1]
        whole = {key[len(above) :]: row.pop(key) for key in [*row] if key.startswith(above)}
        row[above[:-1]] = whole
    return row


def _step_of(data: bytes) -> int:
    """``HistoryStep`` behind the items; a step of 0 has no number."""
    for field in fields(data):
        if field.number == 2:
            return next((signed(each.value) for each in fields(field.data) if each.number == 1), 0)
    return 0


def _first_step(given: Any, beside: int) -> int:
    step = as_step(given)
    return beside if step is None else step


def _pair(data: bytes) -> tuple[str, bytes]:
    keys, value = list[str](), b""
    for field in fields(data):
        if field.number in {1, 2}:
            keys.append(field.text)
        elif field.number == 16:
            value = field.data
    return "/".join(keys), value


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text.decode("utf-8", "backslashreplace")


def _update(into: dict[str, Any], data: bytes) -> None:
    """Set and remove the members that a ``ConfigRecord`` or ``SummaryRecord`` names."""
    for field in fields(data):
        keys, text = list[str](), b""
        for each in fields(field.data) if field.number in {1, 2} else ():
            if each.number in {1, 2}:
                keys.append(each.text)
            elif each.number == 16:
                text = each.data
        if not keys:
            continue
        at = into
        for key in keys[:-1]:
            below = at.get(key)
            if not isinstance(below, dict):
                below = at[key] = {}
            at = below
        if field.number == 1:
            at[keys[-1]] = _json(text)
        else:
            at.pop(keys[-1], None)


def _timestamp(field: Field) -> float:
    seconds = nanos = 0
    for each in fields(field.data):
        if each.number == 1:
            seconds = signed(each.value)
        elif each.number == 2:
            nanos = each.value
    time_s = seconds + nanos / 1e9
    return time_s if math.isfinite(time_s) else 0.0
