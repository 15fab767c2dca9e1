"""The machine, read from trees of files as the kernel lays them out, and what samples of it come to in words."""

import os
from pathlib import Path

import pytest

from runicorn.sampling import kernel_files
from runicorn.sampling.cgroup import CgroupUse
from runicorn.sampling.elsewhere import PortableHost, PortableTree
from runicorn.sampling.host_load import HostLoad
from runicorn.sampling.machine_insight import MachineInsight, sentences
from runicorn.sampling.machine_sampler import MachineSampler
from runicorn.sampling.process_tree import ProcessTree

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def proc(tmp_path):
    """Make a process of a made-up ``/proc``, or give it other numbers."""
    root = tmp_path / "proc"
    write(root / "uptime", "1000.00 1.00\n")

    def process(pid, parent=0, *, cpu_s=0.0, children_s=0.0, start_s=1.0, pages=0, shared=0, written=0, name="python"):
        ticks, children = int(cpu_s * TICKS), int(children_s * TICKS)
        write(
            root / f"{pid}/stat",
            f"{pid} ({name}) S {parent} 1 1 0 -1 0 0 0 0 0 {ticks} 0 {children} 0 20 0 3 0 {int(start_s * TICKS)} "
            f"0 {pages} 0\n",
        )
        write(root / f"{pid}/statm", f"{2 * pages} {pages} {shared} 1 0 1 0\n")
        write(root / f"{pid}/io", f"rchar: 0\nwchar: {written}\nwrite_bytes: {written}\ncancelled_write_bytes: 0\n")
        write(root / f"{pid}/status", "Name:\tx\nvoluntary_ctxt_switches:\t1\nnonvoluntary_ctxt_switches:\t2\n")
        (root / f"{pid}/fd").mkdir(exist_ok=True)
        return root / str(pid)

    return process


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A tree of that ``/proc``, on a clock that goes on ten seconds a sample."""
    now = iter(range(0, 10_000, 10))
    found = ProcessTree(str(tmp_path / "proc"), leave_out=99)
    monkeypatch.setattr("runicorn.sampling.process_tree.time.monotonic", lambda: float(next(now)))
    return found


def gone(directory):
    for path in directory.iterdir():
        path.rmdir() if path.is_dir() else path.unlink()
    directory.rmdir()


def test_the_tree_is_who_logs_and_all_below_but_not_who_reads(proc, tree):
    """Names of processes may hold anything."""
    proc(10, pages=100, shared=40)
    proc(11, 10, pages=10, name="a) S 1 (b")
    proc(12, 11, pages=1)
    proc(20, pages=1000)
    proc(99, 10, pages=1000)
    proc(98, 99, pages=1000)
    sample = tree.sample({10})
    assert sorted(tree.pids) == [10, 11, 12]
    assert (sample["processes"], sample["threads"]) == (3, 9)
    assert (sample["rss_bytes"], sample["shared_bytes"]) == (111 * PAGE_BYTES, 40 * PAGE_BYTES)
    assert "cpu_percent" not in sample


def test_who_begins_to_log_later_is_counted_from_then_on(proc, tree):
    """What it had used before is no use of this interval."""
    proc(10)
    proc(20, cpu_s=500.0)
    tree.sample({10})
    proc(10, cpu_s=1.0)
    assert tree.sample({10, 20})["cpu_percent"] == 10.0
    proc(20, cpu_s=505.0)
    assert tree.sample({10, 20})["cpu_percent"] == 50.0


def test_a_child_that_has_ended_is_counted_once(proc, tree):
    """By itself while it lives; then by who has waited for it."""
    proc(10)
    tree.sample({10})
    child = proc(11, 10, cpu_s=3.0, written=700, start_s=1001.0)
    sample = tree.sample({10})
    assert (sample["cpu_percent"], sample["children_cpu_percent"], sample["written_bytes_per_s"]) == (30.0, 30.0, 70.0)
    gone(child)
    proc(10, children_s=4.0, written=900)
    sample = tree.sample({10})
    assert (sample["cpu_percent"], sample["children_cpu_percent"], sample["written_bytes_per_s"]) == (10.0, 10.0, 20.0)


def test_an_ended_child_for_which_nobody_waits_takes_nothing_from_others(proc, tree):
    """No rate is below zero."""
    proc(10)
    child = proc(11, 10, cpu_s=300.0, written=10_000)
    tree.sample({10})
    gone(child)
    proc(10, cpu_s=2.0)
    sample = tree.sample({10})
    assert (sample["cpu_percent"], sample["written_bytes_per_s"]) == (20.0, 0.0)


@pytest.fixture
def shared(proc):
    """Two processes with 7 kB each, if shared pages count once."""
    for pid, parent in ((10, 0), (11, 10)):
        write(proc(pid, parent, pages=10) / "smaps_rollup", "00-ff rw-p 0 00:00 0 [rollup]\nRss: 9 kB\nPss: 7 kB\n")


@pytest.mark.usefixtures("shared")
def test_memory_is_told_once_only_if_that_is_cheap(proc, tree):
    """``pss_bytes`` is missing if the processes have more than 8 GiB."""
    assert tree.sample({10})["pss_bytes"] == 14 * 1024
    proc(11, 10, pages=(9 << 30) // PAGE_BYTES)
    assert "pss_bytes" not in tree.sample({10})


@pytest.mark.usefixtures("shared")
def test_a_long_walk_is_followed_by_samples_without_that_number(tree, monkeypatch):
    """After a long count, samples have no ``pss_bytes``, so that it takes 4 ms per sample on average."""
    spent = iter([0.0, 0.013, 1.0, 1.001, 2.0, 2.001])
    monkeypatch.setattr("runicorn.sampling.process_tree.time.thread_time", lambda: next(spent))
    assert ["pss_bytes" in tree.sample({10}) for _ in range(6)] == [True, False, False, False, True, True]


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("how", ["ended", "began", "given back"])
def test_memory_of_processes_that_change_meanwhile_is_not_told(proc, tree, monkeypatch, how):
    """``pss_bytes`` is missing if processes change during the count, because shared memory would count twice."""

    def walk(directory, pid):
        if pid == 11:
            {
                "ended": lambda: gone(Path(directory) / "10"),
                "began": lambda: proc(12, 11, pages=10),
                "given back": lambda: proc(10, pages=1),
            }[how]()
        return 7 * 1024

    monkeypatch.setattr("runicorn.sampling.process_tree.proportional_bytes", walk)
    assert "pss_bytes" not in tree.sample({10, 11})


def test_a_tree_without_processes_is_empty(proc, tree):
    """As at the end of a run whose process was killed."""
    gone(proc(10))
    assert tree.sample({10}) == {"processes": 0}


def test_the_host_is_told_by_cores_and_counters(tmp_path, monkeypatch):
    """Busy cores, waiting for disks, network without loopback."""
    now = iter((0.0, 10.0))
    root = tmp_path / "proc"
    write(root / "loadavg", "1.50 0.75 0.1 1/2 3\n")
    write(root / "meminfo", "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 250 kB\nSwapTotal: 9 kB\nSwapFree: 4 kB\n")

    def tell(busy, other_idle, received):
        cores = f"cpu0 {busy} 0 0 0 0 0 0 0 0 0\ncpu1 0 0 0 {other_idle} 0 0 0 0 0 0\n"
        write(root / "stat", f"cpu {busy} 0 0 {other_idle} 0 0 0 0 0 0\n{cores}intr 5\n")
        line = f"{received} 1 0 0 0 0 0 0 500 0"
        write(root / "net/dev", f"Inter-|\n face |\n lo: 999 0 0 0 0 0 0 0 999 0\n eth0: {line}\n")

    load = HostLoad(str(tmp_path), {"storage": str(tmp_path)}, str(tmp_path))
    monkeypatch.setattr("runicorn.sampling.host_load.time.monotonic", lambda: next(now))
    tell(100, 100, 1000)
    first = load.sample()
    tell(200, 200, 3000)
    second = load.sample()
    assert "cpu_percent" not in first
    assert (second["cpu_percent"], second["busiest_core_percent"], second["busy_cores"]) == (50.0, 100.0, 1)
    assert (second["network_received_bytes_per_s"], second["network_sent_bytes_per_s"]) == (200.0, 0.0)
    assert (second["load_1m"], second["memory_percent"], second["swap_used_bytes"]) == (1.5, 75.0, 5 * 1024)
    assert second["storage_free_bytes"] > 0


@pytest.mark.parametrize("version", [1, 2])
def test_the_cgroup_is_read_in_both_versions(tmp_path, version):
    """The level that has least left, the tightest limit of cores, the process's own count of kills."""
    if version == 2:
        write(tmp_path / "proc/7/cgroup", "0::/a/b\n")
        write(tmp_path / "proc/self/mountinfo", "41 31 0:38 / /cg rw - cgroup2 cgroup2 rw\n")
        low, high, cpu = tmp_path / "cg/a/b", tmp_path / "cg/a", tmp_path / "cg/a/b"
        names = ("memory.current", "memory.max", "memory.events", "throttled_usec", 1e6)
        write(cpu / "cpu.max", "250000 100000\n")
        write(high / "cpu.max", "max 100000\n")
    else:
        write(tmp_path / "proc/7/cgroup", "4:memory:/a/b\n1:cpu,cpuacct:/a\n")
        mounts = "".join(
            f"3{n} 1 0:{n} / /{name} rw - cgroup cgroup rw,{name}\n" for n, name in enumerate(("memory", "cpu"))
        )
        write(tmp_path / "proc/self/mountinfo", mounts)
        low, high, cpu = tmp_path / "memory/a/b", tmp_path / "memory/a", tmp_path / "cpu/a"
        names = ("memory.usage_in_bytes", "memory.limit_in_bytes", "memory.oom_control", "throttled_time", 1e9)
        write(cpu / "cpu.cfs_quota_us", "250000\n")
        write(cpu / "cpu.cfs_period_us", "100000\n")
    used, limit, kills, throttled, unit = names
    write(low / used, "100\n")
    write(low / limit, "1000\n")
    write(high / used, "450\n")
    write(high / limit, "500\n")
    write(low / kills, "oom_kill 2\n")
    write(high / kills, "oom_kill 9\n")
    write(cpu / "cpu.stat", f"nr_throttled 3\n{throttled} {int(5 * unit)}\n")
    (tmp_path / "proc/7/mountinfo").symlink_to(tmp_path / "proc/self/mountinfo")
    use = CgroupUse(str(tmp_path), "7")
    write(low / kills, "oom_kill 3\n")
    write(cpu / "cpu.stat", f"{throttled} {int(7.5 * unit)}\n")
    assert use.sample() == {
        "memory_bytes": 450,
        "memory_limit_bytes": 500,
        "memory_percent": 90.0,
        "cpu_limit_cores": 2.5,
        "throttled_s": 2.5,
        "oom_kills": 1,
    }
    assert (use.sample()["throttled_s"], use.sample()["oom_kills"]) == (0.0, 0)


def test_a_file_without_end_is_none(tmp_path):
    """A file of the kernel that does not end is not read, and the sample goes on without its number."""
    assert kernel_files.read("/dev/zero") == b""
    write(tmp_path / "proc/uptime", "1 1\n")
    (tmp_path / "proc/meminfo").symlink_to("/dev/zero")
    write(tmp_path / "proc/loadavg", "1.50 0.75 0.1 1/2 3\n")
    sample = HostLoad(str(tmp_path), {}, str(tmp_path)).sample()
    assert sample["load_1m"] == 1.5
    assert "memory_percent" not in sample


def test_a_group_that_fails_leaves_the_others_and_is_told_once(tmp_path):
    """A kernel may tell something else than it ever did."""
    write(tmp_path / "proc/stat", "cpu what\n")
    told = []
    sampler = MachineSampler(5, str(tmp_path), root=str(tmp_path), shm=str(tmp_path), gpus=None, tell=told.append)
    first, second = sampler.sample({5}), sampler.sample({5})
    assert first["tree/processes"] == second["tree/processes"] == 0
    assert len(told) == 1
    assert "host" in told[0]


def test_other_systems_have_fewer_numbers_under_the_same_names(tmp_path):
    """By psutil, here of this process."""
    shared = {**ProcessTree().sample({os.getpid()}), **HostLoad("/", {"storage": str(tmp_path)}, "/").sample()}
    tree, host = PortableTree(), PortableHost({"storage": str(tmp_path)})
    first = tree.sample({os.getpid()})
    assert tree.pids[0] == os.getpid()
    found = {*first, *tree.sample({os.getpid()}), *host.sample(), *host.sample()}
    rates = {name for name in found if name.endswith(("_per_s", "cpu_percent"))}
    assert found - rates <= shared.keys()
    assert rates >= {"cpu_percent", "children_cpu_percent"}


def insight(samples):
    found = MachineInsight()
    for sample in samples:
        found.add(sample)
    return found


def test_sentences_follow_from_numbers():
    """A GPU that waits, and child processes that use all cores."""
    samples = [
        {
            "time": 10.0 * n, "interval_s": 10.0, "gpu0/utilization_percent": 0 if n % 4 else 90,
            "gpu1/utilization_percent": 80, "tree/children_cpu_percent": 392.0, "host/cores": 8,
            "cgroup/cpu_limit_cores": 4.0, "cgroup/throttled_s": 1.0,
        }
        for n in range(12)
    ]  # fmt: skip
    fields = insight(samples).fields()
    assert fields["gpus"]["gpu0"] == {
        "utilization_mean_percent": 22.5, "utilization_peak_percent": 90, "idle_percent": 75.0
    }  # fmt: skip
    assert sentences(fields) == [
        "GPU 0 was idle 75 % of the time; the training's child processes used 98 % of 4 cores.",
        "The cgroup withheld CPU time for 12 s of 120 s.",
    ]


def test_of_a_short_run_nothing_is_said():
    """Its numbers are those of its start."""
    assert sentences(insight([{"time": 0.0, "interval_s": 20.0, "gpu0/utilization_percent": 0}]).fields()) == []


@pytest.mark.parametrize(("grows", "said"), [(True, True), (False, False)])
def test_memory_that_grows_all_the_time_is_told(grows, said):
    """Not that of a run which has filled its memory at the start, and keeps it."""
    samples = [
        {"time": 10.0 * n, "interval_s": 10.0, "tree/rss_bytes": 4e9 + (n * 1e7 if grows else min(n, 20) * 5e7)}
        for n in range(1, 1200)
    ]
    found = [text for text in sentences(insight(samples).fields()) if text.startswith("Memory grew")]
    assert found == (["Memory grew by 3.6 GB an hour."] if said else [])


def test_memory_with_and_without_what_is_shared_are_two_numbers():
    """The peaks of ``rss_bytes`` and ``pss_bytes`` are two numbers, and growth comes from one of them alone."""
    samples = [{"time": 10.0 * n, "interval_s": 10.0, "tree/rss_bytes": 20e9} for n in range(1200)]
    for n in range(0, 1200, 15):
        samples[n]["tree/pss_bytes"] = 4e9 + n * 1e7
    fields = insight(samples).fields()
    assert (fields["memory_peak_bytes"], fields["memory_shared_once_peak_bytes"]) == (20e9, 4e9 + 1185e7)
    assert fields["memory_growth_bytes_per_h"] == pytest.approx(3.6e9, rel=0.05)


@pytest.mark.parametrize(("later_s", "is_said"), [(0.2, True), (10.0, True), (40.0, False)])
def test_a_kill_is_the_reason_if_it_was_just_now(later_s, is_said):
    """A kill is the reason if it was counted in the last seconds, at any interval, and in this session."""
    samples = [{"time": 1000.0, "interval_s": 10.0, "cgroup/oom_kills": 1}]
    samples += [{"time": 1000.0 + n * later_s / 4, "interval_s": 0.1, "cgroup/oom_kills": 0} for n in range(1, 5)]
    assert insight(samples).why_killed() == ("out of memory: the cgroup counted 1 kill" if is_said else "")


@pytest.mark.parametrize("fields", [{}, {"gpus": 3, "sampled_s": "x"}, {"sampled_s": 1e999, "gpus": {"gpu0": None}}])
def test_a_summary_that_anybody_has_changed_is_no_trouble(fields):
    """It says nothing then."""
    assert sentences(fields) == []
