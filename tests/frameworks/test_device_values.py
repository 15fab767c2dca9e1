"""Values that a device has not computed yet go through the adapters into ``log()``, and nobody waits for the device."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from support import logged, wait_until
from support.installed import needed
from support.slow_device import SlowDevice

import runicorn as rn

for package in ("lightning", "transformers", "keras", "accelerate"):
    needed(package)
pytestmark = [pytest.mark.timeout(240), pytest.mark.filterwarnings("default")]


@pytest.fixture
def device():
    """A device whose values say so if anybody asks for them."""

    def item(*_):
        raise AssertionError("the device was waited for")

    slow = SlowDevice()
    for name in ("item", "__float__", "__int__", "__bool__", "__array__", "tolist", "cpu", "numpy"):
        setattr(slow.scalar, name, item)
    slow.scalar.shape = ()
    return slow


def through_lightning(value):
    from runicorn.integrations.lightning import RunicornLogger

    logger = RunicornLogger()
    logger.log_metrics({"loss": value}, step=3)
    return lambda: logger.finalize("success")


def through_transformers(value):
    from runicorn.integrations.transformers import RunicornCallback

    callback = RunicornCallback()
    args = SimpleNamespace(output_dir="out", run_name=None)
    state = SimpleNamespace(
        global_step=3, is_world_process_zero=True, is_hyper_param_search=False, best_model_checkpoint=None
    )
    state.best_metric = None
    callback.on_log(args, state, None, logs={"loss": value})
    return lambda: callback.on_train_end(args, state, None)


def through_keras(value):
    from runicorn.integrations.keras import RunicornCallback

    callback = RunicornCallback()
    callback.on_epoch_end(3, {"loss": value})
    return callback.on_train_end


def through_accelerate(value):
    from runicorn.integrations.accelerate import RunicornTracker

    tracker = RunicornTracker("project")
    tracker.log({"loss": value}, step=3)
    return tracker.finish


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("way", [through_lightning, through_transformers, through_keras, through_accelerate])
def test_no_adapter_waits_for_a_device(way, device, storage):
    """The value is stored when it has arrived, by the real ``log()``."""
    end = way(device.scalar(0.5))
    assert device.waited == 0
    (run,) = rn.runs(storage=str(storage))
    device.arrived()
    end()
    wait_until(lambda: rn.load(run.run_dir).info.status == "finished")
    assert logged(run.run_dir) == [{"loss": 0.5}]
