"""Ray Train: what the workers report goes into the driver's run."""

from __future__ import annotations

import pytest
from support import events, status, text_of
from support.installed import needed

import runicorn as rn

needed("ray.train")
pytestmark = pytest.mark.timeout(240)

PROGRAM = """
import sys
import ray
import ray.train
from ray.train import RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from runicorn.integrations.ray import RunicornUserCallback

ray.init(
    address="local", num_cpus=3, include_dashboard=False, log_to_driver=False, configure_logging=False,
    object_store_memory=80 * 2**20, _node_ip_address="127.0.0.1", _temp_dir=sys.argv[2],
)


def train():
    rank = ray.train.get_context().get_world_rank()
    for step in range(3):
        ray.train.report({"loss": step + rank * 10.0})
    raise ValueError("diverged")


DataParallelTrainer(
    train,
    scaling_config=ScalingConfig(num_workers=2),
    run_config=RunConfig(
        name="job", storage_path=sys.argv[2] + "/results",
        callbacks=[RunicornUserCallback("ray/train", all_ranks=True, storage=sys.argv[1])],
    ),
).fit()
"""


def test_what_workers_report_is_in_the_run_of_the_driver(start_program, storage, short_directory, monkeypatch):
    """A report is a step, a worker above rank 0 has names of its own; what ends the driver ends the run."""
    monkeypatch.setenv("RAY_TRAIN_V2_ENABLED", "1")
    process = start_program(PROGRAM, short_directory)
    out, err = process.communicate(timeout=220)
    assert process.returncode == 1, out + err
    (run,) = rn.runs(storage=str(storage))
    lines = [line["data"] for line in events(run.run_dir) if line["type"] == "metrics"]
    assert [(line["global_step"], line["loss"], line["loss/rank1"]) for line in lines] == [
        (1, 0.0, 10.0),
        (2, 1.0, 11.0),
        (3, 2.0, 12.0),
    ]
    stored = status(run.run_dir)
    assert stored["status"] == "failed"
    assert "diverged" in stored["exit_reason"]
    assert "raised" in text_of(run)
