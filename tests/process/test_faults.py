"""Faults come only from the tests: a run has none by itself; a script and its writers have those that a test passes."""

import json
import os
import signal

import pytest
from support import events, faults, status
from support.trainers import Trainer, assert_exactly_once, recover, wait_dead, wait_stored

from runicorn.queue.control_page import ControlPage

WAIT_AND_LOG = """
run = rn.init()
opened(run)
sys.stdin.readline()
log_flat_out(run, 5000)
sys.stdin.readline()
run.finish()
"""
IN_PROCESS = """
from runicorn.session import writer_process
writer_process.can_launch = lambda: False
"""
SMALL = dict.fromkeys(("RUNICORN_SEGMENT_BYTES", "RUNICORN_SEGMENT_MAX_BYTES", "RUNICORN_BATCH_BYTES"), "16384")
QUICK = {"RUNICORN_WRITER_RESTART_AFTER_S": "0.2", "RUNICORN_LOOK_INTERVAL_S": "0.05"}


def test_variables_of_the_environment_break_no_run(tmp_path):
    """A run is stored as usual even if variables of its environment name a crash and a storage fault."""
    full = tmp_path / "full"
    full.write_text("ENOSPC")
    named = {"RUNICORN_CRASH_AT": "appended:1:both", "RUNICORN_STORAGE_FAULT": str(full)}
    trainer = Trainer(tmp_path, WAIT_AND_LOG, **named)
    trainer.go_on()
    _, errors = trainer.end()
    assert (trainer.process.returncode, errors) == (0, "")
    assert_exactly_once(trainer)
    found = status(trainer.run_dir)
    assert (found["status"], found.get("storage_errors")) == ("finished", None)


@pytest.mark.parametrize("who", ["owner", "writer", "both"])
@pytest.mark.parametrize("moment", ["sealed", "appended"])
def test_a_moment_kills_once_whom_it_names(tmp_path, moment, who):
    """At a moment of the owner or of the writer, the named process dies once, and the other one lives on."""
    trainer = Trainer(tmp_path, WAIT_AND_LOG, crash_at=f"{moment}:2:{who}", PYTHONWARNINGS="ignore", **SMALL, **QUICK)
    page, writer = ControlPage.open(str(trainer.spool / "control")), trainer.writer_pid()
    trainer.go_on()
    if who != "writer":
        trainer.process.wait(90)
    _, errors = trainer.end()
    assert trainer.process.returncode == (0 if who == "writer" else -signal.SIGKILL), errors
    assert os.path.exists(faults.mark_of(tmp_path, trainer.spool))
    if who == "both":
        wait_dead(writer)
        assert "stored" in recover(tmp_path)
    wait_stored(trainer)
    assert page.generation == (1 if who == "owner" else 2)
    assert_exactly_once(trainer)
    assert status(trainer.run_dir)["status"] == ("finished" if who == "writer" else "failed")


def test_a_moment_in_a_training_process_that_stores_its_run_itself(tmp_path):
    """If no writer can be started, the owner reaches the writer's moments."""
    trainer = Trainer(tmp_path, IN_PROCESS + WAIT_AND_LOG, crash_at="appended:1:owner", PYTHONWARNINGS="ignore")
    trainer.go_on()
    trainer.end()
    assert trainer.process.returncode == -signal.SIGKILL
    assert len(events(trainer.run_dir)) > 0
    assert "stored" in recover(tmp_path)
    assert_exactly_once(trainer)


@pytest.mark.parametrize("writer", ["its own", "in process", "restarted"])
def test_storage_fails_whatever_writer_stores(tmp_path, writer):
    """A fault reaches the first writer, the one that takes over from a dead one, and the training process itself."""
    fault = tmp_path / "fault"
    body = (IN_PROCESS if writer == "in process" else "") + WAIT_AND_LOG
    trainer = Trainer(tmp_path, body, storage_fault=str(fault), PYTHONWARNINGS="ignore", **QUICK)
    if writer == "restarted":
        first = trainer.writer_pid()
        os.kill(first, signal.SIGKILL)
        wait_dead(first)
    fault.write_text("EIO once")
    trainer.go_on()
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert not fault.exists()
    (trouble,) = status(trainer.run_dir)["storage_errors"]
    assert trouble["error"].startswith("Input/output error (made by the tests)")
    assert_exactly_once(trainer)


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_children_start_writers_with_the_same_faults(tmp_path, way):
    """A child process of multiprocessing has the faults of its parent, as it has its variables."""
    body = f"""
    import json, multiprocessing
    from runicorn.session import writer_process

    def tell():
        print(json.dumps(writer_process._BOOT), flush=True)

    if __name__ == "__main__":
        tell()
        child = multiprocessing.get_context({way!r}).Process(target=tell)
        child.start()
        child.join()
    """
    trainer = Trainer(tmp_path, body, expect_line=False, crash_at="stored:1:writer")
    out, errors = trainer.end()
    own, of_child = map(json.loads, out.splitlines())
    assert own == of_child, errors
    assert "stored:1:writer" in own
