"""``runicorn demo``: train a small language model, and show what tracking it costs."""

from __future__ import annotations

import json
import math
import os
import random
import shlex
import statistics
import sys
import time
from array import array
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import runicorn as rn
from runicorn.commands import demo_model, plain_plot
from runicorn.commands.demo_model import PEAK_RATE
from runicorn.commands.drawn_curves import Bounds
from runicorn.sampling.machine_insight import sentences
from runicorn.storage import run_files
from runicorn.storage.wording import counted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

BATCH = 16
EVALUATE_EVERY = 50
"""Steps from one evaluation to the next; the first and the last step are evaluated as well."""
EVALUATION_WINDOWS = 256
NOTES = 4
"""How often in the given time a sample of the model's writing goes to the log and the terminal."""
SAMPLE = 160
RECENT = 50
"""Steps over which the training loss is averaged where one figure is shown."""

HELP = "train a small language model for ten seconds, and log every step"

PLOT_WIDTH = 72
PLOT_HEIGHT = 12

FINISHED, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where, how long, from which seed, and how fast it learns."""
    parser.add_argument("--storage", help="storage root (default: RUNICORN_DIR, your configuration, ./.runicorn)")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to train (default: 10)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the model and of the order of the data (default: 0)"
    )
    parser.add_argument("--lr", type=float, default=PEAK_RATE, help=f"highest learning rate (default: {PEAK_RATE})")


def run(options: argparse.Namespace) -> int:
    """Train a small language model on the standard library's sources, track it, and report.

    Returns:
        The exit code: 0, or 130 after Ctrl-C (the run is then `interrupted`). Where nothing could
        be recorded: 2 for a wrong argument, else 1.
    """
    seconds: float = options.seconds
    if not 0 < seconds < math.inf:
        return _give_up(f"--seconds {seconds} is not a training time. Write for example --seconds 10", MISUSED)
    rate: float = options.lr
    if not 0 < rate < math.inf:
        return _give_up(f"--lr {rate} is not a learning rate. Write for example --lr {PEAK_RATE}", MISUSED)
    try:
        return _train_and_report(options.storage, seconds, options.seed, rate)
    except KeyboardInterrupt:  # not in the training, which ends in a report
        print("runicorn demo: interrupted. What was logged before is stored.", file=sys.stderr)
        return INTERRUPTED


def _train_and_report(storage: str | None, seconds: float, seed: int, peak_rate: float) -> int:
    alias = f"seed-{seed}" if peak_rate == PEAK_RATE else f"seed-{seed}-lr-{peak_rate:g}"
    try:
        session = DemoTraining(demo_model.read_standard_library(), seconds=seconds, seed=seed, peak_rate=peak_rate)
        run = rn.init(path="demo/charlm", storage=storage, alias=alias)
    except (OSError, ValueError) as error:
        return _give_up(str(error), FAILED)
    if isinstance(run, rn.NoOpRun):
        return _give_up("tracking is switched off. Unset RUNICORN_ON", FAILED)
    code = FINISHED
    try:
        with run:
            print(f"Training for {seconds:g} s on Python's standard library; Ctrl-C ends it early.")
            session.train(run)
    except KeyboardInterrupt:
        code = INTERRUPTED
    report(run.run_dir, session)
    print(f"\nOpen it in the browser:\n  {viewer_command(run)}")
    return code


def viewer_command(run: rn.Run) -> str:
    """The line that opens a run in the viewer, for a person who has just made it."""
    storage = shlex.quote(os.path.abspath(run.storage_root))
    installed = find_spec("starlette") and find_spec("uvicorn")
    install = "" if installed else "pip install 'runicorn[viewer]' && "
    return f"{install}runicorn viewer --storage {storage} --run {run.id} --open"


class DemoTraining:
    """One training job; what it has seen is there for the report, however it ends."""

    def __init__(self, text: demo_model.TrainingText, *, seconds: float, seed: int, peak_rate: float) -> None:
        self.train_loss = array("d")
        """Of each step, the first step first."""
        self.val_loss: list[tuple[int, float]] = []
        """Step and loss of each evaluation."""
        self.log_ns = array("q")
        """What each call of `run.log()` took, in nanoseconds."""
        self.elapsed_s = 0.0
        self._text = text
        self._seconds = seconds
        self._seed = seed
        self._peak_rate = peak_rate
        self._model = demo_model.CharModel(len(text.characters), seed=seed)

    def train(self, run: rn.Run) -> None:
        """Take steps until the time is over; the conclusions are stored even if it is cut short."""
        self._describe(run)
        try:
            self._take_steps(run)
        finally:
            run.summary(self._conclusions())

    def _take_steps(self, run: rn.Run) -> None:
        model, text = self._model, self._text
        draw = random.Random(self._seed)  # noqa: S311 - which text is seen when is no secret
        # The same for every seed: what differs between two runs is then the model, not the question.
        held_out = demo_model.windows(text.held_out, model.window, EVALUATION_WINDOWS, random.Random(0))  # noqa: S311
        begun = time.perf_counter()
        step = notes = 0
        while self.elapsed_s < self._seconds:
            step += 1
            started = time.perf_counter()
            rate = demo_model.learning_rate((started - begun) / self._seconds, peak=self._peak_rate)
            batch = demo_model.windows(text.train, model.window, BATCH, draw)
            loss, gradient = model.loss_and_gradient(batch)
            model.update(gradient, rate)
            ended = time.perf_counter()
            self.elapsed_s = ended - begun
            progress = min(self.elapsed_s / self._seconds, 1.0)
            metrics = {
                "train_loss": loss,
                "lr": rate,
                "grad_norm": demo_model.norm(gradient),
                "tokens_per_s": BATCH / (ended - started),
            }
            if step == 1 or step % EVALUATE_EVERY == 0 or progress == 1.0:
                metrics["val_loss"] = model.loss(held_out)
            self._log(run, metrics, step)
            if int(progress * NOTES) > notes:
                notes = int(progress * NOTES)
                self._note(run, held_out[notes])

    def _log(self, run: rn.Run, metrics: dict[str, float], step: int) -> None:
        started = time.perf_counter_ns()
        run.log(metrics, step=step)
        self.log_ns.append(time.perf_counter_ns() - started)
        self.train_loss.append(metrics["train_loss"])
        if "val_loss" in metrics:
            self.val_loss.append((step, metrics["val_loss"]))

    def _describe(self, run: rn.Run) -> None:
        run.set_primary_metric("val_loss", mode="min")
        run.log_config(
            args={"seconds": self._seconds, "seed": self._seed, "lr": self._peak_rate},
            extra={
                "model": "one hidden layer over one-hot context, Adagrad",
                "parameters": self._model.parameters,
                "context": self._model.context,
                "batch": BATCH,
                "train_characters": len(self._text.train),
                "held_out_characters": len(self._text.held_out),
                "vocabulary": self._text.characters,
            },
        )
        run.log_text(
            f"training begins on {counted(self._text.files, 'file')}, seed {self._seed}, lr {self._peak_rate:g}"
        )

    def _note(self, run: rn.Run, prompt: bytes) -> None:
        step, (_, val_loss) = len(self.train_loss), self.val_loss[-1]
        draw = random.Random(step)  # noqa: S311 - a sample of text is no secret
        written = self._model.continuation(prompt, SAMPLE, draw)
        sample = demo_model.decode(written, self._text.characters)
        line = (
            f"{self.elapsed_s:5.1f} s  step {step:5}  "
            f"train_loss {_mean(self.train_loss[-RECENT:]):.2f}  val_loss {val_loss:.2f}"
        )
        print(f"{line}\n         it writes: {' '.join(sample.split()):.50}", flush=True)
        run.log_text(f"{line}\n{sample}")

    def _conclusions(self) -> dict[str, Any]:
        conclusions: dict[str, Any] = {
            "steps": len(self.train_loss),
            "tokens": BATCH * len(self.train_loss),
            "training_s": round(self.elapsed_s, 3),
        }
        if self.val_loss:
            val_loss = self.val_loss[-1][1]
            conclusions["final_train_loss"] = _mean(self.train_loss[-RECENT:])
            conclusions["final_val_loss"] = val_loss
            conclusions["val_bits_per_character"] = val_loss / math.log(2)
        return conclusions


def report(run_dir: Path, session: DemoTraining) -> None:
    """Print where the run is, what is stored there, and what it took to log it."""
    print(f"\nRun ({_read_json(run_dir / 'status.json').get('status', 'unknown')}):\n  {run_dir}")
    print("\nFinal summary (summary.json):")
    summary = _read_json(run_dir / "summary.json")
    ours = summary.pop("runicorn", {})  # what it has cost is told in seconds, below
    for name, value in summary.items():
        print(f"  {name:24}{value:.4f}" if isinstance(value, float) else f"  {name:24}{value}")
    for sentence in sentences(ours.get(run_files.MACHINE, {})):
        print(f"  {sentence}")
    print(f"\nStored: {counted(_count_lines(run_dir / 'events.jsonl'), 'record')} in events.jsonl")
    if session.log_ns:
        costs = sorted(session.log_ns)
        median_us = statistics.median(costs) / 1e3
        p99_us = costs[int(0.99 * (len(costs) - 1))] / 1e3
        share = sum(costs) / 1e9 / session.elapsed_s
        print(f"log(): median {median_us:.1f} us, p99 {p99_us:.1f} us, {share:.2%} of the time")
        print(f"\n{plot(session.train_loss, session.val_loss)}")


def plot(train: Sequence[float], val: Sequence[tuple[int, float]]) -> str:
    """Draw the loss over the steps in plain ASCII, `PLOT_WIDTH` columns wide.

    Args:
        train: the training loss of each step; at least one.
        val: step and loss of each evaluation.
    """
    columns = PLOT_WIDTH - len(" 0.00 |") - 1
    bins: list[list[float]] = [[] for _ in range(columns)]
    for index, loss in enumerate(train):
        bins[index * columns // len(train)].append(loss)
    # In the middle of its column each: steps are fewer than columns, or more.
    means = [(column + 0.5, _mean(losses)) for column, losses in enumerate(bins) if losses]
    evaluated = [((step - 1) * columns // len(train) + 0.5, loss) for step, loss in val]
    high, low = (bound(loss for _, loss in (*means, *evaluated)) for bound in (max, min))
    bounds = Bounds(0.0, columns, low if low < high else high - 1.0, high)
    rows = plain_plot.canvas([(".", means), ("o", evaluated)], bounds, columns, PLOT_HEIGHT)
    lines = plain_plot.framed(rows, bounds, columns, "{:6.2f}".format)
    legend = f"step 1 to {len(train):,}    . train_loss (mean)    o val_loss"
    return "\n".join([*lines, f"        {legend}"])


def _give_up(message: str, code: int) -> int:
    print(f"runicorn demo: {message.rstrip('.')}. Nothing was recorded.", file=sys.stderr)
    return code


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return content


def _count_lines(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return sum(1 for _ in file)
    except FileNotFoundError:
        return 0
