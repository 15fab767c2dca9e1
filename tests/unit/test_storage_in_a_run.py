"""A storage that is the directory of a run, or lies in it: no run is made there, and readers say where it belongs."""

import json
import os

import pytest

import runicorn
from runicorn.cli import main
from runicorn.errors import ForbiddenPathError, RunNotFoundError


@pytest.fixture
def ended(open_run):
    """The directory of a run that has ended."""
    run = open_run(path="cv/mine")
    run.finish()
    return run.run_dir


@pytest.mark.parametrize("below", ["", "media", "not/yet", "runs"])
@pytest.mark.parametrize("by", ["argument", "variable", "link", "working directory"])
@pytest.mark.parametrize("run_id", [None, "again"])
def test_a_storage_in_a_run_is_refused(ended, storage, tmp_path, monkeypatch, below, by, run_id):
    """Whatever names it: the error says which run it is and what to write instead, and nothing is made."""
    inside = ended / below
    (tmp_path / "link").symlink_to(ended)
    before = sorted(tmp_path.rglob("*"))
    if by == "variable":
        monkeypatch.setenv("RUNICORN_DIR", str(inside))
    elif by == "link":
        inside = tmp_path / "link" / below
    elif by == "working directory":
        monkeypatch.delenv("RUNICORN_DIR", raising=False)
        monkeypatch.chdir(ended / (below if below == "media" else ""))
        inside = None
    given = None if by in {"variable", "working directory"} else inside
    with pytest.raises(ForbiddenPathError, match=f"of run {ended.name}.*Write the storage") as refused:
        runicorn.init(storage=given, run_id=run_id)
    assert refused.value.filename
    assert f"init(storage={str(storage)!r})" in str(refused.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("content", ["{}", '{"id": "another"}', "[1]", "no JSON", None])
def test_a_file_of_the_users_makes_no_run_of_a_directory(open_run, tmp_path, content):
    """A ``meta.json`` above the storage that is not of a run, or a directory of that name, is nobody's business."""
    project = tmp_path / "runs" / "mine"
    project.mkdir(parents=True)
    (project / "status.json").write_text('{"status": "running"}')
    if content is None:
        (project / "meta.json").mkdir()
    else:
        (project / "meta.json").write_text(content)
    assert open_run(storage=str(project / "storage")).run_dir.is_relative_to(project)


def test_readers_say_where_a_directory_in_a_run_belongs(ended, capsys):
    """``find()``, ``ls`` and ``doctor`` name the run and its storage; a storage that was once made there is listed."""
    with pytest.raises(RunNotFoundError, match=f"belongs to run {ended.name}, which is in the storage"):
        runicorn.load("mine", storage=ended / "media")
    main(["ls", "--storage", str(ended / "media")])
    assert f"belongs to run {ended.name}" in "".join(capsys.readouterr())
    main(["doctor", "--storage", str(ended), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert f"belongs to run {ended.name}" in json.dumps(found)
    older = ended / "runs" / "default" / "older"
    os.makedirs(older)
    (older / "meta.json").write_text('{"id": "older", "path": "default"}')
    assert [info.id for info in runicorn.runs(storage=ended)] == ["older"]
