"""``runicorn recover`` ends runs that nobody is left to end; it touches none that somebody may have."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import runicorn as rn
from runicorn import cli
from runicorn.host import identity
from runicorn.storage.run_directory import RunDir


@pytest.fixture
def dead_pid():
    """The id of a process that has just gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def make_run(storage):
    """Write the files of a run as 0.7.2 leaves them when its process is killed."""

    def make(run_id, pid, *, hostname=None, status="running"):
        run_dir = storage / "runs" / "cv" / run_id
        run_dir.mkdir(parents=True)
        meta = {
            "id": run_id,
            "path": "cv",
            "pid": pid,
            "hostname": hostname or identity.hostname(),
            "created_at": 1000.0,
        }
        (run_dir / "meta.json").write_text(json.dumps(meta))
        (run_dir / "status.json").write_text(json.dumps({"status": status, "started_at": 1000.0, "mine": 1}))
        events = run_dir / "events.jsonl"
        events.write_text('{"ts":1001.0,"type":"metrics","data":{"a":1,"global_step":1,"time":1001.0}}\n')
        os.utime(events, (1001.0, 1001.0))
        return run_dir

    return make


def status_of(run_dir):
    """What its file says."""
    return json.loads((run_dir / "status.json").read_text())


def test_lost_run_is_ended_when_it_was_last_seen(make_run, dead_pid, storage, capsys):
    """A run whose process is gone is failed, at the time of its last line; what else its status says stays."""
    run_dir = make_run("20261123_101500_abcdef", dead_pid)
    assert [info.status for info in rn.runs(storage)] == ["lost"]
    assert cli.main(["recover", "--storage", str(storage), "--json"]) == 0
    expected = {"id": run_dir.name, "run_dir": str(run_dir), "status": "failed"}
    assert json.loads(capsys.readouterr().out) == {"stored": [], "ended": [expected], "problems": []}
    assert status_of(run_dir) == {
        "status": "failed",
        "started_at": 1000.0,
        "ended_at": 1001.0,
        "exit_reason": "process gone",
        "mine": 1,
    }
    assert cli.main(["recover", "--storage", str(storage)]) == 0
    assert "Nothing to recover" in capsys.readouterr().out


@pytest.mark.parametrize("whose", ["living", "elsewhere", "ended"])
def test_run_that_is_not_lost_is_left_alone(make_run, dead_pid, storage, whose):
    """A run of a living process, one of another host, and one that has ended stay as they are."""
    arguments = {
        "living": {"pid": os.getpid()},
        "elsewhere": {"pid": dead_pid, "hostname": "another"},
        "ended": {"pid": dead_pid, "status": "interrupted"},
    }
    run_dir = make_run("20261123_101500_abcdef", **arguments[whose])
    before = status_of(run_dir)
    assert cli.main(["recover", "--storage", str(storage)]) == 0
    assert status_of(run_dir) == before


def test_link_out_of_the_storage_is_not_followed(make_run, dead_pid, storage, tmp_path):
    """A run that a link in the storage leads to is not ended: it is another storage's."""
    run_dir = make_run("20261123_101500_abcdef", dead_pid)
    outside = tmp_path / "elsewhere"
    run_dir.rename(outside)
    run_dir.symlink_to(outside)
    before = status_of(outside)
    assert cli.main(["recover", "--storage", str(storage)]) == 0
    assert status_of(outside) == before


def test_run_that_cannot_be_written_keeps_no_other(make_run, dead_pid, storage, capsys, monkeypatch):
    """What fails for one run is told, the others are ended, and the command says that it could not do all."""
    runs = [make_run(f"20261123_10150{n}_abcdef", dead_pid) for n in range(3)]
    replace = RunDir.replace

    def replace_others(self, name, content):
        if self.path == str(runs[1]):
            raise PermissionError(13, "Permission denied", name)
        replace(self, name, content)

    monkeypatch.setattr(RunDir, "replace", replace_others)
    assert cli.main(["recover", "--storage", str(storage)]) == 1
    said = capsys.readouterr().out
    assert f"{runs[1].name}: lost, and its status was not written" in said
    assert [status_of(run_dir)["status"] for run_dir in runs] == ["failed", "running", "failed"]
