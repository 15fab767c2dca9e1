"""What do ten readers of a live run see, and what do they cost its writer?

A program logs four floats a step flat out, at most a given number of records ahead of what is stored: so the writer
has always something to do, and the spool's budget is never used up. Ten processes have opened the run by
``runicorn.load`` and read it on by ``refresh()``. The values are known from the step, so after each refresh all points
of one metric that were not checked yet are compared, to the last bit; the four take turns, and at the end all of each
have been.

Stretches alternate in each run: in every second one the readers are stopped (SIGSTOP), and one in which they read is
compared with the two around it. Where there are more processes than cores the scheduler gives the writer less of a
core, whatever these processes do. So there are two runs. In one the readers refresh twice a second and have the lowest
priority, so that they take little but what is left of the cores: what the writer stores in a second then shows what
readers do to it by locks, memory and the disk. In the other they are as important as the writer, and never pause:
there records per CPU second of the writer show the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import harness
import throughput

import runicorn as rn

if TYPE_CHECKING:
    import argparse

SECONDS, STRETCHES, READERS = 60.0, 13, 10
QUICK_SECONDS, QUICK_STRETCHES, QUICK_READERS = 0.3, 3, 2
CASES = {"yielding": 0.5, "greedy": 0.0}
"""How long a reader pauses from the beginning of a refresh to the next, in seconds."""
TEXTS = {
    "yielding": "a refresh each 0.5 s where the cores allow, lowest priority",
    "greedy": "refreshes without a pause, the priority of the writer",
}
AHEAD = 500_000
LOOK_EVERY = 1_000
RATIO_TARGET = 0.95
LIMIT_S = 400.0

# A reader is told on its standard input, at the end, how many records there are.
READER = """
import json, os, select, sys, time
import numpy as np
import runicorn as rn

VALUES = {
    "loss": lambda v: 1.0 - v,
    "accuracy": lambda v: v,
    "lr": lambda v: np.full(len(v), 3e-4),
    "grad_norm": lambda v: 1.0 + v,
}
PAUSE_S = float(sys.argv[2])
if PAUSE_S and hasattr(os, "SCHED_IDLE"):
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
elif PAUSE_S:
    os.nice(19)
run = rn.load(sys.argv[1])
checked = dict.fromkeys(VALUES, 0)


def check(name):
    if name not in run:
        return
    column, first = run[name], checked[name]
    assert len(column) >= first, f"{name} has shrunk from {first} to {len(column)} values"
    number = np.arange(first, len(column))
    assert np.array_equal(np.asarray(column.step)[first:], number + 1), f"steps of {name} after {first}"
    found = np.asarray(column.value)[first:]
    assert np.array_equal(found, VALUES[name](number * 1e-6)), f"values of {name} after {first}"
    checked[name] = len(column)


check("loss")
print("open", flush=True)
refreshes, used_s = 0, time.process_time()
pause_s = PAUSE_S
while not select.select([0], [], [], pause_s)[0]:
    begin = time.monotonic()
    run.refresh()
    refreshes += 1
    check(list(VALUES)[refreshes % len(VALUES)])
    pause_s = max(0.0, PAUSE_S - (time.monotonic() - begin))
used_s = time.process_time() - used_s
records = int(sys.stdin.readline())
for name in VALUES:
    run = rn.load(sys.argv[1])  # anew: ten readers with all columns of twenty million records would need 20 GB
    check(name)
assert set(checked.values()) == {records}, f"{checked} of {records}"
assert run.problems == [], run.problems
print(json.dumps({"checked": sum(checked.values()), "refreshes": refreshes, "cpu_s": used_s}))
"""


class Readers:
    """So many processes that read a run."""

    def __init__(self, run_dir: str, count: int, pause_s: float, root: str) -> None:
        source = pathlib.Path(__file__).parents[1] / "src"
        environment = {**os.environ, "RUNICORN_CACHE_DIR": os.path.join(root, "cache")}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(source), os.environ.get("PYTHONPATH")]))
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-c", READER, run_dir, str(pause_s)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
            for _ in range(count)
        ]

    def wait_open(self) -> None:
        """Return when each has opened the run."""
        for process in self._processes:
            process.stdout.readline()

    def signal(self, number: int) -> None:
        """Stop them, or have them go on."""
        for process in self._processes:
            process.send_signal(number)

    def end(self, records: int) -> tuple[list[dict[str, Any]], list[str]]:
        """What those that did well have told, and the last words of those that did not."""
        for process in self._processes:
            with contextlib.suppress(BrokenPipeError):  # it has failed: its end tells why
                process.stdin.write(f"{records}\n")
                process.stdin.flush()
        told, errors = [], []
        for process in self._processes:
            out, error = process.communicate(timeout=LIMIT_S)
            if process.returncode:
                errors.append((error.strip().splitlines() or [f"ended with {process.returncode}"])[-1])
            else:
                told.append(json.loads(out))
        return told, errors

    def kill(self) -> None:
        """End those that live."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.communicate()


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Play a run for each kind of readers."""
    seconds = arguments.seconds or (QUICK_SECONDS if arguments.quick else SECONDS)
    stretches = QUICK_STRETCHES if arguments.quick else STRETCHES
    count = arguments.readers or (QUICK_READERS if arguments.quick else READERS)
    runs = {case: one_run(seconds / stretches, stretches, count, pause_s) for case, pause_s in CASES.items()}
    return {"seconds": seconds, "readers": count, "runs": runs}


def one_run(stretch_s: float, stretches: int, count: int, pause_s: float) -> dict[str, Any]:
    """Log, while readers read in every second stretch; then have each of them check what is left."""
    with harness.storage() as root:
        throughput.warm_up(root)
        run = rn.init(storage=root)
        harness.wait_for_heartbeat(run)
        readers = Readers(str(run.run_dir), count, pause_s, root)
        try:
            readers.wait_open()
            records, played = play(run, readers, stretch_s, stretches)
            readers.signal(signal.SIGCONT)
            run.finish()
            told, errors = readers.end(records)
        finally:
            readers.kill()
        lost = json.loads((run.run_dir / "status.json").read_bytes()).get("lost_records", 0)
    return {
        "records": records,
        "lost_records": lost,
        "ended_well": len(told),
        "errors": errors,
        "values_checked": sum(each["checked"] for each in told),
        "refreshes": sum(each["refreshes"] for each in told),
        "readers_cpu_s": sum(each["cpu_s"] for each in told),
        "stretches": played,
        "ratios": ratios(played),
    }


def play(run: Any, readers: Readers, stretch_s: float, stretches: int) -> tuple[int, list[dict[str, Any]]]:
    """Log through all stretches, the first and the last of which nobody reads in; how many records, and what of each.

    The readers are stopped when it returns.
    """
    writer, control = harness.writer_of(run), run._session.control
    played: list[dict[str, Any]] = []
    number = 0
    for stretch in range(stretches):
        is_read = stretch % 2 == 1
        readers.signal(signal.SIGCONT if is_read else signal.SIGSTOP)
        before, begin = (control.stored_records, cpu_s(writer)), time.perf_counter()
        while time.perf_counter() - begin < stretch_s:
            if number - control.stored_records > AHEAD:
                time.sleep(0.001)
                continue
            number = log_some(run, number)
        elapsed_s = time.perf_counter() - begin
        stored, used_s = control.stored_records - before[0], cpu_s(writer) - before[1]
        played.append(
            {
                "is_read": is_read,
                "elapsed_s": elapsed_s,
                "stored": stored,
                "writer_cpu_s": used_s,
                "records_per_s": stored / elapsed_s,
                "records_per_cpu_s": stored / used_s if used_s else 0.0,
            }
        )
    return number, played


def log_some(run: Any, first: int) -> int:
    """Log a thousand steps as a training loop does, without the training; the number of the next."""
    for number in range(first, first + LOOK_EVERY):
        value = number * 1e-6
        run.log({"loss": 1.0 - value, "accuracy": value, "lr": 3e-4, "grad_norm": 1.0 + value})
    return first + LOOK_EVERY


def cpu_s(writer: Any) -> float:
    """CPU seconds of the writer so far."""
    times = writer.cpu_times()
    return times.user + times.system


def ratios(played: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each stretch with readers over the mean of the two around it: median, least and most."""
    return {
        name: harness.shortest_to_longest(
            [
                2 * stretch[name] / ((before[name] + after[name]) or 1.0)
                for before, stretch, after in zip(played, played[1:], played[2:], strict=False)
                if stretch["is_read"]
            ]
        )
        for name in ("records_per_s", "records_per_cpu_s")
    }


def tabulate(figures: dict[str, Any]) -> list[harness.Table]:
    """One table for the writer, and one for what was read."""
    return [_writer_table(figures), _reading_table(figures)]


def _writer_table(figures: dict[str, Any]) -> harness.Table:
    rows = []
    for case, run in figures["runs"].items():
        row = [TEXTS[case]]
        for name, ratio in run["ratios"].items():
            for is_read in (False, True):
                speeds = [stretch[name] for stretch in run["stretches"] if stretch["is_read"] is is_read]
                row.append(f"{harness.median(speeds):,.0f}")
            verdict = "met" if ratio["median"] >= RATIO_TARGET else "missed"
            row.append(f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f}), {verdict}")
        rows.append(row)
    processes = figures["readers"] + 2
    return harness.Table(
        title=f"The writer beside {figures['readers']} readers, {figures['seconds']:g} s flat out",
        columns=[
            *("each reader", "records/s, alone", "beside readers", f"ratio, target >= {RATIO_TARGET:g}"),
            *("records per CPU s of the writer, alone", "beside readers", f"ratio, target >= {RATIO_TARGET:g}"),
        ],
        rows=rows,
        note="Medians of the stretches; a ratio is that to the two stretches around it. "
        f"{processes} processes, the program, its writer and the readers, had {os.cpu_count()} cores here: what the "
        "writer stores in a second beside readers of its own priority is the scheduler's answer, not ours.",
    )


def _reading_table(figures: dict[str, Any]) -> harness.Table:
    rows = [
        [
            TEXTS[case],
            f"{run['records']:,}",
            f"{run['refreshes']:,}",
            f"{run['readers_cpu_s']:.0f}",
            f"{run['values_checked']:,}",
            f"{run['ended_well']} of {figures['readers']}"
            + ("".join(f"; {error}" for error in run["errors"]) or ", each reading a beginning, the last one all"),
            f"{run['lost_records']:,}",
        ]
        for case, run in figures["runs"].items()
    ]
    return harness.Table(
        title="What they read",
        columns=["each reader", "records", "refreshes", "CPU s", "values compared", "ended well", "records refused"],
        rows=rows,
        note="Refreshes and CPU seconds are of all readers together, up to the last record.",
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How long, and how many."""
    parser.add_argument("--seconds", type=float, help=f"how long the program logs ({SECONDS:g})")
    parser.add_argument("--readers", type=int, help=f"how many processes read ({READERS})")


if __name__ == "__main__":
    harness.Bench(
        question="What do ten readers of a live run see, and what do they cost its writer?",
        measure=measure,
        tabulate=tabulate,
        add_arguments=add_arguments,
    ).main()
