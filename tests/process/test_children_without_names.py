"""All names of a spool vanish, and its writer dies, while forked children live: their records are stored or told."""

import json
import mmap
import os
import shutil
import signal
import sys
from pathlib import Path

import psutil
import pytest
from support import events, status, wait_until
from support.trainers import Trainer, assert_valid, recover, wait_dead

from runicorn.queue.control_page import ControlPage, Noted

QUICK = {"RUNICORN_WRITER_RESTART_AFTER_S": "0.3", "RUNICORN_LOOK_INTERVAL_S": "0.02", "PYTHONWARNINGS": "ignore"}
BODY = """
import time
run = rn.init()
opened(run)


def log(producer, first, most):
    for i in range(first, first + most):
        run.log({{"producer": producer, "i": i}})


child = os.fork()
if not child:
    for first in (1, 101, 201):
        with open(f"go-on-{{first}}") as words:  # a pipe with a name; of its own: the last word may not be closed yet
            words.readline()
        log(1, first, 100)
        open(f"logged-{{first}}", "w").close()
    {end_of_child}
log(0, 1, 100)
sys.stdin.readline()
{end_of_owner}
"""
WHEN_WRITER_CAME = """
while run._session.control.generation < 2:
    run.log({"producer": 2, "i": 0})
    time.sleep(0.01)
print("another writer", flush=True)
sys.stdin.readline()
"""
LOG_ON = """
i = 0
while not os.path.exists("end"):
    run.log({"producer": 3, "i": (i := i + 1)})
    time.sleep(0.01)
os.waitpid(child, 0)
run.finish()
"""


class Family:
    """A trainer with one child, which logs a hundred records each time that it is told to.

    Args:
        tmp_path: of the test.
        end_of_owner: what the owner does when it may go on.
        end_of_child: what the child does after three hundred records.
        prefix: the command that the trainer's is given to.
    """

    def __init__(
        self, tmp_path: Path, end_of_owner: str, end_of_child: str = "os._exit(0)", prefix: tuple[str, ...] = ()
    ) -> None:
        self._directory = tmp_path
        self._first = 1
        for first in (1, 101, 201):
            os.mkfifo(tmp_path / f"go-on-{first}")
        body = BODY.format(end_of_owner=end_of_owner, end_of_child=end_of_child)
        self.trainer = Trainer(tmp_path, body, prefix=prefix, **QUICK)
        self.writer = psutil.Process(self.trainer.writer_pid())
        self.child = 0

    def log_in_child(self) -> None:
        """Have the child log, and wait until it has."""
        (self._directory / f"go-on-{self._first}").write_text("\n")
        wait_until((self._directory / f"logged-{self._first}").exists)
        self._first += 100
        if not self.child:  # after its last record it may have ended
            self.child = next(each.pid for each in psutil.Process(self.trainer.process.pid).children())

    def wait_stored(self, records: int) -> None:
        """Wait until the run has so many lines."""
        path = self.trainer.run_dir / "events.jsonl"
        wait_until(lambda: path.exists() and len(events(self.trainer.run_dir)) >= records)

    def lose_names_and_writer(self) -> None:
        """Remove all names, and kill the writer."""
        shutil.rmtree(self.trainer.spool)
        self.writer.kill()
        wait_dead(self.writer.pid)

    def stored(self, producer: int) -> list[int]:
        """What the run has of one of them."""
        data = [event["data"] for event in events(self.trainer.run_dir)]
        return [each["i"] for each in data if each["producer"] == producer]

    def told(self) -> list[str]:
        """What the run's status says is missing."""
        return [each["error"] for each in status(self.trainer.run_dir).get("storage_errors", [])]


def test_a_part_that_was_stored_before_its_plan_was_lost_is_not_stored_again(tmp_path):
    """A child makes its segment again after the next writer has compared what it had found with the run's files."""
    family = Family(tmp_path, WHEN_WRITER_CAME + LOG_ON)
    family.log_in_child()
    family.wait_stored(200)
    family.lose_names_and_writer()
    family.trainer.go_on()
    assert family.trainer.read_line() == "another writer"
    family.trainer.go_on()
    for _ in range(4):  # so many batches: what it had found is compared
        stored = len(family.stored(3))
        wait_until(lambda stored=stored: len(family.stored(3)) > stored)
    for _ in range(2):
        family.log_in_child()
    (tmp_path / "end").touch()
    _, errors = family.trainer.end()
    assert family.trainer.process.returncode == 0, errors
    assert family.stored(0) == list(range(1, 101))
    assert family.stored(1) == list(range(1, 301))


@pytest.mark.parametrize("end_of_owner", ["run.finish()", ""])
def test_what_no_writer_has_seen_is_waited_for(tmp_path, end_of_owner):
    """The next writer knows by the control page that a child has logged, and ends the run when it has its records."""
    family = Family(tmp_path, WHEN_WRITER_CAME + end_of_owner)
    family.writer.suspend()
    family.log_in_child()
    family.lose_names_and_writer()
    family.trainer.go_on()
    assert family.trainer.read_line() == "another writer"
    family.trainer.go_on()
    for _ in range(2):
        family.log_in_child()
    family.trainer.end()
    wait_until(lambda: status(family.trainer.run_dir)["status"] == "finished")
    assert family.stored(1)[:100] == list(range(1, 101))
    assert family.stored(0) == list(range(1, 101))
    assert not family.told()
    assert_valid(family.trainer.run_dir)


@pytest.mark.parametrize(("end_of_owner", "status_then"), [("run.finish()", "finished"), ("", "finished")])
def test_what_no_process_has_any_more_is_told(tmp_path, end_of_owner, status_then):
    """A child that dies before it could make its segments again: the status says so, and nothing else is missing."""
    family = Family(tmp_path, WHEN_WRITER_CAME + end_of_owner)
    family.writer.suspend()
    family.log_in_child()
    family.lose_names_and_writer()
    os.kill(family.child, signal.SIGKILL)
    family.trainer.go_on()
    assert family.trainer.read_line() == "another writer"
    family.trainer.go_on()
    _, errors = family.trainer.end()
    wait_until(lambda: status(family.trainer.run_dir)["status"] == status_then)
    assert family.stored(0) == list(range(1, 101))
    assert family.stored(1) == []
    (told,) = family.told()
    assert told.startswith(f"segments 0 to 0 of process {family.child} are missing: another program has removed them")
    assert "Something was not stored: segments 0 to 0" in errors
    assert_valid(family.trainer.run_dir)


@pytest.mark.parametrize("killed", ["owner", "nobody"])
def test_a_child_that_is_lost_while_the_writer_lives_is_told(tmp_path, killed):
    """A segment that was removed before the living writer had opened it, and whose process is dead, is told."""
    family = Family(tmp_path, "run.finish()")
    family.writer.suspend()
    family.log_in_child()
    shutil.rmtree(family.trainer.spool)
    os.kill(family.child, signal.SIGKILL)
    if killed == "owner":
        family.trainer.kill()
    family.writer.resume()
    if killed == "nobody":
        family.trainer.go_on()
    family.trainer.end()
    wait_until(lambda: status(family.trainer.run_dir)["status"] != "running")
    assert any(f"segments 0 to 0 of process {family.child} are missing" in each for each in family.told())
    assert family.stored(1) == []
    wait_until(lambda: not family.trainer.spool.exists())


WITHOUT_MAPPINGS = """
import ctypes, os, sys
for capability in (21, 40):  # CAP_SYS_ADMIN, CAP_CHECKPOINT_RESTORE
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.argv[1], sys.argv[1:])
"""


def may_open_mappings(file: Path) -> bool:
    """Whether this user may open a file by the mapping that a process has of it."""
    file.write_bytes(b"x")
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 1):
        lines = Path("/proc/self/maps").read_text().splitlines()
        (mapped,) = [line.split()[0] for line in lines if line.endswith(str(file))]
        try:
            os.close(os.open(f"/proc/self/map_files/{mapped}", os.O_RDWR))
        except PermissionError:
            return False
    return True


@pytest.mark.parametrize("is_allowed", [True, False])
def test_what_a_child_that_lives_and_never_calls_again_has_is_stored_or_told(tmp_path, is_allowed):
    """Its segments went by name unseen: they are opened by its mapping; else the status says that it lives and how."""
    prefix = () if is_allowed else (sys.executable, "-c", WITHOUT_MAPPINGS)
    family = Family(tmp_path, "run.finish()", prefix=prefix)
    family.writer.suspend()
    family.log_in_child()
    for path in family.trainer.spool.glob(f"{family.child:x}.*"):
        path.unlink()
    family.writer.resume()
    family.trainer.go_on()
    try:
        wait_until(lambda: status(family.trainer.run_dir)["status"] == "finished")
        assert psutil.Process(family.child).status() != psutil.STATUS_ZOMBIE
    finally:
        os.kill(family.child, signal.SIGKILL)
    family.trainer.end()
    assert family.stored(0) == list(range(1, 101))
    if is_allowed and may_open_mappings(tmp_path / "mapped"):
        assert family.stored(1) == list(range(1, 101))
        assert not family.told()
    else:
        (told,) = family.told()
        assert f"of process {family.child} are missing" in told
        assert f"Process {family.child} lives and still has them in memory, but has made no call since" in told
    assert_valid(family.trainer.run_dir)
    wait_until(lambda: not family.trainer.spool.exists())


def test_a_child_of_the_dead_is_told_by_who_recovers(tmp_path):
    """Segments go by name when owner, writer and child are dead: the control page says that they were there."""
    family = Family(tmp_path, "run.finish()")
    family.writer.suspend()
    family.log_in_child()
    family.writer.kill()
    wait_dead(family.writer.pid)
    os.kill(family.child, signal.SIGKILL)
    family.trainer.kill()
    family.trainer.end()
    for path in family.trainer.spool.glob(f"{family.child:x}.*.seg"):
        path.unlink()
    assert "stored" in recover(tmp_path)
    assert any(f"of process {family.child} are missing" in each for each in family.told())
    assert family.stored(0) == list(range(1, 101))


def test_steps_rise_behind_a_batch_that_is_half_gone(tmp_path):
    """A resumed run counts on from the lines of a batch whose plan alone is left, without segments and processes."""
    body = """
    import time
    run = rn.init()
    opened(run)
    for i in range(1, 100_000):
        run.log({"i": i})
        time.sleep(0.001)
    """
    trainer = Trainer(tmp_path, body, crash_at="appended:4:both")
    trainer.end()
    for path in trainer.spool.glob("*.seg"):
        path.unlink()
    body = f"""
    run = rn.init(run_id={trainer.run_dir.name!r})
    opened(run)
    log_flat_out(run, 10)
    run.finish()
    """
    resumed = Trainer(tmp_path, body)
    _, errors = resumed.end()
    assert resumed.process.returncode == 0, errors
    steps = [event["data"]["global_step"] for event in events(trainer.run_dir)]
    assert len(steps) > 12
    assert steps == sorted(set(steps))
    told = json.loads((trainer.run_dir / "status.json").read_text())
    assert told["last_step"] == steps[-1]


def test_a_page_that_has_moved_is_followed_at_the_next_look(tmp_path):
    """Who makes the page anew says so on the one before; what is noted by a producer is on both."""
    path = tmp_path / "control"
    ControlPage.create(str(path))
    owner, child = ControlPage.open(str(path)), ControlPage.open(str(path))
    child.note_made(7, 1234, 3)
    child.note_newest_stored(7, 1)
    path.unlink()
    assert not child.moved
    owner.follow_name(str(path), make=True)
    assert child.moved
    child.follow_name(str(path), make=False)
    assert not child.moved
    assert list(child.producers()) == [Noted(7, 1234, 3, 1)]
    path.unlink()
    child.follow_name(str(path), make=True)
    assert owner.moved
    child.forget_producer(7)
    assert list(child.producers()) == []
    owner.close()
    child.close()


def test_a_full_list_of_producers_says_nothing_of_others(tmp_path):
    """Of a producer that had no room on the control page it is not said that nothing of it is stored."""
    path = tmp_path / "control"
    ControlPage.create(str(path))
    page = ControlPage.open(str(path))
    assert page.newest_stored(5000) == -1
    for number in range(1, 300):
        page.note_made(number, 1234, 0)
    noted = len(list(page.producers()))
    assert 100 < noted < 299
    assert page.newest_stored(5000) is None
    page.close()
