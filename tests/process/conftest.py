from pathlib import Path

import pytest
from support import trainers
from support.machine import stand_in_driver


@pytest.fixture(autouse=True)
def no_trainer_left():
    """Ends what a failed test has left running."""
    yield
    while trainers.STARTED:
        trainers.STARTED.pop().close()


@pytest.fixture
def often(monkeypatch):
    """A sample five times a second."""
    monkeypatch.setenv("RUNICORN_SYSTEM_INTERVAL_S", "0.2")


@pytest.fixture
def made_up(tmp_path):
    """A root directory with a made-up cgroup of version 2: a limit, and two counters that a test may raise."""
    root = tmp_path / "root"
    cgroup = root / "sys/fs/cgroup/job"
    cgroup.mkdir(parents=True)
    (root / "proc/self").mkdir(parents=True)
    for name in ("stat", "meminfo", "loadavg", "uptime"):
        (root / "proc" / name).write_bytes((Path("/proc") / name).read_bytes())
    (root / "proc/self/cgroup").write_text("0::/job\n")
    (root / "proc/self/mountinfo").write_text("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    (cgroup / "memory.max").write_text("1000000000\n")
    (cgroup / "memory.current").write_text("990000000\n")
    (cgroup / "memory.events").write_text("low 0\noom 0\noom_kill 4\n")
    (cgroup / "cpu.max").write_text("150000 100000\n")
    (cgroup / "cpu.stat").write_text("throttled_usec 2000000\n")
    return root, cgroup


@pytest.fixture
def gpu_driver(tmp_path, monkeypatch):
    """A root directory with this host's files and a stand-in for NVIDIA's driver; the training uses GPU 2."""
    root = tmp_path / "root"
    (root / "dev").mkdir(parents=True)
    (root / "dev" / "nvidiactl").touch()
    (root / "proc").symlink_to("/proc")
    (root / "sys").symlink_to("/sys")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(stand_in_driver(tmp_path / "driver")))
    monkeypatch.setenv("RUNICORN_SYSTEM_ROOT", str(root))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
