"""Names of a live spool vanish, one, many or all: nothing that was logged is lost or doubled."""

import contextlib
import os
import random
import shutil
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
from support import events, logged, status, stopped_writer, wait_until
from support.trainers import Trainer, assert_exactly_once, counted, wait_dead
from support.two_parts import (
    SMALL,
    SMALL_FILES,
    TWO_PARTS,
    end_well,
    kill_and_wait,
    log_half,
    log_rest,
    overflow_of,
    suspended_writer,
    wipe,
    wipe_and_go_on,
)

import runicorn as rn
from runicorn.queue import spool, spool_repair
from runicorn.queue.control_page import ControlPage
from runicorn.writer.serve import serve


@pytest.mark.parametrize("what", ["everything", "files", "both places"])
def test_removed_while_logging_flat_out(tmp_path, what):
    """All names of the spool go at a random moment while a script logs flat out: each record is stored once."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    moments = sorted(random.Random(seed).sample(range(100, 59_000), 2))
    body = f"""
    import glob, shutil
    run = rn.init()
    opened(run)
    sys.stdin.readline()
    spool, second = run._session.address.spool, run._session.address.overflow
    for i in range(1, 60_001):
        if i in {moments}:
            if {what!r} == "files":
                for path in glob.glob(spool + "/*"):
                    if os.path.exists(path):
                        os.unlink(path)
            else:
                shutil.rmtree(spool, ignore_errors=True)
            if {what!r} == "both places":
                shutil.rmtree(second, ignore_errors=True)
        run.log({{"i": i, "pad": "p" * 60}})
        returned(i)
    run.finish()
    """
    trainer = Trainer(tmp_path, body)
    trainer.writer_pid()
    trainer.go_on()
    end_well(trainer)


def test_removed_while_the_writer_is_stopped(tmp_path):
    """What a stopped writer has not opened when the names go is made again by its producer."""
    trainer = Trainer(tmp_path, TWO_PARTS, **SMALL)
    writer = suspended_writer(trainer)
    wipe_and_go_on(trainer)
    writer.resume()
    trainer.go_on()
    end_well(trainer)


def test_removed_when_the_writer_is_dead(tmp_path):
    """The owner gives what the dead writer alone had open a name again before it starts another one."""
    trainer = Trainer(tmp_path, TWO_PARTS)
    kill_and_wait(trainer.writer_pid())
    wipe_and_go_on(trainer)
    trainer.go_on()
    end_well(trainer)


def test_removed_during_finish(tmp_path):
    """Names that go while finish() waits for a stopped writer cost nothing."""
    trainer = Trainer(tmp_path, TWO_PARTS, **SMALL)
    writer = suspended_writer(trainer)
    control = ControlPage.open(str(trainer.spool / "control"))
    for _ in range(3):
        trainer.go_on()
    wait_until(lambda: control.closed[0])
    wipe(trainer.spool)
    wait_until(lambda: overflow_of(trainer.spool).exists())
    writer.resume()
    end_well(trainer)


def test_renamed_away(tmp_path):
    """A spool that was moved is as good as removed."""
    trainer = Trainer(tmp_path, TWO_PARTS)
    trainer.writer_pid()
    log_half(trainer)
    away = tmp_path / "away"
    shutil.move(trainer.spool, away)
    log_rest(trainer)
    trainer.go_on()
    end_well(trainer)


def test_segments_of_children_removed(tmp_path):
    """Forked producers make their segments again as well, and finish() in them waits until those are stored."""
    body = """
    import shutil
    run = rn.init()
    opened(run)
    sys.stdin.readline()
    children = []
    for child in range(3):
        pid = os.fork()
        if not pid:
            for n in range(8000):
                run.log({"child": child, "n": n, "pad": "p" * 60})
                if child == 0 and n % 3000 == 2999:
                    shutil.rmtree(run._session.address.spool, ignore_errors=True)
            run.finish()
            os._exit(0)
        children.append(pid)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    run.finish()
    """
    trainer = Trainer(tmp_path, body, PYTHONWARNINGS="ignore")
    trainer.writer_pid()
    trainer.go_on()
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert "stopped waiting" not in errors
    stored = [(event["data"]["child"], event["data"]["n"]) for event in events(trainer.run_dir)]
    assert sorted(stored) == [(child, n) for child in range(3) for n in range(8000)]


@pytest.mark.parametrize("name", SMALL_FILES)
def test_a_small_file_goes_and_then_the_writer(tmp_path, name):
    """A run whose spool has lost one of its files is served by the next writer too."""
    trainer = Trainer(tmp_path, TWO_PARTS)
    writer = trainer.writer_pid()
    log_half(trainer)
    (trainer.spool / name).unlink()
    kill_and_wait(writer)
    log_rest(trainer)
    trainer.go_on()
    # Without its plan, if anything was stored by then, the next writer goes by the run's files, and says so.
    end_well(trainer, frozenset({"storage_errors"} if name == "plan" else ()))


def test_pixels_removed_are_told(tmp_path):
    """An image whose pixels have gone before the writer read them is counted, and named in status.json."""
    body = """
    run = rn.init()
    opened(run)
    sys.stdin.readline()
    import numpy
    run.log_image("cat", numpy.zeros((256, 256, 3), numpy.uint8))
    log_flat_out(run, 10)
    print("logged", flush=True)
    sys.stdin.readline()
    run.finish()
    """
    trainer = Trainer(tmp_path, body, PYTHONWARNINGS="ignore")
    writer = suspended_writer(trainer)
    log_rest(trainer)
    for blob in trainer.spool.glob("blob-*"):
        blob.unlink()
    writer.resume()
    trainer.go_on()
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert counted(trainer.run_dir) == list(range(1, 11))
    ended = status(trainer.run_dir)
    assert ended["damaged_bytes"] == 3 * 256 * 256
    assert "another program has removed its pixels" in ended["storage_errors"][0]["error"]


def test_the_budget_is_given_back(tmp_path):
    """What a dead process never took, and what somebody has removed, count no more after a moment."""
    body = """
    run = rn.init()
    opened(run)
    sys.stdin.readline()
    for _ in range(5):
        child = os.fork()
        if child == 0:
            for i in range(2000):
                run.log({"child": i, "text": "t" * 40})
            os._exit(0)
        os.waitpid(child, 0)
    print("logged", flush=True)
    sys.stdin.readline()
    run.finish()
    """
    trainer = Trainer(tmp_path, body, PYTHONWARNINGS="ignore")
    trainer.writer_pid()
    control = ControlPage.open(str(trainer.spool / "control"))
    log_rest(trainer)
    control.add_made(0, 5, 64 << 20)  # a segment that never was, or was removed by somebody else

    def there() -> int:
        total = 0
        for path in [*trainer.spool.glob("*.seg"), *trainer.spool.glob("*.spare")]:
            with contextlib.suppress(FileNotFoundError):  # stored meanwhile
                total += path.stat().st_size
        return total

    wait_until(lambda: control.used_bytes(0) == there() <= 1 << 20)
    trainer.go_on()
    trainer.end()
    assert len(events(trainer.run_dir)) == 10_000


def test_smaller_segments_are_tried(tmp_path):
    """A limit that takes small segments only, after they have grown, refuses no record."""
    body = """
    import resource
    run = rn.init()
    opened(run)
    writer_is_up = sys.stdin.readline()
    log_flat_out(run, 20_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300 << 10, resource.RLIM_INFINITY))
    log_flat_out(run, 40_000, 20_001)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40 << 10, resource.RLIM_INFINITY))
    log_flat_out(run, 5_000, 60_001)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    run.finish()
    """
    trainer = Trainer(tmp_path, body)
    writer = psutil.Process(trainer.writer_pid())
    writer.suspend()  # it prepares no spares
    trainer.go_on()
    trainer.wait_returned(65_000)
    writer.resume()
    end_well(trainer)


def test_more_segments_than_are_kept_mapped(tmp_path):
    """What a stalled writer alone would hold is copied before its producer lets it go, so the writer may die."""
    body = """
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    run = rn.init()
    opened(run)
    sys.stdin.readline()
    log_flat_out(run, 1000)
    print("half", flush=True)
    sys.stdin.readline()
    log_flat_out(run, 9000, 1001)
    print("logged", flush=True)
    sys.stdin.readline()
    run.finish()
    """
    fault = tmp_path / "fault"
    trainer = Trainer(tmp_path, body, storage_fault=str(fault), PYTHONWARNINGS="ignore", **SMALL)
    writer = suspended_writer(trainer)
    log_half(trainer)
    segments = {path.name for path in trainer.spool.glob("*.seg")}
    assert 1 < len(segments) < 16
    fault.write_text("EIO")
    writer.resume()
    wait_until(lambda: segments <= {Path(file.path).name for file in writer.open_files()})
    wipe(trainer.spool)
    log_rest(trainer)
    writer.kill()
    wait_dead(writer.pid)
    fault.unlink()
    trainer.go_on()
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert_exactly_once(trainer)
    assert status(trainer.run_dir)["status"] == "finished"


def test_a_control_page_that_goes_before_the_writer_is_up(run_program, storage):
    """The writer makes a page of its own, which finish() never sees: it returns when the run has ended by that."""
    source = """
import os, sys
import runicorn as rn
run = rn.init(path="p", storage=sys.argv[1], run_id="r")
run.log(a=1)
os.unlink(os.path.join(run._session.address.spool, "control"))
run.finish()
"""
    told = run_program(source)
    assert told.stderr == ""
    assert len(events(storage / "runs/p/r")) == 1
    assert status(storage / "runs/p/r")["status"] == "finished"


def test_a_spool_that_is_removed_while_its_owner_mends_it_stays_removed(open_run, monkeypatch):
    """The owner makes nothing again of a spool that the writer removes at that moment, for its run has ended."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)  # no writer process: the test is the writer
    run = open_run()
    address, renew_lock = run._session.address, spool_repair.renew_lock

    def removed_meanwhile(address, name):
        run._session.control.set_done()
        spool.remove_spool(address)
        return renew_lock(address, name)

    monkeypatch.setattr(spool_repair, "renew_lock", removed_meanwhile)
    run._session._repair_spool()
    assert not os.path.lexists(address.spool)


def test_a_writer_that_dies_with_the_end_alone_in_its_plan(tmp_path):
    """finish() says the end again to another writer: the plan that had it has no name, and nobody else knows of it."""
    body = """
    run = rn.init()
    opened(run)
    sys.stdin.readline()
    for i in range(1000):
        run.log({"i": i})
    session = run._session
    push_end = session.queue.push_end

    def put_and_kill(*arguments):
        push_end(*arguments)
        deadline = time.monotonic() + 60
        while session.control.spooled_bytes and time.monotonic() < deadline:
            time.sleep(0.001)
        with contextlib.suppress(ProcessLookupError):  # on a busy machine, it may have ended the run by now
            os.kill(session.control.writer_pid, signal.SIGKILL)

    session.queue = Said(session.queue, put_and_kill)
    run.finish()
    """
    said = """
import contextlib, signal, time

class Said:
    def __init__(self, queue, push_end):
        self.__dict__.update(queue=queue, push_end=push_end)

    def __getattr__(self, name):
        return getattr(self.queue, name)
"""
    trainer = Trainer(tmp_path, said + textwrap.dedent(body), RUNICORN_FINISH_TIMEOUT_S="50")
    trainer.writer_pid()
    for name in os.listdir(trainer.spool):
        (trainer.spool / name).unlink()
    trainer.go_on()
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert len(events(trainer.run_dir)) == 1000
    assert status(trainer.run_dir)["status"] == "finished"


def test_a_new_lock_file_lets_no_second_writer_in_while_the_first_one_lives(tmp_path):
    """The first has a file that has lost its name, and waits: whoever takes the lock of the new file finds that."""
    with rn.init(storage=str(tmp_path)) as run:
        run.log({"n": 1})
        spool_path = Path(run._session.address.spool)
        with stopped_writer(run):
            (spool_path / "writer.lock").unlink()
            (spool_path / "writer.lock").touch(0o600)
            assert serve(str(spool_path), handle_signals=False) is False
        run.log({"n": 2})
    assert logged(run) == [{"n": 1}, {"n": 2}]
