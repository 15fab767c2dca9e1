"""``runicorn ls``: list the runs of a storage, newest first."""

from __future__ import annotations

import math
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

from runicorn.commands import described, render
from runicorn.commands.options import add_json, add_storage, age_s, count, positive_s, storage_of
from runicorn.reading import plain_text
from runicorn.reading.info import LOST, STATUSES, RunInfo
from runicorn.reading.listing import inside_a_run, runs
from runicorn.storage import statuses
from runicorn.storage.wording import counted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

HELP = "list the runs of a storage"

_EVERY_S = 2.0
_COLUMNS = ("status", "path", "id", "alias", "age", "duration", "steps", "best")
_RIGHT = (4, 5, 6)
_WHOLE = (0, 2, 4, 5, 6)
_LINES_BESIDE = 6
"""Of the screen: title, head of the table, remarks and the cursor's."""
_CLEAR = "\x1b[H\x1b[2J"
_LONGEST_ALIAS = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs, in which order, and how."""
    add_storage(parser)
    parser.add_argument(
        "path", metavar="PATH", nargs="?", help="only runs at this path and below it, or a pattern ('cv/*')"
    )
    parser.add_argument(
        "--status",
        action="append",
        choices=STATUSES,
        metavar="STATUS",
        help=f"only runs of this status; may be repeated: {', '.join(STATUSES)}",
    )
    parser.add_argument("--alias", metavar="PATTERN", help="only runs whose alias is this, or matches this pattern")
    parser.add_argument("--group", metavar="PATTERN", help="only runs whose group is this, or matches this pattern")
    parser.add_argument(
        "--newer",
        type=age_s,
        metavar="AGE",
        help="only runs made less than this time ago, such as 90s, 15m, 3h, 2d, 1w",
    )
    parser.add_argument("--older", type=age_s, metavar="AGE", help="only runs made more than this time ago")
    parser.add_argument(
        "--sort", choices=tuple(_KEYS), default="age", help="order of the runs (default: age, newest first)"
    )
    parser.add_argument("--reverse", action="store_true", help="reverse the order; runs without a value stay last")
    parser.add_argument("--limit", type=count, metavar="N", help="only the first N runs")
    parser.add_argument("--recycled", action="store_true", help="also list runs in the recycle folder")
    parser.add_argument(
        "--watch",
        type=positive_s,
        nargs="?",
        const=_EVERY_S,
        metavar="SECONDS",
        help=f"repeat until Ctrl-C (default: every {_EVERY_S:g} s)",
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """List, once or until Ctrl-C."""
    root = storage_of(options)
    if options.watch is None:
        _print_list(options, root, _found(options, root))
        return 0
    redraws = sys.stdout.isatty() and not options.json
    while True:
        found = _found(options, root)
        if redraws:
            print(f"{_CLEAR}{plain_text.plain(root)}, every {options.watch:g} s. Ctrl-C ends.")
        lines = shutil.get_terminal_size().lines - _LINES_BESIDE
        _print_list(options, root, found, most=max(1, lines) if redraws else None)
        sys.stdout.flush()
        time.sleep(options.watch)


def _found(options: argparse.Namespace, root: str) -> list[RunInfo]:
    return runs(
        root,
        path=options.path,
        status=options.status,
        alias=options.alias,
        group=options.group,
        newer_than_s=options.newer,
        older_than_s=options.older,
        recycled=options.recycled,
    )


def _print_list(options: argparse.Namespace, root: str, found: list[RunInfo], most: int | None = None) -> None:
    shown = in_order(found, options.sort, reverse=options.reverse)
    limits = [limit for limit in (options.limit, most) if limit is not None]
    if limits:
        shown = shown[: min(limits)]
    if options.json:
        render.emit([described.document(info) for info in shown])
        return
    if shown:
        now = time.time()
        has_group = any(info.group for info in shown)  # most storages have none
        columns = (*_COLUMNS, "group") if has_group else _COLUMNS
        rows = [_row(info, now) + _group(info) * has_group for info in shown]
        render.table(columns, rows, right=_RIGHT, whole=_WHOLE)
    _remark(options, root, found, shown)


def _row(info: RunInfo, now: float) -> tuple[str, ...]:
    return (
        info.status,
        described.path(info),
        info.id,
        render.shortened(info.alias or "", _LONGEST_ALIAS),
        render.age(None if info.created_at is None else now - info.created_at),
        render.duration(info.duration_s),
        plain_text.number(info.last_step),
        described.best(info),
    )


def _group(info: RunInfo) -> tuple[str, ...]:
    return (render.shortened(info.group or "", _LONGEST_ALIAS),)


def _remark(options: argparse.Namespace, root: str, found: list[RunInfo], shown: list[RunInfo]) -> None:
    if not found:
        ages = (options.newer is not None, options.older is not None)
        asked = any((options.path, options.status, options.alias, options.group, *ages))
        where = f"{root}{' that match' if asked else ''}.{inside_a_run(root)}"
        described.say(f"No runs in {plain_text.plain(where)}")
    elif len(shown) < len(found):
        described.say(f"{len(shown):,} of {counted(len(found), 'run')}.")
    lost = sum(info.status == LOST for info in found)
    if lost:
        which = "1 run is lost: it says" if lost == 1 else f"{lost:,} runs are lost: they say"
        described.say(
            f"{which} {statuses.RUNNING}, and the processes are gone. "
            f"This stores what is left of {'it' if lost == 1 else 'them'}:\n  {described.repair(root)}"
        )


def in_order(infos: list[RunInfo], by: str, *, reverse: bool) -> list[RunInfo]:
    """Runs sorted by a column, in the order in which it is read most; those without a value come last either way."""
    key = _KEYS[by]
    keyed = [(key(info), info) for info in infos]
    sortable = [(value, info) for value, info in keyed if value is not None]
    sortable.sort(key=lambda pair: pair[0], reverse=reverse)
    return [info for _, info in sortable] + [info for value, info in keyed if value is None]


def _downwards(name: str) -> Callable[[RunInfo], float | None]:
    def key(info: RunInfo) -> float | None:
        value = getattr(info, name)
        return None if value is None else -value

    return key


def _goodness(info: RunInfo) -> tuple[str, float | int] | None:
    value = info.best_metric_value
    if value is None or info.best_metric_name is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return info.best_metric_name, value if info.best_metric_mode == "min" else -value


_KEYS: dict[str, Callable[[RunInfo], Any]] = {
    "age": _downwards("created_at"),
    "duration": _downwards("duration_s"),
    "steps": _downwards("last_step"),
    "best": _goodness,
    "path": lambda info: info.path,
    "status": lambda info: STATUSES.index(info.status),
    "alias": lambda info: info.alias,
}
