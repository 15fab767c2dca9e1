"""``runicorn export``: write the metrics of runs to files for other programs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from runicorn import exporting, reading
from runicorn.commands import render
from runicorn.commands.options import RUN_HELP, add_json, add_latest, add_storage, the_run
from runicorn.errors import WrongValueError
from runicorn.exporting.selection import Selection
from runicorn.reading import plain_text
from runicorn.storage import modes
from runicorn.storage.wording import counted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

HELP = "write the numbers of runs as CSV, JSON lines, Parquet, for TensorBoard, mlflow or wandb"

_ENDINGS = {form: "" if form in exporting.DIRECTORIES else f".{form}" for form in exporting.FORMATS}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs, what of them, how, and where to."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help=RUN_HELP)
    add_latest(parser)
    parser.add_argument(
        "--format", choices=exporting.FORMATS, help="format of the files (default: by the ending of PATH)"
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="PATH",
        help="the file to write; for tensorboard or several runs a directory, where files are named by the run's id; "
        "for mlflow and wandb one directory for all runs; '-' = standard output",
    )
    parser.add_argument("--metrics", action="append", default=[], metavar="A,B", help="only these metrics")
    parser.add_argument(
        "--system", action="store_true", help="write what the machine did, instead of metrics: one row for each sample"
    )
    parser.add_argument(
        "--ranks",
        choices=("main", "all"),
        default="main",
        help="main: rank 0; all: also other ranks and hosts (default: main)",
    )
    rows = parser.add_mutually_exclusive_group()
    rows.add_argument(
        "--by-step", action="store_true", help="one row for each step; a later value replaces an earlier one (default)"
    )
    rows.add_argument("--lines", action="store_true", help="one row for each call of log()")
    parser.add_argument(
        "--superseded",
        action="store_true",
        help="also write values that a later session of a resumed run has superseded (with --lines: all of them)",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace an existing file, or a directory that holds only event files"
    )
    parser.add_argument(
        "--quote-formulas",
        action="store_true",
        help="in CSV, put a ' before names and text that a spreadsheet may run as formulas",
    )
    add_storage(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Write each run, and say what became of it."""
    form = options.format or _format_of(options.output)
    if options.quote_formulas and form != exporting.CSV:
        raise WrongValueError(f"--quote-formulas is for CSV, and the format is {form}. Leave it out.")
    if options.system and form in exporting.DIRECTORIES:
        raise WrongValueError(f"what the machine did has no steps, which {form} needs. Choose another --format.")
    selection = Selection(tuple(options.metrics), not options.lines, options.ranks, options.superseded, options.system)
    loaded = [reading.load(the_run(run, options)) for run in options.runs]
    if options.output == exporting.STANDARD_OUTPUT:
        return _to_standard_output(options, form, selection, loaded)
    targets = _targets(options.output, form, [run.info.id for run in loaded])
    for each in loaded:  # before the first is written
        selection.checked_names(each)
    if len(loaded) > 1 and form not in exporting.ALL_IN_ONE:
        modes.make_directories(options.output)
    results = []
    for each, done in zip(loaded, _exported(options, form, selection, loaded, targets), strict=True):
        results.append({"run": each.info.id, "format": form, **done._asdict()})
        if not options.json:
            print(_said(done, form))
            _tell(each, done.notes)
    if options.json:
        render.emit(results)
    return 0


def _exported(
    options: argparse.Namespace, form: str, selection: Selection, loaded: list[reading.LoadedRun], targets: list[str]
) -> Iterator[exporting.Exported]:
    if form in exporting.ALL_IN_ONE:
        yield from exporting.export_together(loaded, selection, form, options.output, force=options.force)
        return
    for each, target in zip(loaded, targets, strict=True):
        yield exporting.export(
            each, selection, form, target, force=options.force, quote_formulas=options.quote_formulas
        )


def _to_standard_output(
    options: argparse.Namespace, form: str, selection: Selection, loaded: list[reading.LoadedRun]
) -> int:
    """Write one run as the standard output; what is said of it goes to stderr."""
    if form in exporting.DIRECTORIES:
        raise WrongValueError(f"the files of {form} are a directory, and cannot be standard output. Name one with -o.")
    if len(loaded) > 1:
        raise WrongValueError("only one run can be written to standard output. Name one, or a directory with -o.")
    if options.json:
        raise WrongValueError("--json and -o - would both write to standard output. Leave one of them out.")
    if form in exporting.BINARY and sys.stdout.isatty():
        raise WrongValueError(
            f"{form} is not for a terminal to show. Name a file with -o, or pipe it to another program."
        )
    sys.stdout.flush()
    stream = sys.stdout.buffer
    done = exporting.export_to_stream(loaded[0], selection, form, stream, quote_formulas=options.quote_formulas)
    stream.flush()  # here, where a reader that is gone is known as that
    print(_said(done, form), file=sys.stderr)
    _tell(loaded[0], done.notes)
    return 0


def _said(done: exporting.Exported, form: str) -> str:
    rows = counted(done.rows, "point" if form in exporting.DIRECTORIES else "row")
    path = "standard output" if done.path == exporting.STANDARD_OUTPUT else plain_text.plain(done.path)
    return f"{path}: {rows} of {counted(len(done.metrics), 'metric')}"


def _tell(run: reading.LoadedRun, notes: list[str]) -> None:
    for note in notes:
        print(f"runicorn export: {plain_text.plain(run.info.id)}: {plain_text.plain(note)}", file=sys.stderr)


def _format_of(path: str) -> str:
    for form, ending in _ENDINGS.items():
        if ending and path.lower().endswith(ending):
            return form
    raise WrongValueError(f"{path!r} does not say which format is meant. Add --format, one of {', '.join(_ENDINGS)}.")


def _targets(output: str, form: str, ids: list[str]) -> list[str]:
    """Where each run goes."""
    twice = sorted({run_id for run_id in ids if ids.count(run_id) > 1})
    if twice:
        raise WrongValueError(f"run {twice[0]} is named more than once. Nothing was written. Name each run once.")
    if form in exporting.ALL_IN_ONE:
        return [output] * len(ids)
    is_folder = os.path.isdir(output) and form != exporting.TENSORBOARD
    if len(ids) > 1 or is_folder:
        return [os.path.join(output, f"{run_id}{_ENDINGS[form]}") for run_id in ids]
    return [output]
