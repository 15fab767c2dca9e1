"""Spools whose processes are all gone: who stores what is left in them, and that it is done once."""

import gc
import os
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest
from support import status, trainers, wait_until
from support.trainers import Trainer, assert_exactly_once, assert_valid, counted, recover, wait_stored

import runicorn as rn
from runicorn.queue import spool
from runicorn.settings import Settings

LOG_AND_WAIT = """
run = rn.init()
opened(run)
sys.stdin.readline()
log_flat_out(run, 2000)
print("logged", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def orphan(tmp_path):
    """A run whose trainer and writer were killed when all was logged and nothing stored."""
    return trainers.orphan(Trainer(tmp_path, LOG_AND_WAIT))


def assert_recovered(trainer):
    """All of it is stored once, and the run has ended as one whose processes were killed."""
    assert trainer.returned == 2000
    assert_exactly_once(trainer)
    assert_valid(trainer.run_dir)
    found = status(trainer.run_dir)
    assert (found["status"], found["exit_reason"]) == ("failed", "process gone")


def test_the_next_init_in_that_storage(tmp_path, orphan):
    """Another run of the same storage has it stored by a writer of its own, and does not wait for that."""
    with rn.init(storage=str(tmp_path / "storage"), path="another") as run:
        run.log(a=1)
    wait_stored(orphan)
    assert_recovered(orphan)


def test_an_init_in_another_storage(tmp_path, orphan):
    """A run of another storage leaves it alone."""
    with rn.init(storage=str(tmp_path / "elsewhere")) as run:
        run.log(a=1)
    assert orphan.spool.exists()
    assert status(orphan.run_dir)["status"] == "running"
    recover(tmp_path)
    assert_recovered(orphan)


def test_recover_says_what_it_has_stored(tmp_path, orphan):
    """`runicorn recover` names the run, how many records it stored, where, and how the run has ended."""
    told = recover(tmp_path)
    for word in (orphan.run_dir.name, "2,000 records", str(orphan.run_dir), "failed"):
        assert word in told
    assert not orphan.spool.exists()
    assert_recovered(orphan)
    assert "Nothing to recover" in recover(tmp_path)


def test_adopters_at_once(tmp_path, orphan):
    """Of four `recover` and four `init()` that come at the same moment one stores it, and none fails."""
    storage = str(tmp_path / "storage")
    init = "import sys, runicorn as rn; sys.stdin.readline(); rn.init(storage=sys.argv[1], path='another').finish()"
    recover_it = "import sys, runicorn.cli as c; sys.stdin.readline(); c.main(['recover', '--storage', sys.argv[1]])"
    adopters = [
        subprocess.Popen(
            [sys.executable, "-c", code, storage], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for code in (init, recover_it) * 4
    ]
    for adopter in adopters:
        adopter.stdin.write("\n")
        adopter.stdin.flush()
    told = [adopter.communicate(timeout=100)[1] for adopter in adopters]
    assert [adopter.returncode for adopter in adopters] == [0] * 8, told
    wait_stored(orphan)
    assert_recovered(orphan)


@pytest.mark.parametrize("by", ["recover", "init"])
def test_the_run_directory_is_gone(tmp_path, orphan, by):
    """What is in the spool of a run whose directory somebody has removed is stored where it was."""
    shutil.rmtree(orphan.run_dir)
    if by == "recover":
        assert "2,000 records" in recover(tmp_path)
    else:
        rn.init(storage=str(tmp_path / "storage"), path="another").finish()
    wait_stored(orphan)
    assert_recovered(orphan)


def test_the_run_directory_was_moved(tmp_path, orphan):
    """A run that was moved in the viewer after its processes were killed gets what is in its spool there."""
    place = tmp_path / "storage" / "runs" / "moved" / orphan.run_dir.name
    place.parent.mkdir()
    orphan.run_dir.rename(place)
    recover(tmp_path)
    orphan.run_dir = place
    assert not orphan.spool.exists()
    assert_recovered(orphan)


def test_recover_gives_its_descriptors_back(tmp_path, orphan):
    """A process that stores many spools, one after the other, holds no descriptor of those that are done."""
    recover(tmp_path)  # whatever is opened once
    before = psutil.Process().num_fds()
    gc.disable()  # nothing is left to the collector
    try:
        for _ in range(3):
            trainer = Trainer(tmp_path, "run = rn.init()\nopened(run)\nrun.log({'i': 1})\nreturned(1)\nos.abort()\n")
            trainer.end()
            wait_until(lambda trainer=trainer: recover(tmp_path) and not trainer.spool.exists())
    finally:
        gc.enable()
    assert psutil.Process().num_fds() <= before
    assert_recovered(orphan)


def test_a_spool_that_nobody_knew_of(tmp_path):
    """A spool whose maker was killed before it said so is removed, and the live run that it was made for goes on."""
    with rn.init(storage=str(tmp_path / "storage")) as run:
        address = run._session.address
        stray, lock = spool.create(
            run_id=run.id,
            run_dir=str(run.run_dir),
            storage=str(tmp_path / "storage"),
            path=run.path,
            host=address.host,
            opened_at=time.time(),
            settings=Settings.from_environment(),
            distributed=True,
        )
        lock.release()
        run.log(i=1)
        recover(tmp_path)
        assert not os.path.exists(stray.spool)
        assert status(run.run_dir)["status"] == "running"
        run.log(i=2)
    assert status(run.run_dir)["status"] == "finished"
    assert status(run.run_dir)["last_step"] == 2


GOODBYE_BEHIND_A_BACKLOG = """
run = rn.init()
opened(run)
sys.stdin.readline()
for _ in range(2):
    child = os.fork()
    if child == 0:
        run.log({"child": 1})
        os._exit(0)
    os.waitpid(child, 0)
log_flat_out(run, 40_000)
run.finish()
os._exit(0)
"""


def test_goodbye_behind_a_backlog_is_read(tmp_path):
    """A run whose finish() was not waited for has ended as that said, though its owner left more than its share."""
    trainer = Trainer(
        tmp_path, GOODBYE_BEHIND_A_BACKLOG, RUNICORN_WRITER_RESTART_AFTER_S="600", RUNICORN_FINISH_TIMEOUT_S="0.01"
    )
    os.kill(trainer.writer_pid(), signal.SIGKILL)
    trainer.go_on()
    trainer.end()
    recover(tmp_path)
    wait_stored(trainer)
    assert counted(trainer.run_dir) == [*range(1, 40_001)]
    assert status(trainer.run_dir)["status"] == "finished"


def test_records_that_a_stopped_writer_holds_are_told(tmp_path):
    """`recover` names the writer of a dead trainer that stands still, and fails; when it goes on all is stored."""
    trainer = Trainer(tmp_path, LOG_AND_WAIT)
    writer = trainer.writer_pid()
    os.kill(writer, signal.SIGSTOP)
    trainer.go_on()
    assert trainer.read_line() == "logged"
    trainer.kill()
    trainer.end()
    told = recover(tmp_path)
    os.kill(writer, signal.SIGCONT)
    assert f"{trainer.run_dir.name}: not stored: its writer, process {writer}, stands still" in told
    assert recover(tmp_path).startswith("Nothing to recover")
    assert not trainer.spool.exists()
    assert_exactly_once(trainer)
    assert status(trainer.run_dir)["status"] == "failed"


def test_records_that_a_writer_cannot_store_are_told(tmp_path):
    """`recover` says why the writer of a dead trainer does not get on."""
    fault = tmp_path / "fault"
    fault.write_text("ENOSPC")
    trainer = Trainer(tmp_path, LOG_AND_WAIT, storage_fault=str(fault))
    trainer.writer_pid()
    trainer.go_on()
    assert trainer.read_line() == "logged"
    trainer.kill()
    trainer.end()
    told = recover(tmp_path)
    fault.unlink()
    assert "makes no progress: No space left on device" in told
    wait_stored(trainer)
    assert_exactly_once(trainer)
    assert status(trainer.run_dir)["status"] == "failed"
