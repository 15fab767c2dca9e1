"""Only a spool's overflow directory is left: what is in it is stored, or `recover` says in one line why it is not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from support import status, trainers
from support.trainers import Trainer, assert_exactly_once, recover, wait_stored

import runicorn as rn
from runicorn.cli import main
from runicorn.queue import spool, spool_address
from runicorn.session import nameless_writers, orphaned_spools

LOG = """
run = rn.init()
opened(run)
sys.stdin.readline()
log_flat_out(run, 2000)
print("logged", flush=True)
sys.stdin.readline()
"""
WAITING = "import sys; sys.stdin.read()"
A_WRITER = f"{WAITING}  # from runicorn.writer.main import main"


@pytest.fixture
def lone(tmp_path, monkeypatch):
    """A run of which nothing but an overflow directory with all records is left."""
    monkeypatch.setattr(orphaned_spools, "_PATIENCE_S", 0.1)
    trainer = trainers.orphan(Trainer(tmp_path, LOG, RUNICORN_WRITER_RESTART_AFTER_S="1000"))
    trainer.second = Path(os.environ["TMPDIR"]) / f"{trainer.spool.name}-overflow"
    trainer.second.mkdir(mode=0o700)
    for path in (*trainer.spool.glob("*.seg"), trainer.spool / "address.json"):
        shutil.move(path, trainer.second)
    shutil.rmtree(trainer.spool)
    return trainer


@pytest.fixture
def started():
    """Start a process that waits until its input is closed."""
    processes = []

    def start(code, *arguments):
        processes.append(subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdin=subprocess.PIPE))
        return processes[-1]

    yield start
    for process in processes:
        process.stdin.close()
        process.wait(timeout=60)


def assert_stored(trainer):
    assert_exactly_once(trainer)
    assert not trainer.second.exists()
    assert not trainer.spool.exists()


def assert_told(lone, tmp_path, capsys, *words):
    """Nothing is stored or removed, and the exit code is 1."""
    before = sorted(path.name for path in lone.second.iterdir())
    assert main(["recover", "--storage", str(tmp_path / "storage")]) == 1
    (told,) = [line for line in capsys.readouterr().out.splitlines() if str(lone.second) in line]
    assert all(word in told for word in words), told
    assert sorted(path.name for path in lone.second.iterdir()) == before
    assert not lone.spool.exists()
    if (lone.second / "address.json").exists() and "damaged" not in words:
        assert status(lone.run_dir)["status"] == "running"


def test_a_process_that_names_the_spool_is_no_writer(tmp_path, lone, started):
    """A process that merely has the spool's path among its arguments keeps nothing from being stored."""
    started(WAITING, "-f", lone.spool)
    assert "stored 2,000 records" in recover(tmp_path)
    assert_stored(lone)


def test_a_writer_that_does_not_end(tmp_path, lone, started, capsys):
    """A writer that is still there is named, and once it has ended the records are stored."""
    writer = started(A_WRITER, lone.spool)
    assert_told(lone, tmp_path, capsys, lone.run_dir.name, f"process {writer.pid}", "recover` again")
    writer.stdin.close()
    writer.wait(timeout=60)
    assert "stored 2,000 records" in recover(tmp_path)
    assert_stored(lone)


def test_a_writer_that_ends_is_waited_for(tmp_path, lone, started, monkeypatch):
    """A writer that has just been started, or killed, is gone a moment later."""
    monkeypatch.setattr(orphaned_spools, "_PATIENCE_S", 60.0)
    writer = started(A_WRITER, lone.spool)
    find = nameless_writers.process_of

    def find_and_end(path):
        found = find(path)
        if found == writer.pid:
            writer.stdin.close()
            writer.wait(timeout=60)
        return found

    monkeypatch.setattr(nameless_writers, "process_of", find_and_end)
    assert "stored 2,000 records" in recover(tmp_path)
    assert_stored(lone)


@pytest.mark.parametrize("error", [psutil.AccessDenied(1), ProcessLookupError(), ValueError("half"), IndexError()])
def test_a_process_that_cannot_be_asked(tmp_path, lone, monkeypatch, error):
    """Whatever the question about another process's arguments raises, the records are stored."""

    def fail(_self):
        raise error

    monkeypatch.setattr(psutil.Process, "cmdline", fail)
    assert "stored 2,000 records" in recover(tmp_path)
    assert_stored(lone)


def test_the_processes_cannot_be_listed(tmp_path, lone, monkeypatch, capsys):
    """Where nobody can say which processes there are, that is told."""

    def fail():
        raise OSError(23, "Too many open files in system")

    with monkeypatch.context() as patched:
        patched.setattr(psutil, "pids", fail)
        assert_told(lone, tmp_path, capsys, lone.run_dir.name, "Too many open files in system", "recover` again")
    recover(tmp_path)
    assert_stored(lone)


def test_its_address_is_damaged(tmp_path, lone, capsys):
    """An overflow directory whose address is damaged is told of."""
    path = lone.second / "address.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert_told(lone, tmp_path, capsys, "damaged", "nobody knows which run")
    path.write_bytes(whole)
    recover(tmp_path)
    assert_stored(lone)


def test_its_address_is_gone(tmp_path, lone, capsys):
    """An overflow directory whose address somebody has removed is told of, once no process can be about to write it."""
    path = lone.second / "address.json"
    whole = path.read_bytes()
    path.unlink()
    os.utime(lone.second, (0, 0))
    assert_told(lone, tmp_path, capsys, "removed by another program", "nobody knows which run")
    path.write_bytes(whole)
    recover(tmp_path)
    assert_stored(lone)


def test_it_was_moved(tmp_path, lone, capsys):
    """An overflow directory under another one's name is told of, with the name that it had."""
    was, name = lone.second, lone.second.name
    lone.second = was.rename(was.with_name(name.replace(name[-25:-9], "0123456789abcdef")))
    assert_told(lone, tmp_path, capsys, str(was), "Move it back")
    lone.second = lone.second.rename(was)
    recover(tmp_path)
    assert_stored(lone)


def test_shared_memory_is_elsewhere(tmp_path, lone, capsys, monkeypatch):
    """Where RUNICORN_SHM_DIR is another one than the run's, that is told."""
    (tmp_path / "memory").mkdir()
    with monkeypatch.context() as patched:
        patched.setenv("RUNICORN_SHM_DIR", str(tmp_path / "memory"))
        assert_told(lone, tmp_path, capsys, f"RUNICORN_SHM_DIR={lone.spool.parent}")
    recover(tmp_path)
    assert_stored(lone)


@pytest.mark.parametrize("by", ["recover", "init"])
def test_brought_back_by_another_storage(tmp_path, lone, by):
    """A spool that the init() of another storage has made again is stored by the next who opens its own."""
    rn.init(storage=str(tmp_path / "elsewhere")).finish()
    assert (lone.spool / "address.json").exists()
    if by == "recover":
        assert "stored 2,000 records" in recover(tmp_path)
    else:
        rn.init(storage=str(tmp_path / "storage"), path="another").finish()
        wait_stored(lone)
    assert_stored(lone)


def test_its_run_lives(tmp_path):
    """The overflow directory of a run whose owner lives is left to it, and nothing is said."""
    trainer = Trainer(tmp_path, LOG + "run.finish()\n")
    trainer.writer_pid()
    address = spool_address.read_address(str(trainer.spool))
    spool.open_overflow(address)
    shutil.rmtree(trainer.spool)
    assert "Nothing to recover" in recover(tmp_path)
    trainer.go_on()
    assert trainer.read_line() == "logged"
    trainer.go_on()
    trainer.end()
    assert_exactly_once(trainer)
