"""Alias, tags and the recycle folder: what is changed, what is refused, and that nothing leaves its storage."""

import errno
import io
import json
import os
import sqlite3
import sys
import threading
import time
from contextlib import closing
from itertools import chain
from pathlib import Path

import pytest

import runicorn
from runicorn import errors, reading
from runicorn.cli import main
from runicorn.host import identity
from runicorn.managing import labels, recycle_bin, targets, viewer_database
from runicorn.queue import spool
from runicorn.settings import Settings

ID, OTHER = "20260101_000000_aaaaaa", "20260101_000000_bbbbbb"
TABLES = """
CREATE TABLE experiments (
  id TEXT PRIMARY KEY, path TEXT NOT NULL DEFAULT 'default', alias TEXT,
  created_at REAL NOT NULL, updated_at REAL NOT NULL, started_at REAL, ended_at REAL,
  status TEXT NOT NULL DEFAULT 'running', exit_reason TEXT,
  pid INTEGER, python_version TEXT, platform TEXT, hostname TEXT,
  best_metric_name TEXT, best_metric_value REAL, best_metric_step INTEGER, best_metric_mode TEXT,
  deleted_at REAL, delete_reason TEXT, run_dir TEXT NOT NULL, workspace_root TEXT,
  duration_seconds REAL, metric_count INTEGER DEFAULT 0,
  CHECK (status IN ('running','finished','failed','interrupted')));
CREATE TABLE experiment_tags (experiment_id TEXT NOT NULL, tag TEXT NOT NULL, created_at REAL NOT NULL,
  created_by TEXT, PRIMARY KEY (experiment_id, tag));
"""


def make(storage, run_id=ID, path="cv/x", *, status="finished", below="runs", **meta):
    """A run written by hand."""
    run_dir = Path(storage, below, *filter(None, path.split("/")), run_id)
    run_dir.mkdir(parents=True)
    told = {"id": run_id, "path": path, "alias": None, "created_at": 5.0, "hostname": identity.hostname(), "pid": 1}
    (run_dir / "meta.json").write_text(json.dumps({**told, **meta}))
    (run_dir / "status.json").write_text(json.dumps({"status": status, "started_at": 5.0}))
    return run_dir


def meta_of(run_dir):
    return json.loads((run_dir / "meta.json").read_text())


def tree(top):
    """Every path below a directory, links not followed."""
    found = (Path(at, name) for at, *names in os.walk(top) for name in chain(*names))
    return sorted(str(path.relative_to(top)) for path in found)


@pytest.fixture
def call(storage, capsys):
    """Call a command of the storage; what it said."""

    def run(*arguments, status=0):
        got = main([arguments[0], "--storage", str(storage), *map(str, arguments[1:])])
        said = capsys.readouterr()
        assert got == status, said
        return said

    return run


@pytest.fixture
def database(storage):
    """A database as a viewer makes it, with a row for the run."""
    storage.mkdir(exist_ok=True)
    path = storage / "runicorn.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(TABLES)
        connection.execute(
            "INSERT INTO experiments (id, path, created_at, updated_at, status, run_dir) VALUES (?, ?, ?, ?, ?, ?)",
            (ID, "cv/x", 5.0, 5.0, "finished", str(storage / "runs/cv/x" / ID)),
        )
        connection.commit()

    def read(query):
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute(query).fetchall()

    return read


class Terminal(io.StringIO):
    """Somebody who answers."""

    def isatty(self):
        return True


# --- alias and tags -----------------------------------------------------------------------------------------------


def test_alias_is_in_meta_and_in_the_row_and_the_rest_stays(storage, call, database):
    """A name is given, shown, and taken away; keys that we do not know and the run's tags are kept."""
    run_dir = make(storage, theirs={"deep": [1, None]}, tags=["t", 5])
    before = meta_of(run_dir)

    call("alias", ID, "  größe 1 ")
    assert meta_of(run_dir) == {**before, "alias": "größe 1"}
    assert database("SELECT alias FROM experiments") == [("größe 1",)]
    assert call("alias", "größe 1").out == "größe 1\n"
    told = json.loads(call("alias", ID, "--clear", "--json").out)

    assert told == {"run": ID, "alias": None, "tags": ["t"]}
    assert database("SELECT alias FROM experiments") == [(None,)]
    call("alias", ID, " ", status=2)
    call("alias", ID, "x", "--clear", status=2)
    assert tree(run_dir) == ["meta.json", "status.json"]


def test_tags_are_added_behind_and_removed(storage, call, database):
    """In both ways of writing it; one that is there already, or not there, is no error; a comma is."""
    run_dir = make(storage, tags=["old", 5, ["a"]])

    assert call("tag", ID).out == "old\n"
    assert call("tag", ID, "+new", "--add", "dark side", "+old", "-absent").out == "old\nnew\ndark side\n"
    assert meta_of(run_dir)["tags"] == ["old", 5, ["a"], "new", "dark side"]
    assert json.loads(call("tag", ID, "-old", "--remove", "new", "--json").out)["tags"] == ["dark side"]
    assert database("SELECT experiment_id, tag FROM experiment_tags") == [(ID, "dark side")]
    for wrong in (["+a,b"], ["+a", "-a"], ["+ "]):
        call("tag", ID, *wrong, status=2)
    assert meta_of(run_dir)["tags"] == [5, ["a"], "dark side"]


def test_notes_are_written_shown_and_taken_away(storage, call, monkeypatch):
    """From the command or its input, in several lines; everything else in ``meta.json`` stays; too much is refused."""
    run_dir = make(storage, theirs={"deep": [1, None]}, tags=["t"])
    before = meta_of(run_dir)

    call("note", ID, "first\r\nsecond  \n")
    assert meta_of(run_dir) == {**before, "notes": "first\nsecond"}
    assert call("note", ID).out == "first\nsecond\n"
    assert "second" in call("show", ID).out
    assert json.loads(call("ls", "--json").out)[0]["notes"] == "first\nsecond"
    assert reading.find(ID, storage).notes == "first\nsecond"
    monkeypatch.setattr(sys, "stdin", io.StringIO("größe\x1b[2J\n"))
    assert json.loads(call("note", ID, "-", "--json").out) == {"run": ID, "notes": "größe\x1b[2J"}
    assert call("note", ID).out == "größe\\x1b[2J\n"
    call("note", ID, "x", "--clear", status=2)
    call("note", ID, "x" * 20_001, status=2)
    monkeypatch.setattr(sys, "stdin", io.StringIO("x" * 30_000))
    call("note", ID, "-", status=2)
    assert meta_of(run_dir)["notes"] == "größe\x1b[2J"
    call("note", ID, "--clear")
    assert meta_of(run_dir) == before
    assert call("note", ID).out == "\n"


def test_what_was_read_before_is_not_written_over(storage):
    """A change that says what was there changes nothing if something else is there now; all labels, or none."""
    run_dir = make(storage, notes="of another", alias="a")
    info, settings = reading.find(ID, storage), Settings.from_environment()
    with pytest.raises(labels.ChangedMeanwhileError):
        labels.change(info, settings, texts={"notes": "mine"}, add=["t"], was={"notes": None})
    assert (meta_of(run_dir)["notes"], "tags" in meta_of(run_dir)) == ("of another", False)
    now = labels.change(
        info, settings, texts={"notes": "mine", "alias": None}, was={"notes": "of another", "alias": "a"}
    )
    assert (now.notes, now.alias) == ("mine", None)


def test_run_without_a_row_gets_no_tags_there(storage, call, database):
    """Tags of a run that the viewer does not know yet are in its files alone."""
    make(storage)
    make(storage, OTHER)

    call("tag", OTHER, "+a")
    call("alias", OTHER, "b")

    assert database("SELECT count(*) FROM experiment_tags") == [(0,)]
    assert database("SELECT count(*) FROM experiments") == [(1,)]


def test_neither_a_resume_nor_a_label_loses_the_other(storage):
    """While a run is resumed again and again its tags change: every resume and every tag is there at the end."""
    with runicorn.init(path="cv", storage=str(storage)) as first:
        first.log({"x": 1})
    info, resumes = reading.find(first.id, storage), 3
    done = threading.Event()

    def resume():
        try:
            for _ in range(resumes):
                runicorn.init(run_id=first.id, storage=str(storage)).finish()
        finally:
            done.set()

    thread = threading.Thread(target=resume)
    thread.start()
    wanted = []
    while not done.wait(0.002) or not wanted:  # with a moment between, in which the other one can be
        wanted.append(f"t{len(wanted)}")
        labels.change_tags(info, [wanted[-1]], [], Settings.from_environment())
    thread.join()

    now = reading.find(info)
    assert (now.tags, now.resumed, now.status) == (wanted, resumes, "finished")


def test_run_of_another_host_is_changed_there(storage, call):
    """What says running elsewhere, or has word of a spool elsewhere, is refused unless the user knows better."""
    running = make(storage, status="running", hostname="elsewhere")
    joined = make(storage, OTHER)
    (joined / ".spool-node7").write_text("/dev/shm/x")

    for run_id, where, run_dir in ((ID, "elsewhere", running), (OTHER, "node7", joined)):
        for command in (["alias", run_id, "n"], ["tag", run_id, "+n"], ["rm", run_id, "--yes"]):
            assert f"may be open on the host {where}" in call(*command, status=1).err
        assert meta_of(run_dir)["alias"] is None
        call("alias", run_id, "n", "--force-other-host")
        call("tag", run_id, "+n", "--force-other-host")
        call("rm", run_id, "--yes", "--force-other-host")
        assert not run_dir.exists()


def test_meta_that_is_a_link_out_of_the_run_is_neither_read_nor_written(storage, call, tmp_path):
    """What it leads to stays as it is, and does not come into the storage."""
    run_dir = make(storage)
    os.rename(run_dir / "meta.json", tmp_path / "theirs.json")
    (run_dir / "meta.json").symlink_to(tmp_path / "theirs.json")
    before = (tmp_path / "theirs.json").read_bytes()

    call("tag", ID, "+a", status=1)
    call("rm", ID, "--yes")

    assert (tmp_path / "theirs.json").read_bytes() == before
    assert (storage / "runs/.recycle" / ID / "meta.json").is_symlink()


@pytest.mark.parametrize("content", ["", '{"id": ', "[1]"])
def test_damaged_meta_is_not_written_over(storage, call, content):
    """What could not be kept is not replaced."""
    run_dir = make(storage)
    (run_dir / "meta.json").write_text(content)
    os.utime(run_dir / "meta.json", (1, 1))

    assert "Repair the file first" in call("tag", ID, "+a", status=1).err
    assert (run_dir / "meta.json").read_text() == content


def test_locked_database_stops_a_command_before_it_begins(storage, call, database, monkeypatch):
    """Who holds the database for long is named, and nothing has changed."""
    monkeypatch.setattr(viewer_database, "_BUSY_S", 0.05)
    run_dir = make(storage)
    with closing(sqlite3.connect(storage / "runicorn.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        for command in (["alias", ID, "n"], ["tag", ID, "+n"], ["rm", ID, "--yes"]):
            assert "has been locked by another process" in call(*command, status=1).err
        holder.execute("ROLLBACK")

    assert meta_of(run_dir)["alias"] is None
    assert tree(run_dir) == ["meta.json", "status.json"]
    assert database("SELECT deleted_at FROM experiments") == [(None,)]


@pytest.mark.parametrize("kind", ["garbage", "other tables", "link"])
def test_database_that_cannot_be_used_is_left_alone_and_told_of(storage, call, tmp_path, kind):
    """The files are changed all the same; a link is not followed, whatever it leads to."""
    run_dir = make(storage)
    path = storage / "runicorn.db"
    target = tmp_path / "elsewhere.db" if kind == "link" else path
    if kind == "garbage":
        target.write_bytes(b"no database at all" * 100)
    else:
        with closing(sqlite3.connect(target)) as connection:
            connection.executescript(TABLES if kind == "link" else "CREATE TABLE other (id TEXT)")
    if kind == "link":
        path.symlink_to(target)
    before = target.read_bytes()

    assert "the row in runicorn.db was not changed" in call("alias", ID, "n").err
    call("rm", ID, "--yes")

    assert target.read_bytes() == before
    assert meta_of(storage / "runs/.recycle" / ID)["alias"] == "n"
    assert not run_dir.exists()


# --- the recycle folder -------------------------------------------------------------------------------------------


def test_removed_run_is_in_the_recycle_folder_and_comes_back(storage, call, database):
    """Moved whole, with marker and row as the viewer has them; listed; restored to where it was, without them."""
    run_dir = make(storage, alias="seed")
    root = make(storage, OTHER, "")
    before = {path: (path.name, path.read_bytes()) for each in (run_dir, root) for path in each.iterdir()}
    begun = time.time()

    said = call("rm", "seed", OTHER, "seed", "--yes", "--json")

    recycle = storage / "runs/.recycle"
    assert json.loads(said.out)[0] == {"run": ID, "moved": True, "run_dir": str(recycle / ID), "problem": None}
    assert reading.runs(storage) == []
    marker = json.loads((recycle / ID / ".deleted").read_text())
    assert begun <= marker.pop("deleted_at") <= time.time()
    assert marker == {"reason": "user_deleted", "original_status": "finished", "original_path": "cv/x"}
    assert json.loads((recycle / OTHER / ".deleted").read_text())["original_path"] == "."
    rows = database("SELECT id, run_dir, delete_reason, deleted_at >= 6 FROM experiments ORDER BY id")
    assert rows == [(each, str(recycle / each), "user_deleted", 1) for each in (ID, OTHER)]
    shown = json.loads(call("rm", "--restore", "--json").out)
    assert [(each["run"], each["path"], each["alias"]) for each in shown] == [(ID, "cv/x", "seed"), (OTHER, "", None)]
    assert ID in call("rm", "--restore").out

    call("rm", "--restore", ID[:-2], OTHER)

    assert {path: (path.name, path.read_bytes()) for each in (run_dir, root) for path in each.iterdir()} == before
    assert list(recycle.iterdir()) == []
    rows = database("SELECT id, run_dir, deleted_at, delete_reason FROM experiments ORDER BY id")
    assert rows == [(ID, str(run_dir), None, None), (OTHER, str(root), None, None)]


def test_nothing_goes_without_a_yes(storage, call, monkeypatch):
    """No terminal and no --yes is misuse; on a terminal the list is shown, and only a yes moves something."""
    run_dir = make(storage, alias="seed\x1b[2J")
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert "--yes" in call("rm", ID, status=2).err
    for answer in ("n\n", "\n", ""):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        assert "nothing was moved" in call("rm", ID, status=1).err
    assert run_dir.is_dir()

    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    said = call("rm", ID).err

    assert f"{ID}  cv/x  seed\\x1b[2J  finished" in said
    assert not run_dir.exists()
    call("rm", status=2)


def test_live_run_and_records_in_memory_keep_a_run_where_it_is(storage, open_run, call):
    """A run that is open here is refused; one whose processes have died leaves records, which recover stores first."""
    run = open_run()
    assert "is live" in call("rm", run.id, "--yes", status=1).err
    run.finish()
    run_dir = make(storage, status="running", pid=2**22 - 1)
    address, owner = spool.create(
        run_id=ID,
        run_dir=str(run_dir),
        storage=str(storage),
        path="cv/x",
        host=identity.hostname(),
        opened_at=5.0,
        settings=Settings.from_environment(),
    )
    assert "is live" in call("rm", ID, run.id, "--yes", status=1).err
    owner.release()

    said = call("rm", ID, run.id, "--yes", status=1).err

    assert "Store them first: runicorn recover" in said
    assert address.spool in said
    assert run.run_dir.is_dir()
    spool.remove(address.spool)
    call("rm", ID, run.id, "--yes")


def test_nothing_is_moved_over_something_or_across_file_systems(storage, call, monkeypatch):
    """A run of the same id is in the way on either side, or a rename is not possible: both stay what they are."""
    run_dir = make(storage)
    theirs = make(storage, below="runs/.recycle", path="", alias="theirs")
    (theirs / ".deleted").write_text(json.dumps({"original_path": "cv/x"}))
    before = tree(storage)
    assert "in the recycle folder already" in call("rm", ID, "--yes", status=1).err
    assert "is there already" in call("rm", "--restore", ID, status=1).err
    assert tree(storage) == before
    os.rename(storage / "runs/.recycle" / ID, storage / "runs/.recycle" / OTHER)

    def refuse(source, target, **_):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), source, None, target)

    monkeypatch.setattr(recycle_bin.os, "rename", refuse)
    for command in (["rm", ID, "--yes"], ["rm", "--restore", OTHER]):
        assert "on different file systems" in call(*command, status=1).err
    assert tree(run_dir) == ["meta.json", "status.json"]
    assert "already" in call("rm", storage / "runs/.recycle" / OTHER, "--yes", status=1).err


def test_run_of_the_layout_before_0_6_goes_to_the_same_folder(storage, call):
    """By id or by directory it goes where the viewer looks, and comes back into the layout of now."""
    run_dir = make(storage, path="", below="project/name/runs")
    (run_dir / "meta.json").write_text(json.dumps({"id": ID, "project": "project", "name": "name"}))
    call("rm", run_dir, "--yes")
    assert (storage / "runs/.recycle" / ID).is_dir()
    assert not (storage / "project/name/runs/.recycle").exists()

    call("rm", "--restore", ID)

    assert (storage / "runs/project/name" / ID / "meta.json").is_file()


# --- nothing leaves the storage -----------------------------------------------------------------------------------


def outside(tmp_path):
    """A directory of somebody else's, which looks like a run."""
    make(tmp_path / "theirs", path="", below="")
    return tmp_path / "theirs" / ID


def link_to_run(storage, theirs):
    (storage / "runs").mkdir(parents=True)
    (storage / "runs" / ID).symlink_to(theirs)
    return storage / "runs" / ID


def link_to_path(storage, theirs):
    (storage / "runs").mkdir(parents=True)
    (storage / "runs/cv").symlink_to(theirs.parent)
    return storage / "runs/cv" / ID


def link_to_runs(storage, theirs):
    storage.mkdir()
    (storage / "runs").symlink_to(theirs.parent)
    return storage / "runs" / ID


@pytest.mark.parametrize("disguise", [link_to_run, link_to_path, link_to_runs])
def test_no_name_and_no_link_leads_a_command_out_of_the_storage(storage, tmp_path, disguise):
    """Whatever a run's name or directory leads to: what is outside is not changed, moved or removed."""
    theirs = outside(tmp_path)
    before = {name: (theirs / name).read_bytes() for name in os.listdir(theirs)}
    directory = disguise(storage, theirs)
    there = tree(storage)

    for name in (ID, directory):
        for command in (["alias", name, "n"], ["tag", name, "+n"], ["rm", name, "--yes"], ["rm", "--restore", name]):
            assert main([command[0], "--storage", str(storage), *map(str, command[1:])]) == 1

    assert {name: (theirs / name).read_bytes() for name in os.listdir(theirs)} == before
    assert set(tree(storage)) - set(there) <= {"runs/.recycle"}


def test_recycle_folder_that_is_a_link_is_not_used(storage, call, tmp_path):
    """Neither into it nor out of it is anything moved, and what it leads to is not shown."""
    theirs = outside(tmp_path)
    run_dir = make(storage, OTHER)
    (storage / "runs/.recycle").symlink_to(theirs.parent)

    for command in (["rm", OTHER, "--yes"], ["rm", "--restore", ID], ["rm", "--restore"]):
        call(*command, status=1)

    assert tree(theirs.parent) == [ID, f"{ID}/meta.json", f"{ID}/status.json"]
    assert tree(run_dir) == ["meta.json", "status.json"]


@pytest.mark.parametrize(
    ("marked", "stored", "comes_to"),
    [
        ("../../theirs", "cv/x", "runs/cv/x"),
        ("/etc", "../..", "runs/etc"),
        ("a/../../b", "", "runs"),
        (5, ".recycle/x", "runs/default"),
        ("cv//x", 7, "runs/default"),
        ("my experiments/größe", "cv", "runs/my experiments/größe"),
    ],
)
def test_restored_run_comes_to_a_place_below_runs(storage, call, marked, stored, comes_to):
    """A path that leads elsewhere, in a marker or in meta.json, is not followed: the next one is, or the default."""
    run_dir = make(storage, path="", below="runs/.recycle")
    meta = {**meta_of(run_dir), "path": stored}
    (run_dir / "meta.json").write_text(json.dumps(meta))
    (run_dir / ".deleted").write_text(json.dumps({"deleted_at": 1.0, "original_path": marked}))

    call("rm", "--restore", ID)

    assert (storage / comes_to / ID / "meta.json").is_file()
    assert {path.name for path in storage.parent.iterdir()} <= {"storage", "cache", "no-configuration"}


def test_restored_run_comes_over_no_link_and_into_no_run(storage, call, tmp_path):
    """A path of which a part is a link by now, or a run, is refused; the run stays in the recycle folder."""
    theirs = outside(tmp_path)
    for run_id, path in ((ID, "cv/x"), (OTHER, "nlp/y")):
        run_dir = make(storage, run_id, path="", below="runs/.recycle")
        (run_dir / ".deleted").write_text(json.dumps({"original_path": path}))
    (storage / "runs/cv").symlink_to(theirs.parent)
    make(storage, "y", "nlp")

    assert "is a link" in call("rm", "--restore", ID, status=1).err
    assert "is a run itself" in call("rm", "--restore", OTHER, status=1).err

    assert sorted(os.listdir(storage / "runs/.recycle")) == [ID, OTHER]
    assert tree(theirs) == ["meta.json", "status.json"]


def test_copy_that_lies_in_no_storage_is_labelled_and_not_removed(storage, call, tmp_path):
    """A directory that was named is changed where it is; it has no recycle folder, and none is made."""
    storage.mkdir()
    copy = make(tmp_path / "copies", path="", below="")

    call("tag", copy, "+mine")
    assert "Remove it by hand" in call("rm", copy, "--yes", status=1).err

    assert meta_of(copy)["tags"] == ["mine"]
    assert tree(tmp_path / "copies") == [ID, f"{ID}/meta.json", f"{ID}/status.json"]


def test_place_of_a_run_is_checked_link_by_link(tmp_path):
    """The storage itself may be reached by a link; nothing below it may be one."""
    (tmp_path / "real/runs/cv").mkdir(parents=True)
    (tmp_path / "linked").symlink_to(tmp_path / "real")

    targets.check_location(str(tmp_path / "linked"), str(tmp_path / "linked/runs/cv/new"))
    with pytest.raises(errors.RefusedChangeError, match="not below the storage"):
        targets.check_location(str(tmp_path / "real"), str(tmp_path / "other"))
