"""A program that closes descriptors which are not its own, and files of its own at their numbers; odd directories."""

import json
import os

from runicorn.host.locks import Lock, Probe

CLOSES_ALL = """
import os, sys
import runicorn as rn
run = rn.init(storage=sys.argv[1])
run.log(a=1)
os.closerange(3, 100)
files = [open(f"{sys.argv[2]}/{number}", "w") for number in range(60)]
run.log(a=2)
run.finish()
again = rn.init(storage=sys.argv[1])
again.log(a=3)
for file in files:
    os.write(file.fileno(), b"mine")
again.finish()
os._exit(0)
"""
WITHOUT_DIRECTORY = """
import os, sys
import runicorn as rn
os.chdir(sys.argv[2])
os.rmdir(sys.argv[2])
with rn.init(storage=sys.argv[1], capture_env=True) as run:
    run.log(a=1)
try:
    rn.init(storage=sys.argv[1], snapshot_code=True)
except FileNotFoundError as error:
    print(error)
"""


def put_in_place(fd, path):
    """Have a file of the program's own at the number of a descriptor that it has closed."""
    own = os.open(path, os.O_RDWR | os.O_CREAT)
    os.dup2(own, fd)
    os.close(own)


def test_lock_whose_descriptor_is_another_file_by_now_closes_nothing(tmp_path):
    """The release of a lock leaves a file alone that the program has under the number of the lock's descriptor."""
    lock = Lock.take(str(tmp_path / "lock"))
    fd = lock._fd
    put_in_place(fd, tmp_path / "own")
    lock.release()
    assert os.write(fd, b"mine") == 4
    os.close(fd)


def test_probe_whose_descriptor_was_closed_says_that_nobody_is_seen(tmp_path):
    """A probe whose descriptor the program has closed closes no other file by that number, nor asks for its lock."""
    (tmp_path / "lock").touch()
    probe = Probe(str(tmp_path / "lock"))
    fd = probe._fd
    put_in_place(fd, tmp_path / "own")
    assert not probe.is_held()
    probe.close()
    assert os.write(fd, b"mine") == 4
    os.close(fd)


def test_program_that_closes_all_descriptors_keeps_its_files(run_program, tmp_path):
    """What a program writes to files that it has opened after it has closed all descriptors is in those files."""
    place = tmp_path / "own"
    place.mkdir()
    run_program(CLOSES_ALL, place)
    assert [path.read_text() for path in place.iterdir()] == ["mine"] * 60


def test_working_directory_that_is_gone_is_needed_for_the_code_alone(run_program, storage, tmp_path):
    """init() works in a directory that has been removed; with snapshot_code it raises, and says what to pass."""
    place = tmp_path / "gone"
    place.mkdir()
    assert "workspace_root=" in run_program(WITHOUT_DIRECTORY, place).stdout
    (status,) = storage.rglob("status.json")
    assert json.loads(status.read_text())["status"] == "finished"


def test_shared_memory_directory_of_any_bytes_is_used(run_program, tmp_path, monkeypatch):
    """RUNICORN_SHM_DIR may be a path that is no UTF-8."""
    place = os.fsencode(tmp_path) + b"/\xff x"
    os.mkdir(place)
    monkeypatch.setenv("RUNICORN_SHM_DIR", os.fsdecode(place))
    source = """
import os, sys
import runicorn as rn
with rn.init(storage=sys.argv[1]) as run:
    run.log(a=1)
    print(len(os.listdir(os.environ["RUNICORN_SHM_DIR"])))
"""
    assert run_program(source).stdout == "1\n"
    assert os.listdir(place) == []
