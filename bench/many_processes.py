"""What does ``log()`` cost in many processes of one run, and what does joining it cost each of them?

Forked producers log four floats flat out, all from the same moment on, with a clock around each call. Then the owner
finishes the run, and the file is read: each producer's steps must be there once and in order. The same is done
with a ``multiprocessing.Queue`` whose reader writes JSON lines, as people build it themselves. With more producers
than cores they share those, and a call that the scheduler interrupts is a long one: the column of one producer in the
same table says what the machine does to that.

Then processes join: the first ``log()`` opens a segment in shared memory. It is timed in processes that come one after
the other, and in as many that log at the same moment; a spawned one also has to unpickle the run, after its imports.

Last, what ``import runicorn`` costs each of eight processes that do it at the same moment, as ranks do, and each that
does it alone.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import pathlib
import pickle
import resource
import subprocess
import sys
from array import array
from time import perf_counter, perf_counter_ns, process_time_ns, time
from typing import TYPE_CHECKING, Any

import harness
import msgspec

import runicorn as rn

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

PRODUCERS = (1, 2, 4, 8, 16)
SECONDS = 5.0
JOINED, RECORDS_EACH = 64, 100
RANKS, IMPORT_ROUNDS = 8, 10
FIRST_LOG_TARGET_MS = 1.0
LIMIT_S = 300.0
NS_PER_MS = 1_000_000


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure all sizes of ours and of the queue in turn, then the joining."""
    sizes, seconds, joined = ((1, 2), 0.1, 2) if arguments.quick else (PRODUCERS, SECONDS, JOINED)
    flat_out = [
        {"producers": size, "ours": our_flat_out(size, seconds), "queue": queue_flat_out(size, seconds)}
        for size in sizes
    ]
    return {
        "seconds": seconds,
        "flat_out": flat_out,
        "joined": [
            join_run(method, joined, at_once=at_once) for method in ("fork", "spawn") for at_once in (False, True)
        ],
        "imports": imports(1 if arguments.quick else IMPORT_ROUNDS),
    }


# --- flat out ---------------------------------------------------------------------------------------------


def our_flat_out(producers: int, seconds: float) -> dict[str, Any]:
    """Let so many forked processes log, finish the run, and count what is on disk."""
    with harness.storage() as root:
        run = rn.init(storage=root)
        harness.wait_for_heartbeat(run)
        each, begin = produce_in_children(producers, lambda: run.log, seconds)
        produced_s = perf_counter() - begin
        run.finish()
        elapsed_s = perf_counter() - begin
        lost = json.loads((run.run_dir / "status.json").read_bytes()).get("lost_records", 0)
        counts = {f"{harness.address_of(run).host}-{one['pid']}": one["records"] + 1 for one in each}
        return {
            **summarise(each),
            "produced_s": produced_s,
            "elapsed_s": elapsed_s,
            "stored_per_s": sum(counts.values()) / elapsed_s,
            "refused": lost,
            **read_back(run.run_dir / "events.jsonl", counts),
        }


def queue_flat_out(producers: int, seconds: float) -> dict[str, Any]:
    """Do the same with a queue, whose reader ends when each producer has said so."""
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with harness.storage() as root:
        path = pathlib.Path(root, "events.jsonl")
        reader = context.Process(target=read_queue, args=(queue, producers, path))
        reader.start()

        def putter() -> Callable[[dict], None]:
            return lambda data: queue.put((time(), data))

        each, begin = produce_in_children(producers, putter, seconds, at_end=lambda: queue.put(None))
        reader.join(LIMIT_S)
        elapsed_s = perf_counter() - begin
        if reader.exitcode != 0:
            reader.kill()
            raise TimeoutError(f"the queue's reader had not ended after {LIMIT_S:.0f} s: {reader.exitcode=}")
        with path.open("rb") as file:
            lines = sum(1 for _ in file)
        queue.close()
        return {**summarise(each), "elapsed_s": elapsed_s, "stored": lines, "stored_per_s": lines / elapsed_s}


def read_queue(queue: Any, producers: int, path: pathlib.Path) -> None:
    """Write a line for each record until every producer has ended."""
    encode = msgspec.json.Encoder().encode
    with path.open("wb") as file:
        while producers:
            item = queue.get()
            if item is None:
                producers -= 1
            else:
                file.write(encode({"ts": item[0], "type": "metrics", "data": item[1]}) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def produce_in_children(
    producers: int,
    make_log: Callable[[], Callable[[dict], Any]],
    seconds: float,
    at_end: Callable[[], Any] = lambda: None,
) -> tuple[list[dict[str, Any]], float]:
    """Fork processes that all begin at the same moment; what each tells, and that moment."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(producers + 1)
    results = context.SimpleQueue()

    def child() -> None:
        log, costs_ns = make_log(), array("Q")
        log(floats(0))  # the first call opens a segment: its cost is in a table of its own
        barrier.wait(LIMIT_S)
        produce(log, seconds, costs_ns)
        at_end()
        results.put({"pid": os.getpid(), "records": len(costs_ns), **harness.spread_us(costs_ns)})

    children = [context.Process(target=child) for _ in range(producers)]
    for each in children:
        each.start()
    barrier.wait(LIMIT_S)
    begin = perf_counter()
    told = [results.get() for _ in children]
    for each in children:
        each.join(LIMIT_S)
        if each.exitcode != 0:
            raise RuntimeError(f"a producer ended with {each.exitcode}")
    return told, begin


def produce(log: Callable[[dict], Any], seconds: float, costs_ns: array) -> None:
    """Log flat out, with a clock around each call; the dict of a call is made outside of it."""
    end_at = perf_counter_ns() + int(seconds * 1e9)
    end = number = 0
    while end < end_at:
        number += 1
        data = floats(number)
        begin = perf_counter_ns()
        log(data)
        end = perf_counter_ns()
        costs_ns.append(end - begin)


def floats(number: int) -> dict[str, float]:
    """What a step of a training loop logs."""
    value = number * 1e-6
    return {"loss": 1.0 - value, "accuracy": value, "lr": 3e-4, "grad_norm": 1.0 + value}


def summarise(each: list[dict[str, Any]]) -> dict[str, Any]:
    """Make one row of what the producers have told."""
    return {
        "p50_us": harness.median([one["p50_us"] for one in each]),
        "p99_us": harness.median([one["p99_us"] for one in each]),
        "worst_p50_us": max(one["p50_us"] for one in each),
        "worst_p99_us": max(one["p99_us"] for one in each),
        "logged": sum(one["records"] + 1 for one in each),
        "each": each,
    }


def read_back(events: pathlib.Path, counts: dict[str, int]) -> dict[str, Any]:
    """Count what is on disk of each producer, and see whether its steps are there once and in order."""
    decode = msgspec.json.Decoder().decode
    seen: dict[str, int] = dict.fromkeys(counts, 0)
    lines = strangers = disordered = 0
    with events.open("rb") as file:
        for line in file:
            lines += 1
            record = decode(line)
            producer = record.get("producer")
            if producer not in seen:
                strangers += 1
                continue
            seen[producer] += 1
            disordered += record["data"]["global_step"] != seen[producer]
    return {"stored": lines, "all_there": seen == counts and not strangers and not disordered}


# --- joining --------------------------------------------------------------------------------------------


def join_run(method: str, processes: int, *, at_once: bool) -> dict[str, Any]:
    """Let so many processes log a few records each, one process after the other or all at the same moment."""
    context = multiprocessing.get_context(method)
    with harness.storage() as root:
        run = rn.init(storage=root)
        harness.wait_for_heartbeat(run)
        results = context.SimpleQueue()
        barrier = context.Barrier(processes if at_once else 1)
        # Forked, a child has the run from its parent; spawned, it unpickles the run itself, under the clock.
        given = run if method == "fork" else pickle.dumps(run)
        begin = perf_counter()
        children = [context.Process(target=log_few, args=(given, barrier, results)) for _ in range(processes)]
        told = []
        for child in children:
            child.start()
            if not at_once:
                told.append(results.get())
                child.join(LIMIT_S)
        if at_once:
            told = [results.get() for _ in children]
        for child in children:
            child.join(LIMIT_S)
            if child.exitcode != 0:
                raise RuntimeError(f"a joined process ended with {child.exitcode}")
        run.finish()
        elapsed_s = perf_counter() - begin
        counts = {f"{harness.address_of(run).host}-{one['pid']}": RECORDS_EACH for one in told}
        return {
            "method": method,
            "at_once": at_once,
            "processes": processes,
            "elapsed_s": elapsed_s,
            "first_log_ms": harness.shortest_to_longest([one["first_log_ns"] / NS_PER_MS for one in told]),
            "first_log_cpu_ms": harness.shortest_to_longest([one["first_log_cpu_ns"] / NS_PER_MS for one in told]),
            "unpickle_ms": harness.shortest_to_longest([one["unpickle_ns"] / NS_PER_MS for one in told]),
            "expected": processes * RECORDS_EACH,
            **read_back(run.run_dir / "events.jsonl", counts),
        }


def log_few(given: Any, barrier: Any, results: Any) -> None:
    """Be a joined process: time the unpickling, if there is one, and the first call."""
    importlib.import_module("runicorn.lifecycle.init")
    data = floats(1)
    barrier.wait(LIMIT_S)
    begin = perf_counter_ns()
    run = pickle.loads(given) if isinstance(given, bytes) else given
    cpu_begin = process_time_ns()
    joined = perf_counter_ns()
    run.log(data)
    end = perf_counter_ns()
    cpu_ns = process_time_ns() - cpu_begin
    for number in range(2, RECORDS_EACH + 1):
        run.log(floats(number))
    told = {"unpickle_ns": joined - begin, "first_log_ns": end - joined, "first_log_cpu_ns": cpu_ns}
    results.put({"pid": os.getpid(), **told})


# --- importing ------------------------------------------------------------------------------------------


def imports(rounds: int) -> dict[str, float]:
    """CPU time of ``import runicorn`` over a bare interpreter, a process: of one alone, and of eight at once."""
    took_ms: dict[str, list[float]] = {"alone": [], "at_once": []}
    for _ in range(rounds):
        for name, processes in (("alone", 1), ("at_once", RANKS)):
            bare, ours = (cpu_ms(code, processes, RANKS // processes) for code in ("pass", "import runicorn"))
            took_ms[name].append((ours - bare) / RANKS)
    return {f"{name}_ms": harness.median(each) for name, each in took_ms.items()}


def cpu_ms(code: str, at_once: int, times: int) -> float:
    """CPU time of all processes that are started to run a line of code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(times):
        for process in [subprocess.Popen([sys.executable, "-c", code]) for _ in range(at_once)]:
            process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


# --- the tables -------------------------------------------------------------------------------------------


def tabulate(figures: dict[str, Any]) -> list[harness.Table]:
    """Make a table of the calls, one of what arrives, and one of the joining."""
    return [_costs(figures), _rates(figures), _joining(figures), _importing(figures["imports"])]


def _costs(figures: dict[str, Any]) -> harness.Table:
    alone = figures["flat_out"][0]
    rows = [
        [
            f"{row['producers']} producer{'s' if row['producers'] > 1 else ''}",
            *(f"{row['ours'][name]:.2f}" for name in _SPREAD),
            *(f"{row['ours'][name] / alone['ours'][name]:.1f}" for name in ("p50_us", "p99_us")),
            *(f"{row['queue'][name]:.2f}" for name in _SPREAD),
            *(f"{row['queue'][name] / alone['queue'][name]:.1f}" for name in ("p50_us", "p99_us")),
        ]
        for row in figures["flat_out"]
    ]
    return harness.Table(
        title=f"A call in each of many producers, flat out for {figures['seconds']:g} s, us",
        columns=[
            *("", "log() p50", "p99", "worst p99", "p50 / alone", "p99 / alone"),
            *("Queue.put() p50", "p99", "worst p99", "p50 / alone", "p99 / alone"),
        ],
        rows=rows,
        note="The median of the processes, and the worst of them. Two readings of the clock are in each figure.",
    )


_SPREAD = ("p50_us", "p99_us", "worst_p99_us")


def _rates(figures: dict[str, Any]) -> harness.Table:
    rows = [
        [
            f"{row['producers']} producer{'s' if row['producers'] > 1 else ''}",
            f"{row['ours']['logged'] / row['ours']['produced_s']:,.0f}",
            f"{row['ours']['stored_per_s']:,.0f}",
            f"{row['ours']['elapsed_s']:.1f}",
            f"{row['ours']['stored']:,} of {row['ours']['logged']:,}"
            + (f", {row['ours']['refused']:,} refused" if row["ours"]["refused"] else "")
            + (", each once, in order" if row["ours"]["all_there"] else ", NOT each once in order"),
            f"{row['queue']['stored_per_s']:,.0f}",
            f"{row['queue']['elapsed_s']:.1f}",
            f"{row['queue']['stored']:,} of {row['queue']['logged']:,}",
        ]
        for row in figures["flat_out"]
    ]
    return harness.Table(
        title="What arrives: from the first call to the last record on disk",
        columns=[
            *("", "logged/s", "stored/s", "until stored, s", "on disk after finish()"),
            *("Queue: stored/s", "until stored, s", "on disk"),
        ],
        rows=rows,
    )


def _joining(figures: dict[str, Any]) -> harness.Table:
    rows = [
        [
            f"{row['processes']} {_METHODS[row['method']]}, {'at once' if row['at_once'] else 'one after the other'}",
            *(f"{row['first_log_ms'][name]:.2f}" for name in ("median", "max")),
            f"{row['first_log_cpu_ms']['median']:.2f}",
            f"{FIRST_LOG_TARGET_MS:g}" if not row["at_once"] else "",
            harness.verdict(row["first_log_ms"]["median"], FIRST_LOG_TARGET_MS) if not row["at_once"] else "",
            *(f"{row['unpickle_ms'][name]:.2f}" if row["method"] == "spawn" else "" for name in ("median", "max")),
            f"{row['stored']:,} of {row['expected']:,}" + (", each once" if row["all_there"] else ", NOT each once"),
            f"{row['elapsed_s']:.1f}",
        ]
        for row in figures["joined"]
    ]
    return harness.Table(
        title=f"Joined processes that log {RECORDS_EACH} records each: the first log(), ms",
        columns=[
            *("", "median", "max", "CPU time, median", "target of the median", "", "unpickling: median", "max"),
            *("on disk after finish()", "all of it, s"),
        ],
        rows=rows,
        note="A spawned process is timed after its imports. What is above the CPU time was spent waiting for a core.",
    )


def _importing(figures: dict[str, float]) -> harness.Table:
    return harness.Table(
        title="import runicorn over a bare interpreter, CPU time a process, ms",
        columns=["", "ms"],
        rows=[
            ["one process after the other", f"{figures['alone_ms']:.1f}"],
            [f"{RANKS} processes at once", f"{figures['at_once_ms']:.1f}"],
        ],
    )


_METHODS = {"fork": "forked", "spawn": "spawned"}


if __name__ == "__main__":
    harness.Bench(
        question="What does log() cost in many processes of one run, and what does joining it cost?",
        measure=measure,
        tabulate=tabulate,
    ).main()
