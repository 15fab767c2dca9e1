"""The runs of a storage: which there are, what is known of each, and which one is meant."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from runicorn import reading
from runicorn.host import identity
from runicorn.host.locks import Lock
from runicorn.queue import spool
from runicorn.reading import index as index_module
from runicorn.reading import liveness
from runicorn.settings import Settings

NOW = 0.0


@pytest.fixture(autouse=True)
def now():
    """Ages are those at the test's beginning."""
    global NOW  # noqa: PLW0603 - what the helpers below count from
    NOW = time.time()


@pytest.fixture(autouse=True)
def cache_dir(monkeypatch, tmp_path):
    """The cache is the test's own."""
    monkeypatch.setenv("RUNICORN_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make(storage, run_id, path="default", *, age_s=100.0, status="finished", meta=(), summary=None, **more):
    run_dir = Path(storage, "runs", *filter(None, path.split("/")), run_id)
    run_dir.mkdir(parents=True)
    created = {"id": run_id, "path": path, "alias": None, "created_at": NOW - age_s, "hostname": identity.hostname()}
    (run_dir / "meta.json").write_text(json.dumps({**created, "pid": os.getpid(), **dict(meta)}))
    (run_dir / "status.json").write_text(json.dumps({"status": status, "started_at": NOW - age_s, **more}))
    if summary is not None:
        (run_dir / "summary.json").write_text(json.dumps(summary))
    return run_dir


def ids(infos):
    return [info.id for info in infos]


def gone_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


# --- what is known of a run ---------------------------------------------------------------------------------------


def test_info_has_what_the_files_say(storage):
    """Every field of a run's info comes from its files."""
    best = {"best_metric_name": "acc", "best_metric_value": 0.9, "best_metric_step": 7, "best_metric_mode": "max"}
    labels = {"notes": "why", "group": "g", "parent": 3}
    run_dir = make(
        storage,
        "a",
        "cv/x",
        meta={"alias": "seed", "tags": ["t", 5], "resumed": [{}, {}], "pid": 12, **labels},
        summary={**best, "note": "n"},
        status="failed",
        ended_at=NOW - 40,
        exit_reason="process gone",
        last_step=99,
    )

    (info,) = reading.runs(storage)

    assert msgspec.structs.asdict(info) == {
        "id": "a",
        "path": "cv/x",
        "alias": "seed",
        "run_dir": str(run_dir),
        "storage": str(storage),
        "status": "failed",
        "stored_status": "failed",
        "exit_reason": "process gone",
        "created_at": NOW - 100,
        "started_at": NOW - 100,
        "ended_at": NOW - 40,
        "duration_s": 60.0,
        "hostname": identity.hostname(),
        "pid": 12,
        **best,
        "last_step": 99,
        "summary": {**best, "note": "n"},
        "tags": ["t"],
        "notes": "why",
        "group": "g",
        "parent": None,
        "resumed": 2,
        "damaged": [],
    }


def test_last_step_of_a_run_that_does_not_say_is_that_of_its_last_line(storage):
    """Where the status has no step, as in Runicorn 0.7.2, the end of the events file has."""
    run_dir = make(storage, "a")
    event = {"ts": 1.0, "type": "metrics", "data": {"global_step": 41, "time": 1.0}}
    (run_dir / "events.jsonl").write_text(json.dumps(event) + "\n")

    assert reading.runs(storage)[0].last_step == 41


@pytest.mark.parametrize("content", [b"", b'{"id": "x', b"[1]", b"\0\0\0", b"\xff", b'{"a":' * 100_000])
@pytest.mark.parametrize("name", ["meta.json", "status.json", "summary.json"])
def test_damaged_json_file_is_named_and_the_rest_is_known(storage, name, content):
    """A file that cannot be read leaves its fields empty, is named, and hides neither the run nor another."""
    run_dir = make(storage, "a", "cv", summary={"x": 1}, ended_at=NOW)
    make(storage, "b")
    (run_dir / name).write_bytes(content)

    infos = reading.runs(storage, path="cv")

    assert [(info.id, info.path, info.damaged) for info in infos] == [("a", "cv", [name])]
    assert infos[0].status == ("unknown" if name == "status.json" else "finished")
    assert len(reading.runs(storage)) == 2


@pytest.mark.parametrize(
    "wrong",
    [{"status": 5}, {"status": "odd"}, {"started_at": "x"}, {"ended_at": [1]}, {"ended_at": 10**400}, {}],
)
def test_fields_of_another_type_are_as_missing(storage, wrong):
    """What is not of a field's type is not there; a status that is none is unknown."""
    run_dir = make(storage, "a")
    (run_dir / "status.json").write_text(json.dumps(wrong))
    (run_dir / "meta.json").write_text('{"path": 7, "alias": {}, "pid": "x", "tags": "t", "created_at": null}')

    (info,) = reading.runs(storage)

    assert (info.status, info.path, info.alias, info.pid, info.tags) == ("unknown", "default", None, None, [])


def test_word_for_a_status_is_the_status_that_it_stands_for(storage):
    """A foreign ``completed`` is finished; what stands in the file is kept beside it."""
    make(storage, "a", status="completed")

    (info,) = reading.runs(storage)

    assert (info.status, info.stored_status) == ("finished", "completed")


# --- which runs there are -----------------------------------------------------------------------------------------


def test_directory_with_meta_or_status_is_a_run(storage):
    """A directory with one of the two is a run, is not searched for others, and one with neither is none."""
    outer = make(storage, "a", "cv")
    make(storage / "runs" / "cv" / "a" / "..", "unused", "")
    shutil.rmtree(storage / "runs" / "cv" / "runs")
    (outer / "inner").mkdir()
    (outer / "inner" / "meta.json").write_text("{}")
    only_events = storage / "runs" / "cv" / "no-run"
    only_events.mkdir()
    (only_events / "events.jsonl").write_text("")
    only_meta = storage / "runs" / "m"
    only_meta.mkdir()
    (only_meta / "meta.json").write_text("{}")

    assert sorted(ids(reading.runs(storage))) == ["a", "m"]


def test_missing_storage_has_no_runs(tmp_path):
    """A storage that is not there is an empty one."""
    assert reading.runs(tmp_path / "nowhere") == []


def test_storage_is_found_as_init_finds_it(storage, monkeypatch):
    """Without a storage ``RUNICORN_DIR`` counts."""
    make(storage, "a")
    monkeypatch.setenv("RUNICORN_DIR", str(storage))

    assert ids(reading.runs()) == ["a"]
    assert reading.find("a").id == "a"


def test_recycled_runs_are_listed_on_request(storage):
    """What was deleted in the viewer is listed with ``recycled`` alone."""
    make(storage, "kept")
    make(storage, "deleted", ".recycle", meta={"path": "cv"})

    assert ids(reading.runs(storage)) == ["kept"]
    assert sorted(ids(reading.runs(storage, recycled=True))) == ["deleted", "kept"]
    assert ids(reading.runs(storage)) == ["kept"]


def test_legacy_layout_is_found(storage):
    """Runs under ``<project>/<name>/runs`` are listed, with both as their path."""
    legacy = storage / "vision" / "resnet" / "runs" / "20250101_000000_abcdef"
    legacy.mkdir(parents=True)
    (legacy / "status.json").write_text('{"status": "finished", "started_at": 5.0}')
    (storage / "archive" / "x" / "runs" / "no-run").mkdir(parents=True)
    (storage / "archive" / "x" / "runs" / "no-run" / "meta.json").write_text("{}")
    make(storage, "new")

    assert [(info.id, info.path) for info in reading.runs(storage)] == [
        ("new", "default"),
        ("20250101_000000_abcdef", "vision/resnet"),
    ]


def test_nothing_outside_the_storage_is_read(storage, tmp_path):
    """Links that lead out, and paths with ``..`` in meta.json, show nothing of what is outside."""
    outside = make(tmp_path / "elsewhere", "secret", meta={"alias": "SECRET"}, summary={"key": "SECRET"})
    (outside / "events.jsonl").write_text('{"ts":1,"type":"metrics","data":{"SECRET":1,"global_step":1,"time":1}}\n')
    (outside / "logs.txt").write_text("SECRET\n")
    make(storage, "a", meta={"path": "../../elsewhere", "id": "../../../elsewhere/runs/default/secret"})
    linked = make(storage, "b")
    (storage / "runs" / "link").symlink_to(outside.parent)
    (storage / "runs" / "c").symlink_to(outside)
    for name in ("meta.json", "summary.json", "events.jsonl", "logs.txt"):
        (linked / name).unlink(missing_ok=True)
        (linked / name).symlink_to(outside / name)

    infos = {info.id: info for info in reading.runs(storage)}

    assert sorted(infos) == ["a", "b"]
    assert infos["a"].path == "default"
    assert infos["b"].damaged == ["meta.json", "summary.json"]
    assert "SECRET" not in repr(infos)
    run = reading.load(infos["b"])
    assert (run.metrics, list(run.text()), run.summary) == ([], [], {})
    assert {each.file for each in run.problems} == {"meta.json", "summary.json", "events.jsonl"}


def test_link_inside_the_run_directory_is_followed(storage):
    """A file of the run under another name in the same directory is a file of the run."""
    run_dir = make(storage, "a", summary={"x": 1})
    (run_dir / "summary.json").rename(run_dir / "real.json")
    (run_dir / "summary.json").symlink_to("real.json")

    assert reading.runs(storage)[0].summary == {"x": 1}


def test_fifo_under_a_name_of_ours_holds_nobody_up(storage):
    """A named pipe in the place of a file is told as damaged, at once."""
    run_dir = make(storage, "a")
    (run_dir / "meta.json").unlink()
    os.mkfifo(run_dir / "meta.json")
    os.mkfifo(run_dir / "events.jsonl")

    assert reading.runs(storage)[0].damaged == ["meta.json"]
    assert reading.load("a", storage).metrics == []


# --- filters ------------------------------------------------------------------------------------------------------


@pytest.fixture
def several(storage):
    make(storage, "r1", "cv", age_s=400)
    make(storage, "r2", "cv/x", age_s=300, status="failed", meta={"alias": "seed-1"})
    make(storage, "r3", "cvx", age_s=200, meta={"alias": "seed-2"})
    make(storage, "r4", "", age_s=100, status="interrupted", summary={"acc": 0.5})
    return storage


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["r4", "r3", "r2", "r1"]),
        ({"path": "cv"}, ["r2", "r1"]),
        ({"path": "cv/*"}, ["r2"]),
        ({"path": "cv*"}, ["r3", "r2", "r1"]),
        ({"path": "/"}, ["r4", "r3", "r2", "r1"]),
        ({"path": "nowhere"}, []),
        ({"status": "failed"}, ["r2"]),
        ({"status": ["failed", "interrupted"]}, ["r4", "r2"]),
        ({"alias": "seed-1"}, ["r2"]),
        ({"alias": "seed-*"}, ["r3", "r2"]),
        ({"newer_than_s": 250}, ["r4", "r3"]),
        ({"older_than_s": 250}, ["r2", "r1"]),
        ({"where": lambda info: info.summary.get("acc", 0) > 0.1}, ["r4"]),
        ({"path": "cv", "status": "finished", "older_than_s": 350}, ["r1"]),
    ],
)
def test_filters_choose_runs(several, filters, expected):
    """Runs come newest first, and each filter that is given must be met."""
    assert ids(reading.runs(several, **filters)) == expected


def test_unknown_status_is_an_error(several):
    """A status that there is not is a mistake, and the message says which there are."""
    with pytest.raises(ValueError, match=r"'done' is not a status. Write one of running, lost"):
        reading.runs(several, status="done")


# --- the one that is meant ----------------------------------------------------------------------------------------


def test_run_is_found_by_whatever_names_it(several, monkeypatch):
    """An id, the beginning of one, an alias, a directory or an info names a run."""
    make(several, "20261122_205431_0263c3", "cv/x")
    monkeypatch.chdir(several / "runs" / "cv")
    named = reading.find("r2", several)

    assert named.alias == "seed-1"
    assert reading.find("seed-1", several) == named
    assert reading.find("20261122", several).id == "20261122_205431_0263c3"
    assert reading.find(several / "runs" / "cv" / "x" / "r2") == named
    assert reading.find(str(several / "runs" / "cv" / "x" / "r2") + "/") == named
    assert reading.find("x/r2").id == "r2"
    assert reading.find(named) == named


def test_copy_outside_any_storage_is_found_by_its_directory(several, tmp_path):
    """A run directory that lies by itself, as rsync leaves it, is a run."""
    shutil.copytree(several / "runs" / "cv" / "x" / "r2", tmp_path / "copied")

    info = reading.find(tmp_path / "copied")

    assert (info.id, info.path, info.alias, info.storage) == ("copied", "cv/x", "seed-1", str(tmp_path))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("r", r"4 runs in .* match the id prefix 'r': r4 \(/\), r3 \(cvx\), r2 \(cv/x\), r1 \(cv\)"),
        ("nobody", r"No run matches 'nobody' in .* \(tried id, id prefix, alias, path, directory\). Newest runs: r4"),
        ("", r"No run matches '' in "),
        ("x/nobody", r"No run matches 'x/nobody' in "),
        ("./", r"No run matches './' in "),
    ],
)
def test_run_that_is_not_clear_is_an_error_with_candidates(several, given, message, monkeypatch):
    """What names no run, or several, is an error that says what was looked for, where, and what there is."""
    monkeypatch.chdir(several)
    with pytest.raises(LookupError, match=message):
        reading.find(given, several)


def test_alias_of_two_runs_is_no_name(several):
    """An alias that two runs have names neither."""
    make(several, "r5", meta={"alias": "seed-1"})

    with pytest.raises(LookupError, match=r"2 runs in .* match the alias 'seed-1'"):
        reading.find("seed-1", several)


def test_id_in_two_places_is_no_name(several):
    """An id that two directories have is answered with both."""
    make(several, "r1", "other")

    with pytest.raises(LookupError, match=r"2 directories in .* have the run id 'r1'"):
        reading.load("r1", several)


# --- running or lost ----------------------------------------------------------------------------------------------


def test_run_of_0_7_2_is_lost_when_its_process_is_gone(storage):
    """Without a spool the pid decides, on the host that the run was opened on."""
    make(storage, "alive", status="running")
    make(storage, "dead", status="running", meta={"pid": gone_pid()})
    make(storage, "elsewhere", status="running", meta={"pid": gone_pid(), "hostname": "another-host"})

    assert {info.id: info.status for info in reading.runs(storage)} == {
        "alive": "running",
        "dead": "lost",
        "elsewhere": "running",
    }
    assert reading.runs(storage, status="lost")[0].stored_status == "running"
    assert reading.runs(storage, status="running")[0].duration_s > 90


@pytest.fixture
def spooled(storage):
    """A run with a spool of this process, whose pid is that of a process that is gone."""
    run_dir = make(storage, "a", status="running", meta={"pid": gone_pid()})
    address, lock = spool.create(
        run_id="a",
        run_dir=str(run_dir),
        storage=str(storage),
        path="default",
        host=identity.hostname(),
        opened_at=NOW,
        settings=Settings.from_environment(),
    )
    (run_dir / f".spool-{identity.hostname()}").write_text(address.spool)
    yield storage, address, lock
    lock.release()
    spool.remove(address.spool)


def test_run_with_a_spool_lives_while_a_lock_in_it_is_held(spooled):
    """Owner, producer or writer: while one of them lives the run is running; when none does, it is lost."""
    storage, address, owner = spooled

    def status():
        return reading.find("a", storage).status

    assert status() == "running"
    owner.release()
    assert status() == "lost"
    for name in ("writer.lock", "1f.0000abcd.lock"):
        lock = Lock.take(os.path.join(address.spool, name))
        assert status() == "running"
        lock.release()
        assert status() == "lost"


def test_run_is_lost_when_its_spool_is_gone(spooled):
    """A word that names a spool which is not there says that the run's memory was cleared."""
    storage, address, owner = spooled
    owner.release()
    spool.remove(address.spool)

    assert reading.find("a", storage).status == "lost"


def test_word_of_a_spool_leads_nowhere_else(spooled, tmp_path):
    """A word that names another place, or the spool of another run, is not followed."""
    storage, address, _ = spooled
    pointer = Path(address.run_dir, f".spool-{identity.hostname()}")
    other = make(storage, "b", status="running")
    (other / pointer.name).write_text(address.spool)
    assert reading.find("b", storage).status == "lost"
    decoy = tmp_path / "decoy"
    shutil.copytree(address.spool, decoy)
    decoy.chmod(0o700)
    pointer.write_text(str(decoy))
    lock = Lock.take(str(decoy / "owner.lock"))

    assert reading.find("a", storage).status == "lost"
    lock.release()


def test_run_that_ends_while_it_is_looked_at_is_not_lost(storage, monkeypatch):
    """Between the look at the status and the look for its processes a run may end: then it has ended."""
    run_dir = make(storage, "a", status="running")

    def end_meanwhile(_):
        (run_dir / "status.json").write_text('{"status": "finished"}')
        return False

    monkeypatch.setattr(liveness, "has_somebody", end_meanwhile)

    assert reading.runs(storage)[0].status == "finished"


# --- the index ----------------------------------------------------------------------------------------------------


@pytest.fixture
def settled(monkeypatch):
    """Files count as settled at once."""
    monkeypatch.setattr(index_module, "_SETTLED_S", -60.0)


@pytest.mark.usefixtures("settled")
def test_unchanged_runs_are_not_read_again(several, monkeypatch):
    """What the index has of an unchanged run is what its files say; they are not read again."""
    first = reading.runs(several)
    monkeypatch.setattr(index_module, "read_info", lambda *_: pytest.fail("read again"))

    assert reading.runs(several) == first


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("name", ["meta.json", "status.json", "summary.json"])
def test_changed_run_is_read_again(several, name):
    """A change of meta, status or summary is seen, also one that keeps the size."""
    before = {info.id: info for info in reading.runs(several)}
    path = several / "runs" / "cv" / "x" / "r2" / name
    changed = {"path": "cv/y", "status": "killed", "best_metric_name": "acc"}
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **changed}))

    after = {info.id: info for info in reading.runs(several)}

    assert after["r2"] == reading.find(path.parent)
    assert after["r2"] != before["r2"]
    assert {each: after[each] for each in ("r1", "r3", "r4")} == {each: before[each] for each in ("r1", "r3", "r4")}


@pytest.mark.usefixtures("settled")
def test_removed_and_moved_runs_leave_the_index(several):
    """A run that is gone is not listed; one that was moved is listed where it is."""
    reading.runs(several)
    shutil.rmtree(several / "runs" / "cv" / "r1")
    (several / "runs" / "cvx" / "r3").rename(several / "runs" / "r3")

    infos = {info.id: info.run_dir for info in reading.runs(several)}

    assert sorted(infos) == ["r2", "r3", "r4"]
    assert infos["r3"] == str(several / "runs" / "r3")


def test_run_that_has_just_changed_is_not_trusted(several, cache_dir):
    """A file of the last two seconds may change again within a tick of the clock: such a run is read each time."""
    reading.runs(several)
    run_dir = several / "runs" / "cv" / "x" / "r2"
    stamp = (run_dir / "status.json").stat()
    text = (run_dir / "status.json").read_text().replace("failed", "killed")
    (run_dir / "status.json").write_text(text)
    os.utime(run_dir / "status.json", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))

    assert {info.id: info.status for info in reading.runs(several)}["r2"] == "interrupted"
    assert not cache_dir.exists() or list(cache_dir.rglob("*.msgpack")) == []


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("content", [b"", b"\xc1garbage", b"\x81\xa1a\x01"])
def test_damaged_index_is_made_again(several, cache_dir, content):
    """An index that cannot be read is as none."""
    first = reading.runs(several)
    (path,) = cache_dir.rglob("*.msgpack")
    path.write_bytes(content)

    assert reading.runs(several) == first
    assert path.read_bytes() != content


@pytest.mark.usefixtures("settled")
def test_summary_that_messagepack_cannot_carry_is_listed(storage):
    """An integer beyond 64 bit in a summary keeps its run out of the index, and nothing else."""
    make(storage, "huge", summary={"n": 10**30})
    make(storage, "plain", summary={"n": float("nan")})

    for _ in range(2):
        summaries = {info.id: info.summary["n"] for info in reading.runs(storage)}
        assert summaries["huge"] == 10**30
        assert repr(summaries["plain"]) == "nan"


def test_import_of_runicorn_loads_no_reader(run_program):
    """A training process that does not read loads nothing of this."""
    run_program(
        "import sys, runicorn\nrunicorn.init\nassert not any('runicorn.reading' in name for name in sys.modules)"
    )


def test_recycle_folder_that_is_a_link_is_not_followed(storage, tmp_path):
    """Runs in a recycle folder that leads out of the storage are another storage's."""
    make(storage, "kept")
    (tmp_path / "elsewhere").mkdir()
    make(tmp_path / "elsewhere", "theirs")
    (storage / "runs" / ".recycle").symlink_to(tmp_path / "elsewhere" / "runs")
    assert ids(reading.runs(storage, recycled=True)) == ["kept"]


def test_run_of_the_old_layout_keeps_its_path_when_it_is_read_again(storage):
    """``find()`` of what ``runs()`` has found is the same run, also where its path is that of its place."""
    run_dir = storage / "project" / "name" / "runs" / "20261122_205431_0263c3"
    run_dir.mkdir(parents=True)
    (run_dir / "status.json").write_text('{"status": "finished"}')
    (found,) = reading.runs(storage)
    assert (found.path, reading.find(found).path) == ("project/name", "project/name")
