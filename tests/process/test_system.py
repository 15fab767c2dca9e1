"""What the machine did: sampled by the writer beside programs that really burn, allocate, write, fork and die."""

import json
import os
import resource
from pathlib import Path

import pytest
import support
from support import faults, status, wait_until
from support.machine import PROLOGUE, samples, the_run

from runicorn import reading


def total(run_dir, name):
    """What a rate comes to over the whole run."""
    return sum(sample.get(name, 0.0) * sample["interval_s"] for sample in samples(run_dir))


@pytest.mark.usefixtures("often")
def test_cpu_time_is_that_of_the_program_and_of_its_children(run_program, storage):
    """Eight forked children and the program itself burn a known time, which is what the samples add up to."""
    program = """
run = rn.init(storage=storage)
sampled(run)
children = []
for _ in range(8):
    pid = os.fork()
    if not pid:
        burn(0.25)
        os._exit(0)
    children.append(pid)
burn(1.0)
for pid in children:
    os.waitpid(pid, 0)
run.finish()
"""
    run_program(PROLOGUE + program)
    run_dir = the_run(storage)
    assert total(run_dir, "tree/cpu_percent") / 100 == pytest.approx(3.0, rel=0.1)
    assert total(run_dir, "tree/children_cpu_percent") / 100 == pytest.approx(2.0, rel=0.15)
    assert max(sample["tree/processes"] for sample in samples(run_dir)) == 9


@pytest.mark.usefixtures("often")
def test_memory_is_counted_once_although_children_share_it(run_program, storage):
    """500 MB that four forked children share count five times in ``rss_bytes``, and once in each ``pss_bytes``."""
    program = """
import json

run = rn.init(storage=storage)
sampled(run)
block = bytearray(500_000_000)
block[::4096] = b"x" * len(block[::4096])
ends = os.pipe()
children = []
for _ in range(4):
    pid = os.fork()
    if not pid:
        os.close(ends[1])
        os.read(ends[0], 1)
        os._exit(0)
    children.append(pid)
found = []
while not any(sample["tree/processes"] == 5 and "tree/pss_bytes" in sample for sample in found):
    sampled(run, len(found) + 1)
    lines = (run.run_dir / "system.jsonl").read_text().split("\\n")
    found = [json.loads(line) for line in lines[:-1]]
os.close(ends[1])
for pid in children:
    os.waitpid(pid, 0)
sampled(run, len(found) + 2)
run.finish()
"""
    run_program(PROLOGUE + program)
    found = samples(the_run(storage))
    before = found[0]["tree/rss_bytes"]
    known = [sample["tree/pss_bytes"] for sample in found if "tree/pss_bytes" in sample]
    assert max(sample["tree/rss_bytes"] for sample in found) > 5 * 500e6
    assert max(known) == pytest.approx(500e6 + before, rel=0.1)
    machine = support.content(the_run(storage), "summary.json")["runicorn"]["machine"]
    assert machine["memory_shared_once_peak_bytes"] == max(known)
    assert machine["memory_peak_bytes"] > 5 * 500e6


@pytest.mark.usefixtures("often")
def test_bytes_that_were_written_are_counted_those_of_ended_children_too(run_program, storage):
    """100 MB, half of them by a child that has ended before the next sample."""
    program = """
run = rn.init(storage=storage)
sampled(run)


def write(name):
    with open(os.path.join(storage, name), "wb") as file:
        for _ in range(50):
            file.write(bytes(1_000_000))


write("one")
pid = os.fork()
if not pid:
    write("two")
    os._exit(0)
os.waitpid(pid, 0)
run.finish()
"""
    run_program(PROLOGUE + program)
    assert total(the_run(storage), "tree/written_chars_per_s") == pytest.approx(100e6, rel=0.1)


@pytest.mark.usefixtures("often")
def test_a_run_of_less_than_a_second_has_no_samples(run_program, storage):
    """Its end does not wait for one."""
    run_program(PROLOGUE + "rn.init(storage=storage).finish()")
    assert not (the_run(storage) / "system.jsonl").exists()
    assert "machine" not in support.content(the_run(storage), "summary.json")["runicorn"]


def test_an_interval_of_zero_samples_nothing(run_program, storage):
    """As the tests' environment has it."""
    run_program(PROLOGUE + "run = rn.init(storage=storage)\ntime.sleep(1.5)\nrun.finish()")
    assert not (the_run(storage) / "system.jsonl").exists()


@pytest.mark.usefixtures("often")
def test_the_summary_has_what_the_samples_come_to(run_program, storage):
    """Means and peaks, beside what tracking has cost; the reader says the same of the samples."""
    run_program(PROLOGUE + "run = rn.init(storage=storage)\nsampled(run, 3)\nrun.log(loss=1.0)\nrun.finish()")
    run = reading.load(the_run(storage))
    machine = run.summary["runicorn"]["machine"]
    column = run.system["tree/rss_bytes"]
    assert machine["samples"] == len(column) == len(samples(the_run(storage)))
    assert list(column.time) == [sample["time"] for sample in samples(the_run(storage))]
    assert machine["cores"] > 0
    assert run.metrics == ["loss"]


@pytest.mark.usefixtures("often")
def test_ranks_on_one_host_are_sampled_once(start_program, storage, monkeypatch):
    """Four ranks are one tree, in one file; another host has its own."""
    program = """
run = rn.init(storage=storage, path="job")
run.log(loss=1.0)
(run.run_dir / f"ready-{os.environ['RANK']}").touch()
for _ in range(6000):
    if (run.run_dir / "go").exists():
        break
    time.sleep(0.01)
run.finish()
"""
    monkeypatch.setenv("MASTER_PORT", "29500")
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RUNICORN_JOB_ID", f"job-{os.getpid()}")
    ranks = []
    for rank in range(4):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("RUNICORN_HOSTNAME", "first" if rank < 3 else "second")
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1" if rank < 3 else "192.0.2.1")
        ranks.append(start_program(PROLOGUE + program))

    def are_ready():
        return len(list(storage.rglob("ready-*"))) == 4

    def of_host(name, processes):
        return any(sample["tree/processes"] == processes for sample in samples(the_run(storage), name))

    wait_until(are_ready, 60, what="all ranks log")
    names = {"first": "system.jsonl", "second": "system.second.jsonl"}
    wait_until(lambda: of_host(names["first"], 3), 60, what="a sample of three ranks")
    wait_until(lambda: of_host(names["second"], 1), 60, what="a sample of the other host")
    (the_run(storage) / "go").touch()
    for rank in ranks:
        assert rank.wait(60) == 0
    assert sorted(path.name for path in the_run(storage).glob("system*")) == sorted(names.values())
    wait_until(lambda: status(the_run(storage))["status"] == "finished", 60)
    assert "second/tree/processes" in reading.load(the_run(storage)).system


@pytest.mark.usefixtures("often")
def test_samples_go_on_in_the_same_file_when_the_run_is_resumed_and_when_its_writer_is_killed(open_run):
    """Whole lines that only grow; a line that was torn is closed."""
    run = open_run()
    path = run.run_dir / "system.jsonl"
    wait_until(lambda: len(samples(run)) > 1, what="samples")
    support.writer_of(run).kill()
    before = path.read_bytes()
    with path.open("ab") as file:
        file.write(b'{"time": 12')

    def has_grown():
        run.log(loss=1.0)
        return path.read_bytes().count(b"\n") > before.count(b"\n") + 2

    wait_until(has_grown, 60, what="samples of another writer")
    run.finish()
    assert path.read_bytes().startswith(before + b'{"time": 12\n')
    count = path.read_bytes().count(b"\n")
    again = open_run(run_id=run.id)
    wait_until(lambda: path.read_bytes().count(b"\n") > count + 1, what="samples of the next session")
    again.finish()
    machine = support.content(run, "summary.json")["runicorn"]["machine"]
    assert machine["samples"] == path.read_bytes().count(b"\n") - 1


@pytest.mark.usefixtures("often")
def test_samples_wait_while_the_storage_is_full(open_run, tmp_path, monkeypatch):
    """As records do: then each of them is there."""
    fault = tmp_path / "fault"
    faults.install_in_owner("", str(fault), "", put=monkeypatch.setattr)
    run = open_run()
    wait_until(lambda: len(samples(run)) > 1, what="samples")
    fault.write_text("ENOSPC")
    run.log(loss=1.0)
    wait_until(lambda: run._session.control.message != "", what="storing fails")
    fault.unlink()
    count = len(samples(run))
    wait_until(lambda: len(samples(run)) > count, what="samples again")
    run.finish()
    assert support.logged(run) == [{"loss": 1.0}]


@pytest.mark.usefixtures("often", "gpu_driver")
def test_a_driver_of_gpus_that_hangs_costs_its_numbers_alone(run_program, storage, monkeypatch):
    """The other samples go on, and the run ends as ever."""
    run_program(PROLOGUE + "run = rn.init(storage=storage)\nsampled(run, 2)\nrun.finish()")
    assert samples(the_run(storage))[-1]["gpu2/utilization_percent"] == 12
    gpu = support.content(the_run(storage), "summary.json")["runicorn"]["machine"]["gpus"]["gpu2"]
    assert (gpu["utilization_mean_percent"], gpu["memory_peak_bytes"]) == (12.0, 3_000_000_000)

    monkeypatch.setenv("STAND_IN_HANGS", "1")
    run_program(
        PROLOGUE + "run = rn.init(storage=storage, path='second')\ntime.sleep(2)\nrun.log(loss=1.0)\nrun.finish()"
    )
    (second,) = (storage / "runs" / "second").iterdir()
    assert support.logged(second) == [{"loss": 1.0}]
    assert status(second)["status"] == "finished"


@pytest.mark.usefixtures("often")
def test_a_machine_that_does_not_answer_costs_samples_and_no_record(run_program, storage, made_up, monkeypatch):
    """Nor does anybody wait for it at the end of the run."""
    root, _ = made_up
    (root / "proc/stat").unlink()
    os.mkfifo(root / "proc/stat")  # whoever opens it waits for ever
    monkeypatch.setenv("RUNICORN_SYSTEM_ROOT", str(root))
    run_program(PROLOGUE + "run = rn.init(storage=storage)\ntime.sleep(1.5)\nrun.log(loss=1.0)\nrun.finish()")
    assert support.logged(the_run(storage)) == [{"loss": 1.0}]
    assert status(the_run(storage))["status"] == "finished"
    assert not (the_run(storage) / "system.jsonl").exists()


def test_an_error_for_want_of_memory_of_a_gpu_is_the_reason(run_program, storage):
    """By the name of the exception, and by what it says."""
    program = """
class OutOfMemoryError(RuntimeError):
    pass

with rn.init(storage=storage):
    raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
"""
    run_program(PROLOGUE + program, returncode=1)
    expected = "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    assert status(the_run(storage))["exit_reason"] == expected


@pytest.mark.usefixtures("often")
def test_every_line_is_a_time_and_numbers(run_program, storage):
    """Nothing nested, nothing that is no number; the events have no step of them."""
    run_program(PROLOGUE + "run = rn.init(storage=storage)\nrun.log(loss=1.0)\nsampled(run, 2)\nrun.finish()")
    for line in (the_run(storage) / "system.jsonl").read_text().splitlines():
        assert {type(value) for value in json.loads(line).values()} <= {int, float}
    assert len(support.events(the_run(storage))) == 1


@pytest.mark.usefixtures("often")
def test_a_file_of_samples_that_cannot_be_written_keeps_no_record_back(open_run):
    """It is as large as its host allows a file to be: the run's records are stored and it ends; what lacks is told."""
    run = open_run()
    run.finish()
    with (run.run_dir / "system.jsonl").open("wb") as file:
        file.truncate(16 << 20)
    again = open_run(run_id=run.id)
    writer = support.writer_of(again)
    log = Path(again._session.address.spool) / "writer.log"
    resource.prlimit(writer.pid, resource.RLIMIT_FSIZE, (12 << 20, resource.RLIM_INFINITY))
    wait_until(lambda: b"system.jsonl cannot be written" in log.read_bytes(), 60, what="a sample that is not taken")
    again.log(loss=1.0)
    wait_until(lambda: support.logged(again) == [{"loss": 1.0}], 60, what="the record")
    again.finish()
    assert (run.run_dir / "system.jsonl").stat().st_size == 16 << 20
    assert [each["error"].partition(" ")[2] for each in status(again)["storage_errors"]] == [
        "samples of the machine: system.jsonl cannot be written"
    ]


@pytest.mark.usefixtures("often")
def test_a_writer_that_may_start_no_thread_goes_on_without_samples(run_program, storage):
    """A thread's stack would be larger than the address space."""
    program = """
import resource
from pathlib import Path

resource.setrlimit(resource.RLIMIT_STACK, (200 << 40, resource.RLIM_INFINITY))
run = rn.init(storage=storage)
log = Path(run._session.address.spool) / "writer.log"
for _ in range(6000):
    if b"start new thread" in log.read_bytes():
        break
    time.sleep(0.01)
run.log(loss=1.0)
print(log.read_text())
run.finish()
"""
    done = run_program(PROLOGUE + program)
    assert "the machine is not sampled: can't start new thread" in done.stdout
    assert "Traceback" not in done.stdout
    assert support.logged(the_run(storage)) == [{"loss": 1.0}]
    assert status(the_run(storage))["status"] == "finished"


@pytest.mark.usefixtures("often")
def test_lines_of_an_earlier_session_that_no_host_can_have_written_do_not_end_the_writer(open_run):
    """Numbers too large to add or to write, a clock that was set back, brackets without end: the run ends as ever."""
    run = open_run()
    run.finish()
    names = ("interval_s", "tree/rss_bytes", "gpu0/memory_bytes", "cgroup/oom_kills")
    huge = json.dumps(dict.fromkeys(names, 1e308))
    now = status(run)["started_at"]
    times = [now - 5000, now - 4900, now - 4800, *range(100, 108), now - 1]
    lines = [json.dumps({"time": time, "interval_s": 10, "tree/rss_bytes": 1e9}) for time in times]
    deep = '{"a": ' + "[" * 100_000
    (run.run_dir / "system.jsonl").write_text(
        "\n".join([huge, huge, f'{{"tree/rss_bytes": {10**400}}}', deep, *lines, ""])
    )
    before = len((run.run_dir / "system.jsonl").read_bytes().splitlines())
    again = open_run(run_id=run.id)
    writer = support.writer_of(again)

    def has_grown():
        return len((run.run_dir / "system.jsonl").read_bytes().splitlines()) > before

    wait_until(has_grown, 60, what="a sample")
    assert support.writer_of(again).pid == writer.pid
    again.finish()
    machine = support.content(again, "summary.json")["runicorn"]["machine"]
    assert machine["samples"] >= len(times)
    assert machine["memory_peak_bytes"] >= 1e9
