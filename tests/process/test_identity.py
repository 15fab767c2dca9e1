"""Which run a spool belongs to, and which host a run is open on: by device and inode, not by names alone."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import events, logged, meta, status, wait_until

LEAVE_RECORDS = """
import os, signal, sys
from support import writer_of, wait_until
import runicorn as rn
run = rn.init(path="p", run_id="orig", storage=sys.argv[1])
for i in range(10): run.log({"i": i})
writer = writer_of(run)
wait_until(lambda: run._session.control.stored_records == 10)
writer.kill()
wait_until(lambda: not writer.is_running() or writer.status() == "zombie")
for i in range(10, 15): run.log({"i": i})
os.kill(os.getpid(), signal.SIGKILL)
"""
RESUME = """
import sys
import runicorn as rn
run = rn.init(path="p", run_id=sys.argv[2], storage=sys.argv[1])
print(run.id, not run._session.is_owner, run.global_step)
for i in range(5): run.log({"more": i})
run.finish()
"""


@pytest.fixture
def crashed(run_program, storage):
    """A run whose owner and writer were killed with five records in the spool; its directory."""
    run_program(LEAVE_RECORDS, returncode=-signal.SIGKILL)
    return storage / "runs/p/orig"


def test_a_copy_of_a_live_run_is_a_run_of_its_own(open_run, run_program):
    """`cp -r` copies the pointer file too, and a resume of the copy does not join the original."""
    run = open_run(path="p", run_id="orig")
    for i in range(10):
        run.log(i=i)
    wait_until(lambda: run._session.control.stored_records == 10)
    copy = shutil.copytree(run.run_dir, run.run_dir.parent / "copy")
    said = run_program(RESUME, "copy").stdout.split()
    run.finish()
    assert said == ["copy", "False", "10"]
    assert len(events(run)) == 10
    assert logged(copy)[10:] == [{"more": i} for i in range(5)]
    assert meta(copy)["id"] == "copy"
    assert not list(copy.glob(".spool-*"))


@pytest.mark.parametrize("to", ["runs/p/copy", "../other/runs/p/orig"])
def test_a_copy_of_a_crashed_run_takes_nothing_from_the_original(crashed, storage, run_program, to):
    """The records in the spool go to the run that logged them, whichever copy is resumed first."""
    copy = Path(shutil.copytree(crashed, os.path.normpath(storage / to)))
    other = str(copy.parents[2])
    run_program(f"import sys; sys.argv[1] = {other!r}\n" + RESUME, copy.name)
    assert logged(copy) == [{"i": i} for i in range(10)] + [{"more": i} for i in range(5)]
    run_program(RESUME, "orig")
    assert logged(crashed) == [{"i": i} for i in range(15)] + [{"more": i} for i in range(5)]


@pytest.mark.parametrize("run_id", ["orig", "another"])
def test_one_storage_by_two_names_is_one_storage(crashed, storage, run_program, run_id):
    """What a crash has left is stored by the next init() that reaches the storage by a link, or by a way round."""
    (storage.parent / "link").symlink_to(storage)
    other = str(storage.parent / "link" / ".." / "link")
    run_program(f"import sys; sys.argv[1] = {other!r}\n" + RESUME, run_id)
    wait_until(lambda: len(events(crashed)) >= 15, what="the records of the crashed run")
    wait_until(lambda: status(crashed)["status"] != "running")
    assert [line.get("i") for line in logged(crashed)][:15] == list(range(15))


@pytest.mark.parametrize("name", ["a/b", "../../evil", "h" * 300, "na me\n", ".hidden", "\udcff", "höst"])
def test_a_host_may_be_called_anything(run_program, storage, name):
    """A host name that is no file name costs nothing and leads nowhere: also the files of another host are inside."""
    source = f"import os\nos.environ['RUNICORN_HOSTNAME'] = {name!r}\n" + RESUME
    assert run_program(source, "one").stdout.split() == ["one", "False", "0"]
    (run_dir,) = (storage / "runs/p").iterdir()
    assert len(logged(run_dir)) == 5
    assert sorted(path.name for path in storage.parent.iterdir() if not path.name.startswith("program")) == ["storage"]


def test_a_run_of_a_namesake_is_left_alone(storage, tmp_path, monkeypatch, start_program, run_program):
    """A run that lives in a container with our name and another /dev/shm is neither lost, nor ended, nor taken over."""
    elsewhere = tmp_path / "memory"
    elsewhere.mkdir()
    with monkeypatch.context() as here:
        here.setenv("RUNICORN_SHM_DIR", str(elsewhere))
        program = start_program(
            "import sys\nimport runicorn as rn\nrun = rn.init(path='p', run_id='orig', storage=sys.argv[1])\n"
            "run.log(a=1)\nprint('open', flush=True)\nsys.stdin.read()\nrun.finish()\n",
            stdin=subprocess.PIPE,
        )
        assert program.stdout.readline() == "open\n"
    elsewhere.rename(tmp_path / "not to be seen from here")
    run_dir = storage / "runs/p/orig"
    command = [sys.executable, "-m", "runicorn"]
    listed = json.loads(subprocess.check_output([*command, "ls", "--json", "--storage", storage], timeout=60))
    subprocess.run([*command, "recover", "--storage", storage], timeout=60, check=True, capture_output=True)
    refused = run_program("import sys\nsys.stderr = sys.stdout\n" + RESUME, "orig", returncode=1)
    assert [run["status"] for run in listed] == ["running"]
    assert status(run_dir)["status"] == "running"
    assert "another machine, or a container with a /dev/shm of its own" in refused.stdout
    (tmp_path / "not to be seen from here").rename(elsewhere)
    program.communicate("", timeout=60)
    assert status(run_dir)["status"] == "finished"


def test_what_a_superseded_session_has_left_is_stored_beside_the_newer_one(crashed, storage, run_program, monkeypatch):
    """A host that comes back after its run was resumed and finished elsewhere doubles nothing and changes no status."""
    monkeypatch.setenv("RUNICORN_HOSTNAME", "other")
    elsewhere = storage.parent / "memory-of-other"
    elsewhere.mkdir()
    (crashed / "status.json").write_text('{"status": "failed", "last_step": 10}')
    with monkeypatch.context() as other_host:
        other_host.setenv("RUNICORN_SHM_DIR", str(elsewhere))
        other_host.setenv("TMPDIR", str(elsewhere))
        run_program(RESUME, "orig")
    before = status(crashed)
    monkeypatch.delenv("RUNICORN_HOSTNAME")
    command = [sys.executable, "-m", "runicorn", "recover", "--storage", storage]
    said = subprocess.run(command, timeout=60, check=True, capture_output=True, text=True).stdout
    assert "stored 5 records" in said
    assert "in separate files, because the run was resumed since" in said
    assert status(crashed) == before
    assert logged(crashed) == [{"i": i} for i in range(10)] + [{"more": i} for i in range(5)]
    (late,) = crashed.glob("events.*.jsonl")
    assert [json.loads(line)["data"]["i"] for line in late.read_text().splitlines()] == list(range(10, 15))
