"""sacred: the folders of a ``FileStorageObserver``, one for each run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from runicorn.importing import source_files
from runicorn.importing.foreign_values import as_step
from runicorn.importing.source_runs import Head, Numbers, SourceRun, TextLine, Told, UnreadableSourceError
from runicorn.importing.table_values import as_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runicorn.importing.source_runs import Item

_RUN, _CONFIG, _METRICS, _CONSOLE, _INFO = "run.json", "config.json", "metrics.json", "cout.txt", "info.json"
_STATUS = {"COMPLETED": "finished", "FAILED": "failed", "INTERRUPTED": "interrupted", "TIMEOUT": "interrupted"}
_COLUMNS = ("steps", "timestamps", "values")
_SCALARS = (bool, int, float, str, type(None))


def find(form: str, top: str, _options: dict[str, Any]) -> list[SourceRun]:
    """The runs in a directory, at any depth."""
    if os.path.isfile(top):
        return []
    return [
        _run(form, directory)
        for directory, names in source_files.below(top)
        if _RUN in names and {_CONFIG, _METRICS, _CONSOLE} & set(names)
    ]


def _run(form: str, directory: str) -> SourceRun:
    head, told = Head(), Told()
    files = [os.path.join(directory, name) for name in (_RUN, _CONFIG, _METRICS, _CONSOLE, _INFO)]
    about = _object(files[0], told)
    experiment = about.get("experiment")
    name = experiment.get("name") if isinstance(experiment, dict) else None
    head.path = [str(name or "sacred")]
    head.name = os.path.basename(directory)
    _fill(head, about)
    return SourceRun(
        form,
        f"{name}/{head.name}@{about.get('start_time')}",
        directory,
        lambda: source_files.digest(files),
        lambda: _items(directory, about, head, told),
        head,
        told,
    )


def _fill(head: Head, about: dict[str, Any]) -> None:
    status = str(about.get("status"))
    head.created_at = head.started_at = as_time(about.get("start_time"))
    head.ended_at = as_time(about.get("stop_time")) or as_time(about.get("heartbeat"))
    head.status = _STATUS.get(status, "failed")
    trace = about.get("fail_trace")
    if isinstance(trace, list) and trace:
        head.reason = str(trace[-1]).strip()
    elif status not in {"COMPLETED", "FAILED"}:
        head.reason = f"sacred says {status}"
    host = about.get("host")
    if isinstance(host, dict):
        head.hostname, head.python = host.get("hostname"), host.get("python_version")
        system = host.get("os")
        head.platform = " ".join(map(str, system)) if isinstance(system, list) else None
    kept = {"experiment", "command", "meta", "resources", "artifacts", "heartbeat"}
    head.other = {name: value for name, value in about.items() if name in kept and value}


def _items(directory: str, about: dict[str, Any], head: Head, told: Told) -> Iterator[Item]:
    for name, series in _object(os.path.join(directory, _METRICS), told).items():
        given_columns = [series.get(each) for each in _COLUMNS] if isinstance(series, dict) else []
        columns = [column for column in given_columns if isinstance(column, list)]
        if len(columns) < len(_COLUMNS):
            told.problem(f"{_METRICS}: {name!r} is not a series, and was left out")
            continue
        if len({len(column) for column in columns}) > 1:
            told.problem(f"{_METRICS}: the columns of {name!r} are not of one length; their surplus was left out")
        for given, at, value in zip(*columns, strict=False):
            step, time_s = as_step(given), as_time(at)
            if step is None or time_s is None or not isinstance(value, _SCALARS):
                told.leave_out("values that are no points")
                continue
            yield Numbers(step, time_s, {name: value})
    console = os.path.join(directory, _CONSOLE)
    if os.path.isfile(console):
        text = source_files.text_of(console)
        if text:
            yield TextLine(None, text)
    trace = about.get("fail_trace")
    if isinstance(trace, list) and trace:
        yield TextLine(head.ended_at, "".join(map(str, trace)))
    head.config = _object(os.path.join(directory, _CONFIG), told)
    head.summary = _object(os.path.join(directory, _INFO), told)
    if about.get("result") is not None:
        head.summary = {**head.summary, "result": about["result"]}


def _object(path: str, told: Told) -> dict[str, Any]:
    """The JSON object in a file; empty if there is none, or if it cannot be read, which is told."""
    if not os.path.isfile(path):
        return {}
    try:
        found = source_files.json_of(path)
    except UnreadableSourceError as error:
        told.problem(str(error))
        return {}
    return found if isinstance(found, dict) else {}
