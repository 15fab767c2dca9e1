"""A scan that looks at what has changed alone finds what a listing of everything finds."""

from __future__ import annotations

import json
import os
import random
import shutil

import pytest

from runicorn import reading
from runicorn.viewer import scan
from runicorn.viewer.scan import Scan


def make(storage, path, run_id, status="finished"):
    run_dir = storage / "runs" / path / run_id
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "status.json").write_text(json.dumps({"status": status, "started_at": 1.0}))
    return run_dir


def replace(run_dir, name, content):
    (run_dir / "new").write_text(json.dumps(content))
    os.replace(run_dir / "new", run_dir / name)


@pytest.mark.parametrize("seed", range(6))
def test_it_finds_what_a_listing_finds(storage, seed, monkeypatch):
    """Over any changes: runs made and half made, ended, tagged, moved, deleted, folders that come and go, all of it."""
    print(f"seed {seed}")
    draw = random.Random(seed)
    monkeypatch.setattr(scan, "_AT_ONCE", 10_000)
    folders = ["", "a", "a/b", "a/b/c", "d", "d/e"]
    (storage / "runs").mkdir(parents=True)
    looking = Scan(str(storage))
    made = []
    for number in range(60):
        what = draw.choice(
            ["make", "make", "half", "end", "tag", "delete", "move", "empty", "nothing", "folder", "all"]
        )
        if what == "make":
            made.append(make(storage, draw.choice(folders), f"run{number}", draw.choice(["finished", "running"])))
        elif what == "half":
            (storage / "runs" / draw.choice(folders) / f"half{number}").mkdir(parents=True)
        elif what == "empty":
            (storage / "runs" / f"empty{number}" / "below").mkdir(parents=True)
        elif what in {"folder", "all"}:
            place = storage / "runs" / (draw.choice(folders) if what == "folder" else "")
            if draw.random() < 0.5 and place.is_dir():
                shutil.rmtree(place)
                made = [run_dir for run_dir in made if run_dir.is_dir()]
        elif made:
            run_dir = draw.choice(made)
            if what == "end":
                replace(run_dir, "status.json", {"status": "failed", "started_at": 1.0})
            elif what == "tag":
                replace(run_dir, "meta.json", {"tags": [str(number)]})
            elif what == "delete":
                shutil.rmtree(run_dir)
                made.remove(run_dir)
            elif what == "move":
                target = storage / "runs" / f"moved{number}" / run_dir.name
                target.parent.mkdir(parents=True)
                run_dir.rename(target)
                made[made.index(run_dir)] = target
        if draw.random() < 0.7:
            found = {info.run_dir: (info.stored_status, info.tags, info.path) for info in looking.infos()}
            listed = {info.run_dir: (info.stored_status, info.tags, info.path) for info in reading.runs(storage)}
            assert found == listed, (number, what)


def test_ended_runs_are_looked_at_in_turns(storage, monkeypatch):
    """Of more than are looked at at once, each is looked at after a few looks."""
    monkeypatch.setattr(scan, "_AT_ONCE", 3)
    made = [make(storage, "a", f"run{number}") for number in range(10)]
    looking = Scan(str(storage))
    looking.infos()
    for run_dir in made:
        replace(run_dir, "meta.json", {"tags": ["new"]})
    for _ in range(5):
        found = looking.infos()
    assert [info.tags for info in found] == [["new"]] * 10


def test_what_a_look_costs_does_not_grow_with_what_has_gone(storage, monkeypatch):
    """When all runs of many folders are removed at once, each of them is forgotten in one step."""
    for number in range(300):
        make(storage, f"p{number % 30}", f"run{number}")
    looking = Scan(str(storage))
    assert len(looking.infos()) == 300
    shutil.rmtree(storage / "runs")
    (storage / "runs").mkdir()
    forgotten = []
    forget = Scan._forget
    monkeypatch.setattr(Scan, "_forget", lambda self, path: forgotten.append(path) or forget(self, path))
    assert looking.infos() == []
    assert len(forgotten) == len(set(forgotten)) == 330
