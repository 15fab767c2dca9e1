"""DVCLive: a folder with ``plots/metrics``, ``metrics.json`` and ``params.yaml``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from runicorn.importing import block_yaml, source_files, table_rows
from runicorn.importing.source_runs import Head, SourceImage, SourceRun, Told, UnreadableSourceError
from runicorn.importing.table_values import RowReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runicorn.importing.source_runs import Item

_METRICS, _IMAGES = os.path.join("plots", "metrics"), os.path.join("plots", "images")
_ENDING = ".tsv"


def find(form: str, top: str, _options: dict[str, Any]) -> list[SourceRun]:
    """The runs in a directory, at any depth."""
    if os.path.isfile(top):
        return []
    return [
        _run(form, directory)
        for directory, _ in source_files.below(top)
        if os.path.isdir(os.path.join(directory, _METRICS)) and not os.path.islink(os.path.join(directory, "plots"))
    ]


def _run(form: str, directory: str) -> SourceRun:
    head, told = Head(), Told()
    above, name = os.path.split(directory)
    head.name = os.path.basename(above) if name == form else name
    head.path = [form]
    head.reason = "DVCLive stores no status"
    files = [os.path.join(at, each) for at, names in source_files.below(directory) for each in names]
    return SourceRun(
        form,
        directory,
        directory,
        lambda: source_files.digest(files),
        lambda: _items(directory, head, told),
        head,
        told,
    )


def _items(directory: str, head: Head, told: Told) -> Iterator[Item]:
    head.summary = _summary(os.path.join(directory, "metrics.json"), told)
    head.config = _parameters(os.path.join(directory, "params.yaml"), told)
    without_times = False
    for at, names in source_files.below(os.path.join(directory, _METRICS)):
        for name in names:
            if not name.endswith(_ENDING):
                told.leave_out("files that are no metrics")
                continue
            path = os.path.join(at, name)
            metric = os.path.relpath(path, os.path.join(directory, _METRICS)).removesuffix(_ENDING).replace(os.sep, "/")
            reader = RowReader({"step": "step"}, told, changed_at=source_files.changed_at(path))
            for row in table_rows.rows("tsv", path, told):
                found = reader.numbers(_point(row, metric))
                if found is not None:
                    yield found
            without_times = without_times or bool(reader.other())
    head.other = {"times": "those of the files: DVCLive has stored none"} if without_times else {}
    yield from _images(os.path.join(directory, _IMAGES), head)


def _point(row: dict[str, Any], metric: str) -> dict[str, Any]:
    """The step, the time if there is one, and the last column, which has the last part of the metric's name."""
    point: dict[str, Any] = {name: row[name] for name in ("step", "timestamp") if name in row}
    for name in [*row][-1:]:
        if name not in point:
            point[metric] = row[name]
    return point


def _images(top: str, head: Head) -> Iterator[SourceImage]:
    """Files are named by their key; those of a folder by their step."""
    last = head.summary.get("step")
    for at, names in source_files.below(top):
        for name in names:
            path = os.path.join(at, name)
            key, step = os.path.relpath(path, top).replace(os.sep, "/"), last if type(last) is int else 0
            above, _, file = key.rpartition("/")
            stem = file.partition(".")[0]
            if above and stem.isascii() and stem.isdecimal():
                key, step = above, int(stem[:18])
            time_s = source_files.changed_at(path)
            yield SourceImage(key, step, time_s, None, lambda path=path: source_files.read_whole(path))  # type: ignore[misc]


def _summary(path: str, told: Told) -> dict[str, Any]:
    return _read(path, source_files.json_of, told)


def _parameters(path: str, told: Told) -> dict[str, Any]:
    return _read(path, lambda path: block_yaml.read(source_files.text_of(path)), told)


def _read(path: str, read: Any, told: Told) -> dict[str, Any]:
    if not os.path.isfile(path):
        return {}
    try:
        found = read(path)
    except UnreadableSourceError as error:
        told.problem(str(error))
        return {}
    return found if isinstance(found, dict) else {}
