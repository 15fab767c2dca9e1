"""The viewer beside that of Runicorn 0.7.2, and beside TensorBoard: one run of 1,000,000 records with one spike.

Both are installed at the first call, in environments in the user's cache folder. TensorBoard shows what ``runicorn
export`` has written of the run.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import harness
import psutil
import read

if TYPE_CHECKING:
    from collections.abc import Callable

SPIKE = 50.0
_PATIENCE_S = 600.0
_WRITING = ("tensorboard", "tensorboardX", "setuptools<80", "msgspec", "pathspec", "psutil")


def beside(root: str, records: int) -> dict[str, dict[str, Any]]:
    """Each viewer's first curve of the run, its memory after that, and whether the spike is in the curve."""
    storage = os.path.join(root, "one")
    _make_spike(read.make_run(storage, "one", records), records // 2)
    found = {"ours": _ours(root, storage, records), "0.7.2": _published(root, storage)}
    found["TensorBoard"] = _tensorboard(root, storage, records)
    shutil.rmtree(storage)
    return found


def _make_spike(run_dir: str, line: int) -> None:
    path = pathlib.Path(run_dir, "events.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line] = re.sub(rb'"loss":[^,]+', b'"loss":%.1f' % SPIKE, lines[line])
    path.write_bytes(b"".join(lines))


def _ours(root: str, storage: str, records: int) -> dict[str, Any]:
    import viewer

    with viewer.viewer(root, storage) as (asked, _):
        begun = time.perf_counter()
        viewer.whole("one", asked)
        head = asked.curve("one")
        first_s = time.perf_counter() - begun
        assert head["total"] == records
        again_s = viewer.timed(lambda: asked.curve("one"))
        return {"first_s": first_s, "again_s": again_s, "mib": asked.memory_mib(), "spike": head["high"] == SPIKE}


def _published(root: str, storage: str) -> dict[str, Any]:
    tests = pathlib.Path(__file__).parents[1] / "tests"
    sys.path[:0] = [str(tests), str(tests / "integration")]
    from published_viewer import installed_viewer, open_viewer

    with open_viewer(installed_viewer(), pathlib.Path(storage), pathlib.Path(root, "home")) as theirs:
        answer, first_s = _timed(lambda: theirs.read("/runs/one/metrics_step"))
        _, again_s = _timed(lambda: theirs.read("/runs/one/metrics_step"))
        process = next(
            each for each in psutil.process_iter(["cmdline"])
            if "runicorn" in (each.info["cmdline"] or []) and storage in each.info["cmdline"]
        )  # fmt: skip
        memory = harness.private_bytes(process)
    rows = json.loads(answer)["rows"]
    spike = any(row.get("loss") == SPIKE for row in rows)
    return {"first_s": first_s, "again_s": again_s, "mib": memory / 2**20, "spike": spike}


def _tensorboard(root: str, storage: str, records: int) -> dict[str, Any]:
    python = _environment()
    folder = os.path.join(root, "exported")
    source = str(pathlib.Path(__file__).parents[1] / "src")
    export = [python, "-m", "runicorn.cli", "export", "one", "--format", "tensorboard", "-o", folder]
    more = ["--metrics", "loss", "--storage", storage]
    environment = {**os.environ, "PYTHONPATH": source, "RUNICORN_CACHE_DIR": os.path.join(root, "cache")}
    subprocess.run([*export, *more], check=True, env=environment, stdout=subprocess.DEVNULL, timeout=_PATIENCE_S)
    process = subprocess.Popen(
        [
            python,
            "-m",
            "tensorboard.main",
            "--load_fast",
            "false",
            "--logdir",
            folder,
            "--port",
            "0",
            "--host",
            "127.0.0.1",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        address = next(found[0] for line in process.stderr if (found := re.search(r"http://[\w.]+:\d+/", line)))
        points, first_s = _timed(lambda: _points(address, records))
        _, again_s = _timed(lambda: _points(address, records))
        here = psutil.Process(process.pid)
        memory = sum(map(harness.private_bytes, [here, *here.children(recursive=True)]))
    finally:
        process.terminate()
        process.communicate()
    spike = any(value == SPIKE for _, _, value in points)
    return {"first_s": first_s, "again_s": again_s, "mib": memory / 2**20, "spike": spike}


def _points(address: str, last_step: int) -> list[tuple[float, int, float]]:
    """All that it has of the curve, once it has read the last of it."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.perf_counter() + _PATIENCE_S
    while time.perf_counter() < deadline:
        with opener.open(f"{address}data/plugin/scalars/tags") as answer:
            tags = json.load(answer)
        for run, names in tags.items():
            name = next((each for each in names if each.endswith("loss")), None)
            if name is not None:
                with opener.open(f"{address}data/plugin/scalars/scalars?run={run}&tag={name}") as answer:
                    points: list[tuple[float, int, float]] = json.load(answer)
                if points[-1][1] >= last_step:
                    return points
        time.sleep(0.1)
    raise TimeoutError("TensorBoard has not read it")


def _environment() -> str:
    caches = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "runicorn-bench"
    environment = caches / f"tensorboard-py{sys.version_info.major}.{sys.version_info.minor}"
    python = environment / "bin" / "python"
    if not (environment / "complete").is_file():
        shutil.rmtree(environment, ignore_errors=True)
        caches.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *_WRITING], check=True)
        (environment / "complete").touch()  # last: an environment that was left half made has none
    return str(python)


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.perf_counter()
    found = call()
    return found, time.perf_counter() - begun


def tabulate(found: dict[str, dict[str, Any]]) -> harness.Table:
    """One row a figure, one column a viewer."""
    rows = [
        ["first curve", *(f"{each['first_s']:.2f} s" for each in found.values())],
        ["the same again", *(f"{each['again_s']:.3f} s" for each in found.values())],
        ["memory after it", *(f"{each['mib']:.0f} MiB" for each in found.values())],
        ["a spike of one value is in what it sends", *("yes" if each["spike"] else "no" for each in found.values())],
    ]
    note = (
        "From the start of asking until the whole run was read; TensorBoard has an exported file of one metric, and "
        "reads it without its faster data server, which does not start everywhere."
    )
    return harness.Table("Beside others: one run of 1,000,000 records", ["", *found], rows, note)
