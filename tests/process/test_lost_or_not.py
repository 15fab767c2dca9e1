"""A run without a spool is lost only if no writer is at it, whatever becomes of its spool's names meanwhile."""

import json
import os
import shutil
import signal

import psutil
import pytest
from support import status, wait_until
from support.trainers import Trainer, wait_dead

from runicorn.managing import lost_runs, targets
from runicorn.queue import spool_address
from runicorn.settings import Settings

BODY = """
run = rn.init()
opened(run)
log_flat_out(run, 100)
print("logged", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def trainer(tmp_path):
    """One that was killed; its writer is stopped, and its spool has no names any more."""
    made = Trainer(tmp_path, BODY)
    made.writer = psutil.Process(made.writer_pid())
    assert made.read_line() == "logged"
    made.writer.suspend()
    made.address = (made.spool / "address.json").read_bytes()
    shutil.rmtree(made.spool)
    made.kill()
    made.end()
    return made


def test_a_writer_that_has_ended_the_run_meanwhile_has_said_how(trainer, tmp_path, monkeypatch):
    """The status is read when it is known that no writer lives and no spool is there: not before."""
    os.kill(trainer.writer.pid, signal.SIGKILL)
    wait_dead(trainer.writer.pid)

    def ended_meanwhile(*_):
        (trainer.run_dir / "status.json").write_text(json.dumps({"status": "finished", "started_at": 1.0}))
        return []

    monkeypatch.setattr(targets, "spools_of", ended_meanwhile)
    assert lost_runs.end_lost(str(tmp_path / "storage"), Settings.from_environment()) == ([], [])
    assert status(trainer.run_dir)["status"] == "finished"


def test_a_writer_that_has_just_made_its_address_again(trainer, tmp_path, monkeypatch):
    """A spool that comes back between two looks is no reason to take its run for lost."""
    spools_of = targets.spools_of

    def comes_back(*arguments):
        found = spools_of(*arguments)
        trainer.spool.mkdir(mode=0o700, exist_ok=True)
        (trainer.spool / spool_address.ADDRESS).write_bytes(trainer.address)
        return found

    monkeypatch.setattr(targets, "spools_of", comes_back)
    assert lost_runs.end_lost(str(tmp_path / "storage"), Settings.from_environment()) == ([], [])
    assert status(trainer.run_dir)["status"] == "running"
    trainer.writer.resume()
    wait_until(lambda: status(trainer.run_dir)["status"] == "failed" and not trainer.spool.exists())
