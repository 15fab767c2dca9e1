"""Paths with dots, blanks, ``=`` and their like: every command finds such a run; and ``slug()``, which makes them."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import runicorn
from runicorn.cli import main
from runicorn.storage.paths import normalise_path
from runicorn.storage.slugs import slug

PATHS = ["Qwen2.5-7B", "my project/v1.0", "lr=0.1,wd=1e-4", "a+b@c", "a..b/c d  e", "=/@/+"]


@pytest.fixture
def call(storage, capsys):
    """Call a command of the storage; what it printed."""

    def run(*arguments):
        status = main([arguments[0], "--storage", str(storage), *map(str, arguments[1:])])
        out, err = capsys.readouterr()
        assert status == 0, err
        return out

    return run


@pytest.mark.parametrize("path", PATHS)
def test_every_command_works_with_the_path(open_run, call, tmp_path, path):
    """A run of such a path is listed, loaded, shown, exported, removed and brought back, by its path and directory."""
    run = open_run(path=path, run_id="id=1.5")
    run.log(loss=1.5)
    run.finish()
    first_part = path.split("/")[0]
    assert [info.path for info in runicorn.runs(run.storage_root, path=first_part)] == [path]
    assert runicorn.load(run.run_dir).info.path == path
    assert [each["path"] for each in json.loads(call("ls", first_part, "--json"))] == [path]
    assert path in call("show", run.run_dir)
    assert "1.5" in call("tail", run.id)
    target = tmp_path / "out.csv"
    call("export", run.id, "-o", target)
    assert "loss" in target.read_text()
    call("rm", run.id, "--yes")
    assert not run.run_dir.exists()
    call("rm", "--restore", run.id)
    assert json.loads((run.run_dir / "meta.json").read_text())["path"] == path


@pytest.mark.parametrize("path", PATHS)
def test_a_run_of_such_a_path_is_resumed(open_run, path):
    """``init(run_id=...)`` goes on with it, wherever it lies."""
    run = open_run(path=path)
    run.log(loss=1)
    run.finish()
    again = open_run(path=path, run_id=run.id)
    assert again.run_dir == run.run_dir
    again.log(loss=2)
    again.finish()
    assert len((run.run_dir / "events.jsonl").read_bytes().splitlines()) == 2


@pytest.mark.parametrize(
    ("wrong", "proposed"),
    [("./outputs/run1", "outputs/run1"), ("../x", "x"), ("é/v1.", "e/v1"), (" a /.b", "a/b"), ("...", "cv/resnet50")],
)
def test_the_error_proposes_a_path_that_is_taken(storage, wrong, proposed):
    """What the message says to write is near to what was meant, and valid."""
    with pytest.raises(ValueError, match="path") as raised:
        runicorn.init(path=wrong, storage=str(storage))
    assert f"'{proposed}" in str(raised.value)
    assert normalise_path(proposed) == proposed
    assert not storage.exists()


@pytest.mark.parametrize(
    ("text", "segment"),
    [
        ("my project", "my-project"),
        ("Qwen2.5-7B", "Qwen2.5-7B"),
        ("lr=0.1,wd=1e-4", "lr=0.1,wd=1e-4"),
        ("a/b\\c", "a-b-c"),
        ("./outputs/run1", "outputs-run1"),
        ("  résumé ünïcode  ", "resume-unicode"),
        ("Straße", "Strasse"),
        (".recycle", "recycle"),
        ("-x", "-x"),
        ("x" * 64, "x" * 64),
        (5, "5"),
        (None, "None"),
    ],
)
def test_a_slug_is_near_to_its_text(text, segment):
    """What is allowed stays, accents go, the rest becomes a dash."""
    assert slug(text) == segment


def test_texts_that_lose_letters_stay_apart():
    """Two names of another script, two long ones, and names of signs alone give segments of their own."""
    texts = ["实验一", "实验二", "exp实验一", "exp实验二", "x" * 300 + "1", "x" * 300 + "2", "", "...", "///", "😀"]
    assert len({slug(text) for text in texts}) == len(texts)
    assert slug("exp实验一").startswith("exp-")


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=()), max_size=300), longest=st.integers(16, 200))
def test_a_slug_of_any_text_is_one_segment(text, longest):
    """It is valid, bounded, one segment, and its own slug."""
    made = slug(text, longest)
    assert normalise_path(made) == made
    assert 0 < len(made) <= longest
    assert "/" not in made
    assert slug(made, longest) == made
    assert slug(unicodedata.normalize("NFC", made), longest) == made


@pytest.mark.parametrize("longest", [0, 15, 201])
def test_a_length_out_of_range_raises(longest):
    """A segment has room for a name and a hash, and no more than a path."""
    with pytest.raises(ValueError, match="longest"):
        slug("x", longest)


def test_the_front_door_has_it():
    """``runicorn.slug`` is that function."""
    assert runicorn.slug is slug
    assert Path(slug("a b")).name == "a-b"
