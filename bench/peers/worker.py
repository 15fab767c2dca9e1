"""One workload on one tracker, in an interpreter of that tracker's own environment.

::

    python worker.py ADAPTER WORKLOAD DIRECTORY COUNTS
    python worker.py ADAPTER read DIRECTORY {}

``COUNTS`` is a JSON object. It talks with the harness in lines of JSON: what it says goes to the standard output that
it was started with, which no code of a tracker gets to see, and after each it waits for a line on its standard input.
So the harness looks at it from outside (memory, threads, helpers) at moments that are the same for every tracker. Only
the standard library is used beside the tracker, and numpy in the training loop.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import loops

sys.path.append(sys.path.pop(0))  # this folder last: no module of ours stands before one that a tracker imports

if TYPE_CHECKING:
    from collections.abc import Callable

    Log = Callable[[dict[str, float]], Any]


class Harness:
    """The other end of this process's first standard streams."""

    def __init__(self) -> None:
        # Copies by dup are not inherited: no helper of a tracker keeps the pipe open.
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        self._in = os.fdopen(os.dup(0), encoding="utf-8")
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        os.close(nothing)

    def tell(self, stage: str, **facts: Any) -> None:
        """Say where we are, and go on when the harness has seen it."""
        print(json.dumps({"stage": stage, **facts}), file=self._out, flush=True)
        if not self._in.readline():
            sys.exit("the harness is gone")


def track(harness: Harness, adapter_name: str, workload: str, directory: str, counts: dict[str, Any]) -> None:
    """Open a run, play the workload, finish, and tell the figures."""
    harness.tell("bare")
    begin = time.perf_counter()
    adapter = importlib.import_module(f"adapters.{adapter_name}")
    imported = time.perf_counter()
    log, finish = adapter.start(directory)
    opened = time.perf_counter()
    if workload == "kill":
        harness.tell("open")
        call_and_die(log, counts)
    first = loops.payload(counts["floats"])
    for _ in range(counts["warm_up"]):
        log(first.copy())
    harness.tell("open")
    cpu_begin = time.process_time()
    played = loops.LOOPS[workload](log, counts)
    harness.tell("called", import_s=imported - begin, init_s=opened - imported, **played)
    harness.tell("settled", cpu_s=time.process_time() - cpu_begin)
    finishing = time.perf_counter()
    finish()
    harness.tell("finished", finish_s=time.perf_counter() - finishing)


def call_and_die(log: Log, counts: dict[str, Any]) -> None:
    """Log, and be killed as soon as the last call has returned; a slow tracker is killed after fewer calls."""
    four = loops.payload(4)
    made = os.open(counts["made_path"], os.O_WRONLY | os.O_CREAT)
    deadline = time.monotonic() + counts["budget_s"]
    calls = 0
    while calls < counts["calls"] and (calls % 100 or time.monotonic() < deadline):
        log(four.copy())
        calls += 1
    if calls < counts["calls"]:
        os.pwrite(made, str(calls).encode(), 0)
    os.kill(os.getpid(), signal.SIGKILL)


def read(harness: Harness, adapter_name: str, directory: str) -> None:
    """Count the whole records that can be read back, whenever the harness asks."""
    adapter = importlib.import_module(f"adapters.{adapter_name}")
    harness.tell("ready")
    while True:
        problem = ""
        count = 0
        try:
            count = adapter.read_back(directory)
        except Exception as error:  # noqa: BLE001 - nothing there yet, or half written: both are answers
            problem = f"{type(error).__name__}: {error}"[:300]
        harness.tell("read", count=count, problem=problem)


def main() -> None:
    """Do what the command line says, and leave without asking the tracker."""
    adapter_name, workload, directory, counts = sys.argv[1:]
    harness = Harness()
    if workload == "read":
        with contextlib.suppress(SystemExit):
            read(harness, adapter_name, directory)
        os._exit(0)
    track(harness, adapter_name, workload, directory, json.loads(counts))


if __name__ == "__main__":  # some trackers start their helpers by spawn
    main()
