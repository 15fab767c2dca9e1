"""``load()`` takes the run itself."""

from __future__ import annotations

from pathlib import Path

import pytest

import runicorn as rn


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A storage and shared memory of its own."""
    (tmp_path / "shm").mkdir()
    monkeypatch.setenv("RUNICORN_SHM_DIR", str(tmp_path / "shm"))
    monkeypatch.setenv("RUNICORN_DIR", str(tmp_path / "store"))
    return tmp_path / "store"


def test_a_run_is_loaded_while_it_is_open_and_after_its_end(storage: Path) -> None:
    """The run, its path as text or Path, and its info mean the same; an open one is running."""
    run = rn.init(path="p", storage=storage)
    run.log(loss=0.5)
    assert rn.load(run).info.status == "running"
    run.finish()
    loaded = rn.load(run)
    assert (loaded.info.status, list(loaded["loss"].value)) == ("finished", [0.5])
    for same in (str(run.run_dir), Path(run.run_dir), loaded.info):
        assert rn.load(same).info.run_dir == loaded.info.run_dir


def test_what_is_no_run_is_told(storage: Path) -> None:
    """A run that stores nothing, and what is no run at all, are errors that say so."""
    with pytest.raises(LookupError, match="switched off"):
        rn.load(rn.NoOpRun())
    with pytest.raises(TypeError, match="of type int"):
        rn.load(3)  # type: ignore[arg-type]
