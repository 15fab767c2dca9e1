"""``finish()``, the context manager, and calls after the end."""

from __future__ import annotations

import asyncio
import bdb
import os
import pickle
import pty
import re
import select
import signal
import threading
import time
from pathlib import Path

import pytest
from support import (
    best,
    content,
    events,
    logged,
    status,
    stopped_writer,
    summary,
    text_of,
    wait_until,
    warnings_in,
    without_waiting,
    writers,
)

from runicorn.queue.records import End

SILENT_S = 1.0

# --- statuses -----------------------------------------------------------------------------------------------


def ending(run):
    """Status and reason as they are stored."""
    found = status(run)
    return found["status"], found.get("exit_reason")


def test_without_a_status_a_run_is_finished(open_run):
    """``finish()`` ends the run as ``finished``, with the time, and no reason."""
    run = open_run()
    before = time.time()
    run.finish()
    assert ending(run) == ("finished", None)
    assert before <= status(run)["ended_at"] <= time.time()
    assert status(run)["started_at"] <= status(run)["ended_at"]
    assert run.is_finished


@pytest.mark.parametrize(
    ("word", "stored"),
    [
        ("finished", "finished"),
        ("completed", "finished"),
        ("success", "finished"),
        ("done", "finished"),
        ("failed", "failed"),
        ("error", "failed"),
        ("crashed", "failed"),
        ("interrupted", "interrupted"),
        ("killed", "interrupted"),
        ("cancelled", "interrupted"),
        ("canceled", "interrupted"),
        ("aborted", "interrupted"),
        ("stopped", "interrupted"),
        (" Success\n", "finished"),
        ("FAILED", "failed"),
    ],
)
def test_a_word_for_a_status_is_stored_as_that_status(open_run, word, stored):
    """Statuses and their aliases are stored as one of three; case and blanks do not matter."""
    run = open_run()
    run.finish(word)
    assert ending(run) == (stored, None)


@pytest.mark.parametrize("word", ["bogus", "", "running", "Running", "finish", "fail"])
def test_another_status_raises_and_the_run_stays_open(open_run, word):
    """An unknown status, ``running`` included, raises with the valid ones, and logging goes on."""
    run = open_run()
    with pytest.raises(ValueError, match="status") as raised:
        run.finish(word)
    assert repr(word) in str(raised.value)
    assert all(valid in str(raised.value) for valid in ("finished", "failed", "interrupted"))
    assert not run.is_finished
    assert status(run)["status"] == "running"
    run.log(still=1)
    run.finish()
    assert logged(run) == [{"still": 1}]


@pytest.mark.parametrize("word", [None, 0, True, b"failed"], ids=repr)
def test_a_status_that_is_no_string_raises(open_run, word):
    """A non-string raises ``TypeError``, and the run stays open."""
    run = open_run()
    with pytest.raises(TypeError, match="status") as raised:
        run.finish(word)
    assert repr(word) in str(raised.value)
    assert not run.is_finished


# --- the context manager --------------------


def test_a_block_that_ends_well_finishes_the_run(open_run):
    """``with`` gives the run, and ends it as ``finished``."""
    run = open_run()
    with run as same:
        assert same is run
        run.log(a=1)
    assert ending(run) == ("finished", None)
    assert logged(run) == [{"a": 1}]


class OwnError(Exception):
    """An exception of the program's."""


class Unprintable(Exception):  # noqa: N818 - it is one
    """An exception of the program's that cannot be printed."""

    def __str__(self):
        raise TypeError("mine")

    def __repr__(self):
        return "Unprintable()"


class Group(BaseException):
    """As trio and anyio raise it."""

    def __init__(self, exceptions):
        super().__init__("a group")
        self.exceptions = tuple(exceptions)


class Exit(RuntimeError):  # noqa: N818 - its name there
    """As that of click and typer."""

    def __init__(self, code):
        super().__init__()
        self.exit_code = code


@pytest.mark.parametrize(
    ("error", "stored", "reason"),
    [
        (OwnError("went\nwrong"), "failed", "OwnError: went wrong"),
        (ValueError(), "failed", "ValueError"),
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
        (SystemExit(0), "finished", None),
        (SystemExit(None), "finished", None),
        (SystemExit(), "finished", None),
        (SystemExit(3), "failed", "SystemExit: 3"),
        (SystemExit("message"), "failed", "SystemExit: message"),
        (GeneratorExit(), "finished", None),
        (StopIteration(), "finished", None),
        (asyncio.CancelledError(), "interrupted", "CancelledError"),
        (bdb.BdbQuit(), "interrupted", "BdbQuit"),
        (Group([KeyboardInterrupt()]), "interrupted", "KeyboardInterrupt"),
        (Unprintable(), "failed", "Unprintable"),
        (OwnError("\udc80"), "failed", "OwnError: \\udc80"),
        (Exit(0), "finished", None),
        (Exit(3), "failed", "exit code 3"),
    ],
    ids=repr,
)
def test_an_exception_ends_the_run_by_its_kind(open_run, error, stored, reason):
    """What leaves the block decides the status, and is not swallowed."""
    run = open_run()
    with pytest.raises(type(error)) as raised, run:
        raise error
    assert raised.value is error
    assert ending(run) == (stored, reason)


@pytest.mark.parametrize("error", [None, OwnError(), KeyboardInterrupt()], ids=repr)
def test_a_status_given_in_the_block_stays(open_run, caplog, error):
    """If the block has called ``finish(...)`` itself, leaving it changes nothing and says nothing."""
    run = open_run()

    def block():
        with run:
            run.finish("interrupted")
            if error is not None:
                raise error

    if error is None:
        block()
    else:
        with pytest.raises(type(error)):
            block()
    assert ending(run) == ("interrupted", None)
    assert warnings_in(caplog) == []


def test_a_wrong_status_in_the_block_fails_the_run(open_run):
    """The error of a wrong ``finish()`` leaves the block like any other."""
    run = open_run()
    with pytest.raises(ValueError, match="bogus"), run:
        run.finish("bogus")
    assert ending(run)[0] == "failed"


# --- finish() again --------------------


@pytest.mark.parametrize(("first", "second"), [("finished", "success"), ("failed", "error")])
def test_the_same_status_again_does_nothing(open_run, caplog, first, second):
    """``finish()`` with the same status, by whatever word, changes no byte and says nothing."""
    run = open_run()
    run.finish(first)
    before = (run.run_dir / "status.json").read_bytes()
    run.finish(second)
    assert (run.run_dir / "status.json").read_bytes() == before
    assert warnings_in(caplog) == []


def test_another_status_afterwards_warns_and_changes_nothing(open_run, caplog):
    """The first status stays, and the warning names both."""
    run = open_run()
    run.finish("failed")
    before = (run.run_dir / "status.json").read_bytes()
    run.finish("finished")
    (message,) = warnings_in(caplog)
    assert "failed" in message
    assert "finished" in message
    assert (run.run_dir / "status.json").read_bytes() == before


def test_an_unknown_status_afterwards_still_raises(open_run):
    """A word that is no status raises, whenever it is said."""
    run = open_run()
    run.finish()
    with pytest.raises(ValueError, match="bogus"):
        run.finish("bogus")


# --- how long finish() waits --------------------


def test_finish_waits_until_everything_is_stored(open_run, capfd):
    """When it returns all records, text, summary and status are on disk, spool and writer are gone."""
    run = open_run()
    run.set_primary_metric("n")
    for number in range(50_000):
        run.log(n=number)
    run.log_text("last")
    run.summary({"a": 1})
    run.finish()
    assert [data["n"] for data in logged(run)] == list(range(50_000))
    assert text_of(run).endswith("| last\n")
    assert summary(run)["a"] == 1
    assert best(run)[2] == 49_999
    assert ending(run) == ("finished", None)
    spool = Path(run._session.address.spool)
    assert not spool.exists()
    assert writers(str(spool)) == []
    assert sorted(path.name for path in run.run_dir.iterdir()) == [
        "assets.json",
        "events.jsonl",
        "logs.txt",
        "media",
        "meta.json",
        "status.json",
        "summary.json",
    ]
    assert capfd.readouterr().out == ""


def test_a_quick_finish_says_nothing(open_run, capfd):
    """Nothing is printed where there is nothing to wait for; where that took a second, no more than that."""
    run = open_run()
    run.log(a=1)
    begun = time.monotonic()
    run.finish()
    took_s = time.monotonic() - begun
    out, err = capfd.readouterr()
    assert out + without_waiting(err) == ""
    assert not err or took_s > SILENT_S


@pytest.mark.detached_writer
def test_finish_gives_up_waiting_and_the_writer_goes_on(open_run, caplog, monkeypatch):
    """After ``finish_timeout_s`` it warns what is left and returns; all is stored later."""
    monkeypatch.setenv("RUNICORN_FINISH_TIMEOUT_S", "0.3")
    run = open_run()
    with stopped_writer(run):
        for number in range(100):
            run.log(n=number)
        run.finish("failed")
        (message,) = warnings_in(caplog)
        assert "not stored" in message
        assert run._session.address.spool in message
        assert "writer" in message
        assert events(run) == []
        assert run.is_finished
    wait_until(lambda: status(run)["status"] == "failed")
    assert [data["n"] for data in logged(run)] == list(range(100))
    run._end_at_exit(End(0.0, "failed", None, lingering=True))  # else it counts as open, in tests that come after


def test_the_timeout_is_600_seconds(open_run):
    """``finish_timeout_s`` is 600 unless it is set."""
    assert open_run()._session.address.settings.finish_timeout_s == 600


@pytest.mark.detached_writer
def test_a_timeout_of_0_is_for_ever(open_run, capsys, monkeypatch):
    """With ``finish_timeout_s`` 0 it waits until everything is stored, however long that takes."""
    monkeypatch.setenv("RUNICORN_FINISH_TIMEOUT_S", "0")
    run = open_run()
    said = []
    with stopped_writer(run):
        run.log(n=1)
        finishing = threading.Thread(target=run.finish)
        finishing.start()

        def says_something():
            said.append(capsys.readouterr().err)
            return "".join(said)

        wait_until(says_something)
        assert finishing.is_alive()
    finishing.join(60)
    assert not finishing.is_alive()
    assert logged(run) == [{"n": 1}]
    assert ending(run) == ("finished", None)


@pytest.mark.detached_writer
def test_after_a_second_it_says_what_it_waits_for(open_run, capsys, monkeypatch):
    """Not before one second has passed, stderr tells what is waited for and how much is left, in one line."""
    monkeypatch.setenv("RUNICORN_FINISH_TIMEOUT_S", "0")
    run = open_run()
    said = []

    def says_a_line():
        said.append(capsys.readouterr().err)
        return "".join(said).endswith("\n")

    with stopped_writer(run):
        for number in range(1000):
            run.log(n=number)
        begun = time.monotonic()
        finishing = threading.Thread(target=run.finish)
        finishing.start()
        wait_until(says_a_line)
        assert time.monotonic() - begun > SILENT_S
        assert finishing.is_alive()
    finishing.join(60)
    (line,) = ("".join(said) + capsys.readouterr().err).splitlines()
    assert "waiting" in line
    assert "stored" in line
    assert re.search(r"\d+(\.\d+)? ?(MB|KB|bytes|records)", line)
    assert "\r" not in line
    assert status(run)["status"] == "finished"


ON_A_TERMINAL = """
import os, signal, sys
import runicorn as rn
from support import writer_of
run = rn.init(storage=sys.argv[1])
run.log(n=1)
writer = writer_of(run)
writer.send_signal(signal.SIGSTOP)
print(writer.pid, flush=True)
run.finish()
"""


def test_on_a_terminal_it_draws_over_its_line(start_program):
    """A terminal gets one line that is drawn again while it waits, and wiped at the end."""
    terminal, end = pty.openpty()
    try:
        process = start_program(ON_A_TERMINAL, stderr=end)
        os.close(end)
        writer = int(process.stdout.readline())
        said = b""
        while said.count(b"\x1b[Krunicorn: waiting") < 2:
            assert len(said) < 2000, said
            assert select.select([terminal], [], [], 60)[0], said
            said += os.read(terminal, 65536)
        os.kill(writer, signal.SIGCONT)
        # Linux answers EIO when the last process has closed the other end.
        while piece := read_terminal(terminal):
            said += piece
        process.communicate(timeout=60)
    finally:
        os.close(terminal)
    assert process.returncode == 0
    drawn, _, after = said.decode().rpartition("\r\x1b[K")
    assert drawn.count("\rrunicorn: waiting") + drawn.count("\x1b[Krunicorn: waiting") >= 2
    assert "\n" not in drawn
    assert "waiting until" not in after


def read_terminal(terminal):
    """What is there next; empty at the end."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


INTERRUPTED = """
import signal, sys
import runicorn as rn
from support import writer_of
signal.signal(signal.SIGINT, signal.default_int_handler)
run = rn.init(storage=sys.argv[1], run_id="interrupted")
writer = writer_of(run)
writer.send_signal(signal.SIGSTOP)
for number in range(100):
    run.log(n=number)
print(writer.pid, flush=True)
run.finish("failed")
print("returned", flush=True)
"""


def test_ctrl_c_stops_the_waiting_and_not_the_writer(start_program, storage):
    """Ctrl-C ends the wait of ``finish()``; the writer stores everything, with the status that was given."""
    process = start_program(INTERRUPTED)
    writer = int(process.stdout.readline())
    try:
        assert "waiting" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "returned\n"
        assert events(storage / "runs" / "default" / "interrupted") == []
    finally:
        os.kill(writer, signal.SIGCONT)
    process.communicate(timeout=60)
    run = storage / "runs" / "default" / "interrupted"
    wait_until(lambda: status(run)["status"] != "running")
    assert ending(run) == ("failed", None)
    assert [data["n"] for data in logged(run)] == list(range(100))


# --- after the end --------------------


AFTER = {
    "log": lambda run: run.log(late=1),
    "log_text": lambda run: run.log_text("late"),
    "summary": lambda run: run.summary({"late": 1}),
    "set_primary_metric": lambda run: run.set_primary_metric("a", "min"),
    "log_config": lambda run: run.log_config(extra={"late": 1}),
}


def files_of(run):
    """Every file of the run with its content."""
    return {path: path.read_bytes() for path in run.run_dir.rglob("*") if path.is_file()}


@pytest.mark.parametrize("strictly", [False, True], ids=["", "strict"])
@pytest.mark.parametrize("call", AFTER)
def test_after_the_end_a_call_stores_nothing_and_warns_once(open_run, caplog, monkeypatch, call, strictly):
    """Each method of an ended run stores nothing, raises nothing, and warns once for all calls."""
    if strictly:
        monkeypatch.setenv("RUNICORN_STRICT", "1")
    run = open_run()
    run.log(a=1)
    run.finish()
    before = files_of(run)
    for _ in range(3):
        assert AFTER[call](run) is None
    (message,) = warnings_in(caplog)
    assert call in message
    assert "finish()" in message
    assert files_of(run) == before


def test_after_the_end_other_threads_warn_as_well(open_run, caplog):
    """A thread that logs on after the end stores nothing, and there is one warning for all."""
    run = open_run()
    run.log(a=1)
    run.finish()
    threads = [threading.Thread(target=lambda: [run.log(late=1) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert logged(run) == [{"a": 1}]
    assert len(warnings_in(caplog)) == 1


OUTLIVED = """
import os, sys
import runicorn as rn
run = rn.init(storage=sys.argv[1], run_id="outlived")
run.log(a=1)
go, ended = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(ended)
    if sys.argv[2] == "has logged":
        run.log(a=2)
    os.read(go, 1)  # until the owner has ended the run
    for _ in range(3):
        run.log(late=1)
    run.log_text("late")
    run.summary({"late": 1})
    assert run.is_finished
    sys.stderr.flush()
    os._exit(0)
if sys.argv[2] == "has logged":
    while run._session.control.stored_records < 2:
        pass
run.finish()
os.close(ended)
os.waitpid(pid, 0)
"""


@pytest.mark.parametrize("child", ["has logged", "has not logged"])
def test_after_the_end_another_process_warns_as_well(run_program, storage, child):
    """A forked child that outlives ``finish()`` stores nothing and warns once."""
    told = run_program(OUTLIVED, child).stderr
    run = storage / "runs" / "default" / "outlived"
    assert {data["a"] for data in logged(run)} == ({1, 2} if child == "has logged" else {1})
    assert text_of(run) == ""
    assert summary(run) == {}
    assert told.count("was called after finish()") == 1
    assert len(told.splitlines()) == 1


def test_a_late_call_leaves_no_spool_behind(open_run):
    """A joined handle whose first record comes after the end makes nothing that nobody removes."""
    run = open_run()
    joined = open_run(run_id=run.id)
    run.finish()
    joined.log(late=1)
    joined.log_text("late")
    assert not Path(run._session.address.spool).exists()
    assert not Path(run._session.address.overflow).exists()


def test_a_run_unpickled_after_the_end_stores_nothing_and_warns_once(open_run, caplog):
    """A worker that gets the run too late is told so, and goes on."""
    run = open_run()
    pickled = pickle.dumps(run)
    run.log(a=1)
    run.finish()
    late = pickle.loads(pickled)
    assert late.is_finished
    late.log(late=1)
    late.log_text("late")
    late.finish()
    assert logged(run) == [{"a": 1}]
    assert len(warnings_in(caplog)) == 1


def test_a_call_in_an_exit_hook_comes_after_the_end(run_program, storage):
    """``finish()`` at the end of a script and a late ``atexit`` call do not disturb each other."""
    told = run_program("""
import atexit, sys
import runicorn as rn
run = rn.init(storage=sys.argv[1], run_id="exits")
atexit.register(lambda: run.log(late=1))
run.log(a=1)
run.finish()
""").stderr
    run = storage / "runs" / "default" / "exits"
    assert logged(run) == [{"a": 1}]
    assert ending(run) == ("finished", None)
    assert told.count("was called after finish()") == 1


def test_after_the_end_what_can_be_asked_stays(open_run):
    """Id, path, directories and steps of an ended run can still be read."""
    run = open_run(path="cv", alias="mine")
    run.log(a=1)
    run.finish()
    assert (run.path, run.alias, run.global_step) == ("cv", "mine", 1)
    assert run.run_dir.name == run.id
    assert content(run, "meta.json")["id"] == run.id
