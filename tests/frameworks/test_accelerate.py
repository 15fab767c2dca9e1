"""Accelerate: the tracker by its name, tensors as they are, the right end."""

from __future__ import annotations

import pytest
import torch
from support import content, events, logged, status, text_of
from support.installed import needed

import runicorn as rn

needed("accelerate")
from accelerate import Accelerator  # noqa: E402 - after the check
from accelerate.state import AcceleratorState, GradientState, PartialState  # noqa: E402 - as above

from runicorn.integrations.accelerate import RunicornTracker, register  # noqa: E402 - as above

pytestmark = [pytest.mark.timeout(240), pytest.mark.filterwarnings("default")]


@pytest.fixture
def accelerator():
    """By name, on the CPU; Accelerate keeps its state for the process."""
    register()
    register()  # twice is no fault
    yield Accelerator(log_with="runicorn", cpu=True)
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()


def the_run(storage):
    (run,) = rn.runs(storage=str(storage))
    return run


def test_a_training_is_a_run_by_the_projects_name(accelerator, storage):
    """Tensors with gradients, gathered ones, configuration, the end."""
    accelerator.init_trackers("my project", config={"lr": 0.1, "dtype": torch.float32})
    accelerator.log({"loss": torch.tensor(0.5, requires_grad=True), "gathered": torch.tensor([1.0, 2.0])}, step=3)
    accelerator.log({"sample": "word " * 100}, step=4)
    accelerator.end_training()
    run = the_run(storage)
    assert (run.path, run.status) == ("my-project", "finished")
    assert events(run.run_dir)[0]["data"]["global_step"] == 3
    assert logged(run.run_dir)[0] == {"loss": 0.5, "gathered/0": 1.0, "gathered/1": 2.0}
    assert content(run.run_dir, "assets.json")["config"]["args"] == {"lr": 0.1, "dtype": "torch.float32"}
    assert "sample: word word" in text_of(run.run_dir)


def test_what_is_given_to_init_trackers_reaches_the_run(accelerator, storage):
    """``init_kwargs``, and ``log_kwargs``."""
    accelerator.init_trackers("x", init_kwargs={"runicorn": {"path": "own/path", "alias": "first"}})
    accelerator.log({"loss": 1.0}, step=1, log_kwargs={"runicorn": {"stage": "warmup"}})
    assert accelerator.get_tracker("runicorn", unwrap=True).path == "own/path"
    accelerator.end_training()
    run = the_run(storage)
    assert (run.path, run.alias) == ("own/path", "first")
    assert events(run.run_dir)[0]["data"]["stage"] == "warmup"


@pytest.mark.parametrize(
    ("error", "expected"),
    [(ValueError("boom"), ("failed", "ValueError: boom")), (KeyboardInterrupt(), ("interrupted", "KeyboardInterrupt"))],
    ids=["exception", "Ctrl-C"],
)
def test_an_end_in_finally_says_what_has_ended_the_training(accelerator, storage, error, expected):
    """``end_training()`` is called in both cases."""

    def train():
        accelerator.init_trackers("x")
        try:
            raise error
        finally:
            accelerator.end_training()

    with pytest.raises(type(error)):
        train()
    stored = status(the_run(storage).run_dir)
    assert (stored["status"], stored["exit_reason"]) == expected


def test_a_run_of_the_program_stays_open(open_run, storage):
    """The tracker uses it; an instance, as older versions want it."""
    run = open_run(path="own")
    accelerator = Accelerator(log_with=RunicornTracker(), cpu=True)
    accelerator.init_trackers("x")
    accelerator.log({"loss": 1.0}, step=1)
    accelerator.end_training()
    assert not run.is_finished
    assert the_run(storage).id == run.id


RANKS = """
import sys
import torch
from accelerate import Accelerator
from runicorn.integrations.accelerate import register

register()
accelerator = Accelerator(log_with="runicorn", cpu=True)
accelerator.init_trackers("ranks", init_kwargs={"runicorn": {"storage": sys.argv[1]}})
for step in range(3):
    loss = torch.tensor([float(accelerator.process_index)])
    accelerator.log({"loss": accelerator.gather(loss), "mean": accelerator.reduce(loss, "mean")}, step=step)
accelerator.end_training()
print("ended well")
"""


def test_two_ranks_of_torchrun_are_one_run(torchrun, storage):
    """What was gathered is one metric for each rank."""
    out = torchrun(RANKS)
    assert out.count("ended well") == 2
    run = the_run(storage)
    assert run.status == "finished"
    assert logged(run.run_dir) == [{"loss/0": 0.0, "loss/1": 1.0, "mean": 0.5}] * 3


LEFT = """
import sys
from accelerate import Accelerator
from runicorn.integrations.accelerate import register

register()
accelerator = Accelerator(log_with="runicorn", cpu=True)
accelerator.init_trackers("left", init_kwargs={"runicorn": {"storage": sys.argv[1]}})
accelerator.log({"loss": 1.0}, step=1)
raise ValueError("diverged")
"""


def test_an_exception_that_ends_the_script_is_the_reason_though_nobody_has_called_end_training(start_program, storage):
    """The end is the interpreter's, and the exception its own."""
    process = start_program(LEFT)
    process.communicate(timeout=200)
    assert process.returncode == 1
    (run,) = rn.runs(storage=str(storage))
    assert (run.status, run.exit_reason) == ("failed", "ValueError: diverged")
