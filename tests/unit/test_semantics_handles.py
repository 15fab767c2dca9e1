"""Whose handle a run is: the same id again, copies, the active run, labels, what it costs, where a run may lie."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import threading
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from support import content, events, logged, meta, status, steps, stopped_writer, summary, text_of, warnings_in

import runicorn
from runicorn.cli import main

# --- the same id again ----------------------------------------------------------------------------------------


def test_the_id_of_an_open_run_gives_that_run(open_run, caplog):
    """The notebook cell once more gives the same object, whose steps go on, and either name ends the run."""
    first = open_run(path="h", run_id="exp1")
    first.log(a=1)
    second = open_run(path="h", run_id="exp1")
    second.log(a=2)
    second.finish()
    assert second is first
    assert steps(first) == [1, 2]
    assert status(first)["status"] == "finished"
    assert warnings_in(caplog) == []


def test_threads_that_open_one_id_at_once_get_one_run(open_run):
    """Of threads that call ``init()`` with a new id at the same moment, one makes the run and all have it."""
    begin = threading.Barrier(4)
    got = []

    def open_it():
        begin.wait(60)
        got.append(open_run(run_id="exp1"))

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(got) == 4
    assert all(run is got[0] for run in got)


def test_an_open_run_by_another_name_of_its_storage(open_run, storage, tmp_path):
    """A link to the storage leads to the same run."""
    run = open_run(run_id="exp1")
    (tmp_path / "link").symlink_to(storage)
    assert open_run(run_id="exp1", storage=str(tmp_path / "link")) is run


def test_the_same_id_in_another_storage_is_another_run(open_run, tmp_path):
    """An id stands for a run of one storage."""
    assert open_run(run_id="exp1") is not open_run(run_id="exp1", storage=str(tmp_path / "other"))


def test_an_id_after_its_end_goes_on_with_it(open_run):
    """Once the run has ended its id resumes it: another object, the same files."""
    first = open_run(run_id="exp1")
    first.log(a=1)
    first.finish()
    second = open_run(run_id="exp1")
    assert second is not first
    second.log(a=2)
    second.finish()
    assert steps(second) == [1, 2]


@pytest.mark.parametrize("ended", [False, True], ids=["open", "ended"])
def test_an_id_under_another_path_warns_with_both(open_run, caplog, ended):
    """The run is the one of the id, and one warning names the path where it is and the one that was asked for."""
    run = open_run(path="cv/resnet", run_id="seed-1")
    if ended:
        run.finish()
    other = open_run(path="cv/vit", run_id="seed-1")
    (message,) = warnings_in(caplog)
    assert "'cv/resnet'" in message
    assert "'cv/vit'" in message
    assert other.path == "cv/resnet"
    assert other.run_dir == run.run_dir


def test_an_id_without_a_path_does_not_warn(open_run, caplog):
    """Whoever gives the id alone has said nothing of a path."""
    run = open_run(path="cv/resnet", run_id="seed-1")
    assert open_run(run_id="seed-1") is run
    assert warnings_in(caplog) == []


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda run: pickle.loads(pickle.dumps(run)),
}


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_in_the_owner_process_ends_the_run(open_run, way):
    """In the process that owns the run a copy of its handle is that handle."""
    run = open_run()
    same = COPIES[way](run)
    same.log(a=1)
    same.finish("failed")
    assert same is run
    assert status(run)["status"] == "failed"
    assert steps(run) == [1]


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_of_an_ended_run_can_be_asked(open_run, way):
    """A copy that is made after the end knows the run and takes nothing."""
    run = open_run()
    run.finish()
    same = COPIES[way](run)
    same.log(a=1)
    assert (same.id, same.run_dir, same.is_finished) == (run.id, run.run_dir, True)
    assert logged(run) == []


IN_A_FORKED_CHILD = """
import os, sys
import runicorn as rn
run = rn.init(storage=sys.argv[1], run_id="exp1")
pid = os.fork()
if pid == 0:
    child = rn.init(storage=sys.argv[1], run_id="exp1")
    child.log(child=1)
    child.finish("failed")
    os._exit(0 if "joined" in repr(child) and child is not run else 1)
print(os.waitpid(pid, 0)[1])
run.finish()
"""


def test_an_id_in_a_forked_child_joins(run_program, storage):
    """A forked child that opens its parent's run by id has joined it, and ends nothing."""
    assert run_program(IN_A_FORKED_CHILD).stdout == "0\n"
    run = storage / "runs" / "default" / "exp1"
    assert logged(run) == [{"child": 1}]
    assert status(run)["status"] == "finished"


# --- where a run may lie --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["f/one", "f/one/media", "f/one/media/x", "f\\one", "/f//one/"])
@pytest.mark.parametrize("run_id", [None, "two"])
@pytest.mark.parametrize("ended", [False, True], ids=["open", "ended"])
def test_a_path_into_a_run_is_refused(open_run, storage, path, run_id, ended):
    """A run in the directory of another one, which no reader finds, is an error before anything is made."""
    run = open_run(path="f", run_id="one")
    if ended:
        run.finish()
    before = sorted(storage.rglob("*")) if ended else None
    with pytest.raises(ValueError, match="leads into the directory of run one"):
        open_run(path=path, run_id=run_id)
    assert before in (None, sorted(storage.rglob("*")))


@pytest.mark.parametrize(("path", "run_id"), [("f", "one"), ("/", "f")])
def test_an_id_that_is_a_path_of_runs_is_refused(open_run, storage, path, run_id):
    """A directory with runs below it does not become a run, which would hide them."""
    open_run(path="f/one", run_id="two").finish()
    with pytest.raises(ValueError, match="runs below it"):
        open_run(path=path, run_id=run_id)
    assert [each.id for each in runicorn.runs(str(storage))] == ["two"]


def test_runs_beside_each_other_are_no_runs_in_each_other(open_run, storage):
    """Paths that only begin alike, and deeper ones beside a run, are fine."""
    for path, run_id in (("f", "one"), ("f/on", "x"), ("f/one-more", "y"), ("f/deep/er", "z")):
        open_run(path=path, run_id=run_id).finish()
    assert len(runicorn.runs(str(storage))) == 4


# --- the active run -------------------------------------------------------------------------------------------


def test_each_thread_has_its_own_active_run(open_run):
    """A thread that has opened runs gets the newest of its own; one that has not gets the process's."""
    outer = open_run()
    turn = threading.Barrier(2)
    found = []

    def trial():
        with open_run() as run:
            turn.wait(60)
            found.append(runicorn.get_active_run() is run)
            with open_run() as inner:
                found.append(runicorn.get_active_run() is inner)
            found.append(runicorn.get_active_run() is run)
            turn.wait(60)

    threads = [threading.Thread(target=trial) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [True] * 6
    assert runicorn.get_active_run() is outer
    other = []
    thread = threading.Thread(target=lambda: other.append(runicorn.get_active_run()))
    thread.start()
    thread.join()
    assert other == [outer]


def test_each_asynchronous_task_has_its_own_active_run(open_run):
    """Tasks that take turns each get their own run; before they open one they have that of who has started them."""
    outer = open_run()
    found = []

    async def trial(both):
        found.append(runicorn.get_active_run() is outer)
        with open_run() as run:
            await both.wait()
            found.append(runicorn.get_active_run() is run)

    async def trials():
        both = asyncio.Event()
        tasks = [asyncio.ensure_future(trial(both)) for _ in range(3)]
        await asyncio.sleep(0)
        both.set()
        await asyncio.gather(*tasks)

    asyncio.run(trials())
    assert found == [True] * 6
    assert runicorn.get_active_run() is outer


def test_a_run_of_another_thread_is_active_if_there_is_no_own(open_run):
    """After the end of what this context has opened it is the newest run of the process."""
    made = []
    thread = threading.Thread(target=lambda: made.append(open_run()))
    thread.start()
    thread.join()
    own = open_run()
    assert runicorn.get_active_run() is own
    own.finish()
    assert runicorn.get_active_run() is made[0]
    made[0].finish()
    assert runicorn.get_active_run() is None


# --- what a handle costs --------------------------------------------------------------------------------------

AT_THE_LIMIT = """
import os, resource, sys
import runicorn as rn
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))

def open_files():
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

def one(number):
    run = rn.init(path="sweep", storage=sys.argv[1])
    run.log(a=number)
    run.log_text("text")
    run.finish()
    return run

kept = [one(0)]
before = open_files()
kept += [one(number) for number in range(1, 40)]
print(open_files() - before)
print(sum((run.run_dir / "events.jsonl").exists() and run.is_finished for run in kept))
"""


def test_a_finished_run_costs_no_descriptor(run_program):
    """More runs than there may be descriptors can be opened, ended and kept by one program."""
    ended = run_program(AT_THE_LIMIT)
    assert (ended.stdout, ended.stderr) == ("0\n40\n", "")


NO_DESCRIPTORS = """
import os, resource, sys
import runicorn as rn
rn.init(path="warm", storage=sys.argv[1]).finish()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
taken = []
try:
    while True:
        taken.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
for free in range(12):
    for fd in taken[:free]:
        os.close(fd)
    try:
        rn.init(path="full", storage=sys.argv[1]).finish()
        print(free, "opened")
        break
    except OSError as error:
        print(free, error.errno, "Nothing was made" in str(error))
    taken[:free] = [os.open(os.devnull, os.O_RDONLY) for _ in range(free)]
"""


def test_init_at_the_limit_of_descriptors_raises_and_makes_nothing(run_program, storage):
    """With too few descriptors ``init()`` raises; with enough it opens a run that takes records."""
    *refused, opened = run_program(NO_DESCRIPTORS).stdout.splitlines()
    assert opened == f"{len(refused)} opened"
    assert refused
    assert all(line.endswith(" 24 True") for line in refused)
    assert len(list((storage / "runs" / "full").iterdir())) == 1


END_AT_THE_LIMIT = """
import os, resource, sys
import runicorn as rn
os.environ["RUNICORN_FINISH_TIMEOUT_S"] = "1.5"
run = rn.init(storage=sys.argv[1], run_id="full")
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
taken = []
try:
    while True:
        taken.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
run.finish()
for fd in taken:
    os.close(fd)
print("returned")
"""


def test_finish_without_descriptors_says_what_it_waits_for(start_program, storage):
    """It returns after its timeout, has said why it waits, and the interpreter's end ends the run."""
    process = start_program(END_AT_THE_LIMIT)
    out, err = process.communicate(timeout=60)
    assert out == "returned\n"
    assert "waiting until" in err
    assert "the run's end cannot be written to the spool" in err
    assert "Too many open files" in err
    assert status(storage / "runs" / "default" / "full")["status"] == "finished"


def test_after_the_end_a_late_call_in_another_thread_is_refused(open_run, caplog):
    """A thread that logs while the run is ended never meets a mapping that has gone."""
    run = open_run()
    ended = threading.Event()
    problems = []

    def log_on():
        try:
            while not ended.is_set():
                run.log(a=1)
            run.log(a=1)
        except Exception as error:  # noqa: BLE001 - whatever it is
            problems.append(error)

    threads = [threading.Thread(target=log_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    run.finish()
    ended.set()
    for thread in threads:
        thread.join(60)
    assert problems == []
    assert len(warnings_in(caplog)) == 1


# --- flush() --------------------------------------------------------------------------------------------------


@pytest.mark.detached_writer
def test_flush_stores_what_was_logged_and_ends_nothing(open_run):
    """When it returns everything can be read in the run's files, and the run goes on."""
    run = open_run()
    for number in range(1000):
        run.log(n=number)
    run.log_text("text")
    run.summary({"a": 1})
    assert run.flush() is True
    assert [data["n"] for data in logged(run)] == list(range(1000))
    assert text_of(run).endswith("| text\n")
    assert summary(run) == {"a": 1}
    assert status(run)["status"] == "running"
    run.log(n=1000)
    run.finish()
    assert len(logged(run)) == 1001


@pytest.mark.detached_writer
def test_flush_makes_files_durable(open_run, monkeypatch):
    """Each file of the run, and its directory, is synced before it returns."""
    run = open_run()
    run.log(a=1)
    synced = []
    real = os.fsync

    def sync(fd):
        synced.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name)
        real(fd)

    monkeypatch.setattr(os, "fsync", sync)
    assert run.flush()
    assert {"events.jsonl", "meta.json", "status.json", run.id} <= set(synced)


@pytest.mark.detached_writer
def test_flush_gives_up_after_its_timeout(open_run, caplog):
    """It says False where the writer did not store in time, warns of nothing, and nothing is lost."""
    run = open_run()
    with stopped_writer(run):
        run.log(a=1)
        assert run.flush(timeout_s=0.1) is False
    assert run.flush(timeout_s=0) is True
    assert logged(run) == [{"a": 1}]
    assert warnings_in(caplog) == []


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("x", TypeError), (b"1", TypeError), ("1", TypeError), (True, TypeError), (False, TypeError), ([1], TypeError),
        (1j, TypeError), (object(), TypeError), (float("nan"), ValueError), (-1, ValueError), (-0.5, ValueError),
        (float("-inf"), ValueError), (np.float64("nan"), ValueError), (np.bool_(True), TypeError),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ended", [False, True])
def test_flush_refuses_what_is_no_time(open_run, given, error, ended):
    """What is no number of seconds raises, of an open run and of one that has ended, and the run stays as it is."""
    run = open_run()
    if ended:
        run.finish()
    with pytest.raises(error, match=r"^flush\(\): timeout_s="):
        run.flush(given)
    assert run.is_finished is ended


@pytest.mark.detached_writer
@pytest.mark.parametrize("given", [0, 60, 60.5, float("inf"), 10**400, np.float32(60), Decimal(60), Fraction(60)])
def test_flush_takes_any_number_of_seconds(open_run, given):
    """A time may be of any type of number, and as long as one likes."""
    run = open_run()
    run.log(a=1)
    assert run.flush(given) is True


@pytest.mark.detached_writer
def test_flush_again_and_after_the_end_does_nothing(open_run, caplog):
    """With nothing to store, and after ``finish()``, it returns True."""
    run = open_run()
    assert run.flush()
    assert run.flush()
    run.finish()
    assert run.flush()
    assert warnings_in(caplog) == []


FLUSHES = """
import os, sys
import runicorn as rn
run = rn.init(storage=sys.argv[1], run_id="flushed")
pid = os.fork()
if pid == 0:
    run.log(child=1)
    done = run.flush()
    stored = (run.run_dir / "events.jsonl").read_text().count('"child"')
    os._exit(0 if done and stored == 1 else 1)
print(os.waitpid(pid, 0)[1], run.is_finished)
run.finish()
"""


def test_flush_in_a_forked_child_stores_that_childs_records(run_program):
    """A child that has logged into its parent's run waits for its own records alone."""
    assert run_program(FLUSHES).stdout == "0 False\n"


# --- finish() with a reason -----------------------------------------------------------------------------------


def test_a_reason_is_stored(open_run):
    """``finish(status, reason)`` writes it as the exit reason."""
    run = open_run()
    run.finish("failed", "loss is nan")
    assert (status(run)["status"], status(run)["exit_reason"]) == ("failed", "loss is nan")


@pytest.mark.parametrize("reason", [3, b"x", ValueError("x")], ids=repr)
def test_a_reason_that_is_no_string_raises(open_run, reason):
    """The run stays open."""
    run = open_run()
    with pytest.raises(TypeError, match="reason"):
        run.finish("failed", reason)
    assert not run.is_finished


@pytest.mark.parametrize(
    ("word", "error", "stored"),
    [
        ("failed", ValueError("no data"), "ValueError: no data"),
        ("crashed", ValueError("no data"), "ValueError: no data"),
        ("finished", ValueError("no data"), None),
        ("interrupted", KeyboardInterrupt(), "KeyboardInterrupt"),
        ("interrupted", ValueError("no data"), None),
    ],
)
def test_failed_takes_its_reason_from_the_exception_that_is_handled(open_run, word, error, stored):
    """Called in an ``except`` block, ``failed`` has the exception for its reason."""
    run = open_run()
    try:
        raise error  # noqa: TRY301 - to be handled while it ends
    except BaseException:  # noqa: BLE001 - one of the five
        run.finish(word)
    assert status(run).get("exit_reason") == stored


@pytest.mark.parametrize(
    ("word", "stored"),
    [
        ("pruned", "interrupted"),
        ("preempted", "interrupted"),
        ("TERMINATED", "interrupted"),
        ("timeout", "interrupted"),
        ("oom", "failed"),
    ],
)
def test_a_word_that_says_more_than_a_status_is_the_reason(open_run, word, stored):
    """Words of other trackers end the run, and are kept."""
    run = open_run()
    run.finish(word)
    assert (status(run)["status"], status(run)["exit_reason"]) == (stored, word.lower())


# --- labels ---------------------------------------------------------------------------------------------------


def labels_of(run):
    """Those in ``meta.json``."""
    return {name: meta(run)[name] for name in ("tags", "notes", "group", "parent") if name in meta(run)}


def test_labels_are_merged_into_the_meta_file(open_run):
    """What is given is written, what is not stays, and the rest of the file is kept."""
    run = open_run(alias="mine")
    before = meta(run)
    run.set_labels(tags=["a", "b"], notes="why")
    run.set_labels(group="sweep", parent="other-run")
    assert labels_of(run) == {"tags": ["a", "b"], "notes": "why", "group": "sweep", "parent": "other-run"}
    assert {name: meta(run)[name] for name in before} == before


def test_a_run_can_be_a_parent(open_run):
    """``parent`` takes a ``Run`` for its id."""
    parent, child = open_run(), open_run()
    child.set_labels(parent=parent)
    assert labels_of(child) == {"parent": parent.id}


def test_labels_keep_what_the_command_has_changed_meanwhile(open_run, storage):
    """Tags that ``runicorn tag`` has added stay; those that the same handle had set before go."""
    run = open_run()
    run.set_labels(tags=["mine", "draft"])
    assert main(["tag", run.id, "--add", "paper", "--storage", str(storage)]) in (None, 0)
    assert main(["alias", run.id, "named", "--storage", str(storage)]) in (None, 0)
    run.set_labels(tags=["mine", "final"])
    run.finish()
    assert labels_of(run) == {"tags": ["mine", "paper", "final"]}
    assert meta(run)["alias"] == "named"


def test_labels_survive_a_resume(open_run, storage):
    """A run that goes on has the labels of before, and the reader gives them."""
    run = open_run()
    run.set_labels(tags=["a"], notes="n", group="g", parent="p")
    run.finish()
    open_run(run_id=run.id).finish()
    (info,) = runicorn.runs(str(storage))
    assert (info.tags, info.notes, info.group, info.parent) == (["a"], "n", "g", "p")


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"tags": "abc"}, TypeError),
        ({"tags": 3}, TypeError),
        ({"tags": ["a", 1]}, TypeError),
        ({"tags": ["a,b"]}, ValueError),
        ({"tags": [" "]}, ValueError),
        ({"notes": 1}, TypeError),
        ({"group": ["g"]}, TypeError),
        ({"parent": 7}, TypeError),
    ],
    ids=repr,
)
def test_what_is_no_label_raises_and_changes_nothing(open_run, wrong, kind):
    """The error names the argument; labels that were right in the same call are not written either."""
    run = open_run()
    before = content(run, "meta.json")
    with pytest.raises(kind):
        run.set_labels(**{"notes": "right", "group": "right", **wrong})
    assert content(run, "meta.json") == before


def test_a_run_is_not_its_own_parent(open_run):
    """Its own id, and itself, are refused."""
    run = open_run()
    for parent in (run, run.id):
        with pytest.raises(ValueError, match="itself"):
            run.set_labels(parent=parent)


def test_a_damaged_meta_file_is_left_alone(open_run, caplog):
    """Where ``meta.json`` cannot be read it is not replaced: one warning, and the run goes on."""
    run = open_run()
    (run.run_dir / "meta.json").write_text("{")
    run.set_labels(notes="n")
    (message,) = warnings_in(caplog)
    assert "meta.json" in message
    assert (run.run_dir / "meta.json").read_text() == "{"
    run.log(a=1)
    run.finish()
    assert len(events(run)) == 1


LABELS_OF_ALL = """
import os, sys
import runicorn as rn
run = rn.init(storage=sys.argv[1], run_id="labelled")
children = []
for number in range(6):
    pid = os.fork()
    if pid == 0:
        run.set_labels(tags=[f"t{number}"])
        os._exit(0)
    children.append(pid)
print([os.waitpid(pid, 0)[1] for pid in children])
run.finish()
"""


def test_labels_of_several_processes_are_all_kept(run_program, storage):
    """Processes that label one run at the same time lose none of each other's tags."""
    assert run_program(LABELS_OF_ALL).stdout == "[0, 0, 0, 0, 0, 0]\n"
    assert sorted(labels_of(storage / "runs" / "default" / "labelled")["tags"]) == [f"t{n}" for n in range(6)]
