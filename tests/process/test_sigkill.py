"""SIGKILL of the trainer, of the writer, and of both: nothing that ``log()`` has taken is lost or doubled."""

import os
import random
import signal
from contextlib import suppress

import pytest
from support import status, wait_until
from support.trainers import Trainer, assert_exactly_once, wait_dead, wait_stored

from runicorn.cli import main

RECORDS = 10_000
MOMENTS = 4 * int(os.environ.get("CHAOS_TRIALS", "1"))

FLAT_OUT = f"""
run = rn.init()
opened(run)
sys.stdin.readline()
log_flat_out(run, {RECORDS})
run.finish()
"""
THEN_WAIT = f"""
run = rn.init()
opened(run)
log_flat_out(run, {RECORDS})
import signal
signal.pause()
"""


def moments(who: str) -> list[int]:
    seed = int(os.environ.get("RUNICORN_TEST_SEED", "20261122"))
    return [random.Random(f"{seed}-{who}-{n}").randrange(1, RECORDS) for n in range(MOMENTS)]


@pytest.mark.parametrize("moment", moments("trainer"))
def test_trainer(tmp_path, moment):
    """A trainer that is killed at any moment leaves every returned record, and the writer ends the run as failed."""
    trainer = Trainer(tmp_path, THEN_WAIT)
    trainer.wait_returned(moment)
    trainer.kill()
    trainer.end()
    wait_stored(trainer)
    assert_exactly_once(trainer)
    assert status(trainer.run_dir)["status"] == "failed"
    assert status(trainer.run_dir)["exit_reason"] == "killed by signal 9"


def test_trainer_after_ten_thousand(tmp_path):
    """All of 10,000 records are there when the trainer is killed right after the last call returned."""
    trainer = Trainer(tmp_path, THEN_WAIT)
    trainer.wait_returned(RECORDS)
    trainer.kill()
    trainer.end()
    wait_stored(trainer)
    assert trainer.returned == RECORDS
    assert_exactly_once(trainer)


@pytest.mark.parametrize("moment", moments("writer"))
def test_writer(tmp_path, moment):
    """A writer that is killed in mid-stream is replaced, and finish() returns with every record stored once."""
    trainer = Trainer(tmp_path, FLAT_OUT, RUNICORN_WRITER_RESTART_AFTER_S="0.3", RUNICORN_LOOK_INTERVAL_S="0.05")
    writer = trainer.writer_pid()
    trainer.go_on()
    wait_until(lambda: trainer.returned >= moment)
    with suppress(ProcessLookupError):  # if the run was over first, everything must be there all the same
        os.kill(writer, signal.SIGKILL)
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert not trainer.spool.exists()
    assert trainer.returned == RECORDS
    assert_exactly_once(trainer)
    assert status(trainer.run_dir)["status"] == "finished"


@pytest.mark.parametrize("moment", moments("both"))
def test_both(tmp_path, moment, capsys):
    """Trainer and writer killed at once leave the records in the spool, and `runicorn recover` stores them all."""
    trainer = Trainer(tmp_path, THEN_WAIT)
    writer = trainer.writer_pid()
    if trainer.returned < moment:
        trainer.wait_returned(moment)
    trainer.kill()
    os.kill(writer, signal.SIGKILL)
    trainer.end()
    wait_dead(writer)
    assert main(["recover", "--storage", str(tmp_path / "storage")]) == 0
    assert trainer.run_dir.name in capsys.readouterr().out
    assert not trainer.spool.exists()
    assert_exactly_once(trainer)
    assert status(trainer.run_dir)["status"] == "failed"
