"""Several hosts over one shared storage: each has its own spool and writer, and files that nobody else writes.

A host is a name, a directory for shared memory and a temp directory of its own; the last test has real namespaces.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from support import events, status, wait_until
from support.trainers import writer_pids
from test_ranks import RECORDS, Job, assert_ranks, counted, runs_in, srun, torchrun, wait_ended

LOG_UNTIL_TOLD = """
run = rn.init(path="cv")
opened(run)
log(run, 50)
tell("logged-" + name)
wait_for("go-on")
log(run, 50, 51)
run.finish()
tell("finished-" + name)
"""


class Host(Job):
    """The processes of a host, with the settings that make it one."""

    def __init__(self, tmp_path, name, **environment):
        self.name = name
        self.places = [tmp_path / f"shm-{name}", tmp_path / f"tmp-{name}"]
        for place in self.places:
            place.mkdir()
        settings = {"RUNICORN_HOSTNAME": name, "RUNICORN_SHM_DIR": str(self.places[0]), "TMPDIR": str(self.places[1])}
        super().__init__(tmp_path, **settings, **environment)

    def recover(self):
        """`runicorn recover` on this host: its exit code and what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "runicorn", "recover", "--storage", str(self.storage)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert not done.stderr
        return done.returncode, done.stdout

    def kill_all(self):
        """The host goes down: SIGKILL for its ranks and its writers, at once."""
        spools = {Path(json.loads(told.read_text())["spool"]) for told in self.gates.glob("run-*")}
        for spool in spools:
            for pid in writer_pids(spool):
                os.kill(pid, signal.SIGSTOP)  # so that nobody notices that the others have died
        for name in self.process_of:
            self.kill(name)
        for spool in spools:
            for pid in writer_pids(spool):
                os.kill(pid, signal.SIGKILL)
        self.wait_gone(*self.process_of)
        wait_until(lambda: not any(writer_pids(spool) for spool in spools))

    def wait_empty(self):
        """Wait until no spool and no writer of this host is left."""
        for told in self.gates.glob("run-*"):
            wait_ended(Path(json.loads(told.read_text())["spool"]))
        left = [path for place in self.places for path in place.iterdir()]
        assert not left


@pytest.fixture
def hosts(tmp_path):
    """Two hosts with a launcher each; when the test ends, neither has a spool or a writer left."""
    with Host(tmp_path, "alpha") as alpha, Host(tmp_path, "beta") as beta:
        yield alpha, beta
        alpha.wait_empty()
        beta.wait_empty()


def ranks_of(alpha, beta, size=8, **more):
    """Environments by torchrun for a job over both hosts, by host."""
    each = {
        rank: {**torchrun(rank, size, run_id="job", local_size=size // 2, **more), "MASTER_ADDR": alpha.name}
        for rank in range(size)
    }
    return {
        alpha: {rank: each[rank] for rank in range(size // 2)},
        beta: {rank: each[rank] for rank in range(size // 2, size)},
    }


def test_each_host_ends_its_own_part(hosts):
    """Eight ranks on two hosts log into one run; rank 0 ends it without the other host, which goes on."""
    alpha, beta = hosts
    for host, ranks in ranks_of(alpha, beta).items():
        host.start(LOG_UNTIL_TOLD, ranks)
    alpha.wait_for(*[f"logged-{rank}" for rank in range(4)])
    beta.wait_for(*[f"logged-{rank}" for rank in range(4, 8)])
    (run_dir,) = runs_in(alpha.storage)
    spools = {rank: host.run_of(rank)[1] for rank in range(8) for host in (alpha, beta) if str(rank) in host.process_of}
    assert len({spools[rank] for rank in range(4)}) == len({spools[rank] for rank in range(4, 8)}) == 1
    assert spools[0].parent == alpha.places[0]
    assert spools[4].parent == beta.places[0]

    (alpha.gates / "go-on").touch()
    alpha.wait_for("finished-0")
    assert status(run_dir)["status"] == "finished"
    alpha.end()

    beta.tell("go-on")
    beta.end_well()
    wait_ended(spools[4])
    for rank in range(4, 8):
        assert counted(run_dir, rank) == list(range(1, 2 * RECORDS + 1))
    assert counted(run_dir, 0) == list(range(1, 2 * RECORDS + 1))
    assert status(run_dir)["status"] == "finished"
    assert "exit_reason" not in status(run_dir)
    assert json.loads((run_dir / "meta.json").read_text())["hostname"] == "alpha"


def test_the_host_of_rank_0_comes_last(hosts):
    """A run that the other host has made is the run of rank 0 as soon as that comes."""
    alpha, beta = hosts
    ranks = ranks_of(alpha, beta)
    beta.start(LOG_UNTIL_TOLD, ranks[beta])
    beta.wait_for(*[f"logged-{rank}" for rank in range(4, 8)])
    run_dir, _ = beta.run_of(4)
    beta.tell("go-on")
    beta.end_well()
    beta.wait_empty()
    assert status(run_dir)["status"] == "running"
    alpha.start(
        f"""
        run = rn.init(path="cv")
        opened(run)
        log(run, {2 * RECORDS})
        tell("logged-" + name)
        if name == "0":
            wait_for("logged-1", "logged-2", "logged-3")
            run.finish()
        """,
        ranks[alpha],
    )
    alpha.end_well()
    alpha.wait_empty()
    assert runs_in(alpha.storage) == [run_dir]
    assert_ranks(run_dir, dict.fromkeys(range(8), 2 * RECORDS))
    assert status(run_dir)["status"] == "finished"
    meta = json.loads((run_dir / "meta.json").read_text())
    assert (meta["hostname"], meta["pid"]) == ("alpha", alpha.process_of["0"].pid)


def test_each_host_owns_its_files(hosts):
    """What ranks say beside metrics is in files with their host's name, except on the host of rank 0."""
    alpha, beta = hosts
    for host, ranks in ranks_of(alpha, beta, size=4).items():
        host.start(
            """
            run = rn.init()
            opened(run)
            run.log_text("text of " + name)
            run.summary({"of-" + name: True})
            run.log_config(args={"lr": 0.1})
            run.set_primary_metric("acc")
            run.log(acc=int(name) / 10, step=5)
            tell("said-" + name)
            wait_for("go-on")
            run.finish()
            """,
            ranks,
        )
    alpha.wait_for("said-0", "said-1")
    beta.wait_for("said-2", "said-3")
    alpha.tell("go-on")
    alpha.end_well()
    beta.tell("go-on")
    beta.end_well()
    beta.wait_empty()
    (run_dir,) = runs_in(alpha.storage)
    for host, ranks, suffix in ((alpha, (0, 1), ""), (beta, (2, 3), ".beta")):
        lines = (run_dir / f"logs{suffix}.txt").read_text().splitlines()
        assert sorted(line.partition(" | ")[2] for line in lines) == [f"text of {rank}" for rank in ranks], host.name
        summary = json.loads((run_dir / f"summary{suffix}.json").read_text())
        assert {name for name in summary if name.startswith("of-")} == {f"of-{rank}" for rank in ranks}
        assert (summary["best_metric_value"], summary["best_metric_step"]) == (ranks[1] / 10, 5)
        assert json.loads((run_dir / f"assets{suffix}.json").read_text())["config"]["args"] == {"lr": 0.1}
    assert {path.name for path in run_dir.iterdir() if path.is_file()} == {
        *("meta.json", "status.json"),
        *(f"{name}{suffix}.json" for name in ("summary", "assets") for suffix in ("", ".beta")),
        *("logs.txt", "logs.beta.txt"),
        *("events.jsonl", "events.rank1.jsonl", "events.rank2.jsonl", "events.rank3.jsonl"),
    }


@pytest.mark.parametrize("order", ["rank 0 first", "rank 0 last"])
def test_ranks_that_go_round_the_hosts(hosts, order):
    """Where ranks are dealt out to the hosts in turn, rank 0's host is the run's main one, whoever comes first."""
    alpha, beta = hosts
    # srun --distribution=cyclic, two tasks a node, in a script that makes torch's variables of them
    each = {
        rank: srun(
            rank, 4, RANK=rank, WORLD_SIZE=4, LOCAL_RANK=rank // 2, SLURM_LOCALID=rank // 2, SLURM_NODEID=rank % 2,
            SLURM_NNODES=2, MASTER_ADDR="alpha", MASTER_PORT=29500,
        )
        for rank in range(4)
    }  # fmt: skip
    first, last = (2, 0) if order == "rank 0 last" else (0, 2)
    body = f"""
    run = rn.init()
    opened(run)
    log(run, {RECORDS})
    tell("logged-" + name)
    wait_for("go-on")
    run.finish()
    """
    alpha.start(body, {first: each[first]})
    alpha.run_of(first)
    alpha.start(body, {last: each[last]})
    beta.start(body, {1: each[1], 3: each[3]})
    alpha.wait_for("logged-0", "logged-2")
    beta.wait_for("logged-1", "logged-3")
    for host in hosts:
        host.tell("go-on")
        host.end_well()
    alpha.wait_empty()
    beta.wait_empty()
    (run_dir,) = runs_in(alpha.storage)
    assert_ranks(run_dir, dict.fromkeys(range(4), RECORDS))
    assert status(run_dir)["status"] == "finished"


# --- a host goes down ------------------------------------------------------------------


LOG_AND_STAY = """
run = rn.init()
opened(run)
log(run, 50)
tell("logged-" + name)
wait_for("go-on")
log(run, 50, 51)
tell("again-" + name)
wait_for("end")
if name == "0":
    run.finish()
"""


@pytest.mark.parametrize("when", ["while the run goes on", "when the run has ended"])
def test_the_other_host_goes_down(hosts, when):
    """A host whose processes are all killed leaves rank 0's records whole, and recover stores its rest on that host."""
    alpha, beta = hosts
    for host, ranks in ranks_of(alpha, beta).items():
        host.start(LOG_AND_STAY, ranks)
    alpha.wait_for(*[f"logged-{rank}" for rank in range(4)])
    beta.wait_for(*[f"logged-{rank}" for rank in range(4, 8)])
    run_dir, spool = beta.run_of(4)
    wait_until(lambda: writer_pids(spool))
    for pid in writer_pids(spool):
        os.kill(pid, signal.SIGSTOP)  # so that there is a rest
    beta.tell("go-on")
    beta.wait_for(*[f"again-{rank}" for rank in range(4, 8)])
    beta.kill_all()

    def recover():
        code, told = beta.recover()
        assert "stored" in told
        assert "not stored" not in told
        assert code == 0

    alpha.tell("go-on")
    if when == "while the run goes on":
        recover()
        assert status(run_dir)["status"] == "running"
    alpha.wait_for(*[f"again-{rank}" for rank in range(4)])
    alpha.tell("end")
    alpha.end_well()
    alpha.wait_empty()
    if when == "when the run has ended":
        recover()
    assert_ranks(run_dir, dict.fromkeys(range(8), 2 * RECORDS))
    assert status(run_dir)["status"] == "finished"
    assert "exit_reason" not in status(run_dir)


def test_the_host_of_rank_0_goes_down(hosts):
    """The other host's records are whole when rank 0's host is killed; recover there ends the run as failed."""
    alpha, beta = hosts
    for host, ranks in ranks_of(alpha, beta).items():
        host.start(LOG_AND_STAY, ranks)
    alpha.wait_for(*[f"logged-{rank}" for rank in range(4)])
    beta.wait_for(*[f"logged-{rank}" for rank in range(4, 8)])
    alpha.kill_all()
    beta.tell("go-on")
    beta.wait_for(*[f"again-{rank}" for rank in range(4, 8)])
    beta.tell("end")
    beta.end_well()
    beta.wait_empty()
    run_dir, _ = alpha.run_of(0)
    for rank in range(4, 8):
        assert counted(run_dir, rank) == list(range(1, 2 * RECORDS + 1))
    assert status(run_dir)["status"] == "running"
    code, told = alpha.recover()
    assert code == 0, told
    assert_ranks(run_dir, {**dict.fromkeys(range(4), RECORDS), **dict.fromkeys(range(4, 8), 2 * RECORDS)})
    assert status(run_dir)["status"] == "failed"
    assert status(run_dir)["exit_reason"] == "process gone"


def test_the_writer_of_the_other_host_is_killed(tmp_path):
    """Ranks whose host's writer is killed get another one, though their run's owner is elsewhere."""
    with Host(tmp_path, "alpha") as alpha, Host(tmp_path, "beta", RUNICORN_FINISH_TIMEOUT_S="80") as beta:
        for host, ranks in ranks_of(alpha, beta, size=4).items():
            host.start(LOG_UNTIL_TOLD, ranks)
        alpha.wait_for("logged-0", "logged-1")
        beta.wait_for("logged-2", "logged-3")
        run_dir, spool = beta.run_of(2)
        wait_until(lambda: writer_pids(spool))
        for pid in writer_pids(spool):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not writer_pids(spool))
        beta.tell("go-on")
        beta.end_well()
        alpha.tell("go-on")
        alpha.end()
        beta.wait_empty()
        alpha.wait_empty()
    for rank in (2, 3):
        assert counted(run_dir, rank) == list(range(1, 2 * RECORDS + 1))


def test_a_restart_over_two_hosts(hosts):
    """Ranks of both hosts that are started anew after one was killed go on with their run, its files and its steps."""
    alpha, beta = hosts
    body = f"""
    again = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    run = rn.init()
    log(run, {RECORDS}, 1 + again * {RECORDS})
    opened(run, f"{{again}}-")
    if not again:
        wait_for("never")
    tell("logged-" + name)
    if name == "0":
        wait_for("logged-1", "go-on")
        run.finish()
    """
    for host, ranks in ranks_of(alpha, beta, size=4).items():
        host.start(body, ranks)
    found = {host.run_of(rank, "0-")[0] for host, ranks in ((alpha, (0, 1)), (beta, (2, 3))) for rank in ranks}
    assert len(found) == 1
    beta.kill(3)
    for host, names in ((alpha, (0, 1)), (beta, (2,))):
        for name in names:
            host.kill(name, signal.SIGTERM)
        host.wait_gone(*names)
    for host, ranks in ranks_of(alpha, beta, size=4, restarts=1).items():
        host.start(body, ranks)
    beta.wait_for("logged-2", "logged-3")
    alpha.tell("go-on")
    alpha.end()
    beta.end()
    alpha.wait_empty()
    beta.wait_empty()
    (run_dir,) = found
    assert runs_in(alpha.storage) == [run_dir]
    assert_ranks(run_dir, dict.fromkeys(range(4), 2 * RECORDS))
    for rank in range(4):
        name = f"events.rank{rank}.jsonl" if rank else "events.jsonl"
        assert [line["data"]["global_step"] for line in events(run_dir, name)] == list(range(1, 2 * RECORDS + 1))
    assert status(run_dir)["status"] == "finished"


# --- a run that is sent to another host ------------------------------------------------------------------


SEND = """
import pickle

run = rn.init(path="cv", alias="sent")
opened(run)
log(run, 50)
(here / "pickle").write_bytes(pickle.dumps({"run": run}))
tell("sent")
wait_for("go-on")
log(run, 50, 51)
run.finish()
tell("finished-" + name)
"""
RECEIVE = """
import pickle

run = pickle.loads(Path(os.environ["PICKLE"]).read_bytes())["run"]
assert (run.path, run.alias) == ("cv", "sent")
opened(run)
log(run, 50)
run.finish()
tell("logged-" + name)
wait_for("go-on")
log(run, 50, 51)
run.log_text("text of " + name)
"""


def test_a_pickled_run_on_another_host(hosts):
    """A run that is unpickled elsewhere has a spool and files there, and the end of the run does not wait for them."""
    alpha, beta = hosts
    alpha.start(SEND, {"owner": {}})
    alpha.wait_for("sent")
    beta.start(RECEIVE, {name: {"PICKLE": alpha.gates / "pickle"} for name in "wxyz"})
    beta.wait_for(*[f"logged-{name}" for name in "wxyz"])
    run_dir, spool = beta.run_of("w")
    assert {beta.run_of(name) for name in "wxyz"} == {(run_dir, spool)}
    assert spool.parent == beta.places[0]
    assert len(events(run_dir, "events.beta.jsonl")) == 4 * RECORDS  # finish() there has stored them

    alpha.tell("go-on")
    alpha.end_well()
    assert status(run_dir)["status"] == "finished"

    beta.tell("go-on")
    beta.end_well()
    wait_ended(spool)
    assert [line["data"]["i"] for line in events(run_dir)] == list(range(1, 2 * RECORDS + 1))
    by = {}
    for line in events(run_dir, "events.beta.jsonl"):
        by.setdefault(line["producer"], []).append(line["data"]["i"])
    assert by == {f"beta-{process.pid}": list(range(1, 2 * RECORDS + 1)) for process in beta.process_of.values()}
    lines = (run_dir / "logs.beta.txt").read_text().splitlines()
    assert sorted(line.partition(" | ")[2] for line in lines) == [f"text of {name}" for name in "wxyz"]
    assert status(run_dir)["status"] == "finished"
    assert "exit_reason" not in status(run_dir)


def test_a_run_that_is_unpickled_again_and_again(hosts):
    """A worker on another host that unpickles the run for each task is one producer there, with one descriptor more."""
    alpha, beta = hosts
    alpha.start(SEND, {"owner": {}})
    alpha.wait_for("sent")
    beta.start(
        """
        import pickle

        sent = Path(os.environ["PICKLE"]).read_bytes()
        first = pickle.loads(sent)["run"]
        first.log(i=1)
        opened(first)
        before = os.listdir("/proc/self/fd")
        for i in range(2, 51):
            run = pickle.loads(sent)["run"]
            assert run is first
            run.log(i=i)
        assert os.listdir("/proc/self/fd") == before
        """,
        {"w": {"PICKLE": alpha.gates / "pickle"}},
    )
    beta.end_well()
    alpha.tell("go-on")
    alpha.end_well()
    beta.wait_empty()
    run_dir, _ = alpha.run_of("owner")
    assert [line["data"]["i"] for line in events(run_dir, "events.beta.jsonl")] == list(range(1, 51))


def test_a_pickled_run_meets_ranks_that_were_started_anew(hosts):
    """A run of a restarted job that is unpickled on another host joins the ranks there, and closes nothing."""
    alpha, beta = hosts
    ranks = ranks_of(alpha, beta, size=2, restarts=1)
    alpha.start(SEND, ranks[alpha])
    alpha.wait_for("sent")
    beta.start(LOG_UNTIL_TOLD, ranks[beta])
    beta.wait_for("logged-1")
    beta.start(RECEIVE, {"x": {"PICKLE": alpha.gates / "pickle"}})
    beta.wait_for("logged-x")
    assert beta.run_of("x") == beta.run_of(1)
    beta.tell("go-on")
    beta.end_well()
    alpha.tell("go-on")
    alpha.end_well()
    beta.wait_empty()
    run_dir, _ = alpha.run_of(0)
    assert counted(run_dir, 1) == list(range(1, 2 * RECORDS + 1))
    assert [line["data"]["i"] for line in events(run_dir, "events.beta.jsonl")] == list(range(1, 2 * RECORDS + 1))


# --- real namespaces ------------------------------------------------------------------


class Namespace(Job):
    """A host by its own host name and mounts, where the kernel lets this user make them; else by settings."""

    def __init__(self, tmp_path, name):
        self.name = name
        super().__init__(tmp_path)
        self._temporary = tmp_path / f"tmp-{name}"
        self._temporary.mkdir()
        self.environment["TMPDIR"] = str(self._temporary)
        self._memory = Path("/dev/shm")
        self._prefix = next((way for way in WAYS if is_permitted(way)), None)
        if self._prefix is None:
            self._memory = tmp_path / f"shm-{name}"
            self._memory.mkdir()
            self.environment["RUNICORN_HOSTNAME"] = name
        self.environment["RUNICORN_SHM_DIR"] = str(self._memory)

    def command_prefix(self):
        if self._prefix is None:
            return []
        return [*self._prefix, "sh", "-c", ENTER, self.name]


WAYS = [
    ["unshare", "--uts", "--mount"],
    ["unshare", "--user", "--map-root-user", "--uts", "--mount"],
]
ENTER = 'hostname "$0" && mount -t tmpfs -o size=256m tmpfs /dev/shm && exec "$@"'


def is_permitted(way):
    """Whether the kernel lets this user make namespaces that way."""
    if shutil.which(way[0]) is None:
        return False
    done = subprocess.run([*way, "sh", "-c", ENTER, "x", "true"], capture_output=True, check=False)
    return done.returncode == 0


def test_namespaces(tmp_path):
    """Two hosts that differ by the kernel's host name and share no memory log into one run, four ranks each."""
    with Namespace(tmp_path, "gamma") as gamma, Namespace(tmp_path, "delta") as delta:
        for host, ranks in ranks_of(gamma, delta).items():
            host.start(LOG_UNTIL_TOLD, ranks)
        gamma.wait_for(*[f"logged-{rank}" for rank in range(4)])
        delta.wait_for(*[f"logged-{rank}" for rank in range(4, 8)])
        (run_dir,) = runs_in(gamma.storage)
        spools = {host: host.run_of(rank)[1] for host, rank in ((gamma, 0), (delta, 4))}
        # Ranks that come before the writer is up start one too: all but one leave.
        wait_until(lambda: [len(writer_pids(spools[host])) for host in spools] == [1, 1])
        writers = {host: writer_pids(spools[host]) for host in spools}
        pointers = sorted(path.name for path in run_dir.glob(".spool-*"))
        assert pointers == [".spool-delta", ".spool-gamma"]
        delta.tell("go-on")
        delta.end_well()
        wait_until(lambda: not psutil.pid_exists(writers[delta][0]), what="delta's writer is gone")
        gamma.tell("go-on")
        gamma.wait_for("finished-0")
        gamma.end()
        wait_until(lambda: not psutil.pid_exists(writers[gamma][0]), what="gamma's writer is gone")
    for rank in (0, 4, 5, 6, 7):
        assert counted(run_dir, rank) == list(range(1, 2 * RECORDS + 1))
    producers = {line["producer"].rpartition("-")[0] for line in events(run_dir, "events.rank4.jsonl")}
    assert producers == {"delta"}
    assert not list(run_dir.glob(".spool-*"))
    assert status(run_dir)["status"] == "finished"
