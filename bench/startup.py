"""What does tracking cost a program that starts, and one that waits?

Processes are timed from outside in alternating pairs: a bare interpreter, then the same with an import. The first
``init()`` is timed inside fresh processes, after ``import msgspec``; the writer when idle by its CPU time. All of them
find their bytecode, as in an installed package: a warm-up process writes it into a directory of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import harness

import runicorn as rn

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

MS = 1000.0
MIB = 1024 * 1024
SETTLE_S = 2.0

IMPORT_TARGET_MS, FIRST_INIT_TARGET_MS, SECOND_INIT_TARGET_MS = 10.0, 15.0, 5.0

BARE = "pass"
IMPORT_US = "import runicorn"
IMPORT_MSGSPEC = "import msgspec"

FIRST_RUNS = """
import json, sys, time
clock = time.perf_counter
marks = [clock()]
import msgspec
marks.append(clock())
import runicorn as rn
marks.append(clock())
first = rn.init(storage=sys.argv[1])
marks.append(clock())
first.finish()
marks.append(clock())
second = rn.init(storage=sys.argv[1])
marks.append(clock())
second.finish()
marks.append(clock())
names = ("import_msgspec", "import_runicorn", "first_init", "first_finish", "second_init", "second_finish")
print(json.dumps({f"{name}_ms": (end - begin) * 1e3 for name, begin, end in zip(names, marks, marks[1:])}))
"""


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure each in turn."""
    quick = arguments.quick
    pairs, processes, empty_runs, idle_s = (2, 1, 2, 1.0) if quick else (25, 15, 10, 10.0)
    with surroundings():
        of_processes = {
            "import_runicorn_ms": import_cost(IMPORT_US, pairs),
            "import_msgspec_ms": import_cost(IMPORT_MSGSPEC, pairs),
            "first_runs_ms": first_runs(processes),
        }
    return {
        **of_processes,
        "empty_run_ms": empty_run(empty_runs),
        "heartbeat_ms": first_heartbeat(empty_runs),
        "idle_writer": idle_writer(idle_s, 0.2 if quick else SETTLE_S),
    }


@contextlib.contextmanager
def surroundings() -> Iterator[None]:
    """Give the processes that we start a bytecode cache and a temp directory that nobody else has filled."""
    before = dict(os.environ)
    with harness.storage() as root:
        os.environ["PYTHONPYCACHEPREFIX"] = os.environ["TMPDIR"] = root
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def import_cost(statement: str, pairs: int) -> dict[str, Any]:
    """Time a process with the statement and a bare one, in turn; the first pair is a warm-up."""
    bare_ms, with_ms = [], []
    for number in range(pairs + 1):
        order = [(BARE, bare_ms), (statement, with_ms)]
        for code, into in order if number % 2 else reversed(order):
            into.append(process_ms(code))
    bare_ms, with_ms = bare_ms[1:], with_ms[1:]
    return {
        "bare": harness.shortest_to_longest(bare_ms),
        "with": harness.shortest_to_longest(with_ms),
        "difference": harness.shortest_to_longest([ours - bare for ours, bare in zip(with_ms, bare_ms, strict=True)]),
        "median_difference": harness.median(with_ms) - harness.median(bare_ms),
    }


def process_ms(code: str) -> float:
    """Time a Python process from its start to its end."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdin=subprocess.DEVNULL)
    return (time.perf_counter() - begin) * MS


def first_runs(processes: int) -> dict[str, Any]:
    """Time the first two runs of fresh processes; the first process is a warm-up."""
    with harness.storage() as root:
        measured = [one_process(root) for _ in range(processes + 1)][1:]
    return {name: harness.shortest_to_longest([each[name] for each in measured]) for name in measured[0]}


def one_process(root: str) -> dict[str, float]:
    """Have one process time itself."""
    command = [sys.executable, "-c", FIRST_RUNS, root]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def empty_run(runs: int) -> dict[str, float]:
    """Time from ``init()`` to the return of ``finish()`` with nothing logged."""
    took_ms = []
    with harness.storage() as root:
        for _ in range(runs + 1):
            begin = time.perf_counter()
            rn.init(storage=root).finish()
            took_ms.append((time.perf_counter() - begin) * MS)
    return harness.shortest_to_longest(took_ms[1:])


def first_heartbeat(runs: int) -> dict[str, Any]:
    """Time the writer's start: from the return of ``init()`` to its first tick, and what ``init()`` took."""
    inits_ms, ticks_ms = [], []
    with harness.storage() as root:
        for _ in range(runs + 1):
            begin = time.perf_counter()
            run = rn.init(storage=root)
            opened = time.perf_counter()
            harness.wait_for_heartbeat(run, poll_s=0.0002)
            ticks_ms.append((time.perf_counter() - opened) * MS)
            inits_ms.append((opened - begin) * MS)
            run.finish()
    return {
        "init": harness.shortest_to_longest(inits_ms[1:]),
        "after_init": harness.shortest_to_longest(ticks_ms[1:]),
    }


def idle_writer(idle_s: float, settle_s: float) -> dict[str, float]:
    """Measure a writer that has nothing to do, once it has backed off."""
    with harness.live_run() as run:
        run.log({"loss": 1.0})
        harness.wait_until_stored(run, 1)
        writer = harness.writer_of(run)
        time.sleep(settle_s)
        begin, before = time.perf_counter(), writer.cpu_times()
        time.sleep(idle_s)
        elapsed_s, after = time.perf_counter() - begin, writer.cpu_times()
        cpu_s = after.user + after.system - before.user - before.system
        return {
            "watched_s": elapsed_s,
            "cpu_s": cpu_s,
            "cpu_percent": 100 * cpu_s / elapsed_s,
            "rss_bytes": writer.memory_info().rss,
            "private_bytes": harness.private_bytes(writer),
            "threads": writer.num_threads(),
        }


# --- tables -----------------------------------------------------------------------------------------------


def tabulate(figures: dict[str, Any]) -> list[harness.Table]:
    """Make a table of times, and one of the idle writer."""
    return [_times(figures), _idle(figures["idle_writer"])]


def _times(figures: dict[str, Any]) -> harness.Table:
    ours, msgspec, first = figures["import_runicorn_ms"], figures["import_msgspec_ms"], figures["first_runs_ms"]
    heartbeat = figures["heartbeat_ms"]
    return harness.Table(
        title="Times",
        columns=["ms", "median", "min", "max", "of", "target"],
        rows=[
            _row("a bare interpreter, a process", ours["bare"]),
            _row("the same with import runicorn", ours["with"]),
            _row("import runicorn over bare, pair by pair", ours["difference"], IMPORT_TARGET_MS),
            _row("import msgspec over bare, pair by pair", msgspec["difference"]),
            _row("import msgspec, inside", first["import_msgspec_ms"]),
            _row("import runicorn after that, inside", first["import_runicorn_ms"]),
            _row("first init(), msgspec imported", first["first_init_ms"], FIRST_INIT_TARGET_MS),
            _row("first finish(), nothing logged", first["first_finish_ms"]),
            _row("second init()", first["second_init_ms"], SECOND_INIT_TARGET_MS),
            _row("an empty run, init() to the end of finish()", figures["empty_run_ms"]),
            _row("a later init(), many runs", heartbeat["init"]),
            _row("the writer's first tick after init() returned", heartbeat["after_init"]),
        ],
        note="Targets are for the median.",
    )


def _row(name: str, spread: dict[str, float], target_ms: float | None = None) -> list[str]:
    target = f"<= {target_ms:g} {harness.verdict(spread['median'], target_ms)}" if target_ms else ""
    return [name, *_cells([spread["median"], spread["min"], spread["max"]]), f"{spread['count']}", target]


def _cells(values: Sequence[float]) -> list[str]:
    return [f"{value:.1f}" for value in values]


def _idle(idle: dict[str, float]) -> harness.Table:
    return harness.Table(
        title="The writer of an idle run",
        columns=["", "figure"],
        rows=[
            ["watched for, s", f"{idle['watched_s']:.1f}"],
            ["CPU, % of a core", f"{idle['cpu_percent']:.2f}"],
            ["RSS, MiB", f"{idle['rss_bytes'] / MIB:.1f}"],
            ["of that not shared, MiB", f"{idle['private_bytes'] / MIB:.1f}"],
            ["threads", f"{idle['threads']}"],
        ],
        note="The kernel counts CPU time in ticks of 10 ms: 0.1 % of 10 s is one tick.",
    )


if __name__ == "__main__":
    harness.Bench(
        question="What does tracking cost a program that starts, and one that waits?",
        measure=measure,
        tabulate=tabulate,
    ).main()
