"""The curves of a report: each metric, for the axes, ranks and stages in the wishes."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from runicorn.errors import NotFoundError
from runicorn.reading.curves import MOST_BUCKETS
from runicorn.storage.escaping import escape
from runicorn.viewer.open_runs import PACE
from runicorn.viewer.packed_curves import packed_curves
from runicorn.viewer.runs_api import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runicorn.viewer.inside import Inside
    from runicorn.viewer.report_contents import ReportWishes

RANK_0, EACH_RANK, ALL_STAGES = "0", "each", "all"
_TIMES = ("time", "wall")
_AT_ONCE = 50


def report_curves(inside: Inside, names: Sequence[str], wishes: ReportWishes) -> list[dict[str, Any]]:
    """The curves, each with its axis, rank and stage.

    The machine has no steps, ranks or stages, so each of its curves comes once, over time.

    Raises:
        LookupError: no value has one of the ranks or stages in ``wishes``.
    """
    of_machine = [name for name in names if name.startswith(SYSTEM)]
    logged = [name for name in names if not name.startswith(SYSTEM)]
    found = []
    for axis, rank, stage in product(wishes.axes, wishes.ranks, wishes.stages):
        found += _asked(inside, logged, axis, rank, stage)
    _check_values("rank", [rank for rank in wishes.ranks if rank.isdecimal() and rank != RANK_0], found)
    _check_values("stage", [stage for stage in wishes.stages if stage != ALL_STAGES], found)
    for axis in [axis for axis in wishes.axes if axis in _TIMES] or _TIMES[:1]:
        found += _asked(inside, of_machine, axis, RANK_0, ALL_STAGES)
    return found


def curve_figures(curves: Sequence[dict[str, Any]], wishes: ReportWishes) -> dict[str, int]:
    """The number of curves, points and pieces, for the first axis, rank and stage alone."""
    first = (wishes.axes[0], wishes.ranks[0], wishes.stages[0])
    time = next((axis for axis in wishes.axes if axis in _TIMES), _TIMES[0])
    heads = [
        head
        for each in curves
        if (head := each["head"])["metric"] != PACE
        and (
            head["x"] == time
            if head["metric"].startswith(SYSTEM)
            else (head["x"], each["rank"], each["stage"]) == first
        )
    ]
    pieces = [head for head in heads if head["kind"] == "buckets"]
    return {
        "curves": sum(not head["superseded"] for head in heads),
        "points": sum(head["in_range"] for head in heads),
        "points_in_pieces": sum(head["in_range"] for head in pieces),
        "pieces": sum(head["n"] for head in pieces),
    }


def _asked(inside: Inside, names: Sequence[str], axis: str, rank: str, stage: str) -> list[dict[str, Any]]:
    wish = {
        "x": axis,
        "rank": None if rank == RANK_0 else int(rank) if rank.isdecimal() else rank,
        "stage": None if stage == ALL_STAGES else escape(stage),
        "buckets": MOST_BUCKETS,
        "superseded": True,
        "log": True,
    }
    return [
        {**curve, "rank": rank, "stage": stage}
        for key in inside.keys
        for at in range(0, len(names), _AT_ONCE)
        for curve in packed_curves(
            inside.ask("curves", {"runs": [key], "metrics": names[at : at + _AT_ONCE], **wish}).content
        )
    ]


def _check_values(what: str, wished: Sequence[str], curves: Sequence[dict[str, Any]]) -> None:
    for each in wished:
        if not any(curve["head"]["total"] for curve in curves if curve[what] == each):
            raise NotFoundError(
                f"No value has the {what} {each!r}. Nothing was written. The page of the run in `runicorn viewer` "
                f"lists the {what}s under Axes."
            )
