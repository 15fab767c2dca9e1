"""``runicorn plot``: plot metrics of one or more runs in the terminal."""

from __future__ import annotations

import argparse
import math
import shutil
from typing import TYPE_CHECKING, Any

import msgspec

from runicorn.commands import described, drawn_curves, render
from runicorn.commands.drawing import draw
from runicorn.commands.drawn_curves import DrawnCurve
from runicorn.commands.figures import as_number, main_column, number_of_ranks
from runicorn.commands.options import add_json, add_latest, add_storage, count, the_run
from runicorn.errors import NotFoundError
from runicorn.reading import plain_text
from runicorn.reading.curves import POINTS, Curve, Query, curve, smoothed, unit_of
from runicorn.reading.levels import LevelStore
from runicorn.reading.loaded import LoadedRun, load
from runicorn.reading.pace import NAME, points_of_pace
from runicorn.reading.stretches import STEP, TIME, collect, is_of_rank
from runicorn.reading.system_file import PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runicorn.reading import Column

HELP = "plot metrics of one or several runs in the terminal"

_LEAST_WIDTH, _LEAST_HEIGHT, _MOST_HEIGHT = 20, 4, 30
_LINES_BESIDE = 6
_DOTS_A_COLUMN = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs, which metrics, and how they are drawn."""
    parser.add_argument(
        "what",
        metavar="RUN... METRIC",
        nargs="+",
        help="one or more runs, then one or more metrics. The first word that is not a run begins the metrics. Without "
        "a metric, the primary metric of the first run is plotted",
    )
    parser.add_argument(
        "--metric",
        action="append",
        metavar="NAME",
        help="a metric, whatever its name; may be repeated. All other words are then runs",
    )
    add_latest(parser)
    add_storage(parser)
    parser.add_argument("--x", choices=(STEP, TIME), default=STEP, help="x axis: steps, or seconds since the run began")
    parser.add_argument("--log", action="store_true", help="logarithmic y axis")
    parser.add_argument(
        "--smooth",
        type=_weight,
        default=0.0,
        metavar="W",
        help="moving average, from 0 to below 1; the raw line is drawn behind it",
    )
    parser.add_argument("--rank", type=count, metavar="N", help="the rank whose values are shown (default: 0)")
    parser.add_argument(
        "--width", type=_size(_LEAST_WIDTH), metavar="N", help="width in columns (default: that of the terminal)"
    )
    parser.add_argument("--height", type=_size(_LEAST_HEIGHT), metavar="N", help="height in lines (default: what fits)")
    add_json(parser)


class Series(msgspec.Struct, frozen=True):
    """A metric of a run that is plotted.

    Attributes:
        run: where it is from.
        metric: its name.
        label: for the legend.
    """

    run: LoadedRun
    metric: str
    label: str


def run(options: argparse.Namespace) -> int:
    """Plot."""
    runs, metrics = runs_and_metrics(options.what, options.metric or [], options)
    series = _series(runs, metrics)
    if any(_is_of_machine(each.run, each.metric) for each in series):
        options.x = TIME
    if options.json:
        render.emit({"x": options.x, "series": [_document(each, options) for each in series]})
        return 0
    terminal = shutil.get_terminal_size()
    width = options.width or max(_LEAST_WIDTH, terminal.columns)
    height = options.height or max(_LEAST_HEIGHT, min(_MOST_HEIGHT, terminal.lines - _LINES_BESIDE - len(series)))
    drawn = [curve for number, each in enumerate(series) for curve in _curves(each, number, width, options)]
    if not drawn:
        raise NotFoundError("Nothing to plot: none of the values can be drawn.")
    print("\n".join(draw(drawn, width=width, height=height, log=options.log, time=options.x == TIME)))
    return 0


def runs_and_metrics(
    what: list[str], named: list[str], options: argparse.Namespace
) -> tuple[list[LoadedRun], list[str]]:
    """Tell runs from metrics: runs come first, and what is no run and a metric of one of them ends them.

    Raises:
        LookupError: a word is neither, or no metric is left.
    """
    runs: list[LoadedRun] = []
    metrics = list(named)
    for position, word in enumerate(what):
        try:
            runs.append(load(the_run(word, options)))
        except LookupError as error:
            if named or not any(_has(run, word) for run in runs):
                among = "" if named or not runs else f" And no metric of {_names(runs)} is called {word!r}."
                raise NotFoundError(f"{error}{among}") from None
            metrics = what[position:]
            break
    if not metrics:
        primary = runs[0].info.best_metric_name
        if primary is None or primary not in runs[0]:
            raise NotFoundError(
                f"No metric is named. Run {runs[0].info.id} has {', '.join(runs[0].metrics[:20]) or 'none'}. "
                "If a metric has the same name as a run, write --metric NAME."
            )
        metrics = [primary]
    return runs, metrics


def _series(runs: list[LoadedRun], metrics: list[str]) -> list[Series]:
    """Each metric of each run that has it; at least one has."""
    labels = described.labels([run.info for run in runs])
    found = []
    for metric in metrics:
        having = [(run, label) for run, label in zip(runs, labels, strict=True) if _has(run, metric)]
        if not having:
            main_column(runs[0], metric)  # says which there are
        for run, label in zip(runs, labels, strict=True):
            if not _has(run, metric):
                described.say(f"{label} has no metric {plain_text.plain(metric)!r}.")
        for run, label in having:
            names = [label] if len(runs) > 1 else []
            names += [plain_text.plain(metric)] if len(metrics) > 1 or len(runs) == 1 else []
            found.append(Series(run, metric, " ".join(names)))
    return found


def _curves(series: Series, number: int, width: int, options: argparse.Namespace) -> list[DrawnCurve]:
    """The curve of a series, behind it the raw one if it is smoothed; what cannot be drawn is told."""
    made = _curve(series, width, options)
    lines = drawn_curves.drawn(made, log=options.log, smooth=options.smooth > 0)
    beyond = 0
    if made.kind == POINTS:
        beyond = sum(drawn_curves.LARGEST <= abs(value) < math.inf for value in made.arrays["y"])
    _tell(series, made, made.others + made.nan + made.inf + beyond, "not finite, and are not drawn")
    if made.replaced:
        described.say(f"{series.label}: {made.replaced:,} values are left out that a later session has superseded.")
    ranks = _number_of_ranks(series)
    if options.rank is None and ranks > 1:
        described.say(f"{series.label}: {ranks} ranks have values; rank 0 is shown. Choose another with --rank N.")
    _tell(series, made, made.log_hidden or 0, "0 or below, and are not drawn on a logarithmic axis")
    names = ["", series.label] if len(lines) > 1 else [series.label]
    return [DrawnCurve(name, line, number) for name, line in zip(names, lines, strict=True) if line]


def _curve(series: Series, width: int, options: argparse.Namespace) -> Curve:
    """What the viewer draws too, of as many buckets as there are dots.

    Raises:
        LookupError: there are no values of the rank.
    """
    run = series.run
    if _is_of_machine(run, series.metric):
        return _of_machine(series, width, options)
    files = run.events_files()
    is_wanted = is_of_rank(files, series.metric, options.rank) if run.ranks or options.rank is not None else None
    found = collect(files, series.metric, LevelStore(), x=options.x, is_wanted=is_wanted)
    if not found.total and options.rank is not None:
        main_column(run, series.metric, options.rank)  # says that there are none
    offset = run.info.started_at if options.x == TIME else 0
    query = Query(buckets=_DOTS_A_COLUMN * width, offset=offset, smooth=options.smooth, count_hidden=options.log)
    return curve(found, query)


def _of_machine(series: Series, width: int, options: argparse.Namespace) -> Curve:
    """A machine has no steps: its numbers are drawn over the time."""
    run, buckets = series.run, _DOTS_A_COLUMN * width
    name = series.metric.removeprefix(PREFIX)
    if name == NAME:
        found = points_of_pace(run.events_files(), TIME)
    else:
        found = collect(run.system.files, PREFIX + name, LevelStore(), x=TIME)
    query = Query(buckets=buckets, offset=run.info.started_at, smooth=options.smooth, count_hidden=options.log)
    return curve(found, query)


def _is_of_machine(run: LoadedRun, metric: str) -> bool:
    return metric not in run and (metric.removeprefix(PREFIX) == NAME or metric in run.system)


def _has(run: LoadedRun, metric: str) -> bool:
    return metric in run or _is_of_machine(run, metric)


def _number_of_ranks(series: Series) -> int:
    if _is_of_machine(series.run, series.metric):
        return 1
    return number_of_ranks(series.run.metric(series.metric)) if series.run.ranks else 1


def _axes(column: Column, run: LoadedRun, x: str) -> tuple[Sequence[float], Sequence[Any]]:
    if x == STEP:
        by_step = column.by_step()
        return by_step.step, by_step.value
    timed = [position for position, time_s in enumerate(column.time) if as_number(time_s) is not None]
    timed.sort(key=column.time.__getitem__)
    if not timed:
        return [], []
    begin_s = run.info.started_at if run.info.started_at is not None else column.time[timed[0]]
    return [column.time[position] - begin_s for position in timed], [column.value[position] for position in timed]


def _tell(series: Series, made: Curve, left_out: int, what: str) -> None:
    if left_out:
        total = made.total
        described.say(f"{series.label}: {left_out:,} of {total:,} values are {what}.")


def _document(series: Series, options: argparse.Namespace) -> dict[str, Any]:
    run, info = series.run, series.run.info
    if _is_of_machine(run, series.metric):
        of_machine = run.steps_per_second() if series.metric.removeprefix(PREFIX) == NAME else run.system[series.metric]
        x, y = _axes(of_machine, run, TIME)
    else:
        x, y = _axes(main_column(run, series.metric, options.rank), run, options.x)
    return {
        "run": info.id,
        "run_dir": info.run_dir,
        "metric": series.metric,
        "x": list(x),
        "y": list(y),
        "smoothed": _smoothed(x, y, options.smooth) if options.smooth else None,
        "ranks": _number_of_ranks(series),
        "superseded": run.superseded_count(series.metric),
    }


def _smoothed(x: Sequence[float], y: Sequence[Any], weight: float) -> list[float | None]:
    """The moving average beside values; None beside what is no number."""
    numbers = [as_number(value) for value in y]
    floats = [math.nan if number is None else float(number) for number in numbers]
    found, _ = smoothed(x, floats, weight, unit_of(x[0], x[-1]) if x else 0.0)
    return [None if number is None else value for number, value in zip(numbers, found, strict=True)]


def _names(runs: list[LoadedRun]) -> str:
    return ", ".join(run.info.id for run in runs[:3]) + (f" and {len(runs) - 3} more" if len(runs) > 3 else "")


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = -1.0
    if not 0 <= weight < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to below 1. Write for example 0.9.")
    return weight


def _size(least: int) -> Any:
    def size(text: str) -> int:
        found = count(text)
        if not least <= found <= 10_000:
            raise argparse.ArgumentTypeError(f"{found} is not between {least} and 10000.")
        return found

    return size
