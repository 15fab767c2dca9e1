"""Does a large checkpoint that is archived slow the training loop down?

A loop of steps of a few milliseconds of arithmetic in Python writes a checkpoint, and goes on. With outputs watched
the checkpoint is hashed and copied meanwhile: by our writer in a process of its own, by Runicorn 0.7.2 in a thread of
the program. The steps after the checkpoint are timed, with and without the watch, in alternating programs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import harness
import published

if TYPE_CHECKING:
    import argparse

PROGRAM = """
import json, os, sys, time
import runicorn as rn

storage, checkpoint_bytes, seconds, case = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
run = rn.init(path="bench", storage=storage)
os.mkdir("out")
if case == "watched":
    run.watch_outputs(output_dirs=["out"], interval_sec=0.2, min_age_sec=0.2)

def step():
    begun = time.perf_counter_ns()
    x = 0
    for i in range(40_000):
        x += i * i
    return (time.perf_counter_ns() - begun) / 1e6

for _ in range(50):
    step()
block = os.urandom(1 << 20)
begun = time.perf_counter()
with open("out/model.pt.new", "wb") as file:
    for _ in range(checkpoint_bytes >> 20):
        file.write(block)
os.rename("out/model.pt.new", "out/model.pt")
saved_s = time.perf_counter() - begun
steps, until = [], time.perf_counter() + seconds
while time.perf_counter() < until:
    steps.append(step())
steps.sort()
begun = time.perf_counter()
run.finish()
archive = os.path.join(storage, "archive")
kept = sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(archive) for name in names)
print(json.dumps({
    "step_p50_ms": steps[len(steps) // 2],
    "step_p99_ms": steps[len(steps) * 99 // 100],
    "step_mean_ms": sum(steps) / len(steps),
    "saved_s": saved_s,
    "finish_s": time.perf_counter() - begun,
    "archived_bytes": kept,
}))
"""


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the loop with and without the watch, by each package."""
    size_bytes = 1 << 20 if arguments.quick else arguments.checkpoint_mib << 20
    seconds, rounds = ("0.5", 1) if arguments.quick else (str(arguments.seconds), 3)
    told: dict[str, dict[str, list[Any]]] = {"plain": {}, "watched": {}}
    for _ in range(rounds):
        for case, packages in told.items():
            once = published.compare(PROGRAM, 1, [str(size_bytes), seconds, case], quick=arguments.quick)
            for name, found in once.items():
                packages.setdefault(name, []).extend(found)
    figures: dict[str, Any] = {"checkpoint_bytes": size_bytes}
    for case, packages in told.items():
        figures[case] = {name: {key: published.middle(each, key) for key in each[0]} for name, each in packages.items()}
    return figures


def tabulate(figures: dict[str, Any]) -> list[harness.Table]:
    """One row a package."""
    rows = []
    for package, plain in figures["plain"].items():
        watched = figures["watched"][package]
        rows.append(
            [
                package,
                *(f"{plain[key]:.2f}" for key in ("step_p50_ms", "step_p99_ms", "step_mean_ms")),
                *(f"{watched[key]:.2f}" for key in ("step_p50_ms", "step_p99_ms", "step_mean_ms")),
                f"{watched['step_mean_ms'] / plain['step_mean_ms']:.2f}",
                f"{watched['archived_bytes'] / 2**20:,.0f}",
            ]
        )
    columns = ["package", "p50, ms", "p99", "mean", "watched: p50, ms", "p99", "mean", "mean, ratio", "archived, MiB"]
    return [
        harness.Table(
            title=f"Steps after a checkpoint of {figures['checkpoint_bytes'] / 2**20:,.0f} MiB",
            columns=columns,
            rows=rows,
            note="Steps of pure Python on one core. On two cores the archiving has the other one.",
        )
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How large, and how long."""
    parser.add_argument("--checkpoint-mib", type=int, default=1024, help="size of the checkpoint (default 1024)")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long steps are timed after it (default 10)")


if __name__ == "__main__":
    harness.Bench(
        question="Does a large checkpoint that is archived slow the training loop down?",
        measure=measure,
        tabulate=tabulate,
        add_arguments=add_arguments,
    ).main()
