"""Hydra: a run for each job, with the job's configuration and end."""

from __future__ import annotations

import signal

import pytest
from support import content, events, meta, status
from support.installed import needed

import runicorn as rn

needed("hydra")
pytestmark = pytest.mark.timeout(240)

PROGRAM = """
import os, signal
import hydra
import runicorn as rn
from omegaconf import OmegaConf

OmegaConf.register_new_resolver("twice", lambda value: 2 * value)


@hydra.main(version_base=None, config_path=".", config_name="config")
def main(cfg):
    run = rn.get_active_run()
    for step in range(3):
        run.log(loss=cfg.lr / (step + 1), step=step)
    if cfg.lr == 2:
        raise ValueError("diverged")
    if cfg.lr == 3:
        os.kill(os.getpid(), signal.SIGINT)


main()
"""
CONFIG = """
lr: 1
double: ${twice:${lr}}
missing: ???
job: ${hydra:job.name}
hydra:
  callbacks:
    runicorn:
      _target_: runicorn.integrations.hydra.RunicornCallback
"""


@pytest.fixture
def run_jobs(start_program, tmp_path):
    """Run the program with these arguments; Hydra takes them all, so the storage is an override of its own."""
    (tmp_path / "config.yaml").write_text(CONFIG)

    def run(*overrides):

        process = start_program("import sys; del sys.argv[1]\n" + PROGRAM, *overrides)
        out, err = process.communicate(timeout=200)
        return process.returncode, out + err

    return run


def test_a_job_is_a_run_with_its_configuration(run_jobs, storage):
    """Interpolations are resolved, what is missing is a text, and Hydra's own node is left out."""
    code, told = run_jobs("lr=4")
    assert code == 0, told
    assert "Warning" not in told
    (run,) = rn.runs(storage=str(storage))
    assert (run.path, run.status, run.alias) == ("program_0", "finished", "lr=4")
    assert [line["data"]["global_step"] for line in events(run.run_dir)] == [0, 1, 2]
    config = content(run.run_dir, "assets.json")["config"]
    assert (config["args"]["lr"], config["args"]["double"]) == (4, 8)
    assert "hydra" not in config["args"]
    assert config["extra"]["hydra"]["overrides"] == ["lr=4"]


def test_the_jobs_of_a_multirun_have_a_run_each(run_jobs, storage):
    """In one group; one that raises has failed, with its reason."""
    run_jobs("--multirun", "lr=1,2")
    runs = {run.alias: run.run_dir for run in rn.runs(storage=str(storage))}
    ends = {alias: (status(path)["status"], status(path).get("exit_reason")) for alias, path in runs.items()}
    assert ends == {"lr=1": ("finished", None), "lr=2": ("failed", "ValueError: diverged")}
    assert len({meta(path)["group"] for path in runs.values()}) == 1


def test_a_run_around_the_jobs_is_their_parent_and_a_job_alone_uses_it(start_program, tmp_path, storage):
    """It is not ended by a job; the job script's group is that of the jobs."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    for overrides in (["--multirun", "lr=1,4"], ["lr=5"]):
        around = PROGRAM.replace(
            "\nmain()\n",
            "\nwith rn.init(path='around', alias='a'):\n    main()\n    rn.get_active_run().log(after=1)\n",
        )
        process = start_program(
            "import os, sys; del sys.argv[1]; os.environ['RUNICORN_GROUP'] = 'job'\n" + around, *overrides
        )
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, out + err
    alone, first = rn.runs(path="around", storage=str(storage))
    jobs = rn.runs(group="job", storage=str(storage))
    assert {run.alias: run.parent for run in jobs} == {"lr=1": first.id, "lr=4": first.id}
    assert [line["data"].get("loss") for line in events(alone.run_dir)] == [5, 2.5, 5 / 3, None]
    assert content(alone.run_dir, "assets.json")["config"]["args"]["lr"] == 5
    assert len(rn.runs(storage=str(storage))) == 4


def test_a_sigint_ends_the_run_as_interrupted(run_jobs, storage):
    """Hydra calls no callback then."""
    code, told = run_jobs("lr=3")
    assert code in {1, -signal.SIGINT}, told
    (run,) = rn.runs(storage=str(storage))
    assert run.status == "interrupted"
