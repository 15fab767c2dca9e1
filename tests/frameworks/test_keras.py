"""Keras 3 without TensorFlow, on torch and on JAX: one run for all calls, the right end."""

from __future__ import annotations

import gc
import json
import signal

import numpy as np
import pytest
from support import content, events, status
from support.installed import needed

import runicorn as rn

keras = needed("keras")

from runicorn.integrations.keras import RunicornCallback  # noqa: E402 - after the check

pytestmark = [pytest.mark.timeout(240), pytest.mark.filterwarnings("default")]
X, Y = np.ones((8, 2), "float32"), np.zeros((8, 1), "float32")


def model_of(name="small"):
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)], name=name)
    model.compile(optimizer="sgd", loss="mse", metrics=["mae"])
    return model


def values(run, name):
    return [(line["data"]["global_step"], line["data"][name]) for line in events(run) if name in line["data"]]


def the_run(storage):
    (run,) = rn.runs(storage=str(storage))
    return run


class Raising(keras.callbacks.Callback):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_epoch_end(self, epoch, logs=None):
        raise self.error  # a class: an exception would keep its frames, and with them the callback


def test_fit_twice_and_evaluate_are_one_run(storage):
    """Finished after each; names are Keras', the epoch is the step."""
    model, callback = model_of(), RunicornCallback()
    statuses = []
    for call in (
        lambda: model.fit(X, Y, epochs=2, validation_data=(X, Y), callbacks=[callback], verbose=0),
        lambda: model.fit(X, Y, epochs=4, initial_epoch=2, callbacks=[callback], verbose=0),
        lambda: model.evaluate(X, Y, callbacks=[callback], verbose=0),
    ):
        call()
        statuses.append(the_run(storage).status)
    assert statuses == ["finished"] * 3
    run = the_run(storage)
    assert run.path == "small"
    assert [step for step, _ in values(run.run_dir, "loss")] == [0, 1, 2, 3]
    assert [step for step, _ in values(run.run_dir, "val_mae")] == [0, 1]
    assert [step for step, _ in values(run.run_dir, "test_loss")] == [3]
    stored = content(run.run_dir, "assets.json")["config"]["extra"]["keras"]
    assert stored["optimizer"]["name"] == "sgd"
    assert stored["epochs"] == 4


def test_batches_are_logged_if_asked_for(storage):
    """With a step of their own."""
    model_of().fit(X, Y, epochs=2, batch_size=4, callbacks=[RunicornCallback(batches=True)], verbose=0)
    run = the_run(storage)
    assert [step for step, _ in values(run.run_dir, "batch/loss")] == [1, 2, 3, 4]
    assert [step for step, _ in values(run.run_dir, "loss")] == [0, 1]


@pytest.mark.parametrize("batches", [False, True])
def test_keras_goes_on_dispatching_callbacks_beside_the_training(monkeypatch, batches):
    """A callback for batches switches that off unless it says that it is safe."""
    monkeypatch.setattr("keras.src.backend.IS_THREAD_SAFE", True)
    listed = keras.callbacks.CallbackList([RunicornCallback(batches=batches)], model=model_of())
    assert listed._async_train


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_fit_that_is_left_leaves_a_failed_run(storage, error):
    """Keras tells no callback; it is known when model and callback are gone."""
    with pytest.raises(error):
        model_of().fit(X, Y, callbacks=[RunicornCallback(), Raising(error)], verbose=0)
    keras.backend.clear_session()
    gc.collect()
    assert the_run(storage).status == "failed"


def test_a_run_of_the_program_stays_open(open_run, storage):
    """The callback uses it."""
    run = open_run(path="own")
    model_of().fit(X, Y, callbacks=[RunicornCallback()], verbose=0)
    assert not run.is_finished
    assert the_run(storage).id == run.id


JAX = """
import json, sys
import numpy as np
import keras
from runicorn.integrations.keras import RunicornCallback

X, Y = np.ones((8, 2), "float32"), np.zeros((8, 1), "float32")
model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
model.compile(optimizer="sgd", loss="mse")
INTERRUPT
model.fit(X, Y, epochs=2, batch_size=4, verbose=0, callbacks=[RunicornCallback("jax", batches=True), *EXTRA])
print(json.dumps([keras.backend.backend(), "tensorflow" in sys.modules, "torch" in sys.modules]))
"""


def test_jax_alone_is_enough(start_program, storage, monkeypatch):
    """Neither TensorFlow nor torch is imported."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    process = start_program(JAX.replace("INTERRUPT", "EXTRA = []"))
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert json.loads(out) == ["jax", False, False]
    run = the_run(storage)
    assert run.status == "finished"
    assert [step for step, _ in values(run.run_dir, "batch/loss")] == [1, 2, 3, 4]


INTERRUPT = """
import os, signal

class Interrupt(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        os.kill(os.getpid(), signal.SIGINT)

EXTRA = [Interrupt()]
"""


def test_a_sigint_ends_the_run_as_interrupted(start_program, storage, monkeypatch):
    """A signal in the middle of the training."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    process = start_program(JAX.replace("INTERRUPT", INTERRUPT))
    process.communicate(timeout=200)
    assert process.returncode == -signal.SIGINT
    stored = status(the_run(storage).run_dir)
    assert (stored["status"], stored["exit_reason"]) == ("interrupted", "KeyboardInterrupt")
