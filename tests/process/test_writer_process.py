"""The writer as a process: whose child it is, what it imports, when it goes."""

import os
import signal
import subprocess
import sys
import textwrap
import venv
from pathlib import Path

import psutil
import pytest
from support import events, status, wait_until
from support.trainers import Trainer, assert_exactly_once, counted, writer_pids

from runicorn.session import writer_process

LOG = "run = rn.init()\nopened(run)\nlog_flat_out(run, 300)\n"
TRAIN = "import runicorn as rn\nrun = rn.init()\nrun.log({'i': 1})\nrun.finish()\nprint(run.run_dir)\n"


def test_nothing_to_wait_for(tmp_path):
    """os.wait() of the program finds no child of ours, before, during and after a run."""
    body = """
    def no_child():
        try:
            os.wait()
        except ChildProcessError:
            return True
    run = rn.init()
    opened(run)
    found = [no_child()]
    log_flat_out(run, 100)
    found.append(no_child())
    run.finish()
    print(found + [no_child()])
    """
    out, errors = Trainer(tmp_path, body).end()
    assert out.strip() == "[True, True, True]", errors


def test_kill_all_children(tmp_path):
    """A program that kills every child and grandchild it can find does not find the writer."""
    body = LOG + "import psutil\nprint(len(psutil.Process().children(recursive=True)))\nrun.finish()\n"
    out, errors = Trainer(tmp_path, body).end()
    assert out.strip() == "0", errors


def test_own_session(tmp_path):
    """The writer has a session of its own, no descriptor but its own, and a directory that nobody unmounts."""
    trainer = Trainer(tmp_path, LOG + "sys.stdin.readline()\nrun.finish()\n")
    writer = trainer.writer_pid()
    trainer.wait_returned(300)
    assert os.getsid(writer) != os.getsid(trainer.process.pid)
    process = psutil.Process(writer)
    wait_until(lambda: process.cwd() == "/")
    allowed = (str(trainer.run_dir), str(trainer.spool), "/dev/")
    strange = [file.path for file in process.open_files() if not file.path.startswith(allowed)]
    assert strange == []
    trainer.go_on()
    trainer.end()


def test_ctrl_c_is_the_trainers_alone(tmp_path):
    """SIGINT, SIGHUP and SIGQUIT to the writer change nothing."""
    trainer = Trainer(tmp_path, LOG + "sys.stdin.readline()\nlog_flat_out(run, 300, first=301)\nrun.finish()\n")
    writer = trainer.writer_pid()
    wait_until(lambda: len(counted_or_none(trainer)) == 300)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        os.kill(writer, number)
    trainer.go_on()
    trainer.end()
    assert writer_pids(trainer.spool) == []
    assert_exactly_once(trainer)


def test_sigterm_to_the_writer(tmp_path):
    """SIGTERM to the writer makes it store at once and go on; a run that then finishes is finished."""
    trainer = Trainer(tmp_path, LOG + "sys.stdin.readline()\nlog_flat_out(run, 300, first=301)\nrun.finish()\n")
    os.kill(trainer.writer_pid(), signal.SIGTERM)
    wait_until(lambda: len(counted_or_none(trainer)) == 300)
    trainer.go_on()
    trainer.end()
    assert_exactly_once(trainer)
    assert status(trainer.run_dir)["status"] == "finished"


def test_stopped_writer_is_not_doubled(tmp_path):
    """A writer that is merely stopped gets no second one beside it, however long its heartbeat stands still."""
    body = """
    import time
    run = rn.init()
    opened(run)
    sys.stdin.readline()
    deadline = time.monotonic() + 0.5
    i = 0
    while time.monotonic() < deadline:
        i += 1
        run.log({"i": i})
        returned(i)
    print("logged", flush=True)
    sys.stdin.readline()
    run.finish()
    """
    trainer = Trainer(tmp_path, body, RUNICORN_WRITER_RESTART_AFTER_S="0.1", RUNICORN_LOOK_INTERVAL_S="0.05")
    writer = trainer.writer_pid()
    os.kill(writer, signal.SIGSTOP)
    try:
        trainer.go_on()
        trainer.process.stdout.readline()
        assert writer_pids(trainer.spool) == [writer]
    finally:
        os.kill(writer, signal.SIGCONT)
    trainer.go_on()
    trainer.end()
    assert_exactly_once(trainer)


def test_no_thread(tmp_path):
    """Neither Python's count of threads nor the kernel's changes through init, log and finish."""
    body = """
    import psutil, threading
    def threads():
        return threading.active_count(), psutil.Process().num_threads()
    found = {threads()}
    run = rn.init()
    found.add(threads())
    opened(run)
    log_flat_out(run, 20_000)
    found.add(threads())
    run.finish()
    found.add(threads())
    print(sorted(found))
    """
    out, errors = Trainer(tmp_path, body).end()
    assert out.strip() == "[(1, 1)]", errors


def test_no_shadowing(tmp_path):
    """queue.py, random.py, logging.py and types.py beside the script, which raise, never reach the writer."""
    for name in ("queue", "random", "logging", "types", "struct", "json", "sqlite3"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('shadowed')\n")
    script = "import sys; sys.path.append(sys.path.pop(0))\n" + TRAIN
    run_dir = run_script(tmp_path, sys.executable, script)
    assert status(run_dir)["status"] == "finished"
    assert counted(run_dir) == [1]


def test_pythonpath(tmp_path):
    """A package that is found through PYTHONPATH alone is found by the writer too."""
    run_dir = run_script(tmp_path, sys.executable, TRAIN, flags=["-S"], PYTHONPATH=import_path())
    assert counted(run_dir) == [1]


def test_user_install(tmp_path):
    """A package in the user's site directory is found by the writer, which itself has no user site."""
    home = tmp_path / "home"
    site = Path(
        subprocess.run(
            [sys.executable, "-c", "import site; print(site.getusersitepackages())"],
            env={**os.environ, "PYTHONUSERBASE": str(home)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    )
    site.mkdir(parents=True)
    (site / "ours.pth").write_text("\n".join(import_path().split(os.pathsep)) + "\n")
    plain = base_python()
    run_dir = run_script(tmp_path, plain, TRAIN, PYTHONUSERBASE=str(home))
    assert counted(run_dir) == [1]


def test_editable_install(tmp_path):
    """An editable install in a virtual environment works from any directory."""
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False, symlinks=True)
    python = environment / "bin" / "python"
    site = next(environment.glob("lib/python*/site-packages"))
    (site / "__editable__.runicorn.pth").write_text("\n".join(import_path().split(os.pathsep)) + "\n")
    run_dir = run_script(tmp_path, str(python), TRAIN)
    assert counted(run_dir) == [1]


def test_frozen_program(tmp_path):
    """A program without a Python of its own starts no process: finish() stores, and one warning says so."""
    body = "sys.frozen = True\n" + LOG + "run.finish()\n"
    trainer = Trainer(tmp_path, body)
    _, errors = trainer.end()
    assert_exactly_once(trainer)
    assert status(trainer.run_dir)["status"] == "finished"
    assert errors.count("No writer process could be started") == 1
    assert not trainer.spool.exists()


SLOW_PYTHON = """#!/bin/sh
tries=0
while [ ! -e "{go}" ] && [ $tries -lt 600 ]; do sleep 0.05; tries=$((tries+1)); done
exec "{python}" "$@"
"""


def test_writer_that_is_slow_to_start(tmp_path):
    """A writer that comes up after its owner has given up on it takes over: the program stores nothing itself."""
    slow, go = tmp_path / "python-slow", tmp_path / "go"
    slow.write_text(SLOW_PYTHON.format(go=go, python=sys.executable))
    slow.chmod(0o755)
    body = f"""
import time
sys.executable = {str(slow)!r}
run = rn.init(path="cv/slow")
opened(run)
def log_until(reached):
    deadline = time.monotonic() + 60
    while not reached() and time.monotonic() < deadline:
        run.log({{"i": 1}})
        time.sleep(0.01)
    print(bool(reached()), flush=True)
log_until(lambda: run._session._monitor.in_process)
open({str(go)!r}, "w").close()
log_until(lambda: run._session.control.heartbeat)
log_until(lambda: not run._session._monitor.in_process)
run.finish()
"""
    trainer = Trainer(tmp_path, body, RUNICORN_WRITER_RESTART_AFTER_S="0.01", RUNICORN_LOOK_INTERVAL_S="0.01")
    out, errors = trainer.end()
    assert out.split() == ["True", "True", "True"]
    assert errors.count("No writer process could be started") == 1
    assert status(trainer.run_dir)["status"] == "finished"


def test_frozen_program_with_a_child_and_threads(tmp_path):
    """There a child's finish() does not wait for a writer that cannot come, and two threads may finish at once."""
    body = (
        "sys.frozen = True\n"
        + LOG
        + """
import threading
child = os.fork()
if child == 0:
    run.log({"child": 1})
    run.finish()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
barrier, raised = threading.Barrier(2), []


def finish():
    barrier.wait()
    try:
        run.finish()
    except BaseException as error:
        raised.append(error)


threads = [threading.Thread(target=finish) for _ in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(raised, flush=True)
"""
    )
    trainer = Trainer(tmp_path, body, PYTHONWARNINGS="ignore")
    out, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert out.strip() == "[]"
    assert counted(trainer.run_dir) == list(range(1, trainer.returned + 1))
    assert [event["data"]["child"] for event in events(trainer.run_dir) if "producer" in event] == [1]


def test_frozen_program_without_finish(tmp_path):
    """The same when nobody calls finish(): the end of the interpreter stores."""
    trainer = Trainer(tmp_path, "sys.frozen = True\n" + LOG)
    trainer.end()
    assert_exactly_once(trainer)
    assert status(trainer.run_dir)["status"] == "finished"


def test_no_shell(tmp_path):
    """Where there is no /bin/sh the writer is started by a Python that forks itself, and is no child either."""
    body = (
        "import runicorn.session.writer_process as launch\nlaunch._SHELL = '/nonexistent'\n" + LOG + "import psutil\n"
        "print(len(psutil.Process().children(recursive=True)))\nrun.finish()\n"
    )
    trainer = Trainer(tmp_path, body)
    out, errors = trainer.end()
    assert out.strip() == "0", errors
    assert_exactly_once(trainer)


def test_unguarded_repl_and_stdin_script(tmp_path):
    """No __main__ guard is needed: a script from standard input works."""
    done = subprocess.run(
        [sys.executable, "-"], input=TRAIN, capture_output=True, text=True, cwd=tmp_path, timeout=100, check=True
    )
    assert counted(Path(done.stdout.strip())) == [1]


def test_import_has_no_side_effect():
    """Import runicorn starts no thread and no process, opens no file, sets no signal handler, imports no dependency."""
    code = textwrap.dedent(
        """
        import os, sys, signal, threading
        before = (dict(os.environ), [signal.getsignal(n) for n in signal.valid_signals()])
        import runicorn
        assert (dict(os.environ), [signal.getsignal(n) for n in signal.valid_signals()]) == before
        assert threading.active_count() == 1
        assert not {"msgspec", "psutil", "PIL", "numpy", "logging", "sqlite3"} & set(sys.modules)
        """
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


def run_script(tmp_path: Path, python: str, source: str, flags: list[str] | None = None, **environment: str) -> Path:
    script = tmp_path / "train.py"
    script.write_text(source)
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, *(flags or []), str(script)],
        env={**kept, "RUNICORN_DIR": str(tmp_path / "storage"), **environment},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def import_path() -> str:
    import msgspec

    import runicorn

    found = [Path(module.__file__).parents[1] for module in (runicorn, msgspec, psutil)]
    return os.pathsep.join(dict.fromkeys(map(str, found)))


def base_python() -> str:
    return getattr(sys, "_base_executable", sys.executable) or sys.executable


def counted_or_none(trainer: Trainer) -> list[bytes]:
    try:
        return (trainer.run_dir / "events.jsonl").read_bytes().splitlines()
    except FileNotFoundError:
        return []


def test_shortage_of_processes_ends(open_run, monkeypatch):
    """A writer that cannot be started for a while is started when it can; until then the records wait."""
    for name in ("WRITER_RESTART_AFTER_S", "LOOK_INTERVAL_S"):
        monkeypatch.setenv(f"RUNICORN_{name}", "0.005")
    tries = []
    real = writer_process.launch

    def scarce(spool_path):
        tries.append(spool_path)
        if len(tries) < 8:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        real(spool_path)

    monkeypatch.setattr(writer_process, "launch", scarce)
    run = open_run()

    def logged_until_up():
        run.log({"i": 1})
        return run._session.control.heartbeat

    wait_until(logged_until_up, what="a writer is up")
    run.finish()
    assert status(run.run_dir)["status"] == "finished"
    assert len(tries) >= 8


CANNOT_START = """
import os, sys
sys.executable = sys.argv[2]
import runicorn as rn
run = rn.init(path="p", storage=sys.argv[1])
for i in range(100):
    run.log(i=i)
run.finish()
print(run.run_dir)
"""


@pytest.mark.parametrize(
    "words", ["echo out of quota >&2; exit 1", "kill -9 $$", "exec sh -c 'echo No module named msgspec; exit 1'"]
)
def test_a_writer_that_ends_at_once_is_not_waited_for(tmp_path, start_program, words):
    """finish() stores in its own process after some starts that have ended at once, and says what they said."""
    wrapper = tmp_path / "python-wrapper"
    wrapper.write_text(f"#!/bin/sh\n{words}\n")
    wrapper.chmod(0o755)
    program = start_program(CANNOT_START, wrapper)
    out, err = program.communicate(timeout=60)
    assert program.returncode == 0, err
    run_dir = Path(out.strip())
    assert len(events(run_dir)) == 100
    assert status(run_dir)["status"] == "finished"
    assert "each one that was started has ended" in err
    assert str(wrapper) in err
    for said in ("out of quota", "No module named msgspec"):
        assert (said in err) == (said in words)
