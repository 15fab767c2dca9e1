"""What does a sample of the machine cost?

A process that has imported what the writer has samples a tree of 64 processes, as the writer's thread does: CPU time of
a sample, and how much larger the process is by then.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import harness

if TYPE_CHECKING:
    import argparse

TARGET_MS, TARGET_MB = 20.0, 8.0
PROCESSES = 64
PROGRAM = """
import json, os, subprocess, sys, time
import runicorn.writer.serve

count, samples = int(sys.argv[1]), int(sys.argv[2])
sleeper = "import sys, time; print(flush=True); time.sleep(600)"
children = [subprocess.Popen([sys.executable, "-c", sleeper], stdout=subprocess.PIPE) for _ in range(count - 1)]
for child in children:
    child.stdout.readline()


def rss_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


before = rss_bytes()
begun = time.process_time()
from runicorn.sampling import gpu_drivers
from runicorn.sampling.machine_sampler import MachineSampler

gpus = gpu_drivers.find("/", lambda text: None)
sampler = MachineSampler(os.getpid(), os.getcwd(), root="/", shm="/dev/shm", gpus=gpus, tell=print)
if hasattr(sampler._tree, "_leave_out"):
    sampler._tree._leave_out = 0  # here the one that samples is one of those that are sampled
sampler.sample([os.getpid()])
start_ms = 1e3 * (time.process_time() - begun)
costs = []
for _ in range(samples):
    begun = time.process_time()
    sample = sampler.sample([os.getpid()])
    costs.append(1e3 * (time.process_time() - begun))
more = rss_bytes() - before
sampler.close()
for child in children:
    child.kill()
    child.wait()
numbers = {name: value for name, value in sample.items() if name.startswith("gpu")}
told = {"start_ms": start_ms, "sample_ms": costs, "memory_bytes": more, "processes": sample["tree/processes"]}
print(json.dumps({**told, "numbers": len(sample), "gpus": numbers}))
"""


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the program once."""
    count, samples = (4, 5) if arguments.quick else (PROCESSES, 100)
    command = [sys.executable, "-c", PROGRAM, str(count), str(samples)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def tabulate(figures: dict[str, Any]) -> list[harness.Table]:
    """One row a figure; the GPUs as they were seen."""
    costs = figures["sample_ms"]
    mean_ms, more_mb = sum(costs) / len(costs), figures["memory_bytes"] / 1e6
    rows = [
        ["CPU of a sample, mean", f"{mean_ms:.1f} ms", f"<= {TARGET_MS:g} {harness.verdict(mean_ms, TARGET_MS)}"],
        ["CPU of a sample, most", f"{max(costs):.1f} ms", ""],
        ["CPU of the start and the first sample", f"{figures['start_ms']:.1f} ms", ""],
        ["memory", f"{more_mb:.1f} MB", f"<= {TARGET_MB:g} {harness.verdict(more_mb, TARGET_MB)}"],
    ]
    tables = [
        harness.Table(
            title="A sample of the machine",
            columns=["what", "figure", "target"],
            rows=rows,
            note=f"{figures['processes']} processes in the tree, {len(costs)} samples of {figures['numbers']} numbers.",
        )
    ]
    if figures["gpus"]:
        seen = [[name, f"{value:,.10g}"] for name, value in figures["gpus"].items()]
        tables.append(harness.Table(title="GPUs that were seen", columns=["number", "value"], rows=seen))
    return tables


if __name__ == "__main__":
    harness.Bench(question="What does a sample of the machine cost?", measure=measure, tabulate=tabulate).main()
