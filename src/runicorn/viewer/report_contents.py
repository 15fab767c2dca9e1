"""What a report holds: answers of the interface, curves and images of its runs, and words about what is not in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from runicorn.errors import MetricNotFoundError
from runicorn.storage import statuses
from runicorn.storage.wording import counted
from runicorn.viewer.inside import Inside, quoted
from runicorn.viewer.open_runs import PACE
from runicorn.viewer.report_code import report_code
from runicorn.viewer.report_curves import ALL_STAGES, EACH_RANK, RANK_0, curve_figures, report_curves
from runicorn.viewer.report_images import report_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runicorn.reading import RunInfo

LOGS, ENVIRONMENT, CODE = "logs", "environment", "code"
PARTS = (LOGS, ENVIRONMENT, CODE)
"""What is in a report only if it is asked for: it may say more than its reader should know."""
AXES = ("step", "time", "wall", "relative_step")
IMAGES = 20
_MOST_CURVES = 300
_MOST_NAMES = 10_000
_MOST_COLUMNS = 200
_LOG_BYTES = 1 << 20
_MOST_MEMBERS = 100
_FIGURES = (
    *("curves", "points", "points_in_pieces", "pieces", "metrics", "metrics_left_out", "images", "images_left_out"),
    *("log_bytes_left_out", "code_files_left_out"),
)
_LEFT_OUT = "left out of this report"


class ReportWishes(NamedTuple):
    """What a report shall hold.

    Attributes:
        metrics: names; one with commas that no run has is several. Empty = all, up to 300 curves.
        parts: of ``PARTS``.
        images: how many at most.
        axes: of the charts, of ``AXES``.
        ranks: numbers, ``each``, ``mean``, ``minmax``, ``slowest``; ``0`` is what the page of a run shows by default.
        stages: names; ``all`` is all of them together.
    """

    metrics: tuple[str, ...] = ()
    parts: frozenset[str] = frozenset()
    images: int = IMAGES
    axes: tuple[str, ...] = ("step",)
    ranks: tuple[str, ...] = (RANK_0,)
    stages: tuple[str, ...] = (ALL_STAGES,)


class ReportContents:
    """What a report of some runs holds, as its page finds it.

    Args:
        infos: of the runs, in the order in which they were named.
        wishes: what of them.

    Attributes:
        data: of the page.
        figures: how much it is.

    Raises:
        LookupError: no run has one of the metrics, ranks or stages in ``wishes``.
    """

    def __init__(self, infos: Sequence[RunInfo], wishes: ReportWishes) -> None:
        self._infos = list(infos)
        self._wishes = wishes
        self._places: dict[str, Any] = {}
        self._blobs: dict[str, Any] = {}
        self.figures = dict.fromkeys(_FIGURES, 0)
        self._inside = Inside(self._infos)
        try:
            names = self._add_metrics()
            for key in self._inside.keys:
                self._add_run(key)
            self._curves = report_curves(self._inside, names, wishes)
            self.figures |= curve_figures(self._curves, wishes)
            self._add_all()
            self.data = self._data()
        finally:
            self._inside.close()

    def _get(self, place: str) -> Any:
        return self._inside.ask(place).value

    def _add(self, place: str, asked: str = "") -> None:
        """Hold the answer to a place; to one that asks for more, if that is named."""
        self._places[place] = self._get(asked or place)

    def _add_metrics(self) -> list[str]:
        """Choose the metrics, and hold the lists of their names; all names that were chosen."""
        answers = {}
        for key in self._inside.keys:
            for prefix in ("", "?prefix=system/"):
                place = f"{_place(key)}/metrics{prefix}"
                answers[place] = self._all_names(f"{place}{'&' if prefix else '?'}limit={_MOST_NAMES}")
        # Primary metrics come before all others, the names of the system behind them.
        ordered = sorted(answers.items(), key=lambda each: each[0].endswith("system/"))
        names = dict.fromkeys(name for _, answer in ordered for name in answer["metrics"])
        primary = [info.best_metric_name for info in self._infos if info.best_metric_name in names]
        every = {**dict.fromkeys(name for name in primary if name is not None), **names}
        chosen = self._chosen(every)
        for place, answer in answers.items():
            kept = [name for name in answer["metrics"] if name in chosen]
            self._places[place] = {**answer, "metrics": kept, "total": len(kept), "matching": len(kept), "next": None}
        self.figures |= {"metrics": len(chosen), "metrics_left_out": len(every.keys() - chosen.keys() - {PACE})}
        return list(chosen)

    def _all_names(self, place: str) -> dict[str, Any]:
        """The answer with all names, however many there are."""
        answer: dict[str, Any] = self._get(place)
        following = answer["next"]
        while following is not None and len(answer["metrics"]) < answer["total"]:
            more = self._get(f"{place}&after={quoted(following)}")
            answer["metrics"] += more["metrics"]
            following = more["next"]
        return answer

    def _chosen(self, every: dict[str, None]) -> dict[str, None]:
        if not self._wishes.metrics:
            most = max(1, _MOST_CURVES // len(self._infos) // self._curves_a_metric())
            return dict.fromkeys(list(every)[:most])
        wished = [name for given in self._wishes.metrics for name in ([given] if given in every else given.split(","))]
        for name in wished:
            if name not in every:
                raise MetricNotFoundError(f"No metric {name!r}. There are: {', '.join(list(every)[:20]) or 'none'}.")
        return dict.fromkeys(wished)

    def _curves_a_metric(self) -> int:
        """How many curves a metric of a run has at most."""
        ranks = len(self._wishes.ranks)
        if EACH_RANK in self._wishes.ranks:
            ranks += max(len(self._get(_place(key))["ranks"]) for key in self._inside.keys)
        return len(self._wishes.axes) * ranks * len(self._wishes.stages)

    def _add_run(self, key: str) -> None:
        place = _place(key)
        head = self._get(place)
        head["metrics"] = len(self._places[f"{place}/metrics"]["metrics"])
        head["system_metrics"] = len(self._places[f"{place}/metrics?prefix=system/"]["metrics"])
        images = report_images(self._inside, place, self._wishes.images)
        head["images"] = images.held
        self._places |= {place: head, **images.places}
        self._blobs |= images.blobs
        self.figures["images"] += images.held
        self.figures["images_left_out"] += images.left_out
        for part in ("config", "summary", "problems"):
            self._add(f"{place}/{part}")
        if ENVIRONMENT in self._wishes.parts:
            self._add(f"{place}/environment")
        if LOGS in self._wishes.parts:
            self._add_logs(place, head)
        head["assets"] = 0
        if CODE in self._wishes.parts:
            code = report_code(self._inside, place)
            head["assets"] = code.archives
            self._places |= code.places
            self.figures["code_files_left_out"] += code.left_out

    def _add_logs(self, place: str, head: dict[str, Any]) -> None:
        """The end of each log file, as if that were all of it."""
        for source in head["logs"]:
            name = f"{place}/logs?source={source['source']}"
            window = self._get(f"{name}&offset=-{_LOG_BYTES}&bytes={_LOG_BYTES}")
            self.figures["log_bytes_left_out"] += window["offset"]
            self._places[name] = {**window, "at_start": True, "at_end": True, "live": False}

    def _add_all(self) -> None:
        """What there is of all runs together."""
        self._add("server")
        if len(self._infos) > 1:
            self._add("runs/columns")
            names = [each["name"] for each in self._places["runs/columns"]["columns"]][:_MOST_COLUMNS]
            self._add("runs", f"runs?{'&'.join(f'col={quoted(name)}' for name in names)}")
            self._add_comparison(",".join(map(quoted, self._inside.keys)))

    def _add_comparison(self, keys: str) -> None:
        """What differs between the runs, but for what was not wished."""
        found = self._get(f"compare?runs={keys}")
        if ENVIRONMENT not in self._wishes.parts:
            nothing = {"names": [], "values": [], "differs": [], "equal": 0, "left_out": 0, "told": _LEFT_OUT}
            found |= {"environment": nothing, "packages": nothing}
        if CODE not in self._wishes.parts:
            found["code"] = {"members": [], "equal": 0, "left_out": 0, "troubles": [_LEFT_OUT for _ in found["runs"]]}
        self._places["compare"] = found
        of_runs = [self._places[f"{_place(key)}/metrics"]["metrics"] for key in self._inside.keys]
        primary = {info.best_metric_name for info in self._infos}
        names = sorted({name for each in of_runs for name in each}, key=lambda name: (name not in primary, name))
        self._places["compare/metrics"] = {
            **self._get(f"compare/metrics?limit=1&runs={keys}"),
            "metrics": names,
            "runs": [sum(name in each for each in of_runs) for name in names],
            "total": len(names),
            "matching": len(names),
        }
        for member in [each for each in found["code"]["members"] if each["differs"]][:_MOST_MEMBERS]:
            number = member["number"]
            self._add(f"compare/code?member={number}", f"compare/code?runs={keys}&member={number}")

    def _data(self) -> dict[str, Any]:
        keys = self._inside.keys
        return {
            "made_at": self._inside.made_at,
            "start": f"compare?runs={','.join(keys)}" if len(keys) > 1 else f"run/{quoted(keys[0])}",
            "lines": self._lines(),
            "axes": self._wishes.axes,
            "ranks": self._wishes.ranks,
            "stages": self._wishes.stages,
            "places": self._places,
            "blobs": self._blobs,
            "curves": self._curves,
        }

    def _lines(self) -> list[str]:
        """What it is made of, and what is not in it, for people."""
        figures = self.figures
        points, pieces = figures["points_in_pieces"], figures["pieces"]
        lines = [*self._origins(), *self._running()]
        curves = f"{counted(figures['curves'], 'curve')} of {counted(figures['points'], 'point')}"
        kept = f"{points:,} of them left out, {pieces:,} pieces kept: each has its least, greatest, mean and last value"
        lines.append(f"{curves}; {kept}" if pieces else f"{curves}, all in it")
        if figures["images"] or figures["images_left_out"]:
            lines.append(f"{figures['images']:,} of {counted(figures['images'] + figures['images_left_out'], 'image')}")
        if figures["metrics_left_out"]:
            lines.append(f"{counted(figures['metrics_left_out'], 'metric')} left out")
        if figures["log_bytes_left_out"]:
            lines.append(f"the first {counted(figures['log_bytes_left_out'], 'byte')} of the logs left out")
        if figures["code_files_left_out"]:
            lines.append(f"{counted(figures['code_files_left_out'], 'file')} of the code left out")
        missing = [part for part in PARTS if part not in self._wishes.parts]
        if missing:
            lines.append(f"without {', '.join(missing)}")
        return lines

    def _origins(self) -> list[str]:
        if len(self._infos) == 1:
            info = self._infos[0]
            host = f" on {info.hostname}" if info.hostname else ""
            return [f"from {info.run_dir}{host}"]
        storages = dict.fromkeys(info.storage for info in self._infos)
        return [f"{len(self._infos)} runs from {', '.join(storages)}"]

    def _running(self) -> list[str]:
        running = sum(info.status == statuses.RUNNING for info in self._infos)
        if not running:
            return []
        if len(self._infos) == 1:
            return ["the run was still running then"]
        return [f"{running} of the runs {'was' if running == 1 else 'were'} still running then"]


def _place(key: str) -> str:
    return f"runs/{quoted(key)}"
