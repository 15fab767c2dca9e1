"""A script that logs in two parts, and what tests do with its spool, writer and process between them."""

import os
import shutil
import signal
from pathlib import Path

import psutil

from support import status
from support.trainers import Trainer, assert_exactly_once, assert_valid, wait_dead

SMALL = {"RUNICORN_SEGMENT_BYTES": "16384", "RUNICORN_SEGMENT_MAX_BYTES": "16384"}
NO_RESTART = {"RUNICORN_WRITER_RESTART_AFTER_S": "1000"}
SMALL_FILES = ["owner.lock", "writer.lock", "control", "plan", "address.json", "sigterm", "writer.log"]
TWO_PARTS = """
run = rn.init()
opened(run)
sys.stdin.readline()
log_flat_out(run, 5000)
print("half", flush=True)
sys.stdin.readline()
log_flat_out(run, 5000, 5001)
print("logged", flush=True)
sys.stdin.readline()
run.finish()
"""
CLEAN = {"status", "started_at", "ended_at", "last_step"}


def wipe(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)


def overflow_of(spool: Path) -> Path:
    return Path(os.environ["TMPDIR"]) / f"{spool.name}-overflow"


def log_half(trainer: Trainer) -> None:
    """Have the first part be logged."""
    trainer.go_on()
    assert trainer.read_line() == "half"


def log_rest(trainer: Trainer) -> None:
    """Have the second part be logged; the next ``go_on()`` ends the run."""
    trainer.go_on()
    assert trainer.read_line() == "logged"


def wipe_and_go_on(trainer: Trainer) -> None:
    """Have the spool's names go between the two parts."""
    log_half(trainer)
    wipe(trainer.spool)
    log_rest(trainer)


def suspended_writer(trainer: Trainer) -> psutil.Process:
    """The run's writer, which stores nothing until it is resumed."""
    writer = psutil.Process(trainer.writer_pid())
    writer.suspend()
    return writer


def kill_and_wait(pid: int) -> None:
    """Kill a writer."""
    os.kill(pid, signal.SIGKILL)
    wait_dead(pid)


def kill_and_end(trainer: Trainer) -> None:
    """Kill the script."""
    trainer.kill()
    trainer.end()


def end_well(trainer: Trainer, may_tell: frozenset[str] = frozenset()) -> None:
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert_exactly_once(trainer)
    assert status(trainer.run_dir)["status"] == "finished"
    assert set(status(trainer.run_dir)) - may_tell == CLEAN
    assert_valid(trainer.run_dir)
    assert not trainer.spool.exists()
    assert not overflow_of(trainer.spool).exists()


def end_all(trainer: Trainer) -> None:
    """Kill the writer once it has stored the first half, log the second half, and kill the trainer."""
    writer = trainer.writer_pid()
    log_half(trainer)
    kill_and_wait(writer)
    log_rest(trainer)
    kill_and_end(trainer)
