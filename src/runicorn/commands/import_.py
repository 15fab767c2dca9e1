"""``runicorn import``: bring the runs of another tracker into the storage, offline, and each once."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import msgspec

from runicorn import importing
from runicorn.commands import render
from runicorn.commands.options import add_json, add_storage
from runicorn.errors import WrongValueError
from runicorn.exporting.progress import Progress
from runicorn.reading.plain_text import plain
from runicorn.storage.wording import counted

if TYPE_CHECKING:
    import argparse

    from runicorn.importing import ImportOutcome

HELP = "bring runs of TensorBoard, wandb, mlflow and others, or tables of metrics, into the storage"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which format, from where, and where to."""
    parser.add_argument(
        "format",
        choices=(importing.AUTO, *importing.FORMATS),
        metavar="FORMAT",
        help=f"auto finds the format; or one of {', '.join(importing.FORMATS)}",
    )
    parser.add_argument("sources", nargs="+", metavar="PATH", help="files or directories of the other tracker")
    parser.add_argument("--path", help="run path to put the runs under (default: named after PATH)")
    parser.add_argument(
        "--update",
        action="store_true",
        help="take what is new in a source that was imported before; keep the tags, notes and alias that were set here",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="read everything, write nothing, and say what would be imported"
    )
    table = parser.add_argument_group("tables (all formats that have columns)")
    table.add_argument(
        "--step",
        metavar="COLUMN",
        help="the column of steps (default: a column such as step or epoch, else the number of the row)",
    )
    table.add_argument("--time", metavar="COLUMN", help="the column of times: epoch seconds, or ISO 8601")
    table.add_argument(
        "--run", dest="run_column", metavar="COLUMN", help="the column of runs: each of its values is a run"
    )
    table.add_argument("--map", action="append", default=[], metavar="A=B", help="call the column A the metric B")
    table.add_argument(
        "--config-columns",
        action="append",
        default=[],
        metavar="A,B",
        help="columns that are configuration, not metrics",
    )
    add_storage(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Import what is found, and say what became of each run; 1 if one could not be read."""
    done: list[ImportOutcome] = []
    with Progress("values imported", None) as progress:
        outcomes = importing.import_runs(
            options.format,
            options.sources,
            storage=options.storage,
            path=options.path,
            update=options.update,
            dry_run=options.dry_run,
            options=_of_tables(options),
            advance=progress.advance,
        )
        for outcome in outcomes:
            done.append(outcome)
            if not options.json:
                _say(outcome, is_dry=options.dry_run)
    if options.json:
        render.emit([msgspec.structs.asdict(each) for each in done])
    elif len(done) > 1:
        states = [each.state for each in done]
        print(", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)))
    return 1 if any(each.state == importing.FAILED for each in done) else 0


def _of_tables(options: argparse.Namespace) -> dict[str, object]:
    return {
        "step": options.step,
        "time": options.time,
        "run": options.run_column,
        "names": _names(options.map),
        "config": [name for each in options.config_columns for name in each.split(",")],
    }


def _names(pairs: list[str]) -> dict[str, str]:
    """The metric of each column, from texts ``A=B``.

    Raises:
        ValueError: a text has no ``=``, or a column is named twice.
    """
    names: dict[str, str] = {}
    for pair in pairs:
        column, equals, metric = pair.partition("=")
        if not equals:
            raise WrongValueError(f"--map {pair!r} has no '='. Nothing was imported. Write --map COLUMN=METRIC.")
        if column in names:
            raise WrongValueError(f"--map names the column {column!r} twice. Nothing was imported. Name it once.")
        names[column] = metric
    return names


def _say(outcome: ImportOutcome, *, is_dry: bool) -> None:
    state = (
        f"would be {outcome.state}" if is_dry and outcome.state in {importing.NEW, importing.UPDATED} else outcome.state
    )
    where = "" if outcome.run is None else f" {os.path.join(outcome.path or '', outcome.run)}"
    what = ""
    if outcome.points or outcome.state in {importing.NEW, importing.UPDATED}:
        what = f": {counted(outcome.points, 'value')} of {counted(len(outcome.metrics), 'metric')}"
        what += f", {counted(outcome.images, 'image')}" if outcome.images else ""
        what += f", {counted(outcome.lines, 'line')} of text" if outcome.lines else ""
        what += f", {counted(outcome.samples, 'sample')} of the machine" if outcome.samples else ""
    print(plain(f"{outcome.source}: {state}{where}{what}"), flush=True)
    for note in (*([outcome.note] if outcome.note else []), *_left_out(outcome), *outcome.problems):
        named = note if note.startswith(outcome.source) else f"{outcome.source}: {note}"
        print(f"runicorn import: {plain(named)}", file=sys.stderr)


def _left_out(outcome: ImportOutcome) -> list[str]:
    if not outcome.left_out:
        return []
    return ["left out: " + ", ".join(f"{what}: {count:,}" for what, count in outcome.left_out.items())]
