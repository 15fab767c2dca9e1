"""Runs whose processes are gone are shown as lost at once, and ended when that is sure; others never are."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from contextlib import closing

import msgspec
import pytest
from links import link_parts
from support import content, steps, wait_until

from runicorn import cli
from runicorn.host import identity
from runicorn.viewer.changes import RunTable
from runicorn.viewer.checker import Checker
from runicorn.viewer.limits import Pace

TRAIN = """
import sys, runicorn as rn
run = rn.init(storage=sys.argv[1], path="cv", run_id=sys.argv[2])
run.log({"loss": 1.0})
run.flush()
if sys.argv[3] == "unstored":
    import os, signal, psutil
    from runicorn.queue import spool
    from runicorn.queue.control_page import ControlPage
    page = ControlPage.open(os.path.join(run._session.address.spool, spool.CONTROL))
    psutil.Process(page.writer_pid).suspend()
    for _ in range(1000):
        run.log({"loss": 2.0})
    print(page.writer_pid, run._session.address.spool, flush=True)
else:
    from runicorn.queue import spool
    from runicorn.queue.control_page import ControlPage
    import os
    page = ControlPage.open(os.path.join(run._session.address.spool, spool.CONTROL))
    print(page.writer_pid, run._session.address.spool, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def train(start_program, storage):
    """Start a training that logs once, and tells the pid of its writer and where its spool is."""
    import subprocess

    def start(run_id="live", how="stored"):
        process = start_program(TRAIN, run_id, how, stdin=subprocess.PIPE)
        writer, _, spool = process.stdout.readline().strip().partition(" ")
        process.writer, process.spool = int(writer), spool
        return process

    yield start
    cli.main(["recover", "--storage", str(storage)])  # what a test has left on purpose


@pytest.fixture
def look(storage):
    """A checker that looks when it is asked to, and takes two looks at once for enough."""

    def make(*, ends=True, end_after_s=0.0):
        table = RunTable([str(storage)])
        checker = Checker(table, Pace(end_after_s=max(end_after_s, 1e-9)), ends=ends)
        checker.table = table
        return checker

    return make


def kill(*pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def statuses(checker):
    checker.table.refresh(0)
    return {row.info.id: row.info.status for row in checker.table.rows()}


def test_a_run_whose_processes_are_killed_is_lost_at_once_and_ended_after_two_looks(train, look, storage):
    """With trainer and writer killed: lost at the first look, left alone by it, ended by the next; nothing is lost."""
    process = train(how="unstored")
    run_dir = storage / "runs" / "cv" / "live"
    checker = look()
    checker.look()
    assert statuses(checker) == {"live": "running"}
    kill(process.pid, process.writer)
    process.wait()
    wait_until(lambda: statuses(checker) == {"live": "lost"})
    checker.look()
    assert content(run_dir, "status.json")["status"] == "running"
    checker.look()
    wait_until(lambda: content(run_dir, "status.json")["status"] == "failed")
    assert content(run_dir, "status.json")["exit_reason"] == "process gone"
    assert len(steps(run_dir)) == 1001
    assert checker.ended == ["live"]
    assert statuses(checker) == {"live": "failed"}
    wait_until(lambda: not os.path.exists(process.spool))


def test_the_second_look_has_to_be_late_enough_and_nothing_may_have_changed(train, look, storage):
    """Within the time between two looks a lost run is not ended, and a file that has changed begins that time anew."""
    process = train()
    run_dir = storage / "runs" / "cv" / "live"
    kill(process.pid, process.writer)
    process.wait()
    patient, hasty = look(end_after_s=3600.0), look()
    for _ in range(5):
        patient.look()
    for _ in range(3):
        hasty.look()
        with (run_dir / "notes.txt").open("a") as file:
            file.write("it grows\n")
    assert content(run_dir, "status.json")["status"] == "running"
    assert not patient.ended + hasty.ended


def test_a_live_run_whose_spool_has_lost_its_name_is_never_ended(train, look, storage):
    """A cleaner has unlinked the spool of a live run: it is unknown, not lost, however often is looked."""
    process = train()
    kill_later = process.spool
    os.kill(process.writer, signal.SIGSTOP)  # else it makes its spool again at once
    os.kill(process.pid, signal.SIGSTOP)
    try:
        shutil.rmtree(kill_later)
        checker = look()
        for _ in range(4):
            checker.look()
            assert statuses(checker) == {"live": "unknown"}
        assert content(storage / "runs" / "cv" / "live", "status.json")["status"] == "running"
    finally:
        os.kill(process.writer, signal.SIGCONT)
        os.kill(process.pid, signal.SIGCONT)
    process.communicate("\n", timeout=100)


def test_a_run_whose_spool_and_process_are_gone_is_ended(train, look, storage):
    """With the spool unlinked and the process that opened the run gone, by its pid and start: it ends as failed."""
    process = train()
    run_dir = storage / "runs" / "cv" / "live"
    kill(process.pid, process.writer)
    process.wait()
    shutil.rmtree(process.spool)
    checker = look()
    for _ in range(3):
        checker.look()
    assert content(run_dir, "status.json")["status"] == "failed"
    assert content(run_dir, "status.json")["exit_reason"] == "process gone"


@pytest.mark.parametrize("pointer", ["another run's", "garbage", "a link"])
def test_a_pointer_that_says_nothing_leaves_a_live_run_alone(train, look, storage, pointer, tmp_path):
    """The word of the spool is unreadable, or that of another run: while the process lives nothing is ended."""
    process = train()
    run_dir = storage / "runs" / "cv" / "live"
    (word,) = run_dir.glob(".spool-*")
    if pointer == "a link":
        word.unlink()
        word.symlink_to(tmp_path / "nowhere")
    else:
        word.write_text("\x00\xff" if pointer == "garbage" else str(tmp_path / "runicorn-0-0123456789abcdef"))
    checker = look()
    for _ in range(3):
        checker.look()
    assert statuses(checker)["live"] in {"unknown", "running"}
    assert content(run_dir, "status.json")["status"] == "running"
    process.communicate("\n", timeout=100)


def test_a_copy_of_a_live_run_is_left_alone(train, look, storage):
    """``cp -r`` of a live run copies its word of the spool too: neither of them is ended while the run lives."""
    process = train()
    run_dir = storage / "runs" / "cv" / "live"
    shutil.copytree(run_dir, storage / "runs" / "copies" / "live")
    checker = look()
    for _ in range(4):
        checker.look()
    for path in (run_dir, storage / "runs" / "copies" / "live"):
        assert content(path, "status.json")["status"] == "running"
    assert not checker.ended
    process.communicate("\n", timeout=100)


def run_of(storage, run_id, **meta):
    """The files of a run that says running."""
    run_dir = storage / "runs" / "cv" / run_id
    run_dir.mkdir(parents=True)
    about = {
        "id": run_id,
        "path": "cv",
        "pid": 2**22 - 1,
        "hostname": identity.hostname(),
        "created_at": 1000.0,
        **meta,
    }
    (run_dir / "meta.json").write_text(json.dumps(about))
    (run_dir / "status.json").write_text(json.dumps({"status": "running", "started_at": 1000.0}))
    (run_dir / "events.jsonl").write_text("")
    return run_dir


def machine(**other):
    """Where a process of this host runs, with some of it as on another one."""
    here = identity.machine(os.environ["RUNICORN_SHM_DIR"])
    return msgspec.structs.replace(here, **other).text()


@pytest.mark.parametrize(
    ("meta", "shown"),
    [
        ({"hostname": "elsewhere"}, "running"),
        ({"machine": lambda: machine(boot="another", machine_id="another")}, "running"),
        ({"machine": lambda: machine(memory="12345")}, "running"),
        ({}, "lost"),
        ({"pid": os.getpid()}, "running"),
        ({"pid": None}, None),
        ({"pid": -1}, None),
    ],
    ids=[
        "another host",
        "another machine of the same name",
        "another /dev/shm",
        "0.7.2",
        "0.7.2 live",
        "no pid",
        "no such pid",
    ],
)
def test_what_nobody_here_can_know_is_never_ended(storage, look, meta, shown):
    """A run of another host, of other shared memory under the same name, of 0.7.2, and one without a process stay."""
    made = {name: value() if callable(value) else value for name, value in meta.items()}
    if isinstance(made.get("machine"), str) and "12345" in made["machine"]:
        made["pid"] = os.getpid()  # it lives in another container
        made["machine"] = machine(memory="12345", start=identity.process_start(os.getpid()))
    run_dir = run_of(storage, "far", **made)
    before = (run_dir / "status.json").read_bytes()
    checker = look()
    for _ in range(4):
        checker.look()
    assert (run_dir / "status.json").read_bytes() == before
    assert not checker.ended
    if shown is not None:
        assert statuses(checker) == {"far": shown}


def test_another_users_run_is_never_ended(train, look, storage, monkeypatch):
    """A run directory that belongs to somebody else is left alone, though its locks are free."""
    process = train()
    kill(process.pid, process.writer)
    process.wait()
    owner = os.stat(storage / "runs" / "cv" / "live").st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    checker = look()
    for _ in range(3):
        checker.look()
    monkeypatch.undo()
    assert not checker.ended
    assert content(storage / "runs" / "cv" / "live", "status.json")["status"] == "running"


def test_several_viewers_end_a_run_once(train, look, storage):
    """Three checkers that look at the same time: every record is stored once, and the status is written once."""
    import threading

    process = train(how="unstored")
    run_dir = storage / "runs" / "cv" / "live"
    kill(process.pid, process.writer)
    process.wait()
    checkers = [look() for _ in range(3)]

    def look_often(checker):
        for _ in range(4):
            checker.look()

    threads = [threading.Thread(target=look_often, args=(checker,)) for checker in checkers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: content(run_dir, "status.json")["status"] == "failed")
    wait_until(lambda: not os.path.exists(process.spool))
    assert steps(run_dir) == list(range(1, 1002))


def test_the_viewer_itself_does_it(train, storage, start_viewer):
    """Under a viewer with short times, a page's stream tells that the run is lost, then its end with the reason."""
    import http.client

    process = train(how="unstored")
    pace = {
        "RUNICORN_VIEWER_CHECK_S": "0.2",
        "RUNICORN_VIEWER_CHECK_WATCHED_S": "0.1",
        "RUNICORN_VIEWER_END_AFTER_S": "4",
    }
    viewer = start_viewer("--port", 0, environment=pace)
    port, token = link_parts(viewer.link)
    told, read = [], 0
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", "/api/v1/live?runs=live", headers={"X-Runicorn-Token": token})
        with connection.getresponse() as stream:
            kill(process.pid, process.writer)
            process.wait()
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and (not told or told[-1] != ("failed", "process gone")):
                line = stream.readline().decode()
                if line.startswith("data: ") and "row" in line:
                    event = json.loads(line.removeprefix("data: "))
                    read = event["bytes"]
                    status = (event["row"]["status"], event["row"]["reason"])
                    told += [status] if not told or told[-1] != status else []
    # The writer that stores what is left has the run open for a moment.
    assert [each for each in told if each != ("running", None)] == [("lost", None), ("failed", "process gone")]
    wait_until(lambda: len(steps(storage / "runs" / "cv" / "live")) == 1001)
    assert read > 0
