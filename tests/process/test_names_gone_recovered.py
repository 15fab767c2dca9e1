"""Names of a spool are gone, and processes of its run are dead: what is left is stored, and what is lost is told."""

import os
import shutil

import psutil
import pytest
from support import events, status, wait_until
from support.trainers import Trainer, assert_exactly_once, counted, recover, recover_killed
from support.two_parts import (
    NO_RESTART,
    SMALL,
    SMALL_FILES,
    TWO_PARTS,
    end_all,
    kill_and_end,
    kill_and_wait,
    log_half,
    log_rest,
    overflow_of,
    suspended_writer,
    wipe,
    wipe_and_go_on,
)

from runicorn.queue.control_page import ControlPage
from runicorn.writer.end_status import Mark


@pytest.mark.parametrize("name", SMALL_FILES)
def test_a_small_file_is_made_again(tmp_path, name):
    """The writer puts a file back that has gone, so that the run can be recovered when all its processes are dead."""
    trainer = Trainer(tmp_path, TWO_PARTS, **NO_RESTART)
    writer = trainer.writer_pid()
    log_half(trainer)
    (trainer.spool / name).unlink()
    if name != "owner.lock":  # that its owner makes
        wait_until((trainer.spool / name).exists)
    kill_and_wait(writer)
    log_rest(trainer)
    recover_killed(trainer, tmp_path)
    assert_exactly_once(trainer)


@pytest.mark.parametrize("name", [name for name in SMALL_FILES if name != "address.json"])
def test_a_small_file_goes_when_all_are_dead(tmp_path, name):
    """A spool without one of its files is adopted."""
    trainer = Trainer(tmp_path, TWO_PARTS, **NO_RESTART)
    writer = trainer.writer_pid()
    control = ControlPage.open(str(trainer.spool / "control"))
    log_half(trainer)
    wait_until(lambda: control.stored_records == 5000)
    kill_and_wait(writer)
    log_rest(trainer)
    kill_and_end(trainer)
    (trainer.spool / name).unlink()
    assert "stored" in recover(tmp_path)
    assert_exactly_once(trainer)
    assert not trainer.spool.exists()


def test_a_live_run_without_its_lock_file_is_no_orphan(tmp_path):
    """Nobody takes over a run whose owner's lock file has gone by name, while the owner lives."""
    trainer = Trainer(tmp_path, TWO_PARTS, **NO_RESTART)
    kill_and_wait(trainer.writer_pid())
    (trainer.spool / "owner.lock").unlink()
    recover(tmp_path)
    assert trainer.spool.exists()
    assert status(trainer.run_dir)["status"] == "running"
    recover_killed(trainer, tmp_path)


def test_only_the_second_place_is_left(tmp_path):
    """What is in the second place of a dead run whose spool has gone is found and stored."""
    trainer = Trainer(tmp_path, TWO_PARTS, **NO_RESTART, **SMALL)
    kill_and_wait(trainer.writer_pid())
    log_half(trainer)
    kill_and_end(trainer)
    second = overflow_of(trainer.spool)
    second.mkdir(mode=0o700)
    for path in (*trainer.spool.glob("*.seg"), trainer.spool / "address.json"):
        shutil.move(path, second)
    wipe(trainer.spool)
    assert "stored" in recover(tmp_path)
    assert_exactly_once(trainer)
    assert not second.exists()


def test_what_is_lost_is_told(tmp_path):
    """A segment of a dead producer that went unseen is missing in status.json's words; the others are stored."""
    trainer = Trainer(tmp_path, TWO_PARTS, **SMALL)
    writer = suspended_writer(trainer)
    log_half(trainer)
    kill_and_end(trainer)
    segments = sorted(trainer.spool.glob("*.seg"))
    lost = segments[len(segments) // 2]
    lost.unlink()
    writer.resume()
    wait_until(lambda: status(trainer.run_dir)["status"] == "failed")
    stored = counted(trainer.run_dir)
    assert stored == sorted(set(stored))
    assert 1 in stored
    assert 5000 in stored
    assert len(stored) < 5000
    (told,) = status(trainer.run_dir)["storage_errors"]
    assert f"segment {int(lost.stem.rpartition('-')[2])} of process {trainer.process.pid} is missing" in told["error"]
    wait_until(lambda: not trainer.spool.exists())


def test_the_first_segment_and_the_plan_removed_are_told(tmp_path):
    """The next writer knows without a plan that a segment is missing before the first one that it finds."""
    trainer = Trainer(tmp_path, TWO_PARTS, **SMALL, **NO_RESTART)
    writer = trainer.writer_pid()
    control = ControlPage.open(str(trainer.spool / "control"))
    log_half(trainer)
    wait_until(lambda: control.stored_records == 5000)
    kill_and_wait(writer)
    before = set(trainer.spool.glob("*.seg"))
    log_rest(trainer)
    kill_and_end(trainer)
    unseen = sorted(set(trainer.spool.glob("*.seg")) - before)
    assert len(unseen) > 3
    for path in (*before, *unseen[:2], trainer.spool / "plan"):
        path.unlink()
    assert "stored" in recover(tmp_path)
    stored = counted(trainer.run_dir)
    assert stored == sorted(set(stored))
    assert len(stored) < 10_000
    told = [each["error"] for each in status(trainer.run_dir)["storage_errors"]]
    number = int(unseen[1].stem.rpartition("-")[2])
    assert any(f"segment {number} of process" in error for error in told)


def test_the_address_is_in_the_second_place_too(tmp_path):
    """A dead run whose spool has lost its address is stored, if its second place has a copy."""
    trainer = Trainer(tmp_path, TWO_PARTS, **NO_RESTART, **SMALL)
    end_all(trainer)
    second = overflow_of(trainer.spool)
    second.mkdir(mode=0o700)
    shutil.move(trainer.spool / "address.json", second)
    assert "stored" in recover(tmp_path)
    assert_exactly_once(trainer)
    assert not second.exists()
    assert not trainer.spool.exists()


def test_a_spool_without_any_address_is_told(tmp_path):
    """The command recover names a spool that does not say any more which run it belongs to, and leaves its records."""
    trainer = Trainer(tmp_path, TWO_PARTS, **NO_RESTART, **SMALL)
    end_all(trainer)
    (trainer.spool / "address.json").unlink()
    os.utime(trainer.spool, (0, 0))
    said = recover(tmp_path)
    assert f"{trainer.spool.name}: not stored: its address.json was removed by another program" in said
    assert list(trainer.spool.glob("*.seg"))
    shutil.rmtree(trainer.spool)


def test_nothing_of_the_spool_is_left(tmp_path):
    """A run whose spool has gone with all its processes is ended, and the file that names the spool is removed."""
    trainer = Trainer(tmp_path, TWO_PARTS, **NO_RESTART)
    end_all(trainer)
    wipe(trainer.spool)
    recover(tmp_path)
    assert status(trainer.run_dir)["status"] == "failed"
    assert not list(trainer.run_dir.glob(".spool-*"))


def test_resumed_while_a_writer_has_no_name(tmp_path):
    """A run that is resumed waits for the writer of the session before, whose spool has gone by name with its owner."""
    trainer = Trainer(tmp_path, TWO_PARTS, **NO_RESTART, **SMALL)
    writer = psutil.Process(trainer.writer_pid())
    log_half(trainer)
    log_rest(trainer)
    writer.suspend()
    wipe(trainer.spool)
    kill_and_end(trainer)
    body = f"""
    run = rn.init(run_id={trainer.run_dir.name!r})
    opened(run)
    log_flat_out(run, 1000, 10_001)
    run.finish()
    """
    refused = Trainer(tmp_path, body, expect_line=False, RUNICORN_FINISH_TIMEOUT_S="0.2")
    _, errors = refused.end()
    assert f"process {writer.pid} has still not stored" in errors
    writer.resume()
    resumed = Trainer(tmp_path, body, expect_line=False)
    _, errors = resumed.end()
    assert resumed.process.returncode == 0, errors
    steps = [event["data"]["global_step"] for event in events(trainer.run_dir)]
    assert steps == sorted(set(steps))
    assert steps[-1000:] == list(range(steps[-1000], steps[-1000] + 1000))
    assert status(trainer.run_dir)["status"] == "finished"


def test_the_mark_of_sigterm_without_a_name(tmp_path):
    """A SIGTERM's mark is seen by a writer that has opened its file before somebody removed the name."""
    path = tmp_path / "sigterm"
    path.touch()
    mark = Mark(str(path))
    with path.open("ab") as held:
        path.unlink()
        path.touch()
        assert not mark.is_set()
        held.write(b"Current thread 0x1 (most recent call first):")
    assert mark.is_set()
    mark.close()


def test_no_second_writer_beside_one_without_names(tmp_path):
    """A spool whose second place alone is left is not taken up by another writer while its own one lives."""
    trainer = Trainer(tmp_path, TWO_PARTS, **SMALL)
    writer = suspended_writer(trainer)
    wipe_and_go_on(trainer)
    kill_and_end(trainer)
    wipe(trainer.spool)
    assert (overflow_of(trainer.spool) / "address.json").exists()
    recover(tmp_path)
    assert status(trainer.run_dir)["status"] == "running"
    writer.resume()
    wait_until(lambda: status(trainer.run_dir)["status"] == "failed")
    stored = counted(trainer.run_dir)
    assert stored == sorted(set(stored))
