"""What every format has in common: staging, names, labels that were set here, updates, one process at a time, kills."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from imported_values import SAMPLES, comparable, content_of, json_of, lines_of, load, points_of

import runicorn
from runicorn.cli import main
from runicorn.exporting import image_sizes
from runicorn.host.locks import Lock
from runicorn.importing.foreign_values import MetricNames
from runicorn.settings import Settings

RUNS = 50
KILLS = 12


@pytest.fixture
def table(tmp_path):
    """Write a table of JSON lines; its path."""

    def write(*rows, name="rows.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


def row(step, **values):
    return {"step": step, "timestamp": 1.7e9 + step, **values}


def test_an_update_takes_what_is_new_and_keeps_what_was_set_here(table, storage):
    """The alias, tags and notes of this storage stay; the id and the path too."""
    (first,) = load("jsonl", table(row(1, loss=1.0)), storage=storage)
    assert main(["alias", first.run, "mine", "--storage", str(storage)]) == 0
    assert main(["tag", first.run, "+good", "--storage", str(storage)]) == 0
    source = table(row(1, loss=1.0), row(2, loss=0.5))
    (told,) = load("jsonl", source, storage=storage)
    assert (told.state, told.run) == ("changed", first.run)
    assert len(lines_of(first.run_dir)) == 1
    (updated,) = load("jsonl", source, storage=storage, update=True)
    assert (updated.state, updated.run_dir) == ("updated", first.run_dir)
    info = runicorn.load(first.run_dir).info
    assert (info.alias, info.tags, info.last_step) == ("mine", ["good"], 2)
    (again,) = load("jsonl", source, storage=storage, update=True)
    assert again.state == "unchanged"


def test_a_run_that_was_resumed_here_is_not_updated(table, storage):
    """What was logged here would be lost."""
    (first,) = load("jsonl", table(row(1, loss=1.0)), storage=storage)
    with runicorn.init(storage=str(storage), path=first.path, run_id=first.run) as run:
        run.log({"loss": 9.0}, step=5)
    before = content_of(first.run_dir)
    (told,) = load("jsonl", table(row(1, loss=1.0), row(2, loss=0.5)), storage=storage, update=True)
    assert (told.state, "resumed here" in told.note) == ("changed", True)
    assert content_of(first.run_dir) == before


def test_a_run_that_is_resumed_while_its_source_is_read_is_not_updated(table, storage):
    """It is live, and its records go on into the files that an update would have replaced."""
    (first,) = load("jsonl", table(row(1, loss=1.0)), storage=storage)
    opened = []

    def resume(_done):
        if not opened:
            opened.append(runicorn.init(storage=str(storage), path=first.path, run_id=first.run))

    (told,) = load("jsonl", table(row(1, loss=1.0), row(2, loss=0.5)), storage=storage, update=True, advance=resume)
    opened[0].log({"loss": 9.0}, step=5)
    opened[0].finish()
    assert (told.state, told.note) == ("changed", "the run has been resumed here, so it is not updated")
    assert [point[1:] for point in points_of(first.run_dir)["loss"]] == [(1, 1.0), (5, 9.0)]


def test_a_run_that_is_deleted_while_its_source_is_read_stays_deleted(table, storage):
    """The import says so, and goes on with the next source."""
    (first,) = load("jsonl", table(row(1, loss=1.0)), storage=storage)

    def delete(_done):
        if Path(first.run_dir).exists():
            assert main(["rm", first.run, "--yes", "--storage", str(storage)]) == 0

    (told,) = load("jsonl", table(row(1, loss=1.0), row(2, loss=0.5)), storage=storage, update=True, advance=delete)
    assert told.state == "changed"
    assert told.note == "the run was deleted or moved while the source was read, so it is not updated"
    assert not Path(first.run_dir).exists()


def test_a_run_in_the_recycle_bin_is_not_imported_again(table, storage):
    """It was deleted on purpose; the outcome says where it is."""
    source = table(row(1, loss=1.0))
    (first,) = load("jsonl", source, storage=storage)
    assert main(["rm", first.run, "--yes", "--storage", str(storage)]) == 0
    (again,) = load("jsonl", source, storage=storage)
    assert (again.state, again.note) == ("unchanged", "the run is in the recycle bin")


def test_of_two_sources_of_one_content_the_second_says_which_the_first_is(table, storage):
    """It may be a copy, or a run that came out the same: who imports it reads why there is no run of its name."""
    first, second = table(row(1, loss=1.0), name="a.jsonl"), table(row(1, loss=1.0), name="b.jsonl")
    made, told = load("jsonl", first, second, storage=storage)
    assert (made.state, told.state, told.run) == ("imported", "unchanged", made.run)
    assert told.note == f"it has the content of {first}, of which this run was made"


def test_names_that_mean_something_to_us_are_marked_and_stay_apart(table, storage):
    """``time``, ``stage`` and ``global_step`` get a mark behind them; two names never become one."""
    names = MetricNames()
    given = ["time", "time_", "stage", "step", "", "_", "a\udc80", "a\\udc80"]
    assert len({names.of(name) for name in given}) == len(given)
    source = table({"step": 1, "wall_time": 1.7e9, "time": 3.5, "time_": 4.5, "stage": "warm", "global_step": 7})
    (run,) = load("jsonl", source, storage=storage)
    (line,) = lines_of(run.run_dir)
    assert line["data"] == {
        "time_": 3.5,
        "time__": 4.5,
        "stage_": "warm",
        "global_step_": 7,
        "global_step": 1,
        "time": 1.7e9,
    }


def test_integers_beyond_64_bit_become_floats_and_are_counted(table, storage):
    """Also the largest that 64 bits without a sign hold."""
    (run,) = load("jsonl", table(row(1, a=2**63), row(2, a=-(2**70)), row(3, a=2**63 - 1)), storage=storage)
    assert [value for _, _, value in points_of(run.run_dir)["a"]] == [2.0**63, -(2.0**70), 2**63 - 1]
    assert run.left_out == {"digits of integers beyond 64 bit": 2}
    assert runicorn.load(run.run_dir).problems == []


def test_a_path_is_put_in_place_of_the_name_of_the_source(storage):
    """What is below the source stays below the path; a path that is none is refused before anything is read."""
    runs = load("mlflow", SAMPLES / "mlflow", storage=storage, path="old/mlflow")
    assert {each.path for each in runs} == {"old/mlflow/run-6bb5604c"}
    with pytest.raises(ValueError, match="not a run path"):
        load("mlflow", SAMPLES / "mlflow", storage=storage, path="../x")


def test_a_path_that_leads_into_a_run_is_refused(table, storage):
    """Runs inside a run are not found; nothing is left behind."""
    with runicorn.init(storage=str(storage), path="a", run_id="b") as run:
        run.log({"x": 1})
    with pytest.raises(ValueError, match="directory of run"):
        load("jsonl", table(row(1, loss=1.0)), storage=storage, path="a/b")
    assert {path.name for path in (storage / ".importing").iterdir()} == {"lock", "made-here"}


def test_one_process_at_a_time_imports_into_a_storage(table, storage):
    """Another one is told so, and has written nothing."""
    (storage / ".importing").mkdir(parents=True)
    program = """
import sys
from runicorn.host.locks import Lock

lock = Lock.take(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(storage / ".importing" / "lock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert child.stdout.readline() == "held\n"
        with pytest.raises(TimeoutError, match="Another process imports"):
            load("jsonl", table(row(1, loss=1.0)), storage=storage)
        assert not (storage / "runs").exists()
    finally:
        child.communicate(timeout=60)
    assert load("jsonl", table(row(1, loss=1.0)), storage=storage)[0].state == "imported"


def left_by_a_killed_import(storage):
    """The directory of a run with an image that a killed import has left before the rename."""
    program = (
        "import os, signal, sys\n"
        "from runicorn.storage import removal\n"
        "removal.move = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from runicorn.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    source = str(SAMPLES / "wandb" / "offline-run-20231114_221320-abc12345")
    arguments = ["import", "wandb", source, "--storage", str(storage)]
    done = subprocess.run([sys.executable, "-c", program, *arguments], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    (left,) = [path for path in (storage / ".importing").iterdir() if path.is_dir()]
    assert list((left / "media").iterdir()) != []
    return left


def test_what_a_killed_import_has_left_is_no_run_and_goes(table, storage):
    """No reader sees the directory of a killed import, and the next import removes it."""
    left = left_by_a_killed_import(storage)
    assert runicorn.runs(str(storage)) == []
    load("jsonl", table(row(1, loss=1.0)), storage=storage)
    assert not left.exists()


def test_a_directory_that_no_import_has_made_stays(table, storage):
    """An import removes no directory that its list does not name, and none if the list is not its own."""
    for name in ("0123456789abcdef", "somebody-else"):
        theirs = storage / ".importing" / name
        (theirs / "media").mkdir(parents=True)
        (theirs / "meta.json").write_text('{"id": "x"}')
    before = content_of(storage)
    load("jsonl", table(row(1, loss=1.0)), storage=storage)
    assert before.items() <= content_of(storage).items()
    made = storage / ".importing" / "made-here"
    made.write_text("0123456789abcdef\n")
    before = content_of(storage)
    load("jsonl", table(row(1, loss=2.0), name="other.jsonl"), storage=storage)
    assert before.items() <= content_of(storage).items()
    made.unlink()
    made.symlink_to(tmp_file := storage / "elsewhere")
    load("jsonl", table(row(1, loss=3.0), name="third.jsonl"), storage=storage)
    assert not tmp_file.exists()


def test_what_somebody_has_put_into_a_directory_that_was_left_stays(table, storage):
    """The next import removes the files of the run, and leaves other files where they are."""
    left = left_by_a_killed_import(storage)
    (left / "mine.txt").write_text("mine")
    (left / "media" / "mine.png").write_text("mine")
    (left / "deeper").mkdir()
    (left / "deeper" / "meta.json").write_text("mine")
    for number in range(2):
        load("jsonl", table(row(1, loss=number), name=f"{number}.jsonl"), storage=storage)
        assert content_of(left) == {"mine.txt": b"mine", "media/mine.png": b"mine", "deeper/meta.json": b"mine"}


def test_show_names_the_host_of_an_imported_run_and_no_process(storage, capsys):
    """A source knows no process id that means anything here."""
    load("wandb", SAMPLES / "wandb", storage=storage)
    assert main(["show", "killed01", "--storage", str(storage)]) == 0
    assert "process    on maker" in capsys.readouterr().out


@pytest.mark.parametrize("name", [".importing", "runs"])
def test_a_link_in_the_storage_is_refused_and_nothing_is_behind_it(name, table, storage, tmp_path):
    """Neither a lock file nor a run is written through it."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    storage.mkdir()
    (storage / name).symlink_to(elsewhere)
    with pytest.raises(PermissionError, match="link"):
        load("jsonl", table(row(1, loss=1.0)), storage=storage)
    assert list(elsewhere.iterdir()) == []


def test_a_viewer_of_0_7_2_that_is_open_gets_a_row(storage):
    """It lists rows alone; one that has its database locked or broken loses nothing but that."""
    storage.mkdir()
    names = (
        "path alias created_at started_at ended_at status exit_reason pid hostname best_metric_name best_metric_value"
    )
    more = "best_metric_step best_metric_mode run_dir updated_at deleted_at delete_reason"
    with sqlite3.connect(storage / "runicorn.db") as connection:
        connection.execute(f"CREATE TABLE experiments (id TEXT PRIMARY KEY, {', '.join((names + ' ' + more).split())})")
    connection.close()
    outcomes = load("wandb", SAMPLES / "wandb", storage=storage)
    with sqlite3.connect(storage / "runicorn.db") as connection:
        rows = connection.execute("SELECT id, alias, status, best_metric_value, run_dir FROM experiments").fetchall()
    connection.close()
    aliases = {"abc12345": ("first λ", "finished", 0.75), "killed01": ("killed01", "failed", None)}
    aliases["machine1"] = ("machine1", "finished", None)
    assert sorted(rows) == sorted(
        (each.run, *next(values for key, values in aliases.items() if key in each.source), each.run_dir)
        for each in outcomes
    )


@pytest.mark.parametrize("in_the_way", ["store", "store/.importing"])
def test_a_storage_that_is_a_file_is_told(in_the_way, table, tmp_path, capsys):
    """The message says that nothing was imported, and the file stays."""
    file = tmp_path / in_the_way
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    assert main(["import", "jsonl", str(table(row(1, loss=1.0))), "--storage", str(tmp_path / "store")]) == 1
    said = capsys.readouterr().err
    assert f"into {tmp_path / 'store'}" in said
    assert "Nothing was imported." in said
    assert file.read_text() == "mine"


def test_a_full_disk_leaves_nothing(table, storage, monkeypatch):
    """Neither a run nor a part of one."""
    import errno

    def full(*_arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("runicorn.storage.run_directory.RunDir.append", full)
    with pytest.raises(OSError, match=r"rows.jsonl cannot be imported: No space .* Nothing of it was imported"):
        load("jsonl", table(row(1, loss=1.0)), storage=storage)
    assert not (storage / "runs").exists()
    assert {path.name for path in (storage / ".importing").iterdir()} == {"lock", "made-here"}


def test_the_command_prints_what_became_of_each_run(table, storage, capsys):
    """In words, and as one JSON document."""
    source = str(table(row(1, loss=1.0)))
    assert main(["import", "auto", source, "--dry-run", "--storage", str(storage)]) == 0
    assert "would be imported: 1 value of 1 metric" in capsys.readouterr().out
    assert main(["import", "jsonl", source, "--storage", str(storage), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["state"], told["points"], told["metrics"]) == ("imported", 1, ["loss"])
    assert main(["import", "auto", source, "--storage", str(storage)]) == 0
    assert f"unchanged jsonl/{told['run']}" in capsys.readouterr().out


def test_the_command_line_imports_no_format_and_no_library_of_one():
    """``runicorn ls`` and ``runicorn import --help`` load neither sqlite3 nor a format's module."""
    program = """
import sys
from runicorn.cli import parser
parser(["import"])
print(*sorted({"sqlite3", "csv", "numpy", "pyarrow", "yaml", "runicorn.importing.event_files"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == []


def make_many(top):
    for number in range(RUNS):
        directory = top / f"run-{number:02}"
        directory.mkdir(parents=True)
        rows = [row(step, loss=number + step / 7) for step in range(200)]
        (directory / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_imports_that_are_killed_at_any_moment_are_completed_by_the_next(number, tmp_path, storage):
    """What is there is whole, and in the end each run is there once, equal to that of an undisturbed import."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    source = tmp_path / "source"
    make_many(source)
    whole = {
        each.source: comparable(points_of(each.run_dir)) for each in load("jsonl", source, storage=tmp_path / "whole")
    }
    command = [sys.executable, "-m", "runicorn", "import", "jsonl", str(source), "--storage", str(storage)]
    for _ in range(KILLS):
        # After the first runs, and then somewhere: what it waits for is a moment, not an outcome.
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(chance.randrange(1, 8)):
            child.stdout.readline()
        time.sleep(chance.random() / 50)
        child.send_signal(number)
        child.communicate(timeout=60)
        for info in runicorn.runs(str(storage)):
            assert info.damaged == []
            key = json_of(info.run_dir, "assets.json")["imported"]["location"]
            assert comparable(points_of(info.run_dir)) == whole[key]
    outcomes = load("jsonl", source, storage=storage)
    assert {each.state for each in outcomes} <= {"imported", "unchanged"}
    found = {json_of(info.run_dir, "assets.json")["imported"]["location"]: info for info in runicorn.runs(str(storage))}
    assert (len(found), len(runicorn.runs(str(storage)))) == (RUNS, RUNS)
    assert {path.name for path in (storage / ".importing").iterdir()} == {"lock", "made-here"}


def test_an_update_that_is_killed_is_completed_by_the_next(table, storage, monkeypatch):
    """After each of its renames: the source's state is written last, so the next update does all of it again."""
    from runicorn.storage import removal

    class KilledError(BaseException):
        pass

    (first,) = load("jsonl", table(row(1, loss=1.0)), storage=storage)
    source = table(row(1, loss=1.0), row(2, loss=0.5))
    replace = removal.Directory.replace
    for allowed in range(4):
        left = [allowed]

        def stop(self, temporary, name, into=None, left=left):
            if into is not None and "runs" in into.path:
                if not left[0]:
                    raise KilledError
                left[0] -= 1
            replace(self, temporary, name, into)

        monkeypatch.setattr(removal.Directory, "replace", stop)
        with pytest.raises(KilledError):
            load("jsonl", source, storage=storage, update=True)
        monkeypatch.setattr(removal.Directory, "replace", replace)
        assert runicorn.load(first.run_dir).problems == []
        (told,) = load("jsonl", source, storage=storage)
        assert told.state == "changed"
    (updated,) = load("jsonl", source, storage=storage, update=True)
    assert updated.state == "updated"
    assert len(points_of(first.run_dir)["loss"]) == 2


def test_a_run_goes_to_tensorboard_and_comes_back(storage, tmp_path, open_run):
    """Steps, times and values of 64 bit are the same, NaN and the infinities among them."""
    run = open_run(path="there")
    values = [0.1, float("nan"), float("inf"), -float("inf"), 5e-324, -0.0, 1e308]
    for step, value in enumerate(values):
        run.log({"loss": value, "train/größe": step / 3}, step=step)
    run.finish()
    target = tmp_path / "board"
    arguments = ["export", str(run.run_dir), "--format", "tensorboard", "-o", str(target), "--storage", str(storage)]
    assert main(arguments) == 0
    (back,) = load("tensorboard", target, storage=tmp_path / "back")
    assert comparable(points_of(back.run_dir)) == comparable(points_of(run.run_dir))


def test_a_run_goes_to_parquet_and_comes_back(storage, tmp_path, open_run):
    """The same numbers at the same steps; a row has one time for all of its metrics."""
    run = open_run(path="there")
    for step, value in enumerate([0.1, float("nan"), float("inf"), 5e-324]):
        run.log({"loss": value, "count": step}, step=step)
    run.finish()
    target = tmp_path / "run.parquet"
    assert main(["export", str(run.run_dir), "-o", str(target), "--storage", str(storage)]) == 0
    (back,) = load("parquet", target, storage=tmp_path / "back")
    assert comparable(points_of(back.run_dir)) == comparable(points_of(run.run_dir))


def test_the_source_may_not_be_writable(tmp_path, storage):
    """A read-only folder, as an archive is."""
    source = tmp_path / "source"
    shutil.copytree(SAMPLES / "trackio", source)
    for path in [source, *source.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert {each.state for each in load("trackio", source, storage=storage)} == {"imported"}
    finally:
        for path in [source, *source.rglob("*")]:
            path.chmod(0o755)


def test_a_lock_of_this_process_is_given_back(table, storage):
    """Two imports one after the other in one process, also after one that failed."""
    with pytest.raises(FileNotFoundError):
        load("jsonl", table(row(1, loss=1.0)), "/nowhere/at-all", storage=storage)
    load("jsonl", table(row(1, loss=1.0)), storage=storage)
    lock = Lock.take(str(storage / ".importing" / "lock"))
    assert lock is not None
    lock.release()
    assert Settings.from_environment() is not None
    assert Path(storage, "runs").is_dir()


def test_texts_and_images_go_to_tensorboard_and_come_back(storage, tmp_path, open_run):
    """The image is the same file with its size; one of a form that TensorBoard lacks is told."""
    from PIL import Image

    run = open_run(path="there")
    run.log({"loss": 0.5, "note": "größe"}, step=3)
    for form in ("png", "jpg", "webp"):
        run.log_image(f"dot {form}", Image.new("RGB", (5, 2), "red"), step=4, format=form)
    run.finish()
    target = tmp_path / "board"
    arguments = ["export", str(run.run_dir), "--format", "tensorboard", "-o", str(target), "--storage", str(storage)]
    assert main([*arguments, "--json"]) == 0
    (back,) = load("tensorboard", target, storage=tmp_path / "back")
    before, after = ({image.key: image for image in runicorn.load(each).images} for each in (run.run_dir, back.run_dir))
    assert after.keys() == {"dot png", "dot jpg"}
    for key, image in after.items():
        wanted = before[key]
        assert (image.step, image.time) == (wanted.step, wanted.time)
        assert Path(back.run_dir, image.path).read_bytes() == Path(run.run_dir, wanted.path).read_bytes()
    assert "note [step 3]: größe" in Path(back.run_dir, "logs.txt").read_text("utf-8")
    assert image_sizes.size_of(Path(run.run_dir, before["dot png"].path).read_bytes()) == (5, 2)
    jpeg = Path(run.run_dir, before["dot jpg"].path).read_bytes()
    assert image_sizes.size_of(jpeg) == (5, 2)
    assert {image_sizes.size_of(jpeg[:length]) for length in range(len(jpeg))} == {None, (5, 2)}
