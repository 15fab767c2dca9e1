"""``runicorn show``: show everything about one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from runicorn.commands import described, render
from runicorn.commands.described_machine import print_machine
from runicorn.commands.figures import MOST_BYTES, Figures, add_figures, events_bytes, figures_of
from runicorn.commands.options import add_json, add_run, add_storage, the_run
from runicorn.reading import flat, plain_text
from runicorn.reading.info import LOST
from runicorn.reading.loaded import LoadedRun, load
from runicorn.storage import run_files
from runicorn.storage.wording import counted

if TYPE_CHECKING:
    import argparse

    from runicorn.reading import RunInfo

HELP = "show everything about one run"

KEY = "runicorn"
_MOST_PROBLEMS, _MOST_NAMES = 10, 8
_LONGEST_VALUE = 24
_COPIED = ("path", "id", "directory")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run."""
    add_run(parser)
    add_storage(parser)
    add_figures(parser, "show statistics of metrics")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Show it."""
    loaded = load(the_run(options.run, options))
    size_bytes = events_bytes(loaded)
    wanted = options.figures or size_bytes <= MOST_BYTES
    metrics = {name: figures_of(loaded, name) if wanted else None for name in loaded.metrics}
    if options.json:
        render.emit(_document(loaded, metrics))
        return 0
    render.fields(_head(loaded), whole=_COPIED)
    _print_metrics(metrics, size_bytes)
    _print_settings("config", loaded.config)
    conclusions = {name: value for name, value in loaded.summary.items() if name not in described.BEST_FIELDS}
    if isinstance(conclusions.get(KEY), dict):
        conclusions[KEY] = {name: value for name, value in conclusions[KEY].items() if name != run_files.MACHINE}
    _print_settings("summary", conclusions)
    print_machine(loaded)
    _print_assets(loaded.assets)
    _print_problems(loaded)
    if loaded.info.status == LOST:
        described.say(f"\nIts processes are gone. Save its records with:\n  {repair_of(loaded.info)}")
    return 0


def repair_of(info: RunInfo) -> str:
    """The command that repairs a lost run."""
    return described.repair(info.storage)


def _document(loaded: LoadedRun, metrics: dict[str, Figures | None]) -> dict[str, Any]:
    return {
        "run": described.document(loaded.info),
        "metrics": {name: each and msgspec.structs.asdict(each) for name, each in metrics.items()},
        "ranks": loaded.ranks,
        "producers": loaded.producers,
        "images": len(loaded.images),
        "config": loaded.config,
        "summary": loaded.summary,
        "assets": loaded.assets,
        "environment": loaded.environment,
        "machine": loaded.system.insight(),
        "sentences": loaded.system.sentences(),
        "problems": [problem._asdict() for problem in loaded.problems],
        "problem_count": loaded.problem_count,
    }


def _head(loaded: LoadedRun) -> dict[str, str]:
    info = loaded.info
    best = described.best(info)
    if best:
        step = "" if info.best_metric_step is None else f" at step {info.best_metric_step}"
        best = f"{best}{step} ({info.best_metric_mode})" if info.best_metric_mode else f"{best}{step}"
    return {
        "status": info.status,
        "reason": info.exit_reason or "",
        "path": described.path(info),
        "id": info.id,
        "alias": info.alias or "",
        "tags": ", ".join(info.tags),
        "group": info.group or "",
        "parent": info.parent or "",
        "notes": info.notes or "",
        "directory": info.run_dir,
        "process": _process(info),
        "created": described.at(info.created_at),
        "started": described.at(info.started_at) if info.started_at != info.created_at else "",
        "ended": described.at(info.ended_at),
        "duration": render.duration(info.duration_s),
        "resumed": f"{info.resumed} times" if info.resumed else "",
        "steps": plain_text.number(info.last_step),
        "best": best,
        "ranks": _some([str(rank) for rank in loaded.ranks]),
        "producers": _some(loaded.producers),
        "images": str(len(loaded.images) or ""),
    }


def _process(info: RunInfo) -> str:
    """Which process has opened the run last; an imported run has a host at most."""
    pid = "" if info.pid is None else f"{info.pid} "
    return "" if info.hostname is None else f"{pid}on {info.hostname}"


def _print_metrics(metrics: dict[str, Figures | None], size_bytes: int) -> None:
    if not metrics:
        return
    print()
    if any(each is None for each in metrics.values()):
        print(f"metrics (of {render.size(size_bytes)}; --figures shows their statistics)")
        for name in metrics:
            print(f"  {plain_text.plain(name)}")
        return
    rows = []
    for name, each in metrics.items():
        assert each is not None
        nonfinite = str(each.nonfinite or "")
        texts = map(plain_text.number, (each.last, each.min, each.max))
        values = (render.shortened(text, _LONGEST_VALUE) for text in texts)
        rows.append((name, str(each.count), str(each.last_step), *values, nonfinite))
    columns = ["metric", "count", "at step", "last", "min", "max", "not finite"]
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    render.table(columns, rows, right=range(1, len(columns)), whole=range(1, len(columns)))


def _print_settings(title: str, content: dict[str, Any]) -> None:
    if content:
        print(f"\n{title}")
        render.fields({name: flat.text(value) for name, value in flat.flat(content).items()}, indent=2)


def _print_assets(assets: dict[str, Any]) -> None:
    """One line for each kind of asset that there is."""
    lines = {}
    code = assets.get("code")
    snapshot = code.get("snapshot") if isinstance(code, dict) else None
    if isinstance(snapshot, dict):
        lines["code"] = f"snapshot of {flat.text(snapshot.get('workspace_root'))}"
    for kind in ("datasets", "pretrained", "outputs"):
        entries = assets.get(kind)
        if isinstance(entries, list) and entries:
            names = [flat.text(entry.get("name")) for entry in entries if isinstance(entry, dict)]
            lines[kind] = f"{len(entries)}: {_some(names)}"
    if lines:
        print("\nassets")
        render.fields(lines, indent=2)


def _print_problems(loaded: LoadedRun) -> None:
    count = loaded.problem_count
    if not count:
        return
    print(f"\nproblems: {counted(count, 'thing')} could not be read")
    for problem in loaded.problems[:_MOST_PROBLEMS]:
        where = f" at byte {problem.offset}" if problem.file.startswith(run_files.EVENTS.split(".")[0]) else ""
        print(f"  {plain_text.plain(problem.file)}{where}: {plain_text.plain(problem.reason)}")
    if count > _MOST_PROBLEMS:
        print(f"  and {count - _MOST_PROBLEMS:,} more")


def _some(names: list[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
