"""A program that closes all descriptors, as one does that becomes a daemon: its run goes on, its files are its own."""

import signal

import pytest
from support import events, status, wait_until
from support.trainers import Trainer, assert_exactly_once, assert_valid, wait_stored

from runicorn.host.locks import is_held
from runicorn.queue.control_page import ControlPage

CLOSES = """
run = rn.init()
opened(run)
log_flat_out(run, 1000)
sys.stdin.readline()
os.closerange(3, 1000)
files = [open(f"{os.getcwd()}/own-{number}", "w") for number in range(60)]
print("closed", flush=True)
sys.stdin.readline()
"""
GOES_ON = """
log_flat_out(run, 4000, 1001)
print("logged", flush=True)
sys.stdin.readline()
run.finish()
for file in files: file.write("mine")
for file in files: file.close()
"""


def closed(tmp_path, rest):
    """A program that has closed all, and whose locks the writer has found free since."""
    trainer = Trainer(tmp_path, CLOSES + rest)
    trainer.writer_pid()
    trainer.go_on()
    assert trainer.read_line() == "closed"
    assert not is_held(str(trainer.spool / "owner.lock"))
    page = ControlPage.open(str(trainer.spool / "control"))
    before = page.heartbeat
    wait_until(lambda: page.heartbeat >= before + 8)  # a tick lasts a quarter of a second at most, as long as a probe
    return trainer


def test_the_run_goes_on(tmp_path):
    """The run is not taken for dead, all is stored once, and each file of the program holds what it has written."""
    trainer = closed(tmp_path, GOES_ON)
    assert status(trainer.run_dir)["status"] == "running"
    trainer.go_on()
    assert trainer.read_line() == "logged"
    trainer.go_on()
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert_exactly_once(trainer)
    assert_valid(trainer.run_dir)
    assert status(trainer.run_dir)["status"] == "finished"
    assert [(tmp_path / f"own-{number}").read_text() for number in range(60)] == ["mine"] * 60
    assert not trainer.spool.exists()


def test_its_locks_are_taken_again(tmp_path):
    """At the next time that names are repaired the owner locks its file, and its producer's, again."""
    trainer = closed(
        tmp_path, "run._session._repair_at = run._queue.next_check_at = 0\nrun._queue.checked_at = 0\n" + GOES_ON
    )
    trainer.go_on()
    assert trainer.read_line() == "logged"
    held = [path.name for path in trainer.spool.glob("*.lock") if is_held(str(path))]
    assert len(held) == len(list(trainer.spool.glob("*.lock"))) == 3
    trainer.go_on()
    trainer.end()
    assert_exactly_once(trainer)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_its_death_is_seen(tmp_path, number):
    """Such a program that is killed has its run ended, and what it has logged is stored."""
    trainer = closed(tmp_path, GOES_ON)
    trainer.go_on()
    assert trainer.read_line() == "logged"
    trainer.kill(number)
    trainer.end()
    wait_stored(trainer)
    assert_exactly_once(trainer)
    assert status(trainer.run_dir)["status"] in {"failed", "interrupted"}


def test_another_program_in_its_place(tmp_path):
    """A program that replaces itself by another one has left its run, whatever it has closed before."""
    rest = "os.execv(sys.executable, [sys.executable, '-c', 'import sys; sys.stdin.read()'])\n"
    trainer = closed(tmp_path, rest)
    trainer.go_on()
    wait_stored(trainer)
    assert trainer.process.poll() is None
    assert_exactly_once(trainer)
    trainer.end()


def test_a_forked_child_that_closes_all(tmp_path):
    """A child that becomes a daemon so logs into the run of its parent, and nothing of it is lost or told."""
    body = """
    run = rn.init()
    opened(run)
    child = os.fork()
    if child == 0:
        for n in range(1000):
            run.log(n=n)
        os.closerange(3, 1000)
        print("closed", flush=True)
        sys.stdin.readline()
        for n in range(1000, 5000):
            run.log(n=n)
        run.finish()
        os._exit(0)
    os.waitpid(child, 0)
    run.finish()
    """
    trainer = Trainer(tmp_path, body, PYTHONWARNINGS="ignore")
    trainer.writer_pid()
    assert trainer.read_line() == "closed"
    page = ControlPage.open(str(trainer.spool / "control"))
    before = page.heartbeat
    wait_until(lambda: page.heartbeat >= before + 8)
    trainer.go_on()
    _, errors = trainer.end()
    assert (trainer.process.returncode, errors) == (0, "")
    assert [event["data"]["n"] for event in events(trainer.run_dir)] == list(range(5000))
    assert status(trainer.run_dir)["status"] == "finished"
