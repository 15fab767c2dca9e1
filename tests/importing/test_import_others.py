"""SwanLab, sacred, DVCLive and Neptune's exporter; tables of frameworks, and of people."""

import datetime as dt
import json
import math
from decimal import Decimal
from pathlib import Path

import pytest
from imported_values import SAMPLES, comparable, content_of, expected_of, json_of, lines_of, load, points_of

import runicorn
from runicorn.cli import main

NUMBERS = {"nan": math.nan, "inf": math.inf}
PNG = (SAMPLES / "dvclive" / "plots" / "images" / "dot.png").read_bytes()


@pytest.mark.parametrize("form", ["swanlab", "sacred", "dvclive"])
def test_a_second_import_changes_nothing_and_all_can_be_read(form, storage):
    """As of the other formats; and ``auto`` finds these too."""
    for outcome in load(form, SAMPLES / form, storage=storage):
        assert (outcome.state, runicorn.load(outcome.run_dir).problems) == ("imported", [])
    before = content_of(storage)
    assert {(each.format, each.state) for each in load("auto", SAMPLES / form, storage=storage)} == {
        (form, "unchanged")
    }
    assert content_of(storage) == before


def test_scalars_of_swanlab_are_those_of_its_own_classes(storage):
    """Of every key; text goes to ``logs.txt``, the image to its step."""
    (run,) = load("swanlab", SAMPLES / "swanlab", storage=storage)
    wanted = {}
    for key, step, time_s, value in expected_of("swanlab")["scalars"]:
        if key.startswith("__swanlab__."):  # of the machine: test_import_system.py
            continue
        wanted.setdefault(key, []).append((time_s, step, eval(value, dict(NUMBERS))))
    assert comparable(points_of(run.run_dir)) == comparable(wanted)
    logs = Path(run.run_dir, "logs.txt").read_text("utf-8")
    assert "a line of the console" in logs
    assert "note [step 8]: some text ñ" in logs
    (image,) = [line["data"] for line in lines_of(run.run_dir) if line["type"] == "image"]
    assert (image["key"], image["step"], image["caption"]) == ("picture", 9, "a dot")
    meta = json_of(run.run_dir, "meta.json")
    assert (meta["alias"], meta["notes"], meta["tags"], meta["group"]) == ("first λ", "two\nlines", ["a", "b"], "sweep")
    args = json_of(run.run_dir, "assets.json")["config"]["args"]
    assert args == {"api_key": "***", "lr": 0.1, "net": {"depth": 3}}


def test_runs_of_sacred_bring_their_ends_and_traces(storage):
    """Values bit for bit, the result, the console, and why the second one failed."""
    first, second = load("sacred", SAMPLES / "sacred", storage=storage)
    wanted = [eval(value, dict(NUMBERS)) for value in expected_of("sacred")["train/loss"]]
    for run in (first, second):
        found = points_of(run.run_dir)["train/loss"]
        assert comparable({"loss": [(0, 0, value) for _, _, value in found]}) == comparable(
            {"loss": [(0, 0, value) for value in wanted]}
        )
        assert [step for _, step, _ in found] == [0, 1, 2, 3, 4, 5, 6, -1]
    assert json_of(first.run_dir, "summary.json") == {"note": "two\nlines", "result": 0.75}
    assert json_of(second.run_dir, "status.json")["exit_reason"] == "ValueError: on purpose"
    assert "raise ValueError" in Path(second.run_dir, "logs.txt").read_text()


def test_a_folder_of_dvclive_brings_values_settings_and_images(storage):
    """By whole names; a point without a time has that of its file, and the run says so."""
    (run,) = load("dvclive", SAMPLES / "dvclive", storage=storage)
    found = points_of(run.run_dir)
    wanted = [eval(value, dict(NUMBERS)) for value in expected_of("dvclive")["train/loss"]]
    assert comparable({"loss": [(0, 0, value) for _, _, value in found["train/loss"]]}) == comparable(
        {"loss": [(0, 0, value) for value in wanted]}
    )
    ((time_s, step, value),) = found["late"]
    assert (time_s * 1000, step, value) == (pytest.approx(1796008687558, abs=1e9), 3, 7)
    assets = json_of(run.run_dir, "assets.json")
    assert assets["config"]["args"]["net"] == {"depth": 3, "kinds": ["a", "b"]}
    assert "times" in assets["imported"]["other"]
    assert run.images == 1


def neptune_rows(project, run):
    """Attributes as Neptune's exporter writes them: its schema is ``model.py`` of that package."""
    base = {"project_id": project, "run_id": run}
    at = dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc)

    def row(path, kind, **values):
        return {**base, "attribute_path": path, "attribute_type": kind, **values}

    yield row("sys/name", "string", string_value="first λ")
    yield row("sys/creation_time", "datetime", datetime_value=at)
    yield row("sys/tags", "string_set", string_set_value=["a", "b"])
    yield row("sys/failed", "bool", bool_value=True)
    yield row("parameters/lr", "float", float_value=0.1)
    yield row("parameters/net/depth", "int", int_value=3)
    yield row("result", "float", float_value=math.inf)
    for step, value in (("-1", 1.5), ("0.5", math.nan), ("2", -math.inf), ("2", -0.0)):
        moment = at + dt.timedelta(milliseconds=int(float(step) * 10))
        yield row("metrics/loss", "float_series", step=Decimal(step), timestamp=moment, float_value=value)
    yield row("monitoring/stdout", "string_series", step=Decimal(1), timestamp=at, string_value="hello")
    yield row("pictures", "file_series", step=Decimal(4), timestamp=at, file_value={"path": "run/pictures/4.png"})
    yield row("pictures", "file_series", step=Decimal(5), timestamp=at, file_value={"path": "../../../secret.png"})
    yield row("weights", "histogram_series", step=Decimal(1), timestamp=at)
    yield row("model", "file", file_value={"path": "model.pt"})


def test_an_export_of_neptune_is_a_run_for_each_of_its_runs(tmp_path, storage):
    """In several parts; steps with fractions keep them in a metric of their own; files lie beside the data."""
    import pyarrow as pa
    from pyarrow import parquet

    stamp = pa.timestamp("ms", tz="UTC")
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("project_id", "run_id", "attribute_path", "attribute_type")),
            ("step", pa.decimal128(18, 6)), ("timestamp", stamp), ("int_value", pa.int64()),
            ("float_value", pa.float64()), ("string_value", pa.string()), ("bool_value", pa.bool_()),
            ("datetime_value", stamp), ("string_set_value", pa.list_(pa.string())),
            ("file_value", pa.struct([("path", pa.string())])),
        ]
    )  # fmt: skip
    folder = tmp_path / "exports" / "data" / "project"
    folder.mkdir(parents=True)
    rows = list(neptune_rows("team/größe", "RUN-1"))
    for part, some in enumerate((rows[:9], rows[9:])):
        parquet.write_table(pa.Table.from_pylist(some, schema), folder / f"RUN-1_part_{part}.parquet")
    image = tmp_path / "exports" / "files" / "run" / "pictures" / "4.png"
    image.parent.mkdir(parents=True)
    image.write_bytes(PNG)
    (tmp_path / "secret.png").write_bytes(PNG)
    (run,) = load("auto", tmp_path / "exports" / "data", storage=storage)
    assert (run.format, run.images) == ("neptune", 1)
    loss = points_of(run.run_dir)["metrics/loss"]
    start = 1704164645.0
    wanted = [
        (start - 0.01, -1, 1.5),
        (start + 0.005, 0, math.nan),
        (start + 0.02, 2, -math.inf),
        (start + 0.02, 2, -0.0),
    ]
    assert comparable({"loss": loss}) == comparable({"loss": wanted})
    assert [value for _, _, value in points_of(run.run_dir)["step_original"]] == [0.5]
    meta, assets = json_of(run.run_dir, "meta.json"), json_of(run.run_dir, "assets.json")
    assert (meta["alias"], meta["tags"], meta["path"]) == ("first λ", ["a", "b"], "grosse")
    assert assets["config"]["args"] == {"lr": 0.1, "net/depth": 3}
    assert json_of(run.run_dir, "summary.json") == {"result": "Infinity"}
    assert json_of(run.run_dir, "status.json")["status"] == "failed"
    assert run.left_out == {"files of series that are no images, or are not there": 1, "histograms": 1, "files": 1}
    assert load("neptune", folder / "RUN-1_part_1.parquet", storage=storage)[0].state == "unchanged"


def test_what_the_script_for_aim_writes_is_a_run(storage, capsys):
    """Values with their contexts and epochs, and the settings of the run."""
    source = SAMPLES / "aim" / "aim.jsonl"
    options = ["--run", "run", "--config-columns", "experiment,name,params", "--json"]
    assert main(["import", "jsonl", str(source), *options, "--storage", str(storage)]) == 0
    (run,) = json.loads(capsys.readouterr().out)
    found = {name: [(step, value) for _, step, value in each] for name, each in points_of(run["run_dir"]).items()}
    wanted = {"train/loss": list(enumerate([1.5, math.nan, math.inf, -math.inf, 0.1])), "acc": [(7, 0.25)]}
    wanted["epoch"] = [(step, 1.0) for step in range(5)]
    assert comparable({name: [(0, *each) for each in points] for name, points in found.items()}) == comparable(
        {name: [(0, *each) for each in points] for name, points in wanted.items()}
    )
    args = json_of(run["run_dir"], "assets.json")["config"]["args"]
    assert args["params"] == {"hparams": {"lr": 0.1, "net": {"depth": 3}}}


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_blank_cell_is_no_value_and_nan_is_one(tmp_path, storage):
    """A wide table of Lightning, with a row for each logger's call."""
    write(
        tmp_path / "logs" / "version_0" / "metrics.csv",
        "epoch,step,train_loss,val_loss\n0,0,1.5,\n0,1,nan,\n0,1,,inf\n",
    )
    (run,) = load("lightning", tmp_path / "logs", storage=storage)
    found = {name: [(step, value) for _, step, value in each] for name, each in points_of(run.run_dir).items()}
    assert found["train_loss"][0] == (0, 1.5)
    assert math.isnan(found["train_loss"][1][1])
    assert found["val_loss"] == [(1, math.inf)]
    assert found["epoch"] == [(0, 0), (1, 0), (1, 0)]
    assert (json_of(run.run_dir, "meta.json")["alias"], run.path) == ("version_0", "logs")


def test_padded_names_are_those_that_are_meant(tmp_path, storage):
    """Ultralytics pads its columns; timm's file is another one of the kind."""
    write(tmp_path / "a" / "results.csv", "   epoch,   train/box_loss\n  1,  0.5\n  2, 0.25\n")
    write(tmp_path / "b" / "summary.csv", "epoch,train_loss,eval_top1\n0,2.5,10\n")
    (run,) = load("ultralytics", tmp_path, storage=storage)
    assert [(step, value) for _, step, value in points_of(run.run_dir)["train/box_loss"]] == [(1, 0.5), (2, 0.25)]
    (run,) = load("timm", tmp_path, storage=storage)
    assert points_of(run.run_dir).keys() == {"epoch", "train_loss", "eval_top1"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_a_table_of_a_spreadsheet_has_its_numbers_in_each_encoding(encoding, tmp_path, storage):
    """UTF-8 with and without a mark at its begin, and UTF-16 in both orders."""
    begin = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "table.csv").write_bytes(f"{begin}step,\u03bb\n1,0.5\n2,nan\n".encode(encoding))
    (told,) = load("csv", tmp_path / "table.csv", storage=storage)
    assert (told.metrics, told.points, told.problems) == (["\u03bb"], 2, [])


@pytest.mark.parametrize("between", [";", "\t"])
def test_a_table_with_other_characters_between_its_columns_is_refused(between, tmp_path, storage):
    """Its decimal commas would part numbers, and texts would be stored in their place."""
    write(tmp_path / "table.csv", f"step{between}loss\n1{between}0,5\n")
    (told,) = load("csv", tmp_path / "table.csv", storage=storage)
    assert told.state == "failed"
    assert "Write it again with commas" in told.note
    assert list(storage.rglob("meta.json")) == []


def test_a_state_of_transformers_is_a_run(tmp_path, storage):
    """Its history by steps; the rest is in the summary."""
    history = [{"epoch": 0.5, "loss": 2.5, "step": 10}, {"epoch": 1.0, "eval_loss": math.nan, "step": 20}]
    state = {"best_metric": 0.5, "log_history": history, "global_step": 20}
    write(tmp_path / "checkpoint-20" / "trainer_state.json", json.dumps(state))
    (run,) = load("auto", tmp_path, storage=storage)
    assert run.format == "transformers"
    assert [(step, value) for _, step, value in points_of(run.run_dir)["loss"]] == [(10, 2.5)]
    assert json_of(run.run_dir, "summary.json")["best_metric"] == 0.5


def test_the_checkpoints_of_one_training_are_one_run(tmp_path, storage):
    """The last one, by its number, has all of the history; a later one is an update of the same run."""
    for number in (500, 1000):
        history = [{"loss": 1 / step, "step": step} for step in range(100, number + 1, 100)]
        write(tmp_path / "out" / f"checkpoint-{number}" / "trainer_state.json", json.dumps({"log_history": history}))
    (run,) = load("transformers", tmp_path, storage=storage)
    assert (run.points, json_of(run.run_dir, "meta.json")["alias"]) == (10, "out")
    write(tmp_path / "out" / "checkpoint-2000" / "trainer_state.json", '{"log_history": [{"loss": 1, "step": 2000}]}')
    (again,) = load("transformers", tmp_path, storage=storage, update=True)
    assert (again.state, again.run) == ("updated", run.run)


def test_tables_that_may_be_data_are_taken_if_their_format_is_named(tmp_path, storage):
    """In a directory; a file that is named itself is meant."""
    write(tmp_path / "data" / "train.csv", "x,y\n1,2\n")
    with pytest.raises(FileNotFoundError, match="no runs that can be imported"):
        load("auto", tmp_path / "data", storage=storage)
    assert load("csv", tmp_path / "data", storage=storage)[0].state == "imported"
    assert load("auto", tmp_path / "data" / "train.csv", storage=storage)[0].state == "unchanged"


def test_columns_can_be_named(tmp_path, storage, capsys):
    """Steps, ISO times, the run, other names, and columns of settings."""
    source = write(
        tmp_path / "table.csv",
        "when,it,l,which,lr\n2024-01-02T03:04:05Z,1,0.5,a,0.1\n2024-01-02T03:04:06+00:00,2,0.25,b,0.2\n"
        "2024-01-02T03:04:07,3,0.125,a,0.1\n",
    )
    options = ["--step", "it", "--time", "when", "--run", "which", "--map", "l=loss", "--config-columns", "lr"]
    assert main(["import", "csv", str(source), *options, "--storage", str(storage), "--json"]) == 0
    runs = {json_of(each["run_dir"], "meta.json")["alias"]: each for each in json.loads(capsys.readouterr().out)}
    assert points_of(runs["a"]["run_dir"]) == {"loss": [(1704164645.0, 1, 0.5), (1704164647.0, 3, 0.125)]}
    assert points_of(runs["b"]["run_dir"]) == {"loss": [(1704164646.0, 2, 0.25)]}
    assert json_of(runs["b"]["run_dir"], "assets.json")["config"]["args"] == {"lr": 0.2}


def test_our_own_exports_come_back(tmp_path, storage, open_run):
    """CSV and JSON lines: numbers at their steps, NaN in CSV too."""
    run = open_run(path="there")
    for step, value in enumerate([0.1, 5e-324, 1e308]):
        run.log({"loss": value, "count": 2**60 + step}, step=step)
    run.finish()
    for form in ("csv", "jsonl"):
        target = tmp_path / f"run.{form}"
        assert main(["export", str(run.run_dir), "-o", str(target), "--storage", str(storage)]) == 0
        (back,) = load(form, target, storage=tmp_path / form)
        assert comparable(points_of(back.run_dir)) == comparable(points_of(run.run_dir))
