"""Lightning and Fabric, of both packages: one run for all phases, the trainer's steps, the right end."""

from __future__ import annotations

import copy
import pickle
import signal
from pathlib import Path

import pytest
import torch
from support import content, events, status, steps, summary
from support.installed import needed

import runicorn as rn

needed("pytorch_lightning")
needed("lightning")
import lightning as new  # noqa: E402 - after the check
import pytorch_lightning as old  # noqa: E402 - as above

from runicorn.integrations.lightning import RunicornLogger  # noqa: E402 - as above

pytestmark = [pytest.mark.timeout(240), pytest.mark.filterwarnings("default")]
BATCHES, EPOCHS = 4, 2
QUIET = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "num_sanity_val_steps": 0}


def model_of(package, error=None):
    class Model(package.LightningModule):
        def __init__(self, lr=0.1):
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch, batch_idx):
            if error is not None and self.global_step == 2:
                raise error
            loss = self.layer(batch[0]).mean()
            self.log("loss", loss)
            return loss

        def validation_step(self, batch, batch_idx):
            self.log("val", self.layer(batch[0]).mean(), on_step=True, on_epoch=True)

        def test_step(self, batch, batch_idx):
            self.log("test", self.layer(batch[0]).mean())

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return Model()


def data():
    items = torch.utils.data.TensorDataset(torch.randn(BATCHES * 2, 2, generator=torch.Generator().manual_seed(1)))
    return torch.utils.data.DataLoader(items, batch_size=2)


def trainer_of(package, logger, **arguments):
    return package.Trainer(**{**QUIET, "max_epochs": EPOCHS, "log_every_n_steps": 1, "logger": logger, **arguments})


def values(run, name):
    """Step and value of a metric, in the order in which they were logged."""
    return [(line["data"]["global_step"], line["data"][name]) for line in events(run) if name in line["data"]]


@pytest.mark.parametrize("package", [new.pytorch, old], ids=["lightning", "pytorch_lightning"])
def test_fit_validate_and_test_are_one_run(package, storage):
    """Finished after each, with the trainer's steps; nothing is dropped where validation counts its own."""
    logger = RunicornLogger("pl/one")
    trainer = trainer_of(package, logger)
    model = model_of(package)
    statuses = []
    for phase in (
        lambda: trainer.fit(model, data(), data()),
        lambda: trainer.validate(model, data(), verbose=False),
        lambda: trainer.test(model, data(), verbose=False),
    ):
        phase()
        (run,) = rn.runs(storage=str(storage))
        statuses.append(run.status)
    assert statuses == ["finished"] * 3
    assert run.path == "pl/one"
    assert [step for step, _ in values(run.run_dir, "loss")] == list(range(BATCHES * EPOCHS))
    assert len(values(run.run_dir, "val_step")) == BATCHES * (EPOCHS + 1)
    assert len(values(run.run_dir, "test")) == 1
    assert content(run.run_dir, "assets.json")["config"]["args"] == {"lr": 0.1}


def test_checkpoints_are_named_and_not_copied(storage, tmp_path):
    """They lie under the trainer's directory, by path and id; the summary has the best."""
    logger = RunicornLogger("pl")
    checkpoints = old.callbacks.ModelCheckpoint(monitor="val_epoch", save_last=True)
    trainer_of(old, logger, callbacks=[checkpoints]).fit(model_of(old), data(), data())
    (run,) = rn.runs(storage=str(storage))
    found = summary(run.run_dir)
    assert Path(found["best_model_path"]).parent == tmp_path / "pl" / run.id / "checkpoints"
    assert Path(found["best_model_path"]).exists()
    assert found["best_model_score"] == pytest.approx(float(checkpoints.best_model_score))
    assert not list(Path(run.run_dir).rglob("*.ckpt"))


@pytest.mark.parametrize(
    ("error", "raised", "expected"),
    [
        (ValueError("boom"), ValueError, ("failed", "ValueError: boom")),
        (KeyboardInterrupt(), SystemExit, ("interrupted", "KeyboardInterrupt")),
    ],
    ids=["exception", "Ctrl-C"],
)
def test_a_training_that_is_ended_by_an_exception_has_failed(storage, error, raised, expected):
    """Right away, though the program goes on."""
    with pytest.raises(raised):
        trainer_of(old, RunicornLogger()).fit(model_of(old, error), data())
    (run,) = rn.runs(storage=str(storage))
    stored = status(run.run_dir)
    assert (stored["status"], stored["exit_reason"]) == expected
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning ignores it from then on


def test_a_run_of_the_program_stays_open(open_run, storage):
    """The logger uses it; the end is the program's."""
    run = open_run(path="own")
    trainer_of(old, RunicornLogger()).fit(model_of(old), data())
    assert not run.is_finished
    assert len(rn.runs(storage=str(storage))) == 1
    run.finish()
    assert set(range(BATCHES * EPOCHS)) <= set(steps(run))


def test_copies_log_into_the_same_run(storage):
    """``deepcopy`` and ``pickle``; none of them ends it."""
    logger = RunicornLogger()
    logger.log_metrics({"a": 1.0}, step=0)
    for copied in (copy.deepcopy(logger), pickle.loads(pickle.dumps(logger))):
        copied.log_metrics({"a": 2.0}, step=1)
    logger.finalize("success")
    (run,) = rn.runs(storage=str(storage))
    assert [value for _, value in values(run.run_dir, "a")] == [1.0, 2.0, 2.0]


@pytest.mark.parametrize("package", [new, needed("lightning_fabric")], ids=["lightning", "lightning_fabric"])
def test_fabric_logs_through_the_same_logger(package, storage):
    """``fabric.log_dict()``; ``finalize()`` is the program's."""
    logger = RunicornLogger("fabric")
    fabric = package.Fabric(accelerator="cpu", devices=1, loggers=logger)
    fabric.log_dict({"loss": torch.tensor(0.5)}, step=3)
    logger.finalize("success")
    (run,) = rn.runs(storage=str(storage))
    assert values(run.run_dir, "loss") == [(3, 0.5)]


class Unread:
    """A value on a device that has not been computed."""

    shape = ()

    def item(self):
        raise AssertionError("the device was waited for")

    __float__ = __array__ = __bool__ = item


def test_no_value_is_read_from_its_device(monkeypatch):
    """The values reach ``log()`` as they are."""
    given = []
    logger = RunicornLogger()
    monkeypatch.setattr(type(logger.experiment), "log", lambda _run, data, step=None: given.append((data, step)))
    value = Unread()
    logger.log_metrics({"loss": value}, step=7)
    ((data_, step),) = given
    assert data_["loss"] is value
    assert step == 7
    logger.finalize("success")


RANKS = """
import sys
import lightning as L
import torch
from runicorn.integrations.lightning import RunicornLogger


class Model(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch[0]).mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


if __name__ == "__main__":
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(8, 2)), batch_size=1)
    trainer = L.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_epochs=1, log_every_n_steps=1, enable_progress_bar=False,
        enable_model_summary=False, logger=RunicornLogger("ranks", storage=sys.argv[1], all_ranks=ALL),
    )
    trainer.fit(Model(), data)
    print("rank", trainer.global_rank, "ended well")
"""


@pytest.mark.parametrize("all_ranks", [False, True])
def test_two_ranks_of_torchrun_are_one_run(torchrun, storage, all_ranks):
    """Rank 1 stores nothing unless it is asked to; the end comes, and no directory is made beside."""
    out = torchrun(RANKS.replace("ALL", str(all_ranks)))
    assert out.count("ended well") == 2
    (run,) = rn.runs(storage=str(storage))
    assert run.status == "finished"
    assert [step for step, _ in values(run.run_dir, "loss")] == list(range(4))
    assert bool(events(run.run_dir, "events.rank1.jsonl")) is all_ranks


def test_ranks_that_lightning_starts_itself_are_one_run(start_program, storage):
    """Its own launcher runs the script again."""
    process = start_program(RANKS.replace("ALL", "False"))
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, out + err
    (run,) = rn.runs(storage=str(storage))
    assert run.status == "finished"
    assert [step for step, _ in values(run.run_dir, "loss")] == list(range(4))


INTERRUPTED = RANKS.replace("devices=2", "devices=1").replace('"ddp"', '"auto"').replace("ALL", "False")


def test_a_sigint_ends_the_run_as_interrupted(start_program, storage):
    """A signal in the middle of a step; the exit code is Lightning's."""
    program = INTERRUPTED.replace("loss = self", "import os, signal; os.kill(os.getpid(), signal.SIGINT); loss = self")
    process = start_program(program)
    process.communicate(timeout=200)
    assert process.returncode == 1
    (run,) = rn.runs(storage=str(storage))
    stored = status(run.run_dir)
    assert (stored["status"], stored["exit_reason"]) == ("interrupted", "KeyboardInterrupt")
