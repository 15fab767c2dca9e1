"""The demo as a user runs it: a real process, a real training job, real files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest
from support import started_command

import runicorn as rn
from runicorn.cli import main
from runicorn.commands import demo, demo_model

POLL_S = 0.02
DEADLINE_S = 100


def demo_command(storage, seconds):
    """The exit status of the command, called in this process."""
    return main(["demo", "--storage", str(storage), "--seconds", str(seconds)])


def started(storage, *, seconds):
    """Run the demo in a process of its own, which does not outlive the block."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RUNICORN_")}
    return started_command("demo", "--seed", 3, "--storage", storage, "--seconds", seconds, env=environment)


def wait_for_records(process, storage, count):
    """Return once `count` records are stored; fail where the process ends or time is up first."""
    deadline = time.monotonic() + DEADLINE_S
    while sum(path.read_bytes().count(b"\n") for path in storage.rglob("events.jsonl")) < count:
        assert time.monotonic() < deadline, f"no {count} records within {DEADLINE_S} s"
        try:
            process.wait(timeout=POLL_S)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail(f"the demo ended early with {process.returncode}: {process.communicate()}")


def the_run(storage):
    (run_dir,) = (path.parent for path in storage.rglob("status.json"))
    return run_dir


def contents(run_dir):
    lines = (run_dir / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["data"] for line in lines]


def content_of(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the run directory and the output of a demo of one second that ran to its end."""
    storage = tmp_path_factory.mktemp("finished")
    with started(storage, seconds=1) as process:
        output, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, errors
    return the_run(storage), output


def test_every_step_is_stored_once_with_its_metrics(finished):
    """The steps are 1, 2, 3, ... without a gap, each with its four training metrics."""
    records = contents(finished[0])

    assert [record["global_step"] for record in records] == list(range(1, len(records) + 1))
    for record in records:
        assert {"train_loss", "lr", "grad_norm", "tokens_per_s"} <= record.keys()


def test_val_loss_is_on_the_axis_of_the_training_steps_and_falls(finished):
    """Validation belongs to the step just done: the first, every fiftieth, and the last."""
    records = contents(finished[0])
    val_loss = {r["global_step"]: r["val_loss"] for r in records if "val_loss" in r}

    last = len(records)
    assert set(val_loss) == {1, last, *range(50, last + 1, 50)}
    assert val_loss[last] < val_loss[1]


def test_run_is_finished_and_its_best_val_loss_is_in_the_summary(finished):
    """The run ends as `finished`, with the least validation loss as its best metric."""
    run_dir, _ = finished
    records = contents(run_dir)
    summary = content_of(run_dir / "summary.json")

    assert content_of(run_dir / "status.json")["status"] == "finished"
    assert summary["best_metric_name"] == "val_loss"
    assert summary["best_metric_mode"] == "min"
    assert summary["best_metric_value"] == min(r["val_loss"] for r in records if "val_loss" in r)
    assert summary["steps"] == len(records)
    assert summary["final_val_loss"] == records[-1]["val_loss"]


def test_settings_and_notes_are_stored(finished):
    """The arguments are in the run's config, and its log shows how the training went."""
    run_dir, _ = finished
    log = (run_dir / "logs.txt").read_text(encoding="utf-8")

    assert content_of(run_dir / "assets.json")["config"]["args"] == {"seconds": 1.0, "seed": 3, "lr": 0.2}
    assert "training begins" in log
    assert "val_loss" in log


def test_report_names_the_run_the_records_and_the_cost(finished):
    """The output ends with where the run is, what is stored, what log() cost, the curve, and the line that opens it."""
    run_dir, output = finished

    assert str(run_dir) in output
    assert f"{len(contents(run_dir)):,} records" in output
    assert "final_val_loss" in output
    assert "log(): median" in output
    assert ". train_loss (mean)    o val_loss" in output
    *lines, last = output.splitlines()
    assert max(len(line) for line in lines if str(run_dir) not in line) <= 72
    assert last.strip().endswith(f"runicorn viewer --storage {run_dir.parents[3]} --run {run_dir.name} --open")


def test_interrupted_demo_keeps_what_it_logged(tmp_path):
    """Ctrl-C ends the run as `interrupted`, with every step stored, a report, and exit code 130."""
    with started(tmp_path, seconds=600) as process:
        wait_for_records(process, tmp_path, count=5)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=DEADLINE_S)

    run_dir = the_run(tmp_path)
    steps = [record["global_step"] for record in contents(run_dir)]
    assert process.returncode == 130, errors
    assert content_of(run_dir / "status.json")["status"] == "interrupted"
    assert steps == list(range(1, len(steps) + 1))
    # The signal may fall between a log() and the line that counts it.
    assert content_of(run_dir / "summary.json")["steps"] in {len(steps), len(steps) - 1}
    assert "Run (interrupted)" in output
    assert str(run_dir) in output
    assert f"{len(steps):,} records" in output


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_wrong_training_time_is_refused_before_anything_is_made(seconds, tmp_path, capsys):
    """A training time that is none exits with 2, says what to write, and leaves nothing behind."""
    assert demo_command(tmp_path, seconds) == 2

    assert "--seconds 10. Nothing was recorded." in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_learning_rate_of_the_option_is_that_of_the_training(tmp_path):
    """With ``--lr`` the run learns at that rate, says so in its config, and has it in its alias."""
    assert main(["demo", "--storage", str(tmp_path), "--seconds", "0.4", "--lr", "0.05"]) == 0

    run_dir = the_run(tmp_path)
    assert content_of(run_dir / "assets.json")["config"]["args"]["lr"] == 0.05
    assert 0 < max(record["lr"] for record in contents(run_dir)) <= 0.05
    assert content_of(run_dir / "meta.json")["alias"] == "seed-0-lr-0.05"


def test_each_seed_is_evaluated_on_the_same_text(monkeypatch):
    """Runs of several seeds can be compared: their validation loss is that of the same pieces of text."""
    asked = {0: set(), 1: set()}
    text = demo_model.read_standard_library()
    with rn.enabled(False), rn.init() as run:
        for seed, pieces in asked.items():
            evaluate = lambda _model, batch, pieces=pieces: pieces.add(tuple(batch)) or 1.0  # noqa: E731 - one a seed
            monkeypatch.setattr(demo_model.CharModel, "loss", evaluate)
            demo.DemoTraining(text, seconds=0.05, seed=seed, peak_rate=0.2).train(run)

    assert len(asked[0]) == 1
    assert asked[0] == asked[1]


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf"])
def test_wrong_learning_rate_is_refused_before_anything_is_made(rate, tmp_path, capsys):
    """A learning rate that is none exits with 2, says what to write, and leaves nothing behind."""
    assert main(["demo", "--storage", str(tmp_path), f"--lr={rate}"]) == 2

    assert "--lr 0.2. Nothing was recorded." in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_unusable_storage_is_named(tmp_path, capsys):
    """Where no run can be made, the demo exits with 1 and names the path."""
    occupied = tmp_path / "occupied"
    occupied.write_text("a file")

    assert demo_command(occupied, 1) == 1

    message = capsys.readouterr().err
    assert str(occupied) in message
    assert "Nothing was recorded." in message


def test_demo_says_that_tracking_is_switched_off(tmp_path, capsys):
    """A demo without a run has nothing to show: it exits with 1 and names the switch."""
    with rn.enabled(False):
        assert demo_command(tmp_path, 1) == 1

    assert "Unset RUNICORN_ON. Nothing was recorded." in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_interrupt_before_the_training_ends_without_a_traceback(tmp_path, capsys, monkeypatch):
    """Ctrl-C while the text is read exits with 130 and leaves nothing behind."""

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(demo_model, "read_standard_library", interrupted)

    assert demo_command(tmp_path, 1) == 130

    assert "interrupted" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("steps", [1, 7, 5000])
def test_plot_fits_the_terminal(steps):
    """Few or many steps, the curve is twelve rows in plain ASCII, at most 72 columns wide."""
    train = [4.0 - 3.0 * step / steps for step in range(steps)]

    drawing = demo.plot(train, [(1, 4.0), (steps, train[-1])]).splitlines()

    assert len(drawing) == demo.PLOT_HEIGHT + 2
    assert max(map(len, drawing)) <= demo.PLOT_WIDTH
    assert "".join(drawing).isascii()
    assert drawing[0].startswith("  4.00 |o")
