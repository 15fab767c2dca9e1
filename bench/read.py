"""How long does it take to read a run back, and to list ten thousand of them?

The run has records of four floats, as the writer stores them; each reading is a process of its own, timed after its
imports. Cold is without the reader's cache (the events file itself is in the page cache, as after writing), cached is
from the columns that the cold reading has left. Peak memory is what the process grew by. With ``--peers`` the same file
is read by polars and DuckDB, and by ``json.loads``, in an environment of their own; and the columns are kept and read
back in the formats that the cache might have had.

Why the cache has raw arrays: steps, times and values of one metric of 1,000,000 records come back from raw arrays in
11 ms, from Arrow IPC in 8 ms, from Parquet in 23 ms and from DuckDB in 39 ms, where all six columns take up 48, 48, 34
and 15 MB (the last table, on a 2-core VM). The limit is 50 ms. Raw arrays are the simplest and need nothing beside
Python; what the others save is room in a folder that is bounded anyway.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import harness

from runicorn.queue.records import Hello, Metrics
from runicorn.writer.lines import add_metrics

if TYPE_CHECKING:
    import argparse

RECORDS, MANY_RECORDS, RUNS, ROUNDS = 1_000_000, 10_000_000, 10_000, 3
NEW_LINES = 1_000
COLD_TARGET_S, CACHED_TARGET_S, MANY_TARGET_S = 1.0, 0.05, 0.3
REFRESH_TARGET_S, FIRST_LIST_TARGET_S, LIST_TARGET_S, MEMORY_TARGET = 0.01, 5.0, 0.5, 3.0
BYTES_OF_A_VALUE = 24
MIB = 1024 * 1024
_TIMEOUT_S = 600.0
_METRICS = ("loss", "accuracy", "lr", "grad_norm")
_PEERS = ("polars", "duckdb", "pyarrow", "numpy")

_BEGIN = """
import json, sys
from time import perf_counter


def peak_bytes():
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    except OSError:
        return 0


path = sys.argv[1]
"""
_END = """
elapsed_s = perf_counter() - begin
print(json.dumps({"s": elapsed_s, "grown_bytes": peak_bytes() - before, "values": values}))
"""
_OURS = """
from runicorn import reading
from runicorn.reading import loaded, events, column, decoding
"""
_TIMED = "before = peak_bytes()\nbegin = perf_counter()\n"

READERS = {
    "ours": f"{_BEGIN}{_OURS}{_TIMED}values = len(reading.load(path)['loss'].value)\n{_END}",
    "polars": f"{_BEGIN}import polars, os\nfile = os.path.join(path, 'events.jsonl')\n{_TIMED}"
    "frame = polars.read_ndjson(file)\n"
    "column = frame.select(polars.col('data').struct.field('global_step', 'time', 'loss'))\n"
    f"values = len(column)\n{_END}",
    "DuckDB": f"{_BEGIN}import duckdb, numpy, os\nfile = os.path.join(path, 'events.jsonl')\n{_TIMED}"
    "found = duckdb.sql(f\"SELECT data.global_step, data.time, data.loss FROM read_json('{file}')\").fetchnumpy()\n"
    f"values = len(found['loss'])\n{_END}",
    "json.loads": f"{_BEGIN}import os\nfile = os.path.join(path, 'events.jsonl')\n{_TIMED}"
    "step, time, value = [], [], []\n"
    "with open(file, 'rb') as lines:\n"
    "    for line in lines:\n"
    "        data = json.loads(line)['data']\n"
    "        step.append(data['global_step'])\n"
    "        time.append(data['time'])\n"
    "        value.append(data['loss'])\n"
    f"values = len(value)\n{_END}",
}

REFRESH = f"""
{_BEGIN}{_OURS}
run = reading.load(path)
run["loss"]
with open(path + ".more", "rb") as more, open(path + "/events.jsonl", "ab") as file:
    file.write(more.read())
{_TIMED}
assert run.refresh()
read_s = perf_counter() - begin
values = len(run["loss"].value)
whole_s = perf_counter() - begin
print(json.dumps({{"s": read_s, "with_column_s": whole_s, "values": values}}))
"""

LISTING = f"{_BEGIN}{_OURS}{_TIMED}values = len(reading.runs(path))\n{_END}"
LS = "import sys; from runicorn.cli import main; sys.exit(main(['ls', '--storage', sys.argv[1]]))"
"""As the command that the package installs does it."""

FORMATS = """
import json, os, sys
from array import array
from time import perf_counter
import duckdb, numpy, pyarrow, pyarrow.feather, pyarrow.parquet

source, folder = sys.argv[1:]
names = ["step", "time", "loss", "accuracy", "lr", "grad_norm"]
columns = {}
with open(source, "rb") as file:
    rows = [json.loads(line)["data"] for line in file]
for name in names:
    key = {"step": "global_step"}.get(name, name)
    columns[name] = array("q" if name == "step" else "d", [row[key] for row in rows])
del rows
kept = pyarrow.table({name: numpy.frombuffer(values, values.typecode) for name, values in columns.items()})
wanted = names[:3]
places = {name: os.path.join(folder, name) for name in ("raw", "arrow", "parquet", "duckdb")}


def write_raw():
    with open(places["raw"], "wb") as file:
        for values in columns.values():
            file.write(values)


def read_raw():
    found = []
    with open(places["raw"], "rb") as file:
        for name in wanted:
            values = array(columns[name].typecode)
            file.seek(names.index(name) * 8 * len(columns[name]))
            values.frombytes(file.read(8 * len(columns[name])))
            found.append(values)
    return found


def write_duckdb():
    with duckdb.connect(places["duckdb"]) as connection:
        connection.execute("CREATE TABLE metrics AS SELECT * FROM kept")


def read_duckdb():
    with duckdb.connect(places["duckdb"], read_only=True) as connection:
        return connection.execute(f"SELECT {', '.join(wanted)} FROM metrics").fetchnumpy()


def numpy_of(table):
    return [numpy.array(table[name]) for name in wanted]


formats = {
    "raw arrays": ("raw", write_raw, read_raw),
    "Arrow IPC": (
        "arrow",
        lambda: pyarrow.feather.write_feather(kept, places["arrow"], compression="uncompressed"),
        lambda: numpy_of(pyarrow.feather.read_table(places["arrow"], columns=wanted)),
    ),
    "Parquet": (
        "parquet",
        lambda: pyarrow.parquet.write_table(kept, places["parquet"]),
        lambda: numpy_of(pyarrow.parquet.read_table(places["parquet"], columns=wanted)),
    ),
    "DuckDB": ("duckdb", write_duckdb, read_duckdb),
}
told = {}
for name, (place, write, read) in formats.items():
    begin = perf_counter()
    write()
    written = perf_counter()
    reads = []
    for _ in range(5):
        again = perf_counter()
        read()
        reads.append(perf_counter() - again)
    told[name] = {"write_s": written - begin, "read_s": min(reads), "bytes": os.path.getsize(places[place])}
print(json.dumps(told))
"""


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Read a run cold and cached, a long one, one that grows, and list many."""
    records, many, runs, rounds = (5_000, 6_000, 50, 1) if arguments.quick else (RECORDS, MANY_RECORDS, RUNS, ROUNDS)
    python = peers() if arguments.peers else None
    with harness.storage() as root:
        run_dir = make_run(root, "one", records)
        figures = {
            "records": records,
            "file_bytes": os.path.getsize(os.path.join(run_dir, "events.jsonl")),
            "many_records": many,
            "runs": runs,
            "rounds": rounds,
            "readings": readings(root, run_dir, rounds, python),
            "formats": json.loads(tell(python, FORMATS, f"{run_dir}/events.jsonl", root, root=root)) if python else {},
            "refresh": refresh(root, run_dir, records, rounds),
        }
        shutil.rmtree(run_dir)
        figures["many"] = long_run(root, many, rounds)
        figures["listing"] = listing(root, runs, rounds)
    return figures


def readings(root: str, run_dir: str, rounds: int, python: str | None) -> dict[str, list[Any]]:
    """One metric of a run: ours cold and cached, and the peers where they are wanted, in turn."""
    found: dict[str, list[Any]] = {"cold": [], "cached": []}
    for _ in range(rounds):
        forget(root)
        for kind in ("cold", "cached"):
            found[kind].append(json.loads(tell(sys.executable, READERS["ours"], run_dir, root=root)))
        for name in ("polars", "DuckDB", "json.loads") if python else ():
            found.setdefault(name, []).append(json.loads(tell(python, READERS[name], run_dir, root=root)))
    return found


def refresh(root: str, run_dir: str, records: int, rounds: int) -> list[Any]:
    """A run that is held open, and then has a thousand lines more."""
    found = []
    for number in range(rounds):
        with open(f"{run_dir}.more", "wb") as file:
            file.write(lines(records + number * NEW_LINES, NEW_LINES))
        found.append(json.loads(tell(sys.executable, REFRESH, run_dir, root=root)))
    return found


def long_run(root: str, records: int, rounds: int) -> dict[str, Any]:
    """One metric of a run of many records: once cold, then from the cache."""
    run_dir = make_run(root, "many", records)
    forget(root)
    try:
        told = [json.loads(tell(sys.executable, READERS["ours"], run_dir, root=root)) for _ in range(rounds + 1)]
    finally:
        shutil.rmtree(run_dir)
    return {"cold": told[0], "cached": told[1:]}


def listing(root: str, runs: int, rounds: int) -> dict[str, list[Any]]:
    """``runs()`` of a storage, and ``runicorn ls`` as a whole process, for the first time and then again."""
    storage = os.path.join(root, "storage")
    for number in range(runs):
        make_files(os.path.join(storage, "runs", f"path{number % 50}", f"20261122_{number:06d}_0263c3"), number)
    time.sleep(2.1)  # what is younger is read again each time
    found: dict[str, list[Any]] = {"first": [], "again": [], "ls_first": [], "ls_again": []}
    for _ in range(rounds):
        forget(root)
        for key in ("first", "again"):
            found[key].append(json.loads(tell(sys.executable, LISTING, storage, root=root)))
        forget(root)
        for key in ("ls_first", "ls_again"):
            begun = time.perf_counter()
            last = tell(sys.executable, LS, storage, root=root)
            found[key].append({"s": time.perf_counter() - begun})
            assert "20261122_" in last
    return found


def make_run(root: str, name: str, records: int) -> str:
    """A finished run of that many records, of four floats each."""
    run_dir = os.path.join(root, "runs", name)
    make_files(run_dir, 0)
    with open(os.path.join(run_dir, "events.jsonl"), "wb") as file:
        file.writelines(lines(first, min(10_000, records - first)) for first in range(0, records, 10_000))
    return run_dir


def make_files(run_dir: str, number: int) -> None:
    """The JSON files of a finished run."""
    os.makedirs(run_dir)
    created = 1795380871.5 + number
    meta = {"id": os.path.basename(run_dir), "path": "bench", "alias": None, "created_at": created, "pid": 1}
    status = {"status": "finished", "started_at": created, "ended_at": created + 60.0, "last_step": 1000}
    summary = {"best_metric_name": "accuracy", "best_metric_value": 0.9, "best_metric_step": 7, "note": "x" * 80}
    for name, content in (("meta", meta), ("status", status), ("summary", summary)):
        pathlib.Path(run_dir, f"{name}.json").write_text(json.dumps(content, indent=2), encoding="utf-8")


def lines(first: int, count: int) -> bytes:
    """Lines of the writer's own making."""
    blob = bytearray()
    hello = Hello("bench-1", not_owner=False)
    for number in range(first, first + count):
        value = number * 1e-6
        data = dict(zip(_METRICS, (1.0 - value, value, 3e-4, 1.0 + value), strict=True))
        add_metrics([Metrics(1795380871.9002159 + number * 1e-4, number + 1, data)], hello, blob)
    return bytes(blob)


def tell(python: str, program: str, *arguments: str, root: str) -> str:
    """The last line that a program prints."""
    source = pathlib.Path(__file__).parents[1] / "src"
    environment = {**os.environ, "RUNICORN_CACHE_DIR": os.path.join(root, "cache")}
    if python == sys.executable:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(source), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [python, "-c", program, *arguments],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
        timeout=_TIMEOUT_S,
    )
    return done.stdout.splitlines()[-1]


def forget(root: str) -> None:
    """Remove the reader's cache."""
    shutil.rmtree(os.path.join(root, "cache"), ignore_errors=True)


def peers() -> str:
    """A Python that has polars, DuckDB and Arrow; made at the first call, in the user's cache folder.

    Raises:
        subprocess.CalledProcessError: they cannot be installed here.
    """
    caches = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "runicorn-bench"
    environment = caches / f"readers-py{sys.version_info.major}.{sys.version_info.minor}"
    python = environment / "bin" / "python"
    if not (environment / "complete").is_file():
        shutil.rmtree(environment, ignore_errors=True)
        caches.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *_PEERS], check=True)
        (environment / "complete").touch()  # last: an environment that was left half made has none
    return str(python)


def tabulate(figures: dict[str, Any]) -> list[harness.Table]:
    """One table for readings, one for listings, and one for formats where they were measured."""
    tables = [_reading_table(figures), _listing_table(figures)]
    return [*tables, _format_table(figures)] if figures["formats"] else tables


def _reading_table(figures: dict[str, Any]) -> harness.Table:
    asked = figures["many_records"] * BYTES_OF_A_VALUE
    many = figures["many"]
    rows = [
        _row("ours, cold", figures["readings"]["cold"], COLD_TARGET_S),
        _row("ours, cached", figures["readings"]["cached"], CACHED_TARGET_S),
        *(_row(name, told, None) for name, told in figures["readings"].items() if name not in {"cold", "cached"}),
        _row(f"ours, {NEW_LINES:,} new lines: refresh()", figures["refresh"], REFRESH_TARGET_S),
        _row(f"ours, {figures['many_records']:,} records, cold", [many["cold"]], None, asked),
        _row(f"ours, {figures['many_records']:,} records, cached", many["cached"], MANY_TARGET_S, asked),
    ]
    whole = harness.shortest_to_longest([each["with_column_s"] for each in figures["refresh"]])
    return harness.Table(
        title=f"One metric of a run of {figures['records']:,} records ({figures['file_bytes'] / 1e6:.0f} MB)",
        columns=["", "median s", "min", "max", "target", "", "grown by, MiB", "of the columns asked for"],
        rows=rows,
        note=f"refresh() and the metric's column made anew: {whole['median'] * 1000:.1f} ms. The target of memory: "
        f"{MEMORY_TARGET:g} times the columns (step, time, value) at most.",
    )


def _row(name: str, told: list[Any], target_s: float | None, asked_bytes: int = 0) -> list[str]:
    spread = harness.shortest_to_longest([each["s"] for each in told])
    grown = max(each.get("grown_bytes", 0) for each in told)
    return [
        name,
        *(f"{spread[key]:.4f}" for key in ("median", "min", "max")),
        f"{target_s:g}" if target_s else "",
        harness.verdict(spread["median"], target_s) if target_s else "",
        f"{grown / MIB:.0f}" if grown else "",
        f"{grown / asked_bytes:.1f} times" if asked_bytes else "",
    ]


def _listing_table(figures: dict[str, Any]) -> harness.Table:
    listed = figures["listing"]
    return harness.Table(
        title=f"runs() of {figures['runs']:,} runs, and `runicorn ls` as a whole process",
        columns=["", "median s", "min", "max", "target", "", "grown by, MiB", ""],
        rows=[
            _row("the first time", listed["first"], FIRST_LIST_TARGET_S),
            _row("after that", listed["again"], LIST_TARGET_S),
            _row("runicorn ls, the first time", listed["ls_first"], FIRST_LIST_TARGET_S),
            _row("runicorn ls, after that", listed["ls_again"], LIST_TARGET_S),
        ],
    )


def _format_table(figures: dict[str, Any]) -> harness.Table:
    return harness.Table(
        title=f"Six columns of {figures['records']:,} values kept, and three of them read back",
        columns=["", "write s", "read s, least of five", "MB on disk"],
        rows=[
            [name, f"{each['write_s']:.3f}", f"{each['read_s']:.4f}", f"{each['bytes'] / 1e6:.0f}"]
            for name, each in figures["formats"].items()
        ],
    )


if __name__ == "__main__":
    harness.Bench(
        question="How long does it take to read a run back, and to list ten thousand of them?",
        measure=measure,
        tabulate=tabulate,
        add_arguments=lambda parser: parser.add_argument(
            "--peers", action="store_true", help="beside polars, DuckDB and json.loads; installs them"
        ),
    ).main()
