"""Names of a live spool vanish, one, many or all: nothing that was logged is lost or doubled, or it is told."""

import contextlib
import os
import random
import shutil
import signal
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
from support import events, status, wait_until
from support.trainers import Trainer, assert_exactly_once, assert_valid, counted, recover, recover_killed, wait_dead

from runicorn.queue import mending, spool
from runicorn.queue.control_page import ControlPage
from runicorn.writer.end_status import Mark

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


def end_well(trainer: Trainer, may_tell: frozenset[str] = frozenset()) -> None:
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert_exactly_once(trainer)
    assert status(trainer.run_dir)["status"] == "finished"
    assert set(status(trainer.run_dir)) - may_tell == CLEAN
    assert_valid(trainer.run_dir)
    assert not trainer.spool.exists()
    assert not overflow_of(trainer.spool).exists()


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
    writer = psutil.Process(trainer.writer_pid())
    writer.suspend()
    trainer.go_on()
    assert trainer.read_line() == "half"
    wipe(trainer.spool)
    trainer.go_on()
    assert trainer.read_line() == "logged"
    writer.resume()
    trainer.go_on()
    end_well(trainer)


def test_removed_when_the_writer_is_dead(tmp_path):
    """The owner gives what the dead writer alone had open a name again before it starts another one."""
    trainer = Trainer(tmp_path, TWO_PARTS)
    writer = trainer.writer_pid()
    os.kill(writer, signal.SIGKILL)
    wait_dead(writer)
    trainer.go_on()
    assert trainer.read_line() == "half"
    wipe(trainer.spool)
    trainer.go_on()
    assert trainer.read_line() == "logged"
    trainer.go_on()
    end_well(trainer)


def test_removed_during_finish(tmp_path):
    """Names that go while finish() waits for a stopped writer cost nothing."""
    trainer = Trainer(tmp_path, TWO_PARTS, **SMALL)
    writer = psutil.Process(trainer.writer_pid())
    writer.suspend()
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
    trainer.go_on()
    assert trainer.read_line() == "half"
    away = tmp_path / "away"
    shutil.move(trainer.spool, away)
    trainer.go_on()
    assert trainer.read_line() == "logged"
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
    trainer.go_on()
    assert trainer.read_line() == "half"
    (trainer.spool / name).unlink()
    os.kill(writer, signal.SIGKILL)
    wait_dead(writer)
    trainer.go_on()
    assert trainer.read_line() == "logged"
    trainer.go_on()
    # Without its plan, if anything was stored by then, the next writer goes by the run's files, and says so.
    end_well(trainer, frozenset({"storage_errors"} if name == "plan" else ()))


@pytest.mark.parametrize("name", SMALL_FILES)
def test_a_small_file_is_made_again(tmp_path, name):
    """The writer puts a file back that has gone, so that the run can be recovered when all its processes are dead."""
    trainer = Trainer(tmp_path, TWO_PARTS, **NO_RESTART)
    writer = trainer.writer_pid()
    trainer.go_on()
    assert trainer.read_line() == "half"
    (trainer.spool / name).unlink()
    if name != "owner.lock":  # that its owner makes
        wait_until((trainer.spool / name).exists)
    os.kill(writer, signal.SIGKILL)
    wait_dead(writer)
    trainer.go_on()
    assert trainer.read_line() == "logged"
    recover_killed(trainer, tmp_path)
    assert_exactly_once(trainer)


@pytest.mark.parametrize("name", [name for name in SMALL_FILES if name != "address.json"])
def test_a_small_file_goes_when_all_are_dead(tmp_path, name):
    """A spool without one of its files is adopted."""
    trainer = Trainer(tmp_path, TWO_PARTS, **NO_RESTART)
    writer = trainer.writer_pid()
    control = ControlPage.open(str(trainer.spool / "control"))
    trainer.go_on()
    assert trainer.read_line() == "half"
    wait_until(lambda: control.stored_records == 5000)
    os.kill(writer, signal.SIGKILL)
    wait_dead(writer)
    trainer.go_on()
    assert trainer.read_line() == "logged"
    trainer.kill()
    trainer.end()
    (trainer.spool / name).unlink()
    assert "stored" in recover(tmp_path)
    assert_exactly_once(trainer)
    assert not trainer.spool.exists()


def test_a_live_run_without_its_lock_file_is_no_orphan(tmp_path):
    """Nobody takes over a run whose owner's lock file has gone by name, while the owner lives."""
    trainer = Trainer(tmp_path, TWO_PARTS, **NO_RESTART)
    writer = trainer.writer_pid()
    os.kill(writer, signal.SIGKILL)
    wait_dead(writer)
    (trainer.spool / "owner.lock").unlink()
    recover(tmp_path)
    assert trainer.spool.exists()
    assert status(trainer.run_dir)["status"] == "running"
    recover_killed(trainer, tmp_path)


def test_only_the_second_place_is_left(tmp_path):
    """What is in the second place of a dead run whose spool has gone is found and stored."""
    trainer = Trainer(tmp_path, TWO_PARTS, **NO_RESTART, **SMALL)
    writer = trainer.writer_pid()
    os.kill(writer, signal.SIGKILL)
    wait_dead(writer)
    trainer.go_on()
    assert trainer.read_line() == "half"
    trainer.kill()
    trainer.end()
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
    writer = psutil.Process(trainer.writer_pid())
    writer.suspend()
    trainer.go_on()
    assert trainer.read_line() == "half"
    trainer.kill()
    trainer.end()
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
    writer = psutil.Process(trainer.writer_pid())
    writer.suspend()
    trainer.go_on()
    assert trainer.read_line() == "logged"
    for blob in trainer.spool.glob("blob-*"):
        blob.unlink()
    writer.resume()
    trainer.go_on()
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert counted(trainer.run_dir) == list(range(1, 11))
    ended = status(trainer.run_dir)
    assert ended["damaged_bytes"] == 3 * 256 * 256
    assert "somebody has removed its pixels" in ended["storage_errors"][0]["error"]


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
    trainer.go_on()
    assert trainer.read_line() == "logged"
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


def test_the_first_segment_and_the_plan_removed_are_told(tmp_path):
    """The next writer knows without a plan that a segment is missing before the first one that it finds."""
    trainer = Trainer(tmp_path, TWO_PARTS, **SMALL, **NO_RESTART)
    writer = trainer.writer_pid()
    control = ControlPage.open(str(trainer.spool / "control"))
    trainer.go_on()
    assert trainer.read_line() == "half"
    wait_until(lambda: control.stored_records == 5000)
    os.kill(writer, signal.SIGKILL)
    wait_dead(writer)
    before = set(trainer.spool.glob("*.seg"))
    trainer.go_on()
    assert trainer.read_line() == "logged"
    trainer.kill()
    trainer.end()
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
    trainer = Trainer(tmp_path, body, RUNICORN_STORAGE_FAULT=str(fault), PYTHONWARNINGS="ignore", **SMALL)
    writer = psutil.Process(trainer.writer_pid())
    writer.suspend()
    trainer.go_on()
    assert trainer.read_line() == "half"
    segments = {path.name for path in trainer.spool.glob("*.seg")}
    assert 1 < len(segments) < 16
    fault.write_text("EIO")
    writer.resume()
    wait_until(lambda: segments <= {Path(file.path).name for file in writer.open_files()})
    wipe(trainer.spool)
    trainer.go_on()
    assert trainer.read_line() == "logged"
    writer.kill()
    wait_dead(writer.pid)
    fault.unlink()
    trainer.go_on()
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert_exactly_once(trainer)
    assert status(trainer.run_dir)["status"] == "finished"


def end_all(trainer: Trainer) -> None:
    """Kill the writer once it has stored the first half, log the second half, and kill the trainer."""
    writer = trainer.writer_pid()
    trainer.go_on()
    assert trainer.read_line() == "half"
    os.kill(writer, signal.SIGKILL)
    wait_dead(writer)
    trainer.go_on()
    assert trainer.read_line() == "logged"
    trainer.kill()
    trainer.end()


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
    assert f"{trainer.spool.name}: not stored: its address.json has been removed by somebody" in said
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
    trainer.go_on()
    assert trainer.read_line() == "half"
    trainer.go_on()
    assert trainer.read_line() == "logged"
    writer.suspend()
    wipe(trainer.spool)
    trainer.kill()
    trainer.end()
    body = f"""
    run = rn.init(run_id={trainer.run_dir.name!r})
    opened(run)
    log_flat_out(run, 1000, 10_001)
    run.finish()
    """
    refused = Trainer(tmp_path, body, expect_line=False, RUNICORN_FINISH_TIMEOUT_S="0.2")
    _, errors = refused.end()
    assert f"process {writer.pid} has not stored" in errors
    writer.resume()
    resumed = Trainer(tmp_path, body, expect_line=False)
    _, errors = resumed.end()
    assert resumed.process.returncode == 0, errors
    steps = [event["data"]["global_step"] for event in events(trainer.run_dir)]
    assert steps == sorted(set(steps))
    assert steps[-1000:] == list(range(steps[-1000], steps[-1000] + 1000))
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
    writer = psutil.Process(trainer.writer_pid())
    writer.suspend()
    trainer.go_on()
    assert trainer.read_line() == "half"
    wipe(trainer.spool)
    trainer.go_on()
    assert trainer.read_line() == "logged"
    trainer.kill()
    trainer.end()
    wipe(trainer.spool)
    assert (overflow_of(trainer.spool) / "address.json").exists()
    recover(tmp_path)
    assert status(trainer.run_dir)["status"] == "running"
    writer.resume()
    wait_until(lambda: status(trainer.run_dir)["status"] == "failed")
    stored = counted(trainer.run_dir)
    assert stored == sorted(set(stored))


def test_a_spool_that_is_removed_while_its_owner_mends_it_stays_removed(open_run, monkeypatch):
    """The owner makes nothing again of a spool that the writer removes at that moment, for its run has ended."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)  # no writer process: the test is the writer
    run = open_run()
    address, keep_lock = run._session.address, mending.keep_lock

    def removed_meanwhile(address, name):
        run._session.control.set_done()
        spool.dissolve(address)
        return keep_lock(address, name)

    monkeypatch.setattr(mending, "keep_lock", removed_meanwhile)
    run._session._mend()
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
    put_end = session.queue.put_end

    def put_and_kill(*arguments):
        put_end(*arguments)
        deadline = time.monotonic() + 60
        while session.control.spooled_bytes and time.monotonic() < deadline:
            time.sleep(0.001)
        os.kill(session.control.writer_pid, signal.SIGKILL)

    session.queue = Said(session.queue, put_and_kill)
    run.finish()
    """
    said = """
import signal, time

class Said:
    def __init__(self, queue, put_end):
        self.__dict__.update(queue=queue, put_end=put_end)

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
