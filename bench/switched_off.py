"""What does a call cost while tracking is switched off?

Each call is made on a ``NoOpRun`` and, in turn, on an object whose method does nothing and takes the same arguments:
what Python takes for any call. The best of many rounds counts; the others measure what else the machine does.
"""

from __future__ import annotations

import timeit
from typing import TYPE_CHECKING, Any

import harness

import runicorn as rn

if TYPE_CHECKING:
    import argparse

TARGET_US = 0.2
CALLS = ("run.log(data)", "run.log(data, step=5)", "run.log(loss=1.0)", "run.log_text('text')", "run.summary(data)")


class Bare:
    """Methods that do nothing."""

    def log(self, data=None, *, step=None, stage=None, **kwargs):
        """Take what ``Run.log()`` takes."""

    def log_text(self, text):
        """Take one argument."""

    summary = log_text


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time every call on both."""
    rounds, number = (2, 100) if arguments.quick else (100, 5000)
    with rn.enabled(False):
        off = rn.init()
    return {call: _best(call, off, rounds, number) for call in CALLS}


def _best(call: str, off: Any, rounds: int, number: int) -> dict[str, float]:
    data = {"loss": 1.0, "acc": 2.0}
    timers = {
        name: timeit.Timer(call, globals={"run": run, "data": data}) for name, run in (("ours", off), ("bare", Bare()))
    }
    took_s: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, timer in timers.items():
            took_s[name].append(timer.timeit(number) / number)
    return {f"{name}_us": min(times) * 1e6 for name, times in took_s.items()}


def tabulate(figures: dict[str, Any]) -> list[harness.Table]:
    """One row a call."""
    rows = [
        [
            call,
            f"{figure['ours_us']:.3f}",
            f"{figure['bare_us']:.3f}",
            f"{figure['ours_us'] / figure['bare_us']:.2f}",
            f"<= {TARGET_US:g} {harness.verdict(figure['ours_us'], TARGET_US)}",
        ]
        for call, figure in figures.items()
    ]
    return [
        harness.Table(
            title="Switched off",
            columns=["call", "NoOpRun, us", "empty method, us", "ratio", "target"],
            rows=rows,
            note="Both with the loop around them. Best of 100 rounds.",
        )
    ]


if __name__ == "__main__":
    harness.Bench(
        question="What does a call cost while tracking is switched off?", measure=measure, tabulate=tabulate
    ).main()
