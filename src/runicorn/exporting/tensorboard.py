"""Event files of TensorBoard: one for each events file of the run, in a directory of its own; numbers alone.

A value is a tensor of one float of 64 bit, as TensorBoard's scalars may be: what its own reader returns is what was
logged. (The older form, ``simple_value``, has 32 bit.)
"""

from __future__ import annotations

import os
from importlib import import_module
from itertools import islice, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from runicorn.errors import MissingPackageError
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
                        number = told.number(value)
                        if number is not None:
                            file = files.get(source) or files.setdefault(source, _EventFile(directory, source))
                            file.add(name, step, time_s, number)
                            points += 1
                    advance(len(piece))
            names.append(name)
            notes += told.notes()
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


class _Told:
    """What of a metric's values TensorBoard cannot hold."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._others = self._rounded = 0

    def number(self, value: Any) -> float | None:
        """The value as a float; None where it is no number."""
        if type(value) is float or value is None:
            return value
        if type(value) is str:
            self._others += 1
            return None
        number = as_float(value)
        self._rounded += number != value
        return number

    def notes(self) -> list[str]:
        """In words."""
        notes = (
            [f"{self._name!r}: values left out because they are not numbers: {self._others:,}"] if self._others else []
        )
        return [
            *notes,
            *([f"{self._name!r}: integers rounded to floats: {self._rounded:,}"] * bool(self._rounded)),
        ]


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
