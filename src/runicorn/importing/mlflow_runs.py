"""mlflow: the file store ``mlruns/<experiment>/<run>/``, and the database ``mlflow.db``."""

from __future__ import annotations

import ast
import hashlib
import heapq
import math
import os
import re
import sys
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from runicorn.importing import block_yaml, databases, source_files
from runicorn.importing.foreign_values import FLOATS, as_step
from runicorn.importing.source_runs import Head, Numbers, Sample, SourceRun, Told, found_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runicorn.importing.source_runs import Item

_META = "meta.yaml"
_TABLES = {"experiments", "runs", "metrics", "params", "tags"}
_STATUS = {"3": "FINISHED", "4": "FAILED", "5": "KILLED", "1": "RUNNING", "2": "SCHEDULED"}
_ENDS = {"FINISHED": ("finished", None), "FAILED": ("failed", None), "KILLED": ("interrupted", "killed")}
_NOTE, _PARENT, _NAME = "mlflow.note.content", "mlflow.parentRunId", "mlflow.runName"
_MOST_LITERAL, _MOST_BRACKETS = 20_000, 200
_MOST_DEPTH = 3
_DELETED, _TRASH = "deleted", ".trash"
_PREFIX = "system/"
_OF_MACHINE = re.compile(r"system/(?:.+/)?(?:cpu|system_memory|disk|network|gpu_\d+)_[a-z_]+")
_MOST_OPEN = 200
"""How many files of numbers of the machine are read side by side; what is above that stays a metric."""


def find(form: str, top: str, _options: dict[str, Any]) -> list[SourceRun]:
    """The runs of a file store, of one experiment of it, or of a database; parents first."""
    if os.path.isfile(top):
        found = _in_database(form, top) if databases.tables(top) >= _TABLES else []
    else:
        found = found_in(form, _run_directories(top, _MOST_DEPTH), _in_store)
        names = sorted(os.listdir(top))
        paths = [os.path.join(top, name) for name in names if name.endswith((".db", ".sqlite"))]
        usable = [path for path in paths if not os.path.islink(path) and databases.tables(path) >= _TABLES]
        found += found_in(form, usable, _in_database)
    return sorted(found, key=lambda run: run.head.parent is not None)


def _run_directories(top: str, depth: int) -> Iterator[str]:
    """The directories of runs: they have the file, and a folder of values. Artifacts are not walked."""
    if os.path.isfile(os.path.join(top, _META)) and any(
        os.path.isdir(os.path.join(top, name)) for name in ("metrics", "params", "tags")
    ):
        yield top
    elif depth:
        with os.scandir(top) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        for name in names:
            if not name.startswith(".") or name == _TRASH:
                yield from _run_directories(os.path.join(top, name), depth - 1)


def _in_store(form: str, directory: str) -> list[SourceRun]:
    meta = block_yaml.read(source_files.text_of(os.path.join(directory, _META)))
    run_id = meta.get("run_id") or meta.get("run_uuid")
    if not isinstance(run_id, str):
        return []
    if meta.get("lifecycle_stage") == _DELETED or directory.split(os.sep)[-3] == _TRASH:
        return [_skipped(form, run_id, directory)]
    above = os.path.join(os.path.dirname(directory), _META)
    experiment = block_yaml.read(source_files.text_of(above)) if os.path.isfile(above) else {}
    head, told = Head(), Told()
    tags = dict(_texts_in(os.path.join(directory, "tags")))
    parameters = dict(_texts_in(os.path.join(directory, "params")))
    _fill(head, {**meta, "status": _STATUS.get(str(meta.get("status")))}, experiment, parameters, tags)
    files = [
        os.path.join(at, name) for at, names in source_files.below(directory) for name in names if "artifacts" not in at
    ]
    return [
        SourceRun(
            form,
            run_id,
            directory,
            lambda: source_files.digest(files),
            lambda: _of_files(os.path.join(directory, "metrics"), told),
            head,
            told,
        )
    ]


def _skipped(form: str, run_id: str, location: str) -> SourceRun:
    return SourceRun(form, run_id, location, str, lambda: iter(()), skipped="it is deleted in mlflow")


def _texts_in(directory: str) -> Iterator[tuple[str, str]]:
    """The content of each file below a directory, by its relative path: a name with slashes is a path."""
    for at, names in source_files.below(directory):
        for name in names:
            path = os.path.join(at, name)
            yield os.path.relpath(path, directory).replace(os.sep, "/"), source_files.text_of(path)


def _of_files(directory: str, told: Told) -> Iterator[Item]:
    of_machine: list[Iterator[Numbers]] = []
    for at, names in source_files.below(directory):
        for name in names:
            path = os.path.join(at, name)
            metric = os.path.relpath(path, directory).replace(os.sep, "/")
            points = _of_file(path, metric, told)
            if len(of_machine) < _MOST_OPEN and _OF_MACHINE.fullmatch(metric):
                of_machine.append(points)
            else:
                yield from points
    yield from map(_as_sample, heapq.merge(*of_machine, key=attrgetter("time")))


def _of_file(path: str, metric: str, told: Told) -> Iterator[Numbers]:
    with source_files.open_source(path) as file:
        for number, line in enumerate(file, 1):
            found = _point(line.decode("utf-8", "backslashreplace").split(), metric)
            if found is not None:
                yield found
            elif line.strip():
                told.problem(f"metrics/{metric}: line {number:,} cannot be read, and was left out")


def _as_sample(point: Numbers) -> Sample:
    return Sample(point.time, {name.removeprefix(_PREFIX): value for name, value in point.data.items()})


def _point(words: list[str], metric: str) -> Numbers | None:
    """Milliseconds, value, and maybe the step, and then the data set."""
    if len(words) < 2:
        return None
    try:
        time_s, value = int(words[0]) / 1000, float(words[1])
    except (ValueError, OverflowError):
        return None
    step = as_step(words[2]) if len(words) > 2 else 0
    return None if step is None else Numbers(step, time_s, {metric: value})


def _in_database(form: str, path: str) -> list[SourceRun]:
    with databases.opened(path) as connection:
        experiments = {row.get("experiment_id"): row for row in databases.rows(connection, "experiments")}
        labels: dict[str, dict[Any, dict[str, Any]]] = {"params": {}, "tags": {}}
        for table, by_run in labels.items():
            for row in databases.rows(connection, table):
                by_run.setdefault(row.get("run_uuid"), {})[str(row.get("key"))] = row.get("value")
        counts = "SELECT run_uuid, count(*), max(timestamp), max(rowid) FROM metrics GROUP BY run_uuid"
        states = {run_id: numbers for run_id, *numbers in connection.execute(counts)}
        found = []
        for row in databases.rows(connection, "runs"):
            run_id = row.get("run_uuid")
            if isinstance(run_id, str) and row.get("lifecycle_stage") == _DELETED:
                found.append(_skipped(form, run_id, f"{path}#{run_id}"))
            elif isinstance(run_id, str):
                head, told = Head(), Told()
                parameters, tags = labels["params"].get(run_id, {}), labels["tags"].get(run_id, {})
                meta = {**row, "run_name": row.get("name")}
                _fill(head, meta, experiments.get(row.get("experiment_id"), {}), parameters, tags)
                state = repr((row, parameters, tags, states.get(run_id)))
                found.append(_of_row(form, path, run_id, state, head, told))
    return found


def _of_row(form: str, path: str, run_id: str, state: str, head: Head, told: Told) -> SourceRun:
    digest = hashlib.sha256(state.encode("utf-8", "surrogatepass")).hexdigest()
    return SourceRun(
        form, run_id, f"{path}#{run_id}", lambda: digest, lambda: _of_table(path, run_id, told), head, told
    )


def _of_table(path: str, run_id: str, told: Told) -> Iterator[Item]:
    with databases.opened(path) as connection:
        for row in databases.rows(connection, "metrics", "WHERE run_uuid = ?", run_id):
            value, step, time_ms = row.get("value"), as_step(row.get("step", 0)), row.get("timestamp")
            if step is None or type(value) not in {int, float} or type(time_ms) is not int:
                told.leave_out("rows that are no points")
                continue
            name = str(row.get("key"))
            point = Numbers(step, time_ms / 1000, {name: _number(value, row.get("is_nan"))})
            yield _as_sample(point) if _OF_MACHINE.fullmatch(name) else point


def _number(value: Any, is_nan: Any) -> float:
    """The value that was logged: the infinities are stored as the largest floats, and NaN as 0 with a mark."""
    if is_nan:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else float(value)


def _fill(
    head: Head, meta: dict[str, Any], experiment: dict[str, Any], parameters: dict[str, Any], tags: dict[str, Any]
) -> None:
    name = meta.get("run_name") or tags.get(_NAME)
    head.name = name if isinstance(name, str) else None
    head.path = [str(each) for each in str(experiment.get("name") or "mlflow").split("/")]
    head.created_at = head.started_at = _seconds(meta.get("start_time"))
    head.ended_at = _seconds(meta.get("end_time"))
    status = str(meta.get("status"))
    head.status, head.reason = _ENDS.get(status, ("failed", f"mlflow says {status}: it has not stored an end"))
    head.parent = tags.get(_PARENT)
    head.notes = tags.get(_NOTE)
    head.config = {key: _literal(value) for key, value in parameters.items()}
    head.tags = [f"{key}:{value}" if value else key for key, value in tags.items() if not key.startswith("mlflow.")]
    known = {_NOTE, _PARENT, _NAME}
    fields = {
        "run_id": meta.get("run_id") or meta.get("run_uuid"),
        "experiment_id": experiment.get("experiment_id"),
        "experiment": experiment.get("name"),
        "user": meta.get("user_id"),
        "artifact_uri": meta.get("artifact_uri"),
        "tags": {key: value for key, value in tags.items() if key not in known},
        "parent_run_id": head.parent,
    }
    head.other = {key: value for key, value in fields.items() if value}


def _seconds(milliseconds: Any) -> float | None:
    return milliseconds / 1000 if type(milliseconds) is int and abs(milliseconds) < 1 << 60 else None


def _literal(text: Any) -> Any:
    """What a parameter was before it became text, if that can be known; else the text."""
    if not isinstance(text, str) or len(text) > _MOST_LITERAL:
        return text
    if text in FLOATS:
        return FLOATS[text]
    if sum(map(text.count, "([{")) > _MOST_BRACKETS:
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return text
    return value if _is_plain(value) else text


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(each) for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))
