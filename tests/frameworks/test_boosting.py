"""XGBoost and LightGBM: one run for all trainings of a callback, names of the framework, the right end."""

from __future__ import annotations

import gc
import pickle
import signal

import numpy as np
import pytest
from support import content, events, status, summary
from support.installed import needed

import runicorn as rn

xgb = needed("xgboost")
lgb = needed("lightgbm")

from runicorn.integrations.lightgbm import log_to_runicorn  # noqa: E402 - after the check
from runicorn.integrations.xgboost import RunicornCallback  # noqa: E402 - as above

pytestmark = [pytest.mark.timeout(240), pytest.mark.filterwarnings("default")]
ROUNDS = 4
RANDOM = np.random.default_rng(1)
X = RANDOM.normal(size=(60, 3))
Y = (X[:, 0] > 0).astype(int)
XGB = {"objective": "binary:logistic", "nthread": 1, "max_depth": 2}
LGB = {"objective": "binary", "num_threads": 1, "verbose": -1, "num_leaves": 4, "min_data_in_leaf": 5}


def values(run, name):
    return [(line["data"]["global_step"], line["data"][name]) for line in events(run) if name in line["data"]]


def the_run(storage):
    (run,) = rn.runs(storage=str(storage))
    return run


class Raising(xgb.callback.TrainingCallback):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def after_iteration(self, model, epoch, evals_log):
        if epoch == 1:
            raise self.error  # a class: an exception would keep its frames, and with them the callback
        return False


def train(*callbacks, **arguments):
    data = xgb.DMatrix(X, Y)
    return xgb.train(
        XGB, data, ROUNDS, evals=[(data, "train")], verbose_eval=False, callbacks=list(callbacks), **arguments
    )


def test_two_trainings_of_xgboost_are_one_run(storage):
    """Rounds start again at 0; finished after each; parameters and the best are there."""
    callback = RunicornCallback("trees")
    for _ in range(2):
        train(callback, early_stopping_rounds=3)
        assert the_run(storage).status == "finished"
    run = the_run(storage)
    assert [step for step, _ in values(run.run_dir, "train/logloss")] == [*range(ROUNDS)] * 2
    assert summary(run.run_dir)["best_iteration"] == ROUNDS - 1
    assert "learner" in content(run.run_dir, "assets.json")["config"]["extra"]["xgboost"]


def test_cross_validation_of_xgboost_has_mean_and_deviation(storage):
    """The two of each round."""
    xgb.cv(XGB, xgb.DMatrix(X, Y), ROUNDS, nfold=3, callbacks=[RunicornCallback()])
    run = the_run(storage)
    assert run.status == "finished"
    for name in ("train/logloss-mean", "train/logloss-std", "test/logloss-mean", "test/logloss-std"):
        assert len(values(run.run_dir, name)) == ROUNDS


def test_an_estimator_that_is_cloned_and_pickled_logs_into_one_run(storage):
    """As scikit-learn does with it; the callback travels with the fitted model."""
    import copy

    estimator = xgb.XGBClassifier(n_estimators=ROUNDS, n_jobs=1, callbacks=[RunicornCallback()])
    for each in (estimator, copy.deepcopy(estimator)):
        each.fit(X, Y, eval_set=[(X, Y)], verbose=False)
    assert pickle.loads(pickle.dumps(estimator)).predict(X).shape == (60,)
    gc.collect()
    run = the_run(storage)
    assert len(values(run.run_dir, "validation_0/logloss")) == 2 * ROUNDS
    estimator.callbacks[0]._holder.let_go()
    assert the_run(storage).status == "finished"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_training_of_xgboost_that_is_left_leaves_a_failed_run(storage, error):
    """XGBoost tells no callback; it is known when the callback is gone."""
    with pytest.raises(error):
        train(RunicornCallback(), Raising(error))
    gc.collect()
    assert the_run(storage).status == "failed"


def test_a_run_of_the_program_stays_open(open_run, storage):
    """Both callbacks use it."""
    run = open_run(path="own")
    train(RunicornCallback())
    lgb.train(LGB, lgb.Dataset(X, Y), ROUNDS, valid_sets=[lgb.Dataset(X, Y)], callbacks=[log_to_runicorn()])
    assert not run.is_finished
    assert the_run(storage).id == run.id


def test_a_training_of_lightgbm_is_a_run(storage):
    """Finished at the last iteration, though the callback is still held."""
    callback = log_to_runicorn("trees")
    lgb.train(LGB, lgb.Dataset(X, Y), ROUNDS, valid_sets=[lgb.Dataset(X, Y)], callbacks=[callback])
    run = the_run(storage)
    assert (run.path, run.status) == ("trees", "finished")
    assert [step for step, _ in values(run.run_dir, "valid_0/binary_logloss")] == list(range(ROUNDS))
    assert content(run.run_dir, "assets.json")["config"]["extra"]["lightgbm"]["num_leaves"] == 4


def test_the_last_iteration_before_an_early_stop_is_there(storage):
    """And the run is finished when the callback is gone."""
    data = lgb.Dataset(X[:30], Y[:30])
    held = lgb.Dataset(X[30:], 1 - Y[30:], reference=data)  # it gets worse from the first iteration on
    lgb.train(LGB, data, 50, valid_sets=[held], callbacks=[log_to_runicorn(), lgb.early_stopping(2, verbose=False)])
    gc.collect()
    run = the_run(storage)
    assert run.status == "finished"
    assert [step for step, _ in values(run.run_dir, "valid_0/binary_logloss")] == [0, 1, 2]


def test_cross_validation_of_lightgbm_has_mean_and_deviation(storage):
    """The two of each iteration."""
    lgb.cv(LGB, lgb.Dataset(X, Y), ROUNDS, nfold=3, callbacks=[log_to_runicorn()])
    run = the_run(storage)
    assert run.status == "finished"
    for name in ("valid/binary_logloss-mean", "valid/binary_logloss-std"):
        assert len(values(run.run_dir, name)) == ROUNDS


INTERRUPTED = """
import os, signal, sys
import numpy as np
import lightgbm as lgb
import xgboost as xgb
from runicorn.integrations.lightgbm import log_to_runicorn
from runicorn.integrations.xgboost import RunicornCallback

X, Y = np.arange(40.0).reshape(40, 1), np.arange(40) % 2


class Interrupt(xgb.callback.TrainingCallback):
    def after_iteration(self, *_):
        os.kill(os.getpid(), signal.SIGINT)
        return False


def interrupt(env):
    os.kill(os.getpid(), signal.SIGINT)


if sys.argv[2] == "xgboost":
    data = xgb.DMatrix(X, Y)
    xgb.train({"nthread": 1}, data, 5, evals=[(data, "train")], verbose_eval=False,
              callbacks=[RunicornCallback(), Interrupt()])
else:
    lgb.train({"num_threads": 1, "verbose": -1}, lgb.Dataset(X, Y), 5, valid_sets=[lgb.Dataset(X, Y)],
              callbacks=[log_to_runicorn(), interrupt])
"""


@pytest.mark.parametrize("framework", ["xgboost", "lightgbm"])
def test_a_sigint_ends_the_run_as_interrupted(start_program, storage, framework):
    """A signal in the middle of the training."""
    process = start_program(INTERRUPTED, framework)
    out, err = process.communicate(timeout=200)
    assert process.returncode == -signal.SIGINT, out + err
    stored = status(the_run(storage).run_dir)
    assert (stored["status"], stored["exit_reason"]) == ("interrupted", "KeyboardInterrupt")
