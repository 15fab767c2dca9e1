"""Ends of processes that multiprocessing has started, or that were forked by hand; and what is left of ``sys.exit``."""

from __future__ import annotations

import os
import signal
import sys
import weakref
from contextlib import suppress

import psutil
import pytest
from support import logged, status, wait_until, writers
from support.trainers import Trainer, wait_stored

import runicorn

METHODS = ("fork", "spawn", "forkserver")

CHILDREN = """
import multiprocessing, os, sys, threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
import runicorn as rn

def opened(path):
    run = rn.init(path=path, storage=sys.argv[1])
    run.log(a=1)
    return run

def returns(): opened("returns")
def raises(): opened("raises"); raise ValueError("no data")
def interrupted(): opened("interrupted"); raise KeyboardInterrupt
def exits(): opened("exits"); sys.exit(3)
def exits_well(): opened("exits_well"); sys.exit(0)
def raises_exit(): opened("raises_exit"); raise SystemExit(4)
def says(): opened("says"); sys.exit("no data")
def launcher():
    opened("launcher")
    try:
        raise ValueError("diverged")
    except Exception:
        sys.exit(1)
def leaves(): opened("leaves"); os._exit(5)
def leaves_well(): opened("leaves_well"); os._exit(0)
def thread():
    run = opened("thread")
    main = threading.current_thread()
    begin = threading.Event()
    def work():
        begin.wait()
        run.log(a=2)
    threading.Thread(target=work).start()
    multiprocessing.util.Finalize(None, begin.set, exitpriority=0)
    threading._register_atexit(begin.set)  # some versions wait for threads before that
def threads():
    run = opened("threads")
    ThreadPoolExecutor(2).submit(run.log, a=2)
def twice(): opened("twice"); opened("twice")
def task(number): opened("pool"); return number

TARGETS = (returns, raises, interrupted, exits, exits_well, raises_exit, says, launcher, leaves, leaves_well, thread,
           threads, twice)

if __name__ == "__main__":
    import multiprocessing.util
    context = multiprocessing.get_context(sys.argv[2])
    processes = [context.Process(target=target) for target in TARGETS]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        list(pool.map(task, range(4)))
    pool = context.Pool(2)
    pool.map(task, range(4))
    pool.close()
    pool.join()
""".replace("import multiprocessing, os", "import multiprocessing, multiprocessing.util, os")

ENDS = {
    "returns": ("finished", None),
    "raises": ("failed", "ValueError: no data"),
    "interrupted": ("interrupted", "KeyboardInterrupt"),
    "exits": ("failed", "exit code 3"),
    "exits_well": ("finished", None),
    "raises_exit": ("failed", "exit code 4"),
    "says": ("failed", "exit code 1: no data"),
    "launcher": ("failed", "ValueError: diverged (exit code 1)"),
    "leaves": ("failed", "exit code 5"),
    "leaves_well": ("finished", None),
    "thread": ("finished", None),
    "threads": ("finished", None),
    "twice": ("finished", None),
    "pool": ("finished", None),
}
if sys.version_info >= (3, 13):  # what the target raised is not handled any more when the finalizers run
    ENDS |= dict.fromkeys(("interrupted", "launcher", "raises", "says"), ("failed", "exit code 1"))


def ended(storage):
    """Every run of a storage, once no writer is at work any more: one may have yet to learn an exit code."""
    memory = os.environ["RUNICORN_SHM_DIR"]
    wait_until(lambda: not any(name.startswith("runicorn-") for name in os.listdir(memory)), what="the spools are gone")
    wait_until(
        lambda: (
            not any(
                word.startswith(memory)
                for process in psutil.process_iter(["cmdline"])
                for word in process.info["cmdline"] or []
            )
        ),
        what="the writers are gone",
    )
    return runicorn.runs(str(storage))


@pytest.mark.parametrize("method", METHODS)
def test_a_child_of_multiprocessing_ends_its_run_as_its_target_ended(run_program, storage, method):
    """By whatever start method: finished if the target returned, else failed with what it raised, or the exit code."""
    run_program(CHILDREN, method)
    found = {(info.path, info.status, info.exit_reason) for info in ended(storage)}
    assert found == {(path, *end) for path, end in ENDS.items()}
    stored = {info.path: len(logged(info.run_dir)) for info in ended(storage)}
    assert stored == {**dict.fromkeys(ENDS, 1), "thread": 2, "threads": 2}


BY_HAND = """
import os, signal, sys
import runicorn as rn
for name, end in {
    "leaves": lambda: os._exit(0), "fails": lambda: os._exit(7), "exits": lambda: sys.exit(2), "returns": lambda: None,
    "is-killed": lambda: os.kill(os.getpid(), signal.SIGKILL), "aborts": os.abort,
}.items():
    pid = os.fork()
    if pid == 0:
        run = rn.init(path=name, storage=sys.argv[1])
        run.log(a=1)
        end()
        sys.exit()
    os.waitpid(pid, 0)
"""


def test_a_child_that_was_forked_by_hand(run_program, storage):
    """What the system tells of a child that has ended past every hook, though its parent has reaped it, is the end."""
    run_program(BY_HAND)
    assert {info.path: (info.status, info.exit_reason) for info in ended(storage)} == {
        "leaves": ("finished", None),
        "fails": ("failed", "exit code 7"),
        "exits": ("failed", "exit code 2"),
        "returns": ("finished", None),
        "is-killed": ("failed", "killed by signal 9"),
        "aborts": ("failed", "killed by signal 6"),
    }


def test_an_end_before_the_writer_is_up(run_program, storage):
    """A process that is gone before its writer has begun has left it the means to ask how."""
    run_program("import os, sys\nimport runicorn as rn\nrn.init(storage=sys.argv[1])\nos._exit(9)\n", returncode=9)
    (info,) = ended(storage)
    assert (info.status, info.exit_reason) == ("failed", "exit code 9")


def test_an_end_after_the_writer_was_replaced(tmp_path):
    """A second writer finds the owner by the lock that it holds."""
    trainer = Trainer(
        tmp_path,
        "run = rn.init()\nopened(run)\nlog_flat_out(run, 10)\nsys.stdin.readline()\nlog_flat_out(run, 1, 11)\n"
        "run.flush()\nos._exit(8)\n",
    )
    first = trainer.writer_pid()
    os.kill(first, signal.SIGKILL)
    trainer.go_on()
    trainer.end()
    wait_stored(trainer)
    found = status(trainer.run_dir)
    assert (found["status"], found["exit_reason"]) == ("failed", "exit code 8")


def test_a_resume_before_the_exit_code_is_known(tmp_path):
    """A run that goes on elsewhere while its earlier process still ends is left alone by the earlier writer."""
    trainer = Trainer(
        tmp_path,
        "import atexit\natexit.register(sys.stdin.readline)\nrun = rn.init(run_id='goes-on')\nopened(run)\n"
        "log_flat_out(run, 10)\nraise SystemExit(3)\n",
    )
    wait_until(lambda: not trainer.spool.exists(), what="the run was ended")
    before = status(trainer.run_dir)
    second = Trainer(tmp_path, "run = rn.init(run_id='goes-on')\nopened(run)\nsys.stdin.readline()\nrun.finish()\n")
    trainer.go_on()
    trainer.end()
    wait_until(lambda: not writers(str(trainer.spool)), what="the earlier writer is gone")
    during = status(second.run_dir)
    second.go_on()
    second.end()
    wait_stored(second)
    assert (before["status"], before["exit_reason"]) == ("finished", "exit code unknown")
    assert during["status"] == "running"
    assert status(second.run_dir)["status"] == "finished"
    assert "exit_reason" not in status(second.run_dir)


# --- sys.exit -------------------------------------------------------------------------------------------------


def test_sys_exit_is_wrapped_while_a_run_is_open(open_run):
    """It is what it was after the last run's end, and the wrapper says what it wraps."""
    real = sys.exit
    first, second = open_run(), open_run()
    assert sys.exit is not real
    assert sys.exit.__wrapped__ is real
    with pytest.raises(SystemExit) as raised:
        sys.exit((1, 2))
    assert (raised.value.args, raised.value.code) == ((1, 2), (1, 2))
    first.finish()
    assert sys.exit is not real
    second.finish()
    assert sys.exit is real


def test_a_wrapper_of_somebody_else_stays(open_run, monkeypatch):
    """Where the program has set ``sys.exit`` since, that stays; runs that come later wrap nothing twice."""
    run = open_run()
    ours = sys.exit

    def theirs(status=None):
        ours(status)

    monkeypatch.setattr(sys, "exit", theirs)
    run.finish()
    assert sys.exit is theirs
    again = open_run()
    assert sys.exit is theirs
    again.finish()
    assert sys.exit is theirs
    monkeypatch.setattr(sys, "exit", ours)
    open_run().finish()
    assert sys.exit is ours.__wrapped__


def test_an_exit_that_was_caught_keeps_nothing_alive(open_run):
    """The exception, its traceback and what its frames hold go with the handler that has caught it."""

    class Model:
        pass

    def train():
        model = Model()
        kept.append(weakref.ref(model))
        sys.exit(1)

    open_run()
    kept = []
    with suppress(SystemExit):
        train()
    assert kept[0]() is None
