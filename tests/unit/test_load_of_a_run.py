"""``load()`` takes the run itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import runicorn as rn
from runicorn import cli


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


def test_what_is_no_run_is_told() -> None:
    """A run that stores nothing, and what is no run at all, are errors that say so."""
    with pytest.raises(LookupError, match="switched off"):
        rn.load(rn.NoOpRun())
    with pytest.raises(TypeError, match="of type int"):
        rn.load(3)  # type: ignore[arg-type]


PATHS = ["a b", "lr=0.1,wd=1e-4", "v1.2+cu", "me@host/x y/z.1", "-x"]


@pytest.mark.parametrize("path", PATHS)
def test_paths_of_any_allowed_signs_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str) -> None:
    """A path with blanks and signs is listed, filtered by itself and by what is above it, and matched by a pattern."""
    for at in (path, f"{path}-other"):
        run_dir = tmp_path / "runs" / at / "r"
        run_dir.mkdir(parents=True)
        (run_dir / "status.json").write_text('{"status": "finished"}')
        (run_dir / "meta.json").write_text(json.dumps({"path": at}))
    for given in (path, f"/{path}/", path.replace(path[-1], "?"), f"{path[:-1]}[{path[-1]}]"):
        assert [info.path for info in rn.runs(tmp_path, path=given)] == [path], given
    assert len(rn.runs(tmp_path, path=f"{path.partition('/')[0]}*")) == 2
    assert cli.main(["ls", "--storage", str(tmp_path), "--json", "--", path]) == 0
    assert [each["path"] for each in json.loads(capsys.readouterr().out)] == [path]
