"""A storage or a run directory that was renamed after both processes had crashed: the records go where it is now."""

import shutil
from pathlib import Path

import pytest
from support import events, status, trainers
from support.trainers import Trainer, assert_exactly_once, assert_valid, wait_stored

import runicorn as rn
from runicorn.cli import main

LOG = """
run = rn.init(path="cv")
opened(run)
sys.stdin.readline()
log_flat_out(run, 2000)
print("logged", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def orphan(tmp_path):
    """A run whose trainer and writer were killed when all was logged and nothing stored."""
    (tmp_path / "work").mkdir()
    return trainers.orphan(Trainer(tmp_path / "work", LOG))


def moved(trainer: Trainer, source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    trainer.old = trainer.run_dir
    trainer.run_dir = target / trainer.run_dir.relative_to(source)
    if trainer.counter.is_relative_to(source):
        trainer.counter = target / trainer.counter.relative_to(source)
    source.rename(target)


def renamed_storage(trainer, tmp_path):
    moved(trainer, tmp_path / "work" / "storage", tmp_path / "work" / "renamed")
    return tmp_path / "work" / "renamed"


def storage_elsewhere(trainer, tmp_path):
    moved(trainer, tmp_path / "work" / "storage", tmp_path / "far" / "away" / "s")
    return tmp_path / "far" / "away" / "s"


def renamed_project(trainer, tmp_path):
    moved(trainer, tmp_path / "work", tmp_path / "project")
    return tmp_path / "project" / "storage"


def renamed_run(trainer, tmp_path):
    moved(trainer, trainer.run_dir, trainer.run_dir.with_name("best-one"))
    return tmp_path / "work" / "storage"


def renamed_path(trainer, tmp_path):
    moved(trainer, trainer.run_dir.parent, trainer.run_dir.parent.with_name("nlp"))
    return tmp_path / "work" / "storage"


def both_renamed(trainer, tmp_path):
    old = trainer.run_dir
    renamed_run(trainer, tmp_path)
    storage = renamed_storage(trainer, tmp_path)
    trainer.old = old
    return storage


RENAMES = [renamed_storage, storage_elsewhere, renamed_project, renamed_run, renamed_path, both_renamed]


def assert_stored(trainer):
    assert_exactly_once(trainer)
    assert_valid(trainer.run_dir)
    assert status(trainer.run_dir)["status"] == "failed"
    assert not trainer.spool.exists()
    assert not trainer.old.exists()
    assert list(trainer.run_dir.glob(".spool-*")) == []


@pytest.mark.parametrize("rename", RENAMES)
def test_recover_with_the_storage(tmp_path, orphan, rename, capsys):
    """`recover --storage` of the storage's new name stores the records in the run's directory of now."""
    storage = rename(orphan, tmp_path)
    assert main(["recover", "--storage", str(storage)]) == 0
    assert f"2,000 records in {orphan.run_dir}" in capsys.readouterr().out
    assert_stored(orphan)


@pytest.mark.parametrize("rename", [each for each in RENAMES if each is not storage_elsewhere])
def test_recover_without_the_storage(tmp_path, orphan, rename, capsys, monkeypatch):
    """`recover` alone finds what was renamed in its place."""
    rename(orphan, tmp_path)
    monkeypatch.setenv("RUNICORN_DIR", str(tmp_path / "none"))
    assert main(["recover"]) == 0
    assert f"2,000 records in {orphan.run_dir}" in capsys.readouterr().out
    assert_stored(orphan)


@pytest.mark.parametrize("rename", RENAMES)
def test_adopted_by_init(tmp_path, orphan, rename):
    """The next init() in the storage under its new name has the records stored there."""
    storage = rename(orphan, tmp_path)
    rn.init(storage=str(storage), path="another").finish()
    wait_stored(orphan)
    assert_stored(orphan)


@pytest.mark.parametrize("rename", [renamed_storage, storage_elsewhere, renamed_project, renamed_path])
def test_resumed(tmp_path, orphan, rename):
    """A resume of the run in the storage under its new name goes on behind all records."""
    storage = rename(orphan, tmp_path)
    with rn.init(storage=str(storage), path=orphan.run_dir.parent.name, run_id=orphan.run_dir.name) as run:
        assert run.run_dir == orphan.run_dir
        run.log(i=2001)
    assert [event["data"]["i"] for event in events(orphan.run_dir)] == list(range(1, 2002))
    assert status(orphan.run_dir)["status"] == "finished"
    assert not orphan.old.exists()
    assert not orphan.spool.exists()


def test_a_storage_that_is_not_known(tmp_path, orphan, capsys, monkeypatch):
    """`recover` that does not know where the storage is stores nothing, makes nothing, and says what to do."""
    storage = storage_elsewhere(orphan, tmp_path)
    monkeypatch.setenv("RUNICORN_DIR", str(tmp_path / "none"))
    assert main(["recover"]) == 1
    told = capsys.readouterr().out
    for words in (orphan.old.name, "recover --storage", str(orphan.spool), str(tmp_path / "work" / "storage")):
        assert words in told
    assert not (tmp_path / "work" / "storage").exists()
    assert main(["recover", "--storage", str(storage)]) == 0
    assert_stored(orphan)


def test_another_storage_under_the_old_name(tmp_path, orphan):
    """Where a new storage has the old name, the records go to the run's directory all the same."""
    renamed_storage(orphan, tmp_path)
    rn.init(storage=str(tmp_path / "work" / "storage"), path="another").finish()
    wait_stored(orphan)
    assert_stored(orphan)


def test_a_run_directory_that_is_gone_from_a_renamed_storage(tmp_path, orphan, capsys):
    """Where neither the old storage nor the run's directory is there, nothing is stored, and it is told."""
    storage = renamed_storage(orphan, tmp_path)
    shutil.rmtree(orphan.run_dir)
    assert main(["recover", "--storage", str(storage)]) == 1
    assert str(orphan.spool) in capsys.readouterr().out
    assert not (tmp_path / "work" / "storage").exists()
    (tmp_path / "work" / "storage").mkdir()
    assert main(["recover", "--storage", str(tmp_path / "work" / "storage")]) == 0
    orphan.run_dir = orphan.old
    assert_exactly_once(orphan)
