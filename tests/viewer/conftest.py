"""Fixtures of the viewer's tests: storages with runs in them, the app in process, and the viewer as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from asking import TestClient
from lines_of_events import event

import runicorn
from runicorn.viewer.app import make_app
from runicorn.viewer.limits import Pace
from runicorn.viewer.state import Viewer

QUIET = Pace(check_s=3600.0, check_watched_s=3600.0, run_s=0.02, list_s=0.05)
HEADER = "X-Runicorn-Token"


@pytest.fixture(autouse=True)
def viewers_of_the_test(monkeypatch, tmp_path):
    """Links and sockets of the test's viewers are in a folder of its own."""
    folder = tmp_path / "viewers"
    folder.mkdir()
    monkeypatch.setenv("RUNICORN_VIEWER_DIR", str(folder))


@pytest.fixture
def make_run(storage):
    """Write the files of a run that has ended, as they lie on disk."""

    def make(run_id="20260101_120000_abcdef", *, path="cv", status="finished", lines=None, log=None, meta=None):
        run_dir = Path(storage) / "runs" / path / run_id
        run_dir.mkdir(parents=True)
        about = {"id": run_id, "path": path, "pid": 1, "hostname": "elsewhere", "created_at": 1000.0, **(meta or {})}
        (run_dir / "meta.json").write_text(json.dumps(about))
        (run_dir / "status.json").write_text(json.dumps({"status": status, "started_at": 1000.0, "ended_at": 1010.0}))
        (run_dir / "summary.json").write_text(json.dumps({"acc": 0.5, "runicorn": {"writer_cpu_s": 0.1}}))
        (run_dir / "assets.json").write_text(json.dumps({"config": {"args": {"lr": 0.001}}}))
        text = "".join(event(step, loss=1 / step) for step in range(1, 101)) if lines is None else "".join(lines)
        (run_dir / "events.jsonl").write_text(text)
        (run_dir / "logs.txt").write_text("12:00:00 | hello\n" if log is None else log)
        return run_dir

    return make


@pytest.fixture
def open_viewer(storage):
    """The app over the test's storage, and a client whose requests carry the token."""
    opened = []

    def open_one(*storages, client_host="localhost:23300", token=True, pace=QUIET, **options):
        viewer = Viewer([str(each) for each in storages or [storage]], pace=pace, **options)
        headers = {HEADER: viewer.token.text} if token else {}
        client = TestClient(
            make_app(viewer), base_url=f"http://{client_host}", headers=headers, raise_server_exceptions=False
        )
        client.viewer = viewer
        opened.append(viewer)
        return client

    yield open_one
    for viewer in opened:
        viewer.close()


@pytest.fixture
def client(open_viewer, make_run):
    """A client of a viewer whose storage has one run."""
    make_run()
    return open_viewer()


@pytest.fixture
def start_viewer(storage, tmp_path):
    """Start ``runicorn viewer`` as a process; its link, once it has said that."""
    started = []

    def start(*arguments, environment=None):
        storage.mkdir(exist_ok=True)
        source = str(Path(runicorn.__file__).parents[1])
        errors = (tmp_path / f"viewer-{len(started)}.txt").open("w")
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "runicorn.cli",
                "viewer",
                "--storage",
                str(storage),
                "--no-open",
                *map(str, arguments),
            ],
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": source, **(environment or {})},
            text=True,
        )
        errors.close()
        process.told = Path(errors.name)
        started.append(process)
        process.link = process.stdout.readline().strip()
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
