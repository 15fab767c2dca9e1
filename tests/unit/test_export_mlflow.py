"""A file store of mlflow, read as plain files and by our own import; by mlflow itself in ``tests/peers``."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest
from support.mlflow_export import POINTS, export, make_run

if TYPE_CHECKING:
    from pathlib import Path

from runicorn import exporting, load
from runicorn.cli import main
from runicorn.exporting import mlflow_store
from runicorn.exporting.mlflow_names import FileNames
from runicorn.importing import import_runs
from runicorn.importing.block_yaml import read


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The store of one run with all kinds of values."""
    export(make_run(tmp_path / "storage"), tmp_path / "mlruns")
    return tmp_path / "mlruns"


def run_in(store: Path) -> Path:
    (found,) = store.glob("*/*/meta.yaml")
    return found.parent


def test_every_value_is_a_line_of_its_metric(store: Path) -> None:
    """Milliseconds, value and step, in the order in which they were logged, repeated steps too."""
    metrics = run_in(store) / "metrics"
    files = {path.relative_to(metrics).as_posix(): path for path in metrics.rglob("*") if path.is_file()}
    found = {name: path.read_text().splitlines() for name, path in files.items()}
    assert found == {
        name: [f"{at_ms} {value!r} {step}" for at_ms, step, value in points] for name, points in POINTS.items()
    }


def test_a_run_comes_back_by_our_own_import(store: Path, tmp_path: Path) -> None:
    """Values, configuration, tags, notes, name, path, times and status."""
    (outcome,) = import_runs("auto", [str(store)], storage=str(tmp_path / "back"))
    assert outcome.format == "mlflow"
    run = load(str(outcome.run_dir))
    for name, points in POINTS.items():
        column = run.metric(name)
        found = list(zip(column.time, column.step, map(repr, column.value), strict=True))
        assert found == [(at_ms / 1000, step, repr(value)) for at_ms, step, value in points]
    info = run.info
    assert (info.alias, info.path, info.status, info.notes) == ("größe λ", "cv/net", "interrupted", "two\nlines")
    assert (info.started_at, info.ended_at) == (1000.5, 2000.25)
    assert set(info.tags) >= {"plain", "team:a b"}
    assert run.config["args"] == {"lr": 0.1, "net": {"depth": 3}, "word": "größe", "none": None}


def test_images_are_artifacts_under_the_names_of_mlflow(store: Path) -> None:
    """With key, step and time; the folder is the one that the run's file names."""
    run_dir = run_in(store)
    (image,) = (run_dir / "artifacts" / "images").iterdir()
    assert image.name.startswith("a~dot+step+4+timestamp+1004500+")
    assert image.suffix == ".png"
    assert image.read_bytes().startswith(b"\x89PNG")
    meta = read((run_dir / "meta.yaml").read_text("utf-8"))
    assert meta["artifact_uri"] == (run_dir / "artifacts").as_uri()
    assert (meta["status"], meta["run_id"]) == (5, run_dir.name)


def test_what_mlflow_has_no_place_for_is_told(tmp_path: Path) -> None:
    """Texts, captions, the summary, integers that no float holds, names with other signs."""
    (done,) = export(make_run(tmp_path / "storage"), tmp_path / "mlruns")
    assert sorted(done.notes) == [
        "captions of images left out: 1",
        "integers rounded to floats: 1",
        "names of metrics changed to such as mlflow takes: 2",
        "texts among the values left out: 1",
        "the summary, the text of logs.txt, what the machine did left out: mlflow has no place for it",
    ]
    assert done.rows == sum(map(len, POINTS.values()))


def test_several_runs_are_in_one_store_and_stores_can_be_put_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs of one path are one experiment, with the same number at every export."""
    storage = tmp_path / "storage"
    runs = [make_run(storage, name) for name in ("20260101_000000_aaaaaa", "20260101_000000_bbbbbb")]
    names = [run.name for run in runs]
    assert main(["export", *map(str, runs), "--format", "mlflow", "-o", str(tmp_path / "both"), "--json"]) == 0
    assert [each["run"] for each in json.loads(capsys.readouterr().out)] == names
    (experiment,) = (tmp_path / "both").iterdir()
    assert sorted(path.name for path in experiment.iterdir() if path.is_dir()) == names
    export(runs[0], tmp_path / "one")
    assert [path.name for path in (tmp_path / "one").iterdir()] == [experiment.name]


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_store_that_is_there_is_never_replaced(
    tmp_path: Path, force: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """It may hold other runs."""
    run = make_run(tmp_path / "storage")
    export(run, tmp_path / "mlruns")
    before = {path: path.read_bytes() for path in (tmp_path / "mlruns").rglob("*") if path.is_file()}
    assert main(["export", str(run), "--format", "mlflow", "-o", str(tmp_path / "mlruns"), *force]) == 1
    assert "Nothing was written" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (tmp_path / "mlruns").rglob("*") if path.is_file()} == before


def test_a_failing_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the store nor a part of one."""

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    run = make_run(tmp_path / "storage")
    monkeypatch.setattr(mlflow_store, "_write_images", full)
    with pytest.raises(OSError, match="No space"):
        export(run, tmp_path / "mlruns")
    assert [path.name for path in tmp_path.iterdir()] == ["storage"]


@pytest.mark.parametrize(
    ("arguments", "said"), [(["-o", "-"], "standard output"), (["-o", "x", "--system"], "which mlflow needs")]
)
def test_what_a_store_cannot_be_is_misuse(
    tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard output, or samples without steps."""
    run = make_run(tmp_path / "storage")
    assert main(["export", str(run), "--format", "mlflow", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_names_become_paths_that_do_not_meet() -> None:
    """Signs that mlflow refuses, names that lead elsewhere, a file in the place of a folder, very long ones."""
    given = ["a", "a/b", "a%b", "a_b", "/x", "x", "../up", ".", "", "c//d", "c/d", "e/../f", "l" * 300, "λ" * 200]
    names = FileNames([*given, "l" * 301])
    new = [names[name] for name in [*given, "l" * 301]]
    assert len(set(new)) == len(new)
    for name in new:
        assert not name.startswith("/")
        assert all(part.strip(". ") for part in name.split("/"))
        assert all(len(part.encode()) < 256 for part in name.split("/"))
        assert not any(other.startswith(f"{name}/") for other in new)
    assert (names["a/b"], names["a_b"], names["x"], names["c/d"]) == ("a/b", "a_b", "x", "c/d")


@pytest.mark.parametrize("text", ["größe: #λ", 'a"b\\c', "line\nbreak\x85\x7f", "- x", "null", "12", " edge ", "😀"])
def test_texts_in_yaml_come_back(text: str) -> None:
    """By our reader, and by the library, whatever they look like."""
    yaml = pytest.importorskip("yaml")
    line = f"name: {mlflow_store._yaml(text)}\n"
    assert read(line) == yaml.safe_load(line) == {"name": text}


def test_ranks_above_0_have_their_rank_before_the_name(tmp_path: Path) -> None:
    """With ``--ranks all``; else they are left out."""
    run = make_run(tmp_path / "storage")
    line = {"ts": 1.0, "type": "metrics", "data": {"loss": math.inf, "global_step": 1, "time": 1.0}}
    line["nonfinite"] = {"loss": "Infinity"}
    line["data"]["loss"] = None  # type: ignore[index]
    (run / "events.rank3.jsonl").write_text(json.dumps(line) + "\n")
    assert main(["export", str(run), "--format", "mlflow", "-o", str(tmp_path / "all"), "--ranks", "all"]) == 0
    assert (run_in(tmp_path / "all") / "metrics" / "rank3" / "loss").read_text() == "1000 inf 1\n"
    export(run, tmp_path / "main")
    assert not (run_in(tmp_path / "main") / "metrics" / "rank3").exists()


def test_the_formats_that_are_directories_are_no_files() -> None:
    """Each is one of the formats."""
    assert set(exporting.FORMATS) > exporting.DIRECTORIES
