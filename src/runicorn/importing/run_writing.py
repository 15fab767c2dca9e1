"""Write the stream of one source as the files of a run, in a directory that is no run's place yet."""

from __future__ import annotations

import hashlib
import math
import os
import time
from typing import TYPE_CHECKING, Any

from runicorn.importing.foreign_values import MetricNames, clean_data
from runicorn.importing.machine_samples import MachineSamples
from runicorn.importing.source_runs import Head, Numbers, Restart, Sample, SourceImage, SourceRun, TextLine
from runicorn.queue.records import Primary
from runicorn.storage import last_lines, run_files, statuses
from runicorn.storage.escaping import escape
from runicorn.validation import images, json_values, secrets
from runicorn.writer.lines import Event, MarkedEvent, add_events
from runicorn.writer.run_state import RunState

if TYPE_CHECKING:
    from collections.abc import Callable

    from runicorn.storage.run_directory import RunDir

IMPORTED = "imported"
_AT_A_TIME = 512
_BUFFER_BYTES = 1 << 20
_YEAR_9999_S = 253_370_000_000
_EXTENSION = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"GIF8": "gif", b"RIFF": "webp", b"BM": "bmp"}


class WrittenCounts:
    """Counts of what was written of a run.

    Attributes:
        lines: of ``events.jsonl`` that hold numbers.
        points: values in them.
        images: files.
        texts: lines of ``logs.txt``.
        first_s: time of the first value, epoch seconds; None = there is none.
        last_s: the latest time.
        last_step: the highest step.
    """

    def __init__(self) -> None:
        self.lines = self.points = self.images = self.texts = 0
        self.first_s: float | None = None
        self.last_s: float | None = None
        self.last_step: int | None = None

    def see(self, records: list[Numbers]) -> None:
        """Count lines of numbers."""
        self.lines += len(records)
        self.points += sum(len(record.data) for record in records)
        times = [record.time for record in records]
        self.first_s = min(times) if self.first_s is None else min(self.first_s, *times)
        self.last_s = max(times) if self.last_s is None else max(self.last_s, *times)
        highest = max(record.step for record in records)
        self.last_step = highest if self.last_step is None else max(self.last_step, highest)


class Writing:
    """The files of one run while they are written.

    Args:
        source: where it comes from.
        files: of the staging directory; None = nothing is written, all is counted.
        advance: called with the number of values that are done.
    """

    def __init__(self, source: SourceRun, files: RunDir | None, advance: Callable[[int], None]) -> None:
        self.written = WrittenCounts()
        self._source = source
        self._files = files
        self._advance = advance
        self._names = MetricNames()
        self._waiting: list[Numbers] = []
        self._events, self._logs, self._system = bytearray(), bytearray(), bytearray()
        self._machine = MachineSamples(source.form, source.told)
        self._events_bytes = 0
        self._restarts: list[dict[str, Any]] = []

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics so far."""
        return sorted(self._names.used)

    @property
    def samples(self) -> int:
        """How many lines tell of the machine."""
        return self._machine.count

    def write_values(self) -> None:
        """Read the source to its end.

        Raises:
            OSError: it cannot be written.
            UnreadableSourceError: nothing of it can be read.
        """
        waiting = self._waiting
        for item in self._source.read_items():
            if type(item) is Numbers:
                waiting.append(item)
                if len(waiting) == _AT_A_TIME:
                    self._add_numbers()
            elif isinstance(item, TextLine):
                self._add_text(item)
            elif isinstance(item, Sample):
                self._system += self._machine.add(item)
                self._flush(_BUFFER_BYTES)
            else:
                self._add_numbers()
                if isinstance(item, SourceImage):
                    self._add_image(item)
                elif isinstance(item, Restart):
                    size = self._events_bytes + len(self._events)
                    self._restarts.append({"time": item.time, IMPORTED: True, "events": {run_files.EVENTS: size}})
        self._add_numbers()
        self._system += self._machine.rest()
        self._flush(0)

    def _add_numbers(self) -> None:
        records = self._waiting
        if not records:
            return
        names = self._names
        for record in records:
            if not names.are_plain(record.data):
                record.data = names.renamed(record.data)
            if not -math.inf < record.time < math.inf:
                record.time = 0.0
                self._source.told.leave_out("times that are no numbers")
        self.written.see(records)
        self._advance(len(records))
        if self._files is not None:
            try:
                self._append(records)
            except (TypeError, ValueError, OverflowError):  # text with lone surrogates, or an integer beyond 64 bit
                for record in records:
                    record.data = clean_data(record.data, self._source.told)
                self._append(records)
        records.clear()

    def _append(self, records: list[Numbers]) -> None:
        events: list[Event | MarkedEvent] = []
        for record in records:
            time_s, data = record.time, record.data
            data["global_step"] = record.step
            data["time"] = time_s
            if record.stage is not None:
                data["stage"] = record.stage
            events.append(Event(time_s, "metrics", data))
        add_events(events, self._events)
        self._flush(_BUFFER_BYTES)

    def _add_text(self, line: TextLine) -> None:
        for each in line.text.splitlines() or [""]:
            if line.time is not None and 0 <= line.time < _YEAR_9999_S:
                clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line.time))
                self._logs += f"[{clock}] ".encode()
            self._logs += escape(each).encode() + b"\n"
            self.written.texts += 1
        self._flush(_BUFFER_BYTES)

    def _add_image(self, image: SourceImage) -> None:
        told = self._source.told
        content = image.content()
        extension = next((name for start, name in _EXTENSION.items() if content.startswith(start)), None)
        if extension is None or len(content) > images.MOST_FILE_BYTES:
            told.leave_out("images that are not PNG, JPEG, GIF, WEBP or BMP")
            return
        key = escape(image.key) or "image"
        time_s = image.time if 0 <= image.time < _YEAR_9999_S else 0.0
        if self._files is not None:
            # Named by its content, so that an update of the same run gives the same name.
            mark = hashlib.sha256(f"{key}\0{image.step}\0".encode() + content).hexdigest()[:6]
            path = images.media_name(key, extension, time_s, mark)
            self._files.write_media(path, content)
            caption = None if image.caption is None else escape(image.caption)
            data = {"key": key, "path": path, "step": image.step, "caption": caption}
            add_events([Event(time_s, "image", data)], self._events)
            self._flush(_BUFFER_BYTES)
        self.written.images += 1

    def _flush(self, most_bytes: int) -> None:
        files = {run_files.EVENTS: self._events, run_files.LOGS: self._logs, run_files.SYSTEM: self._system}
        for name, buffer in files.items():
            if len(buffer) <= most_bytes:
                continue
            if self._files is not None:
                done = 0
                while done < len(buffer):
                    done += self._files.append(name, memoryview(bytes(buffer[done:])))
            if name == run_files.EVENTS:
                self._events_bytes += len(buffer)
            buffer.clear()

    def write_head(self, run_id: str, path: str, storage: str, meta: dict[str, Any], imported: dict[str, Any]) -> None:
        """Write the JSON files, once the values are there.

        Args:
            run_id: the id that the run will have.
            path: of the run.
            storage: the storage root.
            meta: what else ``meta.json`` says; wins.
            imported: for ``assets.json``.

        Raises:
            OSError: one cannot be written.
        """
        files, head = self._files, self._source.head
        assert files is not None
        created = _first(head.created_at, head.started_at, self.written.first_s, time.time())
        files.make_media()
        about: dict[str, Any] = {
            "id": run_id,
            "path": path,
            "alias": _text(head.name),
            "created_at": created,
            "python": _text(head.python),
            "platform": _text(head.platform),
            "hostname": _text(head.hostname),
            "pid": None,
            "storage_dir": storage,
            "workspace_root": None,
        }
        labels = {"notes": _text(head.notes), "group": _text(head.group), "tags": _tags(head.tags)}
        about.update({name: value for name, value in labels.items() if value})
        about.update({"resumed": self._restarts} if self._restarts else {})
        files.replace(run_files.META, {**about, **meta})
        config = secrets.mask_tree(_plain(head.config, self._source))
        other = secrets.mask_tree(_plain({**imported, **({"other": head.other} if head.other else {})}, self._source))
        summary = self._summary(head)
        if summary:
            files.replace(run_files.SUMMARY, summary)
        files.replace(run_files.STATUS, self._status(head, created))
        filled = {"args": config, "fingerprint": run_id} if config else {}
        assets = {**run_files.EMPTY_ASSETS, "config": filled, IMPORTED: {**other, **self._counts()}}
        files.replace(run_files.ASSETS, assets)
        files.sync()

    def _counts(self) -> dict[str, Any]:
        told = self._source.told
        return {"left_out": dict(told.left_out), "problems": [escape(each) for each in told.problems]}

    def _status(self, head: Head, created: float) -> dict[str, Any]:
        ended = _first(head.ended_at, self.written.last_s, created)
        status: dict[str, Any] = {
            "status": head.status if head.status in statuses.FINAL else statuses.FINISHED,
            "started_at": _first(head.started_at, created),
            "ended_at": ended,
        }
        if head.reason:
            status["exit_reason"] = escape(head.reason)
        if self.written.last_step is not None:
            status["last_step"] = self.written.last_step
        return status

    def _summary(self, head: Head) -> dict[str, Any]:
        summary: dict[str, Any] = secrets.mask_tree(_plain(head.summary, self._source))
        if head.primary is None or self._files is None:
            return summary
        state = RunState(primary=Primary(self._names.of(head.primary[0]), head.primary[1]))
        fd = self._files.open_for_reading(run_files.EVENTS)
        if fd is not None and state.primary is not None:
            try:
                lines = last_lines.lines_of(fd, os.fstat(fd).st_size)
                for value, step in last_lines.values_of(lines, state.primary.name):
                    state.see_value(value, step)
            finally:
                os.close(fd)
        return {**summary, **state.best()}


def _plain(value: dict[str, Any], source: SourceRun) -> dict[str, Any]:
    """As JSON can carry it; what cannot is counted."""
    cleaned = json_values.jsonable(value, lambda _path, _value: source.told.leave_out("settings that JSON cannot hold"))
    return cleaned if isinstance(cleaned, dict) else {}


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None and math.isfinite(value))


def _text(value: Any) -> str | None:
    return escape(value) if isinstance(value, str) and value else None


def _tags(tags: list[str]) -> list[str]:
    """As ours are: without commas, none empty, each once."""
    cleaned = [escape(tag).replace(",", " ").strip() for tag in tags if isinstance(tag, str)]
    return list(dict.fromkeys(filter(None, cleaned)))
