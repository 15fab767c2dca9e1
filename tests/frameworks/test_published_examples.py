"""The first example of each framework's documentation, shortened and with data of its own, and a line of ours in it."""

from __future__ import annotations

import gc
import os

import numpy as np
import pytest
import torch
from support import content, events
from support.installed import needed

import runicorn as rn

for package in ("lightning", "transformers", "keras", "xgboost", "lightgbm", "optuna", "accelerate", "ignite"):
    needed(package)

pytestmark = [pytest.mark.timeout(240), pytest.mark.filterwarnings("default")]
RANDOM = np.random.default_rng(1)
X, Y = RANDOM.random((64, 4)), RANDOM.integers(0, 2, 64)


@pytest.fixture
def the_run(storage):
    """The one run that there is, ended well; called after the example."""

    def find():
        gc.collect()
        (run,) = rn.runs(storage=str(storage))
        assert (run.status, run.exit_reason) == ("finished", None)
        return run

    return find


def curve(run, name):
    """Step and value of a metric, as they were logged."""
    return [(line["data"]["global_step"], line["data"][name]) for line in events(run.run_dir) if name in line["data"]]


def config(run):
    """What is in ``assets.json``."""
    return content(run.run_dir, "assets.json")["config"]


def test_lightning_in_fifteen_minutes(the_run):
    """The autoencoder: the loss of each step, and the hyperparameters."""
    import lightning
    from torch import nn

    from runicorn.integrations.lightning import RunicornLogger

    losses = []

    class LitAutoEncoder(lightning.LightningModule):
        def __init__(self, width=3):
            super().__init__()
            self.save_hyperparameters()
            self.encoder = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, width))
            self.decoder = nn.Sequential(nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, 16))

        def training_step(self, batch, batch_idx):
            x = batch[0].view(batch[0].size(0), -1)
            loss = nn.functional.mse_loss(self.decoder(self.encoder(x)), x)
            self.log("train_loss", loss)
            losses.append(loss.item())
            return loss

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    dataset = torch.utils.data.TensorDataset(torch.rand(40, 4, 4))
    train_loader = torch.utils.data.DataLoader(dataset, batch_size=4)
    trainer = lightning.Trainer(
        limit_train_batches=100, max_epochs=1, accelerator="cpu", log_every_n_steps=1, logger=RunicornLogger()
    )
    trainer.fit(model=LitAutoEncoder(), train_dataloaders=train_loader)
    run = the_run()
    assert curve(run, "train_loss") == list(enumerate(losses))
    assert config(run)["args"] == {"width": 3}


def test_transformers_trainer(the_run):
    """Fine-tuning of a classifier: what the trainer has in its own history, and its arguments."""
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

    from runicorn.integrations.transformers import RunicornCallback

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = BertForSequenceClassification(BertConfig(vocab_size=16, num_labels=5, **sizes))
    dataset = [{"input_ids": torch.arange(8), "labels": torch.tensor(number % 5)} for number in range(8)]
    training_args = TrainingArguments(
        output_dir="yelp_review_classifier", eval_strategy="epoch", num_train_epochs=2, logging_steps=1, use_cpu=True
    )
    trainer = Trainer(
        model=model,
        args=training_args,
        train_dataset=dataset,
        eval_dataset=dataset,
        callbacks=[RunicornCallback()],
    )
    trainer.train()
    run = the_run()
    history = trainer.state.log_history
    for name in ("loss", "eval_loss", "train_loss", "learning_rate"):
        assert curve(run, name) == [(each["step"], each[name]) for each in history if name in each]
    assert run.path == "yelp_review_classifier"
    assert config(run)["args"]["num_train_epochs"] == 2
    assert config(run)["extra"]["model"]["hidden_size"] == 8


def test_keras_simple_mnist_convnet(the_run):
    """A small convnet: the history that ``fit()`` returns."""
    import keras

    from runicorn.integrations.keras import RunicornCallback

    model = keras.Sequential(
        [
            keras.Input(shape=(6, 6, 1)),
            keras.layers.Conv2D(2, kernel_size=(3, 3), activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    images = RANDOM.random((64, 6, 6, 1)).astype("float32")
    history = model.fit(
        images, Y, batch_size=32, epochs=3, validation_split=0.25, verbose=0, callbacks=[RunicornCallback()]
    )
    run = the_run()
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    for name, values in history.history.items():
        assert curve(run, name) == list(enumerate(values))
    assert config(run)["extra"]["keras"]["epochs"] == 3
    assert config(run)["extra"]["keras"]["optimizer"]["name"] == "adam"


def test_xgboost_get_started(the_run):
    """The scikit-learn interface of the first page: ``evals_result()``."""
    from xgboost import XGBClassifier

    from runicorn.integrations.xgboost import RunicornCallback

    bst = XGBClassifier(
        n_estimators=5, max_depth=2, learning_rate=1, objective="binary:logistic", callbacks=[RunicornCallback()]
    )
    bst.fit(X, Y, eval_set=[(X, Y)], verbose=False)
    run = the_run()
    assert curve(run, "validation_0/logloss") == list(enumerate(bst.evals_result()["validation_0"]["logloss"]))
    assert "binary:logistic" in str(config(run)["extra"]["xgboost"])


def test_lightgbm_simple_example(the_run):
    """Regression with early stopping: every iteration that LightGBM has recorded itself."""
    import lightgbm as lgb

    from runicorn.integrations.lightgbm import log_to_runicorn

    lgb_train = lgb.Dataset(X[:48], Y[:48])
    lgb_eval = lgb.Dataset(X[48:], Y[48:], reference=lgb_train)
    params = {"objective": "regression", "metric": {"l2", "l1"}, "num_leaves": 4, "learning_rate": 0.5, "verbose": -1}
    recorded = {}
    lgb.train(
        {**params, "min_data_in_leaf": 5, "num_threads": 1},
        lgb_train,
        num_boost_round=20,
        valid_sets=lgb_eval,
        callbacks=[lgb.early_stopping(stopping_rounds=3), lgb.record_evaluation(recorded), log_to_runicorn()],
    )
    run = the_run()
    for name in ("l1", "l2"):
        assert curve(run, f"valid_0/{name}") == list(enumerate(recorded["valid_0"][name]))
    assert config(run)["extra"]["lightgbm"]["num_leaves"] == 4


def test_optuna_quadratic(the_run):
    """The first study: a point a trial, with its value and its parameter."""
    import optuna

    from runicorn.integrations.optuna import RunicornCallback

    def objective(trial):
        x = trial.suggest_float("x", -10, 10)
        return (x - 2) ** 2

    study = optuna.create_study()
    study.optimize(objective, n_trials=5, callbacks=[RunicornCallback()])
    run = the_run()
    assert curve(run, "value") == [(trial.number, trial.value) for trial in study.trials]
    assert curve(run, "params/x") == [(trial.number, trial.params["x"]) for trial in study.trials]


def test_accelerate_tracking(the_run):
    """The guide on trackers: the losses of the loop, as tensors, and the configuration."""
    from accelerate import Accelerator

    from runicorn.integrations.accelerate import register

    register()
    accelerator = Accelerator(log_with="runicorn", cpu=True)
    accelerator.init_trackers("my_project", config={"num_iterations": 5, "learning_rate": 1e-2, "loss_function": "mse"})
    my_model = torch.nn.Linear(1, 1)
    my_model, my_optimizer = accelerator.prepare(my_model, torch.optim.SGD(my_model.parameters(), lr=1e-2))
    losses = []
    for iteration in range(5):
        loss = my_model(torch.ones(1, 1)).square().mean()
        accelerator.backward(loss)
        my_optimizer.step()
        my_optimizer.zero_grad()
        accelerator.log({"training_loss": loss}, step=iteration)
        losses.append(loss.item())
    accelerator.end_training()
    run = the_run()
    assert curve(run, "training_loss") == list(enumerate(losses))
    assert config(run)["args"]["loss_function"] == "mse"
    assert run.path == "my_project"


def test_ignite_getting_started(the_run):
    """Trainer and evaluator: losses by iteration, metrics by the trainer's epoch."""
    from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
    from ignite.handlers import global_step_from_engine
    from ignite.metrics import Loss

    from runicorn.integrations.ignite import RunicornLogger

    model, criterion = torch.nn.Linear(4, 1), torch.nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = [(torch.rand(8, 4), torch.rand(8, 1)) for _ in range(3)]
    trainer = create_supervised_trainer(model, optimizer, criterion)
    evaluator = create_supervised_evaluator(model, metrics={"mse": Loss(criterion)})
    losses, scores = [], []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output))
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda _: scores.append(evaluator.run(loader).metrics["mse"]))
    with RunicornLogger() as logger:
        logger.attach_output_handler(
            trainer, Events.ITERATION_COMPLETED, "training", output_transform=lambda loss: {"loss": loss}
        )
        logger.attach_output_handler(
            evaluator,
            Events.EPOCH_COMPLETED,
            "validation",
            metric_names=["mse"],
            global_step_transform=global_step_from_engine(trainer),
        )
        trainer.run(loader, max_epochs=2)
    run = the_run()
    assert curve(run, "training/loss") == list(enumerate(losses, 1))
    assert curve(run, "validation/mse") == list(enumerate(scores, 1))


def test_pytorch_tensorboard_tutorial(the_run):
    """``SummaryWriter`` of the recipe, with its import changed."""
    from runicorn.integrations.tensorboard import SummaryWriter

    writer = SummaryWriter()
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.arange(-5, 5, 0.1).view(-1, 1)
    losses = []
    for epoch in range(5):
        loss = torch.nn.functional.mse_loss(model(x), -5 * x)
        writer.add_scalar("Loss/train", loss, epoch)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    writer.flush()
    writer.close()
    run = the_run()
    assert curve(run, "Loss/train") == list(enumerate(losses))
    assert os.path.dirname(run.path) in {"", "runs"}
