"""Our import reads the offline runs of wandb that we write; in ``tests/peers``, wandb itself reads one."""

import io
import json
import math
from pathlib import Path

import pytest
from support.mlflow_export import PNG, POINTS, make_run

import runicorn
from runicorn import exporting
from runicorn.cli import main
from runicorn.exporting.selection import Selection
from runicorn.exporting.wandb_frames import WandbFile
from runicorn.importing import import_runs, log_blocks
from runicorn.importing.protobuf_wire import fields
from runicorn.importing.source_runs import Told


def export(run_dirs, target, selection=None):
    loaded = [runicorn.load(str(each)) for each in run_dirs]
    return exporting.export_together(loaded, selection or Selection(), exporting.WANDB, str(target))


def back(target, storage):
    return [runicorn.load(each.run_dir) for each in import_runs("wandb", [str(target)], storage=str(storage))]


def points_of(run):
    columns = [run[name] for name in run.metrics]
    return {each.name: list(zip(each.step, each.time, map(repr, each.value), strict=True)) for each in columns}


def run_of(storage, *lines, **status):
    """A run with these lines of events."""
    run_dir = storage / "runs" / "cv" / "20260101_000000_aaaaaa"
    run_dir.mkdir(parents=True)
    (run_dir / "meta.json").write_text(json.dumps({"id": run_dir.name, "path": "cv", "created_at": 1000.5}))
    (run_dir / "status.json").write_text(json.dumps({"status": "finished", "started_at": 1000.5, **status}))
    (run_dir / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run_dir


def row(step, **values):
    return {"ts": 1001.0, "type": "metrics", "data": {**values, "global_step": step, "time": 1001.0}}


def test_a_run_comes_back_as_it_was_logged(tmp_path):
    """An exported run is imported with its values, steps, times, labels, configuration, summary, end and image."""
    ((path, rows, _, notes),) = export([make_run(tmp_path / "storage")], tmp_path / "wandb")
    (run,) = back(tmp_path / "wandb", tmp_path / "back")
    wanted = {}
    for name, points in POINTS.items():
        for at_ms, step, value in points:
            wanted.setdefault(name, {})[step] = (step, at_ms / 1000, repr(value))
    found = points_of(run)
    assert found["train/loss"][:-1] == [*(wanted["train/loss"][step] for step in range(8))]
    assert found["train/loss"][-1] == (9, 1.0, "'text'")
    assert [value for _, _, value in found["loss"]] == [str(2**53 + 1)]
    assert (path, rows) == (str(tmp_path / "wandb"), sum(map(len, found.values())))
    assert (run.info.alias, run.info.tags, run.info.notes) == ("größe λ", ["plain", "team:a b"], "two\nlines")
    assert run.config["args"] == {"lr": 0.1, "net": {"depth": 3}, "word": "größe", "none": None}
    assert run.summary["best"] == 1
    assert (run.info.status, run.info.exit_reason) == ("failed", "exit code 255")
    (image,) = run.images
    assert (image.key, image.step, image.caption) == ("a/dot", 4, "a dot")
    assert Path(run.info.run_dir, image.path).read_bytes() == PNG
    assert notes == [
        "rows of steps below 0 left out, because wandb refuses them: 1",
        "the text of logs.txt and what the machine did left out",
    ]


@pytest.mark.parametrize("first", [*range(32_730, 32_775), 0, 70_000, 100_000])
def test_records_of_any_length_are_cut_into_blocks(first):
    """A record that ends before, at or behind the end of a block is read whole, and so are its neighbours."""
    contents = [b"a" * first, b"", b"b" * 10, b"c" * 40_000, b"d"]
    made, told = io.BytesIO(), Told()
    file = WandbFile(made)
    for content in contents:
        file.add(2, content)
    made.seek(0)
    records = [[*fields(record)] for record in log_blocks.records(made, "run.wandb", told)]
    assert [(number.value, content.data) for number, content in records] == [*enumerate(contents, 1)]
    assert told.problems == []


def test_names_that_wandb_has_for_itself_are_changed_and_told(tmp_path):
    """A name of wandb's own columns is changed, and an image's name that a metric or an image of its step has."""
    image = {"ts": 1.0, "type": "image", "data": {"key": "loss", "path": "media/1_a.png", "step": 5}}
    run_dir = run_of(tmp_path / "s", row(5, loss=math.pi, _step=7, _step_=8, _runtime=True), image, image)
    (run_dir / "media").mkdir()
    (run_dir / "media" / "1_a.png").write_bytes(PNG)
    ((_, rows, _, notes),) = export([run_dir], tmp_path / "wandb")
    (run,) = back(tmp_path / "wandb", tmp_path / "back")
    values = {name: points[0][2] for name, points in points_of(run).items()}
    assert values == {"loss": repr(math.pi), "_step_": "8", "_step__": "7", "_runtime_": "True"}
    assert sorted(image.key for image in run.images) == ["loss_", "loss__"]
    assert (rows, notes) == (4, ["names changed, because wandb uses them itself, or another value has them: 4"])


def test_images_without_metrics_have_rows_of_their_own(tmp_path):
    """Rows of images are before, between and behind the rows of metrics, in the order of their steps."""
    lines = [
        {"ts": float(step), "type": "image", "data": {"key": "dot", "path": "media/1_a.png", "step": step}}
        for step in (9, 1, 3, -1)
    ]
    gone = {"ts": 1.0, "type": "image", "data": {"key": "dot", "path": "media/gone.png", "step": 1}}
    run_dir = run_of(tmp_path / "s", row(2, a=1), *lines, row(4, a=2), gone)
    (run_dir / "media").mkdir()
    (run_dir / "media" / "1_a.png").write_bytes(PNG)
    ((*_, notes),) = export([run_dir], tmp_path / "wandb")
    (run,) = back(tmp_path / "wandb", tmp_path / "back")
    assert [(image.step, image.time) for image in run.images] == [(1, 1.0), (3, 3.0), (9, 9.0)]
    assert [*run["a"].step] == [2, 4]
    assert sorted(notes) == [
        "images left out because their files are missing: 1",
        "rows of steps below 0 left out, because wandb refuses them: 1",
    ]


def test_an_image_whose_name_ends_in_no_format_is_copied_without_that_end(tmp_path):
    """It may be too long for the name that the copy gets."""
    path = f"media/1_a.{'x' * 240}"
    run_dir = run_of(tmp_path / "s", {"ts": 1.0, "type": "image", "data": {"key": "dot", "path": path, "step": 1}})
    (run_dir / "media").mkdir()
    (run_dir / path).write_bytes(PNG)
    export([run_dir], tmp_path / "wandb")
    (run,) = back(tmp_path / "wandb", tmp_path / "back")
    (image,) = run.images
    assert Path(run.info.run_dir, image.path).read_bytes() == PNG


@pytest.mark.parametrize(
    ("status", "wanted"), [("finished", "finished"), ("failed", "failed"), ("interrupted", "failed")]
)
def test_the_end_of_a_run_is_its_exit_code(status, wanted, tmp_path):
    """The status of a run becomes its exit code, even without metrics."""
    export([run_of(tmp_path / "s", status=status)], tmp_path / "wandb")
    (run,) = back(tmp_path / "wandb", tmp_path / "back")
    assert (run.info.status, run.metrics) == (wanted, [])


@pytest.mark.parametrize("arguments", [["--lines"], ["--ranks", "all"], ["--system"], ["-o", "-"]])
def test_what_wandb_has_no_place_for_is_refused(arguments, tmp_path, capsys):
    """A selection that wandb cannot store is refused before anything is written."""
    run_dir = make_run(tmp_path / "storage")
    target = tmp_path / "wandb"
    command = ["export", str(run_dir), "--storage", str(tmp_path / "storage"), "--format", "wandb", "-o", str(target)]
    assert main([*command, *arguments]) == 2
    assert "wandb" in capsys.readouterr().err
    assert not target.exists()


def test_several_runs_are_in_one_directory(tmp_path):
    """The command puts several runs into one directory; with ``--metrics`` it leaves out images."""
    runs = [make_run(tmp_path / "storage", f"20260101_00000{number}_abcdef") for number in range(2)]
    command = ["export", *map(str, runs), "--storage", str(tmp_path / "storage"), "--metrics", "a_b"]
    assert main([*command, "--format", "wandb", "-o", str(tmp_path / "wandb")]) == 0
    assert len(list((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))) == 2
    assert list((tmp_path / "wandb").rglob("*.png")) == []
    assert main([*command, "--format", "wandb", "-o", str(tmp_path / "wandb")]) == 1
