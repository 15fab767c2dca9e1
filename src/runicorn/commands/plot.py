"""``runicorn plot``: plot metrics of one or more runs in the terminal."""

from __future__ import annotations

import argparse
import shutil
from array import array
from typing import TYPE_CHECKING, Any

import msgspec

from runicorn.commands import described, drawn_curves, render
from runicorn.commands.drawing import draw
from runicorn.commands.drawn_curves import DrawnCurve
from runicorn.commands.figures import as_number, main_column, number_of_ranks
from runicorn.commands.options import add_json, add_latest, add_storage, count, the_run
from runicorn.errors import NotFoundError
from runicorn.reading import plain_text
from runicorn.reading.loaded import LoadedRun, load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runicorn.reading import Column

HELP = "plot metrics of one or several runs in the terminal"

STEP, TIME = "step", "time"
_LARGEST = 1e300
"""Values beyond that are not drawn: the distance of two of them may be infinite."""
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
    """A metric of a run, as it is plotted.

    Attributes:
        run: where it is from.
        metric: its name.
        label: for the legend.
        x: steps in rising order, or seconds since the run began.
        y: values as they were logged.
        ranks: how many ranks have values of it.
        superseded: how many values a later session has superseded.
    """

    run: LoadedRun
    metric: str
    label: str
    x: Sequence[float]
    y: Sequence[Any]
    ranks: int
    superseded: int = 0

    def points(self) -> tuple[Sequence[float], Sequence[float]]:
        """Those that can be drawn."""
        if getattr(self.y, "typecode", "") == "d" and all(map(_is_drawn, self.y)):  # most are like that
            return self.x, self.y
        positions = [position for position, value in enumerate(self.y) if _is_drawn(value)]
        return array("d", (self.x[at] for at in positions)), array("d", (float(self.y[at]) for at in positions))


def run(options: argparse.Namespace) -> int:
    """Plot."""
    runs, metrics = runs_and_metrics(options.what, options.metric or [], options)
    series = _series(runs, metrics, options)
    if options.json:
        render.emit({"x": options.x, "series": [_document(each, options.smooth) for each in series]})
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
            if named or not any(word in run for run in runs):
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


def _series(runs: list[LoadedRun], metrics: list[str], options: argparse.Namespace) -> list[Series]:
    """Each metric of each run that has it; at least one has."""
    labels = described.labels([run.info for run in runs])
    found = []
    for metric in metrics:
        having = [(run, label) for run, label in zip(runs, labels, strict=True) if metric in run]
        if not having:
            main_column(runs[0], metric)  # says which there are
        for run, label in zip(runs, labels, strict=True):
            if metric not in run:
                described.say(f"{label} has no metric {plain_text.plain(metric)!r}.")
        for run, label in having:
            names = [label] if len(runs) > 1 else []
            names += [plain_text.plain(metric)] if len(metrics) > 1 or len(runs) == 1 else []
            column = main_column(run, metric, options.rank)
            x, y = _axes(column, run, options.x)
            ranks = number_of_ranks(run.metric(metric)) if run.ranks else 1
            found.append(Series(run, metric, " ".join(names), x, y, ranks, run.superseded_count(metric)))
    return found


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


def _curves(series: Series, number: int, width: int, options: argparse.Namespace) -> list[DrawnCurve]:
    """The curve of a series, behind it the raw one where it is smoothed; what cannot be drawn is told."""
    x, y = series.points()
    _tell(series, len(series.y) - len(y), "not finite, and are not drawn")
    if series.superseded:
        described.say(
            f"{series.label}: {series.superseded:,} values are left out: a later session has superseded them."
        )
    if options.rank is None and series.ranks > 1:
        described.say(
            f"{series.label}: {series.ranks} ranks have values; rank 0 is shown. Choose another with --rank N."
        )
    lines = [("", x, y), (series.label, x, drawn_curves.smoothed(y, options.smooth))] if options.smooth else []
    found = []
    for name, line_x, line_y in lines or [(series.label, x, y)]:
        drawn_x, drawn_y = drawn_curves.on_log_axis(line_x, line_y) if options.log else (line_x, line_y)
        points = drawn_curves.thinned(drawn_x, drawn_y, _DOTS_A_COLUMN * width)
        if points:
            found.append(DrawnCurve(name, points, number))
    if options.log:
        _tell(series, sum(value <= 0 for value in y), "0 or below, and are not drawn on a logarithmic axis")
    return found


def _is_drawn(value: object) -> bool:
    number = as_number(value)
    return number is not None and -_LARGEST < number < _LARGEST


def _tell(series: Series, left_out: int, what: str) -> None:
    if left_out:
        described.say(f"{series.label}: {left_out:,} of {len(series.y):,} values are {what}.")


def _document(series: Series, weight: float) -> dict[str, Any]:
    smooth = None
    if weight:
        positions = [position for position, value in enumerate(series.y) if as_number(value) is not None]
        values = iter(drawn_curves.smoothed([float(series.y[position]) for position in positions], weight))
        numbers = set(positions)
        smooth = [next(values) if position in numbers else None for position in range(len(series.y))]
    info = series.run.info
    return {
        "run": info.id,
        "run_dir": info.run_dir,
        "metric": series.metric,
        "x": list(series.x),
        "y": list(series.y),
        "smoothed": smooth,
        "ranks": series.ranks,
        "superseded": series.superseded,
    }


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
