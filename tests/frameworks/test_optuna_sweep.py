"""A sweep with Optuna: two hundred trials of four threads are two hundred runs of one group, and leave no process."""

from __future__ import annotations

from collections import Counter

import psutil
import pytest
from support import wait_until
from support.installed import needed

import runicorn as rn

needed("optuna")
pytestmark = pytest.mark.timeout(240)

PROGRAM = """
import sys
import optuna
import runicorn as rn
from runicorn.integrations.optuna import RunicornCallback, track

optuna.logging.set_verbosity(optuna.logging.ERROR)


@track("search/trials", storage=sys.argv[1])
def objective(trial):
    x = trial.suggest_float("x", -1, 1)
    rn.get_active_run().log(number=trial.number)
    if trial.number % 10 == 1:
        raise optuna.TrialPruned
    if trial.number % 20 == 2:
        raise ValueError(f"diverged in {trial.number}")
    return x * x


optuna.create_study(study_name="sweep", sampler=optuna.samplers.RandomSampler(seed=1)).optimize(
    objective, n_trials=200, n_jobs=4, catch=(ValueError,),
    callbacks=[RunicornCallback("search/study", storage=sys.argv[1])],
)
"""


def processes_of(storage):
    """The processes that were started for the runs of a storage."""
    return [each for each in psutil.process_iter(["cmdline"]) if str(storage) in " ".join(each.info["cmdline"] or ())]


def expected_end(number):
    """Status and reason of a trial."""
    if number % 10 == 1:
        return "interrupted", "pruned"
    if number % 20 == 2:
        return "failed", f"ValueError: diverged in {number}"
    return "finished", None


def test_two_hundred_trials_are_two_hundred_runs_of_one_group(start_program, storage):
    """Each with its own number, status and reason, below the study's run; no process is left."""
    process = start_program(PROGRAM)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, out + err
    assert err == ""
    (study,) = rn.runs(path="search/study", storage=str(storage))
    assert (study.status, study.last_step) == ("finished", 199)
    trials = {run.alias: run for run in rn.runs(path="search/trials", group="sweep", storage=str(storage))}
    assert trials.keys() == {f"trial-{number}" for number in range(200)}
    for number in range(200):
        run = trials[f"trial-{number}"]
        assert (run.status, run.exit_reason) == expected_end(number)
        assert rn.load(run.run_dir)["number"].value.tolist() == [number]
    assert Counter(run.status for run in trials.values()) == {"finished": 170, "interrupted": 20, "failed": 10}
    assert {run.parent for run in trials.values()} == {study.id}
    wait_until(lambda: processes_of(storage) == [])
