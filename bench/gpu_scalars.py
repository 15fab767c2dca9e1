"""Does logging a CUDA tensor make the training loop wait for the GPU?

Each step queues work of some milliseconds on the GPU, does some work of its own on the CPU, and logs the step's loss as
it is: a tensor on the device. Who asks it for its value waits until the GPU has caught up, and what the CPU does comes
on top. Each way to log runs in a process of its own, in turn, for several rounds; the values that were stored are
compared with what they must be. Needs torch, and a CUDA device.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import harness
import published

if TYPE_CHECKING:
    import argparse

TARGET_RATIO = 0.98
"""Steps per second with ours, of those without logging."""

PROGRAM = """
import json, statistics, sys, time
import torch

storage, way, steps, gpu_ms, cpu_ms = sys.argv[1], sys.argv[2], *map(float, sys.argv[3:6])
steps = int(steps)
clock = time.perf_counter_ns
device = torch.device("cuda")
weight = torch.full((2048, 2048), 1 / 2048, device=device)
state = torch.ones(2048, 2048, device=device)
counter = torch.zeros((), device=device)

def work(times):
    global state
    for _ in range(times):
        state = state @ weight

def gpu_time_ms(times):
    begun, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begun.record()
    work(times)
    ended.record()
    ended.synchronize()
    return begun.elapsed_time(ended)

gpu_time_ms(50)
times = max(1, round(gpu_ms / (gpu_time_ms(200) / 200)))
measured_gpu_ms = statistics.median(gpu_time_ms(times) for _ in range(9))

def busy_cpu():
    until = clock() + cpu_ms * 1e6
    while clock() < until:
        pass

log, finish, run_dir = (lambda loss: None), (lambda: None), None
if way in {"log", "item", "published"}:
    import runicorn as rn
    run = rn.init(path="bench/gpu", storage=storage)
    run_dir, finish = str(run.run_dir), run.finish
    if way == "item":
        log = lambda loss: run.log({"loss": loss.item()})
    else:
        log = lambda loss: run.log({"loss": loss})
elif way == "tensorboard":
    from torch.utils.tensorboard import SummaryWriter
    writer = SummaryWriter(storage)
    step = iter(range(10**9))
    log, finish = (lambda loss: writer.add_scalar("loss", loss, next(step))), writer.close

if way == "log":  # whatever would wait raises
    torch.cuda.set_sync_debug_mode("error")
for _ in range(20):
    work(times)
    counter += 1
    log(counter * 0.5)
torch.cuda.set_sync_debug_mode("default")
torch.cuda.synchronize()

costs = []
begun = clock()
for _ in range(steps):
    work(times)
    busy_cpu()
    counter += 1  # in place, right after the last log()
    loss = counter * 0.5
    called = clock()
    log(loss)
    costs.append(clock() - called)
torch.cuda.synchronize()
elapsed_s = (clock() - begun) / 1e9
called = clock()
finish()
finish_s = (clock() - called) / 1e9
costs.sort()
right = None
if run_dir is not None:
    values = {}
    for line in open(f"{run_dir}/events.jsonl"):
        data = json.loads(line)["data"]
        values[data["global_step"]] = data["loss"]
    right = sum(values.get(n) == n * 0.5 for n in range(1, steps + 21))
print(json.dumps({
    "steps_per_s": steps / elapsed_s,
    "log_p50_us": costs[len(costs) // 2] / 1e3,
    "log_p99_us": costs[len(costs) * 99 // 100] / 1e3,
    "finish_s": finish_s,
    "gpu_ms": measured_gpu_ms,
    "right": right,
    "device": torch.cuda.get_device_name(),
    "torch": torch.__version__,
}))
"""

WAYS = {
    "nothing": "no logging",
    "log": "run.log(tensor)",
    "item": "run.log(tensor.item())",
    "published": "run.log(tensor) of Runicorn 0.7.2",
    "tensorboard": "add_scalar(tensor) of TensorBoard",
}
WARM_UP_STEPS = 20


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the program in each way, in turn."""
    if not _has_cuda():
        return {"available": False}
    rounds, steps = (1, 40) if arguments.quick else (arguments.rounds, arguments.steps)
    told: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    missing: dict[str, str] = {}
    for _ in range(rounds):
        for way in WAYS:
            if way in missing:
                continue
            try:
                told[way].append(_run(way, steps, arguments))
            except (subprocess.CalledProcessError, OSError) as error:
                missing[way] = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1]
    return {
        "available": True,
        "steps": steps,
        "gpu_ms": arguments.gpu_ms,
        "cpu_ms": arguments.cpu_ms,
        "ways": told,
        "missing": missing,
    }


def _run(way: str, steps: int, arguments: argparse.Namespace) -> dict[str, Any]:
    python = sys.executable
    if way == "published":
        python = arguments.published or published.interpreter("torch")
    with harness.storage() as root, tempfile.TemporaryDirectory() as work:
        done = subprocess.run(
            [python, "-c", PROGRAM, root, way, str(steps), str(arguments.gpu_ms), str(arguments.cpu_ms)],
            check=True,
            capture_output=True,
            text=True,
            cwd=work,
            timeout=300,
        )
    return json.loads(done.stdout.splitlines()[-1])


def _has_cuda() -> bool:
    ask = "import torch, sys; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", ask], check=False, capture_output=True).returncode == 0


def tabulate(figures: dict[str, Any]) -> list[harness.Table]:
    """One row a way."""
    title = "A loop that logs a tensor on the GPU at each step"
    if not figures["available"]:
        return [harness.Table(title, ["way", "steps/s"], [["not measured: torch sees no CUDA device here", ""]])]
    rows = []
    plain = _median(figures, "nothing", "steps_per_s")
    for way, text in WAYS.items():
        told = figures["ways"][way]
        if not told:
            rows.append([text, f"not measured: {figures['missing'].get(way, '')}", "", "", "", "", ""])
            continue
        ratio = _median(figures, way, "steps_per_s") / plain
        right = [each["right"] for each in told]
        rows.append(
            [
                text,
                f"{_median(figures, way, 'steps_per_s'):.1f}",
                f"{ratio:.3f}",
                f"{_median(figures, way, 'log_p50_us'):.1f}",
                f"{_median(figures, way, 'log_p99_us'):.1f}",
                "" if None in right else f"{min(right)} of {figures['steps'] + WARM_UP_STEPS}",
                f">= {TARGET_RATIO} {harness.verdict(-ratio, -TARGET_RATIO)}" if way == "log" else "",
            ]
        )
    first = figures["ways"]["nothing"][0]
    return [
        harness.Table(
            title=title,
            columns=["way", "steps/s", "of no logging", "log() p50, us", "p99, us", "values right", "target"],
            rows=rows,
            note=f"{first['device']}, torch {first['torch']}; {first['gpu_ms']:.1f} ms of queued work on the GPU and "
            f"{figures['cpu_ms']:g} ms of work on the CPU a step, {figures['steps']} steps; medians of the rounds. "
            "Before it, log(tensor) ran with torch.cuda.set_sync_debug_mode('error').",
        )
    ]


def _median(figures: dict[str, Any], way: str, key: str) -> float:
    return harness.median([each[key] for each in figures["ways"][way]])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How long a step is, and how many."""
    parser.add_argument("--steps", type=int, default=400, help="steps of each process (default: 400)")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each way (default: 3)")
    parser.add_argument("--gpu-ms", type=float, default=5.0, help="work of a step on the GPU (default: 5)")
    parser.add_argument("--cpu-ms", type=float, default=2.0, help="work of a step on the CPU (default: 2)")
    parser.add_argument("--published", help="a Python that has Runicorn 0.7.2 and torch (default: one is made)")


if __name__ == "__main__":
    harness.Bench(
        question="Does logging a CUDA tensor make the training loop wait for the GPU?",
        measure=measure,
        tabulate=tabulate,
        add_arguments=add_arguments,
    ).main()
