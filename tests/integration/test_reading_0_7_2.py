"""Runs that the published Runicorn 0.7.2 has written, read back."""

import json
import math
import subprocess
from pathlib import Path

import pytest

from runicorn import reading

PROGRAM = """
import json, math, os, sys
import runicorn as rn

run = rn.init(path="cv/yolo", alias="published", storage=sys.argv[1])
run.set_primary_metric("acc", mode="max")
run.log({"loss": 1.5, "acc": 0.1, "count": 3, "flag": True, "note": "text", "none": None}, stage="train")
run.log({"loss": float("nan"), "acc": 0.5})
run.log({"loss": float("inf"), "huge": 10**30}, step=10)
run.log({"loss": float("-inf"), "listed": [1, 2]}, step=5, stage="val")
run.log({"loss": 0.1 + 0.2})
run.log_text("first line\\n\\nthird line")
run.summary({"final": 1, "undefined": float("nan")})
run.log_config(args={"lr": 0.1})
told = {"id": run.id, "run_dir": str(run.run_dir), "pid": os.getpid()}
print(json.dumps(told), flush=True)
if sys.argv[2] == "finish":
    run.finish()
elif sys.argv[2] == "die":
    os._exit(1)
elif sys.argv[2] == "wait":
    input()
"""


@pytest.fixture(autouse=True)
def cache_dir(monkeypatch, tmp_path):
    """The cache is the test's own."""
    monkeypatch.setenv("RUNICORN_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def published(viewer_python, tmp_path, storage):
    """Start a program of the published package; what it told of its run."""
    started = []

    def start(how):
        process = subprocess.Popen(
            [str(viewer_python), "-I", "-c", PROGRAM, str(storage), how],
            cwd=tmp_path,
            # Without its database, which stalls for ten seconds at each value that it cannot take.
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "RUNICORN_DISABLE_MODERN_STORAGE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        told = json.loads(process.stdout.readline())
        if how != "wait":
            process.communicate(timeout=100)
        return told, process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_finished_run_is_read_whole(published, storage):
    """Every value, step and stage of a run of 0.7.2, with its text, summary and configuration."""
    told, _ = published("finish")

    (info,) = reading.runs(storage)
    run = reading.load(info)

    assert (info.id, info.path, info.alias, info.status) == (told["id"], "cv/yolo", "published", "finished")
    assert (info.pid, info.best_metric_name, info.best_metric_value, info.last_step) == (told["pid"], "acc", 0.5, 6)
    assert info.duration_s > 0
    assert run.metrics == ["acc", "count", "flag", "huge", "loss", "none", "note"]
    assert list(map(repr, run["loss"].value)) == ["1.5", "nan", "inf", "-inf", repr(0.1 + 0.2)]
    assert list(run["loss"].step) == [1, 2, 10, 5, 6]
    assert run["loss"].stage == ["train", None, None, "val", None]
    assert [run[name].value[0] for name in ("count", "flag", "note", "none", "huge")] == [3, True, "text", None, 10**30]
    assert [type(run[name].value[0]) for name in ("count", "flag")] == [int, bool]
    assert list(run["loss"].by_step().step) == [1, 2, 5, 6, 10]
    assert [problem.reason for problem in run.problems] == ["metric 'listed' is of type list"]
    assert [line[11:] for line in run.text() if line.endswith("line")] == ["first line", "third line"]
    assert run.summary["final"] == 1
    assert math.isnan(run.summary["undefined"])
    assert run.config["args"] == {"lr": 0.1}


def test_run_without_an_end_is_lost_when_its_process_is_gone(published, storage):
    """0.7.2 has no spool: its pid says whether it lives."""
    _, process = published("wait")
    (info,) = reading.runs(storage)
    assert (info.status, info.stored_status, info.ended_at) == ("running", "running", None)

    process.kill()
    process.wait()

    assert reading.find(info).status == "lost"
    assert list(reading.load(info)["count"].value) == [3]


def test_run_whose_process_died_by_itself_is_lost(published, storage):
    """A script of 0.7.2 that ends without ``finish()`` leaves a run that is lost."""
    published("die")

    assert reading.runs(storage, status="lost")[0].path == "cv/yolo"


def test_run_with_missing_files_and_fields_is_read(published, storage):
    """Without summary, text, alias or times a run of 0.7.2 is still a run with numbers."""
    told, _ = published("finish")
    run_dir = Path(told["run_dir"])
    for name in ("summary.json", "logs.txt", "assets.json"):
        (run_dir / name).unlink()
    (run_dir / "meta.json").write_text('{"python": "3.11"}')
    (run_dir / "status.json").write_text('{"status": "finished"}')

    (info,) = reading.runs(storage)
    run = reading.load(info)

    assert (info.path, info.alias, info.summary, info.duration_s, info.hostname) == ("cv/yolo", None, {}, None, None)
    assert info.created_at > 0
    assert len(run["loss"]) == 5
    assert (run.config, run.assets, list(run.text())) == ({}, {}, [])


def test_legacy_layout_is_read(published, storage):
    """A run under ``<project>/<name>/runs`` is listed, and its numbers are read."""
    told, _ = published("finish")
    legacy = storage / "vision" / "yolo" / "runs"
    legacy.mkdir(parents=True)
    Path(told["run_dir"]).rename(legacy / told["id"])

    (info,) = reading.runs(storage)

    assert (info.id, info.run_dir) == (told["id"], str(legacy / told["id"]))
    assert len(reading.load(told["id"], storage)["loss"]) == 5


def test_recycled_run_is_listed_on_request(published, storage):
    """What the viewer has put into the recycle folder is listed with ``recycled`` alone."""
    told, _ = published("finish")
    recycle = storage / "runs" / ".recycle"
    recycle.mkdir()
    Path(told["run_dir"]).rename(recycle / told["id"])
    (recycle / told["id"] / ".deleted").write_text('{"deleted_at": 1.0}')

    assert reading.runs(storage) == []
    assert [info.path for info in reading.runs(storage, recycled=True)] == ["cv/yolo"]
