"""``POST curves``: a curve for each run, metric and rank, each sent as soon as it is drawn."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.responses import StreamingResponse

from runicorn.reading.curves import Curve, Query, curve
from runicorn.reading.pace import points_of_pace
from runicorn.reading.stretches import METRIC, STEP, TIME, FoundPoints, Stretch, all_points, collect, is_of_rank
from runicorn.viewer import limits
from runicorn.viewer.answers import ProblemError, answer, plain_number
from runicorn.viewer.bodies import body_of
from runicorn.viewer.curve_frames import KIND, document, frame
from runicorn.viewer.group_curves import group_curve
from runicorn.viewer.open_runs import PACE
from runicorn.viewer.state import Viewer, viewer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.requests import Request
    from starlette.responses import Response

    from runicorn.reading.lenient import Origin
    from runicorn.viewer.changes import RunRow
    from runicorn.viewer.open_runs import OpenRun

    Drawn = tuple[dict[str, Any], dict[str, array[float]]]

_RELATIVE, _WALL = "relative_step", "wall"
_EACH, _MEAN, _BAND, _SLOWEST = "each", "mean", "minmax", "slowest"
_MOST_RANKS = 1024
_NOTHING: dict[str, array[float]] = {}


class CurveGroup(msgspec.Struct, forbid_unknown_fields=False):
    """Runs whose curves are one."""

    name: str
    runs: list[str]


class WantedCurves(msgspec.Struct):
    """The body of a request; what there is in it, ``docs/viewer-api.md`` says."""

    metrics: list[str]
    runs: list[str] = []
    groups: list[CurveGroup] = []
    x: str = STEP
    start: float | None = msgspec.field(name="from", default=None)
    stop: float | None = msgspec.field(name="to", default=None)
    buckets: int = 1000
    width: float | None = None
    smooth: float = 0.0
    rank: int | str | None = None
    stage: str | None = None
    superseded: bool = False
    log: bool = False

    def check(self) -> None:
        """Make sure that it can be answered.

        Raises:
            ProblemError: it cannot.
        """
        runs = len(self.runs) + sum(len(group.runs) for group in self.groups)
        for what, count, most in (
            ("runs", runs, limits.RUNS),
            ("curves", (len(self.runs) + len(self.groups)) * len(self.metrics), limits.CURVES),
            ("buckets", self.buckets, limits.BUCKETS),
        ):
            if count > most:
                raise ProblemError(400, f"{count:,} {what} are asked for, and {most:,} are the most.", "Ask for fewer.")
        if self.buckets < 1 or not 0 <= self.smooth < 1:
            raise ProblemError(400, "buckets is 1 at least, and smooth from 0 to below 1.")
        if self.x not in {STEP, TIME, _WALL, _RELATIVE} and not self.x.startswith(METRIC):
            raise ProblemError(
                400, f"x={self.x[:60]!r} is no axis.", "Write step, time, wall, relative_step, metric:NAME."
            )
        if isinstance(self.rank, str) and self.rank not in {_EACH, _MEAN, _BAND, _SLOWEST}:
            raise ProblemError(
                400, f"rank={self.rank[:60]!r} is none.", "Write a number, each, mean, minmax or slowest."
            )
        if self.width is not None and not self.width > 0:
            raise ProblemError(400, "width is above 0.")

    def query(self, offset: float | None) -> Query:
        """What of a curve is wanted, with what is taken off x."""
        return Query(
            start=self.start, stop=self.stop, buckets=self.buckets, width=self.width, offset=offset, smooth=self.smooth,
            count_hidden=self.log,
        )  # fmt: skip


_decode = msgspec.json.Decoder(WantedCurves).decode


async def curves(request: Request) -> Response:
    """``POST curves``."""
    viewer = viewer_of(request)
    try:
        wanted = _decode(await body_of(request))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(400, f"The body is not what was expected: {error}", "See docs/viewer-api.md.") from error
    wanted.check()
    if request.query_params.get("format") == "json":
        drawn = await run_in_threadpool(lambda: [document(*each) for each in _all(viewer, wanted)])
        return await run_in_threadpool(answer, request, {"curves": drawn})
    return StreamingResponse(iterate_in_threadpool(_frames(viewer, wanted)), media_type=KIND)


def _frames(viewer: Viewer, wanted: WantedCurves) -> Iterator[bytes]:
    for head, arrays in _all(viewer, wanted):
        yield frame(head, arrays)
    yield frame({"end": True}, {})


def _all(viewer: Viewer, wanted: WantedCurves) -> Iterator[Drawn]:
    for group in wanted.groups:
        members = list(_members(viewer, group.runs))
        for metric in wanted.metrics:
            yield _of_group(members, wanted, group.name, metric)
    for key in wanted.runs:
        try:
            row, opened = viewer.open(key)
        except ProblemError as problem:
            for metric in wanted.metrics:
                yield {"run": key, "metric": metric, "error": problem.what}, _NOTHING
            continue
        viewer.checker.watch(key)
        for metric in wanted.metrics:
            with opened.reading():
                drawn = list(_of_run(row, opened, wanted, metric))
            yield from drawn


def _of_run(row: RunRow, opened: OpenRun, wanted: WantedCurves, metric: str) -> Iterator[Drawn]:
    """The curves of a metric of a run, while its lock is held."""
    if not _has(opened, metric):
        what = "no such metric" if opened.is_complete else "no such metric in what was read so far"
        told = {"version": opened.version, "indexed": opened.indexed}
        yield {"run": row.key, "metric": metric, "error": what, **told}, _NOTHING
        return
    ranks: list[int | str | None] = [wanted.rank]
    if wanted.rank == _EACH:
        ranks = [*opened.ranks()[:_MOST_RANKS]] or [None]
    for rank in ranks:
        yield _drawn(row, opened, wanted, metric, rank, superseded=False)
        if wanted.superseded:
            head, arrays = _drawn(row, opened, wanted, metric, rank, superseded=True)
            if head["total"]:
                yield head, arrays


def _drawn(
    row: RunRow, opened: OpenRun, wanted: WantedCurves, metric: str, rank: int | str | None, *, superseded: bool
) -> Drawn:
    made = _curve(row, opened, wanted, metric, rank, superseded=superseded)
    head = {
        "run": row.key,
        "metric": metric,
        "rank": rank,
        "group": None,
        "superseded": superseded,
        "x": wanted.x,
        **figures(made),
        "version": opened.version,
        "indexed": opened.indexed,
    }
    return head, made.arrays


def _curve(
    row: RunRow, opened: OpenRun, wanted: WantedCurves, metric: str, rank: int | str | None, *, superseded: bool = False
) -> Curve:
    return curve(*_found(row, opened, wanted, metric, rank, superseded=superseded))


def _found(
    row: RunRow, opened: OpenRun, wanted: WantedCurves, metric: str, rank: int | str | None, *, superseded: bool = False
) -> tuple[FoundPoints, Query]:
    """The values of a metric of a run, and what of them is wanted."""
    axis = TIME if wanted.x in {TIME, _WALL} else STEP if wanted.x == _RELATIVE else wanted.x
    found = points_of_pace([] if superseded else opened.files.values(), axis) if metric == PACE else collect(
        opened.files.values(), metric, opened.store, x=axis, superseded=superseded,
        is_wanted=_origins(opened, metric, rank, wanted.stage),
    )  # fmt: skip
    if rank == _SLOWEST:
        found = _slowest(found)
    offset: float | None = 0
    if wanted.x == TIME:
        offset = row.info.started_at
    elif wanted.x == _RELATIVE:
        offset = None
    query = wanted.query(offset)
    if rank in {_MEAN, _BAND}:  # one curve of several values at an x: buckets, each of all ranks
        of_a_rank = found.total // max(1, len(opened.ranks()))
        query = msgspec.structs.replace(query, only_buckets=True, buckets=max(1, min(query.buckets, of_a_rank - 1)))
    return found, query


def figures(made: Curve) -> dict[str, Any]:
    """What is told of a curve beside its arrays."""
    return {
        "kind": made.kind,
        "n": len(made.arrays["x"]),
        "width": made.width,
        "total": made.total,
        "in_range": made.in_range,
        "shown": len(made.arrays["x"]),
        "exact": True,
        "others": made.others,
        "nan": made.nan,
        "inf": made.inf,
        "replaced": made.replaced,
        "low": made.low,
        "high": made.high,
        "first_x": made.first_x,
        "last_x": made.last_x,
        "last_value": None if made.last_value is None else plain_number(made.last_value),
        "log_hidden": made.log_hidden,
    }


def _origins(
    opened: OpenRun, metric: str, rank: int | str | None, stage: str | None
) -> Callable[[Origin], bool] | None:
    """Which origins have the values that are wanted; None if all have."""
    if isinstance(rank, str) or (rank is None and not opened.ranks()):
        return None if stage is None else lambda origin: origin[0] == stage
    is_of = is_of_rank(opened.files.values(), metric, rank)
    return lambda origin: is_of(origin) and (stage is None or origin[0] == stage)


def _slowest(found: FoundPoints) -> FoundPoints:
    """Of several values at one x the greatest."""
    if not found.stretches:
        return found
    most: dict[float, float] = {}
    for x, _, y in all_points(found.stretches):
        if not most.get(x, -math.inf) >= y:
            most[x] = y
    xs = sorted(most)
    whole = all(isinstance(x, int) for x in xs)
    first = found.stretches[0]
    ys = array("d", [float(most[x]) for x in xs])
    count = len(xs)
    stretch = Stretch(array("q" if whole else "d", xs), ys, (0, count), 0, first.group, range(count))
    return found._replace(stretches=[stretch])


def _members(viewer: Viewer, keys: list[str]) -> Iterator[tuple[RunRow, OpenRun]]:
    for key in dict.fromkeys(keys):
        try:
            row, opened = viewer.open(key)
        except ProblemError:
            continue
        viewer.checker.watch(key)
        yield row, opened


def _of_group(members: list[tuple[RunRow, OpenRun]], wanted: WantedCurves, name: str, metric: str) -> Drawn:
    """One curve over all members of a group that have the metric."""
    rank = None if wanted.rank == _EACH else wanted.rank
    having = [(row, opened) for row, opened in members if _has(opened, metric)]
    head = {"run": None, "metric": metric, "rank": rank, "group": name, "superseded": False, "x": wanted.x}
    if not having:
        return {**head, "error": "no such metric in any run of the group"}, _NOTHING
    told, arrays = group_curve(
        having, lambda row, opened: _found(row, opened, wanted, metric, rank), wanted.query(None)
    )
    return {**head, **told}, arrays


def _has(opened: OpenRun, metric: str) -> bool:
    with opened.reading():
        return opened.has(metric)
