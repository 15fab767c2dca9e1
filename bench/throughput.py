"""How many records a second go from ``log()`` to the disk, and what does that take up?

A million records of four floats are pushed flat out: from the first ``log()`` to the return of ``finish()``, when all
of them are on disk. Then the file is read: steps 1 to N must each be there once. The baseline is what people write
themselves: JSON lines into a buffered file, in process, flushed and synced at the end. The two alternate.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from time import perf_counter, time
from typing import TYPE_CHECKING, Any

import harness
import msgspec
import psutil

import runicorn as rn

if TYPE_CHECKING:
    import argparse

RECORDS, ROUNDS = 1_000_000, 3
WARM_UP_RECORDS = 1_000
MIB = 1024 * 1024


class Sampler:
    """A process that watches this one, and a run's writer and spool, until it is asked for the peaks."""

    def __init__(self, run: Any) -> None:
        address = harness.address_of(run)
        script = pathlib.Path(__file__).with_name("sampler.py")
        command = [sys.executable, str(script), str(os.getpid()), str(harness.writer_of(run).pid)]
        self._process = subprocess.Popen(
            [*command, address.spool, address.overflow], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._process.stdout.readline()

    def peaks(self) -> dict[str, Any]:
        """Stop it, and return what it has seen."""
        out, _ = self._process.communicate(timeout=harness.DRAIN_S)
        return json.loads(out)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Alternate the baseline and ours."""
    records, rounds = (5_000, 1) if arguments.quick else (RECORDS, ROUNDS)
    if arguments.records:
        records = arguments.records
    measured = [(one_baseline(records), one_run(records)) for _ in range(rounds)]
    baselines, runs = map(list, zip(*measured, strict=True))
    return {
        "records": records,
        "rounds": rounds,
        "records_per_s": harness.median([each["records_per_s"] for each in runs]),
        "baseline_records_per_s": harness.median([each["records_per_s"] for each in baselines]),
        "baseline_bytes_per_record": baselines[0]["bytes_per_record"],
        "runs": runs,
        "baselines": baselines,
    }


def one_run(records: int) -> dict[str, Any]:
    """Push, finish, and count what is on disk."""
    with harness.storage() as root:
        warm_up(root)
        run = rn.init(storage=root)
        harness.wait_for_heartbeat(run)
        sampler = Sampler(run)
        me = psutil.Process()
        before_bytes = harness.private_bytes(me)
        begin = perf_counter()
        push(run, records)
        pushed = perf_counter()
        run.finish()
        end = perf_counter()
        after_bytes = harness.private_bytes(me)
        events = run.run_dir / "events.jsonl"
        return {
            "records_per_s": records / (end - begin),
            "pushed_records_per_s": records / (pushed - begin),
            "push_s": pushed - begin,
            "finish_s": end - pushed,
            "trainer_private_before_bytes": before_bytes,
            "trainer_private_after_bytes": after_bytes,
            **sampler.peaks(),
            "spool_budget_bytes": harness.address_of(run).budget_bytes,
            "bytes_per_record": events.stat().st_size / records,
            **count(events, records),
        }


def warm_up(root: str) -> None:
    """Have every import and every name behind us."""
    with rn.init(storage=root) as run:
        push(run, WARM_UP_RECORDS)


def push(run: Any, records: int) -> None:
    """Log as a training loop does, without the training."""
    for number in range(records):
        value = number * 1e-6
        run.log({"loss": 1.0 - value, "accuracy": value, "lr": 3e-4, "grad_norm": 1.0 + value})


def one_baseline(records: int) -> dict[str, Any]:
    """Write JSON lines with the same content into a buffered file, and sync it at the end."""
    with harness.storage() as root:
        path = pathlib.Path(root, "baseline.jsonl")
        begin = perf_counter()
        with path.open("w", encoding="utf-8") as file:
            write_lines(file, records)
            file.flush()
            os.fsync(file.fileno())
        elapsed_s = perf_counter() - begin
        return {"records_per_s": records / elapsed_s, "bytes_per_record": path.stat().st_size / records}


def write_lines(file: Any, records: int) -> None:
    """Write one line a record, of the shape of our own."""
    for number in range(records):
        value = number * 1e-6
        now = time()
        data = {"loss": 1.0 - value, "accuracy": value, "lr": 3e-4, "grad_norm": 1.0 + value}
        data["global_step"] = number + 1
        data["time"] = now
        file.write(json.dumps({"ts": now, "type": "metrics", "data": data}) + "\n")


def count(events: pathlib.Path, records: int) -> dict[str, Any]:
    """Count the lines, and how often each step from 1 to N is there."""
    decode = msgspec.json.Decoder().decode
    seen = bytearray(records + 1)
    lines = strangers = 0
    with events.open("rb") as file:
        for line in file:
            lines += 1
            step = decode(line)["data"]["global_step"]
            if 1 <= step <= records:
                seen[step] = min(seen[step] + 1, 255)
            else:
                strangers += 1
    once = seen.count(1)
    return {"lines": lines, "steps_once": once, "all_once": lines == once == records and not strangers}


def tabulate(figures: dict[str, Any]) -> list[harness.Table]:
    """Make a table of speeds, and one of what the run takes up."""
    return [_speeds(figures), _sizes(figures)]


def _speeds(figures: dict[str, Any]) -> harness.Table:
    rows = [
        [
            f"round {number}",
            f"{run['records_per_s']:,.0f}",
            f"{run['pushed_records_per_s']:,.0f}",
            f"{run['finish_s']:.2f}",
            f"{run['writer_cpu_s']:.2f}",
            f"{baseline['records_per_s']:,.0f}",
            f"{run['records_per_s'] / baseline['records_per_s']:.2f}",
            f"{run['lines']:,} lines, " + ("each step once" if run["all_once"] else "NOT each step once"),
        ]
        for number, (run, baseline) in enumerate(zip(figures["runs"], figures["baselines"], strict=True), 1)
    ]
    return harness.Table(
        title=f"{figures['records']:,} records of four floats, flat out",
        columns=[
            *("", "records/s to disk", "records/s pushed", "finish() s", "writer CPU s"),
            *("JSON lines in process, records/s", "ours / that", "on disk after finish()"),
        ],
        rows=rows,
        note=f"Median: {figures['records_per_s']:,.0f} records/s, JSON lines {figures['baseline_records_per_s']:,.0f}.",
    )


def _sizes(figures: dict[str, Any]) -> harness.Table:
    rows = [
        [
            f"round {number}",
            *(f"{run[name] / MIB:.1f}" for name in _SIZE_NAMES),
            f"{run['spool_budget_bytes'] / MIB:,.0f}",
            f"{run['bytes_per_record']:.0f}",
            f"{figures['baseline_bytes_per_record']:.0f}",
        ]
        for number, run in enumerate(figures["runs"], 1)
    ]
    return harness.Table(
        title="What it takes up, MiB",
        columns=[
            *("", "trainer before", "trainer after", "trainer peak", "writer peak RSS", "spool peak", "spool budget"),
            *("bytes a record", "JSON lines, bytes a record"),
        ],
        rows=rows,
        note="The trainer's is resident memory that is not shared: the spool's pages are in their own column.",
    )


_SIZE_NAMES = (
    "trainer_private_before_bytes",
    "trainer_private_after_bytes",
    "trainer_peak_private_bytes",
    "writer_peak_rss_bytes",
    "spool_peak_bytes",
)


if __name__ == "__main__":
    harness.Bench(
        question="How many records a second go from log() to the disk, and what does that take up?",
        measure=measure,
        tabulate=tabulate,
        add_arguments=lambda parser: parser.add_argument("--records", type=int, help="how many (a million)"),
    ).main()
