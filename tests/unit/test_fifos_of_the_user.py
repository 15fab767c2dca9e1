"""A FIFO, a device or a huge file as the user's configuration, in the cache or in a run: nobody waits for it."""

import json
import os
import subprocess
import sys
import time

import pytest
from support.trainers import recover

import runicorn

WITHIN_S = 60
INIT = "import runicorn as rn; run = rn.init(path='p'); run.log(a=1); run.finish(); print(run.storage_root)"


def fifo(path):
    """Nobody writes to it."""
    os.mkfifo(path)


def device(path):
    """Has no end."""
    path.symlink_to("/dev/zero")


def hole(path):
    """A terabyte of nothing."""
    with path.open("wb") as file:
        file.truncate(1 << 40)


KINDS = pytest.mark.parametrize("make", [fifo, device, hole])


def run_python(*arguments, cwd, **environment):
    """A Python that is ended if it waits."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )


@KINDS
def test_a_configuration_that_is_no_file_is_as_none(tmp_path, monkeypatch, make):
    """``init()`` takes the storage in the working directory, and waits for nobody."""
    (tmp_path / "c" / "runicorn").mkdir(parents=True)
    make(tmp_path / "c" / "runicorn" / "config.json")
    monkeypatch.delenv("RUNICORN_DIR", raising=False)
    done = run_python("-c", INIT, cwd=tmp_path, XDG_CONFIG_HOME=str(tmp_path / "c"))
    assert (done.stdout.strip(), done.stderr) == (str(tmp_path / ".runicorn"), "")


def test_a_configuration_may_be_a_link(tmp_path, monkeypatch):
    """As those have it who keep their configuration in a repository."""
    (tmp_path / "c" / "runicorn").mkdir(parents=True)
    root = json.dumps({"user_root_dir": str(tmp_path / "mine")})
    (tmp_path / "elsewhere.json").write_text(root, encoding="utf-8-sig")
    (tmp_path / "c" / "runicorn" / "config.json").symlink_to(tmp_path / "elsewhere.json")
    monkeypatch.delenv("RUNICORN_DIR", raising=False)
    done = run_python("-c", INIT, cwd=tmp_path, XDG_CONFIG_HOME=str(tmp_path / "c"))
    assert done.stdout.strip() == str(tmp_path / "mine")


@KINDS
def test_what_stands_in_the_cache_and_is_no_file_is_not_read(tmp_path, make):
    """Runs are listed and their numbers read although every file of the cache has become something else."""
    cache = tmp_path / "cache"
    run = runicorn.init(path="p", run_id="r", storage=str(tmp_path / "s"))
    for i in range(60_000):
        run.log(loss=i / 7)
    run.finish()
    long_ago = time.time() - 100
    for path in run.run_dir.iterdir():
        os.utime(path, (long_ago, long_ago))
    read = "import runicorn as rn; rn.runs(); print(len(rn.load('r')['loss'].value))"
    environment = {"RUNICORN_DIR": str(tmp_path / "s"), "RUNICORN_CACHE_DIR": str(cache)}
    assert run_python("-c", read, cwd=tmp_path, **environment).stdout == "60000\n"
    kept = [path for path in cache.rglob("*") if path.is_file()]
    assert len(kept) > 1
    for path in kept:
        path.unlink()
        make(path)
    done = run_python("-c", read, cwd=tmp_path, **environment)
    assert (done.stdout, done.stderr) == ("60000\n", "")


def test_a_fifo_among_the_events_does_not_hold_recover_up(tmp_path):
    """What a dead run has left is stored beside it."""
    done = run_python("-c", DIE, cwd=tmp_path, RUNICORN_DIR=str(tmp_path / "storage"))
    assert done.returncode == -9, done.stderr
    (run_dir,) = (tmp_path / "storage" / "runs" / "p").iterdir()
    os.mkfifo(run_dir / "events.rank1.jsonl")
    assert "stored 100 records" in recover(tmp_path)


DIE = """
import os, signal, sys
sys.executable = ""
import runicorn as rn
run = rn.init(path="p")
for i in range(100):
    run.log(i=i)
os.kill(os.getpid(), signal.SIGKILL)
"""
