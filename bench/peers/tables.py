"""The figures as tables: those who keep every record first, each group by its median."""

from __future__ import annotations

from typing import Any

import harness
import measuring
import roster

MIB = 1024 * 1024
ON_TOP_TARGET_US = 20.0
BETTER_BY = 0.9
NONE = "-"

LATENCIES = {"p50_us": "p50", "p99_us": "p99", "p99_9_us": "p99.9", "max_us": "max"}
WORKLOADS = {
    "cold": "four floats a call, a call a step, with a step's work in between",
    "flat": "four floats a call, flat out",
    "busy": "four floats a call, a call each millisecond, beside a CPU-bound thread",
    "fifty": "fifty floats a call, flat out",
    "thousand": "a thousand floats a call, flat out",
}
TAKEN_UP = {  # figure: label, unit, format, the least difference that says anything
    "import_s": ("import, s", 1.0, "{:.3f}", 0.01),
    "init_s": ("init, s", 1.0, "{:.3f}", 0.01),
    "finish_s": ("finish, s", 1.0, "{:.3f}", 0.01),
    "readable_s": ("readable while it runs, s", 1.0, "{:.2f}", 0.1),
    "cpu_s_per_million": ("CPU s a million calls", 1.0, "{:,.1f}", 0.5),
    "rss_added_bytes": ("RSS added, MiB", MIB, "{:,.0f}", MIB),
    "helpers_rss_bytes": ("RSS of helpers, MiB", MIB, "{:,.0f}", MIB),
    "helpers": ("processes added", 1.0, "{:.0f}", 0.5),
    "threads_added": ("threads added", 1.0, "{:.0f}", 0.5),
    "bytes_per_record": ("bytes a record", 1.0, "{:,.0f}", 1.0),
}
LATENCY_LEAST_US = 0.1
LOOP = "training"
TRAINING = {
    "on_top_us": "us on top of a step",
    "on_top_quarter_us": "quartile",
    "on_top_three_quarters_us": "third quartile",
    "on_top_cpu_us": "CPU us on top",
}


def tabulate(figures: dict[str, Any]) -> list[harness.Table]:
    """A table for each workload that was played, and what explains the rest."""
    trackers = figures["trackers"]
    names = sorted(trackers, key=lambda name: rank(name, trackers[name]))
    tables = [_latencies(figures, names, workload) for workload in WORKLOADS if workload in figures["workloads"]]
    if LOOP in figures["workloads"]:
        tables.append(_training(figures, names))
    if "flat" in figures["workloads"]:
        tables.append(_taken_up(figures, names))
    if better := better_than_ours(trackers):
        tables.append(_better(better))
    if missing := _missing(figures):
        tables.append(harness.Table("What went wrong, and what was not measured", ["tracker", "what"], missing))
    return tables


def keeps_all(tracker: dict[str, Any]) -> bool | None:
    """Whether every record was readable after the SIGKILL, in each round; None where that was not measured."""
    if "kill" not in tracker:
        return None
    kill = tracker["kill"]["rounds"]
    return all(found >= made for found, made in zip(kill["readable"], kill["calls"], strict=True))


def rank(name: str, tracker: dict[str, Any]) -> tuple[int, float]:
    group = 0 if name == roster.NOTHING else {True: 1, False: 2, None: 3}[keeps_all(tracker)]
    return group, tracker.get("flat", {}).get("p50_us", float("inf"))


def kept(tracker: dict[str, Any]) -> str:
    """How many records were readable, of how many calls; the least and the most of the rounds."""
    if "kill" not in tracker:
        return NONE
    kill = tracker["kill"]["rounds"]
    found = "all" if keeps_all(tracker) else _range(kill["readable"])
    return f"{found} of {_range(kill['calls'])}"


def _range(values: list[float]) -> str:
    least, most = min(values), max(values)
    return f"{least:,.0f}" if least == most else f"{least:,.0f} to {most:,.0f}"


def _latencies(figures: dict[str, Any], names: list[str], workload: str) -> harness.Table:
    counts, rows = figures["workloads"][workload], []
    slow = {}
    for name in names:
        tracker = figures["trackers"][name]
        if workload not in tracker:
            continue
        row = tracker[workload]
        if row["calls"] < counts["calls"]:
            slow[name] = row["calls"]
        cells = [_us(row[figure]) for figure in LATENCIES]
        if workload == "busy":
            cells.append(f"{row['calls_per_s']:,.0f}")
        rows.append([name, *cells, *([kept(tracker)] if workload == "flat" else [])])
    more = {"busy": ["calls a second"], "flat": ["kept after SIGKILL"]}.get(workload, [])
    return harness.Table(
        title=f"us a call: {WORKLOADS[workload]}",
        columns=["", *LATENCIES.values(), *more],
        rows=rows,
        note=_note_of(figures, workload, slow),
    )


def _note_of(figures: dict[str, Any], workload: str, slow: dict[str, float]) -> str:
    counts = figures["workloads"][workload]
    note = f"{counts['calls']:,} calls a round, the median of the rounds."
    if workload == "flat":
        loads = ", ".join(f"{load:g}" for load in figures["load_average_1min_by_round"])
        note += (
            f" The machine's load when each round began: {loads}."
            " Kept: records that another process could read back after the training process had killed itself right"
            " after its last call, and everything that was left of the tracker had come to a standstill."
        )
    if slow:
        told = "; ".join(f"{name}: {calls:,.0f}" for name, calls in slow.items())
        note += f" Fewer calls, as {counts['budget_s']:.0f} s were over: {told}."
    return note


def _training(figures: dict[str, Any], names: list[str]) -> harness.Table:
    played = [(name, figures["trackers"][name][LOOP]) for name in names if LOOP in figures["trackers"][name]]
    rows = [
        [
            name,
            *(f"{row[figure]:,.1f}" for figure in TRAINING),
            f"{row['step_us']:,.0f}",
            f"{100 * row['on_top_us'] / row['step_us']:.2f}",
            _target(row) if name == roster.OURS else "",
        ]
        for name, row in played
    ]
    counts = figures["workloads"][LOOP]
    return harness.Table(
        title="A training loop in numpy: what two calls a step, of four and of fifty floats, add to it",
        columns=["", *TRAINING.values(), "a step, us", "%", "target"],
        rows=rows,
        note=(
            f"{counts['pairs']} pairs of blocks of {counts['block_steps']} steps a round, one of each pair without"
            " logging; the median step of each block, the median of the pairs' differences, then of the rounds. CPU: of"
            " the process with all its threads. The row of the call that does nothing says how exact these are."
        ),
    )


def _target(row: dict[str, Any]) -> str:
    return f"<= {ON_TOP_TARGET_US:g} {harness.verdict(row['on_top_us'], ON_TOP_TARGET_US)}"


def _taken_up(figures: dict[str, Any], names: list[str]) -> harness.Table:
    rows = []
    for name in names:
        tracker = figures["trackers"][name]
        if "flat" in tracker:
            cells = [_cell(tracker["flat"], figure) for figure in TAKEN_UP]
            rows.append([name, figures["versions"].get(name, ""), *cells, _left(tracker)])
    return harness.Table(
        title="What it takes up, with four floats a call, flat out",
        columns=["", "version", *(label for label, *_ in TAKEN_UP.values()), "helpers left after SIGKILL"],
        rows=rows,
        note=(
            "Readable while it runs: from the return of the last call until another process has read all records back,"
            " the training process being idle; '-' = not within 5 s, so only at finish(). It is no more exact than the"
            " tracker's reader is fast. CPU: of the training process with all its threads, from the first call until"
            " then, two readings of the clock a call among it. RSS added: of the training process, after the calls,"
            " over a bare interpreter. Bytes: all files of the run, divided by its records."
        ),
    )


def _left(tracker: dict[str, Any]) -> str:
    return f"{tracker['kill']['helpers_left']:.0f}" if "kill" in tracker else NONE


def _cell(row: dict[str, Any], figure: str) -> str:
    _, unit, form, _ = TAKEN_UP[figure]
    value = row.get(figure)
    if figure == "finish_s" and value is None:
        return f"> {measuring.FINISH_LIMIT_S:.0f}"
    return NONE if value is None else form.format(value / unit)


def better_than_ours(trackers: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """Which tracker is below ours by more than a tenth, and in what."""
    columns = [
        (workload, figure, f"{workload} {label}", LATENCY_LEAST_US)
        for workload in WORKLOADS
        for figure, label in LATENCIES.items()
    ]
    columns.append((LOOP, "on_top_cpu_us", "CPU in the training loop", 1.0))
    columns += [("flat", figure, label, least) for figure, (label, _, _, least) in TAKEN_UP.items()]
    ours = trackers.get(roster.OURS, {})
    found: dict[str, list[str]] = {}
    for name in trackers.keys() - {roster.OURS, roster.NOTHING, roster.PURE, roster.BEFORE}:
        for workload, figure, label, least in columns:
            mine, other = (each.get(workload, {}).get(figure) for each in (ours, trackers[name]))
            if None not in {mine, other} and other < mine * BETTER_BY and mine - other > least:
                found.setdefault(name, []).append(label)
    return {name: found[name] for name in trackers if name in found}


def _better(better: dict[str, list[str]]) -> harness.Table:
    because = {tracker.name: tracker.because for tracker in roster.TRACKERS}
    return harness.Table(
        title="Where another is better than ours by more than a tenth, and why",
        columns=["", "better in", "because"],
        rows=[[name, ", ".join(labels), because[name]] for name, labels in better.items()],
    )


def _missing(figures: dict[str, Any]) -> list[list[str]]:
    rows = [[name, why] for name, why in figures["absent"].items()]
    for name, by_workload in figures["failures"].items():
        rows += [[name, f"{workload}: {why}"] for workload, why in by_workload.items()]
    for name, tracker in figures["trackers"].items():
        flat, kill = tracker.get("flat", {}), tracker.get("kill", {})
        if problem := flat.get("finish_problem"):
            rows.append([name, f"finish: {problem}"])
        elif unreadable := flat.get("unreadable_after_finish"):
            rows.append([name, f"{unreadable:,.0f} records were not readable after finish()"])
        if problem := kill.get("problem"):
            rows.append([name, f"read back after the SIGKILL: {problem}"])
    return rows


def _us(value: float) -> str:
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"
