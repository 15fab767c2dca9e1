"""What the benchmarks share: machine facts, storage that is cleaned up, percentiles, tables, JSON.

A benchmark measures into a dict of figures (each with its unit in its name) and derives its tables from that. The
same tables are printed for people, and written into ``RESULTS.md`` by ``report.py``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import psutil

import runicorn as rn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NS_PER_US = 1000
WRITER_START_S = 10.0
DRAIN_S = 60.0


@dataclass(frozen=True)
class Table:
    """Rows of text under a title; ``note`` says how to read them."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""


@dataclass(frozen=True)
class Bench:
    """One question.

    Args:
        question: one sentence, answered by the tables.
        measure: from the parsed arguments (``quick`` among them) to the figures.
        tabulate: from the figures to the tables.
        add_arguments: adds the benchmark's own arguments.
    """

    question: str
    measure: Callable[[argparse.Namespace], dict[str, Any]]
    tabulate: Callable[[dict[str, Any]], list[Table]]
    add_arguments: Callable[[argparse.ArgumentParser], Any] = lambda _parser: None

    def main(self) -> None:
        """Measure, and print the tables or the JSON."""
        arguments = self._parse()
        machine = machine_facts()
        figures = self.measure(arguments)
        result = {
            "benchmark": os.path.splitext(os.path.basename(sys.argv[0]))[0],
            "question": self.question,
            "command": " ".join(
                ["python", f"bench/{os.path.basename(sys.argv[0])}", *map(_without_directory, sys.argv[1:])]
            ),
            "quick": arguments.quick,
            "machine": machine,
            "figures": figures,
            "tables": [asdict(table) for table in self.tabulate(figures)],
        }
        print(json.dumps(result, indent=1) if arguments.json else as_text(result))

    def _parse(self) -> argparse.Namespace:
        parser = argparse.ArgumentParser(description=self.question)
        parser.add_argument("--json", action="store_true", help="print JSON for machines")
        parser.add_argument("--quick", action="store_true", help="a smoke run; its figures mean nothing")
        self.add_arguments(parser)
        return parser.parse_args()


def _without_directory(word: str) -> str:
    """A word of the command; of a path only its name, for results say nothing of where a checkout lies."""
    return os.path.basename(os.path.normpath(word)) if os.path.isabs(word) else word


# --- the machine --------------------------------------------------------------------------------------


def machine_facts() -> dict[str, Any]:
    """What the figures were measured on; the load says how noisy it was before we began."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "load_average_1min": round(psutil.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "msgspec": msgspec.__version__,
        "code": _commit(),
    }


def _commit() -> str:
    """The commit that is checked out, and whether files differ from it; empty if this is no checkout."""
    git = ["git", "-C", os.path.dirname(__file__), "describe", "--always", "--dirty"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(git, check=True, capture_output=True, text=True, timeout=10).stdout.strip()
    return ""


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:  # not Linux
        models = []
    return models[0] if models else platform.processor() or "unknown"


# --- runs and their processes ---------------------------------------------------------------------------


@contextlib.contextmanager
def storage() -> Iterator[str]:
    """Give a storage root in the temp directory, and remove it."""
    root = tempfile.mkdtemp(prefix="runicorn-bench-")
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def live_run() -> Iterator[Any]:
    """Give a run whose writer is up, and finish it."""
    with storage() as root, rn.init(storage=root) as run:
        wait_for_heartbeat(run)
        yield run


def address_of(run: Any) -> Any:
    """Where the run's spool is; the public API has no use for it, a benchmark has."""
    return run._session.address


def wait_for_heartbeat(run: Any, poll_s: float = 0.001) -> None:
    """Return at the writer's first tick.

    Raises:
        TimeoutError: there was none.
    """
    control = run._session.control
    deadline = time.monotonic() + WRITER_START_S
    while not control.heartbeat:
        if time.monotonic() > deadline:
            raise TimeoutError(f"no heartbeat of a writer within {WRITER_START_S} s")
        time.sleep(poll_s)


def wait_until_stored(run: Any, records: int) -> None:
    """Return when the writer has stored that many records.

    Raises:
        TimeoutError: it has not.
    """
    control = run._session.control
    deadline = time.monotonic() + DRAIN_S
    while control.stored_records < records:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{control.stored_records} of {records} records stored within {DRAIN_S} s")
        time.sleep(0.02)


def writer_of(run: Any) -> psutil.Process:
    """The run's writer: the process that was started to serve its spool.

    Raises:
        ProcessLookupError: there is none.
    """
    spool = address_of(run).spool
    deadline = time.monotonic() + WRITER_START_S
    while time.monotonic() < deadline:
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or []
            # The shell that starts the writer has the same words in its command line, for a millisecond.
            if spool in command and "-I" in command[1:2]:
                return process
        time.sleep(0.02)
    raise ProcessLookupError("the run has no writer")


def private_bytes(process: psutil.Process) -> int:
    """Resident memory that is not shared: what the process takes up without the spool that it maps."""
    memory = process.memory_info()
    shared = getattr(memory, "shared", None)
    if shared is None:  # not Linux
        return process.memory_full_info().uss
    return memory.rss - shared


# --- statistics -----------------------------------------------------------------------------------------


def spread_us(samples_ns: Sequence[int]) -> dict[str, float]:
    """Percentiles by nearest rank, in microseconds."""
    ordered = sorted(samples_ns)
    return {
        "p50_us": percentile(ordered, 50) / NS_PER_US,
        "p99_us": percentile(ordered, 99) / NS_PER_US,
        "p99_9_us": percentile(ordered, 99.9) / NS_PER_US,
        "max_us": ordered[-1] / NS_PER_US,
        "mean_us": sum(ordered) / len(ordered) / NS_PER_US,
    }


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest of the ordered values that at least so many percent do not exceed."""
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def median(values: Sequence[float]) -> float:
    """The middle one, or the mean of the two in the middle."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def shortest_to_longest(values: Sequence[float]) -> dict[str, float]:
    """Median, and what lies around it."""
    return {"median": median(values), "min": min(values), "max": max(values), "count": len(values)}


# --- output ---------------------------------------------------------------------------------------------


def verdict(value: float, limit: float) -> str:
    """Whether a target is met."""
    return "met" if value <= limit else "missed"


def describe_machine(machine: dict[str, Any]) -> str:
    """The machine facts in one line."""
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB; "
        f"{machine['system']}; {machine['python']}; msgspec {machine['msgspec']}; "
        f"load before: {machine['load_average_1min']}" + (f"; code {machine['code']}" if machine.get("code") else "")
    )


def as_text(result: dict[str, Any]) -> str:
    """A result for people at a terminal."""
    quick = ["(a smoke run: the figures mean nothing)"] if result["quick"] else []
    parts = [result["question"], describe_machine(result["machine"]), *quick]
    parts += [_table_as_text(Table(**table)) for table in result["tables"]]
    return "\n\n".join(parts)


def as_markdown(result: dict[str, Any]) -> str:
    """A result as a section of a document."""
    parts = [f"## {result['question']}", f"`{result['command']}`", describe_machine(result["machine"])]
    if result["quick"]:
        parts.append("**A smoke run: the figures mean nothing.**")
    parts += [_table_as_markdown(Table(**table)) for table in result["tables"]]
    return "\n\n".join(parts)


def _table_as_text(table: Table) -> str:
    lines = [table.columns, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.columns))]
    formatted = ["  ".join(_aligned(line, widths)).rstrip() for line in lines]
    rule = "-" * max(map(len, formatted))
    return "\n".join([table.title, rule, formatted[0], rule, *formatted[1:], *_note(table)])


def _table_as_markdown(table: Table) -> str:
    def line(cells: list[str]) -> str:
        return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"

    rule = ["---", *("---:" for _ in table.columns[1:])]
    lines = [line(table.columns), line(rule), *map(line, table.rows)]
    return "\n".join([f"### {table.title}", "", *lines, *(["", *_note(table)] if table.note else [])])


def _aligned(cells: list[str], widths: list[int]) -> list[str]:
    first, *others = [
        cell.ljust(width) if column == 0 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return [first, *others]


def _note(table: Table) -> list[str]:
    return [table.note] if table.note else []
