"""Children of one process, by every way that Python has to start them: nothing lost, doubled or left behind."""

from __future__ import annotations

import json
import os
import pickle
import pickletools
import shutil
import tempfile
from pathlib import Path

import psutil
import pytest
from support import content, events, status, summary, text_of, wait_until, warnings_in

from runicorn.host.identity import hostname
from runicorn.queue.spool_address import Address
from runicorn.settings import Settings

METHODS = ("fork", "spawn", "forkserver")
COUNT = 200
PICKLE_BYTES = 2000


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch):
    """Give the test places of its own; when it has ended they are empty, and nothing that it started lives."""
    memory = tempfile.mkdtemp(prefix="children-", dir=os.environ["RUNICORN_SHM_DIR"])
    temporary = tempfile.mkdtemp(prefix="children-")
    monkeypatch.setenv("RUNICORN_SHM_DIR", memory)
    monkeypatch.setenv("TMPDIR", temporary)

    def left():
        spools = [path for place in (memory, temporary) for path in Path(place).glob("runicorn-*")]
        return [*map(str, spools), *map(str, living_with(memory))]

    yield
    try:
        wait_until(lambda: not left())
    except AssertionError:
        pytest.fail("left behind: " + "; ".join(left()))
    finally:
        for process in living_with(memory):
            process.kill()
        shutil.rmtree(memory, ignore_errors=True)
        shutil.rmtree(temporary, ignore_errors=True)


def living_with(memory):
    """Processes that were started with a place for spools: a program of the test, its descendants, its writer."""
    found = []
    for process in psutil.process_iter():
        try:
            theirs = process.environ().get("RUNICORN_SHM_DIR")
        except psutil.Error:
            continue
        if theirs == memory and process.pid != os.getpid():
            found.append(process)
    return found


def the_run(storage):
    """The only run of a storage."""
    (run_dir,) = (path.parent for path in storage.rglob("status.json"))
    return run_dir


def check(storage, ended, *, owner=COUNT, count=COUNT, final="finished"):
    """Each producer's records are there once and in order under its name, and nothing was refused."""
    expected = {None: [["owner", n % COUNT] for n in range(owner)]} if owner else {}
    for pid, task, _ in sorted(json.loads(ended.stdout), key=lambda told: told[2]):
        expected.setdefault(f"{hostname()}-{pid}", []).extend([task, n] for n in range(count))
    run = the_run(storage)
    wait_until(lambda: status(run)["status"] != "running", what="the run has ended by itself")
    found = {}
    for line in events(run):
        found.setdefault(line.get("producer"), []).append([line["data"]["task"], line["data"]["n"]])
    assert {name: len(records) for name, records in found.items()} == {
        name: len(records) for name, records in expected.items()
    }
    assert found == expected
    assert status(run)["status"] == final
    assert "lost_records" not in status(run)
    assert "[run " not in ended.stderr, ended.stderr


PRELUDE = f"""
import json, multiprocessing, os, signal, sys, threading, time
import runicorn as rn
from support import stopped_writer, wait_until


def log_some(run, task, count={COUNT}):
    begun = time.monotonic()
    for n in range(count):
        run.log(task=task, n=n)
    return os.getpid(), task, begun


def tell(results):
    print(json.dumps(list(results)), flush=True)
"""

# --- by every way ---------------------------------------------------------------------------------------------

WAYS = (
    PRELUDE
    + """
def put(results, run, task):
    results.put(log_some(run, task))


def by_process(context, run, daemon=False):
    results = context.SimpleQueue()
    processes = [context.Process(target=put, args=(results, run, task), daemon=daemon) for task in range(2)]
    for process in processes:
        process.start()
    log_some(run, "owner")
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    return [results.get() for _ in processes]


def by_daemonic_process(context, run):
    return by_process(context, run, daemon=True)


def by_pool(context, run):
    with context.Pool(2) as pool:
        results = pool.starmap_async(log_some, [(run, task) for task in range(8)], chunksize=1)
        log_some(run, "owner")
        return results.get(90)


def by_short_lived_pool(context, run):
    with context.Pool(2, maxtasksperchild=1) as pool:
        results = pool.starmap_async(log_some, [(run, task) for task in range(4)], chunksize=1)
        log_some(run, "owner")
        return results.get(90)


def by_executor(context, run):
    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        futures = [pool.submit(log_some, run, task) for task in range(8)]
        log_some(run, "owner")
        return [future.result(90) for future in futures]


def main():
    context = multiprocessing.get_context(sys.argv[2])
    run = rn.init(storage=sys.argv[1])
    results = globals()["by_" + sys.argv[3]](context, run)
    run.finish()
    tell(results)
"""
)
WAY = ("process", "daemonic_process", "pool", "short_lived_pool", "executor")


@pytest.mark.parametrize("way", WAY)
@pytest.mark.parametrize("method", METHODS)
def test_workers_log_into_the_run_that_they_are_given(run_program, storage, method, way):
    """From a guarded main script, by each start method and each way to start a worker, every record is stored once."""
    ended = run_program(WAYS + "\nif __name__ == '__main__':\n    main()\n", method, way)
    check(storage, ended)


def test_an_unguarded_main_script_forks_workers(run_program, storage):
    """Under fork no guard is needed, however workers are started: our writer imports nothing of the program."""
    every_way = f"""
context = multiprocessing.get_context("fork")
run = rn.init(storage=sys.argv[1])
results = [each for way in {WAY} for each in globals()["by_" + way](context, run)]
run.finish()
tell(results)
"""
    check(storage, run_program(WAYS + every_way), owner=len(WAY) * COUNT)


BY_ID = (
    WAYS
    + """
run = rn.init(storage=sys.argv[1], run_id="shared")


def work(task):
    return log_some(run, task)


if __name__ == "__main__":
    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(sys.argv[2])) as pool:
        futures = [pool.submit(work, task) for task in range(6)]
        log_some(run, "owner")
        results = [future.result(90) for future in futures]
    run.finish()
    tell(results)
"""
)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("runs", [1, 2])
def test_a_main_script_that_opens_its_run_at_the_top(run_program, storage, method, runs):
    """An ``init()`` that no guard protects opens its run once; workers that import the script find that very run."""
    source = BY_ID.replace(', run_id="shared")', ")")
    if runs == 2:
        source = source.replace("\nrun = rn.init(", "\nrn.init(storage=sys.argv[1]).log(first=True)\nrun = rn.init(")
    ended = run_program(source, method)
    found = [path.parent for path in storage.rglob("status.json")]
    assert len(found) == runs
    if runs == 2:
        (first,) = (path for path in found if any("first" in line["data"] for line in events(path)))
        wait_until(lambda: status(first)["status"] == "finished")
        lines = [line.get("producer") for line in events(first)]
        assert None in lines
        assert not any("n" in line["data"] for line in events(first))
        shutil.rmtree(first)
    check(storage, ended)


@pytest.mark.parametrize("method", METHODS)
def test_a_main_script_that_opens_its_run_at_the_top_by_id(run_program, storage, method):
    """Where a child imports the main script again, an unguarded ``init(run_id=...)`` in it joins the run."""
    check(storage, run_program(BY_ID, method))


BY_HAND = (
    PRELUDE
    + """
run = rn.init(storage=sys.argv[1])
source, sink = os.pipe()
children = set()
for task in range(4):
    pid = os.fork()
    if pid == 0:
        os.write(sink, json.dumps(log_some(run, task)).encode() + b"\\n")
        os._exit(0)
    children.add(pid)
log_some(run, "owner")
seen = {os.wait()[0] for _ in range(4)}
try:
    os.wait()
    raise SystemExit("a descendant of ours is visible to os.wait()")
except ChildProcessError:
    assert seen == children
run.finish()
os.close(sink)
tell(json.loads(line) for line in os.fdopen(source))
"""
)


def test_fork_by_hand(run_program, storage):
    """Children of ``os.fork()`` log beside their parent, and its ``os.wait()`` sees them and nobody else."""
    check(storage, run_program(BY_HAND))


FAMILY = (
    PRELUDE
    + """
def live(run, methods, results):
    results.put(log_some(run, f"generation {len(methods)}"))
    if methods:
        child = multiprocessing.get_context(methods[0]).Process(target=live, args=(run, methods[1:], results))
        child.start()
        child.join()
        assert child.exitcode == 0


if __name__ == "__main__":
    first, *methods = sys.argv[2].split()
    results = multiprocessing.get_context("spawn").SimpleQueue()
    run = rn.init(storage=sys.argv[1])
    child = multiprocessing.get_context(first).Process(target=live, args=(run, methods, results))
    child.start()
    log_some(run, "owner")
    child.join()
    assert child.exitcode == 0
    run.finish()
    tell(results.get() for _ in range(1 + len(methods)))
"""
)


@pytest.mark.parametrize(
    "methods",
    ["fork fork fork", "spawn spawn spawn", "forkserver forkserver", "spawn fork spawn", "forkserver fork"],
)
def test_grandchildren(run_program, storage, methods):
    """A handle that is handed on from generation to generation, by fork or pickle in turn, stays one of the run."""
    check(storage, run_program(FAMILY, methods))


INSIDE_LOG = (
    PRELUDE
    + """
from runicorn.queue.segment import Segment

run = rn.init(storage=sys.argv[1])
create, inside, resume = Segment.create, threading.Event(), threading.Event()


def held(*arguments):
    if threading.current_thread() is thread and not inside.is_set():
        inside.set()
        resume.wait()
    return create(*arguments)


def fork_beside_log(task):
    # The thread is held while it opens a segment: inside log(), with the queue's lock.
    global thread
    told = []
    thread = threading.Thread(target=lambda: told.append(log_some(run, task)))
    Segment.create = held
    thread.start()
    inside.wait()
    source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(sink, json.dumps(log_some(run, "forked")).encode())
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    resume.set()
    thread.join()
    return [json.loads(os.read(source, 1000)), *told]


if sys.argv[2] == "owner":
    results = fork_beside_log("owner")[:1]
else:
    log_some(run, "owner")
    source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(sink, json.dumps(fork_beside_log("child")).encode())
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    results = json.loads(os.read(source, 1000))
run.finish()
tell(results)
"""
)


@pytest.mark.parametrize("who", ["owner", "child"])
def test_a_fork_while_another_thread_is_inside_log(run_program, storage, monkeypatch, who):
    """A fork while a thread holds the queue's lock, in the owner or in a child, neither hangs nor loses a record."""
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    check(storage, run_program(INSIDE_LOG, who))


# --- children that come, go and die ---------------------------------------------------------------------------

KILLED = (
    PRELUDE
    + """
def die(run, task):
    run.log(task=task, n=0)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    run = rn.init(storage=sys.argv[1])
    context = multiprocessing.get_context(sys.argv[2])
    processes = [context.Process(target=die, args=(run, task)) for task in range(int(sys.argv[3]))]
    for process in processes:
        process.start()
    log_some(run, "owner")
    for process in processes:
        process.join()
    assert {process.exitcode for process in processes} == {-signal.SIGKILL}
    run.finish()
    tell((process.pid, task, 0) for task, process in enumerate(processes))
"""
)


@pytest.mark.parametrize(("method", "children"), [("fork", 24), ("spawn", 3), ("forkserver", 6)])
def test_a_child_that_is_killed_right_after_its_first_log(run_program, storage, method, children):
    """SIGKILL in the line after the first ``log()`` loses nothing, and the run goes on for the others."""
    check(storage, run_program(KILLED, method, children), count=1)


SHORT_LIVED = (
    PRELUDE
    + """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
run = rn.init(storage=sys.argv[1])
log_some(run, "owner")
source, sink = os.pipe()
for task in range(100):
    pid = os.fork()
    if pid == 0:
        os.write(sink, json.dumps(log_some(run, task, 3)).encode() + b"\\n")
        os._exit(0)
    os.waitpid(pid, 0)
run.finish()
os.close(sink)
tell(json.loads(line) for line in os.fdopen(source))
"""
)


def test_more_children_one_after_the_other_than_the_writer_may_have_descriptors(run_program, storage):
    """Workers that come and go for each epoch cost the writer nothing that lasts: no limit ends their records."""
    check(storage, run_program(SHORT_LIVED), count=3)


WRITER_DIED = (
    PRELUDE
    + """
from support import writer_of

run = rn.init(storage=sys.argv[1])
log_some(run, "owner")
writer = writer_of(run)
pid = os.fork()
if pid == 0:
    writer.kill()
    wait_until(lambda: not writer.is_running(), what="the writer is dead")
    result = log_some(run, "child")
    run.finish()
    lines = (run.run_dir / "events.jsonl").read_text().splitlines()
    assert sum('"child"' in line for line in lines) == result_count, len(lines)
    tell([result])
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
run.finish()
""".replace("result_count", str(COUNT))
)


def test_finish_in_a_child_whose_writer_has_died(run_program, storage, monkeypatch):
    """While the owner waits for its child and calls nothing, the child's ``finish()`` starts another writer."""
    monkeypatch.setenv("RUNICORN_FINISH_TIMEOUT_S", "80")
    check(storage, run_program(WRITER_DIED))


# --- children that outlive their parent --------------------------------------------------------------------------

ENDINGS = {
    "end": ("", 0, "finished", None),
    "exception": ("raise ValueError('no data')", 1, "failed", "ValueError: no data"),
    "_exit": ("os._exit(3)", 3, "failed", "exit code 3"),
    "SIGKILL": ("os.kill(os.getpid(), signal.SIGKILL)", -9, "failed", "killed by signal 9"),
}

OUTLIVING = (
    PRELUDE
    + """
def outlive(run, ready, parent, parents_end):
    if parents_end is not None:
        parents_end.close()
    results = [log_some(run, "before")]
    ready.send("go on")
    try:
        parent.recv()
    except EOFError:
        wait_until(lambda: run._session.control.others, what="the writer has seen that the owner is gone")
    tell([*results, log_some(run, "after")])


def start(method, *arguments):
    if method != "os.fork":
        multiprocessing.get_context(method).Process(target=outlive, args=arguments).start()
    elif os.fork() == 0:
        outlive(*arguments)
        os._exit(0)


if __name__ == "__main__":
    run = rn.init(storage=sys.argv[1])
    method = sys.argv[2]
    (wait, ready), (parent, parents_end) = multiprocessing.Pipe(False), multiprocessing.Pipe(False)
    start(method, run, ready, parent, parents_end if "spawn" not in method and "server" not in method else None)
    wait.recv()
    log_some(run, "owner")
    ENDING
"""
)
OUTLIVE = [
    *(("os.fork", ending) for ending in ENDINGS),
    *((method, ending) for method in METHODS for ending in ("_exit", "SIGKILL")),
]


@pytest.mark.parametrize(("method", "ending"), OUTLIVE)
def test_a_child_outlives_its_parent(run_program, storage, method, ending):
    """However the owner ends, a child's later records are stored; then the run ends as its owner did."""
    line, returncode, final, reason = ENDINGS[ending]
    ended = run_program(OUTLIVING.replace("ENDING", line or "pass"), method, returncode=returncode)
    check(storage, ended, final=final)
    assert status(the_run(storage)).get("exit_reason") == reason


JOINED_AT_EXIT = (
    "import multiprocessing.util\n"
    + PRELUDE
    + """
def work(run, task):
    log_some(run, task)


if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[2])
    run = rn.init(storage=sys.argv[1])
    processes = [context.Process(target=work, args=(run, task)) for task in range(2)]
    for process in processes:
        process.start()
    log_some(run, "owner")
    tell((process.pid, task, 0) for task, process in enumerate(processes))
"""
)


@pytest.mark.parametrize("method", METHODS)
def test_processes_that_python_joins_at_the_end_of_the_script(run_program, storage, method):
    """Where a script ends without ``finish()``, the run waits for the processes that Python waits for."""
    check(storage, run_program(JOINED_AT_EXIT, method))


FIRST_AFTER = (
    PRELUDE
    + """
run = rn.init(storage=sys.argv[1])
parent, parents_end = os.pipe()
if os.fork() == 0:
    os.close(parents_end)
    os.read(parent, 1)
    control = run._session.control
    wait_until(lambda: control.others or control.closed[0], what="the writer has seen that the owner is gone")
    ticks = control.heartbeat
    wait_until(lambda: control.heartbeat > ticks + 4 or control.closed[0], what="the writer has looked again")
    tell([log_some(run, "after")])
    os._exit(0)
log_some(run, "owner")
ENDING
"""
)


# --- pickles ----------------------------------------------------------------------------------------------------

ADDRESS = {"runicorn.run rejoin", "runicorn.queue.spool_address Address", "runicorn.settings Settings"}


def globals_in(pickled):
    """Every name that unpickling looks up."""
    found, strings = set(), []
    for operation, argument, _ in pickletools.genops(pickled):
        if isinstance(argument, str) and "UNICODE" in operation.name:
            strings.append(argument)
        elif operation.name == "GLOBAL":
            found.add(argument)
        elif operation.name == "STACK_GLOBAL":
            found.add(" ".join(strings[-2:]))
    return found


def leaves(value):
    """What is in a value of ours, down to plain ones."""
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, (Address, Settings)):
        for name in value.__struct_fields__:
            yield from leaves(getattr(value, name))
    else:
        yield value


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_run_pickles_to_its_address(open_run, protocol):
    """A pickled run is small, and holds plain values: no lock, descriptor, map, nor anything that was logged."""
    run = open_run(path="cv/resnet", alias="mine")
    before = pickle.dumps(run, protocol)
    for n in range(1000):
        run.log(task="secret", n=n)
    run.log_text("secret")
    run.summary({"secret": 1})
    pickled = pickle.dumps(run, protocol)
    assert len(pickled) < PICKLE_BYTES
    assert abs(len(pickled) - len(before)) < 10
    assert b"secret" not in pickled
    assert {name for name in globals_in(pickled) if not name.startswith("msgspec.")} == ADDRESS
    assert {type(leaf) for leaf in leaves(run.__reduce__()[1])} <= {str, int, float, bool, type(None)}


def test_two_references_to_a_run_stay_one(open_run):
    """Inside one pickle the same run is one handle again, and its second unpickling shares its session."""
    run = open_run()
    pickled = pickle.dumps({"here": run, "there": [run]})
    first, second = pickle.loads(pickled), pickle.loads(pickled)
    assert first["here"] is first["there"][0]
    assert first["here"]._session is second["here"]._session


def test_a_run_that_is_unpickled_when_it_has_ended(open_run, caplog):
    """It is a handle that refuses everything with one warning, and whose ``finish()`` returns."""
    run = open_run()
    pickled = pickle.dumps(run)
    run.finish()
    late = pickle.loads(pickled)
    assert late.is_finished
    for _ in range(3):
        late.log(a=1)
    late.finish()
    assert len(warnings_in(caplog)) == 1
    assert late.run_dir == run.run_dir
    assert events(run) == []


INSIDE = (
    PRELUDE
    + """
class Dataset:
    def __init__(self, run):
        self.items = list(range(1000))
        self.inner = {"logger": [run]}
        self.run = run

    def __call__(self, task):
        assert self.run is self.inner["logger"][0]
        assert self.run.path == "cv" and self.run.alias == "mine"
        return log_some(self.run, task)


if __name__ == "__main__":
    run = rn.init(storage=sys.argv[1], path="cv", alias="mine")
    dataset = Dataset(run)
    with multiprocessing.get_context(sys.argv[2]).Pool(2) as pool:
        results = pool.map_async(dataset, range(6), chunksize=1)
        log_some(run, "owner")
        results = results.get(90)
    run.finish()
    tell(results)
"""
)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_inside_a_bigger_object(run_program, storage, method):
    """An object with a run in it travels to workers as it is, and logs there."""
    check(storage, run_program(INSIDE, method))


TWICE = (
    PRELUDE
    + """
def work(given, task):
    begun = time.monotonic()
    for n in range(200):
        (run if n % 2 else given).log(task=task, n=n)
    return os.getpid(), task, begun


run = rn.init(storage=sys.argv[1])
with multiprocessing.get_context("fork").Pool(2) as pool:
    results = pool.starmap_async(work, [(run, task) for task in range(4)], chunksize=1)
    log_some(run, "owner")
    results = results.get(90)
run.finish()
tell(results)
"""
)


# --- beside a busy neighbour --------------------------------------------------------------------------------------

BUSY = (
    PRELUDE
    + """
def child(task, count):
    pid = os.fork()
    if pid == 0:
        log_some(run, task, count)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


run = rn.init(storage=sys.argv[1])
with stopped_writer(run):
    for task in range(3):
        child(task, 1)
    child("busy", 60_000)
    for task in range(3, 6):
        child(task, 1)
run.finish()
"""
)


def test_a_busy_producer_does_not_keep_the_others_waiting(run_program, storage, monkeypatch):
    """While one producer has a backlog of many batches, a record of each other one is stored with the first few."""
    monkeypatch.setenv("RUNICORN_BATCH_BYTES", str(64 << 10))
    run_program(BUSY)
    tasks = [line["data"]["task"] for line in events(the_run(storage))]
    assert len(tasks) == 60_006
    for task in range(6):
        assert tasks.index(task) < 30_000


# --- what is merged -----------------------------------------------------------------------------------------------

MERGED = (
    PRELUDE
    + """
def as_child(action):
    pid = os.fork()
    if pid == 0:
        action()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def call(who, better):
    run.summary({"last": who, who: better})
    run.log_config(args={"last": who}, extra={who: better})
    run.set_primary_metric(who, "max" if better % 2 else "min")
    run.log({who: better})


run = rn.init(storage=sys.argv[1])
order, backlog = sys.argv[2].split(), int(sys.argv[3])
with stopped_writer(run):
    # One after the other, so the order of the calls is known; who comes first has a backlog before its call.
    if backlog:
        log = lambda: log_some(run, "backlog", backlog)
        log() if order[0] == "owner" else None
    for better, who in enumerate(order):
        def action():
            if better == 0 and who != "owner":
                log_some(run, "backlog", backlog)
            call(who, better)
        action() if who == "owner" else as_child(action)
run.finish()
"""
)
ORDERS = ["owner a b c", "a b c owner", "a b owner c"]


@pytest.mark.parametrize("backlog", [0, 20_000])
@pytest.mark.parametrize("order", ORDERS)
class TestMergedInTheOrderOfTheCalls:
    """Whichever process calls, and however much of it the writer has not read yet: the last call wins."""

    @pytest.fixture(autouse=True)
    def merged(self, run_program, storage, monkeypatch, order, backlog):
        """Run the program; a backlog takes the writer several batches."""
        monkeypatch.setenv("RUNICORN_BATCH_BYTES", str(64 << 10))
        run_program(MERGED, order, backlog)
        self.run = the_run(storage)
        self.names = order.split()

    def test_summary(self):
        """``summary()`` of several processes is merged in the order of the calls."""
        fields = summary(self.run)
        assert fields["last"] == self.names[-1]
        assert [fields[name] for name in self.names] == list(range(len(self.names)))

    def test_config(self):
        """``log_config()`` of several processes: each key has the value of the last call that gave it."""
        config = content(self.run, "assets.json")["config"]
        assert config["args"] == {"last": self.names[-1]}
        assert config["extra"] == {self.names[-1]: len(self.names) - 1}

    def test_primary_metric(self):
        """``set_primary_metric()`` of several processes: that of the last call is tracked."""
        number = len(self.names) - 1
        fields = summary(self.run)
        assert fields["best_metric_name"] == self.names[-1]
        assert fields["best_metric_mode"] == ("max" if number % 2 else "min")
        assert fields["best_metric_value"] == number


BEST = (
    PRELUDE
    + """
def work(run, task):
    for n in range(100):
        run.log({"loss": abs(n - 50) + 10 * abs(task - 2) + 0.25}, step=1000 * task + n)
    if task == 3:
        run.set_primary_metric("loss", mode="min")


if __name__ == "__main__":
    run = rn.init(storage=sys.argv[1])
    context = multiprocessing.get_context(sys.argv[2])
    processes = [context.Process(target=work, args=(run, task)) for task in range(1, 4)]
    for process in processes:
        process.start()
    work(run, 0)
    for process in processes:
        process.join()
    run.finish()
"""
)


@pytest.mark.parametrize("method", METHODS)
def test_a_primary_metric_of_a_joined_process_counts_for_all(run_program, storage, method):
    """The best value is that over all producers, whichever of them has set the metric, and whenever."""
    run_program(BEST, method)
    fields = summary(the_run(storage))
    assert {name: fields[f"best_metric_{name}"] for name in ("name", "mode", "value", "step")} == {
        "name": "loss",
        "mode": "min",
        "value": 0.25,
        "step": 2050,
    }


TEXT = (
    PRELUDE
    + """
def work(run, task):
    for n in range(100):
        run.log_text(f"{task} {n} " + "x" * n)


if __name__ == "__main__":
    run = rn.init(storage=sys.argv[1])
    context = multiprocessing.get_context(sys.argv[2])
    processes = [context.Process(target=work, args=(run, task)) for task in range(1, 5)]
    for process in processes:
        process.start()
    work(run, 0)
    for process in processes:
        process.join()
    run.finish()
"""
)


@pytest.mark.parametrize("method", METHODS)
def test_text_of_joined_processes(run_program, storage, method):
    """Lines of several processes are whole in ``logs.txt``, each once, those of one process in its order."""
    run_program(TEXT, method)
    told = [line.partition(" | ")[2] for line in text_of(the_run(storage)).splitlines()]
    assert len(told) == 500
    for task in range(5):
        assert [line for line in told if line.startswith(f"{task} ")] == [f"{task} {n} " + "x" * n for n in range(100)]
