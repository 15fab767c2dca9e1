"""What an import says of a storage that refuses, of runs that no longer say where they are from, of deleted ones."""

import errno
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from imported_values import SAMPLES, content_of, json_of, load

from runicorn.cli import main

WANDB = SAMPLES / "wandb"


def a_file(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def a_loop(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("place", "make"),
    [
        ("", a_file),
        ("", a_loop),
        ("runs", a_file),
        ("runs/p", a_file),
        (".importing", a_file),
        (".importing/lock", Path.mkdir),
        (".importing/lock", a_loop),
    ],
)
def test_a_storage_that_refuses_is_told_in_words(place, make, storage, capsys):
    """What cannot be done, why and where, what became of it, what to do; no number of the system's."""
    path = storage / place
    path.parent.mkdir(parents=True, exist_ok=True)
    make(path)
    assert main(["import", "wandb", str(WANDB), "--storage", str(storage)]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "cannot be imported" in said
    assert f"{path}. Nothing" in said
    assert said.endswith("name another storage with --storage.")
    assert "Errno" not in said


def test_a_name_that_is_too_long_is_told_in_words(storage, capsys):
    """The same of an error that has no kind of its own."""
    assert main(["import", "wandb", str(WANDB), "--storage", str(storage / ("x" * 300))]) == 1
    said = capsys.readouterr().err
    assert os.strerror(errno.ENAMETOOLONG) in said
    assert "Nothing was imported." in said


def test_a_run_that_refuses_an_update_is_told_in_words(storage, tmp_path):
    """With the file that is in the way; the run and all others are as they were."""
    source = tmp_path / "offline-run-1-machine1"
    shutil.copytree(next(WANDB.glob("*machine1")), source)
    (run,) = load("wandb", source, storage=storage)
    (file,) = source.glob("*.wandb")
    file.write_bytes(file.read_bytes()[:-10])
    events = Path(run.run_dir, "events.jsonl")
    events.unlink()
    events.mkdir()
    before = content_of(storage)
    with pytest.raises(IsADirectoryError, match="Nothing of it was imported") as raised:
        load("wandb", source, storage=storage, update=True)
    assert f"{events}. Nothing" in str(raised.value)
    assert content_of(storage) == before


@pytest.mark.parametrize("damage", ["", "{", "null", "{}", None])
def test_a_run_with_damaged_assets_is_not_imported_again(damage, storage, capsys):
    """Whether the file that says its source is torn, empty, made anew or gone; the message says how to go on."""
    first = load("wandb", WANDB, storage=storage)
    damaged = next(each for each in first if "abc12345" in each.source)
    path = Path(damaged.run_dir, "assets.json")
    if damage is None:
        path.unlink()
    else:
        path.write_text(damage)
    before = content_of(storage)
    for options in ([], ["--update"], ["--dry-run"]):
        assert main(["import", "wandb", str(WANDB), "--storage", str(storage), *options]) == 1
        assert "is not here twice. Repair that file, or delete that run" in capsys.readouterr().err
        assert content_of(storage) == before


def test_a_run_that_may_be_here_already_is_told(storage, tmp_path):
    """A source that has another id at another place is imported, and the run that cannot be read is told of."""
    source = tmp_path / "one"
    shutil.copytree(SAMPLES / "tensorboard" / "torn", source)
    (first,) = load("tensorboard", source, storage=storage)
    Path(first.run_dir, "assets.json").write_text("{")
    shutil.copytree(source, tmp_path / "two")
    (second,) = load("tensorboard", tmp_path / "two", storage=storage)
    assert second.state == "imported"
    assert second.note == (
        "the assets.json of 1 run in the storage cannot be read: if one is of this source, it is here twice"
    )


def test_runs_that_are_deleted_in_mlflow_are_skipped_and_counted(storage, tmp_path, capsys):
    """Those that are marked in a file store, those of its trash, and those of a database."""
    source = tmp_path / "mlruns"
    shutil.copytree(SAMPLES / "mlflow" / "mlruns", source)
    children = [path for path in source.rglob("meta.yaml") if "run_name: child" in path.read_text("utf-8")]
    for path in children:
        path.write_text(path.read_text("utf-8").replace("lifecycle_stage: active", "lifecycle_stage: deleted"))
    (experiment,) = {path.parents[1] for path in children}
    shutil.copytree(experiment, source / ".trash" / "777")
    for path in (source / ".trash").rglob("meta.yaml"):
        path.write_text(path.read_text("utf-8").replace("run_id: ", "run_id: a"))
    shutil.copy(SAMPLES / "mlflow" / "mlflow.db", tmp_path)
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("UPDATE runs SET lifecycle_stage = 'deleted'")
    connection.close()
    assert main(["import", "mlflow", str(source), "--storage", str(storage)]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == "4 skipped, 2 imported"
    assert said.err.count("it is deleted in mlflow") == 4
    states = [each.state for each in load("mlflow", tmp_path / "mlflow.db", storage=storage, dry_run=True)]
    assert states == ["skipped"] * 3


def test_a_tag_of_mlflow_without_a_value_is_a_name(storage, tmp_path):
    """And one with a value is both."""
    source = tmp_path / "mlruns"
    shutil.copytree(SAMPLES / "mlflow" / "mlruns", source)
    for team in source.rglob("team"):
        team.with_name("alone").touch()
    run = load("mlflow", source, storage=storage)[0]
    assert sorted(json_of(run.run_dir, "meta.json")["tags"]) == ["alone", "team:a b"]


@pytest.mark.parametrize("when", ["its state is asked for", "it is read"])
@pytest.mark.parametrize("is_dry", [True, False])
def test_a_source_that_the_disk_does_not_give_is_told_as_such(when, is_dry, storage, monkeypatch, tmp_path):
    """An error of the source is not told as one of the storage; that run is left out, the next one is imported."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text('{"step": 1, "loss": 0.5}\n')

    def broken(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    part = "source_files.digest" if when == "its state is asked for" else "table_rows.rows"
    with monkeypatch.context() as patch:
        patch.setattr(f"runicorn.importing.{part}", broken)
        told = load("jsonl", tmp_path / "a.jsonl", storage=storage, dry_run=is_dry)
    assert [each.state for each in told] == ["failed"]
    assert told[0].note == f"{tmp_path / 'a.jsonl'} cannot be read: {os.strerror(errno.EIO)}"
    assert [each.state for each in load("jsonl", tmp_path / "b.jsonl", storage=storage)] == ["imported"]
