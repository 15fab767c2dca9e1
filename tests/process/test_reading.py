"""Reading runs of real processes: while they write, after they have ended, and after they were killed."""

import json
import math
import os
import signal
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import wait_until
from support.trainers import Trainer, recover, writer_pids

import runicorn as rn
from runicorn import reading


@pytest.fixture(autouse=True)
def cache_dir(monkeypatch, tmp_path):
    """The cache is the test's own."""
    monkeypatch.setenv("RUNICORN_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def bits(value):
    """A value such that two are equal only where they are the same to the last bit."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("d", value)
    return type(value), value


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: name not in {"step", "global_step", "time", "stage"}
)
STEPS = st.none() | st.integers(-(2**63), 2**62)
VALUES = (
    st.floats()
    | st.integers(-(2**63), 2**63 - 1)
    | st.booleans()
    | st.none()
    | st.text(max_size=9).filter(lambda text: text.isprintable())
)
CALLS = st.lists(
    st.tuples(st.dictionaries(NAMES | st.sampled_from("abc"), VALUES, max_size=5), STEPS, st.none() | st.text("st ")),
    max_size=40,
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(CALLS)
def test_what_was_logged_comes_back_bit_for_bit(storage, calls):
    """Any sequence of ``log()`` calls, read back: each name's values, steps and stages, in the order of the calls."""
    expected = {}
    counter = 0
    with rn.init(storage=str(storage)) as run:
        for data, step, stage in calls:
            run.log(data, step=step, stage=stage)
            counter = counter + 1 if step is None else step
            for name, value in data.items():
                expected.setdefault(name, []).append((counter, bits(value), stage))

    loaded = reading.load(run.run_dir)

    assert loaded.metrics == sorted(expected)
    for name, logged in expected.items():
        column = loaded[name]
        assert list(zip(column.step, map(bits, column.value), column.stage, strict=True)) == logged
    assert loaded.problems == []


def test_run_is_read_by_its_names_while_it_is_live(storage, open_run):
    """A live run is running, is found by id and alias, and grows under ``refresh()`` until it has ended."""
    run = open_run(path="cv/live", alias="mine")
    run.log(loss=1.0)
    loaded = reading.load("mine", storage)
    wait_until(lambda: loaded.refresh() or "loss" in loaded.metrics)

    assert loaded.info.status == "running"
    assert loaded.info.path == "cv/live"
    assert reading.find(run.id[:12], storage).id == run.id
    run.log_text("hello")
    run.summary({"note": "n"})
    run.log_config(args={"lr": 0.1})
    run.log(loss=2.0)
    run.finish()
    assert loaded.refresh() is True
    assert list(loaded["loss"].value) == [1.0, 2.0]
    assert (loaded.info.status, loaded.info.last_step) == ("finished", 2)
    assert (loaded.summary["note"], loaded.config) == ("n", {"args": {"lr": 0.1}})
    assert [line[11:] for line in loaded.text()] == ["hello"]
    assert loaded.refresh() is False


def test_image_of_a_run_is_listed_with_its_file(open_run):
    """An image that was logged is listed with the path of a file that is there."""
    run = open_run()
    run.log_image("samples/x", np.zeros((4, 4), dtype="uint8"), step=7, caption="c")
    run.finish()

    (image,) = reading.load(run.run_dir).images

    assert (image.step, image.key, image.caption) == (7, "samples/x", "c")
    assert os.path.isfile(image.path)


FLAT_OUT = """
run = rn.init(path="flat/out")
opened(run)
log_flat_out(run, 60_000)
sys.stdin.readline()
log_flat_out(run, 60_000, first=60_001)
run.finish()
"""

READER = """
import sys
from runicorn import reading

run = reading.load(sys.argv[1])
seen = readings = 0
while True:
    fresh = reading.load(sys.argv[1]) if readings % 5 == 4 else None
    ended = run.info.status != "running"
    run.refresh()
    for each in filter(None, [run, fresh]):
        if "loss" not in each:
            continue
        loss, i = each["loss"], each["i"]
        assert list(loss.step) == list(range(1, len(loss) + 1)) and len(i) == len(loss), (len(i), len(loss))
        assert loss.value[-1] == len(loss) * 0.5 and i.value[-1] == len(loss)
        assert not each.problems, each.problems
    count = len(run["loss"]) if "loss" in run else 0
    assert count >= seen
    seen, readings = count, readings + 1
    if readings == 6:
        print("reads", flush=True)
    if ended:
        break
print(seen)
"""


def test_every_reading_of_a_growing_run_is_a_prefix(tmp_path):
    """Several readers, one cache, a writer flat out: whatever a reader sees is a beginning of what was logged."""
    trainer = Trainer(tmp_path, FLAT_OUT)
    readers = [
        subprocess.Popen([sys.executable, "-c", READER, str(trainer.run_dir)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [reader.stdout.readline() for reader in readers] == ["reads\n"] * 3
    trainer.go_on()
    counts = []
    for reader in readers:
        out, _ = reader.communicate(timeout=90)
        assert reader.returncode == 0
        counts.append(int(out))

    assert counts == [120_000] * 3


def test_run_that_was_killed_is_lost_until_it_is_recovered(tmp_path):
    """Trainer and writer killed: the run is lost; what waited in memory is stored by recovery, and it has failed."""
    trainer = Trainer(tmp_path, "run = rn.init()\nopened(run)\nlog_flat_out(run, 10)\ninput()\n")
    trainer.wait_returned(10)
    trainer.writer_pid()
    info = reading.find(trainer.run_dir)
    assert info.status == "running"

    pids = writer_pids(trainer.spool)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    trainer.process.kill()
    trainer.process.wait()
    assert reading.find(info).status == "running"  # its writer is there to end it
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not writer_pids(trainer.spool))

    assert reading.find(info).status == "lost"
    assert [each.status for each in reading.runs(tmp_path / "storage", status="lost")] == ["lost"]
    recover(tmp_path)
    assert reading.find(info).status == "failed"
    assert list(reading.load(info)["i"].value) == list(range(1, 11))


def test_forked_processes_are_told_apart(run_program, storage):
    """What children log stands in the same columns, each value with the process that it comes from."""
    done = run_program("""
import os, sys
import runicorn as rn

run = rn.init(storage=sys.argv[1])
run.log(own=1.0, step=1)
pids = []
for child in range(3):
    pid = os.fork()
    if not pid:
        for step in range(100):
            run.log(value=child + step / 100, step=step)
        run.finish()
        os._exit(0)
    pids.append(pid)
for pid in pids:
    os.waitpid(pid, 0)
run.finish()
print(*pids)
""")
    pids = done.stdout.split()

    run = reading.load(reading.runs(storage)[0])

    assert [producer.rpartition("-")[2] for producer in run.producers] == sorted(pids)
    assert len(run["value"]) == 300
    assert run["own"].producer == [None]
    for child, pid in enumerate(pids):
        (producer,) = (each for each in run.producers if each.endswith(f"-{pid}"))
        column = run.metric("value", producer=producer)
        assert list(column.value) == [child + step / 100 for step in range(100)]
        assert list(column.step) == list(range(100))


def test_ranks_of_a_job_are_told_apart(run_program, storage, tmp_path):
    """Each rank's values come from its own file: chosen by rank, kept apart in the table of all, absent in the main."""
    script = tmp_path / "rank.py"
    script.write_text(
        "import os, sys\nimport runicorn as rn\n"
        "with rn.init(path='ddp', storage=sys.argv[1]) as run:\n"
        "    for step in range(1, 51):\n"
        "        run.log(loss=step + 1000.0 * int(os.environ['RANK']), step=step)\n"
        "    run.summary({'rank': 1})\n"
        "    open(sys.argv[1] + '.' + os.environ['RANK'], 'w').close()\n"
        "    import time\n"
        "    while not all(os.path.exists(sys.argv[1] + '.' + str(rank)) for rank in range(3)):\n"
        "        time.sleep(0.01)\n"
    )
    run_program(
        """
import os, subprocess, sys
ranks = [
    subprocess.Popen(
        [sys.executable, sys.argv[2], sys.argv[1]],
        env={
            **os.environ, "RANK": str(rank), "WORLD_SIZE": "3", "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "3",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500",
        },
    )
    for rank in range(3)
]
assert [rank.wait() for rank in ranks] == [0, 0, 0]
""",
        script,
    )

    (info,) = reading.runs(storage)
    wait_until(lambda: reading.find(info).status == "finished")
    run = reading.load(info)

    assert run.ranks == [0, 1, 2]
    assert list(run["loss"].rank) == [0] * 50 + [1] * 50 + [2] * 50
    for rank in range(3):
        assert list(run.metric("loss", rank=rank).value) == [step + 1000.0 * rank for step in range(1, 51)]
    assert list(run.table()["loss"]) == [float(step) for step in range(1, 51)]
    table = run.table(ranks="all")
    assert [(row["step"], row["rank"], row["loss"]) for row in table.rows()][:3] == [
        (1, None, 1.0),
        (1, 1, 1001.0),
        (1, 2, 2001.0),
    ]
    assert len(table) == 150


def test_resumed_run_says_how_often(storage, open_run):
    """A run that was resumed has one column over both sessions, and a count."""
    with rn.init(storage=str(storage), run_id="again") as run:
        run.log(a=1.0)
    run = open_run(run_id="again")
    run.log(a=2.0)
    run.finish()

    loaded = reading.load("again", storage)

    assert loaded.info.resumed == 1
    assert list(loaded["a"].step) == [1, 2]
    assert json.loads((run.run_dir / "meta.json").read_text())["id"] == loaded.info.id
