"""What each benchmark's figures are put beside: what the same run measured, and no change of ours moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import harness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Figures = dict[str, Any]


@dataclass(frozen=True)
class Quotient:
    """A figure over what the same run measured beside it; less is better.

    Args:
        name: what is compared, in words.
        figure: ours.
        floor: in the same unit, or in another one that stays the same.
        judged: whether it says anything about us; else it is only shown.
    """

    name: str
    figure: float
    floor: float
    judged: bool = True

    @property
    def value(self) -> float:
        """The quotient."""
        return self.figure / self.floor


def _log_latency(figures: Figures) -> Iterator[Quotient]:
    for row in figures["rows"]:
        if "segments" in row:  # of ours: other ways to push have none
            name = f"{row['payload']}, {row['section']}"
            yield Quotient(f"{name}: p50 over the floor's", row["ours"]["p50_us"], row["floor"]["p50_us"])
            yield Quotient(f"{name}: p99 over the floor's", row["ours"]["p99_us"], row["floor"]["p99_us"], judged=False)


def _throughput(figures: Figures) -> Iterator[Quotient]:
    yield Quotient(
        "time a record over that of JSON lines", 1 / figures["records_per_s"], 1 / figures["baseline_records_per_s"]
    )
    bytes_per_record = harness.median([run["bytes_per_record"] for run in figures["runs"]])
    yield Quotient("bytes a record over those of JSON lines", bytes_per_record, figures["baseline_bytes_per_record"])


def _many_processes(figures: Figures) -> Iterator[Quotient]:
    alone = figures["flat_out"][0]["ours"]["p50_us"]
    for row in figures["flat_out"]:
        name = f"{row['producers']} producers"
        yield Quotient(f"{name}: log() p50 over Queue.put()'s", row["ours"]["p50_us"], row["queue"]["p50_us"])
        if row["producers"] > 1:
            yield Quotient(f"{name}: log() p50 over that of one", row["ours"]["p50_us"], alone)
        ours_s, queue_s = (1 / row[way]["stored_per_s"] for way in ("ours", "queue"))
        yield Quotient(f"{name}: time a record over the queue's", ours_s, queue_s)


def _cold_call(figures: Figures) -> Iterator[Quotient]:
    for version in ("this code", "this code, pure Python"):
        for work, calls in figures["versions"][version].items():
            for call in calls:
                if call.startswith("log"):
                    mine, floor, nothing = (
                        calls[each]["p50_us"] for each in (call, "floor: clock and encode", "nothing")
                    )
                    name = f"{call}: {version}, after work {work}, over the floor"
                    yield Quotient(name, mine - nothing, floor - nothing)


def _startup(figures: Figures) -> Iterator[Quotient]:
    ours, first = figures["import_runicorn_ms"], figures["first_runs_ms"]
    bare = ours["bare"]["median"]
    yield Quotient("import runicorn over a bare interpreter", ours["with"]["median"], bare)
    for name in ("first_init_ms", "second_init_ms", "first_finish_ms"):
        yield Quotient(f"{name[:-3]} over import msgspec", first[name]["median"], first["import_msgspec_ms"]["median"])
    yield Quotient("an empty run over a bare interpreter", figures["empty_run_ms"]["median"], bare)


def _switched_off(figures: Figures) -> Iterator[Quotient]:
    for call, figure in figures.items():
        yield Quotient(f"{call} over an empty method", figure["ours_us"], figure["bare_us"])


def _read(figures: Figures) -> Iterator[Quotient]:
    for name in ("cold", "cached"):
        if "json.loads" in figures.get("readings", {}):
            ours, theirs = ([one["s"] for one in figures["readings"][kind]] for kind in (name, "json.loads"))
            yield Quotient(f"one metric, {name}, over json.loads", harness.median(ours), harness.median(theirs))


def _beside_published(figures: Figures, where: str) -> Iterator[Quotient]:
    ours, theirs = figures.get("ours", {}), figures.get("0.7.2", {})
    for key in sorted(ours.keys() & theirs.keys()):
        if ours[key] > 0 and theirs[key] > 0 and "plain" not in key and "archived" not in key:
            judged = "p99" not in key and "max" not in key
            yield Quotient(f"{where}{key} over that of 0.7.2", ours[key], theirs[key], judged=judged)


def _console(figures: Figures) -> Iterator[Quotient]:
    for case, packages in figures.items():
        yield from _beside_published(packages, f"{case}: ")


def _images(figures: Figures) -> Iterator[Quotient]:
    yield from _beside_published(figures["packages"], "")


def _outputs(figures: Figures) -> Iterator[Quotient]:
    for case in ("plain", "watched"):
        yield from _beside_published(figures[case], f"{case}: ")


def _peers(figures: Figures) -> Iterator[Quotient]:
    ours, floor = figures["trackers"]["ours"], figures["trackers"]["JSON line, buffered file"]
    for workload in sorted(ours.keys() & floor.keys()):
        for figure in ("p50_us", "p99_us", "cpu_s_per_million", "on_top_cpu_us", "bytes_per_record"):
            mine, theirs = ours[workload].get(figure), floor[workload].get(figure)
            if figure == "cpu_s_per_million" and workload in {"busy", "training"}:
                continue  # it is mostly that of the thread beside, or of the training
            if mine and theirs and min(mine, theirs) > 0:
                name = f"{workload}: {figure} over that of a JSON line"
                yield Quotient(name, mine, theirs, judged=figure != "p99_us")


OF_BENCHMARK: dict[str, Callable[[Figures], Iterator[Quotient]]] = {
    "cold_call": _cold_call,
    "log_latency": _log_latency,
    "throughput": _throughput,
    "many_processes": _many_processes,
    "startup": _startup,
    "switched_off": _switched_off,
    "console": _console,
    "images": _images,
    "outputs": _outputs,
    "read": _read,
    "peers": _peers,
}
