"""``runicorn compare``: show how the configuration, summary and metrics of runs differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runicorn.commands import described, render
from runicorn.commands.figures import MOST_BYTES, add_figures, events_bytes, figures_of
from runicorn.commands.options import RUN_HELP, add_json, add_latest, add_storage, the_run
from runicorn.errors import WrongValueError
from runicorn.reading import flat
from runicorn.reading.loaded import LoadedRun, load

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

HELP = "show what differs between runs"

_MISSING = object()
_LEFT_OUT = (*described.BEST_FIELDS, "runicorn")
"""Of the summary: what is told with the metrics, and what tracking has cost, which is never the same."""
_LONGEST_NAME, _LONGEST_TEXT = 60, 200
_FIGURES = ("last", "min", "max")

Rows = dict[str, list[Any]]
"""A value of each run by name, in the order of the runs; ``_MISSING`` where a run has none."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs, and how much of them."""
    parser.add_argument("runs", metavar="RUN", nargs="+", help=f"two or more, each {RUN_HELP}")
    add_latest(parser)
    add_storage(parser)
    parser.add_argument("--all", action="store_true", help="also show what is equal in all runs")
    add_figures(parser, "compare metrics")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Compare."""
    if len(options.runs) < 2:
        raise WrongValueError(f"compare needs at least two runs, and only {options.runs[0]!r} was given.")
    runs = [load(the_run(given, options)) for given in options.runs]
    parts = {"config": _rows([flat.flat(run.config) for run in runs]), "summary": _rows(list(map(_summary, runs)))}
    metrics: dict[str, Rows] = {}
    if options.figures or all(events_bytes(run) <= MOST_BYTES for run in runs):
        metrics = _metrics(runs)
    else:
        size = render.size(max(map(events_bytes, runs)))
        described.say(f"Metrics are not compared, because a run has {size} of them. Add --figures to compare them.")
    if not options.all:
        parts = {title: _differing(rows) for title, rows in parts.items()}
        metrics = {name: rows for name, each in metrics.items() if (rows := _differing(each))}
    if options.json:
        render.emit(_document(runs, parts, metrics))
        return 0
    _print(runs, {f"{title}.{name}": values for title, rows in parts.items() for name, values in rows.items()}, metrics)
    return 0


def _summary(run: LoadedRun) -> dict[str, Any]:
    return flat.flat({name: value for name, value in run.summary.items() if name not in _LEFT_OUT})


def _rows(contents: Sequence[dict[str, Any]]) -> Rows:
    names = dict.fromkeys(name for content in contents for name in content)
    return {name: [content.get(name, _MISSING) for content in contents] for name in names}


def _metrics(runs: list[LoadedRun]) -> dict[str, Rows]:
    """For each metric its last value, bounds, and best value where it is a primary one."""
    found: dict[str, Rows] = {}
    for name in sorted({name for run in runs for name in run.metrics}):
        figures = [figures_of(run, name) if name in run else None for run in runs]
        rows: Rows = {
            which: [_MISSING if each is None else getattr(each, which) for each in figures] for which in _FIGURES
        }
        rows["best"] = [_MISSING if run.info.best_metric_name != name else run.info.best_metric_value for run in runs]
        found[name] = {which: row for which, row in rows.items() if any(value is not _MISSING for value in row)}
    return found


def _differing(rows: Rows) -> Rows:
    return {name: values for name, values in rows.items() if not all(_same(values[0], value) for value in values[1:])}


def _same(one: Any, other: Any) -> bool:
    if one is _MISSING or other is _MISSING:
        return one is other
    return flat.same(one, other)


def _document(runs: list[LoadedRun], parts: dict[str, Rows], metrics: dict[str, Rows]) -> dict[str, Any]:
    return {
        "runs": [described.document(run.info) for run in runs],
        **{title: _plain_rows(rows) for title, rows in parts.items()},
        "metrics": {name: _plain_rows(rows) for name, rows in metrics.items()},
    }


def _plain_rows(rows: Rows) -> Rows:
    return {name: [None if value is _MISSING else value for value in values] for name, values in rows.items()}


def _print(runs: list[LoadedRun], settings: Rows, metrics: dict[str, Rows]) -> None:
    infos = [run.info for run in runs]
    rows: Rows = {
        "id": [info.id for info in infos],
        "path": [described.path(info) for info in infos],
        "status": [info.status for info in infos],
        "duration": [render.duration(info.duration_s) for info in infos],
        "steps": [_MISSING if info.last_step is None else info.last_step for info in infos],
        **settings,
    }
    for name, figures in metrics.items():
        # Of the primary metric one of the bounds is the best value, and the other one is of no interest.
        shown = ("last", "best") if "best" in figures else _FIGURES
        rows.update({f"{name} ({which})": figures[which] for which in shown if which in figures})
    render.table(
        ["", *described.labels(infos)],
        ((render.shortened(name, _LONGEST_NAME), *map(_text, values)) for name, values in rows.items()),
        whole=(0,),
    )
    if not settings and not metrics:
        described.say("Config, summary and metrics do not differ; --all shows what is equal.")


def _text(value: Any) -> str:
    return "" if value is _MISSING else render.shortened(flat.text(value), _LONGEST_TEXT)
