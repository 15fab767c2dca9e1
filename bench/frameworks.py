"""What do the adapters for training frameworks cost a step, beside the framework's own loggers?

A tiny model is trained with the real framework on the CPU. Our adapter and the framework's own logger are both in the
same training; each call of each is timed. In every other round they stand in the other order. What a logger does later,
such as writing its file every hundred steps, counts with the step in which it does it. Needs the frameworks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import harness

if TYPE_CHECKING:
    import argparse

TARGET_US = 100.0
LIMIT_S = 300
OURS = "runicorn"

PRELUDE = """
import json, logging, os, sys, time, warnings
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
steps, ours_first = int(sys.argv[1]), sys.argv[2] == "ours first"
clock = time.perf_counter_ns
costs = {}

def timed(owner, who, first, *later):
    samples = costs[who] = []
    for name in (first, *later):
        def call(*args, plain=getattr(owner, name), begins=name == first, **more):
            begun = clock()
            try:
                return plain(*args, **more)
            finally:
                if begins:
                    samples.append(clock() - begun)
                elif samples:
                    samples[-1] += clock() - begun
        setattr(owner, name, call)
    return owner

def ordered(ours, *others):
    return [ours, *others] if ours_first else [*others, ours]
"""

LIGHTNING = """
import pytorch_lightning as pl, torch
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from runicorn.integrations.lightning import RunicornLogger

class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
    def training_step(self, batch, index):
        loss = self.layer(batch).mean()
        self.log_dict({"loss": loss, "lr": 0.1, "norm": loss * 2, "acc": loss * 3})
        return loss
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)

loggers = ordered(
    timed(RunicornLogger(), "runicorn", "log_metrics", "save"),
    timed(CSVLogger("csv"), "CSVLogger", "log_metrics", "save"),
    timed(TensorBoardLogger("tb"), "TensorBoardLogger", "log_metrics", "save"),
)
pl.Trainer(
    max_steps=steps, accelerator="cpu", logger=loggers, log_every_n_steps=1, enable_progress_bar=False,
    enable_model_summary=False, enable_checkpointing=False,
).fit(Model(), torch.utils.data.DataLoader(torch.ones(steps, 2), batch_size=1))
"""

TRANSFORMERS = """
import torch
from transformers import GPT2Config, GPT2LMHeadModel, PrinterCallback, Trainer, TrainingArguments
from transformers.integrations import TensorBoardCallback
from runicorn.integrations.transformers import RunicornCallback

model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=16, bos_token_id=0, eos_token_id=0))
data = [{"input_ids": torch.arange(4), "labels": torch.arange(4)}] * 8
callbacks = ordered(
    timed(RunicornCallback(), "runicorn", "on_log"), timed(TensorBoardCallback(), "TensorBoardCallback", "on_log")
)
settings = TrainingArguments(
    "out", max_steps=steps, logging_steps=1, use_cpu=True, save_strategy="no", disable_tqdm=True, report_to="none",
    per_device_train_batch_size=1,
)
trainer = Trainer(model, settings, train_dataset=data, callbacks=callbacks)
trainer.remove_callback(PrinterCallback)
trainer.train()
"""

KERAS = """
import keras, numpy as np
from runicorn.integrations.keras import RunicornCallback

model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
model.compile(optimizer="sgd", loss="mse", metrics=["mae"])
epochs = max(2, steps // 10)
callbacks = ordered(
    timed(RunicornCallback(batches=True), "runicorn", "on_train_batch_end"),
    timed(RunicornCallback(), "runicorn, epochs", "on_epoch_end"),
    timed(keras.callbacks.CSVLogger("epochs.csv"), "CSVLogger, epochs", "on_epoch_end"),
)
model.fit(np.ones((10, 2)), np.ones((10, 1)), batch_size=1, epochs=epochs, verbose=0, callbacks=callbacks)
"""

FRAMEWORKS = {
    "Lightning": ("pytorch_lightning", LIGHTNING),
    "Transformers": ("transformers", TRANSFORMERS),
    "Keras": ("keras", KERAS),
}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train with each framework in turn, several times."""
    steps, rounds = (20, 1) if arguments.quick else (1000, 4)
    found: dict[str, Any] = {name: {} for name in FRAMEWORKS}
    for number in range(rounds):
        for name, (_, program) in FRAMEWORKS.items():
            for who, samples in train(program, steps, ours_first=number % 2 == 0).items():
                found[name].setdefault(who, []).append(samples)
    return {"steps": steps, "rounds": rounds, "versions": versions(), "frameworks": summed_up(found)}


def train(program: str, steps: int, *, ours_first: bool) -> dict[str, list[int]]:
    """The cost of each call in nanoseconds, by logger.

    Raises:
        RuntimeError: the training failed, as it does if the framework is not installed.
    """
    order = "ours first" if ours_first else "ours last"
    source = f"{PRELUDE}{program}\njson.dump(costs, open('costs.json', 'w'))"
    with tempfile.TemporaryDirectory(prefix="runicorn-bench-") as place:
        done = subprocess.run(
            [sys.executable, "-c", source, str(steps), order],
            cwd=place,
            env={**os.environ, "RUNICORN_DIR": f"{place}/runs", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
            | {"KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "torch"), "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        with open(f"{place}/costs.json", encoding="utf-8") as file:
            costs: dict[str, list[int]] = json.load(file)
    return costs


def versions() -> dict[str, str]:
    """Of the frameworks."""
    from importlib import metadata

    return {name: metadata.version(package) for name, (package, _) in FRAMEWORKS.items()}


def summed_up(found: dict[str, Any]) -> dict[str, Any]:
    """Percentiles over all rounds, without the first call of each, which opens files; and the means of the rounds."""
    return {
        name: {
            who: {
                **harness.spread_us([cost for samples in rounds for cost in samples[1:]]),
                "means_us": [sum(samples[1:]) / len(samples[1:]) / harness.NS_PER_US for samples in rounds],
            }
            for who, rounds in loggers.items()
        }
        for name, loggers in found.items()
    }


def tabulate(figures: dict[str, Any]) -> list[harness.Table]:
    """One table: a row for each logger."""
    rows = [
        _row(f"{name} {figures['versions'][name]}: {who}", cost, is_ours=who.startswith(OURS))
        for name, loggers in figures["frameworks"].items()
        for who, cost in loggers.items()
    ]
    return [
        harness.Table(
            "Cost of a step's log call",
            ["logger", "p50 us", "p99 us", "mean us", "means of the rounds", "target"],
            rows,
            f"{figures['rounds']} rounds of {figures['steps']:,} steps; the first call of a training is not counted. "
            "Lightning and Keras log four and two values, Transformers what it logs itself.",
        )
    ]


def _row(label: str, cost: dict[str, Any], *, is_ours: bool) -> list[str]:
    target = f"mean < {TARGET_US:.0f} {harness.verdict(cost['mean_us'], TARGET_US)}" if is_ours else ""
    bounds = f"{min(cost['means_us']):.1f} to {max(cost['means_us']):.1f}"
    return [label, f"{cost['p50_us']:.1f}", f"{cost['p99_us']:.1f}", f"{cost['mean_us']:.1f}", bounds, target]


if __name__ == "__main__":
    harness.Bench(__doc__.splitlines()[0], measure, tabulate).main()
