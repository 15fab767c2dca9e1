"""A file store of mlflow: ``<experiment>/<run>/`` with a file for each metric, parameter and tag, and images.

The path of a run is its experiment, and its id its id. Both are the same at every export, so the folders of several
stores can be copied into one.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runicorn.exporting.image_files import content_of, ending_of
from runicorn.exporting.mlflow_names import FileNames
from runicorn.exporting.selection import PIECE_ROWS
from runicorn.reading.frames import as_float
from runicorn.reading.info import LOST
from runicorn.storage import modes, run_files, statuses
from runicorn.storage.escaping import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from runicorn.exporting.selection import Selection
    from runicorn.reading import LoadedRun
    from runicorn.reading.column import Column

_META = "meta.yaml"
_STATUS = {statuses.RUNNING: 1, statuses.FINISHED: 3, statuses.FAILED: 4, statuses.INTERRUPTED: 5, LOST: 4}
_UNKNOWN_STATUS = 3
_ID = re.compile(r"[a-zA-Z0-9][\w\-]{0,255}", re.ASCII)
_DEFAULT = ("0", "Default")
_LONGEST_KEY = 60
_POINTS = "points"
_ROUNDED = "integers rounded to floats"
_TEXTS = "texts among the values left out"
_CHANGED = "names of metrics changed to such as mlflow takes"
_LABELS = "names of parameters and tags changed to such as mlflow takes"
_IMAGES = "images left out because their files are missing"
_CAPTIONS = "captions of images left out"


def write(
    run: LoadedRun, selection: Selection, directory: str, target: str, advance: Callable[[int], None]
) -> tuple[int, list[str], list[str]]:
    """Write one run into a store.

    Args:
        run: read as far as it is now.
        selection: what of it; each value counts, not one for each step.
        directory: of the store, while it is made.
        target: where the store will be.
        advance: called with the number of values done.

    Returns:
        How many points, the names of the metrics, and what is not as it was logged, in words.
    """
    number, name = _experiment(run.info.path)
    experiment, run_id = os.path.join(directory, number), _id(run.info.id)
    if not os.path.isdir(experiment):
        modes.make_directory(experiment)
        location = Path(os.path.abspath(target), number)
        _write_yaml(experiment, _of_experiment(number, name, location, _milliseconds(run.info.created_at)))
    top = os.path.join(experiment, run_id)
    modes.make_directory(top)
    for folder in ("metrics", "params", "tags", "artifacts"):
        modes.make_directory(os.path.join(top, folder))
    artifacts = Path(os.path.abspath(target), number, run_id, "artifacts")
    _write_yaml(top, _of_run(run, number, run_id, artifacts))
    _write_texts(os.path.join(top, "tags"), tags := _tags(run))
    _write_texts(os.path.join(top, "params"), parameters := _parameters(run))
    points, names, notes = _write_metrics(run, selection, os.path.join(top, "metrics"), advance)
    if not selection.names:
        notes += _write_images(run, os.path.join(top, "artifacts"))
    changed = Counter({_LABELS: FileNames([*tags]).changed + FileNames([*parameters]).changed})
    return points, names, notes + _told(changed) + _without_a_place(run)


def check(_selection: Selection) -> None:
    """Accept every selection: mlflow can store each of them."""


def _experiment(path: str) -> tuple[str, str]:
    if not path:
        return _DEFAULT
    digest = hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()
    return str(int(digest[:15], 16) + 1), escape(path)


def _id(run_id: str) -> str:
    return run_id if _ID.fullmatch(run_id) else hashlib.sha256(run_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _of_experiment(number: str, name: str, location: Path, at_ms: int | None) -> dict[str, Any]:
    return {
        "artifact_location": location.as_uri(),
        "creation_time": at_ms,
        "experiment_id": number,
        "last_update_time": at_ms,
        "lifecycle_stage": "active",
        "name": name,
    }


def _of_run(run: LoadedRun, experiment: str, run_id: str, artifacts: Path) -> dict[str, Any]:
    info = run.info
    started = info.created_at if info.started_at is None else info.started_at
    return {
        "artifact_uri": artifacts.as_uri(),
        "deleted_time": None,
        "end_time": _milliseconds(info.ended_at),
        "entry_point_name": "",
        "experiment_id": experiment,
        "lifecycle_stage": "active",
        "run_id": run_id,
        "run_name": escape(info.alias or info.id),
        "run_uuid": run_id,
        "source_name": "",
        "source_type": 4,
        "source_version": "",
        "start_time": _milliseconds(started),
        "status": _STATUS.get(info.status, _UNKNOWN_STATUS),
        "user_id": "",
    }


def _milliseconds(time_s: float | None) -> int | None:
    return None if time_s is None else round(time_s * 1000)


def _tags(run: LoadedRun) -> dict[str, str]:
    """Those of the run; one such as ``team:a`` is a name and a value, as the import makes them."""
    info = run.info
    found = {name or tag: value if name else "" for tag in info.tags for name, _, value in [tag.partition(":")]}
    ours = {
        "mlflow.runName": info.alias or info.id,
        "mlflow.note.content": info.notes,
        "mlflow.parentRunId": _id(info.parent) if info.parent else None,
        "runicorn.group": info.group,
        "runicorn.status": info.status,
        "runicorn.exit_reason": info.exit_reason,
        "mlflow.loggedImages": "True" if run.images else None,
    }
    return {**found, **{name: value for name, value in ours.items() if value}}


def _parameters(run: LoadedRun) -> dict[str, str]:
    """The configuration by the names of its first level, as text: what ``str()`` gives, as in mlflow."""
    config = dict(run.config)
    arguments, extra = config.pop("args", None), config.pop("extra", None)
    found: dict[str, Any] = {**arguments} if isinstance(arguments, dict) else {}
    found |= {f"extra.{name}": value for name, value in extra.items()} if isinstance(extra, dict) else {}
    return {name: str(value) for name, value in {**found, **config}.items()}


def _write_metrics(
    run: LoadedRun, selection: Selection, folder: str, advance: Callable[[int], None]
) -> tuple[int, list[str], list[str]]:
    counts, names = Counter[str](), list[str]()
    chosen = selection.checked_names(run)
    files = FileNames(_all_names(run, selection, chosen))
    for name in chosen:
        columns = run.columns_by_file(name, ranks=selection.ranks, superseded=selection.superseded)
        for source, column in columns.items():
            pieces = _lines(column, counts, advance)
            first = next(pieces, None)
            if first is not None:
                _write(folder, files[_name_of(name, source)], chain([first], pieces))
        names += [name] * bool(columns)
    points = counts.pop(_POINTS, 0)
    counts[_CHANGED] += files.changed
    return points, names, _told(counts)


def _lines(column: Column, counts: Counter[str], advance: Callable[[int], None]) -> Iterator[bytes]:
    """The lines of a metric's file, some thousands at a time."""
    rows = zip(column.time, column.value, column.step, strict=True)
    while piece := list(islice(rows, PIECE_ROWS)):
        lines = []
        for time_s, value, step in piece:
            if isinstance(value, (int, float)):
                number = as_float(value)
                counts[_ROUNDED] += type(value) is int and number != value
                lines.append(f"{_milliseconds(time_s)} {number!r} {step}\n")
            else:
                counts[_TEXTS] += value is not None
        counts[_POINTS] += len(lines)
        advance(len(piece))
        if lines:
            yield "".join(lines).encode()


def _all_names(run: LoadedRun, selection: Selection, chosen: list[str]) -> list[str]:
    files = [file for file in run.events_files() if selection.ranks == "all" or file.name == run_files.EVENTS]
    return [_name_of(name, file.name) for name in chosen for file in files if name in file.names]


def _name_of(name: str, source: str) -> str:
    if source == run_files.EVENTS:
        return name
    return f"{source.removeprefix('events.').removesuffix('.jsonl')}/{name}"


def _write_images(run: LoadedRun, folder: str) -> list[str]:
    """Copy images under the names that ``mlflow.log_image(key=..., step=...)`` gives."""
    counts = Counter[str]()
    for number, image in enumerate(run.images):
        content = content_of(run, image.path)
        if not content:
            counts[_IMAGES] += 1
            continue
        counts[_CAPTIONS] += image.caption is not None
        key = FileNames([image.key])[image.key].replace("/", "~")[:_LONGEST_KEY]
        mark = hashlib.sha256(f"{number}\0".encode() + content).hexdigest()[:32]
        at = f"step+{image.step or 0}+timestamp+{_milliseconds(image.time)}+{mark}{ending_of(image.path)}"
        _write(folder, f"images/{key}+{at}", [content])
    return _told(counts)


def _without_a_place(run: LoadedRun) -> list[str]:
    has_text = os.path.exists(os.path.join(run.info.run_dir, run_files.LOGS))
    parts = ["the summary"] * bool(run.summary) + ["the text of logs.txt"] * has_text
    parts += ["what the machine did"] * bool(len(run.system))
    return [f"{', '.join(parts)} left out: mlflow has no place for it"] * bool(parts)


def _write_texts(folder: str, texts: dict[str, str]) -> None:
    names = FileNames([*texts])
    for name, text in texts.items():
        _write(folder, names[name], [escape(text).encode()])


def _write(folder: str, name: str, pieces: Iterable[bytes]) -> None:
    path = os.path.join(folder, *name.split("/"))
    modes.make_directories(os.path.dirname(path))
    with open(path, "xb") as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())


def _write_yaml(folder: str, content: dict[str, Any]) -> None:
    _write(folder, _META, [f"{name}: {_yaml(value)}\n".encode() for name, value in sorted(content.items())])


def _told(counts: Counter[str]) -> list[str]:
    return [f"{what}: {count:,}" for what, count in counts.items() if count]


def _yaml(value: str | int | None) -> str:
    if value is None:
        return "null"
    return str(value) if isinstance(value, int) else f'"{"".join(_yaml_signs(value))}"'


def _yaml_signs(text: str) -> Iterable[str]:
    for sign in text:
        if sign in '"\\':
            yield f"\\{sign}"
        else:
            yield sign if sign.isprintable() else f"\\U{ord(sign):08X}"
