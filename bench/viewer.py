"""How fast is the viewer's server, how much memory does it take, and what does a training beside it notice?

Another process asks for everything over HTTP, as a page does. So the times are those of server and transfer, and not of
drawing; two figures are times of a browser, and their questions say so. Levels hold a summary of each block of 256
values, in the cache beside the columns. Cold is without any cache. With ``--published``, the viewer of Runicorn 0.7.2
and TensorBoard show the same run of 1,000,000 records in the same call.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import harness
import psutil
import read
import viewer_grid
import viewer_peers
import viewer_report

import runicorn as rn

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

MIB = 1024 * 1024
MANY, ONE, RUNS, NAMES, PAIRS = 10_000_000, 1_000_000, 10_000, 5_000, 9
SEEDS, OF_A_SEED, COMPARED, SETTINGS = 100, 10_000, 50, 300
BLOCKS, STARTS = 20, 5
_ORDER = (False, True, True, False)
"""Whether the page is open in each block: so that what rises or falls comes to both."""
_START_S, _ANSWER_S, _BUILD_S = 60.0, 120.0, 300.0
TARGETS = {
    "first_byte_s": 0.6,
    "table_100_s": 0.3,
    "table_many_s": 0.8,
    "levels_s": 0.2,
    "no_levels_s": 1.5,
    "no_levels_cpu_s": 1.5,
    "cold_first_s": 1.0,
    "cold_all_s": 10.0,
    "cold_cpu_s": 10.0,
    "zoom_s": 0.1,
    "names_s": 0.1,
    "twelve_s": 0.5,
    "grid_s": 1.5,
    "grid_cpu_s": 1.5,
    "grid_drawn_s": 1.5,
    "band_s": 0.5,
    "band_cpu_s": 0.5,
    "compare_s": 0.3,
    "log_end_s": 0.15,
    "log_middle_s": 0.15,
    "told_p95_s": 0.7,
    "idle_list_share": 0.01,
    "idle_share": 0.0005,
    "memory_mib": 120.0,
    "log_ratio_median": 1.05,
    "log_ratio_worst": 1.2,
    "report_bytes": 3e6,
    "report_drawn_s": 1.0,
}
QUESTIONS = {
    "first_byte_s": "command to the first byte of the page, median of 5",
    "table_100_s": "table of 100 runs, first time",
    "table_many_s": "table of 10,000 runs, first time",
    "levels_s": "curve of 10 M records, from levels",
    "no_levels_s": "the same, columns in the cache, no levels",
    "no_levels_cpu_s": "the same: what that takes of a core",
    "cold_first_s": "the same, nothing in the cache: the first part of it",
    "cold_all_s": "the same: all of it",
    "cold_cpu_s": "the same: what that takes of a core",
    "zoom_s": "a zoom of it into a tenth",
    "names_s": "5,000 metrics: list and search",
    "twelve_s": "5,000 metrics: the first 12 curves",
    "grid_s": "12 charts of 20 runs of 1 M records each, from levels",
    "grid_cpu_s": "the same: what that takes of a core",
    "grid_drawn_s": "the same on the page: opened, until the last of 240 curves is drawn",
    "band_s": "a band over 100 seeds of 10,000 records",
    "band_cpu_s": "the same: what that takes of a core",
    "compare_s": "comparison of 50 runs of 300 settings each, first time",
    "log_end_s": "log of 1 GB: the end",
    "log_middle_s": "log of 1 GB: the middle",
    "told_p95_s": "log() to the event that tells of it, p95",
    "idle_list_share": "share of a core with a page on the table of 100 runs",
    "idle_share": "share of a core with no page",
    "memory_mib": "memory with 10,000 runs listed and the curve of 10 M open, MiB",
    "log_ratio_median": "p99 of log() with an open page to without, median of 9 pairs",
    "log_ratio_worst": "the same, the worst pair",
    "report_bytes": "report of 20 curves and 10 images: bytes",
    "report_drawn_s": "the same: opened, until the last curve is drawn",
}


class Asked:
    """A viewer that runs as a process, and a connection to it."""

    def __init__(self, process: subprocess.Popen[str], link: str) -> None:
        self.process = psutil.Process(process.pid)
        found = re.fullmatch(r"http://[^/]+:(\d+)/#t=(\S+)", link)
        if found is None:
            raise RuntimeError(f"the viewer has said {link!r}")
        self.port, self.token = int(found[1]), found[2]

    def ask(self, path: str, body: Any = None) -> bytes:
        """What it answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_S)
        headers = {"X-Runicorn-Token": self.token, "Accept-Encoding": "gzip"}
        content = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", path, body=content, headers=headers)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {answer[:200]!r}")
        return answer

    def stream(self, path: str) -> http.client.HTTPResponse:
        """A stream that it tells events by."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_S)
        connection.request("GET", path, headers={"X-Runicorn-Token": self.token})
        return connection.getresponse()

    def curve(self, run: str, metric: str = "loss", **more: Any) -> dict[str, Any]:
        """The head of a curve of 1,000 buckets."""
        answer = self.ask("/api/v1/curves", {"runs": [run], "metrics": [metric], "buckets": 1000, **more})
        size = int.from_bytes(answer[:4], "little")
        head: dict[str, Any] = json.loads(answer[8 : 8 + size])
        return head

    def memory_mib(self) -> float:
        """What it takes up, but for files that it maps."""
        return harness.private_bytes(self.process) / MIB

    def cpu_s(self) -> float:
        """What it has used of a core so far."""
        return sum(self.process.cpu_times()[:2])

    def timed(self, call: Callable[[], Any]) -> tuple[float, float]:
        """How long a call takes, and how much of a core it uses meanwhile."""
        before_s = self.cpu_s()
        return timed(call), self.cpu_s() - before_s

    def busy_share(self, seconds: float) -> float:
        """How much of a core it uses."""
        before_s = self.cpu_s()
        time.sleep(seconds)
        return (self.cpu_s() - before_s) / seconds


@contextlib.contextmanager
def viewer(root: str, storage: str) -> Iterator[tuple[Asked, float]]:
    """A viewer of a storage; and how long it took to the first byte of the page."""
    source = str(pathlib.Path(__file__).parents[1] / "src")
    environment = {**os.environ, "RUNICORN_CACHE_DIR": os.path.join(root, "cache"), "RUNICORN_VIEWER_DIR": root}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "runicorn.cli", "viewer", "--storage", storage, "--port", "0", "--no-open"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout is not None
        asked = Asked(process, process.stdout.readline().strip())
        asked.ask("/")
        yield asked, time.perf_counter() - begun
    finally:
        process.terminate()
        process.wait(timeout=_START_S)


def timed(call: Callable[[], Any]) -> float:
    """How long a call takes."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Each figure once, the shares over some seconds, the ratio over nine pairs."""
    quick = arguments.quick
    figures: dict[str, Any] = {"records": 60_000 if quick else MANY, "runs": 200 if quick else RUNS}
    figures["names"] = 200 if quick else NAMES
    with harness.storage() as root:
        storage = os.path.join(root, "storage")
        figures |= few_runs(root, storage, 1.0 if quick else 10.0)
        figures |= long_curve(root, storage, figures["records"])
        figures |= many_names(root, storage, figures["names"])
        figures |= viewer_grid.grid(root, *((2, 20_000, 1) if quick else (20, ONE, 5)))
        figures |= viewer_report.reported(root, *((300, 1) if quick else (20_000, 10)))
        figures |= seeds(root, *((5, 1000) if quick else (SEEDS, OF_A_SEED)))
        figures |= long_log(root, storage, 1 * MIB if quick else 1024 * MIB)
        figures |= told(root, 5 if quick else 100)
        figures |= beside_training(root, 1 if quick else PAIRS, 2_000 if quick else 200_000)
        others = viewer_peers.beside(root, ONE) if arguments.published and not quick else {}
        figures["published"] = others
        figures |= many_runs(root, storage, figures["runs"])
    return figures


def few_runs(root: str, storage: str, seconds: float) -> dict[str, float]:
    """The table of a hundred runs, and what an open page on it costs."""
    for number in range(100):
        read.make_files(os.path.join(storage, "runs", f"path{number % 5}", f"20261122_{number:06d}_0263c3"), number)
    started = []
    for _ in range(STARTS):
        with viewer(root, storage) as (_, first_byte_s):
            started.append(first_byte_s)
    shutil.rmtree(os.path.join(root, "cache"), ignore_errors=True)
    with viewer(root, storage) as (asked, _):
        table_s = timed(lambda: asked.ask("/api/v1/runs"))
        idle = asked.busy_share(seconds)
        stream = asked.stream("/api/v1/live?list=1")
        listing = asked.busy_share(seconds)
        stream.close()
    return {
        "first_byte_s": harness.median(started),
        "table_100_s": table_s,
        "idle_share": idle,
        "idle_list_share": listing,
    }


def long_curve(root: str, storage: str, records: int) -> dict[str, float]:
    """A curve of a long run: cold, from the cache, from levels, and zoomed."""
    read.make_run(storage, "many", records)
    read.forget(root)
    with viewer(root, storage) as (asked, _):
        begun, cpu_before_s = time.perf_counter(), asked.cpu_s()
        asked.curve("many")
        first_s = time.perf_counter() - begun
        slowest = 0.0
        while not is_whole("many", asked) and time.perf_counter() < begun + _BUILD_S:
            slowest = max(slowest, timed(lambda: asked.ask("/api/v1/server")))
            time.sleep(0.05)
        assert asked.curve("many")["total"] == records
        all_s, cold_cpu_s = time.perf_counter() - begun, asked.cpu_s() - cpu_before_s
    for path in pathlib.Path(root, "cache").rglob("*.levels"):
        path.unlink()
    with viewer(root, storage) as (asked, _):
        whole("many", asked)
        no_levels_s, no_levels_cpu_s = asked.timed(lambda: asked.curve("many"))
    with viewer(root, storage) as (asked, _):
        whole("many", asked)
        levels_s = timed(lambda: asked.curve("many"))
        again_s = timed(lambda: asked.curve("many"))
        zoom_s = timed(lambda: asked.curve("many", **{"from": records * 0.4, "to": records * 0.5}))
        memory = asked.memory_mib()
    return {
        "cold_first_s": first_s, "cold_all_s": all_s, "cold_cpu_s": cold_cpu_s, "slowest_beside_s": slowest,
        "no_levels_s": no_levels_s,
        "no_levels_cpu_s": no_levels_cpu_s,
        "levels_s": levels_s, "again_s": again_s, "zoom_s": zoom_s, "one_run_memory_mib": memory,
    }  # fmt: skip


def is_whole(run: str, asked: Asked) -> bool:
    """Whether all of a run was read."""
    found: dict[str, float] = json.loads(_plain(asked.ask(f"/api/v1/runs/{run}")))
    return found["indexed"] >= 1.0


def whole(run: str, asked: Asked) -> None:
    """Wait until all of a run was read."""
    deadline = time.perf_counter() + _BUILD_S
    while not is_whole(run, asked) and time.perf_counter() < deadline:
        time.sleep(0.02)


def _plain(answer: bytes) -> bytes:
    import gzip

    return gzip.decompress(answer) if answer[:2] == b"\x1f\x8b" else answer


def many_names(root: str, storage: str, names: int) -> dict[str, float]:
    """A run of many metrics: their list, a search in it, and twelve curves."""
    run_dir = read.make_run(storage, "names", 1)
    every = {f"group{number % 50}/metric{number}": 0.5 for number in range(names)}
    events = [{"type": "metrics", "data": {**every, "global_step": step, "time": 1.0 + step}} for step in range(100)]
    with open(os.path.join(run_dir, "events.jsonl"), "w", encoding="utf-8") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)
    with viewer(root, storage) as (asked, _):
        whole("names", asked)
        names_s = timed(lambda: [asked.ask(f"/api/v1/runs/names/metrics?q={q}&limit=10000") for q in ("", "metric77")])
        twelve = list(every)[:12]
        twelve_s = timed(lambda: asked.ask("/api/v1/curves", {"runs": ["names"], "metrics": twelve}))
    return {"names_s": names_s, "twelve_s": twelve_s}


def seeds(root: str, count: int, records: int) -> dict[str, float]:
    """A band over many seeds, and a comparison of many settings."""
    storage = os.path.join(root, "seeds")
    names = [f"seed{number:03}" for number in range(count)]
    for number, name in enumerate(names):
        run_dir = pathlib.Path(read.make_run(storage, name, records))
        settings = {f"key{at}": at * number if at % 2 else at for at in range(SETTINGS)}
        (run_dir / "assets.json").write_text(json.dumps({"config": {"args": settings}}))
    wanted = {"groups": [{"name": "all", "runs": names}], "metrics": ["loss"], "buckets": 300}
    with viewer(root, storage) as (asked, _):
        asked.ask("/api/v1/runs")
        compared = ",".join(names[:COMPARED])
        compare_s = timed(lambda: asked.ask(f"/api/v1/compare?runs={compared}"))
        for name in names:
            whole(name, asked)
        band_s, band_cpu_s = min(asked.timed(lambda: asked.ask("/api/v1/curves", wanted)) for _ in range(3))
    shutil.rmtree(storage)
    return {"band_s": band_s, "band_cpu_s": band_cpu_s, "compare_s": compare_s}


def long_log(root: str, storage: str, size: int) -> dict[str, float]:
    """Windows of a long log."""
    run_dir = read.make_run(storage, "log", 1)
    line = b"12:00:00 | step 123456 loss 0.123456 accuracy 0.98765 and some more words\n"
    with open(os.path.join(run_dir, "logs.txt"), "wb") as file:
        file.writelines(line * 1000 for _ in range(size // (len(line) * 1000) + 1))
    with viewer(root, storage) as (asked, _):
        asked.ask("/api/v1/runs")
        end_s = timed(lambda: asked.ask("/api/v1/runs/log/logs"))
        middle_s = timed(lambda: asked.ask(f"/api/v1/runs/log/logs?offset={size // 2}"))
    shutil.rmtree(run_dir)
    return {"log_end_s": end_s, "log_middle_s": middle_s}


def told(root: str, records: int) -> dict[str, float]:
    """From ``log()`` to the event that tells a page of it."""
    storage = os.path.join(root, "live")
    delays: list[float] = []
    with rn.init(storage=storage, run_id="live") as run, viewer(root, storage) as (asked, _):
        run.log({"loss": 1.0})
        stream = asked.stream("/api/v1/live?runs=live")
        seen = ""
        for _ in range(records):
            begun = time.perf_counter()
            run.log({"loss": 1.0})
            seen = _next_version(stream, seen)
            delays.append(time.perf_counter() - begun)
        stream.close()
    return {"told_p95_s": harness.percentile(sorted(delays), 95)}


def _next_version(stream: http.client.HTTPResponse, seen: str) -> str:
    for line in stream:
        if line.startswith(b"data: ") and b'"bytes"' in line:
            version: str = json.loads(line[6:])["version"]
            if version != seen:
                return version
    raise RuntimeError("the stream has ended")


def beside_training(root: str, pairs: int, records: int) -> dict[str, Any]:
    """The p99 of ``log()`` with an open page on the run, and without: in turn, block by block of one run each pair.

    The page is a process of its own, as a browser is. What the machine does beside comes to both halves of a pair; how
    much that is anyway, the blocks without a page tell, every second of them against the others.
    """
    storage = os.path.join(root, "training")
    os.makedirs(storage, exist_ok=True)
    found: list[dict[str, float]] = []
    loads = [psutil.getloadavg()[0]]
    with viewer(root, storage) as (asked, _), _page(asked) as turn:
        for number in range(pairs):
            found.append(_pair(storage, f"pair{number}", records, turn))
            loads.append(psutil.getloadavg()[0])
    ratios = [pair["beside_us"] / pair["alone_us"] for pair in found]
    return {
        "log_pairs": found, "log_ratios": ratios, "log_ratio_median": harness.median(ratios),
        "log_ratio_worst": max(ratios), "log_loads": loads,
    }  # fmt: skip


def _pair(storage: str, name: str, records: int, turn: Callable[[str], None]) -> dict[str, float]:
    costs: dict[bool, list[list[int]]] = {False: [], True: []}
    with rn.init(storage=storage, run_id=name) as run:
        harness.wait_for_heartbeat(run)
        run.log({"loss": 1.0, "accuracy": 0.0})
        for is_open in _ORDER * (BLOCKS // len(_ORDER)):
            turn(name if is_open else "")
            costs[is_open].append(_costs(run, records // BLOCKS))
        turn("")
    alone, beside = costs[False], costs[True]
    return {
        "alone_us": _p99_us(alone),
        "beside_us": _p99_us(beside),
        "noise": _p99_us(alone[::2]) / _p99_us(alone[1::2]),
    }


def _p99_us(blocks: list[list[int]]) -> float:
    return harness.percentile(sorted(cost for block in blocks for cost in block), 99) / harness.NS_PER_US


def _costs(run: Any, records: int) -> list[int]:
    costs = []
    for number in range(records):
        begun = time.perf_counter_ns()
        run.log({"loss": number * 0.5, "accuracy": number * 0.25})
        costs.append(time.perf_counter_ns() - begun)
        if not number % 100:
            time.sleep(0.001)
    return costs


@contextlib.contextmanager
def _page(asked: Asked) -> Iterator[Callable[[str], None]]:
    """Opens the page of a run, or closes it, and waits until that is done."""
    process = subprocess.Popen(
        [sys.executable, str(pathlib.Path(__file__).with_name("viewer_page.py")), str(asked.port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{asked.token}\n")

    def turn(run: str) -> None:
        process.stdin.write(f"{run}\n")
        process.stdin.flush()
        if not process.stdout.readline():
            raise RuntimeError("the page has ended")

    try:
        yield turn
    finally:
        process.stdin.close()
        process.wait(timeout=_START_S)
        process.stdout.close()


def many_runs(root: str, storage: str, runs: int) -> dict[str, float]:
    """The table of many runs, for the first time; and memory with it and a long curve open."""
    for number in range(100, runs):
        read.make_files(os.path.join(storage, "runs", f"path{number % 50}", f"20261122_{number:06d}_0263c3"), number)
    with viewer(root, storage) as (asked, _):
        first_s = timed(lambda: asked.ask("/api/v1/runs"))
        time.sleep(2.5)
        again_s = timed(lambda: asked.ask("/api/v1/runs"))
        whole("many", asked)
        asked.curve("many")
        memory = asked.memory_mib()
    return {"table_first_s": first_s, "table_many_s": again_s, "memory_mib": memory}


def tabulate(figures: dict[str, Any]) -> list[harness.Table]:
    """Each figure beside its target, and the published viewer's."""
    rows = [
        [QUESTIONS[name], _shown(name, figures[name]), _shown(name, target), harness.verdict(figures[name], target)]
        for name, target in TARGETS.items()
        if name in figures
    ]
    loads, noise = figures["log_loads"], [pair["noise"] for pair in figures["log_pairs"]]
    note = (
        f"{figures['records']:,} records, {figures['runs']:,} runs, {figures['names']:,} metrics. Load of the machine "
        f"during the pairs of log(): {min(loads):.1f} to {max(loads):.1f}; the same two halves without a page differ "
        f"by a ratio of {min(noise):.2f} to {max(noise):.2f}."
    )
    tables = [harness.Table("The viewer's server", ["what", "measured", "target", ""], rows, note)]
    if figures["published"]:
        tables.append(viewer_peers.tabulate(figures["published"]))
    return tables


def _shown(name: str, value: float) -> str:
    if name.endswith(("_mib", "_bytes")):
        return f"{value:,.0f}"
    if name.endswith("_share"):
        return f"{value:.2%}"
    return f"{value:.3f} s" if name.endswith("_s") else f"{value:.2f}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``--published``: beside Runicorn 0.7.2, which is installed at the first call."""
    parser.add_argument("--published", action="store_true", help="beside Runicorn 0.7.2's and TensorBoard")


if __name__ == "__main__":
    harness.Bench(__doc__.partition("\n")[0], measure, tabulate, add_arguments).main()
