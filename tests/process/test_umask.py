"""Whatever the umask takes away, its owner can use what this package makes; others get no more than it leaves."""

import os
import stat
import sys
from pathlib import Path

import pytest
from support import events, status, writers
from support.trainers import Trainer, counted, orphan, recover, wait_stored

# As any user but root: files' modes hold for their owner too.
WITHOUT_PRIVILEGES = """
import ctypes, os, sys
os.umask(int(sys.argv[1], 8))
for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.argv[2], sys.argv[2:])
"""
WITH_PRIVILEGES = """
import os, sys
os.umask(int(sys.argv[1], 8))
os.execv(sys.argv[2], sys.argv[2:])
"""

BODY = """
from PIL import Image
run = rn.init(path="a/b")
opened(run)
if os.fork() == 0:
    run.log({"child": 1})
    os._exit(0)
os.wait()
log_flat_out(run, 400)
run.log_text("text")
run.log_image("image", Image.new("L", (2, 2)))
run.summary({"best": 1})
print("logged", flush=True)
"""


def under(tmp_path: Path, umask: int, program: str, body: str) -> Trainer:
    """A script under a umask; every place that it makes files in is made by it, and every file small."""
    places = {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "RUNICORN_SEGMENT_BYTES": "4096",
        "RUNICORN_DIR": str(tmp_path / "not" / "yet" / "storage"),
    }
    return Trainer(tmp_path, body, prefix=(sys.executable, "-c", program, f"{umask:o}"), **places)


@pytest.mark.parametrize("program", [WITHOUT_PRIVILEGES, WITH_PRIVILEGES], ids=["without", "with"])
@pytest.mark.parametrize("umask", [0o177, 0o277, 0o377, 0o777, 0o077])
def test_a_run_is_stored_under_any_umask(tmp_path, umask, program):
    """All that was logged is stored, nothing is said, and nobody but the owner can do more than the umask leaves."""
    trainer = under(tmp_path, umask, program, BODY + "run.finish()\n")
    assert trainer.read_line() == "logged"
    out, errors = trainer.end()
    assert (out, errors, trainer.process.returncode) == ("", "", 0)
    assert status(trainer.run_dir)["status"] == "finished"
    assert counted(trainer.run_dir) == list(range(1, 401))
    assert [event["type"] for event in events(trainer.run_dir)].count("image") == 1
    assert not trainer.spool.exists()
    assert not writers(str(trainer.spool))
    for path in (tmp_path / "not", *(tmp_path / "not").rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        owner = stat.S_IRWXU if path.is_dir() else stat.S_IRUSR | stat.S_IWUSR
        assert mode & owner == owner, path
        assert not mode & umask & 0o077, path


@pytest.mark.parametrize("umask", [0o177, 0o777])
def test_what_a_killed_run_leaves_under_a_umask_is_recovered(tmp_path, umask):
    """Trainer and writer are killed before anything is stored: the spool, made under the umask, is read again."""
    body = "run = rn.init()\nopened(run)\nsys.stdin.readline()\nlog_flat_out(run, 400)\nprint('logged', flush=True)\n"
    trainer = orphan(under(tmp_path, umask, WITHOUT_PRIVILEGES, body + "sys.stdin.readline()\nsys.stdin.readline()"))
    (tmp_path / "storage").symlink_to(tmp_path / "not" / "yet" / "storage")
    before = os.umask(umask)
    try:
        assert ": stored" in recover(tmp_path)
    finally:
        os.umask(before)
    wait_stored(trainer)
    assert counted(trainer.run_dir) == list(range(1, 401))


COMMANDS = """
import json, subprocess
run = rn.init(snapshot_code=True, workspace_root=os.path.dirname(sys.argv[0]))
opened(run)
log_flat_out(run, 5)
run.finish()
rn.set_enabled(False)
(rn.init().run_dir / "mine").touch()


def command(*words):
    done = subprocess.run([sys.executable, "-m", "runicorn", *words], capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr


command("doctor")
storage = run.storage_root
for kind in ("csv", "jsonl", "parquet"):
    command("export", run.id, "--format", kind, "-o", f"{storage}/exported-{kind}")
command("rm", run.id, "--yes")
print("done", flush=True)
"""


@pytest.mark.parametrize("umask", [0o177, 0o777])
def test_commands_work_under_any_umask(tmp_path, umask):
    """What ``doctor``, ``export`` and ``rm`` make, and a run that is none, can be used under such a umask."""
    trainer = under(tmp_path, umask, WITHOUT_PRIVILEGES, COMMANDS)
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    made = [path for path in (tmp_path / "not").rglob("*") if "exported" in str(path)]
    assert len(made) == 3
    assert all(path.stat().st_mode & stat.S_IRUSR for path in made), made
