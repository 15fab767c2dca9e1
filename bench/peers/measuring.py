"""The figures of one worker process, from its start to its end."""

from __future__ import annotations

import contextlib
import os
import pathlib
import tempfile
import time
from typing import TYPE_CHECKING, Any

import harness
from processes import Reader, Worker, WorkerError

if TYPE_CHECKING:
    from roster import Tracker

FINISH_LIMIT_S = 60.0
LEAVING_LIMIT_S = 2.0
SETTLE_LIMIT_S = 10.0
STILL_S = 1.5


def measure_calls(tracker: Tracker, workload: str, counts: dict[str, Any]) -> dict[str, Any]:
    """Play one workload to its end.

    Raises:
        WorkerError: it did not come to the end of its calls.
    """
    with _home() as home, contextlib.ExitStack() as stack:
        in_full = workload == "flat"  # what the others would say of these is the same
        reads = in_full and tracker.adapter != "nothing"
        reader = stack.enter_context(contextlib.closing(Reader(tracker, home))) if reads else None
        worker = stack.enter_context(contextlib.closing(Worker(tracker, workload, home, counts)))
        worker.hear("bare")
        before = worker.look()
        worker.go_on()
        worker.hear("open")
        opened = worker.look()
        worker.go_on()
        told = worker.hear("called")
        called_at = time.perf_counter()
        found = added(before, opened, worker.look())
        expected = told["calls"] + counts["warm_up"]
        if reader:
            found |= _until_readable(reader, expected, called_at, counts["readable_limit_s"])
        worker.go_on()
        told |= worker.hear("settled")
        worker.go_on()
        try:
            told |= worker.hear("finished", FINISH_LIMIT_S if in_full else LEAVING_LIMIT_S)
            worker.go_on()
            worker.wait_for_end()
        except WorkerError as error:
            if in_full:
                found["finish_problem"] = str(error)
        if reader:
            found["unreadable_after_finish"] = expected - reader.count()["count"]
            found["bytes_per_record"] = size_bytes(os.path.join(home, "store")) / expected
        return {**figures_of(told), **found}


def added(before: dict[str, Any], opened: dict[str, Any], called: dict[str, Any]) -> dict[str, Any]:
    """What the tracker added to a bare interpreter; memory after the calls, helpers and threads at their most."""
    most = {name: max(opened[name], called[name]) for name in ("threads", "helpers", "helpers_rss_bytes")}
    return {
        "rss_added_bytes": called["rss_bytes"] - before["rss_bytes"],
        "helpers_rss_bytes": most["helpers_rss_bytes"],
        "helpers": most["helpers"],
        "threads_added": most["threads"] - before["threads"],
    }


def figures_of(told: dict[str, Any]) -> dict[str, Any]:
    """The figures of one worker: percentiles instead of samples."""
    figures = {name: told[name] for name in ("import_s", "init_s", "calls")}
    figures["finish_s"] = told.get("finish_s")
    figures["cpu_s_per_million"] = told["cpu_s"] / max(1, told["calls"]) * 1e6
    if "samples_ns" in told:
        figures |= harness.spread_us(told["samples_ns"])
    if "calls_per_s" in told:
        figures["calls_per_s"] = told["calls_per_s"]
    if "pairs_s" in told:
        figures |= on_top(told["pairs_s"], told["pairs_cpu_s"])
    return figures


def on_top(pairs_s: list[list[float]], pairs_cpu_s: list[list[float]]) -> dict[str, float]:
    """What logging adds to a step, from pairs of a block without and a block with it."""
    differences = sorted((logs - plain) * 1e6 for plain, logs in pairs_s)
    return {
        "step_us": harness.median([plain for plain, _ in pairs_s]) * 1e6,
        "on_top_us": harness.median(differences),
        "on_top_quarter_us": harness.percentile(differences, 25),
        "on_top_three_quarters_us": harness.percentile(differences, 75),
        "on_top_cpu_us": harness.median([(logs - plain) * 1e6 for plain, logs in pairs_cpu_s]),
        "pairs": len(differences),
    }


def measure_kill(tracker: Tracker, counts: dict[str, Any]) -> dict[str, Any]:
    """Have the training process killed after its last call, and count what can be read once nothing moves any more.

    Raises:
        WorkerError: it ended otherwise.
    """
    with _home() as home:
        made = pathlib.Path(home, "made")
        with contextlib.closing(Worker(tracker, "kill", home, {**counts, "made_path": str(made)})) as worker:
            worker.hear("bare")
            worker.go_on()
            worker.hear("open")
            worker.go_on()
            if worker.wait_for_end() >= 0:
                raise WorkerError(f"was not killed: {worker.last_words()}")
            settle_s = wait_until_still(worker, os.path.join(home, "store"))
            left = len(worker.helpers())
        with contextlib.closing(Reader(tracker, home)) as reader:
            found = reader.count()
        return {
            "calls": int(made.read_text() or counts["calls"]),
            "readable": found["count"],
            "problem": found["problem"],
            "helpers_left": left,
            "settle_s": settle_s,
        }


def wait_until_still(worker: Worker, directory: str) -> float:
    """Wait, for a bounded while, until no helper is left or no file grows; the seconds that it took."""
    begin = changed_at = time.monotonic()
    size = size_bytes(directory)
    while (now := time.monotonic()) - begin < SETTLE_LIMIT_S and now - changed_at < STILL_S:
        if not worker.helpers():
            break
        time.sleep(0.2)
        if (size_now := size_bytes(directory)) != size:
            size, changed_at = size_now, time.monotonic()
    return time.monotonic() - begin


def size_bytes(directory: str) -> int:
    """The sizes of all files below."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(folder, name)).st_size
    return total


def _home() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="runicorn-bench-", ignore_cleanup_errors=True)


def _until_readable(reader: Reader, expected: int, called_at: float, limit_s: float) -> dict[str, Any]:
    # None = not while the process lives: its last records wait for finish(), or for longer than we do.
    while time.perf_counter() - called_at < limit_s:
        found = reader.count()
        if found["count"] >= expected:
            return {
                "readable_s": time.perf_counter() - called_at,
                "readable_alive": found["count"],
                "reader_said": "",
            }
        time.sleep(0.02)
    return {"readable_s": None, "readable_alive": found["count"], "reader_said": found["problem"]}
