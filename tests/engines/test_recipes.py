"""The recipes' code blocks, run as they stand there."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support import events, json_lines, status

pytestmark = pytest.mark.timeout(240)
RECIPES = Path(__file__).resolve().parents[2] / "docs" / "many-processes.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", RECIPES.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
PYTHON = [text for language, text in BLOCKS if language == "python"]
SHELL = [text for language, text in BLOCKS if language == "sh"]
(TORCH, RAY, LOADER, READ), (TORCHRUN, BATCH) = PYTHON, SHELL

# What srun does with a command, on two nodes that are two names of this one.
SRUN = """#!{python}
import os, subprocess, sys
nodes = [
    subprocess.Popen(sys.argv[1:], env={{
        **os.environ, "RUNICORN_HOSTNAME": f"node{{n}}", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_NNODES": "2",
        "SLURM_PROCID": str(n), "SLURM_NODEID": str(n), "SLURM_LOCALID": "0",
    }})
    for n in range(2)
]
sys.exit(max(abs(node.wait()) for node in nodes))
"""
SCONTROL = "#!/bin/sh\necho 127.0.0.1\necho 127.0.0.1\n"
# 127.0.0.1 as one number: no name of the loopback interface, which would say that all nodes are the one of rank 0.
NODE_0 = "2130706433"
RAY_HEAD = """
import ray, sys
ray.init(
    address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False,
    object_store_memory=80 * 2**20, _node_ip_address="127.0.0.1", _temp_dir=sys.argv[1],
)
"""


def free_port():
    """A port of the loopback interface that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


@pytest.fixture
def run_here(tmp_path, monkeypatch):
    """Run a command in the test's directory, where the interpreter's programs come first in the path."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in (("srun", SRUN.format(python=sys.executable)), ("scontrol", SCONTROL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]))
    # torchrun's options, by the variables that it reads where they are not given
    port = free_port()
    for name, text in {"PET_MASTER_PORT": port, "MASTER_PORT": port, "PET_LOCAL_ADDR": NODE_0}.items():
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def run(*command):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr
        assert "[run " not in done.stderr  # we have nothing to warn about
        return done.stdout

    return run


def the_run(tmp_path):
    """The directory of the only run in ./.runicorn, which has ended well."""
    (run_dir,) = (path.parent for path in (tmp_path / ".runicorn").rglob("status.json"))
    assert status(run_dir)["status"] == "finished"
    assert "exit_reason" not in status(run_dir)
    return run_dir


def values_of(lines, name):
    return [line["data"][name] for line in lines if name in line["data"]]


def assert_training(run_dir, size):
    """What ``train.py`` logs is there, of every rank."""
    lines = {rank: json_lines(run_dir, f"events.rank{rank}.jsonl" if rank else "events.jsonl") for rank in range(size)}
    for rank in range(size):
        assert {line["rank"] for line in lines[rank]} == {rank}
        assert len(values_of(lines[rank], "rank_loss")) == 100
    for step, loss in enumerate(values_of(lines[0], "loss")):
        total = sum(values_of(lines[rank], "rank_loss")[step] for rank in range(size))
        assert loss == pytest.approx(total, rel=1e-5)
    assert len(values_of(lines[0], "loss")) == 100
    assert len(list(run_dir.glob("events*"))) == size


def test_every_block_is_known():
    """There are four python blocks and two shell blocks, so each of them is run by one of these tests."""
    assert len(BLOCKS) == len(PYTHON) + len(SHELL) == 6


def test_torchrun_then_pandas(run_here, tmp_path):
    """The torchrun command runs the script in four ranks, and the pandas block reads every line of all of them."""
    (tmp_path / "train.py").write_text(TORCH)
    run_here("/bin/sh", "-c", TORCHRUN)
    assert_training(the_run(tmp_path), 4)
    check = """
assert frame.groupby("rank").rank_loss.count().to_dict() == dict.fromkeys(range(4), 100), frame
assert frame.loss.count() == 100 and frame.time.is_monotonic_increasing, frame
"""
    (tmp_path / "read.py").write_text(READ + check)
    run_here(sys.executable, "read.py")


def test_slurm(run_here, tmp_path, monkeypatch):
    """The batch script, with stand-ins for srun and scontrol, has one run for two nodes with two ranks each."""
    (tmp_path / "train.py").write_text(TORCH)
    (tmp_path / "job.sh").write_text(BATCH)
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node[0-1]")
    run_here("/bin/bash", "job.sh")
    run_dir = the_run(tmp_path)
    assert_training(run_dir, 4)
    hosts = [json_lines(run_dir, f"events.rank{rank}.jsonl")[0]["producer"].rpartition("-")[0] for rank in range(1, 4)]
    assert hosts[0] != hosts[1]
    assert hosts[1] == hosts[2]
    assert set(hosts) == {"node0", "node1"}
    assert (run_dir / "summary.node1.json").exists()


def test_ray(run_here, tmp_path, monkeypatch):
    """Two actors log into the run that the driver has handed to them; the cluster is started before the block."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    (tmp_path / "driver.py").write_text(RAY_HEAD + RAY + "\nray.shutdown()\n")
    session = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    try:
        run_here(sys.executable, "driver.py", str(session))
    finally:
        shutil.rmtree(session, ignore_errors=True)
    lines = events(the_run(tmp_path))
    for number in range(2):
        assert values_of(lines, f"loss/{number}") == [1 / step for step in range(1, 101)]
    assert len({line["producer"] for line in lines}) == 2


def test_dataloader(run_here, tmp_path):
    """Two workers of a DataLoader log each item once, beside the batches of the training process."""
    (tmp_path / "loader.py").write_text(LOADER)
    run_here(sys.executable, "loader.py")
    lines = events(the_run(tmp_path))
    assert sorted(values_of(lines, "square")) == [index**2 for index in range(256)]
    assert len({line["producer"] for line in lines if "square" in line["data"]}) == 2
    assert len(values_of(lines, "batch_mean")) == 8
