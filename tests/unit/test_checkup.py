"""``runicorn doctor``: what it finds in order, what it finds broken, and that it leaves nothing behind."""

import json
import os
import sqlite3
from pathlib import Path

import pytest

from runicorn import doctor as runicorn_doctor
from runicorn.cli import main
from runicorn.doctor import memory, probe, processes, storage, surroundings
from runicorn.host import identity
from runicorn.queue import spool
from runicorn.session import writer_process
from runicorn.settings import Settings

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.detached_writer  # doctor starts one
NAMES = ("storage", "storage_writable", "storage_space", "runs", "tracking", "shared_memory", "temp_directory")
NAMES += ("locks", "storage_locks", "writer", "variables", "launcher", "versions", "accelerator")


@pytest.fixture
def doctor(storage, capsys):
    """Call the command; its findings by name, the last of each, and the exit status."""

    def run(*arguments, root=storage):
        status = main(["doctor", "--storage", str(root), "--json", *arguments])
        told = json.loads(capsys.readouterr().out)
        assert told["ok"] == (status == 0)
        return {each["name"]: each for each in told["findings"]}, status

    return run


@pytest.fixture
def no_trial(monkeypatch):
    """Without the writer that is started, for tests of the rest."""
    monkeypatch.setattr(processes, "writer_starts", lambda *_, **__: iter(()))


def everything(*tops):
    return sorted(str(path) for top in tops for path in Path(top).rglob("*"))


def make_spool(storage, run_id="run"):
    return spool.create(
        run_id=run_id,
        run_dir=str(storage / "runs" / run_id),
        storage=str(storage),
        path="",
        host=identity.hostname(),
        opened_at=5.0,
        settings=Settings.from_environment(),
    )


@pytest.mark.parametrize(
    ("is_built", "is_switched_off", "found"),
    [(True, False, "one call of C"), (True, True, "RUNICORN_ACCELERATOR"), (False, False, "was not built")],
)
def test_why_log_runs_in_python(is_built, is_switched_off, found, monkeypatch):
    """The finding tells an accelerator that was not built from one that is switched off, and says what to do."""
    there = object() if is_built and not is_switched_off else None
    monkeypatch.setattr(surroundings, "push_metrics", there)
    monkeypatch.setattr(surroundings, "is_switched_off", is_switched_off)
    (finding,) = surroundings.accelerator()
    assert found in finding.text
    assert (finding.advice is None) == (there is not None)
    assert is_switched_off == ("Remove RUNICORN_ACCELERATOR" in str(finding.advice))


def test_healthy_place_is_found_to_be_one_and_left_as_it_was(storage, doctor, monkeypatch, capsys):
    """All is well: a writer was really started, every finding is there, and no probe or spool is left."""
    (storage / "runs").mkdir(parents=True)
    monkeypatch.setenv("RUNICORN_ON", "0")  # the trial is made all the same
    places = (storage, os.environ["RUNICORN_SHM_DIR"], os.environ["TMPDIR"])
    before = everything(*places)

    found, status = doctor()

    assert status == 0
    assert tuple(found) == NAMES
    assert [name for name in NAMES if f"`{name}`" not in DOCS] == []
    assert {name for name, each in found.items() if each["status"] != "ok"} == {"tracking"}
    assert found["writer"]["details"]["is_process"] is True
    assert found["storage"]["details"] == {"root": str(storage), "source": "argument"}
    assert found["shared_memory"]["details"]["budget_bytes"] > 0
    assert found["versions"]["details"]["msgspec"]
    assert everything(*places) == before
    monkeypatch.setattr(processes, "writer_starts", lambda *_, **__: iter(()))
    assert main(["doctor", "--storage", str(storage)]) == 0
    assert "ok      storage " in capsys.readouterr().out


@pytest.mark.usefixtures("no_trial")
def test_records_of_dead_processes_are_something_to_do(storage, doctor):
    """What a run has left in memory is named, with its run and how to store it; a live run's spool is in order."""
    storage.mkdir()
    address, owner = make_spool(storage)
    try:
        found, status = doctor()
        assert (found["leftover"]["status"], status) == ("ok", 0)
        assert found["leftover"]["details"]["live"] is True
        owner.release()

        found, status = doctor()

        assert (found["leftover"]["status"], status) == ("broken", 1)
        assert found["leftover"]["advice"] == "Store the records with: runicorn recover"
        details = found["leftover"]["details"]
        assert details.pop("size_bytes") > spool.PLAN_BYTES
        assert details == {
            "spool": address.spool,
            "run": "run",
            "run_dir": str(storage / "runs/run"),
            "storage": str(storage),
            "live": False,
        }
        spool.open_overflow(address)
        spool.remove(address.spool)
        found, status = doctor()
        assert (found["leftover"]["status"], found["leftover"]["details"]["spool"]) == ("note", address.overflow)
    finally:
        owner.release()
        spool.remove(address.overflow)
        spool.remove(address.spool)


def test_the_reason_for_the_storage_is_named(tmp_path, monkeypatch):
    """An argument, else the variable, else the configuration, else the working directory."""
    configuration = tmp_path / "no-configuration/runicorn/config.json"
    configuration.parent.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    def found(given=None):
        return next(iter(storage.diagnose(given))).details

    assert found() == {"root": str(tmp_path / ".runicorn"), "source": "default"}
    configuration.write_text(json.dumps({"user_root_dir": str(tmp_path / "c")}))
    assert found() == {"root": str(tmp_path / "c"), "source": "configuration"}
    monkeypatch.setenv("RUNICORN_DIR", str(tmp_path / "d"))
    assert found() == {"root": str(tmp_path / "d"), "source": "RUNICORN_DIR"}
    assert found("e") == {"root": str(tmp_path / "e"), "source": "argument"}
    monkeypatch.delenv("RUNICORN_DIR")
    configuration.write_text("{")
    assert [each.status for each in storage.diagnose(None) if each.name == "configuration"] == ["broken"]


def broken_storage(monkeypatch, top, kind):
    if kind == "file in the way":
        top.parent.mkdir()
        top.parent.joinpath("storage").write_text("")
        return top / "below"
    top.mkdir(parents=True)
    if kind == "runs is a file":
        (top / "runs").write_text("")
    if kind == "runs is a link":
        (top / "runs").symlink_to(top.parent)
    if kind == "no fsync":

        def refuse(_):
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(probe.os, "fsync", refuse)
    return top


@pytest.mark.parametrize("kind", ["file in the way", "runs is a file", "runs is a link", "no fsync"])
def test_storage_that_cannot_be_used_is_broken(tmp_path, monkeypatch, kind):
    """No directory can be made, no run would be listed, nothing can be made durable: said, with what to do."""
    top = broken_storage(monkeypatch, tmp_path / "a" / "storage", kind)

    found = {each.name: each for each in storage.diagnose(str(top))}

    assert found["storage_writable"].status == runicorn_doctor.BROKEN
    assert found["storage_writable"].advice
    assert {path.name for path in (tmp_path / "a").rglob("*")} <= {"storage", "runs"}


def test_lost_runs_and_a_damaged_database_are_worth_knowing(storage):
    """Neither keeps a run from being stored: both are notes."""
    top = storage
    run_dir = top / "runs/cv/a"
    run_dir.mkdir(parents=True)
    (run_dir / "meta.json").write_text(json.dumps({"hostname": identity.hostname(), "pid": 2**22 - 1}))
    (run_dir / "status.json").write_text(json.dumps({"status": "running"}))
    (top / "runicorn.db").write_bytes(b"garbage" * 200)

    found = {each.name: each for each in runicorn_doctor.storage.diagnose(str(top))}

    assert (found["runs"].status, found["runs"].details["lost"]) == ("note", 1)
    assert found["viewer_database"].status == "note"
    (top / "runicorn.db").unlink()
    connection = sqlite3.connect(top / "runicorn.db")
    connection.execute("CREATE TABLE experiments (id TEXT)")
    connection.close()
    found = {each.name: each for each in runicorn_doctor.storage.diagnose(str(top))}
    assert (found["viewer_database"].status, found["viewer_database"].details["rows"]) == ("ok", 0)


@pytest.mark.usefixtures("no_trial")
def test_variables_are_named_and_what_may_be_secret_is_not_shown(doctor, monkeypatch):
    """A wrong setting is broken, an unknown name is guessed at, and no value is printed that is not a setting's."""
    monkeypatch.setenv("RUNICORN_TICK_S", "0.5")
    monkeypatch.setenv("RUNICORN_FSYNC_INTERVAL", "3")
    monkeypatch.setenv("RUNICORN_SSH_ASKPASS_SECRET", "hunter2")
    settings, told = surroundings.settings()

    assert settings.tick_s == 0.5
    assert [each.status for each in told] == ["ok", "note"]
    assert told[0].details["changed"]["tick_s"] == 0.5
    assert told[1].advice == "Did you mean RUNICORN_FSYNC_INTERVAL_S?"
    assert "hunter2" not in repr(told)
    monkeypatch.setenv("RUNICORN_TICK_S", "often")
    monkeypatch.setenv("RUNICORN_RANK_MODE", "sideways")
    found, status = doctor()
    assert (found["settings"]["status"], found["launcher"]["status"], status) == ("broken", "broken", 1)


def test_rank_of_a_job_is_recognised(monkeypatch):
    """Rank and world size are told; a job that nothing tells from others is noted."""
    for name, value in {"RANK": "3", "WORLD_SIZE": "8", "MASTER_ADDR": "node0"}.items():
        monkeypatch.setenv(name, value)
    (found,) = surroundings.launcher()
    assert (found.status, found.details["rank"], found.details["world_size"]) == ("note", 3, "8")
    monkeypatch.setenv("RUNICORN_JOB_ID", "17")
    (found,) = surroundings.launcher()
    assert (found.status, found.details["job"]) == ("ok", "job-17")


def test_memory_that_is_missing_or_too_small_is_told(tmp_path):
    """A directory that was named and is not there is broken, and so is a budget with which no run can work."""
    missing = {each.name: each for each in memory.diagnose(Settings(shm_dir=str(tmp_path / "missing")))}
    small = {each.name: each for each in memory.diagnose(Settings(shm_dir=str(tmp_path), spool_max_bytes=1000))}

    assert (missing["shared_memory"].status, missing["temp_directory"].status) == ("broken", "ok")
    assert small["shared_memory"].status == "broken"


def test_locks_that_others_do_not_see_are_broken(storage, monkeypatch):
    """A child that sees no lock, or sees one that was given up, says that locks do not work there."""
    storage.mkdir()
    settings = Settings.from_environment()
    assert [each.status for each in processes.locks_work(settings, str(storage))] == ["ok", "ok"]
    for answer in ("0", "1"):
        monkeypatch.setattr(processes, "_LOOK", f"print({answer})")
        assert [each.status for each in processes.locks_work(settings, str(storage))] == ["broken", "note"]


@pytest.mark.parametrize("program", ["raise OSError('no such luck')", 'print(\'{"run_dir": "/nowhere"}\')'])
def test_writer_that_does_not_come_is_broken(monkeypatch, program):
    """A trial that fails, or whose run is not stored, is told with the reason; where none is possible, that is told."""
    settings = Settings.from_environment()
    monkeypatch.setattr(processes, "_TRIAL", program)
    (found,) = processes.writer_starts(settings, tried=True)
    assert found.status == runicorn_doctor.BROKEN
    assert "no such luck" in found.text or "not stored" in found.text
    monkeypatch.setattr(writer_process.sys, "frozen", True, raising=False)
    (found,) = processes.writer_starts(settings, tried=True)
    assert found.status == runicorn_doctor.NOTE
