"""Optuna: a point for each trial of a study, and a run for each trial."""

from __future__ import annotations

import gc

import pytest
from support import content, events, meta, status, summary
from support.installed import needed

import runicorn as rn

optuna = needed("optuna")

from runicorn.integrations.optuna import RunicornCallback, track  # noqa: E402 - after the check

pytestmark = [pytest.mark.timeout(240), pytest.mark.filterwarnings("default")]


@pytest.fixture(autouse=True)
def quiet():
    """Optuna prints each trial."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def objective(trial):
    x = trial.suggest_float("x", -1, 1)
    kind = trial.suggest_categorical("kind", ["a", None])
    if trial.number == 1:
        raise optuna.TrialPruned
    if trial.number == 2:
        raise ValueError("diverged")
    if trial.number == 3:
        return float("nan")
    return x * x + (kind is None)


def test_each_trial_is_a_point_of_the_study(storage):
    """Pruned, failed and NaN ones too, from two threads; the number is the step."""
    study = optuna.create_study(study_name="my study")
    study.optimize(objective, n_trials=6, n_jobs=2, catch=(ValueError,), callbacks=[RunicornCallback()])
    gc.collect()
    (run,) = rn.runs(storage=str(storage))
    assert (run.path, run.status) == ("my-study", "finished")
    points = {line["data"]["global_step"]: line["data"] for line in events(run.run_dir)}
    states = {step: point["state"] for step, point in points.items()}
    assert states == {0: "COMPLETE", 1: "PRUNED", 2: "FAIL", 3: "FAIL", 4: "COMPLETE", 5: "COMPLETE"}
    assert points[0]["value"] == study.trials[0].value
    assert points[4]["params/x"] == study.trials[4].params["x"]


def test_several_objectives_have_a_metric_each(storage):
    """By their places."""
    study = optuna.create_study(directions=["minimize", "maximize"])
    study.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 2.0), n_trials=1, callbacks=[RunicornCallback()])
    gc.collect()
    (run,) = rn.runs(storage=str(storage))
    assert events(run.run_dir)[0]["data"]["value/1"] == 2.0


def test_each_trial_has_a_run_of_its_own(storage):
    """In one group, with parameters and value; a pruned one says so."""
    study = optuna.create_study(study_name="search")
    study.optimize(track()(objective), n_trials=3, catch=(ValueError,))
    runs = {run.alias: run.run_dir for run in rn.runs(storage=str(storage))}
    ends = {alias: (status(path)["status"], status(path).get("exit_reason")) for alias, path in runs.items()}
    assert ends == {
        "trial-0": ("finished", None),
        "trial-1": ("interrupted", "pruned"),
        "trial-2": ("failed", "ValueError: diverged"),
    }
    assert {meta(path)["group"] for path in runs.values()} == {"search"}
    assert summary(runs["trial-0"])["value"] == study.trials[0].value
    assert content(runs["trial-2"], "assets.json")["config"]["args"] == study.trials[2].params


def test_the_run_of_a_trial_is_the_active_one_of_its_thread(storage):
    """So adapters inside the objective log into it; two trials at once."""

    @track()
    def nested(trial):
        run = rn.get_active_run()
        run.log(number=trial.number)
        assert run.alias == f"trial-{trial.number}"
        return 0.0

    optuna.create_study().optimize(nested, n_trials=4, n_jobs=2)
    for run in rn.runs(storage=str(storage)):
        assert run.alias == f"trial-{events(run.run_dir)[0]['data']['number']}"


def test_ctrl_c_in_a_trial_interrupts_its_run(storage):
    """And the study, as Optuna wants it."""

    def interrupted(_trial):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optuna.create_study().optimize(track()(interrupted), n_trials=3)
    (run,) = rn.runs(storage=str(storage))
    assert run.status == "interrupted"
