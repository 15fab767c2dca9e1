"""``init()``: where a run goes, its id, and what happens to an id that is there already."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest
from support import best, content, events, logged, meta, status, steps, summary, text_of

import runicorn

# --- the storage root ------------------------------------------------------------------------------


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """The user's config file, which names a storage root."""
    root = tmp_path / "configured"
    file = tmp_path / "configuration" / "runicorn" / "config.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"user_root_dir": str(root)}), encoding="utf-8")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    return root


@pytest.mark.usefixtures("configured")
def test_the_storage_argument_comes_first(open_run, tmp_path, monkeypatch):
    """``storage=`` wins over ``RUNICORN_DIR`` and the user's config file."""
    monkeypatch.setenv("RUNICORN_DIR", str(tmp_path / "variable"))
    run = open_run(storage=str(tmp_path / "argument"))
    assert run.storage_root == tmp_path / "argument"
    assert run.run_dir.is_relative_to(tmp_path / "argument" / "runs")


@pytest.mark.usefixtures("configured")
def test_the_variable_comes_second(open_run, tmp_path, monkeypatch):
    """``RUNICORN_DIR`` wins over the user's config file."""
    monkeypatch.setenv("RUNICORN_DIR", str(tmp_path / "variable"))
    assert open_run(storage=None).storage_root == tmp_path / "variable"


def test_the_config_file_comes_third(open_run, configured, tmp_path, monkeypatch):
    """``user_root_dir`` of the user's config file wins over the working directory."""
    monkeypatch.chdir(tmp_path)
    assert open_run(storage=None).storage_root == configured


def test_the_working_directory_comes_last(open_run, tmp_path, monkeypatch):
    """Where nothing names a storage root it is ``./.runicorn``."""
    monkeypatch.chdir(tmp_path)
    assert open_run(storage=None).storage_root == tmp_path / ".runicorn"


@pytest.mark.parametrize("by", ["argument", "variable"])
def test_a_tilde_is_expanded(open_run, tmp_path, monkeypatch, by):
    """``~`` in a storage root is the home directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RUNICORN_DIR", "~/runs of mine")
    run = open_run(storage="~/runs of mine" if by == "argument" else None)
    assert run.storage_root == tmp_path / "runs of mine"


@pytest.mark.parametrize("by", ["argument", "variable"])
def test_a_relative_storage_is_made_absolute(open_run, tmp_path, monkeypatch, by):
    """A relative storage root is taken from the working directory at ``init()``, once and for all."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNICORN_DIR", "here/../there")
    run = open_run(storage="here/../there" if by == "argument" else None)
    monkeypatch.chdir("/")
    run.log(loss=1)
    run.finish()
    assert run.storage_root == tmp_path / "there"
    assert logged(run) == [{"loss": 1}]


# --- the path --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (None, "default"),
        ("/", ""),
        ("", ""),
        ("\\", ""),
        ("a", "a"),
        ("a/b", "a/b"),
        ("/a/b/", "a/b"),
        ("-", "-"),
        ("_", "_"),
        ("123", "123"),
        ("a\\b", "a/b"),
        ("a//b", "a/b"),
        ("a///b//c", "a/b/c"),
        ("x" * 200, "x" * 200),
        ("Qwen2.5-7B", "Qwen2.5-7B"),
        ("exp/v1.0", "exp/v1.0"),
        ("my project", "my project"),
        ("lr=0.1,wd=1e-4/a+b@c", "lr=0.1,wd=1e-4/a+b@c"),
        ("a..b", "a..b"),
        ("a@b", "a@b"),
        ("=", "="),
        ("/" + "y/" * 100, "/".join("y" * 100)),
    ],
)
def test_a_path_is_normalised(open_run, storage, given, path):
    """Each documented path is accepted, and stored and laid out in its normal form."""
    run = open_run(path=given)
    assert run.path == path
    assert meta(run)["path"] == path
    assert run.run_dir == storage.joinpath("runs", *path.split("/"), run.id)


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "a/../b",
        "../x",
        "a/..",
        "a\\..\\b",
        "//",
        "///",
        ".",
        "./a",
        "a/./b",
        ".recycle",
        " a ",
        " ",
        "a\t",
        "a\n",
        "\n",
        "a\nb",
        "a\0b",
        "中文",
        "é",
        "１２",  # noqa: RUF001 - full-width digits are the point
        "C:/x",
        "./outputs/run1",
        "a.",
        "a./b",
        "a /b",
        "a/ b",
        ".a",
        "a/.b",
        "a/b ",
        "...",
        "a:b",
        "a*b",
        "a\u00a0b",
        "%2e",
        "~/x",
    ],
)
def test_a_wrong_path_raises(storage, path):
    """Another character, and a dot or a blank at an end of a part where it must not be, raises, and nothing is made."""
    with pytest.raises(ValueError, match="path") as raised:
        runicorn.init(path=path, storage=str(storage))
    assert repr(path) in str(raised.value)
    assert "write" in str(raised.value).lower()
    assert not storage.exists()


def test_a_path_of_more_than_200_characters_raises(storage):
    """201 characters are too many, and the message says how many are allowed."""
    with pytest.raises(ValueError, match=r"path.*201.*200"):
        runicorn.init(path="x" * 201, storage=str(storage))
    assert not storage.exists()


@pytest.mark.parametrize("path", [5, 1.5, True, ["a"], b"a", Path("a")])
def test_a_path_that_is_no_string_raises(storage, path):
    """A non-string path raises ``TypeError`` that names it and what to write."""
    with pytest.raises(TypeError, match="path=") as raised:
        runicorn.init(path=path, storage=str(storage))
    assert repr(path) in str(raised.value)
    assert "string" in str(raised.value)
    assert not storage.exists()


# --- the id ----------------------------------------------------------------------------------------


def test_a_generated_id_is_the_local_time_and_six_hex_digits(open_run):
    """A generated id is ``YYYYmmdd_HHMMSS_`` in local time and 6 hex digits."""
    before = int(time.time())
    run = open_run()
    assert re.fullmatch(r"\d{8}_\d{6}_[0-9a-f]{6}", run.id)
    then = time.mktime(time.strptime(run.id[:15], "%Y%m%d_%H%M%S"))
    assert before <= then <= time.time()
    assert run.run_dir.name == run.id
    assert meta(run)["id"] == run.id


MANY = """
import os, sys
import runicorn as rn

# Only 32 ids are left in each second, so 16 processes are all but sure to draw some of them twice.
real = os.urandom
os.urandom = lambda count: bytes([0, 0, real(1)[0] & 31]) if count == 3 else real(count)
go, ready = os.pipe()
children = []
for number in range(16):
    pid = os.fork()
    if pid == 0:
        os.close(ready)
        os.read(go, 1)
        try:
            run = rn.init(storage=sys.argv[1])
            run.log(number=number)
            run.finish()
        finally:
            os._exit(0 if run.is_finished else 1)
    children.append(pid)
os.close(ready)
sys.exit(sum(os.waitpid(pid, 0)[1] != 0 for pid in children))
"""


def test_ids_of_16_processes_that_start_at_once_are_unique(run_program, storage):
    """16 processes that start together on one storage get 16 runs: on a clash another id is drawn."""
    run_program(MANY)
    runs = list((storage / "runs" / "default").iterdir())
    assert len(runs) == 16
    assert sorted(data["number"] for run in runs for data in logged(run)) == list(range(16))


@pytest.mark.parametrize("run_id", ["abc", "a.b", "A-1_2.3", "-x", "_", "x" * 128, "lr=0.1", "="])
def test_an_explicit_id_is_used_as_it_is(open_run, storage, run_id):
    """An explicit id of 1 to 128 letters, digits, ``_``, ``.`` and ``-`` names the run."""
    run = open_run(run_id=run_id)
    assert run.id == run_id
    assert run.run_dir == storage / "runs" / "default" / run_id


@pytest.mark.parametrize(
    "run_id",
    [
        "",
        ".",
        "..",
        ".a",
        "a/b",
        "../escaped",
        "/absolute",
        "a\\b",
        "a b",
        "中文",
        "a\n",
        "a\0",
        "x" * 129,
    ],
)
def test_a_wrong_id_raises(storage, run_id):
    """Any other id raises, and a slash or ``..`` never escapes the storage."""
    with pytest.raises(ValueError, match="run_id") as raised:
        runicorn.init(run_id=run_id, storage=str(storage))
    assert repr(run_id) in str(raised.value)
    assert "letters" in str(raised.value)
    assert not storage.exists()
    assert not (storage.parent / "escaped").exists()


@pytest.mark.parametrize("run_id", [5, True, b"abc", Path("abc")])
def test_an_id_that_is_no_string_raises(storage, run_id):
    """A non-string id raises ``TypeError``."""
    with pytest.raises(TypeError, match="run_id") as raised:
        runicorn.init(run_id=run_id, storage=str(storage))
    assert repr(run_id) in str(raised.value)
    assert not storage.exists()


# --- the id of a run that is there already ------------------------------------------------------------


@pytest.mark.detached_writer
def test_the_id_of_a_live_run_joins_it(open_run, run_program):
    """Where the run's owner lives on this host, ``init(run_id=...)`` adds one more producer to it."""
    run = open_run(path="cv/a", alias="mine")
    run.log(loss=1, step=1)
    printed = run_program(
        """
import sys
import runicorn as rn
run = rn.init(storage=sys.argv[1], run_id=sys.argv[2])
run.log(loss=2, step=2)
run.finish()
print(run.run_dir, run.path, run.alias)
""",
        run.id,
    ).stdout
    assert printed.split() == [str(run.run_dir), "cv/a", "mine"]
    assert status(run)["status"] == "running"
    assert "resumed" not in meta(run)
    run.finish()
    assert sorted(data["loss"] for data in logged(run)) == [1, 2]


def test_a_run_that_is_open_on_another_host_raises(open_run, monkeypatch):
    """An id that is ``running`` on another host raises, naming host and pid, and changes nothing."""
    monkeypatch.setenv("RUNICORN_HOSTNAME", "node-7")
    run = open_run()
    before = {name: content(run, name) for name in ("meta.json", "status.json")}
    monkeypatch.setenv("RUNICORN_HOSTNAME", "node-8")
    with pytest.raises(Exception, match="node-7") as raised:
        open_run(run_id=run.id)
    assert str(os.getpid()) in str(raised.value)
    assert {name: content(run, name) for name in before} == before


def test_a_run_that_has_ended_on_another_host_is_resumed(open_run, monkeypatch):
    """Only a run that is ``running`` there raises: one that has ended is resumed from any host."""
    monkeypatch.setenv("RUNICORN_HOSTNAME", "node-7")
    run = open_run()
    run.log(loss=1)
    run.finish()
    monkeypatch.setenv("RUNICORN_HOSTNAME", "node-8")
    again = open_run(run_id=run.id)
    again.log(loss=2)
    again.finish()
    assert steps(run) == [1, 2]
    assert [entry["hostname"] for entry in meta(run)["resumed"]] == ["node-8"]


@pytest.fixture
def ended_run(open_run):
    """A run that has ended, with two records, text, summary and a best metric."""
    run = open_run(path="cv/a", alias="first")
    run.set_primary_metric("acc")
    run.log(acc=0.9, step=10)
    run.log(acc=0.1, step=3)
    run.log_text("before")
    run.summary({"kept": 1})
    run.finish("failed")
    return run


def test_a_resumed_run_is_running_again(ended_run, open_run):
    """Resuming makes the status ``running``, with no trace of the earlier end."""
    run = open_run(run_id=ended_run.id)
    assert run.run_dir == ended_run.run_dir
    assert status(run)["status"] == "running"
    assert "ended_at" not in status(run)
    run.finish()
    assert status(run)["status"] == "finished"


def test_a_resumed_run_keeps_what_it_was_opened_with(ended_run, open_run):
    """``created_at``, ``path`` and ``alias`` stay, whatever the second ``init()`` says."""
    before = meta(ended_run)
    run = open_run(run_id=ended_run.id, path="other", alias="second")
    assert (run.path, run.alias) == ("cv/a", "first")
    after = meta(run)
    kept = ("id", "created_at", "path", "alias")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}


def test_each_resuming_adds_an_entry(ended_run, open_run):
    """``meta.json`` gains one entry in ``resumed`` each time."""
    for count in (1, 2):
        run = open_run(run_id=ended_run.id)
        entries = meta(run)["resumed"]
        assert len(entries) == count
        assert entries[-1]["pid"] == os.getpid()
        run.finish()


def test_a_resumed_run_appends_to_its_files(ended_run, open_run):
    """What was in ``events.jsonl`` and ``logs.txt`` stays, byte for byte, and what is new follows."""
    files = [ended_run.run_dir / name for name in ("events.jsonl", "logs.txt")]
    before = [file.read_bytes() for file in files]
    run = open_run(run_id=ended_run.id)
    run.log(acc=0.5)
    run.log_text("after")
    run.finish()
    assert all(file.read_bytes().startswith(old) for file, old in zip(files, before, strict=True))
    assert [data["acc"] for data in logged(run)] == [0.9, 0.1, 0.5]
    assert [line[11:] for line in text_of(run).splitlines()] == ["before", "after"]


def test_the_auto_step_goes_on_after_the_highest_stored_step(ended_run, open_run):
    """After steps 10 and 3 a resumed run goes on with 11."""
    assert status(ended_run)["last_step"] == 10
    run = open_run(run_id=ended_run.id)
    run.log(acc=0)
    run.finish()
    assert steps(run) == [10, 3, 11]


def test_a_missing_last_step_is_found_in_the_events(ended_run, open_run):
    """Where ``status.json`` has no ``last_step``, ``init()`` waits for one scan of ``events.jsonl``."""
    without = {name: value for name, value in status(ended_run).items() if name != "last_step"}
    (ended_run.run_dir / "status.json").write_text(json.dumps(without), encoding="utf-8")
    run = open_run(run_id=ended_run.id)
    assert run.global_step == 10
    run.log(acc=0)
    run.finish()
    assert steps(run)[-1] == 11


def test_a_run_of_runicorn_0_7_2_is_resumed(open_run, storage):
    """A run that 0.7.2 has written goes on after its highest step, bare ``NaN`` or not."""
    run_dir = storage / "runs" / "cv" / "20250102_030405_abcdef"
    (run_dir / "media").mkdir(parents=True)
    facts = {"id": run_dir.name, "path": "cv", "alias": None, "created_at": 1735787045.5}
    (run_dir / "meta.json").write_text(json.dumps({**facts, "pid": 1}, indent=2), encoding="utf-8")
    ended = {"status": "finished", "started_at": 1735787045.6, "ended_at": 1735787046.7}
    (run_dir / "status.json").write_text(json.dumps(ended, indent=2), encoding="utf-8")
    line = '{"ts": 1.5, "type": "metrics", "data": {"loss": %s, "global_step": %d, "time": 1.5}}\n'
    (run_dir / "events.jsonl").write_text(line % ("0.5", 6) + line % ("NaN", 7), encoding="utf-8")
    run = open_run(run_id=run_dir.name)
    run.log(loss=0.25)
    run.finish()
    assert meta(run)["created_at"] == facts["created_at"]
    last = json.loads((run_dir / "events.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert last["data"]["global_step"] == 8


def test_best_metric_and_summary_are_kept_and_go_on(ended_run, open_run):
    """The best of the earlier session stays until a better value comes; summary fields add up."""
    assert best(ended_run) == ("acc", "max", 0.9, 10)
    run = open_run(run_id=ended_run.id)
    run.log(acc=0.5)
    run.summary({"more": 2})
    run.finish()
    assert best(run) == ("acc", "max", 0.9, 10)
    assert summary(run)["kept"] == 1
    assert summary(run)["more"] == 2
    run = open_run(run_id=ended_run.id)
    run.log(acc=0.95)
    run.finish()
    assert best(run) == ("acc", "max", 0.95, 12)


LEFT_ALONE = """
import os, signal, sys
import runicorn as rn
from support import stopped_writer, writer_of

run = rn.init(storage=sys.argv[1], run_id="lonely")
run.log(loss=1)
with stopped_writer(run) as writer:
    for number in range(2, 500):
        run.log(loss=number)
    run.log_text("still in the spool")
    run.summary({"also": "this"})
    if sys.argv[2] == "both":
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        os.kill(os.getpid(), signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.detached_writer
@pytest.mark.parametrize("killed", ["owner", "both"])
def test_what_the_earlier_session_left_is_stored_first(run_program, open_run, killed):
    """A run whose owner is dead (its writer too) is resumed, after all that it had logged is stored."""
    run_program(LEFT_ALONE, killed, returncode=-signal.SIGKILL)
    run = open_run(run_id="lonely")
    assert status(run)["status"] == "running"
    assert [data["loss"] for data in logged(run)] == list(range(1, 500))
    run.log(loss=500)
    run.finish()
    assert [data["loss"] for data in logged(run)] == list(range(1, 501))
    assert steps(run) == list(range(1, 501))
    assert "still in the spool" in text_of(run)
    assert summary(run) == {"also": "this"}
    assert status(run)["status"] == "finished"


@pytest.mark.parametrize("name", ["events.jsonl", "logs.txt"])
def test_a_torn_last_line_is_closed(ended_run, open_run, name):
    """A last line without its newline gets one, so that the next line is whole."""
    file = ended_run.run_dir / name
    before = file.read_bytes()
    file.write_bytes(before + b'{"ts": 17')
    run = open_run(run_id=ended_run.id)
    run.log(acc=0.5)
    run.log_text("after")
    run.finish()
    assert file.read_bytes().startswith(before + b'{"ts": 17\n')
    new = file.read_bytes()[len(before) :].decode().split("\n")
    assert len(new) == 3
    assert new[1].endswith("after") or json.loads(new[1])["data"]["acc"] == 0.5


# --- several runs at once ------------------------------------------------------------------------------


def test_two_runs_at_once_are_fine(open_run):
    """Two open runs of one process do not mix."""
    one, two = open_run(), open_run()
    for number in range(100):
        one.log(one=number)
        two.log(two=number)
    one.finish()
    two.log(two=100)
    two.finish()
    assert logged(one) == [{"one": number} for number in range(100)]
    assert logged(two) == [{"two": number} for number in range(101)]


def test_the_active_run_is_the_newest_that_is_open(open_run):
    """Finishing the newest gives back the one before; finishing an older one changes nothing."""
    assert runicorn.get_active_run() is None
    one = open_run()
    two = open_run()
    three = open_run()
    assert runicorn.get_active_run() is three
    two.finish()
    assert runicorn.get_active_run() is three
    three.finish()
    assert runicorn.get_active_run() is one
    one.finish()
    assert runicorn.get_active_run() is None


# --- what cannot be opened ---------------------------------------------------------------------------


def spools():
    """Every spool there is."""
    places = (os.environ["RUNICORN_SHM_DIR"], os.environ["TMPDIR"])
    return {path for place in places for path in Path(place).glob("runicorn-*")}


def test_an_unwritable_storage_raises():
    """A storage in which nothing can be made raises ``OSError`` with its path."""
    before = spools()
    with pytest.raises(OSError, match="/proc/runicorn-storage"):
        runicorn.init(storage="/proc/runicorn-storage")
    assert spools() == before


@pytest.mark.parametrize("segment", ["storage", "storage/runs", "storage/runs/cv", "storage/runs/cv/a"])
def test_a_file_in_the_place_of_a_directory_raises(tmp_path, segment):
    """A file where a directory is wanted raises ``OSError`` with its path, and stays as it is."""
    file = tmp_path / segment
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("mine", encoding="utf-8")
    before, files = spools(), sorted(tmp_path.rglob("*"))
    with pytest.raises(OSError, match=re.escape(str(file))):
        runicorn.init(path="cv/a", storage=str(tmp_path / "storage"))
    assert sorted(tmp_path.rglob("*")) == files
    assert file.read_text(encoding="utf-8") == "mine"
    assert spools() == before
    assert runicorn.get_active_run() is None


def test_a_file_in_the_place_of_the_run_raises(storage):
    """A file with the name of the run raises ``OSError`` with its path."""
    file = storage / "runs" / "default" / "mine"
    file.parent.mkdir(parents=True)
    file.touch()
    with pytest.raises(OSError, match=re.escape(str(file))):
        runicorn.init(storage=str(storage), run_id="mine")
    assert list(storage.rglob("*")) == [storage / "runs", file.parent, file]


FULL = """
import os, resource, sys
import runicorn as rn

limit = int(sys.argv[2])
rn.init  # loaded before nothing can be written any more
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
try:
    rn.init(storage=sys.argv[1], path="cv/a", alias="x" * 2 * limit)
except OSError as error:
    print(error)
    print(os.path.exists(sys.argv[1]))
"""


@pytest.mark.parametrize("limit_bytes", [0, 1_000_000], ids=["nothing fits", "the run does not fit"])
def test_a_full_disk_raises(run_program, storage, limit_bytes):
    """Where the files of a run cannot be written ``OSError`` names the path, and nothing is left."""
    before = spools()
    message, left = run_program(FULL, limit_bytes).stdout.splitlines()
    assert left == "False"
    assert str(storage) in message or "runicorn-" in message
    assert spools() == before


# --- wrong arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "value", "instead"),
    [
        ("snapshot_format", "tar", "zip"),
        ("snapshot_format", None, "zip"),
        ("snapshot_format", 5, "zip"),
        ("tqdm_mode", "bogus", "smart"),
        ("tqdm_mode", None, "smart"),
        ("tqdm_mode", ["smart"], "smart"),
        ("alias", 5, "string"),
        ("alias", b"a", "string"),
        ("capture_env", "yes", "True"),
        ("snapshot_code", 1, "True"),
        ("force_snapshot", None, "True"),
        ("capture_console", "no", "False"),
        ("workspace_root", 5, "path"),
        ("storage", 5, "path"),
        ("storage", ["a"], "path"),
    ],
)
def test_a_wrong_argument_raises_before_anything_is_made(tmp_path, monkeypatch, argument, value, instead):
    """A wrong value or type raises, naming argument, value and what to write; nothing is made."""
    monkeypatch.chdir(tmp_path)
    before = spools()
    arguments = {"storage": str(tmp_path / "storage"), argument: value}
    with pytest.raises((TypeError, ValueError), match=f"{argument}=") as raised:
        runicorn.init(**arguments)
    assert repr(value) in str(raised.value)
    assert instead in str(raised.value)
    assert list(tmp_path.iterdir()) == []
    assert spools() == before


@pytest.mark.parametrize("mode", ["smart", "all", "none"])
def test_each_tqdm_mode_is_accepted(open_run, mode):
    """``smart``, ``all`` and ``none`` are the modes."""
    run = open_run(tqdm_mode=mode, snapshot_format="zip")
    run.finish()
    assert status(run)["status"] == "finished"


def test_a_new_run_has_its_files_at_once(open_run):
    """When ``init()`` returns the directory holds what the viewer looks for."""
    run = open_run(path="cv", alias="mine")
    assert status(run) == {"status": "running", "started_at": meta(run)["created_at"]}
    facts = meta(run)
    assert facts["alias"] == "mine"
    assert facts["pid"] == os.getpid()
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert Path(facts["storage_dir"]) == run.storage_root
    assert run.media_dir.is_dir()
    assert content(run, "assets.json")["outputs"] == []
    assert events(run) == []
