"""Neither shared memory nor a temp directory can be used: runs are tracked all the same, and else told what to do."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support import status
from support.trainers import Trainer, counted, orphan, recover, wait_stored

ONLY_ONE = """
from runicorn.queue import spool
spool._USUAL_TEMP_DIRS = ("/proc/no-temp-directory",)
"""
BODY = """
run = rn.init()
opened(run)
sys.stdin.readline()
log_flat_out(run, 400)
print("logged", flush=True)
sys.stdin.readline()
run.finish()
"""
SMALL = {"RUNICORN_SEGMENT_BYTES": "4096", "RUNICORN_SHM_DIR": "/proc/no-shared-memory"}


@pytest.fixture
def temp(request, tmp_path):
    """A temp directory that cannot be used, in one of several ways."""
    directory = tmp_path / "temp"
    if request.param == "file":
        directory.write_text("mine")
    elif request.param == "link to nothing":
        directory.symlink_to(tmp_path / "nothing")
    elif request.param == "not writable":
        directory = Path("/proc")
    elif request.param == "full":
        directory.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0777", "tmpfs", directory], check=True)
        (directory / "filler").write_bytes(bytes(60 * 1024))
    yield str(directory)
    if request.param == "full":
        subprocess.run(["umount", "-l", directory], check=True)


can_mount = os.geteuid() == 0 and shutil.which("mount") is not None
KINDS = ["missing", "file", "link to nothing", "not writable", *(["full"] if can_mount else [])]


@pytest.mark.parametrize("temp", KINDS, indirect=True)
@pytest.mark.parametrize("killed", [False, True])
def test_records_wait_in_the_cache_of_the_user(tmp_path, temp, killed, monkeypatch):
    """Every record is stored, also of a run that was killed: who recovers it looks there as well."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "not" / "there" / "cache"))
    trainer = Trainer(tmp_path, ONLY_ONE + BODY, TMPDIR=temp, **SMALL)
    assert trainer.spool.is_relative_to(tmp_path / "not" / "there" / "cache")
    if killed:
        orphan(trainer)
        assert ": stored" in recover(tmp_path)
    else:
        trainer.go_on()
        assert trainer.read_line() == "logged"
        trainer.go_on()
        assert trainer.end() == ("", "")
        assert status(trainer.run_dir)["status"] == "finished"
    wait_stored(trainer)
    assert counted(trainer.run_dir) == list(range(1, 401))
    assert not list(trainer.spool.parent.iterdir())


@pytest.mark.parametrize("temp", KINDS, indirect=True)
def test_without_a_cache_the_error_says_what_to_do(tmp_path, temp):
    """``init()`` raises, names the directory and the variables that name another one, and leaves nothing behind."""
    body = ONLY_ONE + "rn.init()\n"
    (tmp_path / "cache").write_text("a file")
    environment = {**SMALL, "TMPDIR": temp, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    trainer = Trainer(tmp_path, body, expect_line=False, **environment)
    _, errors = trainer.end()
    assert "StorageError" in errors or "PathError" in errors or "DirectoryError" in errors
    assert "set RUNICORN_SHM_DIR or TMPDIR to a directory that you may write to" in errors
    assert not (tmp_path / "storage").exists()
