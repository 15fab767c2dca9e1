"""Runs written for other programs: CSV, JSON lines, Parquet, for TensorBoard, for mlflow and for wandb.

What is written has its final name only once it is whole. A format is a module; three of them write a table of the
reader into one file. ``tensorboard`` writes a directory; ``mlflow_store`` and ``wandb_store`` write one for all runs.
"""

from __future__ import annotations

import io
import os
from importlib import import_module
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from runicorn.exporting import mlflow_store, placing, tensorboard, wandb_store
from runicorn.exporting.progress import Progress
from runicorn.storage.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runicorn.exporting.selection import Selection
    from runicorn.reading import LoadedRun, Table

CSV, PARQUET, TENSORBOARD, MLFLOW, WANDB = "csv", "parquet", "tensorboard", "mlflow", "wandb"
ALL_IN_ONE = {MLFLOW: mlflow_store, WANDB: wandb_store}
"""Formats that put all runs into one directory."""
DIRECTORIES = {TENSORBOARD, *ALL_IN_ONE}
BINARY = {PARQUET}
STANDARD_OUTPUT = "-"
_NO_EVENTS = "files that are not TensorBoard event files"
_OTHER_RUNS = "files, which may be other runs"
_MODULES = {CSV: "csv_rows", "jsonl": "json_lines", PARQUET: "parquet"}
FORMATS = (*_MODULES, TENSORBOARD, *ALL_IN_ONE)


class Exported(NamedTuple):
    """What was written of a run.

    Attributes:
        path: of the file or the directory.
        rows: number of rows of a table; for a format that is a directory, number of points.
        metrics: the names of the metrics.
        notes: what is not in it as it was logged, in words.
    """

    path: str
    rows: int
    metrics: list[str]
    notes: list[str]


def export(
    run: LoadedRun, selection: Selection, form: str, target: str, *, force: bool = False, quote_formulas: bool = False
) -> Exported:
    """Write a run, whole or not at all.

    Args:
        run: read as far as it is now.
        selection: what of it.
        form: one of ``FORMATS``, except those of ``ALL_IN_ONE``.
        target: path of the file, or of the directory for TensorBoard.
        force: replace what is there, if it is a regular file, or a directory of event files.
        quote_formulas: in CSV, put a ``'`` before what a spreadsheet may take for a formula.

    Raises:
        FileExistsError: something is there.
        ImportError: the library that the format needs is not installed.
        KeyError: the run has no metric of a name.
        OSError: it cannot be written; nothing is left behind.
        ValueError: a metric has a name that the format needs for itself.
    """
    names = selection.checked_names(run)
    target = placing.named(target) if form == TENSORBOARD else target
    placing.check(target, is_directory=form == TENSORBOARD, force=force, storage=run.info.storage)
    if form == TENSORBOARD:
        tensorboard.require()
        with (
            placing.new_directory(target, force=force, may_go=tensorboard.is_of_events, what=_NO_EVENTS) as directory,
            Progress(os.path.basename(target), None) as progress,
        ):
            rows, names, notes = tensorboard.write(run, selection, directory, progress.advance)
        return Exported(target, rows, names, notes + _left_out(run, selection))
    module = import_module(f"runicorn.exporting.{_MODULES[form]}")
    module.require()
    table = selection.table(run)
    with placing.new_file(target, force=force) as file, Progress(os.path.basename(target), len(table)) as progress:
        notes = module.write(table, file, progress.advance, **_options(form, quote_formulas=quote_formulas))
    return _exported(run, selection, target, table, notes)


def export_together(
    runs: Sequence[LoadedRun], selection: Selection, form: str, target: str, *, force: bool = False
) -> list[Exported]:
    """Write runs into one new directory: all of them or none.

    Args:
        runs: read as far as they are now.
        selection: what of them; for mlflow every value is written, even if the selection has one for each step.
        form: one of ``ALL_IN_ONE``.
        target: path of the directory.
        force: replace an empty directory.

    Raises:
        FileExistsError: something is there.
        KeyError: a run has no metric of a name.
        OSError: it cannot be written; nothing is left behind.
        ValueError: the format cannot store such a selection.
    """
    store = ALL_IN_ONE[form]
    store.check(selection)
    target = placing.named(target)
    for run in runs:
        placing.check(target, is_directory=True, force=force, storage=run.info.storage)
    done = []
    with (
        placing.new_directory(target, force=force, may_go=_is_empty, what=_OTHER_RUNS) as directory,
        Progress(os.path.basename(target), None) as progress,
    ):
        for run in runs:
            rows, names, notes = store.write(run, selection, directory, target, progress.advance)
            done.append(Exported(target, rows, names, notes + _left_out(run, selection)))
    return done


def _is_empty(directory: str) -> bool:
    return not os.path.islink(directory) and not os.listdir(directory)


def export_to_stream(
    run: LoadedRun, selection: Selection, form: str, file: BinaryIO, *, quote_formulas: bool = False
) -> Exported:
    """Write a run to an open stream, which is left open; what is there when an error comes is not whole.

    Args:
        run: read as far as it is now.
        selection: what of it.
        form: one of ``FORMATS`` that is no directory.
        file: of bytes; need not be one that can seek.
        quote_formulas: as ``export()`` has it.

    Raises:
        ImportError: the library that the format needs is not installed.
        KeyError: the run has no metric of a name.
        OSError: it cannot be written.
        ValueError: a metric has a name that the format needs for itself.
    """
    selection.checked_names(run)
    module = import_module(f"runicorn.exporting.{_MODULES[form]}")
    module.require()
    table = selection.table(run)
    made = io.BytesIO() if form in BINARY else file
    notes = module.write(table, made, _nothing, **_options(form, quote_formulas=quote_formulas))
    if isinstance(made, io.BytesIO):
        file.write(made.getbuffer())
    return _exported(run, selection, STANDARD_OUTPUT, table, notes)


def _exported(run: LoadedRun, selection: Selection, path: str, table: Table, notes: list[str]) -> Exported:
    names = [name for name in selection.checked_names(run) if name in table.columns]
    return Exported(path, len(table), names, notes + _left_out(run, selection))


def _left_out(run: LoadedRun, selection: Selection) -> list[str]:
    notes = []
    if selection.ranks == "main" and any(run.ranks):
        notes.append("ranks above 0 are not in it; add --ranks all to write them too")
    unread = run.problem_count
    if unread:
        notes.append(f"{counted(unread, 'place')} of the run's files could not be read and are not in it")
    return notes


def _options(form: str, *, quote_formulas: bool) -> dict[str, bool]:
    return {"quote_formulas": True} if quote_formulas and form == CSV else {}


def _nothing(_count: int) -> None:
    """No progress is shown: a terminal shows the rows themselves."""
