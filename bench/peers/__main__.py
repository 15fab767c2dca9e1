"""Ours beside other trackers and plain baselines: the same work for each, in turn, in an environment of its own.

::

    python bench/peers                                   # all of them; the environments are made at the first run
    python bench/peers --json > figures/peers.json       # for report.py, plot.py and compare.py
    python bench/peers --only ours "JSON line, buffered file"
    python bench/peers/plot.py figures/peers.json > bench/peers.svg

Each worker process plays one workload on one tracker:

- cold: four floats a call, a call a step, with a step's work in between that pushes the call out of the caches;
- flat: four floats a call, flat out, 10,000 calls after 100 that are not counted;
- busy: four floats a call, a call each millisecond, beside a CPU-bound thread of the same process;
- fifty, thousand: so many floats in one call, flat out, each under a name of its own, the same in every call;
- training: steps of 2 ms in numpy, blocks that log (four floats in one call, fifty in another) and blocks that do not,
  in turn;
- kill: the process kills itself when its 10,000th call has returned. Nothing else is killed, and what is left of the
  tracker is given time until its files stand still. Then another process reads back.

A round plays each workload on all trackers, one after the other; the figures are the medians of the rounds. A tracker
that is slow makes fewer calls: each loop has a budget of seconds.
"""

from __future__ import annotations

import os
import pathlib
import sys
from typing import TYPE_CHECKING, Any

sys.path.insert(1, str(pathlib.Path(__file__).parents[1]))

import environments
import harness
import measuring
import processes
import psutil
import roster
import tables

if TYPE_CHECKING:
    import argparse

ROUNDS = 3
WARM_UP_CALLS = 100
WORKLOADS: dict[str, dict[str, Any]] = {
    "cold": {"floats": 4, "calls": 1_000, "budget_s": 10.0, "warm_up": 5},
    "flat": {"floats": 4, "calls": 10_000, "budget_s": 15.0, "warm_up": WARM_UP_CALLS, "readable_limit_s": 5.0},
    "busy": {"floats": 4, "calls": 3_000, "budget_s": 8.0, "warm_up": WARM_UP_CALLS},
    "fifty": {"floats": 50, "calls": 2_000, "budget_s": 8.0, "warm_up": WARM_UP_CALLS},
    "thousand": {"floats": 1_000, "calls": 200, "budget_s": 8.0, "warm_up": 5},
    "training": {"floats": 4, "step_s": 0.002, "block_steps": 5, "pairs": 200, "budget_s": 10.0, "warm_up": 5},
    "kill": {"calls": 10_000, "budget_s": 30.0},
}
QUICK: dict[str, dict[str, Any]] = {
    "cold": {"calls": 5},
    "flat": {"calls": 20, "readable_limit_s": 0.1},
    "busy": {"calls": 20},
    "fifty": {"calls": 20},
    "thousand": {"calls": 5},
    "training": {"floats": 4, "step_s": 0.0005, "block_steps": 2, "pairs": 2},
    "kill": {"calls": 20},
}
QUICK_TRACKERS = (roster.OURS, roster.FLOOR)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Alternate the trackers, workload by workload, round by round."""
    workloads = {name: WORKLOADS[name] | (QUICK[name] if arguments.quick else {}) for name in arguments.workloads}
    present, absent = _find(arguments)
    rounds = 1 if arguments.quick else arguments.rounds
    told: dict[str, dict[str, list[dict[str, Any]]]] = {
        tracker.name: {workload: [] for workload in workloads} for tracker in present
    }
    failures: dict[str, dict[str, str]] = {tracker.name: {} for tracker in present}
    loads = []
    for number in range(rounds):
        loads.append(round(psutil.getloadavg()[0], 2))
        for workload, counts in workloads.items():
            for tracker in present[number % len(present) :] + present[: number % len(present)]:
                if workload in failures[tracker.name] or (workload == "kill" and tracker.name == roster.NOTHING):
                    continue
                print(f"peers: round {number + 1} of {rounds}, {workload}, {tracker.name}", file=sys.stderr)
                try:
                    told[tracker.name][workload].append(_play(tracker, workload, counts))
                except processes.WorkerError as error:
                    failures[tracker.name][workload] = str(error)
    return {
        "rounds": rounds,
        "load_average_1min_by_round": loads,
        "workloads": workloads,
        "versions": {
            tracker.name: environments.version(environments.interpreter(tracker.requirements), tracker.requirements)
            for tracker in present
        },
        "trackers": {
            name: {workload: middle(rows) for workload, rows in by_workload.items() if rows}
            for name, by_workload in told.items()
        },
        "failures": {name: told_why for name, told_why in failures.items() if told_why},
        "absent": absent,
    }


def _find(arguments: argparse.Namespace) -> tuple[list[roster.Tracker], dict[str, str]]:
    names = arguments.only or (QUICK_TRACKERS if arguments.quick else [each.name for each in roster.TRACKERS])
    others = [roster.of_checkout(arguments.against)] if arguments.against else []
    present, absent = [], {}
    for tracker in [*roster.TRACKERS, *others]:
        if tracker.name in names or tracker in others:
            try:
                environments.interpreter(tracker.requirements)
            except environments.MissingError as error:
                absent[tracker.name] = str(error)
            else:
                present.append(tracker)
    return present, absent


def _play(tracker: roster.Tracker, workload: str, counts: dict[str, Any]) -> dict[str, Any]:
    if workload == "kill":
        return measuring.measure_kill(tracker, counts)
    return measuring.measure_calls(tracker, workload, counts)


def middle(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of each figure over the rounds, all of them under ``rounds``; words are those of the last round."""
    figures: dict[str, Any] = {}
    of_rounds: dict[str, list[float | None]] = {}
    every = {name: value for each in rounds for name, value in each.items()}
    for name, last in every.items():
        values = [each[name] for each in rounds if each.get(name) is not None]
        if isinstance(last, str) or not values:
            figures[name] = last
        else:
            figures[name] = harness.median(values)
            of_rounds[name] = [each.get(name) for each in rounds]
    return {**figures, "rounds": of_rounds}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which, and how often."""
    names = [tracker.name for tracker in roster.TRACKERS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="TRACKER", help=f"of {', '.join(names)}")
    parser.add_argument("--workloads", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS), metavar="WORKLOAD")
    parser.add_argument("--against", metavar="CHECKOUT", help="this package in another checkout is played too")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how often each is played ({ROUNDS})")


if __name__ == "__main__":
    sys.argv[0] = os.path.dirname(os.path.abspath(__file__))  # `python bench/peers` and `python bench/peers/`
    harness.Bench(
        question="What does logging cost, and what of it survives, beside other trackers?",
        measure=measure,
        tabulate=tables.tabulate,
        add_arguments=add_arguments,
    ).main()
