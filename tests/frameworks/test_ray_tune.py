"""Ray Tune: a run for each trial, the trial's steps, the right end."""

from __future__ import annotations

import pytest
from support import content, events, meta, status
from support.installed import needed

import runicorn as rn

needed("ray.tune")
pytestmark = pytest.mark.timeout(240)

PROGRAM = """
import sys
import ray
import runicorn as rn
from ray import tune
from runicorn.integrations.ray import RunicornLoggerCallback

ray.init(
    address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False,
    object_store_memory=80 * 2**20, _node_ip_address="127.0.0.1", _temp_dir=sys.argv[2],
)


def train(config):
    for step in range(3):
        tune.report({"loss": config["lr"] / (step + 1), "nested": {"a": step}})
    if config["lr"] == 2:
        raise ValueError("diverged")


around = rn.init(path="around", storage=sys.argv[1])
tune.Tuner(
    train,
    param_space={"lr": tune.grid_search([1, 2])},
    run_config=tune.RunConfig(
        name="my search", storage_path=sys.argv[2] + "/results", verbose=0,
        callbacks=[RunicornLoggerCallback(storage=sys.argv[1])],
    ),
).fit()
"""


def test_each_trial_has_a_run(start_program, storage, short_directory):
    """In one group, below the driver's run, at the trial's steps; one that raises has failed, with its reason."""
    process = start_program(PROGRAM, short_directory)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, out + err
    (around,) = rn.runs(path="around", storage=str(storage))
    runs = rn.runs(path="my-search", storage=str(storage))
    assert {run.parent for run in runs} == {around.id}
    by_rate = {content(run.run_dir, "assets.json")["config"]["args"]["lr"]: run.run_dir for run in runs}
    assert status(by_rate[1])["status"] == "finished"
    assert status(by_rate[2])["status"] == "failed"
    assert "ValueError: diverged" in status(by_rate[2])["exit_reason"]
    for path in by_rate.values():
        lines = [line["data"] for line in events(path)]
        assert [line["global_step"] for line in lines if "nested/a" in line][:3] == [1, 2, 3]
        assert "pid" not in lines[0]
        assert meta(path)["group"] == "my search"


STOPPED = (
    PROGRAM.replace("range(3)", "range(10**6)")
    .replace("callbacks=[", "callbacks=[Interrupt(), ")
    .replace(
        "def train(",
        """class Interrupt(tune.Callback):
    is_sent = False

    def on_trial_result(self, **_):
        if not self.is_sent:
            self.is_sent = True
            os.kill(os.getpid(), signal.SIGINT)


def train(""",
    )
    .replace("import sys", "import os, signal, sys")
)


def test_ctrl_c_interrupts_the_runs_of_the_trials_that_go_on(start_program, storage, short_directory):
    """Tune itself takes the signal, and ends well."""
    process = start_program(STOPPED, short_directory)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, out + err
    runs = rn.runs(path="my-search", storage=str(storage))
    assert runs
    assert {(run.status, run.exit_reason) for run in runs} == {("interrupted", "Ray Tune was stopped")}
