"""The records of a wandb run by the numbers of their fields."""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING, Any

from runicorn.importing import source_files
from runicorn.importing.foreign_values import as_step, flattened
from runicorn.importing.protobuf_wire import BYTES, Field, fields, signed
from runicorn.importing.source_runs import Item, Numbers, Sample, SourceImage, TextLine
from runicorn.importing.wandb_items import Content, HistoryRows, item_of, json_of
from runicorn.validation.metrics import HIGHEST_INT, LOWEST_INT
from runicorn.writer.terminal import Screen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runicorn.importing.source_runs import Head, Told

NO_END = "wandb has stored no end: the process was killed, or still ran when this was read"
_LEFT_OUT = {8: "artifacts", 9: "links to TensorBoard", 10: "alerts", 25: "uses of artifacts"}
_HISTORY = b"\x12"
_ROW = re.compile(rb"\x08[\x80-\xff]*[\x00-\x7f]([\x12\x1a])([\x00-\x7f]|[\x80-\xff][\x00-\x7f])", re.DOTALL)
"""The beginning of nearly all records: a number, the kind (a row, or its changes of the summary), and the length."""
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
        self._rows = HistoryRows()
        self._config, self._summary = Content(), Content()
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
        head = _ROW.match(record)
        if head is not None and len(record) - head.end() == _length(head[2]):
            data = record[head.end() :]
            if head[1] == _HISTORY:
                return self._history(data)
            self._summary.change(data)
            return []
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
                self._summary.change(field.data)
            elif field.number == 5:
                self._config.change(field.data)
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
        row = self._rows.read(data)
        step = row.pop("_step", None)
        if type(step) is not int or not LOWEST_INT <= step <= HIGHEST_INT:
            step = _first_step(step, _step_of(data))
        time_s = row.pop("_timestamp", self._last_time)
        row.pop("_runtime", None)
        self._last_time = time_s = float(time_s) if type(time_s) in {float, int} else self._last_time
        if _PLAIN.issuperset(map(type, row.values())):
            return [Numbers(step, time_s, row)] if row else []
        return self._mixed(row, step, time_s)

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
                item = item_of(field.data)
                values["/".join(item.keys)] = json_of(item.text)
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
                self._config.change(field.data)
            elif field.number == 5:
                self._summary.change(field.data)
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
        head.config = {key: value for key, value in self._config.value.items() if key != "_wandb"}
        hidden = {"_step", "_timestamp", "_runtime", "_wandb"}
        head.summary = {key: value for key, value in self._summary.value.items() if key not in hidden}
        head.primary = self._primary
        identity = {"run_id": self.run_id, "project": self.project, "entity": self.entity}
        head.other = {name: value for name, value in {**identity, **self._other}.items() if value}
def _step_of(data: bytes) -> int:
    """``HistoryStep`` behind the items; a step of 0 has no number."""
    for field in fields(data):
        if field.number == 2:
            return next((signed(each.value) for each in fields(field.data) if each.number == 1), 0)
    return 0


def _length(varint: bytes) -> int:
    return varint[0] if len(varint) == 1 else varint[0] & 127 | varint[1] << 7


def _first_step(given: Any, beside: int) -> int:
    step = as_step(given)
    return beside if step is None else step


def _timestamp(field: Field) -> float:
    seconds = nanos = 0
    for each in fields(field.data):
        if each.number == 1:
            seconds = signed(each.value)
        elif each.number == 2:
            nanos = each.value
    time_s = seconds + nanos / 1e9
    return time_s if math.isfinite(time_s) else 0.0
