"""Does ``log()`` make system calls?

A program under ``strace`` logs a thousand records inside one segment, between two marks (a ``stat`` of a path that
says so): flat out, then spread over a second and a half, in which ``log()`` looks after the writer a few times. It goes
on between two other marks until a new segment was opened. Only its main thread is traced: it has no other, which the
program checks.
"""

from __future__ import annotations

import collections
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import harness

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

CALLS = 1_000
TRACE_LIMIT_S = 120
CALL_LINE = re.compile(r"^(?:\d+\s+)?(\w+)\(")

# No f-string: the braces are Python's own.
PROGRAM = """
import json, os, sys, threading, time

import runicorn as rn

CALLS = 1_000
MOST_CALLS = 1_000_000
DATA = {"loss": 0.6931, "accuracy": 0.8125, "lr": 3e-4, "grad_norm": 1.732}


def mark(name):
    try:
        os.stat(f"/runicorn-bench-mark-{name}")
    except OSError:
        pass


def until_rotation():
    push = run._queue.push
    for number in range(1, MOST_CALLS):
        run.log(DATA)
        if run._queue.push is not push:
            return number
    raise SystemExit("no segment was opened")


with rn.init(storage=sys.argv[1]) as run:
    # Every five seconds a call sees to the spool's names. A tracer makes this program slow enough for that to happen.
    run._session._repair_at = float("inf")
    run.log(DATA)
    until_rotation()
    mark("within-begin")
    for _ in range(CALLS):
        run.log(DATA)
    mark("within-end")
    mark("paced-begin")
    for _ in range(CALLS):
        until = time.perf_counter() + 1.5e-3
        while time.perf_counter() < until:
            pass
        run.log(DATA)
    mark("paced-end")
    mark("rotation-begin")
    calls_until_rotation = until_rotation()
    mark("rotation-end")
    threads = threading.active_count()
    tasks = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else None
    print(json.dumps({"python_threads": threads, "tasks": tasks, "calls_until_rotation": calls_until_rotation}))
"""


def measure(_arguments: argparse.Namespace) -> dict[str, Any]:
    """Trace the program, or say why that is not possible."""
    reason = why_not()
    if reason:
        return {"available": False, "reason": reason}
    with harness.storage() as root, tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace") as trace:
        command = ["strace", "-qq", "-o", trace.name, sys.executable, "-c", PROGRAM, root]
        traced = subprocess.run(
            command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=True, text=True, timeout=TRACE_LIMIT_S
        )
        calls = names_of(trace)
    return {
        "available": True,
        "calls": CALLS,
        "within_segment": dict(collections.Counter(between(calls, "within"))),
        "within_segment_paced": dict(collections.Counter(between(calls, "paced"))),
        "rotation": dict(collections.Counter(between(calls, "rotation"))),
        **json.loads(traced.stdout),
    }


def why_not() -> str:
    """Tell why nothing can be traced here; empty if it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"strace may not be used here: {(tried.stderr.strip().splitlines() or ['no message'])[-1]}"
    return ""


def names_of(trace: Iterable[str]) -> list[str]:
    """Give the name of each system call, and of a mark its own name, in order; signals have none."""
    names = []
    for line in trace:
        marked = re.search(r"/runicorn-bench-mark-([\w-]+)", line)
        called = CALL_LINE.match(line)
        if marked:
            names.append(f"mark {marked[1]}")
        elif called:
            names.append(called[1])
    return names


def between(names: list[str], mark: str) -> list[str]:
    """Give those between two marks."""
    return names[names.index(f"mark {mark}-begin") + 1 : names.index(f"mark {mark}-end")]


def tabulate(figures: dict[str, Any]) -> list[harness.Table]:
    """Make the one table."""
    if not figures["available"]:
        rows = [["not measured", figures["reason"]]]
        return [harness.Table("System calls", ["", "why"], rows)]
    calls = f"{figures['calls']:,} log() calls within a segment"
    until = f"{figures['calls_until_rotation']:,} log() calls, the last of which opened a segment"
    rows = [
        [f"{calls}, flat out", *_cells(figures["within_segment"])],
        [f"{calls}, spread over 1.5 s", *_cells(figures["within_segment_paced"])],
        [until, *_cells(figures["rotation"])],
    ]
    return [
        harness.Table(
            title="System calls of the training process",
            columns=["", "system calls", "which"],
            rows=rows,
            note=f"Threads of that process: {figures['python_threads']}.",
        )
    ]


def _cells(counts: dict[str, int]) -> list[str]:
    which = ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))
    return [str(sum(counts.values())), which or "none"]


if __name__ == "__main__":
    harness.Bench(question="Does log() make system calls?", measure=measure, tabulate=tabulate).main()
