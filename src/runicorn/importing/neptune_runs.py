"""Neptune's exporter: ``<project>/<run>_part_<n>.parquet``, a long table of attributes, with the files beside it."""

from __future__ import annotations

import math
import os
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from runicorn.importing import source_files, table_rows
from runicorn.importing.machine_samples import SampleSeries
from runicorn.importing.source_runs import Head, Numbers, SourceImage, SourceRun, TextLine, Told, found_in
from runicorn.importing.table_values import as_time
from runicorn.validation.metrics import HIGHEST_INT, LOWEST_INT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runicorn.importing.source_runs import Item

_NAME = re.compile(r"(.*)_part_(\d{1,9})\.parquet")
_COLUMNS = {"project_id", "run_id", "attribute_path", "attribute_type", "step", "timestamp"}
_VALUES = {
    "float": "float_value",
    "int": "int_value",
    "string": "string_value",
    "bool": "bool_value",
    "datetime": "datetime_value",
    "string_set": "string_set_value",
}
_LEFT_OUT = {"histogram_series": "histograms", "file": "files", "file_set": "sets of files", "artifact": "artifacts"}
_PARAMETERS, _SYSTEM = "parameters/", "sys/"
_OF_MACHINE = re.compile(r"monitoring/(?:([0-9a-f]{8})/)?((?:cpu|memory|gpu(?:_\d+)?|gpu_memory(?:_\d+)?))")
"""The names that Neptune's own monitor logs for each process; other names below ``monitoring`` are the user's."""
_IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp")


def find(form: str, top: str, _options: dict[str, Any]) -> list[SourceRun]:
    """The runs in an export, at any depth; or that of one part."""
    groups: dict[tuple[str, str], list[tuple[int, str]]] = {}
    if os.path.isfile(top):
        found = _NAME.fullmatch(os.path.basename(top))
        places = [(os.path.dirname(top), [n for n in sorted(os.listdir(os.path.dirname(top))) if _is_part(n, found)])]
    else:
        places = list(source_files.below(top))
    for directory, names in places:
        for name in names:
            match = _NAME.fullmatch(name)
            if match is not None:
                groups.setdefault((directory, match[1]), []).append((int(match[2]), os.path.join(directory, name)))
    ordered = {min(parts)[1]: [path for _, path in sorted(parts)] for parts in groups.values()}
    return found_in(form, ordered, lambda form, first: _run(form, ordered[first]))


def _is_part(name: str, of: re.Match[str] | None) -> bool:
    match = _NAME.fullmatch(name)
    return match is not None and of is not None and match[1] == of[1]


def _run(form: str, parts: list[str]) -> list[SourceRun]:
    first = next(table_rows.rows("parquet", parts[0], Told()), None)
    if first is None or not set(first) >= _COLUMNS:
        return []
    head, told = Head(), Told()
    project, run_id = str(first["project_id"]), str(first["run_id"])
    head.name, head.path = run_id, project.split("/")[-1:]
    key = f"{project}/{run_id}"
    state, items = (lambda: source_files.digest(parts)), (lambda: _items(parts, head, told))
    return [SourceRun(form, key, parts[0], state, items, head, told)]


def _items(parts: list[str], head: Head, told: Told) -> Iterator[Item]:
    values: dict[str, Any] = {}
    monitored = _Monitored()
    for path in parts:
        for row in table_rows.rows("parquet", path, told):
            kind, name = row.get("attribute_type"), row.get("attribute_path")
            if not isinstance(name, str):
                told.leave_out("rows without a name")
            elif kind in _VALUES:
                values[name] = row.get(_VALUES[kind])
            elif kind == "float_series" and (of_machine := monitored.name_of(name)):
                monitored.add(row, of_machine, told)
            elif kind in {"float_series", "string_series", "file_series"}:
                yield from _point(row, name, str(kind), path, told)
            else:
                told.leave_out(_LEFT_OUT.get(str(kind), f"values of type {kind}"))
    yield from monitored.series.samples()
    _fill(head, values)


class _Monitored:
    """The series of Neptune's monitor. The names of the first process get no prefix; those of others keep theirs."""

    def __init__(self) -> None:
        self.series = SampleSeries()
        self._names: dict[str, str] = {}
        self._first: str | None = None

    def name_of(self, attribute: str) -> str:
        """The name of a series of the monitor; empty if the attribute is not one."""
        if attribute not in self._names:
            match = _OF_MACHINE.fullmatch(attribute)
            if match is None:
                return ""
            process = match[1] or ""
            self._first = process if self._first is None else self._first
            self._names[attribute] = match[2] if process == self._first else f"{process}/{match[2]}"
        return self._names[attribute]

    def add(self, row: dict[str, Any], name: str, told: Told) -> None:
        """Take a row."""
        time_s, value = as_time(row.get("timestamp")), row.get("float_value")
        if time_s is None:
            told.leave_out("values without a time, or with no step that we have")
        else:
            self.series.add(name, time_s, math.nan if value is None else value)


def _point(row: dict[str, Any], name: str, kind: str, path: str, told: Told) -> Iterator[Item]:
    given, time_s = row.get("step"), as_time(row.get("timestamp"))
    step = math.floor(given) if isinstance(given, (Decimal, int, float)) and math.isfinite(given) else 0
    if time_s is None or not LOWEST_INT <= step <= HIGHEST_INT:
        told.leave_out("values without a time, or with no step that we have")
    elif kind == "float_series":
        value = row.get("float_value")
        fraction = {} if given is None or given == step else {"step_original": float(given)}
        yield Numbers(step, time_s, {name: math.nan if value is None else value, **fraction})
    elif kind == "string_series":
        yield TextLine(time_s, f"{name} [step {given}]: {row.get('string_value')}")
    else:
        file = _file_of(row.get("file_value"), path)
        if file is None or not file.lower().endswith(_IMAGES):
            told.leave_out("files of series that are no images, or are not there")
        else:
            yield SourceImage(name, step, time_s, None, lambda: source_files.read_whole(file))


def _file_of(value: Any, path: str) -> str | None:
    """The file that a row names: below ``files``, which is beside ``data``; maybe in the project's own folder there."""
    name = value.get("path") if isinstance(value, dict) else None
    project = os.path.dirname(path)
    files = os.path.join(os.path.dirname(os.path.dirname(project)), "files")
    return source_files.media_file(files, name) or source_files.media_file(
        os.path.join(files, os.path.basename(project)), name
    )


def _fill(head: Head, values: dict[str, Any]) -> None:
    system = {name.removeprefix(_SYSTEM): values[name] for name in values if name.startswith(_SYSTEM)}
    head.config = {n.removeprefix(_PARAMETERS): each for n, each in values.items() if n.startswith(_PARAMETERS)}
    head.summary = {n: each for n, each in values.items() if not n.startswith((_SYSTEM, _PARAMETERS))}
    name = system.get("name") or system.get("custom_run_id")
    head.name = name if isinstance(name, str) else head.name
    head.created_at = head.started_at = as_time(system.get("creation_time"))
    head.ended_at = as_time(system.get("modification_time"))
    failed = system.get("failed") is True
    head.status, head.reason = ("failed", "Neptune says so") if failed else ("finished", None)
    description, hostname = system.get("description"), system.get("hostname")
    head.notes = description if isinstance(description, str) else None
    head.hostname = hostname if isinstance(hostname, str) else None
    tags = [system.get(each) for each in ("tags", "group_tags")]
    head.tags = [tag for several in tags if isinstance(several, list) for tag in several]
    experiment = system.get("experiment/name")
    head.group = experiment if isinstance(experiment, str) else None
    head.other = {"sys": {name: each for name, each in system.items() if each is not None}}
