"""Processes that leave a run without finish(): when the last of them has ended, the run has ended."""

import shutil
import signal
from contextlib import contextmanager

import psutil
import pytest
from support import status, wait_until
from support.trainers import writer_pids
from test_ranks import RECORDS, Job, assert_ranks, counted, environments, is_dead, torchrun

from runicorn.host import locks
from runicorn.queue.control_page import ControlPage

LEAVING = f"""
run = rn.init()
opened(run)
log(run, {RECORDS})
tell("logged-" + name)
wait_for("leave-" + name)
"""
WAITS = "runicorn: waiting until"


@contextmanager
def stopped(pid):
    """Stop a process during the block."""
    process = psutil.Process(pid)
    process.suspend()
    try:
        wait_until(lambda: process.status() == psutil.STATUS_STOPPED)
        yield process
    finally:
        process.resume()


def writer_of(spool):
    """Process id of its writer."""
    wait_until(lambda: len(writer_pids(spool)) == 1)
    return writer_pids(spool)[0]


def wait_until_waiting(job, name):
    """Wait until a process reports that it waits."""
    told = job.gates / f"stderr-{name}"
    wait_until(lambda: WAITS in told.read_text() or is_dead(job.process_of[name]), 90, f"{name} waits")
    assert WAITS in told.read_text(), f"{name} has ended without a wait"


@pytest.mark.parametrize("order", [("0", "1", "2"), ("2", "0", "1"), ("1", "2", "0")])
def test_whoever_leaves_last(tmp_path, order):
    """The run goes on while one rank lives, and has ended when the launcher sees the end of the last one."""
    with Job(tmp_path) as job:
        job.start(LEAVING, environments(torchrun, 3))
        job.wait_for("logged-0", "logged-1", "logged-2")
        run_dir, spool = job.run_of(0)
        for name in order[:-1]:
            job.tell("leave-" + name)
            job.wait_gone(name)
            assert status(run_dir)["status"] == "running"
        job.tell("leave-" + order[-1])
        job.end_well()
        assert status(run_dir)["status"] == "finished"
        assert not spool.exists()
    assert_ranks(run_dir, dict.fromkeys(range(3), RECORDS))


@pytest.mark.parametrize("size", [2, 5])
def test_ranks_that_leave_at_once(tmp_path, size):
    """If all ranks leave at once, one of them waits for the run's end."""
    with Job(tmp_path) as job:
        job.start(LEAVING.replace('"leave-" + name', '"leave"'), environments(torchrun, size))
        job.wait_for(*[f"logged-{rank}" for rank in range(size)])
        run_dir, _ = job.run_of(0)
        job.tell("leave")
        job.end_well()
        assert status(run_dir)["status"] == "finished"
    assert_ranks(run_dir, dict.fromkeys(range(size), RECORDS))


def test_rank_0_does_not_trust_what_was_seen_before_it_left(tmp_path):
    """Rank 0 does not count on a rank that has left because it saw rank 0, even if the writer saw that rank before."""
    with Job(tmp_path) as job:
        job.start(LEAVING, environments(torchrun, 2))
        job.wait_for("logged-0", "logged-1")
        run_dir, spool = job.run_of(0)
        control = ControlPage.open(str(spool / "control"))
        writer = writer_of(spool)
        with stopped(writer):
            job.tell("leave-0")
            wait_until_waiting(job, "0")  # the writer has not read its end
        with stopped(job.process_of["0"].pid):
            wait_until(lambda: control.others == 1)
            ticks = control.heartbeat
            wait_until(lambda: control.heartbeat > ticks + 2)  # the writer has stored all records of rank 0
            with stopped(writer):
                job.tell("leave-1")
                job.wait_gone(1)
                job.process_of["0"].resume()
                wait_until(lambda: not locks.is_held(str(spool / "owner.lock")))
                assert status(run_dir)["status"] == "running"
        job.end_well()
        assert status(run_dir)["status"] == "finished"
    assert_ranks(run_dir, dict.fromkeys(range(2), RECORDS))


def test_a_rank_0_that_never_came(tmp_path):
    """If rank 0 never comes, the last rank waits, even for a stopped writer, and then the run has ended."""
    with Job(tmp_path, RUNICORN_EXIT_WAIT_S="0") as job:
        ranks = environments(torchrun, 3)
        del ranks[0]
        job.start(LEAVING, ranks)
        job.wait_for("logged-1", "logged-2")
        run_dir, spool = job.run_of(1)
        with stopped(writer_of(spool)):
            job.tell("leave-1")
            job.tell("leave-2")
            wait_until_waiting(job, "1")
        job.end_well()
        assert (status(run_dir)["status"], status(run_dir)["exit_reason"]) == ("finished", "rank 0 never called init()")
    assert_ranks(run_dir, dict.fromkeys((1, 2), RECORDS))


def test_a_rank_that_leaves_before_rank_0_has_come(tmp_path):
    """Ranks start apart: the run waits a moment for the others, who store by the same spool."""
    with Job(tmp_path) as job:
        job.start('if name == "0":\n    wait_for("come")\n' + LEAVING.lstrip(), environments(torchrun, 2))
        job.wait_for("logged-1")
        run_dir, spool = job.run_of(1)
        control = ControlPage.open(str(spool / "control"))
        wait_until(lambda: control.others == 1)
        job.tell("leave-1")
        wait_until(lambda: control.others == 0)
        job.tell("come")
        job.wait_for("logged-0")
        job.tell("leave-0")
        job.end_well()
        assert job.run_of(0) == (run_dir, spool)
        assert status(run_dir)["status"] == "finished"
    assert_ranks(run_dir, dict.fromkeys(range(2), RECORDS))


def test_rank_0_was_killed(tmp_path):
    """If rank 0 was killed, the last rank waits until the run has ended as failed."""
    with Job(tmp_path) as job:
        job.start(LEAVING, environments(torchrun, 2))
        job.wait_for("logged-0", "logged-1")
        run_dir, _ = job.run_of(0)
        job.kill(0)
        job.wait_gone(0)
        job.tell("leave-1")
        assert job.end() == [-signal.SIGKILL, 0]
        assert status(run_dir)["status"] == "failed"


def test_rank_0_was_killed_before_the_writer_saw_it(tmp_path):
    """The rank that has made the spool is not taken for the owner: what would it wait for, if not for itself."""
    with Job(tmp_path, RUNICORN_EXIT_WAIT_S="0") as job:
        ranks = environments(torchrun, 2)
        job.start(LEAVING, {1: ranks[1]})
        job.wait_for("logged-1")
        run_dir, spool = job.run_of(1)
        wait_until((run_dir / "events.rank1.jsonl").exists)
        with stopped(writer_of(spool)):
            job.start(LEAVING, {0: ranks[0]})
            job.wait_for("logged-0")
            job.kill(0)
            job.wait_gone(0)
            control = ControlPage.open(str(spool / "control"))
            ticks = control.heartbeat
        wait_until(lambda: control.heartbeat > ticks + 12)  # its word on the owner is a new one
        job.tell("leave-1")
        job.wait_gone(1)
        assert status(run_dir)["status"] == "failed"


def test_one_that_joined_by_the_id(tmp_path):
    """A process that named the run in init() and outlives its owner waits as a rank does."""
    with Job(tmp_path) as job:
        job.start(LEAVING, {"owner": {}})
        job.wait_for("logged-owner")
        run_dir, spool = job.run_of("owner")
        guest = LEAVING.replace("init()", f"init(run_id={run_dir.name!r})")
        job.start(guest, {"guest": {}})
        job.wait_for("logged-guest")
        job.tell("leave-owner")
        job.wait_gone("owner")
        assert status(run_dir)["status"] == "running"
        job.tell("leave-guest")
        job.end_well()
        assert status(run_dir)["status"] == "finished"
        assert not spool.exists()


def test_nobody_waits_for_ever(tmp_path):
    """The last rank exits after exit_wait_s even if the writer is stopped; the writer ends the run later."""
    with Job(tmp_path, RUNICORN_EXIT_WAIT_S="0.2") as job:
        job.start(LEAVING, environments(torchrun, 2))
        job.wait_for("logged-0", "logged-1")
        run_dir, spool = job.run_of(0)
        with stopped(writer_of(spool)):
            for name in ("0", "1"):
                job.tell("leave-" + name)
                job.wait_gone(name)
            assert status(run_dir)["status"] == "running"
        wait_until(lambda: not spool.exists(), 60)
        assert status(run_dir)["status"] == "finished"
    assert counted(run_dir, 1) == list(range(1, RECORDS + 1))


@pytest.mark.parametrize("maker", [0, 1])
def test_an_owner_without_a_lock_file_that_has_ended(tmp_path, maker):
    """It is known by its process, which is there until it is reaped; and the last rank may have made the spool."""
    with Job(tmp_path) as job:
        ranks = environments(torchrun, 2)
        for name in (maker, 1 - maker):
            job.start(LEAVING, {name: ranks[name]})
            job.wait_for(f"logged-{name}")
        run_dir, spool = job.run_of(0)
        job.tell("leave-0")
        job.wait_gone("0")
        control = ControlPage.open(str(spool / "control"))
        wait_until(lambda: control.others == 1)  # the writer has rank 1's lock file open
        shutil.rmtree(spool)
        job.tell("leave-1")
        job.wait_gone("1")
        assert status(run_dir)["status"] == "finished"
        job.end_well()
