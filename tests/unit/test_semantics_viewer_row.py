"""The run's row in ``runicorn.db`` of Runicorn 0.7.2."""

from __future__ import annotations

import math
import sqlite3
import sys
import time
from contextlib import closing

import pytest
from support import best, logged, meta, status, stopped_writer, wait_until, warnings_in, without_waiting

LONGER_THAN_A_TEST = "1000"
"""Seconds that SQLite is given: whoever waits for it is ended by the limit on every test."""

TABLES = """
CREATE TABLE experiments (
  id TEXT PRIMARY KEY, path TEXT NOT NULL DEFAULT 'default', alias TEXT,
  created_at REAL NOT NULL, updated_at REAL NOT NULL, started_at REAL, ended_at REAL,
  status TEXT NOT NULL DEFAULT 'running', exit_reason TEXT,
  pid INTEGER, python_version TEXT, platform TEXT, hostname TEXT,
  best_metric_name TEXT, best_metric_value REAL, best_metric_step INTEGER, best_metric_mode TEXT,
  deleted_at REAL, delete_reason TEXT,
  run_dir TEXT NOT NULL, workspace_root TEXT,
  duration_seconds REAL, metric_count INTEGER DEFAULT 0,
  CHECK (status IN ('running','finished','failed','interrupted')));
CREATE INDEX idx_experiments_path ON experiments(path);
CREATE INDEX idx_experiments_alias ON experiments(alias);
CREATE INDEX idx_experiments_status ON experiments(status);
CREATE INDEX idx_experiments_created_desc ON experiments(created_at DESC);
CREATE INDEX idx_experiments_best_metric ON experiments(best_metric_name, best_metric_value DESC);
CREATE INDEX idx_experiments_deleted ON experiments(deleted_at);
CREATE INDEX idx_experiments_active ON experiments(status, deleted_at) WHERE deleted_at IS NULL;
CREATE TABLE experiment_tags (experiment_id TEXT NOT NULL, tag TEXT NOT NULL,
  created_at REAL NOT NULL DEFAULT (unixepoch()), created_by TEXT,
  PRIMARY KEY (experiment_id, tag),
  FOREIGN KEY (experiment_id) REFERENCES experiments(id) ON DELETE CASCADE);
CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, experiment_id TEXT NOT NULL,
  timestamp REAL NOT NULL, metric_name TEXT NOT NULL, metric_value REAL, step INTEGER, stage TEXT,
  recorded_at REAL NOT NULL DEFAULT (unixepoch()),
  FOREIGN KEY (experiment_id) REFERENCES experiments(id) ON DELETE CASCADE);
INSERT INTO experiments (id, created_at, updated_at, status, run_dir)
  VALUES ('other', 1.0, 2.0, 'failed', '/other');
"""


@pytest.fixture(params=["wal", "delete"])
def database(request, storage):
    """A database as 0.7.2 makes it (write-ahead log), or with SQLite's default journal."""
    return make_database(storage, request.param)


@pytest.fixture
def wal_database(storage):
    """A database as 0.7.2 makes it."""
    return make_database(storage, "wal")


def make_database(storage, journal):
    """The tables that a viewer has made, with the row of another run."""
    storage.mkdir()
    path = storage / "runicorn.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode={journal}")
        connection.executescript(TABLES)
    return path


def row_of(database, run):
    """The row of a run as a dict; empty where there is none."""
    with closing(sqlite3.connect(database, timeout=10)) as connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute("SELECT * FROM experiments WHERE id = ?", (run.id,)).fetchall()
    assert len(rows) <= 1
    return dict(rows[0]) if rows else {}


def wait_for_row(database, run, **expected):
    """Return the row once it has these values."""
    wait_until(lambda: expected.items() <= row_of(database, run).items(), what=f"row with {expected}")
    return row_of(database, run)


@pytest.mark.detached_writer
def test_a_row_appears_at_init(open_run, database):
    """A live run has a row with what ``meta.json`` says, so that an open viewer lists it."""
    run = open_run(path="cv/a", alias="mine")
    row = wait_for_row(database, run, status="running")
    facts = meta(run)
    same = ("id", "path", "alias", "created_at", "pid", "platform", "hostname", "workspace_root")
    assert {name: row[name] for name in same} == {name: facts[name] for name in same}
    assert row["python_version"] == ".".join(map(str, sys.version_info[:3]))
    assert row["run_dir"] == str(run.run_dir)
    assert row["started_at"] == status(run)["started_at"]
    assert facts["created_at"] <= row["updated_at"] <= time.time()
    empty = ("ended_at", "exit_reason", "best_metric_name", "best_metric_value", "deleted_at")
    assert {row[name] for name in empty} == {None}


@pytest.mark.detached_writer
def test_an_open_viewer_sees_the_row(open_run, wal_database):
    """A reader that has the database open all the time sees it at its next query."""
    with closing(sqlite3.connect(wal_database)) as viewer:
        assert viewer.execute("SELECT count(*) FROM experiments").fetchone() == (1,)
        open_run()
        wait_until(lambda: viewer.execute("SELECT count(*) FROM experiments").fetchone() == (2,))


@pytest.mark.detached_writer
def test_the_row_has_the_best_metric_while_running(open_run, database, monkeypatch):
    """The best metric of a live run is kept current."""
    monkeypatch.setenv("RUNICORN_SUMMARY_INTERVAL_S", "0.05")
    run = open_run()
    run.set_primary_metric("acc", "min")
    run.log(acc=0.5, step=3)
    best_of = {"best_metric_name": "acc", "best_metric_mode": "min"}
    wait_for_row(database, run, **best_of, best_metric_value=0.5, best_metric_step=3)
    run.log(acc=0.25, step=4)
    wait_for_row(database, run, **best_of, best_metric_value=0.25, best_metric_step=4)
    assert row_of(database, run)["status"] == "running"


@pytest.mark.detached_writer
@pytest.mark.parametrize("word", ["finished", "failed", "interrupted"])
def test_the_row_has_the_end(open_run, wal_database, word):
    """After ``finish()`` the row gets the final status, its time and the best metric."""
    run = open_run()
    run.set_primary_metric("acc")
    run.log(acc=0.5)
    run.log(acc=math.nan)
    run.finish(word)
    row = wait_for_row(wal_database, run, status=word)
    assert row["ended_at"] == status(run)["ended_at"]
    named = tuple(row[f"best_metric_{part}"] for part in ("name", "mode", "value", "step"))
    assert named == best(run) == ("acc", "max", 0.5, 1)


@pytest.mark.detached_writer
def test_the_row_has_the_reason(open_run, wal_database):
    """Why a run failed is in its row."""
    run = open_run()
    with pytest.raises(ValueError, match="mine"), run:
        raise ValueError("mine")
    wait_for_row(wal_database, run, status="failed", exit_reason="ValueError: mine")


@pytest.mark.detached_writer
def test_the_row_of_a_resumed_run_is_running_again(open_run, wal_database):
    """A resumed run's row loses its end, and gets the next."""
    run = open_run(alias="mine")
    run.set_primary_metric("acc")
    run.log(acc=1)
    run.finish("failed")
    wait_for_row(wal_database, run, status="failed")
    again = open_run(run_id=run.id)
    row = wait_for_row(wal_database, run, status="running")
    assert (row["ended_at"], row["alias"]) == (None, "mine")
    assert row["best_metric_value"] == 1
    again.finish()
    wait_for_row(wal_database, run, status="finished")


@pytest.mark.detached_writer
def test_what_the_viewer_has_put_into_the_row_stays(open_run, wal_database):
    """An alias edited, or a run deleted, in the viewer is not undone by the next update."""
    run = open_run(alias="mine")
    wait_for_row(wal_database, run, status="running")
    with closing(sqlite3.connect(wal_database, timeout=10)) as viewer:
        viewer.execute("UPDATE experiments SET alias = 'edited', deleted_at = 5.0 WHERE id = ?", (run.id,))
        viewer.commit()
    run.finish()
    row = wait_for_row(wal_database, run, status="finished")
    assert (row["alias"], row["deleted_at"]) == ("edited", 5.0)


@pytest.mark.detached_writer
def test_nothing_else_in_the_database_is_touched(open_run, wal_database):
    """Rows of other runs and other tables stay as they are."""
    run = open_run()
    run.log(loss=1)
    run.finish()
    wait_for_row(wal_database, run, status="finished")
    with closing(sqlite3.connect(wal_database)) as viewer:
        others = viewer.execute(
            "SELECT id, created_at, updated_at, status, run_dir FROM experiments WHERE id != ?", (run.id,)
        ).fetchall()
        assert others == [("other", 1.0, 2.0, "failed", "/other")]
        assert viewer.execute("SELECT count(*) FROM metrics").fetchone() == (0,)
        assert viewer.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_the_database_is_never_made(open_run, storage):
    """Where there is none, none is made, nor any file of SQLite's."""
    run = open_run()
    run.set_primary_metric("acc")
    run.log(acc=1)
    run.finish()
    assert [path.name for path in storage.iterdir()] == ["runs"]


@pytest.mark.detached_writer
def test_a_database_that_goes_away_is_not_made_again(open_run, wal_database, storage):
    """One that is removed while the run is live stays away."""
    run = open_run()
    wait_for_row(wal_database, run, status="running")
    wal_database.unlink()
    run.log(a=1)
    run.finish()
    assert not wal_database.exists()
    assert status(run)["status"] == "finished"
    assert not (storage / "runicorn.db-journal").exists()


@pytest.mark.detached_writer
def test_a_locked_database_delays_nothing_and_fails_nothing(open_run, database, caplog, capfd, monkeypatch):
    """While another program holds it, the run is opened, stored and ended as if it were not there."""
    monkeypatch.setenv("RUNICORN_DATABASE_WAIT_S", LONGER_THAN_A_TEST)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        run = open_run()
        run.set_primary_metric("acc")
        for number in range(1000):
            run.log(acc=number)
        wait_until(lambda: run._session.control.stored_records == 1000)
        run.finish()
        other.execute("ROLLBACK")
    assert len(logged(run)) == 1000
    assert best(run) == ("acc", "max", 999, 1000)
    assert set(status(run)) == {"status", "started_at", "ended_at", "last_step"}
    assert warnings_in(caplog) == []
    out, err = capfd.readouterr()
    assert out + without_waiting(err) == ""


@pytest.mark.detached_writer
def test_finish_does_not_wait_for_a_locked_database(open_run, wal_database, monkeypatch):
    """Nothing ever waits for the thread that writes the row, whatever its patience is."""
    monkeypatch.setenv("RUNICORN_DATABASE_WAIT_S", LONGER_THAN_A_TEST)
    with closing(sqlite3.connect(wal_database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        run = open_run()
        run.log(a=1)
        run.finish()
        other.execute("ROLLBACK")
    wait_for_row(wal_database, run, status="finished")


IN_PROCESS = """
import sys
import runicorn as rn
sys.executable = ""  # as in a program that embeds Python: no writer can be started
run = rn.init(storage=sys.argv[1])
run.log(a=1)
run.finish()
"""


def test_finish_does_not_wait_where_there_is_no_writer_process(run_program, storage, wal_database, monkeypatch):
    """A program that has to store by itself does not wait for the database either."""
    monkeypatch.setenv("RUNICORN_DATABASE_WAIT_S", LONGER_THAN_A_TEST)
    with closing(sqlite3.connect(wal_database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        run_program(IN_PROCESS)
        other.execute("ROLLBACK")
    (run_dir,) = (path.parent for path in storage.rglob("status.json"))
    assert logged(run_dir) == [{"a": 1}]


RANK = """
import os, sys
os.environ |= {"RANK": sys.argv[2], "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "RUNICORN_JOB_ID": "1"}
import runicorn as rn
run = rn.init(storage=sys.argv[1])
run.log(a=1)
run.finish()
"""


def test_a_rank_that_comes_late_leaves_the_end_in_the_row(run_program, wal_database):
    """The records of a late rank are stored, and the row of an ended run does not become running again."""
    with closing(sqlite3.connect(wal_database, timeout=60)) as connection:
        connection.executescript(
            "CREATE TABLE told (status TEXT);"
            "CREATE TRIGGER i AFTER INSERT ON experiments BEGIN INSERT INTO told VALUES (new.status); END;"
            "CREATE TRIGGER u AFTER UPDATE ON experiments BEGIN INSERT INTO told VALUES (new.status); END;"
        )

        def told():
            return [word for (word,) in connection.execute("SELECT status FROM told ORDER BY rowid")]

        run_program(RANK, 0)
        wait_until(lambda: told()[-1:] == ["finished"])
        before = told()
        run_program(RANK, 1)
        wait_until(lambda: len(told()) > len(before) and told()[-1] == "finished")
        assert set(told()[len(before) :]) == {"finished"}


@pytest.mark.detached_writer
def test_a_database_that_was_locked_gets_the_row_later(open_run, wal_database):
    """Once it is free again the row is written."""
    with closing(sqlite3.connect(wal_database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        run = open_run()
        run.log(a=1)
        wait_until(lambda: logged(run))
        other.execute("ROLLBACK")
    wait_for_row(wal_database, run, status="running")


BROKEN = {
    "garbage": lambda path: path.write_bytes(b"this is no database\n" * 100),
    "empty": lambda path: path.write_bytes(b""),
    "directory": lambda path: path.mkdir(),
    "other table": lambda path: make_other(path, "CREATE TABLE experiments (id TEXT PRIMARY KEY)"),
    "refuses": lambda path: make_other(
        path,
        TABLES
        + """CREATE TRIGGER no BEFORE INSERT ON experiments
             BEGIN SELECT RAISE(ABORT, 'no'); END""",
    ),
}


def make_other(path, script):
    """A database that is not quite what is expected."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


@pytest.mark.detached_writer
@pytest.mark.parametrize("kind", BROKEN)
def test_no_failure_there_touches_the_run(open_run, storage, monkeypatch, caplog, capfd, kind):
    """Whatever is wrong with the database, the run is stored and ended, and nobody is told."""
    monkeypatch.setenv("RUNICORN_DATABASE_WAIT_S", "0.5")
    storage.mkdir()
    path = storage / "runicorn.db"
    BROKEN[kind](path)
    before = path.read_bytes() if path.is_file() else None
    run = open_run()
    run.log(a=1)
    run.finish()
    assert logged(run) == [{"a": 1}]
    assert set(status(run)) == {"status", "started_at", "ended_at", "last_step"}
    assert before is None or path.read_bytes() == before
    assert warnings_in(caplog) == []
    out, err = capfd.readouterr()
    assert out + without_waiting(err) == ""


@pytest.mark.detached_writer
def test_an_error_leaves_no_transaction_open(open_run, storage, monkeypatch):
    """After an error everybody can write at once: the transaction was rolled back."""
    monkeypatch.setenv("RUNICORN_DATABASE_WAIT_S", "0.5")
    storage.mkdir()
    path = storage / "runicorn.db"
    BROKEN["refuses"](path)
    run = open_run()
    run.log(a=1)
    wait_until(lambda: logged(run))
    with (
        stopped_writer(run),  # whatever it holds now it goes on holding
        closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as viewer,
    ):
        viewer.execute("BEGIN IMMEDIATE")
        viewer.execute("UPDATE experiments SET alias = 'mine' WHERE id = 'other'")
        viewer.execute("COMMIT")


@pytest.mark.detached_writer
def test_the_viewers_own_note_of_the_end_does_not_stop_ours(open_run, wal_database):
    """A viewer that has seen the end in status.json, and noted it in the row first, does not keep the best from it."""
    run = open_run()
    run.set_primary_metric("acc")
    run.log(acc=0.5)
    wait_for_row(wal_database, run, status="running")
    with closing(sqlite3.connect(wal_database, isolation_level=None, timeout=20)) as viewer:
        viewer.execute("BEGIN IMMEDIATE")
        run.log(acc=0.75)
        run.finish()
        note = "UPDATE experiments SET status = 'finished', updated_at = ? WHERE id = ?"
        viewer.execute(note, (time.time() + 5, run.id))
        viewer.execute("COMMIT")
    wait_for_row(wal_database, run, status="finished", best_metric_value=0.75)
