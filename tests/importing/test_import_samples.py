"""What trackers have written themselves, imported, equals what their own readers return: bit for bit."""

import csv
import json
import math
import shutil
import sys
from pathlib import Path

import pytest
from imported_values import SAMPLES, comparable, content_of, expected_of, json_of, lines_of, load, points_of

import runicorn

FORMATS = ["tensorboard", "wandb", "mlflow", "trackio"]


def by_name(outcomes):
    return {json_of(each.run_dir, "meta.json")["alias"]: each for each in outcomes}


def test_scalars_of_event_files_are_those_of_tensorboard(storage):
    """Values, steps, times, order and duplicates of every tag, in each coat that a scalar has."""
    runs = by_name(load("tensorboard", SAMPLES / "tensorboard", storage=storage))
    expected = expected_of("tensorboard")["scalars"]
    for name in ("coats", "restart", "torn"):
        wanted = {tag: [(at, step, eval(value)) for at, step, value in each] for tag, each in of_run(expected[name])}
        assert comparable(points_of(runs[name].run_dir)) == comparable(wanted)


def of_run(tags):
    return [
        (tag, [[at, step, value.replace("nan", "float('nan')")] for at, step, value in each])
        for tag, each in tags.items()
    ]


def test_what_a_writer_has_put_into_sub_directories_comes_back(storage):
    """Series of ``add_scalars()`` and hyperparameters are the run's own; a reserved name gets a mark."""
    (run,) = load("tensorboard", SAMPLES / "tensorboard" / "full", storage=storage)
    expected = expected_of("tensorboard")["scalars"]
    wanted = dict(expected["full"])
    wanted["step_"] = wanted.pop("step")
    wanted["both/curves/a"] = expected["full/both/curves/a"]["both/curves"]
    wanted["both/curves/b"] = expected["full/both/curves/b"]["both/curves"]
    wanted.update(expected["full/1700000100.5"])
    numbers = {"nan": float("nan"), "inf": float("inf")}
    wanted = {tag: [(at, step, eval(value, numbers)) for at, step, value in each] for tag, each in wanted.items()}
    assert comparable(points_of(run.run_dir)) == comparable(wanted)
    assert json_of(run.run_dir, "assets.json")["config"]["args"] == {"lr": 0.1, "depth": 3, "net": "tiny", "bias": True}
    assert json_of(run.run_dir, "summary.json") == {"hparam/acc": 0.75}
    (image,) = [line for line in lines_of(run.run_dir) if line["type"] == "image"]
    assert (image["data"]["key"], image["data"]["step"]) == ("dot", 6)
    assert (runicorn.load(run.run_dir).images[0].path).endswith(".png")
    logs = Path(run.run_dir, "logs.txt").read_text("utf-8")
    assert "note [step 4]: first line\n" in logs
    assert "second ñ" in logs
    assert run.left_out == {"histograms": 1}


def test_a_restart_of_tensorboard_supersedes_and_nothing_is_dropped(storage):
    """The file has both values of a step; the reader returns the later one, as TensorBoard does."""
    (run,) = load("tensorboard", SAMPLES / "tensorboard" / "restart", storage=storage)
    assert len(points_of(run.run_dir)["loss"]) == 9
    loss = runicorn.load(run.run_dir)["loss"]
    assert list(zip(loss.step, loss.value, strict=True)) == [(0, 0), (1, 1), (2, 2), (3, 30), (4, 40), (5, 50)]


def test_rows_of_wandb_are_those_of_its_own_classes(storage):
    """Every key of every row that holds one value, of a run that ended and of one that was killed."""
    outcomes = load("wandb", SAMPLES / "wandb", storage=storage)
    rows = expected_of("wandb")["rows"]
    for outcome in outcomes:
        wanted = {}
        for row in rows[outcome.source.split("/")[-2]]:
            given = {name: json.loads(text) for name, text in row.items()}
            at = given.pop("_timestamp"), given.pop("_step")
            given.pop("_runtime")
            for name, value in given.items():
                if not isinstance(value, list) and not name.startswith("picture"):
                    wanted.setdefault(name, []).append((*at, value))
        found = {name: each for name, each in points_of(outcome.run_dir).items() if not name.startswith("picture")}
        assert comparable(found) == comparable(wanted)


def test_a_run_of_wandb_brings_what_is_known_of_it(storage):
    """Labels, configuration without secrets, summary, the best value, the end, the image as it was recorded."""
    runs = by_name(load("wandb", SAMPLES / "wandb", storage=storage))
    full, killed = runs["first λ"], runs["killed01"]
    meta, status = json_of(full.run_dir, "meta.json"), json_of(full.run_dir, "status.json")
    assert (meta["tags"], meta["notes"], meta["group"]) == (["a", "b c"], "two\nlines", "sweep")
    assert status["status"] == "finished"
    assets = json_of(full.run_dir, "assets.json")
    assert assets["config"]["args"] == {"lr": 0.1, "net": {"depth": 3}, "later": "yes", "api_key": "***"}
    assert assets["imported"]["other"] == {"job_type": "train", "project": "größe", "run_id": "abc12345"}
    summary = json_of(full.run_dir, "summary.json")
    assert (summary["best_metric_value"], summary["best_metric_step"], summary["best"]) == (0.75, 1, 0.75)
    (image,) = [line["data"] for line in lines_of(full.run_dir) if line["type"] == "image"]
    assert (image["key"], image["step"], image["caption"]) == ("picture", 8, "a dot")
    assert full.left_out == {"lists among the values": 1}
    assert json_of(killed.run_dir, "status.json")["status"] == "failed"
    assert "not whole" in killed.problems[0]


def test_metrics_of_mlflow_are_those_of_its_client(storage):
    """Of a file store and of a database; the largest float, its client's word for infinity, is infinity again."""
    made = expected_of("mlflow")
    numbers = {"nan": float("nan"), "inf": float("inf")}
    for source, kind in (("mlruns", "files"), ("mlflow.db", "database")):
        runs = by_name(load("mlflow", SAMPLES / "mlflow" / source, storage=storage / kind))
        assert runs.keys() == made[kind].keys()
        for name, run in runs.items():
            wanted = {
                key: [(at / 1000, step, infinite(eval(value, numbers))) for at, step, value in each]
                for key, each in made[kind][name].items()
                if not key.startswith("system/")
            }
            found = points_of(run.run_dir)
            # Its client sorts; the order of the lines is that of the calls.
            assert {key: sorted(each) for key, each in comparable(found).items()} == {
                key: sorted(each) for key, each in comparable(wanted).items()
            }


def infinite(value):
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value


def test_a_run_of_mlflow_brings_what_is_known_of_it(storage):
    """Parameters as what they were, the parent by its id here, times, status and notes."""
    runs = by_name(load("mlflow", SAMPLES / "mlflow" / "mlruns", storage=storage))
    child, still = runs["child"], runs["still running"]
    meta, status = json_of(child.run_dir, "meta.json"), json_of(child.run_dir, "status.json")
    assert (meta["parent"], meta["notes"]) == (runs["parent run"].run, "two\nlines")
    assert (status["status"], status["started_at"], status["ended_at"]) == (
        "failed",
        1_700_000_000.25,
        1_700_000_050.25,
    )
    assert json_of(child.run_dir, "assets.json")["config"]["args"] == {
        "lr": 0.1,
        "layers": [1, 2],
        "net": {"depth": 3},
        "word": "größe",
        "api_key": "***",
    }
    assert json_of(still.run_dir, "status.json")["exit_reason"] == "mlflow says RUNNING: it has not stored an end"


def test_metrics_of_trackio_are_those_of_its_storage(storage):
    """Of both runs of a project; NaN and the infinities, which it stores as words, are numbers again."""
    runs = by_name(load("trackio", SAMPLES / "trackio", storage=storage))
    words = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
    logs = expected_of("trackio")["logs"]
    for name, run in runs.items():
        wanted = {}
        for row in logs[name]:
            for key, value in row.items():
                if key in {"timestamp", "step", "picture", "many"}:
                    continue
                metric, number = ("nested/a/b", value["a"]["b"]) if key == "nested" else (key, value)
                wanted.setdefault(metric, []).append((row["step"], words.get(str(number), number)))
        found = {key: [(step, value) for _, step, value in each] for key, each in points_of(run.run_dir).items()}
        same = {key: [(0, *each) for each in points] for key, points in found.items()}
        assert comparable({k: sorted_by_step(v) for k, v in same.items()}) == comparable(
            {key: sorted_by_step([(0, *each) for each in points]) for key, points in wanted.items()}
        )
        assert run.images == 1
        meta = json_of(run.run_dir, "meta.json")
        assert (meta["group"], json_of(run.run_dir, "assets.json")["config"]["args"]["net"]) == ("sweep", {"depth": 3})


def sorted_by_step(points):
    return sorted(points, key=lambda each: each[1])


def rows_of(form):
    """Step and values of each row of a framework's table, read by the standard library alone."""
    (*_, path) = sorted(path for path in (SAMPLES / "frameworks" / form).rglob("*") if path.is_file())
    if path.suffix == ".json":
        return [(row.pop("step"), row) for row in json.loads(path.read_text("utf-8"))["log_history"]]
    column = "step" if form == "lightning" else "epoch"
    with path.open(newline="", encoding="utf-8") as file:
        rows = [{name: float(text) for name, text in row.items() if text} for row in csv.DictReader(file)]
    return [(int(row.pop("step") if column == "step" else row["epoch"]), row) for row in rows]


@pytest.mark.parametrize("form", ["lightning", "transformers", "ultralytics", "timm"])
@pytest.mark.parametrize("named", [True, False])
def test_tables_of_frameworks_are_what_these_have_written(form, named, storage):
    """Each value is at its step, if the format is named, and if it is found by the file."""
    (run,) = load(form if named else "auto", SAMPLES / "frameworks" / form, storage=storage)
    assert (run.format, run.left_out, run.problems) == (form, {}, [])
    wanted = {}
    for step, row in rows_of(form):
        for name, value in row.items():
            wanted.setdefault("time_" if name == "time" else name, []).append((0, step, float(value)))
    found = {
        name: [(0, step, float(value)) for _, step, value in each] for name, each in points_of(run.run_dir).items()
    }
    assert comparable(found) == comparable(wanted)
    assert len(wanted) > 3


@pytest.mark.parametrize("form", FORMATS)
def test_a_second_import_changes_nothing(form, storage):
    """Not one byte of the storage, whether the format is named or found."""
    first = load(form, SAMPLES / form, storage=storage)
    before = content_of(storage)
    for again in (form, "auto"):
        outcomes = load(again, SAMPLES / form, storage=storage, update=True)
        assert [each.state for each in outcomes] == ["unchanged"] * len(first)
        assert content_of(storage) == before


@pytest.mark.parametrize("form", FORMATS)
def test_the_source_is_only_read(form, storage, tmp_path):
    """No file of it is changed, made or removed, also if nothing of it may be written."""
    source = tmp_path / "source"
    shutil.copytree(SAMPLES / form, source)
    before = content_of(source)
    load(form, source, storage=storage)
    assert content_of(source) == before


@pytest.mark.parametrize("form", FORMATS)
def test_a_source_that_was_moved_is_the_same_one(form, storage, tmp_path):
    """What was imported from one place is not imported again from another."""
    load(form, SAMPLES / form, storage=storage)
    source = tmp_path / "elsewhere"
    shutil.copytree(SAMPLES / form, source)
    assert {each.state for each in load(form, source, storage=storage)} == {"unchanged"}


@pytest.mark.parametrize("form", FORMATS)
def test_a_dry_run_counts_the_same_and_writes_nothing(form, storage):
    """The counts are those of the import itself."""
    counted = load(form, SAMPLES / form, storage=storage, dry_run=True)
    assert not storage.exists()
    done = load(form, SAMPLES / form, storage=storage)
    assert [(each.points, each.metrics, each.images, each.left_out) for each in counted] == [
        (each.points, each.metrics, each.images, each.left_out) for each in done
    ]


@pytest.mark.parametrize("form", FORMATS)
def test_imported_runs_can_be_read_without_a_problem(form, storage):
    """The package's own reader takes every file of them."""
    for outcome in load(form, SAMPLES / form, storage=storage):
        run = runicorn.load(outcome.run_dir)
        assert run.problems == []
        assert sorted(run.metrics) == sorted(outcome.metrics)
        assert run.info.damaged == []
