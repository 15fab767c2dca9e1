"""Tables of metrics: CSV, JSON lines and Parquet, and the ones that frameworks write."""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from runicorn.importing import source_files, table_rows
from runicorn.importing.source_runs import Head, SourceRun, Told, UnreadableSourceError, found_in
from runicorn.importing.table_values import SYSTEM, RowReader, missing_column

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runicorn.importing.source_runs import Item


class _Preset(NamedTuple):
    """What a framework calls its file, and its columns.

    Attributes:
        file: name of the file; one that begins with a dot is an ending.
        reader: of the file's rows.
        step: the column of steps.
        needs: columns that tell such a file from others.
    """

    file: str
    reader: str
    step: str | None = None
    needs: tuple[str, ...] = ()


PRESETS = {
    "lightning": _Preset("metrics.csv", "csv", "step", ("step",)),
    "transformers": _Preset("trainer_state.json", "trainer", "step"),
    "ultralytics": _Preset("results.csv", "csv", "epoch", ("epoch",)),
    "timm": _Preset("summary.csv", "csv", "epoch", ("epoch",)),
    "csv": _Preset(".csv", "csv"),
    "jsonl": _Preset(".jsonl", "jsonl"),
    "parquet": _Preset(".parquet", "parquet"),
}
_OURS = {"events.jsonl"}
_CHECKPOINT = re.compile(r"checkpoint-(\d{1,18})")


def find(form: str, top: str, options: dict[str, Any]) -> list[SourceRun]:
    """The runs in a file, or in all files of the format's name in a directory."""
    preset = PRESETS[form]
    if os.path.isfile(top):
        files = [top] if _is_named(preset, os.path.basename(top)) else []
    else:
        files = [
            os.path.join(directory, name)
            for directory, names in source_files.below(top)
            for name in names
            if _is_named(preset, name) and name not in _OURS
        ]
    if preset.reader == "trainer":
        files = _newest_states(files)
    files = [file for file in files if _has_columns(preset, file)]
    return found_in(form, files, lambda form, file: _runs(form, preset, file, top, options))


def _newest_states(files: list[str]) -> list[str]:
    """Of each training the state that is in its own directory, else in the last checkpoint: that has all before."""
    newest: dict[str, tuple[float, str]] = {}
    for file in files:
        directory, number = _training_of(file)
        newest[directory] = max((number, file), newest.get(directory, (-1.0, "")))
    return [file for _, file in newest.values()]


def _training_of(file: str) -> tuple[str, float]:
    """The directory of a training, and the number of the checkpoint that a file is in."""
    folder = os.path.dirname(file)
    found = _CHECKPOINT.fullmatch(os.path.basename(folder))
    return (folder, math.inf) if found is None else (os.path.dirname(folder), float(found[1]))


def _is_named(preset: _Preset, name: str) -> bool:
    return name.endswith(preset.file) if preset.file.startswith(".") else name == preset.file


def _has_columns(preset: _Preset, path: str) -> bool:
    """Whether a file has the columns that the preset's program writes."""
    return not preset.needs or set(preset.needs) <= set(table_rows.csv_columns(path))


def _runs(form: str, preset: _Preset, path: str, top: str, options: dict[str, Any]) -> list[SourceRun]:
    column = options.get("run")
    if not column:
        return [_run(form, preset, path, top, options, None)]
    values: dict[str, None] = {}
    has_column = False
    for row in table_rows.rows(preset.reader, path, Told()):
        has_column = has_column or column in row
        values.setdefault(str(row.get(column, "")), None)
    if values and not has_column:
        raise missing_column(path, column)
    return [_run(form, preset, path, top, options, value) for value in values]


def _run(form: str, preset: _Preset, path: str, top: str, options: dict[str, Any], value: str | None) -> SourceRun:
    head, told = Head(), Told()
    folder, name = os.path.split(path)
    if preset.reader == "trainer":
        folder, _ = _training_of(path)
    stem = name.rpartition(".")[0] if preset.file.startswith(".") else os.path.basename(folder)
    head.name = value if value is not None else stem
    between = os.path.relpath(folder, top) if os.path.isdir(top) else "."
    parts = [] if between == "." else between.split(os.sep)
    if not preset.file.startswith("."):
        parts = parts[:-1]  # the folder itself is the run's name
    head.path = [os.path.basename(top) if os.path.isdir(top) else form, *parts, *([stem] if value is not None else [])]
    head.reason = "a table stores no status"
    return SourceRun(
        form,
        os.path.join(folder, name) if value is None else f"{path}#{value}",
        path,
        lambda: source_files.digest([path]) + ("" if value is None else f"#{value}"),
        lambda: _items(preset, path, options, value, head, told),
        head,
        told,
    )


def _items(
    preset: _Preset, path: str, options: dict[str, Any], value: str | None, head: Head, told: Told
) -> Iterator[Item]:
    reader = RowReader(options, told, changed_at=source_files.changed_at(path), step_column=preset.step)
    column = options.get("run")
    for row in table_rows.rows(preset.reader, path, told):
        if column and str(row.pop(column, "")) != value:
            continue
        if isinstance(row.get(SYSTEM), dict):
            yield reader.sample(row)
            continue
        numbers = reader.numbers(row)
        if numbers is not None:
            yield numbers
    reader.finish(path)
    if preset.reader == "trainer":
        _read_trainer(path, head)
    head.config = {**head.config, **reader.config}
    head.other = reader.other()


def _read_trainer(path: str, head: Head) -> None:
    """What ``trainer_state.json`` says beside its rows."""
    state = source_files.json_of(path)
    if not isinstance(state, dict):
        raise UnreadableSourceError(f"{path} is not a JSON object")
    best = {"best_metric": state.get("best_metric"), "best_model_checkpoint": state.get("best_model_checkpoint")}
    head.summary = {name: value for name, value in best.items() if value is not None}
    rest = {name: value for name, value in state.items() if name not in {"log_history", *best}}
    parameters = rest.pop("trial_params", None)
    head.config = {"trial_params": parameters} if parameters else {}
    head.summary = {**head.summary, "trainer_state": rest}
