"""How long does ``run.log()`` take, beside the least that any tracker must do?

The floor is "read the clock, encode the same record", written in line, without even a function call. Ours is the whole
public call. Blocks of the two alternate in one process, with a clock around each call; the dict of a call is made
outside of the clock, as its values would be. The cost of the clock itself is reported and not subtracted.

A machine that interrupts every program for 40 us, 300 times a second, hits the longer of two calls more often: the
99.9th percentile of any call of 2 us is then 40 us. So a third kind of block alternates with the two: an empty loop
that takes as long as our median. What its tail has, the machine did.

``--parts`` adds where the time goes.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from dataclasses import dataclass
from time import perf_counter_ns, time
from typing import TYPE_CHECKING, Any

import harness
import parts

from runicorn.queue.records import Metrics, encode

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    Block = Callable[[int, list[int]], None]
    """So many calls, each one's nanoseconds appended to the list."""

BLOCK_CALLS = 2_000
FLAT_OUT, BUSY, STOPPED = "flat out", "beside a CPU-bound thread", "the writer stopped"
BUSY_MEAN_TARGET_US = 10.0
RATIO_TARGET = 5.0


@dataclass(frozen=True)
class Payload:
    """What one row logs, and the target of its median."""

    name: str
    data: dict[str, Any]
    encoded_as: dict[str, Any]
    by_keyword: bool = False
    p50_target_us: float | None = None
    p50_ratio_target: float | None = None


def payloads() -> list[Payload]:
    """Make the rows; those with numpy only where it is installed."""
    four = {"loss": 0.6931, "accuracy": 0.8125, "lr": 3e-4, "grad_norm": 1.732}
    fifty = {f"layer{index:02d}/grad_norm": index / 7 for index in range(50)}
    with_int = {**four, "epoch": 3}
    rows = [
        Payload("four floats (dict)", four, four, p50_target_us=2.0, p50_ratio_target=5.0),
        Payload("four floats (keywords)", four, four, by_keyword=True, p50_target_us=2.0, p50_ratio_target=5.0),
        Payload("four floats and an int", with_int, with_int),
        Payload("fifty floats", fifty, fifty, p50_target_us=8.0),
    ]
    with contextlib.suppress(ImportError):
        import numpy as np

        scalars = {name: np.float32(value) for name, value in four.items()}
        rows.append(Payload("four np.float32", scalars, four, p50_target_us=4.0))
    return rows


# --- the blocks: a clock around each call ---------------------------------------------------------------


def floor_block(data: dict[str, Any], calls: int, samples_ns: list[int]) -> None:
    """Read the clock and encode, in line."""
    for step in range(calls):
        fresh = data.copy()
        begin = perf_counter_ns()
        encode(Metrics(time(), step, fresh, None))
        end = perf_counter_ns()
        samples_ns.append(end - begin)


def log_block(run: Any, data: dict[str, Any], calls: int, samples_ns: list[int]) -> None:
    """Log a dict."""
    for _ in range(calls):
        fresh = data.copy()
        begin = perf_counter_ns()
        run.log(fresh)
        end = perf_counter_ns()
        samples_ns.append(end - begin)


def spin_block(loops: int, calls: int, samples_ns: list[int]) -> None:
    """Do nothing for so many turns of a loop."""
    for _ in range(calls):
        turns = itertools.repeat(None, loops)
        begin = perf_counter_ns()
        for _ in turns:
            pass
        end = perf_counter_ns()
        samples_ns.append(end - begin)


def keyword_block(run: Any, calls: int, samples_ns: list[int]) -> None:
    """Log four floats as keywords, written out as a user writes them."""
    loss, accuracy, lr, grad_norm = 0.6931, 0.8125, 3e-4, 1.732
    for _ in range(calls):
        begin = perf_counter_ns()
        run.log(loss=loss, accuracy=accuracy, lr=lr, grad_norm=grad_norm)
        end = perf_counter_ns()
        samples_ns.append(end - begin)


def push_block(push: Callable[[bytes], Any], data: dict[str, Any], calls: int, samples_ns: list[int]) -> None:
    """Do what the floor does, and push the bytes by another way."""
    for step in range(calls):
        fresh = data.copy()
        begin = perf_counter_ns()
        push(encode(Metrics(time(), step, fresh, None)))
        end = perf_counter_ns()
        samples_ns.append(end - begin)


def empty_block(calls: int, samples_ns: list[int]) -> None:
    """Read the clock twice and do nothing in between."""
    for _ in range(calls):
        begin = perf_counter_ns()
        end = perf_counter_ns()
        samples_ns.append(end - begin)


# --- the rows ---------------------------------------------------------------------------------------------


def alternate(calls: int, ours: Block, floor: Block) -> dict[str, Any]:
    """Alternate blocks of the floor, of ours and of nothing until each has its calls; each is warmed up before."""
    block = min(BLOCK_CALLS, calls)
    warm_ns: list[int] = []
    ours(block, warm_ns)
    floor(block, [])
    loops = loops_of(harness.spread_us(warm_ns)["p50_us"] * harness.NS_PER_US)
    gc.collect()  # what came before is not this row's garbage; collection itself stays on, as users have it
    ours_ns: list[int] = []
    floor_ns: list[int] = []
    spin_ns: list[int] = []
    for _ in range(calls // block):
        floor(block, floor_ns)
        ours(block, ours_ns)
        spin_block(loops, block, spin_ns)
    return compare(ours_ns, floor_ns, spin_ns)


def loops_of(length_ns: float) -> int:
    """How many turns of an empty loop take that long."""
    few, many = 0, 1_000
    few_ns: list[int] = []
    many_ns: list[int] = []
    spin_block(few, 200, few_ns)
    spin_block(many, 200, many_ns)
    turn_ns = (harness.median(many_ns) - harness.median(few_ns)) / many
    return max(0, round((length_ns - harness.median(few_ns)) / turn_ns))


def compare(ours_ns: list[int], floor_ns: list[int], spin_ns: list[int]) -> dict[str, Any]:
    """All three spreads, and ours in floors."""
    ours, floor, spin = map(harness.spread_us, (ours_ns, floor_ns, spin_ns))
    return {
        "calls": len(ours_ns),
        "ours": ours,
        "floor": floor,
        "spin": spin,
        "p50_ratio": ours["p50_us"] / floor["p50_us"],
        "p99_9_ratio": ours["p99_9_us"] / floor["p99_9_us"],
        "p99_9_spin_ratio": ours["p99_9_us"] / spin["p99_9_us"],
    }


def log_row(section: str, payload: Payload, calls: int) -> dict[str, Any]:
    """Measure one payload in a run of its own."""
    with harness.live_run() as run, around(section, run):

        def ours(count: int, samples_ns: list[int]) -> None:
            if payload.by_keyword:
                keyword_block(run, count, samples_ns)
            else:
                log_block(run, payload.data, count, samples_ns)

        row = alternate(calls, ours, lambda count, into: floor_block(payload.encoded_as, count, into))
    opened = opening_calls(section, payload, calls)
    return {
        "section": section,
        "payload": payload.name,
        **row,
        "segments": opened,
        "targets": targets_of(section, payload),
    }


def opening_calls(section: str, payload: Payload, calls: int) -> dict[str, Any]:
    """Count the calls that opened a segment, flat out, and time them; in a run that nothing else is timed in."""
    opened_ns = []
    with harness.live_run() as run, around(section, run):
        queue = run._queue
        run.log(payload.data)
        for _ in range(calls):
            fresh, push = payload.data.copy(), queue.push
            begin = perf_counter_ns()
            run.log(fresh)
            end = perf_counter_ns()
            if queue.push is not push:
                opened_ns.append(end - begin)
    spread = harness.spread_us(opened_ns) if opened_ns else {"p50_us": None, "max_us": None}
    return {"opened": len(opened_ns), "p50_us": spread["p50_us"], "max_us": spread["max_us"]}


def targets_of(section: str, payload: Payload) -> dict[str, float]:
    """Name the figures of a row that have a limit."""
    targets = {
        "p50_us": payload.p50_target_us if section != BUSY else None,
        "p50_ratio": payload.p50_ratio_target if section != BUSY else None,
        "p99_9_ratio": RATIO_TARGET,
        "mean_us": BUSY_MEAN_TARGET_US if section == BUSY else None,
    }
    return {name: limit for name, limit in targets.items() if limit is not None}


@contextlib.contextmanager
def around(section: str, run: Any) -> Iterator[None]:
    """Set up what a section measures beside."""
    if section == BUSY:
        with busy_thread():
            yield
    elif section == STOPPED:
        with stopped_writer(run):
            yield
    else:
        yield


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


@contextlib.contextmanager
def stopped_writer(run: Any) -> Iterator[None]:
    """Stop the run's writer, and let it go on afterwards."""
    writer = harness.writer_of(run)
    writer.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        writer.send_signal(signal.SIGCONT)


# --- other ways to push ---------------------------------------------------------------------------------


def other_rows(section: str, calls: int) -> list[dict[str, Any]]:
    """Measure a system call a record, and the standard library's queue, each beside its own floor."""
    data = payloads()[0].data
    rows = []
    for name, opened in (("write(2) to shared memory", opened_file), ("multiprocessing.Queue.put", opened_queue)):
        with opened() as (push, settle), around(section, None):

            def other(count: int, samples_ns: list[int], push: Any = push, settle: Any = settle) -> None:
                push_block(push, data, count, samples_ns)
                settle()

            row = alternate(calls, other, lambda count, into: floor_block(data, count, into))
        rows.append({"section": section, "payload": name, **row, "targets": {}})
    return rows


@contextlib.contextmanager
def opened_file() -> Iterator[tuple[Callable[[bytes], Any], Callable[[], None]]]:
    """Open a file where spools are."""
    directory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        fd = file.fileno()
        yield lambda payload: os.write(fd, payload), lambda: None


@contextlib.contextmanager
def opened_queue() -> Iterator[tuple[Callable[[bytes], Any], Callable[[], None]]]:
    """Open a queue with a consumer at its other end; settling waits until that has everything."""
    context = multiprocessing.get_context("spawn")
    queue, answers = context.Queue(), context.SimpleQueue()
    consumer = context.Process(target=consume, args=(queue, answers), daemon=True)
    consumer.start()

    def settle() -> None:
        queue.put(None)
        answers.get()

    try:
        settle()
        yield queue.put, settle
    finally:
        queue.put(b"")
        consumer.join(harness.DRAIN_S)
        queue.close()


def consume(queue: Any, answers: Any) -> None:
    """Take everything; answer each None, end at the empty record."""
    while (payload := queue.get()) != b"":
        if payload is None:
            answers.put(None)


# --- figures and tables -----------------------------------------------------------------------------------


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure every section."""
    calls = 500 if arguments.quick else 100_000
    other_calls = 50 if arguments.quick else 4_000
    empty_ns: list[int] = []
    empty_block(calls, empty_ns)
    rows = []
    for section in (FLAT_OUT, BUSY):
        rows += [log_row(section, payload, calls) for payload in payloads()]
        rows += other_rows(section, other_calls)
    if hasattr(signal, "SIGSTOP"):
        rows += [log_row(STOPPED, payload, calls) for payload in payloads()]
    figures = {
        "calls": calls,
        "timer_pair": harness.spread_us(empty_ns),
        "switch_interval_s": sys.getswitchinterval(),
        "rows": rows,
    }
    if arguments.parts:
        figures["parts_ns"] = parts.measure(quick=arguments.quick)
    return figures


def tabulate(figures: dict[str, Any]) -> list[harness.Table]:
    """Make one table a section."""
    sections = dict.fromkeys(row["section"] for row in figures["rows"])
    tables = [_section_table(section, figures) for section in sections]
    if "parts_ns" in figures:
        tables.append(parts.table(figures["parts_ns"]))
    return tables


def _section_table(section: str, figures: dict[str, Any]) -> harness.Table:
    timer = figures["timer_pair"]
    return harness.Table(
        title=f"One call, {section}",
        columns=[
            "us a call",
            *("p50", "p99", "p99.9", "max", "mean"),
            *("floor p50", "floor p99.9", "floor mean", "p50 / floor", "p99.9 / floor"),
            *("equal spin p99.9", "equal spin mean", "calls that opened a segment", "targets"),
        ],
        rows=[_cells(row) for row in figures["rows"] if row["section"] == section],
        note=(
            f"{figures['calls']:,} calls a row (fewer for other ways to push, which do what the floor does before). "
            f"In every figure: a timer pair, {timer['p50_us']:.2f} us p50, {timer['p99_9_us']:.2f} us p99.9. "
            "Equal spin: an empty loop that takes as long as our median; what its tail has, the machine did."
        ),
    )


def _cells(row: dict[str, Any]) -> list[str]:
    ours, floor, spin = row["ours"], row["floor"], row["spin"]
    return [
        row["payload"],
        *(f"{ours[name]:.2f}" for name in ("p50_us", "p99_us", "p99_9_us")),
        f"{ours['max_us']:,.0f}",
        *(f"{value:.2f}" for value in (ours["mean_us"], floor["p50_us"], floor["p99_9_us"], floor["mean_us"])),
        f"{row['p50_ratio']:.1f}",
        f"{row['p99_9_ratio']:.1f}",
        *(f"{value:.2f}" for value in (spin["p99_9_us"], spin["mean_us"])),
        _segments_text(row.get("segments")),
        _targets_text(row),
    ]


def _segments_text(segments: dict[str, Any] | None) -> str:
    if segments is None:
        return "-"
    if not segments["opened"]:
        return "0"
    return f"{segments['opened']}, {segments['p50_us']:,.0f} us each (max {segments['max_us']:,.0f})"


def _targets_text(row: dict[str, Any]) -> str:
    names = {"p50_us": "p50", "p50_ratio": "p50 ratio", "p99_9_ratio": "p99.9 ratio", "mean_us": "mean"}
    measured = {**row["ours"], "p50_ratio": row["p50_ratio"], "p99_9_ratio": row["p99_9_ratio"]}
    return "; ".join(
        f"{names[name]} <= {limit:g} {harness.verdict(measured[name], limit)}" for name, limit in row["targets"].items()
    )


if __name__ == "__main__":
    harness.Bench(
        question="How long does run.log() take, beside the least that any tracker must do?",
        measure=measure,
        tabulate=tabulate,
        add_arguments=lambda parser: parser.add_argument(
            "--parts", action="store_true", help="add where the time of a call goes"
        ),
    ).main()
