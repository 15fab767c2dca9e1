"""Ignite: metrics, outputs and learning rates by the handlers of the framework; the right end."""

from __future__ import annotations

import pytest
import torch
from support import events, status
from support.installed import needed

import runicorn as rn

needed("ignite.handlers")
from ignite.engine import Engine, Events  # noqa: E402 - after the check
from ignite.handlers import global_step_from_engine  # noqa: E402 - as above

from runicorn.integrations.ignite import RunicornLogger  # noqa: E402 - as above

pytestmark = [pytest.mark.timeout(240), pytest.mark.filterwarnings("default")]


def values(run, name):
    return [(line["data"]["global_step"], line["data"][name]) for line in events(run) if name in line["data"]]


def train(logger, error=None):
    def step(engine, batch):
        if error is not None and engine.state.iteration == 3:
            raise error
        return {"loss": torch.tensor(float(batch))}

    trainer, evaluator = Engine(step), Engine(lambda _engine, batch: batch)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)

    @evaluator.on(Events.EPOCH_COMPLETED)
    def compute(engine):
        engine.state.metrics.update({"acc": 0.5, "per_class": torch.tensor([0.25, 0.75])})

    @trainer.on(Events.EPOCH_COMPLETED)
    def evaluate(_engine):
        evaluator.run([1])

    logger.attach_output_handler(trainer, Events.ITERATION_COMPLETED, tag="train", output_transform=lambda out: out)
    logger.attach_output_handler(
        evaluator,
        Events.COMPLETED,
        tag="val",
        metric_names="all",
        global_step_transform=global_step_from_engine(trainer),
    )
    logger.attach_opt_params_handler(trainer, Events.ITERATION_STARTED, optimizer=optimizer)
    trainer.run([1, 2], max_epochs=2)


def test_trainer_and_evaluator_are_one_run(storage):
    """Iterations and epochs are steps; a vector is a metric for each element."""
    with RunicornLogger("ignite/one") as logger:
        train(logger)
    (run,) = rn.runs(storage=str(storage))
    assert (run.path, run.status) == ("ignite/one", "finished")
    assert values(run.run_dir, "train/loss") == [(1, 1.0), (2, 2.0), (3, 1.0), (4, 2.0)]
    assert values(run.run_dir, "val/acc") == [(1, 0.5), (2, 0.5)]
    assert values(run.run_dir, "val/per_class/1") == [(1, 0.75), (2, 0.75)]
    assert values(run.run_dir, "lr/group_0") == [(1, 0.5), (2, 0.5), (3, 0.5), (4, 0.5)]


@pytest.mark.parametrize(
    ("error", "expected"),
    [(ValueError("boom"), ("failed", "ValueError: boom")), (KeyboardInterrupt(), ("interrupted", "KeyboardInterrupt"))],
    ids=["exception", "Ctrl-C"],
)
def test_with_that_an_exception_leaves_gives_its_reason(storage, error, expected):
    """``close()`` is called by ``with``."""
    with pytest.raises(type(error)), RunicornLogger() as logger:
        train(logger, error)
    (found,) = rn.runs(storage=str(storage))
    stored = status(found.run_dir)
    assert (stored["status"], stored["exit_reason"]) == expected


def test_a_run_of_the_program_stays_open(open_run, storage):
    """The logger uses it."""
    run = open_run(path="own")
    with RunicornLogger() as logger:
        train(logger)
    assert not run.is_finished
    assert len(rn.runs(storage=str(storage))) == 1
