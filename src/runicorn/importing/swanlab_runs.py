"""SwanLab 0.10 and later: ``run-*/run-*.swanlab``, the framing of wandb with records of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from runicorn.importing import block_yaml, log_blocks, source_files
from runicorn.importing.protobuf_wire import BYTES, Field, WireError, fields, signed
from runicorn.importing.source_runs import (
    Head,
    Numbers,
    Sample,
    SourceImage,
    SourceRun,
    TextLine,
    Told,
    UnreadableSourceError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runicorn.importing.source_runs import Item

_MAGIC = b":SWL"
_ENDING = ".swanlab"
_SYSTEM, _PREFIX = 2, "__swanlab__."
_STATES = {1: ("finished", None), 2: ("failed", "crashed"), 3: ("interrupted", "aborted")}
_IMAGE, _TEXT = 2, 4
_TYPES = {3: "audio clips", 5: "videos", 6: "charts", 7: "3D objects", 8: "molecules", 9: "HTML pages"}
_MOST_TEXT_BYTES = 1 << 20
NO_END = "SwanLab has stored no end: the process was killed, or still ran when this was read"


def find(form: str, top: str, _options: dict[str, Any]) -> list[SourceRun]:
    """The runs in a directory, at any depth; or that of one file."""
    if os.path.isfile(top):
        return [_run(form, top)] if top.endswith(_ENDING) else []
    return [
        _run(form, os.path.join(directory, name))
        for directory, names in source_files.below(top)
        for name in names
        if name.endswith(_ENDING)
    ]


def _run(form: str, path: str) -> SourceRun:
    head, told = Head(), Told()
    key = "/".join(path.split(os.sep)[-2:])  # time and id of the run
    return SourceRun(form, key, path, lambda: source_files.digest([path]), lambda: _items(path, head, told), head, told)


def _items(path: str, head: Head, told: Told) -> Iterator[Item]:
    directory, name = os.path.split(path)
    head.status, head.reason, head.other = "failed", NO_END, {}
    records = _Records(directory, head, told)
    with source_files.open_source(path) as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise UnreadableSourceError(f"{path} does not begin as a file of SwanLab does")
        file.seek(0)
        for record in log_blocks.records(file, name, told):
            try:
                yield from records.decode(record)
            except (WireError, ValueError, OverflowError) as error:
                told.problem(f"{name}: a record cannot be decoded ({error}) and was left out")
    head.config = _config(os.path.join(directory, "files", "config.yaml"), told)


def _config(path: str, told: Told) -> dict[str, Any]:
    """The settings, each of which is a mapping with its value and how it is shown."""
    if not os.path.isfile(path):
        return {}
    try:
        content = block_yaml.read(source_files.text_of(path))
    except UnreadableSourceError as error:
        told.problem(str(error))
        return {}
    settings = content if isinstance(content, dict) else {}
    return {
        key: each["value"] if isinstance(each, dict) and "value" in each else each for key, each in settings.items()
    }


class _Records:
    def __init__(self, directory: str, head: Head, told: Told) -> None:
        self._directory = directory
        self._head = head
        self._told = told
        self._of_machine: set[str] = set()

    def decode(self, record: bytes) -> Iterator[Item]:
        for field in fields(record):
            if field.kind != BYTES:
                continue
            if field.number == 13:
                yield from self._scalar(field.data)
            elif field.number == 14:
                yield from self._media(field.data)
            elif field.number == 16:
                parts = {each.number: each for each in fields(field.data)}
                yield TextLine(_time(parts.get(3)), _text(parts.get(1)))
            elif field.number == 12:
                parts = {each.number: each for each in fields(field.data)}
                key = _text(parts.get(3))
                if 1 in parts and parts[1].value == _SYSTEM:
                    self._of_machine.add(key)
            elif field.number == 10:
                self._start(field.data)
            elif field.number == 11:
                self._finish(field.data)

    def _scalar(self, data: bytes) -> Iterator[Item]:
        parts = {each.number: each for each in fields(data)}
        value = 0.0  # proto3 leaves it out
        for each in fields(parts[5].data) if 5 in parts else ():
            if each.number == 1:
                value = each.double
        key, time_s = _text(parts.get(1)), _time(parts.get(4))
        if key in self._of_machine:
            yield Sample(time_s, {key.removeprefix(_PREFIX): value})
        else:
            yield Numbers(_step(parts), time_s, {key: value})

    def _media(self, data: bytes) -> Iterator[Item]:
        parts = {each.number: each for each in fields(data)}
        key, step, time_s = _text(parts.get(1)), _step(parts), _time(parts.get(4))
        kind = parts[3].value if 3 in parts else 0
        items = [each.data for each in fields(parts[5].data) if each.number == 1] if 5 in parts else []
        if kind not in {_IMAGE, _TEXT}:
            self._told.leave_out(_TYPES.get(kind, "media"), len(items))
            return
        folder = os.path.join(self._directory, "media", "image" if kind == _IMAGE else "text")
        for number, item in enumerate(items):
            inner = {each.number: each for each in fields(item)}
            file = source_files.media_file(folder, _text(inner.get(1)))
            name = key if len(items) == 1 else f"{key}/{number}"
            if file is None:
                self._told.leave_out("media whose files are not there, or lie elsewhere")
            elif kind == _IMAGE:
                caption = _text(inner.get(4)) or None
                yield SourceImage(name, step, time_s, caption, lambda file=file: source_files.read_whole(file))  # type: ignore[misc]
            else:
                text = source_files.read_whole(file, _MOST_TEXT_BYTES).decode("utf-8", "backslashreplace")
                yield TextLine(time_s, f"{name} [step {step}]: {text}")

    def _start(self, data: bytes) -> None:
        head, tags, labels = self._head, [], {1: "swanlab"}
        for field in fields(data):
            if field.number == 6:
                tags.append(field.text)
            elif field.number == 12:
                head.created_at = head.started_at = _time(field)
            elif field.kind == BYTES:
                labels[field.number] = field.text
        head.path, head.tags = [labels[1]], tags
        head.name, head.notes, head.group = labels.get(4), labels.get(5), labels.get(7)
        other = {"workspace": labels.get(2), "job_type": labels.get(8), "id": labels.get(10)}
        head.other = {name: value for name, value in other.items() if value}

    def _finish(self, data: bytes) -> None:
        parts = {each.number: each for each in fields(data)}
        head = self._head
        head.status, head.reason = _STATES.get(parts[1].value if 1 in parts else 0, (head.status, head.reason))
        head.reason = _text(parts.get(2)) or head.reason
        head.ended_at = _time(parts.get(3)) if 3 in parts else None


def _text(field: Field | None) -> str:
    return "" if field is None else field.text


def _step(parts: dict[int, Field]) -> int:
    return signed(parts[2].value) if 2 in parts else 0


def _time(field: Field | None) -> float:
    seconds = nanos = 0
    for each in fields(field.data) if field is not None else ():
        if each.number == 1:
            seconds = signed(each.value)
        elif each.number == 2:
            nanos = each.value
    return seconds + nanos / 1e9
