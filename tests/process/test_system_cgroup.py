"""Samples of a run's cgroup, and the reason of a killed run: with a made-up cgroup, and with a real one."""

import os
import signal
from pathlib import Path

import pytest
import support
from support import status, wait_until
from support.machine import PROLOGUE, samples, the_run

from runicorn.host.memory_limit import MemoryLimit

LIMIT_BYTES = 300 << 20
TIGHT_US, LOOSE_US, PERIOD_US = 5_000, 350_000, 100_000
PROGRAM = """
memory, cpu, quota, tight, loose = sys.argv[2:]
for directory in {memory, cpu}:
    open(directory + "/cgroup.procs", "w").write("0")


def limited(text):
    with open(cpu + "/" + quota, "w") as file:
        file.write(text)


def throttled():
    with open(cpu + "/cpu.stat") as file:
        return dict(line.split() for line in file)["nr_throttled"]


def sampled_again(run):
    sampled(run, (run.run_dir / "system.jsonl").read_bytes().count(b"\\n") + 2)


limited(loose)
run = rn.init(storage=storage)
sampled(run)
block = bytearray(b"x") * 50_000_000
before = throttled()
limited(tight)
while throttled() == before:
    burn(0.01)
limited(loose)
sampled_again(run)
run.log(loss=1.0)
while True:
    block += bytearray(b"x") * 10_000_000
"""


@pytest.fixture
def killed_run(start_program, storage, made_up, monkeypatch):
    """Kill a run that logs once and then waits, in a made-up cgroup.

    The fixture is a function that returns the contents of ``status.json`` and ``summary.json``. Before the kill, it
    calls ``meanwhile`` with the cgroup's directory.
    """
    root, cgroup = made_up

    def kill(meanwhile=lambda _cgroup: None):
        monkeypatch.setenv("RUNICORN_SYSTEM_ROOT", str(root))
        program = start_program(PROLOGUE + "run = rn.init(storage=storage)\nrun.log(loss=1.0)\ntime.sleep(100)")
        wait_until(lambda: list(storage.rglob("system.jsonl")), 60, what="a sample")
        meanwhile(cgroup)
        program.send_signal(signal.SIGKILL)
        program.wait(60)
        wait_until(lambda: status(the_run(storage))["status"] == "failed", 60, what="the end")
        return status(the_run(storage)), support.content(the_run(storage), "summary.json")

    return kill


@pytest.mark.usefixtures("often")
def test_a_run_that_was_killed_for_want_of_memory_says_so(killed_run):
    """``exit_reason`` names full memory if the cgroup counted a kill during the run, and not only before it."""

    def memory_is_full(cgroup):
        (cgroup / "memory.events").write_text("low 0\noom 1\noom_kill 5\n")
        (cgroup / "cpu.stat").write_text("throttled_usec 5000000\n")

    end, summary = killed_run(memory_is_full)
    expected = "(out of memory: the cgroup counted 1 kill; at most 99 % of its 1.0 GB were seen in use)"
    assert end["exit_reason"].endswith(expected)
    machine = summary["runicorn"]["machine"]
    assert (machine["oom_kills"], machine["throttled_s"], machine["cores"]) == (1, 3.0, 1.5)


@pytest.mark.usefixtures("often")
def test_a_run_that_was_killed_otherwise_says_nothing_of_memory(killed_run):
    """``exit_reason`` does not name full memory if the cgroup counted kills only before."""
    end, _ = killed_run()
    assert "memory" not in end["exit_reason"]


def write(directory, files):
    """Write a number into each file; an optional file that the kernel lacks, such as that of swap, is left out."""
    for name, value in files.items():
        path = directory / name.removesuffix("?")
        if path.exists() or not name.endswith("?"):
            path.write_text(f"{value}\n")


def made_cgroup(controller, version_1, version_2):
    """Make a limited cgroup below the lowest cgroup of this process that allows one; its directory and version.

    Raises:
        OSError: none of them allows one.
    """
    found = OSError(f"no cgroups of {controller}")
    for above, is_v2 in MemoryLimit().levels(controller):
        directory = Path(above) / f"runicorn-test-{os.getpid()}"
        try:
            directory.mkdir()
        except OSError as error:
            found = error
            continue
        try:
            write(directory, version_2 if is_v2 else version_1)
        except OSError as error:  # version 2: a cgroup with processes gives its children no controllers
            directory.rmdir()
            found = error
        else:
            return directory, is_v2
    raise found


@pytest.fixture
def real_cgroups():
    """Limited cgroups of memory and CPU time; in version 2 they are one. The test is skipped if none can be made."""
    made = []
    try:
        made.append(
            made_cgroup(
                "memory",
                {"memory.limit_in_bytes": LIMIT_BYTES, "memory.memsw.limit_in_bytes?": LIMIT_BYTES},
                {"memory.max": LIMIT_BYTES, "memory.swap.max?": 0, "cpu.max": f"{LOOSE_US} {PERIOD_US}"},
            )
        )
        if not made[0][1]:
            made.append(made_cgroup("cpu", {"cpu.cfs_period_us": PERIOD_US, "cpu.cfs_quota_us": LOOSE_US}, {}))
    except OSError as error:
        remove(made)
        pytest.skip(f"no cgroup with limits can be made here: {error}")
    yield made[0][0], made[-1][0], made[0][1]
    remove(made)


def remove(cgroups):
    """Remove cgroups once their processes have ended."""
    for directory, _ in cgroups:
        wait_until(lambda directory=directory: not (directory / "cgroup.procs").read_text(), what="it is empty")
        directory.rmdir()


@pytest.mark.usefixtures("often")
def test_a_real_cgroup_limits_withholds_and_kills(real_cgroups, start_program, storage):
    """The samples have the kernel's limit, use and withheld time, and its kill is the reason of the run's end."""
    memory, cpu, is_v2 = real_cgroups
    limit = int((memory / ("memory.max" if is_v2 else "memory.limit_in_bytes")).read_text())
    words = ("cpu.max", f"{TIGHT_US} {PERIOD_US}", f"{LOOSE_US} {PERIOD_US}")
    arguments = words if is_v2 else ("cpu.cfs_quota_us", TIGHT_US, LOOSE_US)
    program = start_program(PROLOGUE + PROGRAM, memory, cpu, *arguments)
    assert program.wait(100) == -signal.SIGKILL, program.stderr.read()
    wait_until(lambda: status(the_run(storage))["status"] == "failed", 60, what="the end")
    stat = dict(line.split() for line in (cpu / "cpu.stat").read_text().splitlines())
    withheld_s = int(stat["throttled_usec"]) / 1e6 if is_v2 else int(stat["throttled_time"]) / 1e9
    found = samples(the_run(storage))
    assert {sample["cgroup/memory_limit_bytes"] for sample in found} == {limit}
    assert LOOSE_US / PERIOD_US in {sample["cgroup/cpu_limit_cores"] for sample in found}
    assert max(sample["cgroup/memory_bytes"] for sample in found) > 50_000_000
    assert sum(sample["cgroup/throttled_s"] for sample in found) == pytest.approx(withheld_s, abs=0.002 * len(found))
    assert withheld_s > 0
    assert sum(sample["cgroup/oom_kills"] for sample in found) == 1
    reason = status(the_run(storage))["exit_reason"]
    assert "(out of memory: the cgroup counted 1 kill; at most " in reason
    assert reason.endswith(f" % of its {limit / 1e6:.0f} MB were seen in use)")
    assert support.logged(the_run(storage)) == [{"loss": 1.0}]
