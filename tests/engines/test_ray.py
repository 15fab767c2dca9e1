"""Ray, a local cluster: tasks and actors log into the driver's run through the handle that they are given."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support import content, events, status, text_of

import runicorn
from runicorn.host.identity import hostname

pytestmark = pytest.mark.timeout(240)

HEAD = """
import json, os, pathlib, sys
import ray
import runicorn as rn

ray.init(
    address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, configure_logging=False,
    object_store_memory=80 * 2**20, _node_ip_address="127.0.0.1", _temp_dir=sys.argv[2],
)
"""

OPEN = """
run = rn.init(storage=sys.argv[1], path="ray/{name}", alias="driver")
run.log(driver=1)
"""

TASKS = """
@ray.remote(num_cpus=1)
def work(run, task):
    for i in range(1, 101):
        run.log(task=task, i=i)
    return os.getpid()

told = ray.get([work.remote(run, task) for task in range(12)])
run.log(driver=2)
run.finish()
"""

BY_ID = """
@ray.remote(num_cpus=1)
def work(storage, run_id, task):
    with rn.init(storage=storage, run_id=run_id) as run:
        for i in range(1, 101):
            run.log(task=task, i=i)
    return os.getpid()

told = ray.get([work.remote(sys.argv[1], run.id, task) for task in range(12)])
assert not run.is_finished
run.log(driver=2)
run.finish()
"""

ACTORS = """
@ray.remote(num_cpus=1)
class Trainer:
    def __init__(self, number, state):
        self.run, self.number = state["run"], number
        self.run.summary({f"actor{number}": True})

    def train(self, first, most):
        for i in range(first, first + most):
            self.run.log({"actor": self.number, "i": i, "loss": self.number / i}, step=i)
        self.run.log_text(f"actor {self.number} from {first}")
        return os.getpid()

run.set_primary_metric("loss")
actors = [Trainer.remote(number, {"run": run}) for number in range(3)]
ray.get([actor.train.remote(1, 500) for actor in actors])
told = ray.get([actor.train.remote(501, 500) for actor in actors])
run.finish()
"""

KILLED = """
import psutil, threading

@ray.remote(num_cpus=1)
class Trainer:
    def __init__(self, run):
        self.run = run

    def pid(self):
        return os.getpid()

    def train(self, returned):
        i = 0
        with open(returned, "wb", buffering=0) as file:
            while True:
                i += 1
                self.run.log(i=i)
                file.write(b".")

def wait_until(condition):
    for _ in range(60_000):
        if condition():
            return
        threading.Event().wait(0.001)
    raise AssertionError("not within a minute")

returned = pathlib.Path("returned")
actor = Trainer.remote(run)
pid = ray.get(actor.pid.remote())
endless = actor.train.remote(str(returned.absolute()))
wait_until(lambda: returned.exists() and returned.stat().st_size >= 2000)
ray.kill(actor)
try:
    ray.get(endless)
except ray.exceptions.RayActorError:
    pass
wait_until(lambda: not psutil.pid_exists(pid))
run.log(driver=2)
run.finish()
told = [pid, returned.stat().st_size]
"""


PARTS = {"handle": TASKS, "id": BY_ID, "actors": ACTORS, "killed": KILLED}
CLOSE = 'print(json.dumps({{"name": "{name}", "run_dir": str(run.run_dir), "told": told}}))\n'


@pytest.fixture(scope="module")
def driven(tmp_path_factory):
    """Run a driver to its good end: a run for each part, in one cluster; directory and what was told, by part."""
    place = tmp_path_factory.mktemp("ray")
    program = place / "driver.py"
    parts = [OPEN.format(name=name) + source + CLOSE.format(name=name) for name, source in PARTS.items()]
    program.write_text(HEAD + "".join(parts) + "ray.shutdown()\n")
    kept = {name: text for name, text in os.environ.items() if not name.startswith("RUNICORN_")}
    environment = {
        **kept,
        "PYTHONPATH": str(Path(runicorn.__file__).parents[1]),
        "RUNICORN_SHM_DIR": os.environ["RUNICORN_SHM_DIR"],
        # Nothing is sent to anybody, no server but on the loopback interface, and no token in the home directory.
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "disabled",
    }
    # Not the test's own directory: the names of Unix sockets may have 107 bytes.
    session = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    try:
        done = subprocess.run(
            [sys.executable, str(program), str(place / "storage"), session],
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
    finally:
        shutil.rmtree(session, ignore_errors=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[run " not in done.stderr  # we have nothing to warn about
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {each["name"]: (Path(each["run_dir"]), each["told"]) for each in told}


@pytest.fixture
def part(driven):
    """One run of the driver: its directory, and what was told of it."""

    def checked(name):
        run_dir, told = driven[name]
        assert [path.name for path in run_dir.glob("events*")] == ["events.jsonl"]
        assert status(run_dir)["status"] == "finished"
        assert "exit_reason" not in status(run_dir)
        return run_dir, told

    return checked


@pytest.mark.parametrize("way", ["handle", "id"])
def test_tasks_log_into_the_drivers_run(part, way):
    """What twelve tasks log is stored in order under their workers' names, by a handle or by ``init(run_id=...)``."""
    run_dir, pids = part(way)
    by, worker_of = {}, {}
    for line in events(run_dir):
        if "task" in line["data"]:
            by.setdefault(line["data"]["task"], []).append(line["data"]["i"])
            worker_of.setdefault(line["data"]["task"], set()).add(line["producer"])
    assert by == {task: list(range(1, 101)) for task in range(12)}
    assert worker_of == {task: {f"{hostname()}-{pid}"} for task, pid in enumerate(pids)}
    own = [line for line in events(run_dir) if "producer" not in line]
    assert [line["data"]["driver"] for line in own] == [1, 2]


def test_actors_keep_their_handle(part):
    """Actors log all their life through a handle inside a bigger object; their text and conclusions are the run's."""
    run_dir, pids = part("actors")
    for number, pid in enumerate(pids):
        lines = [line for line in events(run_dir) if line["data"].get("actor") == number]
        assert [line["data"]["i"] for line in lines] == list(range(1, 1001))
        assert {line["producer"] for line in lines} == {f"{hostname()}-{pid}"}
    texts = sorted(line.partition(" | ")[2] for line in text_of(run_dir).splitlines())
    assert texts == sorted(f"actor {number} from {first}" for number in range(3) for first in (1, 501))
    summary = content(run_dir, "summary.json")
    assert all(summary[f"actor{number}"] is True for number in range(3))
    assert (summary["best_metric_value"], summary["best_metric_step"]) == (2, 1)


def test_an_actor_that_is_killed_loses_nothing(part):
    """Every record of an actor whose log() had returned when ``ray.kill`` ended it is stored once and in order."""
    run_dir, (pid, returned) = part("killed")
    lines = [line for line in events(run_dir) if "i" in line["data"]]
    assert {line["producer"] for line in lines} == {f"{hostname()}-{pid}"}
    assert returned >= 2000
    assert len(lines) in {returned, returned + 1}
    assert [line["data"]["i"] for line in lines] == list(range(1, len(lines) + 1))
