"""Real torchrun: two ranks on the CPU with gloo, the same script with the same init() in each."""

import json
import os
import subprocess
import sys

import pytest
from support import json_lines, status, wait_until

pytestmark = pytest.mark.timeout(240)
LIMIT_S = 200
RANKS = 2
STEPS = 25

TRAIN = f"""
import os, sys, time
import torch
import torch.distributed as dist
import runicorn as rn

dist.init_process_group("gloo")
rank = dist.get_rank()
with rn.init(storage=sys.argv[1], path="ddp", alias="both") as run:
    assert os.environ["TORCHELASTIC_RUN_ID"] == sys.argv[2]
    run.set_primary_metric("loss", mode="min")
    for step in range(1, {STEPS} + 1):
        loss = torch.tensor([float(rank + step)])
        run.log(mine=loss, step=step)
        dist.all_reduce(loss)
        run.log(loss=loss, step=step)
    run.summary({{f"rank{{rank}}": float(loss)}})
    run.log_text(f"rank {{rank}} is done")
    dist.barrier()
dist.destroy_process_group()
"""

RESTARTED = f"""
import os, pathlib, signal, sys
import torch
import torch.distributed as dist
import runicorn as rn

dist.init_process_group("gloo")
rank, again = dist.get_rank(), int(os.environ["TORCHELASTIC_RESTART_COUNT"])
assert os.environ["TORCHELASTIC_RUN_ID"] == sys.argv[2]
run = rn.init(storage=sys.argv[1])
for i in range(1, {STEPS} + 1):
    run.log(i=i + again * {STEPS})
total = torch.ones(1)
dist.all_reduce(total)  # each has logged
if rank == 1 and not again:
    os.kill(os.getpid(), signal.SIGKILL)
dist.barrier()  # of the first start nobody comes further
run.finish()
"""


def torchrun(script, storage, *options, run_id="none", **more):
    """Run a script in these ranks to its good end; what it has printed on stderr."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={RANKS}"),
            *("--master-addr=127.0.0.1", "--local-addr=127.0.0.1", *options, str(script), str(storage), run_id),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", **more},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def free_port():
    """A port of the loopback interface that nobody listens at."""
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def the_run(storage):
    """The only run, once its writer has ended it."""
    (run_dir,) = (path.parent for path in storage.rglob("status.json"))
    wait_until(lambda: not list(run_dir.glob(".spool-*")))
    return run_dir


def lines_of(run_dir, rank):
    """The lines of a rank, each of which says so."""
    lines = json_lines(run_dir, f"events.rank{rank}.jsonl" if rank else "events.jsonl")
    assert {line["rank"] for line in lines} == {rank}
    return [line["data"] for line in lines]


WAYS = {
    "default": ((), "none"),
    "rdzv-id": (("--rdzv-id=mine", "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0"), "mine"),
}
# In torch 2.13 the agent's store hands restarted ranks the addresses of the dead ones: gloo meets in one of its own.
FRESH_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
MEETING_AGAIN = {
    "no rdzv-id": (("--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0"), "none"),
    "rdzv-id": WAYS["rdzv-id"],
}


@pytest.mark.parametrize(("options", "run_id"), WAYS.values(), ids=WAYS)
def test_ranks_share_a_run(tmp_path, storage, options, run_id):
    """The ranks log into one run, each into its own file; rank 0's end is the run's."""
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    options = options or (f"--master-port={free_port()}",)
    assert "[run " not in torchrun(script, storage, *options, run_id=run_id)
    run_dir = the_run(storage)
    for rank in range(RANKS):
        lines = lines_of(run_dir, rank)
        assert [line["mine"] for line in lines if "mine" in line] == [rank + step for step in range(1, STEPS + 1)]
        total = sum(range(RANKS))
        assert [line["loss"] for line in lines if "loss" in line] == [total + RANKS * n for n in range(1, STEPS + 1)]
    assert {path.name for path in run_dir.glob("events*")} == {
        "events.jsonl",
        *(f"events.rank{rank}.jsonl" for rank in range(1, RANKS)),
    }
    assert status(run_dir)["status"] == "finished"
    assert "exit_reason" not in status(run_dir)
    last = float(sum(range(RANKS)) + RANKS * STEPS)
    summary = json.loads((run_dir / "summary.json").read_text())
    assert {name: summary[name] for name in summary if name.startswith("rank")} == {
        f"rank{rank}": last for rank in range(RANKS)
    }
    assert (summary["best_metric_value"], summary["best_metric_step"]) == (sum(range(RANKS)) + RANKS, 1)
    texts = [line.partition(" | ")[2] for line in (run_dir / "logs.txt").read_text().splitlines()]
    assert sorted(texts) == [f"rank {rank} is done" for rank in range(RANKS)]


@pytest.mark.parametrize(("options", "run_id"), MEETING_AGAIN.values(), ids=MEETING_AGAIN)
def test_a_rank_is_killed_and_torchrun_starts_all_anew(tmp_path, storage, options, run_id):
    """After SIGKILL of one rank the restarted ranks go on with their run, and no record of either start is missing."""
    script = tmp_path / "train.py"
    script.write_text(RESTARTED)
    torchrun(script, storage, "--max-restarts=1", "--monitor-interval=0.1", *options, run_id=run_id, **FRESH_STORE)
    run_dir = the_run(storage)
    for rank in range(RANKS):
        lines = lines_of(run_dir, rank)
        assert [line["i"] for line in lines] == list(range(1, 2 * STEPS + 1))
        assert [line["global_step"] for line in lines] == list(range(1, 2 * STEPS + 1))
    assert status(run_dir)["status"] == "finished"
    assert "exit_reason" not in status(run_dir)
    assert len(json.loads((run_dir / "meta.json").read_text())["resumed"]) == 1
