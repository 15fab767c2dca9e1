"""How a run ends: each row of the table, with real deaths."""

import os
import signal
import subprocess

import psutil
import pytest
from support import status, wait_until
from support.trainers import Trainer, assert_exactly_once, assert_valid, counted, recover, wait_stored

IMPORTS = "import asyncio, bdb, signal\nfrom sys import exit as taken_before\n"
LOG = IMPORTS + "run = rn.init()\nopened(run)\nlog_flat_out(run, 300)\n"
LATE_THREAD = """
import threading
threading.Thread(target=lambda: (threading.main_thread().join(), run.log({"i": 301}))).start()
"""
IN_A_THREAD = "import threading\nthreading.Thread(target=sys.exit, args=(3,)).start()\n"
PARSE_ARGUMENTS = "import argparse\nargparse.ArgumentParser().parse_args(['--unknown'])\n"
IN_ASYNCIO = """
async def main():
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.sleep(60)
asyncio.run(main())
"""
ABORTED_LATER = "import atexit\natexit.register(os._exit, 6)\nrun.log({'i': 301})\nsys.exit(5)\n"
FINISHED = ("finished", None)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("run.finish()", ("finished", None)),
        ("run.finish('crashed')", ("failed", None)),
        ("with run: pass", ("finished", None)),
        ("with run: raise ValueError('no  such\\nthing')", ("failed", "ValueError: no such thing")),
        ("with run: sys.exit()", ("finished", None)),
        ("with run: sys.exit(3)", ("failed", "SystemExit: 3")),
        ("with run: raise KeyboardInterrupt", ("interrupted", "KeyboardInterrupt")),
        ("with run: run.finish('interrupted')", ("interrupted", None)),
        ("pass", FINISHED),
        ("sys.exit()", FINISHED),
        ("sys.exit(3)", ("failed", "exit code 3")),
        ("sys.exit(256)", FINISHED),
        ("sys.exit('no data')", ("failed", "exit code 1: no data")),
        ("raise SystemExit(3)", ("failed", "exit code 3")),
        ("raise SystemExit(0)", FINISHED),
        ("exit(4)", ("failed", "exit code 4")),
        ("exit()", FINISHED),
        ("sys.ps1 = '>>> '\nraise ValueError('typed')", FINISHED),
        ("taken_before(5)", ("failed", "exit code 5")),
        ("try: sys.exit(1)\nexcept SystemExit: pass", FINISHED),
        ("try: sys.exit(1)\nexcept SystemExit: raise SystemExit(0)", FINISHED),
        ("try: sys.exit(1)\nexcept SystemExit as error: kept = error", FINISHED),
        ("try: 1 / 0\nexcept Exception: sys.exit(1)", ("failed", "ZeroDivisionError: division by zero (exit code 1)")),
        ("try: raise KeyboardInterrupt\nexcept KeyboardInterrupt: sys.exit(130)", ("interrupted", "KeyboardInterrupt")),
        ("try: 1 / 0\nexcept Exception: sys.exit(0)", FINISHED),
        (IN_A_THREAD, FINISHED),
        (PARSE_ARGUMENTS, ("failed", "exit code 2")),
        (IN_ASYNCIO, ("interrupted", "KeyboardInterrupt")),
        ("with run: raise asyncio.CancelledError", ("interrupted", "CancelledError")),
        ("with run: raise bdb.BdbQuit", ("interrupted", "BdbQuit")),
        (ABORTED_LATER, ("failed", "exit code 6")),
        ("signal.signal(15, lambda *_: sys.exit(143)); os.kill(os.getpid(), 15)", ("failed", "exit code 143")),
        ("raise ValueError('boom')", ("failed", "ValueError: boom")),
        ("raise KeyboardInterrupt", ("interrupted", "KeyboardInterrupt")),
        ("os._exit(0)", FINISHED),
        ("os._exit(3)", ("failed", "exit code 3")),
        ("os.abort()", ("failed", "killed by signal 6")),
        ("import ctypes; ctypes.string_at(0)", ("failed", "killed by signal 11")),
        ("raise MemoryError", ("failed", "MemoryError")),
        ("os.kill(os.getpid(), 15)", ("interrupted", "SIGTERM")),
        ("os.kill(os.getpid(), 1)", ("failed", "killed by signal 1")),
        ("os.kill(os.getpid(), 9)", ("failed", "killed by signal 9")),
        ("os.kill(os.getpid(), 2)", ("interrupted", "KeyboardInterrupt")),
        (
            LATE_THREAD,
            FINISHED,
        ),
    ],
)
def test_row(tmp_path, body, expected):
    """Whatever ends the process, every record is stored, and status and reason are those of the table."""
    trainer = Trainer(tmp_path, LOG + body + "\n")
    trainer.end()
    wait_stored(trainer)
    found = status(trainer.run_dir)
    assert (found["status"], found.get("exit_reason")) == expected
    most = 301 if "301" in body else 300
    assert counted(trainer.run_dir) == list(range(1, most + 1))
    assert found["last_step"] == most
    assert found["ended_at"] >= found["started_at"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise SystemExit(3)", "exit code 3"),
        ("raise ValueError('late')", "ValueError: late"),
    ],
)
def test_an_exception_from_before_init(tmp_path, body, reason):
    """What was raised and shown before init() is not the reason for the end of a run."""
    trainer = Trainer(tmp_path, "sys.last_value = ValueError('early')\n" + LOG + body + "\n")
    trainer.end()
    wait_stored(trainer)
    found = status(trainer.run_dir)
    assert (found["status"], found["exit_reason"]) == ("failed", reason)


def test_sigterm_of_a_worker_is_no_mark(tmp_path):
    """A forked worker that is ended by SIGTERM does not make the run interrupted."""
    body = LOG + (
        "import signal\nready, tell = os.pipe()\nchild = os.fork()\n"
        "if child == 0:\n    os.write(tell, b'x')\n    signal.pause()\n"
        "os.read(ready, 1)\nos.kill(child, 15)\nos.waitpid(child, 0)\nos._exit(0)\n"
    )
    trainer = Trainer(tmp_path, body, PYTHONWARNINGS="ignore")
    trainer.end()
    wait_stored(trainer)
    assert status(trainer.run_dir)["status"] == "finished"


def test_own_sigterm_handler(tmp_path):
    """A program's own SIGTERM handler is left alone, before init and after."""
    for when in ("before", "after"):
        handler = "import signal\nsignal.signal(15, lambda *_: print('mine', flush=True))\n"
        body = (handler + LOG if when == "before" else LOG + handler) + "os.kill(os.getpid(), 15)\nrun.finish()\n"
        trainer = Trainer(tmp_path, body)
        out, _ = trainer.end()
        assert out.strip() == "mine"
        assert status(trainer.run_dir)["status"] == "finished"


def test_sigterm_after_finish(tmp_path):
    """A SIGTERM after finish() ends the process as ever, and changes nothing in the run."""
    trainer = Trainer(tmp_path, LOG + "run.finish()\nos.kill(os.getpid(), 15)\n")
    trainer.end()
    assert trainer.process.returncode == -signal.SIGTERM
    assert status(trainer.run_dir)["status"] == "finished"


def test_sigterm_to_everybody_then_sigkill(tmp_path):
    """A scheduler's end, SIGTERM to the writer too and then SIGKILL: everything is stored, status interrupted."""
    trainer = Trainer(tmp_path, "import signal\nsignal.signal(15, signal.SIG_IGN)\n" + LOG + "signal.pause()\n")
    trainer.wait_returned(300)
    writer = trainer.writer_pid()
    trainer.kill(signal.SIGTERM)
    os.kill(writer, signal.SIGTERM)
    trainer.kill(signal.SIGKILL)
    trainer.end()
    wait_stored(trainer)
    found = status(trainer.run_dir)
    assert (found["status"], found["exit_reason"]) == ("interrupted", "SIGTERM")
    assert counted(trainer.run_dir) == list(range(1, 301))


# --- process 1 of a container -----------------------------------------------------------------------------

NAMESPACE = ("unshare", "--pid", "--fork")


def is_permitted():
    """Whether this user may make PID namespaces."""
    try:
        return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


if is_permitted():  # a container's own process 1, where it cannot be had, is not played by another one

    @pytest.mark.parametrize(
        ("end", "code", "expected"),
        [
            ("pass", 0, FINISHED),
            ("sys.exit(3)", 3, ("failed", "exit code 3")),
            ("raise SystemExit(3)", 3, ("finished", "exit code unknown")),
            ("try: sys.exit(1)\nexcept SystemExit: pass\nraise SystemExit(0)", 0, ("finished", "exit code unknown")),
        ],
    )
    def test_process_1_ends(tmp_path, end, code, expected):
        """Where the kernel ends the writer with the script, the script's end waits until everything is stored."""
        trainer = Trainer(tmp_path, "assert os.getpid() == 1\n" + LOG + end + "\n", prefix=NAMESPACE)
        _, errors = trainer.end()
        assert (trainer.process.returncode, errors) == (code, "")
        assert not trainer.spool.exists()
        assert_exactly_once(trainer)
        found = status(trainer.run_dir)
        assert (found["status"], found.get("exit_reason")) == expected

    @pytest.mark.parametrize("how", ["SIGKILL", "os._exit"])
    def test_process_1_dies(tmp_path, how):
        """Where the kernel kills the writer with process 1, the spool stays, and the next to come stores it."""
        wait = "import signal\nsignal.pause()\n" if how == "SIGKILL" else "os._exit(0)\n"
        trainer = Trainer(tmp_path, LOG + wait, prefix=NAMESPACE)
        if how == "SIGKILL":
            trainer.wait_returned(300)
            (process,) = psutil.Process(trainer.process.pid).children()
            process.kill()
        trainer.end()
        assert trainer.returned == 300
        wait_until(lambda: recover(tmp_path) and not trainer.spool.exists())
        assert_exactly_once(trainer)
        assert_valid(trainer.run_dir)
        found = status(trainer.run_dir)
        assert (found["status"], found["exit_reason"]) == ("failed", "process gone")
