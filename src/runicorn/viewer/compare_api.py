"""``GET compare``: what runs have in common and what not, the metrics of any of them, and how their code differs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from runicorn.reading import flat
from runicorn.storage import run_files
from runicorn.viewer import limits
from runicorn.viewer.answers import ProblemError, answer, query_flag, query_int
from runicorn.viewer.code_archives import ArchiveError, CodeArchives, CodeMember, member_text
from runicorn.viewer.comparison import MOST_CELLS, environment_of, packages_of, side_by_side
from runicorn.viewer.line_differences import unified
from runicorn.viewer.runs_api import SYSTEM, config_of, matcher, object_of
from runicorn.viewer.state import Viewer, viewer_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from runicorn.viewer.changes import RunRow

_OURS = "runicorn"
_AT_ONCE_S = 0.4
"""So long runs are read before an answer; what takes longer is read in the background, and ``indexed`` tells it."""
_MOST_LISTED = 5000
_archives = CodeArchives()


def compare(request: Request) -> Response:
    """``GET compare``."""
    viewer = viewer_of(request)
    rows, unknown = _runs(viewer, request)
    only_differing = query_flag(request, "differing")
    environments = [object_of(row.info.run_dir, run_files.ENVIRONMENT)[0] for row in rows]
    parts = {
        "config": [flat.flat(config_of(row.info.run_dir)[0]) for row in rows],
        "summary": [_summary(row) for row in rows],
        "environment": list(map(environment_of, environments)),
        "packages": list(map(packages_of, environments)),
    }
    now = time.time()
    content = {
        "runs": [row.document(now) for row in rows],
        "unknown": unknown,
        **{name: side_by_side(each, only_differing=only_differing) for name, each in parts.items()},
        "code": _code(rows, only_differing=only_differing),
    }
    return answer(request, content)


def _runs(viewer: Viewer, request: Request) -> tuple[list[RunRow], list[str]]:
    """The runs that are asked for, each once, and the keys that none has."""
    given = ",".join(request.query_params.getlist("runs"))
    keys = list(dict.fromkeys(key for key in given.split(",") if key))
    if len(keys) > limits.RUNS:
        what = f"{len(keys):,} runs are named, and at most {limits.RUNS:,} can be compared."
        raise ProblemError(400, what, "Name fewer runs.")
    if not keys:
        raise ProblemError(400, "No run is named.", "Write runs=KEY,KEY.")
    viewer.table.refresh()
    found = {key: viewer.table.find(key) for key in keys}
    return [row for row in found.values() if row is not None], [key for key, row in found.items() if row is None]


def _summary(row: RunRow) -> dict[str, Any]:
    """What the run itself has said; what tracking has cost is never the same."""
    return flat.flat({name: value for name, value in row.info.summary.items() if name != _OURS})


class Compared(NamedTuple):
    """The archives of some runs.

    Attributes:
        archives: of each run its files; None if it has none, or it cannot be read.
        troubles: of each run why.
        names: of all files, sorted; a member's number is its place in this list.
    """

    archives: list[dict[str, CodeMember] | None]
    troubles: list[str | None]
    names: list[str]


def _compared(rows: list[RunRow]) -> Compared:
    archives: list[dict[str, CodeMember] | None] = []
    troubles: list[str | None] = []
    for row in rows:
        try:
            members, trouble = _archives.members(row.info.run_dir), None
        except ArchiveError as error:
            members, trouble = None, str(error)
        archives.append(members)
        troubles.append(trouble if members is not None or trouble else "no code was kept")
    return Compared(archives, troubles, sorted({name for each in archives if each for name in each}))


def _code(rows: list[RunRow], *, only_differing: bool) -> dict[str, Any]:
    """Which of the files differ: runs whose file is the same have the same number, null is none."""
    compared = _compared(rows)
    most = min(_MOST_LISTED, max(1, MOST_CELLS // max(1, len(rows))))
    members: list[dict[str, Any]] = []
    equal = left_out = 0
    for number, name in enumerate(compared.names):
        states = _states([None if each is None else each.get(name) for each in compared.archives])
        # A run without an archive says nothing of any file.
        known = {state for state, each in zip(states, compared.archives, strict=True) if each is not None}
        differs = len(known) > 1
        equal += not differs
        if differs or not only_differing:
            if len(members) >= most:
                left_out += 1
                continue
            members.append({"number": number, "name": name, "states": states, "differs": differs})
    return {"members": members, "equal": equal, "left_out": left_out, "troubles": compared.troubles}


def _states(found: list[CodeMember | None]) -> list[int | None]:
    numbers: dict[tuple[int, int], int] = {}
    return [None if each is None else numbers.setdefault(each.content, len(numbers)) for each in found]


def compare_metrics(request: Request) -> Response:
    """``GET compare/metrics``."""
    viewer = viewer_of(request)
    rows, unknown = _runs(viewer, request)
    matches = matcher(request)
    prefix = request.query_params.get("prefix", "")
    limit = query_int(request, "limit", 1000, 1, limits.NAMES)
    counts: dict[str, int] = {}
    versions: dict[str, str] = {}
    indexed: dict[str, float] = {}
    ranks: set[int] = set()
    deadline = time.monotonic() + _AT_ONCE_S
    for row in rows:
        is_late = time.monotonic() > deadline
        opened = viewer.open_runs.read_later(row.info) if is_late else viewer.open_runs.read(row.info)
        with opened.reading():
            for name in opened.names():
                if name.startswith(prefix or SYSTEM) == bool(prefix):
                    counts[name] = counts.get(name, 0) + 1
            versions[row.key], indexed[row.key] = opened.version, opened.indexed
            ranks.update(opened.ranks())
    primary = {row.info.best_metric_name for row in rows}
    matching = sorted((name for name in counts if matches(name)), key=lambda name: (name not in primary, name))
    content = {
        "unknown": unknown,
        "total": len(counts),
        "matching": len(matching),
        "metrics": matching[:limit],
        "runs": [counts[name] for name in matching[:limit]],
        "versions": versions,
        "indexed": indexed,
        "ranks": sorted(ranks),
    }
    return answer(request, content)


def compare_code(request: Request) -> Response:
    """``GET compare/code``."""
    rows, _ = _runs(viewer_of(request), request)
    compared = _compared(rows)
    number = query_int(request, "member", -1, 0, len(compared.names) - 1)
    if not 0 <= number < len(compared.names):
        raise ProblemError(404, "No file of the code has that number.", "GET compare lists them.")
    name = compared.names[number]
    one, other = _pair(request, rows, compared, name)
    texts = [_text(rows[at], compared.archives[at], name) for at in (one, other)]
    content = {
        "member": name,
        "number": number,
        "from": rows[one].key,
        "to": rows[other].key,
        **unified(*texts),
    }
    return answer(request, content)


def _pair(request: Request, rows: list[RunRow], compared: Compared, name: str) -> tuple[int, int]:
    """The runs whose file is compared: those that are asked for, or the first and the next that has another one."""
    states = _states([None if each is None else each.get(name) for each in compared.archives])
    with_code = [at for at, each in enumerate(compared.archives) if each is not None]
    one = _place(request, "from", rows, with_code[0])
    others = [at for at in with_code if states[at] != states[one]]
    last = next((at for at in with_code if at != one), one)
    return one, _place(request, "to", rows, others[0] if others else last)


def _place(request: Request, parameter: str, rows: list[RunRow], default: int) -> int:
    key = request.query_params.get(parameter)
    if not key:
        return default
    for at, row in enumerate(rows):
        if row.key == key:
            return at
    raise ProblemError(404, f"{parameter}={key[:160]!r} is none of the runs that are compared.")


def _text(row: RunRow, archive: dict[str, CodeMember] | None, name: str) -> str | ArchiveError | None:
    """The text of a file; None if the run has none of that name; or why it is not shown."""
    if archive is None:
        return ArchiveError("no code was kept")
    if name not in archive:
        return None
    try:
        return member_text(row.info.run_dir, archive[name].number)
    except ArchiveError as error:
        return error
