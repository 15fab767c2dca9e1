"""Ranks of a distributed job: processes with the environment that a launcher gives, and the one run that they share."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
from support import events, status, summary, wait_until, without_waiting
from support.trainers import writer_pids

RECORDS = 50
NOT_INHERITED = ("RUNICORN_", "SLURM_", "OMPI_", "PMI", "TORCHELASTIC_", "RANK", "WORLD_SIZE", "LOCAL_", "MASTER_")

RANK = '''
import json, os, signal, sys, threading, time
from pathlib import Path
import runicorn as rn

here = Path(os.environ["GATES"])
name = os.environ["PROCESS_NAME"]


def tell(gate, text=""):
    """Open a gate, with a word in it."""
    (here / f".{gate}").write_text(text)
    (here / f".{gate}").rename(here / gate)


def wait_for(*gates):
    """Go on when all these gates are open."""
    deadline = time.monotonic() + 90
    while not all((here / gate).exists() for gate in gates):
        assert time.monotonic() < deadline, f"{name}: no {gates}"
        threading.Event().wait(0.005)


def opened(run, gate=""):
    """Say which run this is."""
    spool = run._session.address.spool
    tell(f"run-{gate}{name}", json.dumps({"dir": str(run.run_dir), "spool": spool, "pid": os.getpid()}))


def log(run, most, first=1):
    for i in range(first, first + most):
        run.log({"i": i})
'''

TOGETHER = f"""
run = rn.init(path="cv")
opened(run)
log(run, {RECORDS})
tell("logged-" + name)
if name == "0":
    wait_for(*["logged-" + other for other in os.environ["OTHERS"].split()])
run.finish()
tell("finished-" + name)
"""

LAUNCHER = """
import json, os, subprocess, sys

started = []
for line in sys.stdin:
    for name, script, environment in json.loads(line):
        with open(environment["GATES"] + f"/stderr-{name}", "ab") as errors:
            started.append(subprocess.Popen([sys.executable, script], env=environment, stderr=errors))
    print(*[process.pid for process in started], flush=True)
    del started[:0]
print(json.dumps([process.wait() for process in started]), flush=True)
"""


def torchrun(rank, size, *, run_id="none", restarts=0, local_size=None):
    """What torchrun gives to a rank; hosts have ``local_size`` ranks each, one after the other."""
    local = local_size or size
    return {
        "RANK": rank,
        "WORLD_SIZE": size,
        "LOCAL_RANK": rank % local,
        "LOCAL_WORLD_SIZE": local,
        "GROUP_RANK": rank // local,
        "GROUP_WORLD_SIZE": size // local,
        "ROLE_NAME": "default",
        "ROLE_RANK": rank,
        "ROLE_WORLD_SIZE": size,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": 29500,
        "OMP_NUM_THREADS": 1,
        "TORCHELASTIC_RUN_ID": run_id,
        "TORCHELASTIC_RESTART_COUNT": restarts,
        "TORCHELASTIC_MAX_RESTARTS": 3,
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }


def accelerate(rank, size):
    """What ``accelerate launch`` gives: torchrun's variables and some of its own."""
    own = {"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_USE_CPU": "True", "ACCELERATE_DYNAMO_BACKEND": "NO"}
    return {**torchrun(rank, size), **own}


def deepspeed(rank, size):
    """What DeepSpeed's launcher gives to a rank on a single node."""
    return {
        "RANK": rank,
        "WORLD_SIZE": size,
        "LOCAL_RANK": rank,
        "LOCAL_SIZE": size,
        "CROSS_RANK": 0,
        "CROSS_SIZE": 1,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": 29500,
    }


def srun(rank, size, *, job="4711", step="0", **more):
    """What srun gives to a task on a single node."""
    return {
        "SLURM_JOB_ID": job,
        "SLURM_JOBID": job,
        "SLURM_STEP_ID": step,
        "SLURM_STEPID": step,
        "SLURM_PROCID": rank,
        "SLURM_LOCALID": rank,
        "SLURM_NODEID": 0,
        "SLURM_NTASKS": size,
        "SLURM_NPROCS": size,
        "SLURM_STEP_NUM_TASKS": size,
        "SLURM_NNODES": 1,
        **more,
    }


def mpirun(rank, size, **more):
    """What Open MPI's mpirun gives on a single node."""
    return {
        "OMPI_COMM_WORLD_RANK": rank,
        "OMPI_COMM_WORLD_SIZE": size,
        "OMPI_COMM_WORLD_LOCAL_RANK": rank,
        "OMPI_COMM_WORLD_LOCAL_SIZE": size,
        "OMPI_COMM_WORLD_NODE_RANK": rank,
        "PMIX_RANK": rank,
        "PMIX_NAMESPACE": "prterun-node-1234@1",
        **more,
    }


class Job:
    """Processes with a common parent, the launcher, and gates through which they and the test wait for each other.

    Args:
        tmp_path: the test's directory.
        environment: variables of all its processes.
    """

    def __init__(self, tmp_path, **environment):
        self.storage = tmp_path / "storage"
        number = len(list(tmp_path.glob("job-*")))
        self.gates = tmp_path / f"job-{number}"
        self.gates.mkdir()
        kept = {name: text for name, text in os.environ.items() if not name.startswith(NOT_INHERITED)}
        if "RUNICORN_SHM_DIR" in os.environ:
            kept["RUNICORN_SHM_DIR"] = os.environ["RUNICORN_SHM_DIR"]
        kept |= {"RUNICORN_DIR": str(self.storage), "GATES": str(self.gates), "PYTHONWARNINGS": "error"}
        kept["RUNICORN_SYSTEM_INTERVAL_S"] = "0"
        self.environment = {**kept, **environment}
        self.process_of = {}
        self._names = []
        self._launcher = None

    def __enter__(self):
        script = self.gates / "launcher.py"
        script.write_text(LAUNCHER)
        self._launcher = subprocess.Popen(
            [*self.command_prefix(), sys.executable, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.gates,
            env=self.environment,
        )
        return self

    def command_prefix(self):
        """What the launcher is started by; nothing."""
        return []

    def __exit__(self, *_):
        for process in self.process_of.values():
            if process.is_running():
                process.kill()
        self._launcher.kill()
        self._launcher.stdin.close()
        self._launcher.stdout.close()
        self._launcher.wait()

    def start(self, body, environments):
        """Start one process with ``body`` for each environment, by name."""
        script = self.gates / f"rank-{len(self._names)}.py"
        script.write_text(RANK + textwrap.dedent(body))
        order = []
        others = " ".join(str(name) for name in environments if str(name) != "0")
        for name, variables in environments.items():
            texts = {variable: str(value) for variable, value in variables.items()}
            names = {"PROCESS_NAME": str(name), "OTHERS": others}
            order.append([str(name), str(script), {**self.environment, **names, **texts}])
            self._names.append(str(name))
        self._launcher.stdin.write(json.dumps(order) + "\n")
        self._launcher.stdin.flush()
        pids = self._launcher.stdout.readline().split()
        assert len(pids) == len(self._names), "the launcher has died"
        self.process_of.update({name: psutil.Process(int(pid)) for name, pid in zip(self._names, pids, strict=True)})

    def tell(self, gate):
        """Open a gate."""
        (self.gates / gate).touch()

    def wait_for(self, *gates, timeout_s=90):
        """Wait until the processes have opened these gates."""

        def are_open():
            return all((self.gates / gate).exists() for gate in gates)

        wait_until(are_open, timeout_s, f"{gates}; {self.told()}")

    def told(self):
        """What all processes have printed on stderr."""
        return without_waiting("".join(path.read_text() for path in sorted(self.gates.glob("stderr-*"))))

    def stderr(self, name):
        return without_waiting((self.gates / f"stderr-{name}").read_text())

    def run_of(self, name, gate=""):
        """Directory and spool of the run that a process has opened."""
        self.wait_for(f"run-{gate}{name}")
        found = json.loads((self.gates / f"run-{gate}{name}").read_text())
        return Path(found["dir"]), Path(found["spool"])

    def kill(self, name, number=signal.SIGKILL):
        self.process_of[str(name)].send_signal(number)

    def wait_gone(self, *names):
        """Wait for the end of processes, whether their parent has asked or not."""
        for name in names:
            process = self.process_of[str(name)]
            wait_until(lambda process=process: is_dead(process), 90, f"{name} lives; {self.told()}")

    def end(self):
        """Wait for the end of all processes; their exit codes, by the order of their start."""
        self._launcher.stdin.close()
        self.wait_gone(*self.process_of)
        return json.loads(self._launcher.stdout.readline())

    def end_well(self):
        """Wait for the end of all processes; none has failed, or has had anything to say."""
        codes = self.end()
        assert not any(codes), f"{codes}: {self.told()}"
        assert not self.told()


def is_dead(process):
    """Whether a process has ended, be it a zombie or gone."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def runs_in(storage):
    """The directories of all runs."""
    return sorted(path.parent for path in storage.rglob("status.json"))


def wait_ended(spool):
    """Wait until a writer has ended its part."""
    wait_until(lambda: not spool.exists(), 60, f"{spool} is still there")
    wait_until(lambda: not writer_pids(spool), 60, "the writer lives on")


def end_writers(spool):
    """Kill the writer of a spool, and wait for its death."""
    for pid in writer_pids(spool):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not writer_pids(spool))


def file_of(rank):
    return f"events.rank{rank}.jsonl" if rank else "events.jsonl"


def counted(run_dir, rank):
    """The ``i`` of a rank's records; each must say whose it is."""
    lines = events(run_dir, file_of(rank))
    assert {line.get("rank") for line in lines} <= {rank}
    assert all(("producer" in line) == (rank != 0) for line in lines)
    return [line["data"]["i"] for line in lines if "i" in line["data"]]


def assert_ranks(run_dir, counts):
    """Every record of each rank is there once and in order, in a file of its own, and nobody else's."""
    assert {path.name for path in run_dir.glob("events*")} == {file_of(rank) for rank in counts}
    assert {rank: counted(run_dir, rank) for rank in counts} == {
        rank: list(range(1, count + 1)) for rank, count in counts.items()
    }
    left = [path.name for path in run_dir.iterdir() if path.name.startswith(".")]
    assert not left


def environments(launcher, size, **more):
    """What a launcher gives to each of its ranks."""
    return {rank: launcher(rank, size, **more) for rank in range(size)}


def with_master(rank, size):
    """A batch script that exports MASTER_ADDR before srun."""
    return srun(rank, size, MASTER_ADDR="node1", MASTER_PORT=29500)


def with_rank_and_master(rank, size):
    """A batch script that makes torch's variables of SLURM's."""
    return srun(rank, size, MASTER_ADDR="node1", MASTER_PORT=29500, RANK=rank, WORLD_SIZE=size, LOCAL_RANK=rank)


def by_hand(rank, size):
    """A script that sets what torch needs and no more, such as torch's tutorials before ``mp.spawn``."""
    return {"RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "localhost", "MASTER_PORT": 12355, "RUNICORN_JOB_ID": "7"}


TOGETHER_BY = {
    "torchrun": torchrun,
    "torchrun --rdzv-id": lambda rank, size: torchrun(rank, size, run_id="mine"),
    "accelerate": accelerate,
    "deepspeed": deepspeed,
    "srun, RANK": with_rank_and_master,
    "srun, MASTER_ADDR": with_master,
    "srun, joined": lambda rank, size: srun(rank, size, RUNICORN_RANK_MODE="joined"),
    "mpirun, joined": lambda rank, size: mpirun(rank, size, RUNICORN_RANK_MODE="joined", RUNICORN_JOB_ID="7"),
    "by hand": by_hand,
}


@pytest.mark.parametrize("launcher", TOGETHER_BY.values(), ids=TOGETHER_BY)
def test_ranks_share_a_run(tmp_path, launcher):
    """Four ranks that call the same init() log into one run, each into its own file, and rank 0 ends it."""
    with Job(tmp_path) as job:
        job.start(TOGETHER, environments(launcher, 4))
        job.end_well()
    (run_dir,) = runs_in(job.storage)
    wait_ended(job.run_of(0)[1])
    assert_ranks(run_dir, dict.fromkeys(range(4), RECORDS))
    assert status(run_dir)["status"] == "finished"
    assert "exit_reason" not in status(run_dir)
    assert json.loads((run_dir / "meta.json").read_text())["pid"] == job.process_of["0"].pid


APART_BY = {
    "srun": (srun, 8),
    "mpirun": (mpirun, 4),
    "torchrun, separate": (lambda rank, size: {**torchrun(rank, size), "RUNICORN_RANK_MODE": "separate"}, 4),
}


@pytest.mark.parametrize(("launcher", "size"), APART_BY.values(), ids=APART_BY)
def test_independent_trials_do_not_merge(tmp_path, launcher, size):
    """Processes that srun or mpirun has started side by side have runs of their own, and so have ranks that ask."""
    with Job(tmp_path) as job:
        job.start(TOGETHER, environments(launcher, size))
        job.end_well()
    runs = runs_in(job.storage)
    assert len(runs) == size
    for run_dir in runs:
        (line, *_) = lines = events(run_dir)
        assert [each["data"]["i"] for each in lines] == list(range(1, RECORDS + 1))
        assert "rank" not in line
        assert "producer" not in line
        assert not list(run_dir.glob("events.rank*"))
        assert status(run_dir)["status"] == "finished"


def batch(_rank, size):
    """What a batch script has that starts programs itself, one after the other, and has exported an address."""
    variables = srun(0, size, MASTER_ADDR="node1", MASTER_PORT=29500)
    return {name: text for name, text in variables.items() if name not in {"SLURM_STEP_ID", "SLURM_STEPID"}}


def test_programs_of_a_batch_script_do_not_merge(tmp_path):
    """A batch script's own programs are no tasks of a step: each has a run of its own, though all look like rank 0."""
    with Job(tmp_path) as job:
        job.start("with rn.init() as run:\n    log(run, 10)\n", environments(batch, 3))
        job.end_well()
    assert len(runs_in(job.storage)) == 3


def test_a_job_of_one(tmp_path):
    """A world of one rank is a run like any other."""
    with Job(tmp_path) as job:
        job.start(TOGETHER, environments(torchrun, 1))
        job.end_well()
    (run_dir,) = runs_in(job.storage)
    assert "rank" not in events(run_dir)[0]
    assert status(run_dir)["status"] == "finished"


def test_rank_mode_is_checked(tmp_path):
    """A RUNICORN_RANK_MODE that is none of its values raises with both of them, before anything is made."""
    with Job(tmp_path, RUNICORN_RANK_MODE="merged") as job:
        job.start("rn.init()", environments(torchrun, 1))
        assert job.end() == [1]
        (line,) = (line for line in job.stderr(0).splitlines() if "SettingError: " in line)
    for word in ("RUNICORN_RANK_MODE", "'merged'", '"joined"', '"separate"'):
        assert word in line
    assert not runs_in(job.storage)


def two_nodes(rank, size):
    """Half a job's ranks on this node, by torchrun's default run id."""
    return torchrun(rank, size, local_size=size // 2)


def test_a_job_that_nothing_tells_from_others(tmp_path):
    """Ranks of several nodes without a key have runs of their own, and one warning each that names the variable."""
    with Job(tmp_path) as job:
        job.start(TOGETHER, environments(two_nodes, 4))
        assert job.end() == [0] * 4
        for rank in range(4):
            (line,) = job.stderr(rank).splitlines()
            assert "RUNICORN_JOB_ID" in line
    assert len(runs_in(job.storage)) == 4


KEYS = {
    "RUNICORN_JOB_ID": {"RUNICORN_JOB_ID": "42"},
    "SLURM": {"SLURM_JOB_ID": "42", "SLURM_STEP_ID": "3"},
    "rdzv-id": {"TORCHELASTIC_RUN_ID": "42"},
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_keys_of_a_job_of_several_nodes(tmp_path, key):
    """RUNICORN_JOB_ID, SLURM's job and step, and torchrun's run id each tell a job from others."""
    ours = {rank: {**two_nodes(rank, 2), **key} for rank in range(2)}
    other = {rank: {**each, **{name: f"{text}1" for name, text in key.items()}} for rank, each in ours.items()}
    # Both ranks are on this host here, as if each were on a node of its own: so the first is the one of rank 0.
    with Job(tmp_path) as job, Job(tmp_path) as another:
        job.start(TOGETHER, {rank: {**each, "LOCAL_RANK": rank} for rank, each in ours.items()})
        another.start(TOGETHER, {rank: {**each, "LOCAL_RANK": rank} for rank, each in other.items()})
        job.end_well()
        another.end_well()
    assert len(runs_in(job.storage)) == 2
    for run_dir in runs_in(job.storage):
        assert_ranks(run_dir, {0: RECORDS, 1: RECORDS})


def test_two_unrelated_jobs_over_one_storage(tmp_path):
    """Two jobs with torchrun's default id and address, at once, have one run each."""
    with Job(tmp_path) as first, Job(tmp_path) as second:
        first.start(TOGETHER, environments(torchrun, 3))
        second.start(TOGETHER, environments(torchrun, 3))
        first.end_well()
        second.end_well()
    assert len(runs_in(first.storage)) == 2
    for job in (first, second):
        # Not the spool: where both of the others have left before rank 0 comes, that has one of its own.
        assert len({job.run_of(rank)[0] for rank in range(3)}) == 1
        assert_ranks(job.run_of(0)[0], dict.fromkeys(range(3), RECORDS))


def test_eight_first_comers(tmp_path):
    """Eight ranks that meet five times at once, at another path each time, have five runs and lose nothing."""
    with Job(tmp_path) as job:
        job.start(
            """
            runs = []
            tell("up-" + name)
            for n in range(5):
                wait_for(*[f"up-{other}" for other in range(8)] if n == 0 else [f"{n - 1}-{o}" for o in range(8)])
                runs.append(rn.init(path=f"meeting/{n}"))
                log(runs[-1], 20)
                tell(f"{n}-{name}")
            wait_for(*[f"4-{other}" for other in range(8)])
            for run in runs:
                run.finish()
            """,
            environments(torchrun, 8),
        )
        job.end_well()
    runs = runs_in(job.storage)
    assert len(runs) == 5
    for run_dir in runs:
        assert_ranks(run_dir, dict.fromkeys(range(8), 20))
        assert status(run_dir)["status"] == "finished"


def test_two_runs_one_after_the_other(tmp_path):
    """The n-th init() of a path in each rank is the same run, though some ranks are at the second one early."""
    with Job(tmp_path) as job:
        job.start(
            """
            for n in (1, 2):
                run = rn.init()
                opened(run, f"{n}-")
                log(run, 30)
                tell(f"logged-{n}-{name}")
                if name == "0":
                    # The others are in the second run before this one ends.
                    wait_for(*[f"logged-2-{other}" for other in (1, 2)])
                run.finish()
            """,
            environments(torchrun, 3),
        )
        job.end_well()
    runs = [{job.run_of(rank, f"{n}-")[0] for rank in range(3)} for n in (1, 2)]
    assert [len(each) for each in runs] == [1, 1]
    assert runs[0] != runs[1]
    for (run_dir,) in runs:
        assert_ranks(run_dir, dict.fromkeys(range(3), 30))
        assert status(run_dir)["status"] == "finished"


def test_a_path_of_its_own_for_each_rank(tmp_path):
    """Ranks that name different paths have different runs, each of which ends when its rank has left."""
    with Job(tmp_path) as job:
        job.start(
            f"""
            with rn.init(path="rank/" + name) as run:
                opened(run)
                log(run, {RECORDS})
            """,
            environments(torchrun, 3),
        )
        job.end_well()
    for rank in range(3):
        run_dir, spool = job.run_of(rank)
        wait_ended(spool)
        assert run_dir.parent == job.storage / "runs" / "rank" / str(rank)
        assert_ranks(run_dir, {rank: RECORDS})
        assert status(run_dir)["status"] == "finished"
    assert len(runs_in(job.storage)) == 3


SCRIPT_AGAIN = """
import os, subprocess, sys
import runicorn as rn


def start_others():
    here = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "NODE_RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "3"}
    os.environ.update(here)
    again = [sys.executable, *sys.argv]
    return [subprocess.Popen(again, env={**os.environ, "LOCAL_RANK": str(rank)}) for rank in (1, 2)]


started, is_first, when = [], "LOCAL_RANK" not in os.environ, sys.argv[2]
if is_first and when == "before init()":
    started = start_others()
run = rn.init(storage=sys.argv[1], path="cv")
if is_first and when == "after init()":
    started = start_others()
for i in range(1, 51):
    run.log({"i": i})
for process in started:
    assert process.wait() == 0
run.finish()
"""


@pytest.mark.parametrize("when", ["before init()", "after init()"])
def test_a_rank_0_that_runs_its_script_again(run_program, storage, when):
    """Where rank 0 itself starts the others by its own script, as Lightning does, all of them share its run."""
    ended = run_program(SCRIPT_AGAIN, when)
    assert not ended.stderr
    (run_dir,) = runs_in(storage)
    for rank in range(3):
        lines = events(run_dir, file_of(rank))
        assert [line["data"]["i"] for line in lines] == list(range(1, RECORDS + 1))
        assert {line.get("rank") for line in lines} == ({rank} if rank or when == "before init()" else {None})
    assert status(run_dir)["status"] == "finished"


# --- rank 0 is late, dead, or never comes ------------------------------------------------------------------------


@pytest.mark.parametrize("launcher", [torchrun, by_hand])
def test_rank_0_is_late(tmp_path, launcher):
    """Ranks log and are stored for seconds before rank 0 comes, which then owns the run all the same."""
    with Job(tmp_path) as job:
        job.start(
            f"""
            if name == "0":
                wait_for("come")
            run = rn.init()
            opened(run)
            log(run, {RECORDS})
            tell("logged-" + name)
            wait_for("logged-0")
            log(run, {RECORDS}, {RECORDS} + 1)
            tell("again-" + name)
            if name == "0":
                wait_for("again-1", "again-2")
                run.finish()
            """,
            environments(launcher, 3),
        )
        job.wait_for("logged-1", "logged-2")
        run_dir, spool = job.run_of(1)
        opened_at = (job.gates / "run-1").stat().st_mtime
        wait_until(lambda: counted(run_dir, 1) == counted(run_dir, 2) == list(range(1, RECORDS + 1)))
        clock = job.gates / "clock"
        wait_until(lambda: clock.touch() or clock.stat().st_mtime > opened_at + 3, what="three seconds")
        assert status(run_dir)["status"] == "running"
        job.tell("come")
        job.end_well()
    wait_ended(spool)
    assert runs_in(job.storage) == [run_dir]
    assert_ranks(run_dir, dict.fromkeys(range(3), 2 * RECORDS))
    assert status(run_dir)["status"] == "finished"
    assert "exit_reason" not in status(run_dir)
    meta = json.loads((run_dir / "meta.json").read_text())
    assert meta["pid"] == job.process_of["0"].pid
    assert "resumed" not in meta


def test_rank_0_comes_when_the_others_have_left(tmp_path):
    """A rank 0 that comes after the last of the others goes on with their run."""
    with Job(tmp_path) as job:
        ranks = environments(torchrun, 3)
        owner = {0: ranks.pop(0)}
        job.start(f"run = rn.init()\nopened(run)\nlog(run, {RECORDS})", ranks)
        job.wait_gone(1, 2)
        run_dir, spool = job.run_of(1)
        wait_ended(spool)
        assert status(run_dir)["status"] == "finished"
        job.start(f"run = rn.init()\nopened(run)\nlog(run, {RECORDS})\nrun.finish()", owner)
        job.end_well()
    assert runs_in(job.storage) == [run_dir]
    assert_ranks(run_dir, dict.fromkeys(range(3), RECORDS))
    assert status(run_dir)["status"] == "finished"
    assert "exit_reason" not in status(run_dir)


@pytest.mark.parametrize("records", [RECORDS, 0])
def test_rank_0_is_killed(tmp_path, records):
    """The others go on when rank 0 is killed, whether it had logged or not; the run ends as failed with the last."""
    with Job(tmp_path) as job:
        job.start(
            f"""
            run = rn.init()
            opened(run)
            log(run, {records} if name == "0" else {RECORDS})
            tell("logged-" + name)
            wait_for("killed" if name != "0" else "never")
            log(run, {RECORDS}, {RECORDS} + 1)
            run.finish()
            tell("again-" + name)
            wait_for("leave")
            """,
            environments(torchrun, 3),
        )
        job.wait_for("logged-0", "logged-1", "logged-2")
        job.kill(0)
        job.wait_gone(0)
        job.tell("killed")
        job.wait_for("again-1", "again-2")
        run_dir, spool = job.run_of(0)
        assert status(run_dir)["status"] == "running"
        job.tell("leave")
        assert job.end() == [-signal.SIGKILL, 0, 0]
        assert not job.told()
    wait_ended(spool)
    counts = {1: 2 * RECORDS, 2: 2 * RECORDS}
    assert_ranks(run_dir, {0: records, **counts} if records else counts)
    assert status(run_dir)["status"] == "failed"
    # The writer may not have looked at rank 0 in its short life.
    assert status(run_dir)["exit_reason"] in {"killed by signal 9", "process gone"}


ENDS = {
    "well": ("", 0, "finished", "rank 0 never called init()"),
    "exception": ("raise KeyError('lost')", 1, "failed", "KeyError: 'lost'"),
    "SIGKILL": ("os.kill(os.getpid(), 9)", -9, "failed", "process gone (rank 2)"),
}


@pytest.mark.parametrize(("end", "code", "word", "reason"), ENDS.values(), ids=ENDS)
def test_rank_0_never_calls_init(tmp_path, end, code, word, reason):
    """The run ends when its last rank has left, as the worst of its ranks has ended."""
    with Job(tmp_path) as job:
        job.start(
            f"""
            if name == "0":
                wait_for("leave")
                sys.exit()
            run = rn.init()
            opened(run)
            log(run, {RECORDS})
            tell("logged-" + name)
            if name == "2":
                wait_for("logged-1")
                {end or "sys.exit()"}
            wait_for("leave")
            """,
            environments(torchrun, 3),
        )
        job.wait_for("logged-1", "logged-2")
        job.wait_gone(2)
        run_dir, spool = job.run_of(1)
        wait_until(lambda: len(counted(run_dir, 2)) == RECORDS)
        assert status(run_dir)["status"] == "running"
        job.tell("leave")
        assert job.end() == [0, 0, code]
    wait_ended(spool)
    assert_ranks(run_dir, {1: RECORDS, 2: RECORDS})
    assert (status(run_dir)["status"], status(run_dir)["exit_reason"]) == (word, reason)


def test_a_rank_comes_when_rank_0_has_ended_the_run(tmp_path):
    """What a rank logs that comes too late is stored, and the run has still ended as rank 0 said."""
    with Job(tmp_path) as job:
        ranks = environments(torchrun, 2)
        late = {1: ranks.pop(1)}
        job.start(f"run = rn.init()\nopened(run)\nlog(run, {RECORDS})\nrun.finish('failed')", ranks)
        job.wait_gone(0)
        job.start(f"run = rn.init()\nopened(run)\nlog(run, {RECORDS})\nrun.finish()", late)
        job.end_well()
    run_dir, spool = job.run_of(1)
    wait_ended(spool)
    assert runs_in(job.storage) == [run_dir]
    assert_ranks(run_dir, {0: RECORDS, 1: RECORDS})
    assert status(run_dir)["status"] == "failed"
    assert "never" not in status(run_dir).get("exit_reason", "")


def test_two_hosts_that_are_both_at_the_address_of_rank_0(tmp_path):
    """A writer that finds rank 0's lines in the files, but has not seen its end, leaves the end that is written."""
    ranks = environments(torchrun, 2, run_id="mine", local_size=1)
    ranks[1]["RUNICORN_HOSTNAME"] = "another-name"
    body = f"run = rn.init()\nopened(run)\nlog(run, {RECORDS})\n"
    with Job(tmp_path) as job:
        job.start(f'{body}wait_for("ended")\nlog(run, {RECORDS}, {RECORDS} + 1)\nrun.finish()', {1: ranks.pop(1)})
        run_dir, spool = job.run_of(1)
        wait_until(lambda: counted(run_dir, 1) if (run_dir / file_of(1)).exists() else False)
        end_writers(spool)
        (spool / "plan").unlink()  # so that the next writer has the files alone
        job.start(f"{body}run.finish()", ranks)
        job.wait_gone(0)
        job.tell("ended")
        assert job.end() == [0, 0]
    wait_ended(spool)
    assert_ranks(run_dir, {0: RECORDS, 1: 2 * RECORDS})
    assert status(run_dir)["status"] == "finished"
    assert "exit_reason" not in status(run_dir)


def test_only_rank_0_ends_the_run(tmp_path):
    """A rank's finish() stores what it has logged and ends nothing; rank 0's ends the run for all."""
    with Job(tmp_path) as job:
        job.start(
            f"""
            run = rn.init()
            opened(run)
            log(run, {RECORDS})
            if name == "0":
                wait_for("on-disk-1")
                log(run, {RECORDS}, {RECORDS} + 1)
                run.finish()
                tell("ended")
            else:
                run.finish("failed")
                lines = (run.run_dir / "events.rank1.jsonl").read_bytes().splitlines()
                assert len(lines) == {RECORDS}, len(lines)
                assert not run.is_finished
                tell("on-disk-1")
                wait_for("ended")
                assert run.is_finished
                run.log(i=0)
                run.log(i=0)
            """,
            environments(torchrun, 2),
        )
        assert job.end() == [0, 0], job.told()
        assert len(job.stderr(1).splitlines()) == 1  # the one warning of what came too late
        assert not job.stderr(0)
    run_dir, _ = job.run_of(0)
    assert_ranks(run_dir, {0: 2 * RECORDS, 1: RECORDS})
    assert status(run_dir)["status"] == "finished"


def test_the_writer_is_killed_where_there_is_no_rank_0(tmp_path):
    """Ranks whose writer is killed before rank 0 comes get another one: their finish() returns with all stored."""
    with Job(tmp_path, RUNICORN_FINISH_TIMEOUT_S="80") as job:
        ranks = environments(torchrun, 3)
        del ranks[0]
        job.start(
            f"""
            run = rn.init()
            opened(run)
            log(run, {RECORDS})
            tell("logged-" + name)
            wait_for("killed")
            log(run, {RECORDS}, {RECORDS} + 1)
            run.finish()
            """,
            ranks,
        )
        job.wait_for("logged-1", "logged-2")
        run_dir, spool = job.run_of(1)
        wait_until(lambda: counted(run_dir, 1) and counted(run_dir, 2))
        end_writers(spool)
        job.tell("killed")
        job.end_well()
    wait_ended(spool)
    assert_ranks(run_dir, {1: 2 * RECORDS, 2: 2 * RECORDS})
    assert status(run_dir)["status"] == "finished"


def test_a_spool_without_room_stops_no_rank(tmp_path):
    """Ranks that find no room get the run all the same; what they log is refused, counted, and told with a warning."""
    most = 500
    with Job(tmp_path, RUNICORN_SPOOL_MAX_BYTES=str(2**20), RUNICORN_OVERFLOW_MAX_BYTES="1") as job:
        job.start(
            f"""
            run = rn.init()
            opened(run)
            wait_for("stopped")
            log(run, {most})
            tell("logged-" + name)
            wait_for("goes-on" if name != "0" else "end")
            run.finish()
            tell("finished-" + name)
            """,
            environments(torchrun, 8),
        )
        job.wait_for(*[f"run-{rank}" for rank in range(8)])
        run_dir, spool = job.run_of(0)
        wait_until(lambda: len(writer_pids(spool)) == 1)
        (pid,) = writer_pids(spool)
        os.kill(pid, signal.SIGSTOP)  # it would make room while they log
        try:
            job.tell("stopped")
            job.wait_for(*[f"logged-{rank}" for rank in range(8)])
        finally:
            os.kill(pid, signal.SIGCONT)
        job.tell("goes-on")
        job.wait_for(*[f"finished-{rank}" for rank in range(1, 8)])
        job.tell("end")
        assert job.end() == [0] * 8, job.told()
        refused = [rank for rank in range(8) if "RUNICORN_SPOOL_MAX_BYTES" in job.stderr(rank)]
    stored = [len(counted(run_dir, rank)) for rank in range(8)]
    assert [rank for rank in range(8) if stored[rank] < most] == refused
    assert 0 < len(refused) < 8  # there is room for four first segments
    assert sum(stored) + status(run_dir)["lost_records"] == 8 * most
    assert status(run_dir)["status"] == "finished"


# --- started anew --------------------------------------------------------------------------------------------------


def test_an_elastic_restart_resumes_the_run(tmp_path):
    """Ranks that their launcher starts anew after one was killed go on with their run, its files and its steps."""
    body = f"""
    again = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    run = rn.init()
    log(run, {RECORDS}, 1 + again * {RECORDS})
    opened(run, f"{{again}}-")
    if not again:
        wait_for("never")
    tell("logged-" + name)
    wait_for("logged-0", "logged-1", "logged-2", "logged-3")
    if name == "0":
        run.finish()
    """
    with Job(tmp_path) as job:
        job.start(body, environments(torchrun, 4))
        first = {job.run_of(rank, "0-") for rank in range(4)}
        job.kill(2)
        job.wait_gone(2)
        for rank in (0, 1, 3):  # as torchrun's agent does
            job.kill(rank, signal.SIGTERM)
        job.wait_gone(0, 1, 3)
        job.start(body, environments(torchrun, 4, restarts=1))
        second = {job.run_of(rank, "1-") for rank in range(4)}
        assert job.end() == [-15, -15, -9, -15, 0, 0, 0, 0]
        assert not [line for line in job.told().splitlines() if "runicorn" in line]
    assert len(first) == len(second) == 1
    ((run_dir, _),) = second
    assert runs_in(job.storage) == [run_dir]
    assert_ranks(run_dir, dict.fromkeys(range(4), 2 * RECORDS))
    for rank in range(4):
        steps = [line["data"]["global_step"] for line in events(run_dir, file_of(rank))]
        assert steps == list(range(1, 2 * RECORDS + 1))
    assert status(run_dir)["status"] == "finished"
    assert "exit_reason" not in status(run_dir)
    (entry,) = json.loads((run_dir / "meta.json").read_text())["resumed"]
    lines = (run_dir / "events.jsonl").read_bytes().splitlines(keepends=True)
    assert entry["events"]["events.jsonl"] == sum(map(len, lines[:RECORDS]))  # where the second start begins


# --- children of ranks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_of_a_rank_logs_as_that_rank(tmp_path, method):
    """What a worker process of rank n logs is in the file of rank n, with its own producer, however it was started."""
    with Job(tmp_path) as job:
        job.start(
            f"""
            import multiprocessing

            def work(run):
                run.log(child=os.getpid())

            if __name__ == "__main__":
                run = rn.init()
                log(run, {RECORDS})
                worker = multiprocessing.get_context("{method}").Process(target=work, args=(run,))
                worker.start()
                worker.join()
                tell("child-" + name, str(worker.pid))
                if name == "0":
                    wait_for("child-1")
                    run.finish()
                    opened(run)
            """,
            environments(torchrun, 2),
        )
        job.end_well()
    run_dir, _ = job.run_of(0)
    assert {path.name for path in run_dir.glob("events*")} == {"events.jsonl", "events.rank1.jsonl"}
    for rank in range(2):
        (line,) = (line for line in events(run_dir, file_of(rank)) if "child" in line["data"])
        child = int((job.gates / f"child-{rank}").read_text())
        assert line["data"]["child"] == child
        assert line["rank"] == rank
        assert line["producer"].endswith(f"-{child}")


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_worker_of_a_rank_that_imports_an_unguarded_script(tmp_path, method):
    """An init() at the top of a rank's script is the rank's run in its workers too, and opens no other one."""
    with Job(tmp_path) as job:
        job.start(
            f"""
            import multiprocessing

            run = rn.init()

            def work(number):
                run.log(child=os.getpid())

            if __name__ == "__main__":
                log(run, {RECORDS})
                worker = multiprocessing.get_context("{method}").Process(target=work, args=(1,))
                worker.start()
                worker.join()
                tell("child-" + name, str(worker.pid))
                if name == "0":
                    wait_for("child-1")
                run.finish()
            """,
            environments(torchrun, 2),
        )
        job.end_well()
    (run_dir,) = runs_in(job.storage)
    for rank in range(2):
        lines = events(run_dir, file_of(rank))
        assert [line["data"]["i"] for line in lines if "i" in line["data"]] == list(range(1, RECORDS + 1))
        (child,) = (line for line in lines if "child" in line["data"])
        assert child["producer"].endswith(f"-{child['data']['child']}")
        assert child["rank"] == rank
    assert status(run_dir)["status"] == "finished"


def test_a_run_of_ranks_is_joined_by_its_id(tmp_path):
    """While ranks log and rank 0 is yet to come, init(run_id=...) joins them, and ends nothing."""
    with Job(tmp_path) as job:
        ranks = environments(torchrun, 3)
        owner = {0: ranks.pop(0)}
        body = f"""
        run = rn.init()
        opened(run)
        log(run, {RECORDS})
        tell("logged-" + name)
        wait_for("go-on")
        log(run, {RECORDS}, {RECORDS} + 1)
        run.finish()
        tell("finished-" + name)
        """
        job.start(body, ranks)
        job.wait_for("logged-1", "logged-2")
        run_dir, spool = job.run_of(1)
        guest = f"run = rn.init(run_id={run_dir.name!r})\nopened(run)\nrun.log(guest=1)\nrun.finish()\n"
        job.start(guest, {"guest": {}})
        job.wait_gone("guest")
        assert job.run_of("guest") == (run_dir, spool)
        job.tell("go-on")
        job.wait_for("finished-1", "finished-2")
        job.start(f"with rn.init() as run:\n    log(run, {RECORDS})\n", owner)
        job.end_well()
    assert runs_in(job.storage) == [run_dir]
    for rank in (1, 2):
        assert counted(run_dir, rank) == list(range(1, 2 * RECORDS + 1))
    assert sum("guest" in line["data"] for line in events(run_dir)) == 1
    assert status(run_dir)["status"] == "finished"


# --- what ranks say beside metrics ------------------------------------------------------------------------------------


def said_in_order(tmp_path, calls):
    """A run of ranks that make these calls, (rank, call), one after the other while the writer is stopped."""
    ranks = environments(torchrun, 3)
    with Job(tmp_path) as job:
        job.start(
            f"""
            calls = {calls!r}
            run = rn.init()
            opened(run)
            wait_for("stopped")
            for n, (rank, call) in enumerate(calls):
                if name == str(rank):
                    wait_for(*([f"said-{{n - 1}}"] if n else []))
                    eval(call)
                    tell(f"said-{{n}}")
            if name == "0":
                wait_for("goes-on")
                run.finish()
            """,
            ranks,
        )
        job.wait_for("run-0", "run-1", "run-2")
        run_dir, spool = job.run_of(0)
        wait_until(lambda: len(writer_pids(spool)) == 1)
        (pid,) = writer_pids(spool)
        writer = psutil.Process(pid)
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(lambda: writer.status() == psutil.STATUS_STOPPED)
            job.tell("stopped")
            job.wait_for(f"said-{len(calls) - 1}")
        finally:
            os.kill(pid, signal.SIGCONT)
        job.tell("goes-on")
        job.end_well()
    wait_ended(spool)
    return run_dir


ORDERS = [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]]


@pytest.mark.parametrize("order", ORDERS)
def test_the_last_call_wins(tmp_path, order):
    """Of what several ranks say with summary(), log_config() and set_primary_metric(), the last call counts."""
    calls = []
    for rank in order:
        calls += [
            (rank, f"run.summary({{'who': {rank}, 'rank{rank}': True}})"),
            (rank, f"run.log_config(args={{'who': {rank}}})"),
            (rank, f"run.set_primary_metric('of_{rank}')"),
        ]
    calls += [(rank, f"run.log({{'of_{rank}': 1.5}}, step={rank + 10})") for rank in range(3)]
    run_dir = said_in_order(tmp_path, calls)
    last = order[-1]
    assert summary(run_dir) == {
        **{f"rank{rank}": True for rank in range(3)},
        "who": last,
        "best_metric_name": f"of_{last}",
        "best_metric_value": 1.5,
        "best_metric_step": last + 10,
        "best_metric_mode": "max",
    }
    assert json.loads((run_dir / "assets.json").read_text())["config"]["args"] == {"who": last}


def test_text_of_ranks_is_in_one_file(tmp_path):
    """Lines of all ranks are in logs.txt, whole and those of each rank in the order of its calls."""
    calls = [(rank, f"run.log_text('rank {rank} line {n}')") for n in range(5) for rank in (2, 0, 1)]
    run_dir = said_in_order(tmp_path, calls)
    lines = [line.partition(" | ")[2] for line in (run_dir / "logs.txt").read_text().splitlines()]
    assert sorted(lines) == sorted(f"rank {rank} line {n}" for n in range(5) for rank in range(3))
    for rank in range(3):
        of_rank = [line for line in lines if line.startswith(f"rank {rank}")]
        assert of_rank == [f"rank {rank} line {n}" for n in range(5)]


@pytest.mark.parametrize("asking", [0, 1])
def test_the_best_is_that_of_all_ranks(tmp_path, asking):
    """A primary metric that is named late has the best value of every rank, those stored before included."""
    with Job(tmp_path) as job:
        job.start(
            f"""
            run = rn.init()
            opened(run)
            if name == "0":
                for step in range(1, 101):
                    run.log(acc=step / 1000, step=step)
            elif name == "1":
                run.log(acc=0.5, step=7)
            else:
                run.log(acc=0.9, step=3)
                run.log(acc=0.2, step=4)
            tell("logged-" + name)
            wait_for("stored")
            if name == "{asking}":
                run.set_primary_metric("acc")
                tell("asked")
            if name == "0":
                wait_for("asked")
                run.finish()
            """,
            environments(torchrun, 3),
        )
        job.wait_for("logged-0", "logged-1", "logged-2")
        run_dir, spool = job.run_of(0)
        wait_until(lambda: [len(events(run_dir, file_of(rank))) for rank in range(3)] == [100, 1, 2])
        job.tell("stored")
        job.end_well()
    wait_ended(spool)
    found = summary(run_dir)
    assert (found["best_metric_value"], found["best_metric_step"]) == (0.9, 3)


# --- nothing happens before init() ------------------------------------------------------------------------------------


LOOK = """
import os, pathlib, signal, threading


def state():
    return {
        "threads": threading.active_count(),
        "tasks": len(os.listdir("/proc/self/task")),
        "children": pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text(),
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "handlers": [signal.getsignal(number) for number in signal.valid_signals()],
        "environment": dict(os.environ),
    }


before = state()
import runicorn
after = state()
assert after == before, (before, after)
"""


def test_importing_has_no_side_effect(tmp_path):
    """Eight ranks that import runicorn at once start no thread or process and touch no file, handler or variable."""
    shared, temporary = tmp_path / "shared", tmp_path / "temporary"
    shared.mkdir()
    temporary.mkdir()
    with Job(tmp_path, RUNICORN_SHM_DIR=str(shared), TMPDIR=str(temporary)) as job:
        (job.gates / "look.py").write_text(LOOK)
        job.start(
            """
            import subprocess

            tell("up-" + name)
            wait_for(*[f"up-{other}" for other in range(8)])
            subprocess.run([sys.executable, str(here / "look.py")], check=True)
            """,
            environments(torchrun, 8),
        )
        job.end_well()
    assert not job.storage.exists()
    assert not list(shared.iterdir())
    assert not list(temporary.iterdir())
