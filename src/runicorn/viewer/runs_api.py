"""The table of runs, and what is known of one run but for its numbers and its logs."""

from __future__ import annotations

import json
import os
import re
import time
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from runicorn.reading import flat
from runicorn.reading.curves import Query, curve
from runicorn.reading.info import LOST
from runicorn.reading.pace import points_of_pace
from runicorn.reading.plain_files import DamagedError, read_object
from runicorn.reading.stretches import STEP, collect
from runicorn.reading.text import files as log_files
from runicorn.sampling.machine_insight import sentences
from runicorn.storage import run_files
from runicorn.viewer import limits
from runicorn.viewer.answers import ProblemError, answer, exact_integer, plain_number, query_flag, query_int
from runicorn.viewer.changes import columns
from runicorn.viewer.kept_assets import count_of
from runicorn.viewer.open_runs import PACE, OpenRun, is_live
from runicorn.viewer.state import Viewer, viewer_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from runicorn.viewer.changes import RunRow

SYSTEM = "system/"
_CONFIG = ("args", "extra", "config_files")
_OURS = "runicorn"
_MOST_LISTED = 1000
_MOST_COLUMNS = 200
_REPEATS = re.compile(r"[*+{]")
_MOST_REPEATS, _LONGEST_SEARCHED = 4, 300
_SLOW_EXPRESSION = re.compile(r"[*+}?]\)*[*+{]|\([^)]*[*+|{][^)]*\)[*+{]")


def server(request: Request) -> Response:
    """``GET server``."""
    return answer(request, viewer_of(request).about())


def runs(request: Request) -> Response:
    """``GET runs``."""
    viewer = viewer_of(request)
    viewer.table.refresh()
    given = request.query_params
    wanted = [name for names in given.getlist("cols") for name in names.split(",") if name] + given.getlist("col")
    if len(wanted) > _MOST_COLUMNS:
        raise ProblemError(400, f"{len(wanted)} columns are asked for, and {_MOST_COLUMNS} are the most.")
    content = table_since(viewer, request.query_params.get("since"), wanted)
    return answer(request, content)


def table_since(viewer: Viewer, version: str | None, wanted: list[str] | None = None) -> dict[str, Any]:
    """The rows that have changed since a version, as columns."""
    now = time.time()
    at = viewer.table.version  # before the rows: what changes meanwhile is told twice, and not never
    rows, removed, full = viewer.table.since(version)
    cells = columns(rows, now)
    for name in wanted or ():
        cells[name] = [_cell(fields_of(row).get(name)) for row in rows]
    return {"version": at, "now": now, "full": full, "removed": removed, "columns": cells}


def run_columns(request: Request) -> Response:
    """``GET runs/columns``."""
    viewer = viewer_of(request)
    viewer.table.refresh()
    found: dict[str, _Column] = {}
    for row in viewer.table.rows():
        for name, value in fields_of(row).items():
            column = found.get(name)
            if column is None:
                column = found[name] = _Column(name, value)
            column.add(value)
    listed = sorted(found.values(), key=lambda each: (-each.runs, each.name))[:_MOST_LISTED]
    return answer(request, {"columns": [column.document() for column in listed]})


class _Column:
    """A field of config or summary over all runs.

    Args:
        name: of the field.
        first: its value in the first run.
    """

    __slots__ = ("differs", "first", "name", "numbers", "runs")

    def __init__(self, name: str, first: Any) -> None:
        self.name = name
        self.first = first
        self.runs = self.numbers = 0
        self.differs = False

    def add(self, value: Any) -> None:
        """One more run that has it."""
        self.runs += 1
        self.numbers += isinstance(value, (int, float)) and not isinstance(value, bool)
        self.differs = self.differs or not flat.same(value, self.first)

    def document(self) -> dict[str, Any]:
        """What a page is told."""
        return {"name": self.name, "runs": self.runs, "numbers": self.numbers, "differs": self.differs}


def fields_of(row: RunRow) -> dict[str, Any]:
    """The fields of a run's config and summary that a table may show, by name."""
    stamp = _stamp(os.path.join(row.info.run_dir, run_files.ASSETS))
    known = _configs.get(row.info.run_dir)
    if known is None or known[0] != stamp:
        known = stamp, flat.flat(config_of(row.info.run_dir)[0])
        _configs[row.info.run_dir] = known
    found = {f"config.{name}": value for name, value in known[1].items()}
    summary = {name: value for name, value in row.info.summary.items() if name != _OURS}
    found.update({f"summary.{name}": value for name, value in flat.flat(summary).items()})
    return found


_configs: dict[str, tuple[Any, dict[str, Any]]] = {}


def run(request: Request) -> Response:
    """``GET runs/{key}``."""
    viewer = viewer_of(request)
    row, opened = viewer.open(request.path_params["key"])
    viewer.checker.watch(row.key)
    assets = count_of(row.info.run_dir)
    with opened.reading():
        names = opened.names()
        system = sum(1 for name in names if name.startswith(SYSTEM))
        live = is_live(row.info)
        content = {
            "run": row.document(time.time()),
            "run_dir": row.info.run_dir,
            "resumed": _resumed(opened),
            "indexed": opened.indexed,
            "version": opened.version,
            "metrics": len(names) - system,
            "system_metrics": system,
            "machine": machine_of(row),
            "images": opened.image_count(),
            "assets": assets,
            "problems": opened.problem_count(is_live=live) + len(row.info.damaged),
            "ranks": opened.ranks(),
            "producers": opened.producers(),
            "stages": opened.stages(),
            "logs": sources_of(row),
        }
    return answer(request, content)


def machine_of(row: RunRow) -> list[str]:
    """What is clear from the samples of its machine, in sentences."""
    found = _cost(row).get(run_files.MACHINE)
    return sentences(found) if isinstance(found, dict) else []


def _resumed(opened: OpenRun) -> list[dict[str, Any]]:
    return [
        {
            "time": entry.get("time"),
            "host": entry.get("hostname"),
            "continued": entry.get("continued") is True,
        }
        for entry in opened.resumed[:_MOST_LISTED]
    ]


def sources_of(row: RunRow) -> list[dict[str, Any]]:
    """The log files of a run; their places in the list are what clients name them by."""
    found = []
    for number, (name, mark) in enumerate(log_files(row.info.run_dir)):
        host = mark.strip().removeprefix("[").removesuffix("]") or None
        size = _stamp(os.path.join(row.info.run_dir, name))
        found.append({"source": number, "name": name, "host": host, "size": size[0] if size else 0})
    return found


def metrics(request: Request) -> Response:
    """``GET runs/{key}/metrics``."""
    viewer = viewer_of(request)
    row, opened = viewer.open(request.path_params["key"])
    matches = matcher(request)
    prefix = request.query_params.get("prefix", "")
    after = request.query_params.get("after")
    limit = query_int(request, "limit", 1000, 1, limits.NAMES)
    with opened.reading():
        names = [name for name in opened.names() if name.startswith(prefix or SYSTEM) == bool(prefix)]
        matching = [name for name in names if matches(name)]
        primary = row.info.best_metric_name
        matching.sort(key=lambda name: (name != primary, name))
        begin = (
            0 if after is None else bisect_right(matching, (after != primary, after), key=lambda n: (n != primary, n))
        )
        shown = matching[begin : begin + limit]
        content = {
            "version": opened.version,
            "indexed": opened.indexed,
            "total": len(names),
            "matching": len(matching),
            "metrics": [_figures(opened, name) for name in shown] if query_flag(request, "figures") else shown,
            "next": shown[-1] if begin + limit < len(matching) else None,
        }
    return answer(request, content)


def matcher(request: Request) -> Any:
    """Says whether a name is searched for.

    Raises:
        ProblemError: the expression is none, or may take for ever.
    """
    text = request.query_params.get("q", "")
    if not query_flag(request, "regex"):
        lowered = text.lower()
        return lambda name: lowered in name.lower()
    if len(text) > 200 or _SLOW_EXPRESSION.search(text) or len(_REPEATS.findall(text)) > _MOST_REPEATS:
        raise ProblemError(400, "That expression may take for ever: it repeats too much.", "Write a simpler one.")
    try:
        expression = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ProblemError(400, f"That is no regular expression: {error}") from error
    return lambda name: expression.search(name[:_LONGEST_SEARCHED])


def _figures(opened: OpenRun, name: str) -> dict[str, Any]:
    files = opened.files.values()
    found = points_of_pace(files, STEP) if name == PACE else collect(files, name, opened.store)
    made = curve(found, Query(buckets=1))
    count = made.in_range
    return {
        "name": name,
        "kind": "number" if count else "text",
        "count": made.total,
        "finite": count - made.nan - made.inf,
        "nan": made.nan,
        "inf": made.inf,
        "min": made.low,
        "max": made.high,
        "last": None if made.last_value is None else plain_number(made.last_value),
        "last_step": None if made.last_x is None else int(made.last_x),
    }


def config(request: Request) -> Response:
    """``GET runs/{key}/config``."""
    row = viewer_of(request).row(request.path_params["key"])
    found, damaged = config_of(row.info.run_dir)
    return answer(request, {"fields": _fields(found), "config": found, "damaged": damaged})


def summary(request: Request) -> Response:
    """``GET runs/{key}/summary``."""
    return _object(request, run_files.SUMMARY, "summary", without=_OURS)


def environment(request: Request) -> Response:
    """``GET runs/{key}/environment``."""
    return _object(request, run_files.ENVIRONMENT, "environment")


def _object(request: Request, name: str, member: str, without: str = "") -> Response:
    row = viewer_of(request).row(request.path_params["key"])
    found, damaged = object_of(row.info.run_dir, name)
    found.pop(without, None)
    return answer(request, {"fields": _fields(found), member: found, "damaged": damaged})


def problems(request: Request) -> Response:
    """``GET runs/{key}/problems``."""
    viewer = viewer_of(request)
    row, opened = viewer.open(request.path_params["key"])
    with opened.reading():
        live = is_live(row.info)
        listed = [{"file": each.file, "offset": each.offset, "reason": each.reason}
                  for each in opened.problems(is_live=live)[:_MOST_LISTED]]  # fmt: skip
        count = opened.problem_count(is_live=live)
    damaged = [{"file": name, "offset": 0, "reason": "could not be read"} for name in row.info.damaged]
    status = object_of(row.info.run_dir, run_files.STATUS)[0]
    content = {"count": count + len(damaged), "problems": damaged + listed, **_told(status), "cost": _cost(row)}
    return answer(request, content)


def all_problems(request: Request) -> Response:
    """``GET problems``."""
    from runicorn.viewer.leftovers import leftovers

    viewer = viewer_of(request)
    viewer.table.refresh()
    rows = viewer.table.rows()
    found = []
    cost_s, with_cost = 0.0, 0
    for row in rows:
        cost = _cost(row)
        seconds = cost.get("writer_cpu_s")
        if isinstance(seconds, (int, float)):
            cost_s, with_cost = cost_s + seconds, with_cost + 1
        told = _told(object_of(row.info.run_dir, run_files.STATUS)[0])
        if row.info.status == LOST or row.info.damaged or any(told.values()) or row.info.status == "unknown":
            found.append({"key": row.key, "status": row.info.status, "reason": row.info.exit_reason, "problems": 0,
                          "damaged": row.info.damaged, **told})  # fmt: skip
    content = {
        "runs": found[:_MOST_LISTED],
        "leftovers": leftovers(viewer.storages, {row.info.run_dir: row.key for row in rows}),
        "cost": {"runs": with_cost, "seconds": cost_s},
        "checker": viewer.checker.about(),
    }
    return answer(request, content)


def _told(status: dict[str, Any]) -> dict[str, Any]:
    lost = status.get("lost_records")
    return {
        "storage_errors": _texts(status.get("storage_errors")),
        "remarks": _texts(status.get("remarks")),
        "lost_records": lost if isinstance(lost, int) else 0,
    }


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list):
        return []
    return [each if isinstance(each, str) else json.dumps(each, default=str) for each in value[:_MOST_LISTED]]


def _cost(row: RunRow) -> dict[str, Any]:
    cost = row.info.summary.get(_OURS)
    return cost if isinstance(cost, dict) else {}


def config_of(run_dir: str) -> tuple[dict[str, Any], str | None]:
    """What was configured, and why it could not be read."""
    assets, damaged = object_of(run_dir, run_files.ASSETS)
    found = assets.get("config")
    return ({name: found[name] for name in _CONFIG if name in found} if isinstance(found, dict) else {}), damaged


def object_of(run_dir: str, name: str) -> tuple[dict[str, Any], str | None]:
    """The object in a file of a run, and why it could not be read."""
    try:
        return read_object(run_dir, name), None
    except DamagedError as error:
        return {}, str(error)


def _fields(content: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "value": _cell(value), "text": _text(value)} for name, value in flat.flat(content).items()]


def _text(value: Any) -> str:
    """A value as it is shown: numbers with all of their digits."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return repr(value)
    try:
        return json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        return f"({type(value).__name__})"


def _cell(value: Any) -> Any:
    """A value for a cell of a table: a number, a text or nothing; a text if a number of JavaScript lacks digits."""
    if value is None or isinstance(value, (bool, float, str)):
        return value
    if isinstance(value, int):
        return exact_integer(value)
    return _text(value)


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
