"""Who dies x how x when: after each, every record is stored once and in order, and nothing is left behind."""

import os
import random
import signal

import pytest
from support import status, wait_until
from support.trainers import (
    STARTED,
    Trainer,
    assert_exactly_once,
    assert_valid,
    counted,
    recover,
    wait_dead,
    wait_stored,
)

import runicorn as rn

SEED = int(os.environ.get("CHAOS_SEED", "20261123"))
TRIALS = int(os.environ.get("CHAOS_TRIALS", "1"))
QUICK = {
    "RUNICORN_WRITER_RESTART_AFTER_S": "0.3",
    "RUNICORN_LOOK_INTERVAL_S": "0.05",
    "RUNICORN_SEGMENT_BYTES": "16384",
    "RUNICORN_SEGMENT_MAX_BYTES": "16384",
}
RECORDS = 4000
FLAT_OUT = f"run = rn.init()\nopened(run)\nlog_flat_out(run, {RECORDS})\nrun.finish()\n"
PACED = """
import time
run = rn.init()
opened(run)
for i in range(1, 100_001):
    run.log({"i": i})
    returned(i)
    time.sleep(0.0005)
"""

# What the writer does to a batch, and in finish(); the owner's init and rotations.
WRITER_MOMENTS = ["planned", "appending", "appended", "stored", "closing", "synced", "status", "done"]
OWNER_MOMENTS = ["directory", "spool", "files", "launched", "sealed", "rotated"]
# If no writer was there to ask the system.
GONE = ("failed", "process gone")
ENDINGS = {
    "SIGKILL": ("failed", "killed by signal 9"),
    "SIGTERM": ("interrupted", "SIGTERM"),
    "SIGINT": ("interrupted", "KeyboardInterrupt"),
    "SIGINT twice": ("interrupted", "KeyboardInterrupt"),
    "SIGHUP": ("failed", "killed by signal 1"),
}


@pytest.mark.parametrize("how", list(ENDINGS))
@pytest.mark.parametrize("who", ["trainer", "writer", "both", "group"])
def test_signal_at_a_random_moment(tmp_path, who, how):
    """Each signal to each of them, at a random moment of a paced run."""
    moment = random.Random(f"{SEED}-{who}-{how}").randrange(1, 400)
    print(f"seed {SEED}, moment {moment}")
    trainer = Trainer(tmp_path, PACED, **QUICK)
    writer = trainer.writer_pid()
    trainer.wait_returned(moment)
    number = getattr(signal, how.split()[0])
    for _ in range(2 if how.endswith("twice") else 1):
        if who == "group":
            os.killpg(trainer.process.pid, number)
        if who in {"writer", "both"}:
            os.kill(writer, number)
        if who in {"trainer", "both"}:
            trainer.kill(number)
    if who == "writer":
        # The trainer goes on, with this writer or another one, and then ends as any trainer does.
        trainer.wait_returned(moment + 500)
        trainer.kill()
    trainer.end()
    if how == "SIGKILL" and who in {"writer", "both"}:
        wait_dead(writer)
        recover(tmp_path)
    wait_stored(trainer)
    assert_exactly_once(trainer)
    assert_valid(trainer.run_dir)
    expected = ENDINGS["SIGKILL"] if who == "writer" else ENDINGS[how]
    if how == "SIGTERM" and who == "writer":
        expected = ENDINGS["SIGTERM"]  # a writer that was sent SIGTERM takes the owner's end for the scheduler's
    if how.endswith("twice") and who != "writer":
        # The second one may come while the first is still on its way, or end the waiting at exit.
        assert status(trainer.run_dir)["status"] == "interrupted"
        return
    found = status(trainer.run_dir)
    allowed = {expected}
    if how == "SIGKILL" and who in {"writer", "both"}:
        allowed.add(GONE)
    assert (found["status"], found.get("exit_reason")) in allowed


@pytest.mark.parametrize("who", ["owner", "writer", "both"])
@pytest.mark.parametrize("moment", WRITER_MOMENTS)
def test_sigkill_at_a_moment_of_the_writer(tmp_path, moment, who):
    """SIGKILL in the middle of the writer's work, in several batches and in finish()."""
    dice = random.Random(f"{SEED}-{moment}-{who}")
    in_finish = moment in {"closing", "synced", "status", "done"}
    counts = [1 if in_finish else dice.randrange(1, 4) for _ in range(TRIALS)]
    print(f"seed {SEED}, counts {counts}")
    trainers = [
        Trainer(make(tmp_path / str(n)), FLAT_OUT, **QUICK, crash_at=f"{moment}:{count}:{who}")
        for n, count in enumerate(counts)
    ]
    for trainer in trainers:
        trainer.end()
        settle(trainer)
        assert_exactly_once(trainer)
        assert_valid(trainer.run_dir)
        if who == "writer":
            assert trainer.process.returncode == 0, trainer.errors.read_text()
            assert trainer.returned == RECORDS
        expect_end(trainer, ended_itself=who == "writer", in_finish=in_finish)


@pytest.mark.parametrize("who", ["owner", "writer", "both"])
@pytest.mark.parametrize("moment", OWNER_MOMENTS)
def test_sigkill_at_a_moment_of_the_owner(tmp_path, moment, who):
    """SIGKILL inside init() and inside a rotation, of the owner, of the writer, of both."""
    dice = random.Random(f"{SEED}-{moment}-{who}")
    rotation = moment in {"sealed", "rotated"}
    counts = [dice.randrange(1, 6) if rotation else 1 for _ in range(TRIALS)]
    print(f"seed {SEED}, counts {counts}")
    trainers = [
        Trainer(
            make(tmp_path / str(n)),
            FLAT_OUT,
            expect_line=rotation,
            **QUICK,
            crash_at=f"{moment}:{count}:{who}",
        )
        for n, count in enumerate(counts)
    ]
    for trainer in trainers:
        trainer.end()
        found = list((trainer.counter.parent / "storage").glob("runs/default/*"))
        assert len(found) == 1
        trainer.run_dir = found[0]
        with rn.init(storage=str(trainer.counter.parent / "storage")):
            pass  # the next init() in that storage comes by
        settle(trainer)
        assert_exactly_once(trainer)
        assert_valid(trainer.run_dir)
        if rotation or moment in {"files", "launched"}:
            expect_end(trainer, ended_itself=who == "writer", in_finish=False)


def make(directory):
    directory.mkdir()
    return directory


def settle(trainer: Trainer) -> None:
    """Have what is left stored: by the writer that lives, else by `runicorn recover`."""
    storage = trainer.counter.parent
    # Again, where a process that was killed has not let go of its lock yet.
    wait_until(lambda: recover(storage) and not spools_of(storage), 60, "the spool is still there")


def spools_of(storage) -> list[str]:
    from runicorn.queue import spool, spool_address
    from runicorn.settings import Settings

    found = []
    for path in spool.find(Settings.from_environment()):
        try:
            if spool_address.read_address(path).storage.startswith(str(storage)):
                found.append(path)
        except (OSError, ValueError):
            continue
    return found


def expect_end(trainer: Trainer, *, ended_itself: bool, in_finish: bool) -> None:
    found = status(trainer.run_dir)
    if ended_itself or in_finish:
        assert found["status"] == "finished"
    elif counted(trainer.run_dir) and trainer.returned < RECORDS:
        assert (found["status"], found["exit_reason"]) in {GONE, ENDINGS["SIGKILL"]}
    else:
        assert found["status"] in {"finished", "failed"}


def test_trainers_are_closed():
    """The list of trainers is empty between tests: nothing of one test can be seen by the next."""
    assert STARTED == []
