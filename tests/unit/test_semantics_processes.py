"""Many processes, one run: forked, pickled and joined handles."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from support import (
    events,
    logged,
    meta,
    status,
    steps,
    stopped_writer,
    text_of,
    wait_until,
)

import runicorn
from runicorn.host.identity import hostname


def producers(run):
    """Who has written each line; None is the owner."""
    return [line.get("producer") for line in events(run)]


def the_run(storage):
    """The only run of a storage."""
    (run_dir,) = (path.parent for path in storage.rglob("status.json"))
    return run_dir


# --- forked --------------------------------------------------------------------------------------------------


FORKED = """
import os, sys
import runicorn as rn
run = rn.init(storage=sys.argv[1])
run.log(owner=1)
run.log(owner=2)
pid = os.fork()
if pid == 0:
    run.log(child=1)
    run.log(child=2, step=50)
    run.log(child=3)
    run.log_text("child")
    os._exit(0)
os.waitpid(pid, 0)
run.log(owner=3)
run.finish()
print(pid)
"""


def test_a_forked_child_uses_the_run_that_it_inherited(run_program, storage):
    """Records of both are stored, though the child ends by ``os._exit`` and pushes no end."""
    run_program(FORKED)
    run = the_run(storage)
    assert [data["owner"] for data in logged(run) if "owner" in data] == [1, 2, 3]
    assert [data["child"] for data in logged(run) if "child" in data] == [1, 2, 3]
    assert text_of(run).endswith("| child\n")
    assert status(run)["status"] == "finished"


def test_records_of_a_child_name_their_producer(run_program, storage):
    """A joined process's lines carry ``<host>-<pid>`` beside ``data``, the owner's do not."""
    pid = run_program(FORKED).stdout.strip()
    for line in events(the_run(storage)):
        expected = f"{hostname()}-{pid}" if "child" in line["data"] else None
        assert line.get("producer") == expected
        assert "producer" not in line["data"]


def test_a_childs_auto_step_continues_from_the_fork(run_program, storage):
    """Both count on from the value at the fork, each for itself."""
    run_program(FORKED)
    run = the_run(storage)
    by = {"owner": [], "child": []}
    for line in events(run):
        by["child" if "child" in line["data"] else "owner"].append(line["data"]["global_step"])
    assert by == {"owner": [1, 2, 3], "child": [3, 50, 51]}


def test_values_that_are_not_finite_and_the_producer_stand_side_by_side(run_program, storage):
    """A joined process's NaN is kept like the owner's."""
    run_program("""
import os, sys
import runicorn as rn
run = rn.init(storage=sys.argv[1])
if os.fork() == 0:
    run.log(loss=float("nan"))
    os._exit(0)
os.wait()
run.finish()
""")
    (line,) = events(the_run(storage))
    assert line["nonfinite"] == {"loss": "NaN"}
    assert line["producer"].startswith(f"{hostname()}-")


def test_a_grandchild_uses_the_run_as_well(run_program, storage):
    """A child's child is one more producer."""
    run_program("""
import os, sys
import runicorn as rn
run = rn.init(storage=sys.argv[1])
run.log(generation=0)
if os.fork() == 0:
    run.log(generation=1)
    if os.fork() == 0:
        run.log(generation=2)
        os._exit(0)
    os.wait()
    os._exit(0)
os.wait()
run.finish()
""")
    run = the_run(storage)
    assert sorted(data["generation"] for data in logged(run)) == [0, 1, 2]
    assert len(set(producers(run))) == 3


# --- pickled --------------------------------------------------------------------------------------------------


STARTED = """
import multiprocessing, sys
import runicorn as rn

def work(run, number):
    run.log(child=number)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[2])
    run = rn.init(storage=sys.argv[1], path="cv", alias="mine")
    run.log(owner=1)
    workers = [
        context.Process(target=work, args=(run, number), daemon=sys.argv[3] == "daemonic")
        for number in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    run.finish()
    print(*[worker.pid for worker in workers])
"""


@pytest.mark.parametrize("kind", ["", "daemonic"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_run_that_is_handed_to_a_process_is_a_joined_handle(run_program, storage, method, kind):
    """By each start method, daemonic or not, a worker logs into the run that it was given."""
    pids = run_program(STARTED, method, kind).stdout.split()
    run = the_run(storage)
    by = {line["producer"]: line["data"] for line in events(run) if "child" in line["data"]}
    assert set(by) == {f"{hostname()}-{pid}" for pid in pids}
    assert sorted(data["child"] for data in by.values()) == [0, 1, 2]
    assert {data["global_step"] for data in by.values()} == {2}
    assert status(run)["status"] == "finished"


POOL = """
import concurrent.futures, multiprocessing, os, sys
import runicorn as rn

def work(run, number):
    run.log(number=number)
    return os.getpid(), repr(run), run.path, run.alias, str(run.run_dir)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[2])
    run = rn.init(storage=sys.argv[1], path="cv", alias="mine")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        told = list(pool.map(work, [run] * 50, range(50)))
    run.finish()
    for pid, text, *same in told:
        assert pid != os.getpid()
        assert "joined" in text, text
        assert same == [run.path, run.alias, str(run.run_dir)]
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_run_is_pickled_with_each_task_of_a_pool(run_program, storage, method):
    """Tasks of a ``ProcessPoolExecutor`` get a joined handle of the same run."""
    run_program(POOL, method)
    assert sorted(data["number"] for data in logged(the_run(storage))) == list(range(50))


MANY_TASKS = """
import concurrent.futures, multiprocessing, os, sys
import psutil
import runicorn as rn

def work(run, number):
    run.log(number=number)
    return psutil.Process().num_fds(), len(os.listdir(run._session.address.spool))

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    run = rn.init(storage=sys.argv[1])
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        told = list(pool.map(work, [run] * 100, range(100)))
    run.finish()
    for before, after in zip(told[9], told[99]):
        assert after < before + 20, (told[9], told[99])
"""


def test_a_worker_with_many_tasks_piles_nothing_up(run_program, storage):
    """A worker that unpickles the run with each task needs as many descriptors and files for many tasks as for few."""
    run_program(MANY_TASKS)
    assert sorted(data["number"] for data in logged(the_run(storage))) == list(range(100))


# --- joined by id --------------------------------------------------------------------------------------------------


JOINED = """
import sys
import runicorn as rn
run = rn.init(storage=sys.argv[1], run_id=sys.argv[2])
"""


@pytest.mark.detached_writer
def test_init_with_its_id_joins_a_run(open_run, run_program):
    """Another process joins by id, whatever path it names; it is one more producer."""
    run = open_run(path="cv/a", alias="mine")
    run.log(owner=1)
    out = run_program(
        JOINED + "run.log(child=1, step=9)\nimport os; print(run.path, run.alias, os.getpid())\n", run.id
    ).stdout
    *same, pid = out.split()
    assert same == ["cv/a", "mine"]
    run.finish()
    assert sorted(map(str, producers(run))) == ["None", f"{hostname()}-{pid}"]
    assert "resumed" not in meta(run)
    assert meta(run)["pid"] == os.getpid()


@pytest.mark.detached_writer
def test_a_joined_auto_step_continues_from_what_is_stored(open_run, run_program):
    """Who joins when five steps are stored goes on with the sixth."""
    run = open_run()
    for _ in range(5):
        run.log(a=1)
    wait_until(lambda: run._session.control.last_step == 5)
    run_program(JOINED + "run.log(child=1)\n", run.id)
    run.finish()
    assert steps(run) == [1, 2, 3, 4, 5, 6]


@pytest.mark.detached_writer
def test_a_joined_auto_step_continues_from_the_value_at_the_join(open_run):
    """It is the run's counter at the join that counts, not how far the writer has come."""
    run = open_run()
    with stopped_writer(run):
        for _ in range(5):
            run.log(a=1)
        joined = open_run(run_id=run.id)
        joined.log(child=1)
    run.finish()
    (step,) = (line["data"]["global_step"] for line in events(run) if "child" in line["data"])
    assert step == 6


# --- only the owner ends it ------------------------------------------------------------------------------------------


def lines_beside(run):
    """What a program appends to see its own records on disk."""
    return f"""
import json
lines = open({str(Path(run.run_dir) / "events.jsonl")!r}).read().splitlines()
print(sum("child" in json.loads(line)["data"] for line in lines))
"""


def still_runs(run):
    """Log on, end the run, and see that both worked."""
    assert not run.is_finished
    assert status(run)["status"] == "running"
    run.log(owner=2)
    run.finish()
    assert [data["owner"] for data in logged(run) if "owner" in data] == [1, 2]
    assert status(run)["status"] == "finished"


@pytest.mark.detached_writer
@pytest.mark.parametrize("word", ["", "'failed'"])
def test_finish_in_a_joined_process_only_flushes(open_run, run_program, word):
    """When it returns, that process's records are on disk and the run goes on, whatever status it names."""
    run = open_run()
    run.log(owner=1)
    source = JOINED + f"for n in range(1000): run.log(child=n)\nrun.finish({word})\n"
    assert run_program(source + lines_beside(run), run.id).stdout == "1000\n"
    still_runs(run)


@pytest.mark.detached_writer
@pytest.mark.parametrize("error", [None, "ValueError()", "KeyboardInterrupt()", "SystemExit(3)"])
def test_leaving_with_in_a_joined_process_only_flushes(open_run, run_program, error):
    """However the block is left, that process's records are on disk and the run goes on."""
    run = open_run()
    run.log(owner=1)
    raising = f"        raise {error}" if error else "        pass"
    source = f"""{JOINED}
try:
    with run:
        run.log(child=1)
{raising}
except BaseException:
    pass
"""
    assert run_program(source + lines_beside(run), run.id).stdout == "1\n"
    still_runs(run)


@pytest.mark.detached_writer
@pytest.mark.parametrize("way", ["run.finish()", "with run: pass"])
def test_a_joined_process_logs_on_after_its_finish(open_run, run_program, way):
    """As the run has not ended, what a joined process logs after its ``finish()`` is stored as well."""
    run = open_run()
    run.log(owner=1)
    told = run_program(JOINED + f"run.log(child=1)\n{way}\nrun.log(child=2)\nrun.finish()\n", run.id)
    assert told.stderr == ""
    still_runs(run)
    assert [data["child"] for data in logged(run) if "child" in data] == [1, 2]


def test_finish_in_a_forked_child_only_flushes(run_program, storage):
    """A child that was forked out of the owner is no owner."""
    told = run_program("""
import os, sys
import runicorn as rn
run = rn.init(storage=sys.argv[1])
run.log(owner=1)
if os.fork() == 0:
    with run:
        run.log(child=1)
    run.finish("failed")
    os._exit(0)
os.wait()
assert not run.is_finished
print((run.run_dir / "status.json").read_text())
run.log(owner=2)
run.finish()
""")
    assert '"running"' in told.stdout
    assert status(the_run(storage))["status"] == "finished"
    assert len(logged(the_run(storage))) == 3


@pytest.mark.detached_writer
def test_a_wrong_status_raises_in_a_joined_process_as_well(open_run, run_program):
    """``finish()`` checks its argument wherever it is called."""
    run = open_run()
    source = JOINED + "try:\n    run.finish('bogus')\nexcept ValueError:\n    print(run.is_finished)\n"
    assert run_program(source, run.id).stdout == "False\n"


@pytest.mark.detached_writer
@pytest.mark.parametrize(
    ("way", "returncode"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise ValueError", 1),
        ("import os; os._exit(4)", 4),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL),
        ("import os; os.kill(os.getpid(), 15)", -signal.SIGTERM),
    ],
    ids=["end", "exit", "exception", "_exit", "SIGKILL", "SIGTERM"],
)
def test_the_exit_of_a_joined_process_does_not_end_the_run(open_run, run_program, way, returncode):
    """However it ends, its records are stored and the run goes on."""
    run = open_run()
    run.log(owner=1)
    source = JOINED + f"for n in range(100): run.log(child=n)\n{way}\n"
    run_program(source, run.id, returncode=returncode)
    wait_until(lambda: sum("child" in data for data in logged(run)) == 100)
    still_runs(run)


@pytest.mark.detached_writer
@pytest.mark.parametrize("owns", ["", "own = rn.init(storage=sys.argv[1] + '-own')\n"], ids=["", "owns another"])
def test_the_exit_of_the_only_process_that_has_logged_does_not_end_the_run(open_run, run_program, owns):
    """An owner that has not logged yet keeps its run open, whoever else comes and goes."""
    run = open_run()
    run_program(JOINED + owns + "run.log(child=1)\n", run.id)
    wait_until(lambda: logged(run) == [{"child": 1}])
    control = run._session.control
    ticks = control.heartbeat
    wait_until(lambda: control.heartbeat > ticks + 4 or control.done, what="the writer has looked again")
    assert not run.is_finished
    assert status(run)["status"] == "running"
    run.log(owner=1)
    run.finish()
    assert [data.get("owner") for data in logged(run)] == [None, 1]


def test_the_exit_of_a_forked_child_does_not_end_the_run(run_program, storage):
    """A child that runs the interpreter's exit hooks ends nothing."""
    told = run_program("""
import os, sys
import runicorn as rn
run = rn.init(storage=sys.argv[1])
run.log(owner=1)
if os.fork() == 0:
    run.log(child=1)
    sys.exit(0)
os.wait()
print((run.run_dir / "status.json").read_text())
run.log(owner=2)
run.finish()
""")
    assert '"running"' in told.stdout
    assert len(logged(the_run(storage))) == 3


THE_END_FOR_ALL = (
    JOINED
    + """
run.log(child=1)
run.flush()
print("joined", flush=True)
sys.stdin.readline()
assert run.is_finished
for _ in range(3):
    run.log(child=2)
run.finish()
print(os.listdir("/proc/self/fd") == before)
"""
).replace("import sys", "import os, sys\nbefore = os.listdir('/proc/self/fd')")


@pytest.mark.detached_writer
def test_the_owner_ends_the_run_for_all(open_run, start_program):
    """What a joined handle logs after the owner's ``finish()`` is refused with one warning; then it costs nothing."""
    run = open_run()
    joined = start_program(THE_END_FOR_ALL, run.id, stdin=subprocess.PIPE)
    assert joined.stdout.readline() == "joined\n"
    run.finish("failed")
    out, errors = joined.communicate("\n", timeout=60)
    assert (out, joined.returncode) == ("True\n", 0), errors
    assert len(errors.splitlines()) == 1
    assert logged(run) == [{"child": 1}]
    assert status(run)["status"] == "failed"
    assert runicorn.get_active_run() is None


def test_the_owners_finish_stores_what_every_process_has_logged(run_program, storage):
    """Records of joined processes that live on are stored by the owner's ``finish()`` as well."""
    run_program("""
import os, sys
import runicorn as rn
run = rn.init(storage=sys.argv[1])
ready, tell = os.pipe()
until, end = os.pipe()
for child in range(4):
    if os.fork() == 0:
        os.close(end)
        for n in range(1000):
            run.log(child=child, n=n)
        os.write(tell, b".")
        os.read(until, 1)
        os._exit(0)
for _ in range(4):
    os.read(ready, 1)
run.finish()
lines = (run.run_dir / "events.jsonl").read_bytes().splitlines()
assert len(lines) == 4000, len(lines)
os.close(end)
for _ in range(4):
    os.wait()
""")
    found = logged(the_run(storage))
    for child in range(4):
        assert [data["n"] for data in found if data["child"] == child] == list(range(1000))
