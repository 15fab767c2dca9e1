"""What is logged, and at which moments: the same for every tracker."""

from __future__ import annotations

import contextlib
import threading
import time
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Log = Callable[[dict[str, float]], Any]

FOUR = {"loss": 0.6931, "accuracy": 0.8125, "lr": 3e-4, "grad_norm": 1.732}
PACE_S = 0.001
ADDITIONS, COPIED_BYTES = 20_000, 16 * 1024 * 1024
LOOK_EVERY_CALLS = 16


def payload(floats: int) -> dict[str, float]:
    """The four, or as many as there are names of layers."""
    return FOUR if floats == len(FOUR) else {f"layer{index:03d}/grad_norm": index / 7 for index in range(floats)}


def flat_out(log: Log, counts: dict[str, Any]) -> dict[str, Any]:
    """Call after call, each between two readings of the clock, until there are enough or time is up."""
    data = payload(counts["floats"])
    samples_ns: list[int] = []
    deadline = time.monotonic() + counts["budget_s"]
    while len(samples_ns) < counts["calls"] and time.monotonic() < deadline:
        for _ in range(min(LOOK_EVERY_CALLS, counts["calls"] - len(samples_ns))):
            fresh = data.copy()
            begin = perf_counter_ns()
            log(fresh)
            end = perf_counter_ns()
            samples_ns.append(end - begin)
    return {"calls": len(samples_ns), "samples_ns": samples_ns}


def cold(log: Log, counts: dict[str, Any]) -> dict[str, Any]:
    """A call a step: between two calls, pure Python for about a millisecond, then a copy of 16 MiB."""
    data, source = payload(counts["floats"]), bytes(COPIED_BYTES)
    samples_ns: list[int] = []
    deadline = time.monotonic() + counts["budget_s"]
    while len(samples_ns) < counts["calls"] and time.monotonic() < deadline:
        sum(each * each for each in range(ADDITIONS))
        bytearray(source)
        fresh = data.copy()
        begin = perf_counter_ns()
        log(fresh)
        end = perf_counter_ns()
        samples_ns.append(end - begin)
    return {"calls": len(samples_ns), "samples_ns": samples_ns}


def paced(log: Log, counts: dict[str, Any]) -> dict[str, Any]:
    """A call each millisecond beside a CPU-bound thread.

    What a wait for the GIL has delayed is made up for: the moments are planned ahead, and only who is early sleeps.
    """
    data = payload(counts["floats"])
    samples_ns: list[int] = []
    with busy_thread():
        start = time.monotonic()
        while len(samples_ns) < counts["calls"] and time.monotonic() - start < counts["budget_s"]:
            early_s = start + len(samples_ns) * PACE_S - time.monotonic()
            if early_s > 0:
                time.sleep(early_s)
            fresh = data.copy()
            begin = perf_counter_ns()
            log(fresh)
            end = perf_counter_ns()
            samples_ns.append(end - begin)
        took_s = time.monotonic() - start
    return {"calls": len(samples_ns), "samples_ns": samples_ns, "calls_per_s": len(samples_ns) / took_s}


@contextlib.contextmanager
def busy_thread() -> Iterator[None]:
    """Run pure Python in a second thread, as data loading often does."""
    stop = threading.Event()

    def work() -> None:
        total = 0
        while not stop.is_set():
            for number in range(1_000):
                total += number * number

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def training(log: Log, counts: dict[str, Any]) -> dict[str, Any]:
    """Blocks of training steps that log and of steps that do not, in turn.

    A step that logs makes two calls: four floats, and fifty. Blocks, not single steps, so that what a tracker does
    later in threads of its own falls, for the most part, on the steps that caused it. Of each block: the median of its
    steps, and the CPU time of the process a step.
    """
    step = make_step(counts["step_s"])
    four, fifty = payload(4), payload(50)
    steps = counts["block_steps"]
    pairs_s: list[list[float]] = []
    pairs_cpu_s: list[list[float]] = []
    deadline = time.monotonic() + counts["budget_s"]
    for number in range(counts["pairs"]):
        if time.monotonic() > deadline:
            break
        pair_s, pair_cpu_s = [0.0, 0.0], [0.0, 0.0]
        for logs in (False, True) if number % 2 else (True, False):
            took_s = []
            cpu_begin = time.process_time()
            for _ in range(steps):
                begin = time.perf_counter()
                step()
                fresh_four, fresh_fifty = four.copy(), fifty.copy()  # in both kinds: their values are there anyway
                if logs:
                    log(fresh_four)
                    log(fresh_fifty)
                took_s.append(time.perf_counter() - begin)
            pair_cpu_s[logs] = (time.process_time() - cpu_begin) / steps
            pair_s[logs] = sorted(took_s)[steps // 2]
        pairs_s.append(pair_s)
        pairs_cpu_s.append(pair_cpu_s)
    return {"calls": 2 * steps * len(pairs_s), "pairs_s": pairs_s, "pairs_cpu_s": pairs_cpu_s}


def make_step(target_s: float) -> Callable[[], None]:
    """A step of gradient descent on a small network, in numpy, repeated until it takes as long as asked for."""
    import numpy as np

    draw = np.random.default_rng(7)
    inputs, truth = (draw.standard_normal((64, 128), dtype=np.float32) for _ in range(2))
    weights = [draw.standard_normal((128, 128), dtype=np.float32) * np.float32(0.05) for _ in range(2)]

    def once() -> None:
        hidden = np.tanh(inputs @ weights[0])
        error = hidden @ weights[1] - truth
        back = (error @ weights[1].T) * (1 - hidden * hidden)
        weights[1] -= np.float32(1e-5) * (hidden.T @ error)
        weights[0] -= np.float32(1e-5) * (inputs.T @ back)

    took_s = []
    for _ in range(200):
        begin = time.perf_counter()
        once()
        took_s.append(time.perf_counter() - begin)
    repeats = max(1, round(target_s / sorted(took_s)[len(took_s) // 4]))

    def step() -> None:
        for _ in range(repeats):
            once()

    return step


LOOPS = {"cold": cold, "flat": flat_out, "busy": paced, "fifty": flat_out, "thousand": flat_out, "training": training}
