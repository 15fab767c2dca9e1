"""Event files of TensorBoard: one for each events file of the run, in a directory of its own.

A value is a tensor of one float of 64 bit, as TensorBoard's scalars may be: what its own reader returns is what was
logged. (The older form, ``simple_value``, has 32 bit.) A value that is text goes to TensorBoard's page of texts, and
images to that of images.
"""

from __future__ import annotations

import os
from importlib import import_module
from itertools import islice, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from runicorn.errors import MissingPackageError
from runicorn.exporting import image_sizes
from runicorn.exporting.image_files import content_of
from runicorn.exporting.selection import PIECE_ROWS
from runicorn.reading.frames import as_float
from runicorn.storage import modes, run_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runicorn.exporting.selection import Selection
    from runicorn.reading import LoadedRun
    from runicorn.reading.column import Column

_WRITER = "tensorboardX.event_file_writer"
_FILE_MARK = ".tfevents."
_TEXT = "/text_summary"
_RGB = 3


def require() -> None:
    """Import the library that writes it.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import_module(_WRITER)
    except ImportError as error:
        raise MissingPackageError(
            "TensorBoard's files need tensorboardX, which is not installed. Nothing was written. "
            "Install it: pip install 'runicorn[export]'"
        ) from error


def is_of_events(directory: str) -> bool:
    """Whether a directory has event files and nothing else."""
    return not os.path.islink(directory) and all(
        _FILE_MARK in name for _, _, names in os.walk(directory) for name in names
    )


class Written(NamedTuple):
    """How many points of which metrics, and what is not as it was logged."""

    points: int
    names: list[str]
    notes: list[str]


def write(run: LoadedRun, selection: Selection, directory: str, advance: Callable[[int], None]) -> Written:
    """Write the points of each metric."""
    files: dict[str, _EventFile] = {}
    points, names, notes = 0, list[str](), list[str]()
    try:
        for name in selection.checked_names(run):
            columns = run.columns_by_file(name, ranks=selection.ranks, superseded=selection.superseded)
            if not columns:
                continue
            told = _Told(name)
            for source, whole in columns.items():
                column = whole.by_step() if selection.by_step else whole
                rows = _by_step(column)
                while piece := list(islice(rows, PIECE_ROWS)):
                    for step, time_s, value in piece:
                        number = value if type(value) is str else told.number(value)
                        if number is not None:
                            file = files.get(source) or files.setdefault(source, _EventFile(directory, source))
                            if isinstance(number, str):
                                file.add_text(name, step, time_s, number)
                            else:
                                file.add(name, step, time_s, number)
                            points += 1
                    advance(len(piece))
            names.append(name)
            notes += told.notes()
        if not selection.names:
            main = files.get(run_files.EVENTS)
            if run.images and main is None:
                main = files[run_files.EVENTS] = _EventFile(directory, run_files.EVENTS)
            notes += [] if main is None else _add_images(run, main)
    finally:
        for file in files.values():
            file.close()
    return Written(points, names, notes)


def _by_step(column: Column) -> Iterator[tuple[int, float, Any]]:
    """The rows of a column; TensorBoard takes a step back for a restart, and drops what it has of later steps."""
    rows = zip(column.step, column.time, column.value, strict=True)
    if all(before <= step for before, step in pairwise(column.step)):
        return rows
    return iter(sorted(rows, key=itemgetter(0)))


def _add_images(run: LoadedRun, file: _EventFile) -> list[str]:
    """Write the images; what of them is left out, in words."""
    left_out = 0
    for image in run.images:
        content = content_of(run, image.path)
        size = image_sizes.size_of(content)
        if size is None:
            left_out += 1
        else:
            file.add_image(image.key, image.step or 0, image.time, (content, *size))
    return [f"images left out because they are not PNG, GIF or JPEG, or are not there: {left_out:,}"] * bool(left_out)


class _Told:
    """What of a metric's values TensorBoard cannot hold."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rounded = 0

    def number(self, value: Any) -> float | None:
        """The value as a float; None if it has none."""
        if type(value) is float or value is None:
            return value
        number = as_float(value)
        self._rounded += number != value
        return number

    def notes(self) -> list[str]:
        """In words."""
        return [f"{self._name!r}: integers rounded to floats: {self._rounded:,}"] * bool(self._rounded)


class _EventFile:
    """The event file of one events file of the run."""

    def __init__(self, directory: str, source: str) -> None:
        self._directory = os.path.join(directory, _run_name(source))
        modes.make_directory(self._directory)
        self._writer = import_module(_WRITER).EventsWriter(os.path.join(self._directory, "events"))
        self._events: dict[str, tuple[Any, Any]] = {}

    def add(self, name: str, step: int, time_s: float, value: float) -> None:
        """Append a point."""
        event, values = self._events.get(name) or self._events.setdefault(name, _event(name))
        event.step, event.wall_time, values[0] = step, time_s, value
        self._writer.write_event(event)

    def add_text(self, name: str, step: int, time_s: float, text: str) -> None:
        """Append a text, under the name that torch gives it."""
        event, value = _summary(f"{name}{_TEXT}", step, time_s)
        value.metadata.plugin_data.plugin_name = "text"
        value.tensor.dtype = import_module("tensorboardX.proto.types_pb2").DT_STRING
        value.tensor.tensor_shape.SetInParent()
        value.tensor.string_val.append(text.encode("utf-8", "backslashreplace"))
        self._writer.write_event(event)

    def add_image(self, name: str, step: int, time_s: float, image: tuple[bytes, int, int]) -> None:
        """Append an image: the content of its file, its width and its height."""
        event, value = _summary(name, step, time_s)
        value.image.encoded_image_string, value.image.width, value.image.height = image
        value.image.colorspace = _RGB
        self._writer.write_event(event)

    def close(self) -> None:
        """Make it durable."""
        self._writer.close()
        for name in os.listdir(self._directory):
            modes.make_usable(os.path.join(self._directory, name))


def _run_name(source: str) -> str:
    if source == run_files.EVENTS:
        return "main"
    name = source.removeprefix("events.").removesuffix(".jsonl")
    return name if run_files.is_events_of_rank(source) else f"host-{name}"


def _summary(tag: str, step: int, time_s: float) -> tuple[Any, Any]:
    event = import_module("tensorboardX.proto.event_pb2").Event(step=step, wall_time=time_s)
    value = event.summary.value.add()
    value.tag = tag
    return event, value


def _event(name: str) -> tuple[Any, Any]:
    """An event of a metric, to be filled again and again; and where its value goes."""
    event = import_module("tensorboardX.proto.event_pb2").Event()
    value = event.summary.value.add()
    value.tag = name
    value.metadata.plugin_data.plugin_name = "scalars"
    value.tensor.dtype = import_module("tensorboardX.proto.types_pb2").DT_DOUBLE
    value.tensor.tensor_shape.SetInParent()
    value.tensor.double_val.append(0.0)
    return event, value.tensor.double_val
