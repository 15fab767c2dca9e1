"""The lock under which a run that exists is opened or changed: one process, and one thread, at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import runicorn

COUNTING = """
import sys, threading
from runicorn.queue import opening_lock
from runicorn.settings import Settings

def count(settings, path):
    for _ in range(60):
        with opening_lock.hold("/nonexistent/run", settings):
            with open(path) as file:
                number = int(file.read())
            with open(path, "w") as file:
                file.write(str(number + 1))

threads = [threading.Thread(target=count, args=(Settings.from_environment(), sys.argv[1])) for _ in range(4)]
for each in threads:
    each.start()
for each in threads:
    each.join()
"""


def test_many_who_come_and_go_have_it_one_at_a_time(tmp_path):
    """Each makes the lock's directory, and removes it behind itself: nobody goes on to another place meanwhile."""
    shm, counted = tmp_path / "shm", tmp_path / "counted"
    shm.mkdir()
    counted.write_text("0")
    environment = {**os.environ, "RUNICORN_SHM_DIR": str(shm), "PYTHONPATH": str(Path(runicorn.__file__).parents[1])}
    command = [sys.executable, "-c", COUNTING, str(counted)]
    processes = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate(timeout=120)[1] for process in processes] == [b"", b""]
    assert counted.read_text() == str(2 * 4 * 60)
    assert os.listdir(shm) == []
