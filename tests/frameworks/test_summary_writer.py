"""``SummaryWriter``: one script, with TensorBoard's writers and with ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support import content, events, status, summary, text_of, warnings_in
from support.installed import needed

import runicorn as rn
from runicorn.integrations import _run
from runicorn.integrations.tensorboard import SummaryWriter

pytestmark = [pytest.mark.timeout(240), pytest.mark.filterwarnings("default")]


def write(writer):
    for step in range(5):
        writer.add_scalar("train/loss", torch.tensor(1.0 / (step + 1)), step)
        writer.add_scalar("lr", 0.5**step, global_step=step, walltime=1000.0 + step)
    writer.add_scalar("once", np.float32(2.5))
    writer.add_scalar("gap", float("nan"), 3)
    writer.add_text("note", "a line", 2)
    writer.add_histogram("weights", np.arange(10.0), 1)
    writer.add_image("image", np.zeros((3, 4, 6), "uint8"), 1)
    writer.add_images("images", torch.zeros(2, 3, 4, 6), 1)
    writer.flush()


def scalars_of_events(directory):
    """Tag, step and value, as TensorBoard reads them."""
    loader = needed("tensorboard.backend.event_processing.event_accumulator").EventAccumulator(str(directory))
    loader.Reload()
    from tensorboard.util import tensor_util

    found = {(tag, each.step, str(each.value)) for tag in loader.Tags()["scalars"] for each in loader.Scalars(tag)}
    for tag in loader.Tags()["tensors"]:
        if "text" not in tag:
            found |= {
                (tag, each.step, str(tensor_util.make_ndarray(each.tensor_proto).item()))
                for each in loader.Tensors(tag)
            }
    return found


def scalars_of_run(run):
    found = set()
    for line in events(run):
        if "global_step" not in line["data"]:  # an image
            continue
        data = {name: value for name, value in line["data"].items() if name not in {"global_step", "time"}}
        data.update({name: float(text) for name, text in line.get("nonfinite", {}).items()})
        found |= {(name, line["data"]["global_step"], str(float(value))) for name, value in data.items()}
    return found


@pytest.mark.parametrize("package", ["torch.utils.tensorboard", "tensorboardX"])
def test_the_same_script_gives_the_same_scalars(package, storage, tmp_path):
    """Names, steps and values; a call without a step has step 0."""
    theirs = needed(package).SummaryWriter(str(tmp_path / "theirs"))
    with theirs:
        write(theirs)
    with SummaryWriter("runs/exp 1", "", None, 10, flush_secs=30) as ours:
        write(ours)
    (run,) = rn.runs(storage=str(storage))
    assert (run.path, run.status) == ("runs/exp-1", "finished")
    assert scalars_of_run(run.run_dir) == scalars_of_events(tmp_path / "theirs")


def test_texts_images_and_hyperparameters_are_kept(storage):
    """And the time of a point, if it is given."""
    with SummaryWriter(comment="first") as writer:
        write(writer)
        writer.add_scalars("group", {"a": 1.0, "b": 2.0}, 7)
        writer.add_hparams({"lr": 0.1}, {"best": 0.9})
    (run,) = rn.runs(storage=str(storage))
    assert run.alias == "first"
    assert "note [step 2]: a line" in text_of(run.run_dir)
    assert {line["data"].get("group/a") for line in events(run.run_dir)} == {None, 1.0}
    assert next(line for line in events(run.run_dir) if "lr" in line["data"])["data"]["time"] == 1000.0
    assert content(run.run_dir, "assets.json")["config"]["args"] == {"lr": 0.1}
    assert summary(run.run_dir)["best"] == 0.9
    assert len(list(Path(run.run_dir, "media").iterdir())) == 3


def test_what_is_not_kept_is_told_once_and_counted(storage, caplog, monkeypatch):
    """Histograms, graphs, and methods that nobody has heard of."""
    monkeypatch.setattr(_run, "_told", set())
    with SummaryWriter() as writer:
        for step in range(3):
            writer.add_histogram("weights", np.arange(3.0), step)
        writer.add_graph(torch.nn.Linear(1, 1))
        with pytest.raises(AttributeError):
            writer.no_such_method()
    (run,) = rn.runs(storage=str(storage))
    assert summary(run.run_dir)["tensorboard_not_stored"] == {"add_histogram": 3, "add_graph": 1}
    assert ["add_histogram" in told for told in warnings_in(caplog)] == [True, False]


def test_a_figure_is_an_image(storage):
    """Which is closed then."""
    pyplot = needed("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    figure = pyplot.figure()
    with SummaryWriter() as writer:
        writer.add_figure("figure", figure, 1)
    (run,) = rn.runs(storage=str(storage))
    assert len(list(Path(run.run_dir, "media").iterdir())) == 1
    assert not pyplot.get_fignums()


def test_writing_after_close_goes_on_in_the_same_run(storage):
    """As TensorBoard's writer opens its file again."""
    writer = SummaryWriter("runs/one")
    writer.add_scalar("a", 1, 1)
    writer.close()
    writer.add_scalar("a", 2, 2)
    writer.close()
    (run,) = rn.runs(storage=str(storage))
    assert run.status == "finished"
    assert [line["data"]["a"] for line in events(run.run_dir)] == [1, 2]


@pytest.mark.parametrize(
    ("error", "expected"),
    [(ValueError("x"), ("failed", "ValueError: x")), (KeyboardInterrupt(), ("interrupted", "KeyboardInterrupt"))],
    ids=["exception", "Ctrl-C"],
)
def test_with_that_an_exception_leaves_gives_its_reason(storage, error, expected):
    """The run is the writer's own."""
    with pytest.raises(type(error)), SummaryWriter():
        raise error
    (run,) = rn.runs(storage=str(storage))
    stored = status(run.run_dir)
    assert (stored["status"], stored["exit_reason"]) == expected


def test_a_run_of_the_program_stays_open(open_run):
    """The writer uses it; its directory is the program's to write into."""
    run = open_run(path="own")
    with SummaryWriter("runs/one") as writer:
        writer.add_scalar("a", 1, 1)
        assert writer.log_dir == writer.get_logdir() == str(run.run_dir)
    assert not run.is_finished
