"""Does anything grow, get lost or fall behind when a run goes on for long and its writer dies every minute?

Four producers, the trainer and three children that it has forked, log 20,000 records a second in total, paced. Once a
minute, at a moment that the seed gives, the writer is killed by SIGKILL; the trainer's next call starts another. From
outside, the memory of the trainer and of the writer that serves just then is sampled every few seconds, and the spool
more often. At the end every line is read: each record must be there once, and in order for its producer.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import random
import signal
import struct
import sys
import time
from typing import TYPE_CHECKING, Any

import chaos
import harness
import msgspec
import psutil
import sampler
import zoo

from runicorn.writer.control import ControlPage

if TYPE_CHECKING:
    import argparse

RECORDS_PER_S = 20_000
CHILDREN = 3
MINUTES, QUICK_MINUTES = 10.0, 10 / 60
SAMPLE_INTERVAL_S, QUICK_SAMPLE_INTERVAL_S = 3.0, 0.25
SPOOL_INTERVAL_S = 0.1
KILL_MARGIN_S = 4.0
YOUNG_S, QUICK_YOUNG_S = 10.0, 0.5
END_S = 120.0
MIB = 1024 * 1024
S_PER_HOUR = 3600

# One u64 to stop the script, then one a producer: how many of its calls have returned.
SHARED_BYTES = 8 * (2 + CHILDREN)

SCRIPT = f"""
import time

shared_file = open(os.environ["SOAK_SHARED"], "r+b")
shared = mmap.mmap(shared_file.fileno(), {SHARED_BYTES})
RATE = {RECORDS_PER_S} / {1 + CHILDREN}
me = os.getpid()


def log_on(producer):
    done, start = 0, time.perf_counter()
    while not shared[0] and (producer == 0 or os.getppid() == me):
        due = int((time.perf_counter() - start) * RATE)
        while done < due:
            done += 1
            run.log({{"i": done, "producer": producer, "loss": 1 / done, "lr": 3e-4}})
            struct.pack_into("<Q", shared, 8 + 8 * producer, done)
        time.sleep(0.002)


run = rn.init()
opened(run)
children = []
for number in range(1, {1 + CHILDREN}):
    pid = os.fork()
    if pid == 0:
        try:
            log_on(number)
        finally:
            os._exit(0)
    children.append(pid)
log_on(0)
for pid in children:
    os.waitpid(pid, 0)
begin = time.perf_counter()
run.finish()
print(time.perf_counter() - begin, flush=True)
"""


class _Data(msgspec.Struct):
    i: int
    producer: int


class _Line(msgspec.Struct):
    data: _Data


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Let the run go on, and read what it has stored."""
    minutes = arguments.minutes or (QUICK_MINUTES if arguments.quick else MINUTES)
    seed = int.from_bytes(os.urandom(4), "little") if arguments.seed is None else arguments.seed
    print(f"seed {seed}", file=sys.stderr)
    with chaos.isolated() as (root, memory):
        os.environ["RUNICORN_SHM_DIR"] = memory
        os.environ["TMPDIR"] = os.path.join(root, "temp")
        os.mkdir(os.environ["TMPDIR"])
        soak = Soak(pathlib.Path(root), kill_times(random.Random(seed), minutes * 60), quick=arguments.quick)
        try:
            figures = soak.play(minutes * 60)
        finally:
            while zoo.STARTED:
                zoo.STARTED.pop().close()
        left = [*os.listdir(memory), *os.listdir(os.environ["TMPDIR"])]
    return {"seed": seed, "minutes": minutes, "target_records_per_s": RECORDS_PER_S, **figures, "leftovers": len(left)}


def kill_times(dice: random.Random, duration_s: float) -> list[float]:
    """Draw a moment in each minute, or in what there is of one."""
    starts_s = [60.0 * minute for minute in range(max(1, int(duration_s / 60)))]
    return [
        dice.uniform(start + KILL_MARGIN_S, min(start + 60, duration_s) - KILL_MARGIN_S)
        for start in starts_s
        if min(start + 60, duration_s) - start > 2 * KILL_MARGIN_S
    ]


class Soak:
    """One long run, watched from outside."""

    def __init__(self, root: pathlib.Path, kill_at_s: list[float], *, quick: bool) -> None:
        self.kill_at_s = kill_at_s
        self.sample_interval_s = QUICK_SAMPLE_INTERVAL_S if quick else SAMPLE_INTERVAL_S
        self.young_s = QUICK_YOUNG_S if quick else YOUNG_S
        self.shared = root / "shared"
        self.shared.write_bytes(bytes(SHARED_BYTES))
        self.trainer = zoo.Trainer(root, SCRIPT, SOAK_SHARED=str(self.shared), PYTHONWARNINGS="ignore")
        self.places = [str(self.trainer.spool), os.path.join(root, "temp", f"{self.trainer.spool.name}-overflow")]
        self.control = ControlPage.open(str(self.trainer.spool / "control"))
        self.samples: list[dict[str, Any]] = []
        self.spool_peak_bytes = 0
        self.writer_pid = 0
        self.writer_since_s = 0.0

    def play(self, duration_s: float) -> dict[str, Any]:
        """Watch, kill, stop, and count."""
        began = time.monotonic()
        kills = self.watch(began, duration_s)
        self.stop()
        elapsed_s = time.monotonic() - began
        finish_s = float(self.trainer.read_line())
        self.trainer.end(END_S)
        logged = struct.unpack_from(f"<{1 + CHILDREN}Q", self.shared.read_bytes(), 8)
        producers = count(self.trainer.run_dir / "events.jsonl", logged)
        return {
            "records": sum(logged),
            "records_per_s": sum(logged) / elapsed_s,
            "producers": producers,
            "lost": sum(each["lost"] for each in producers),
            "doubled": sum(each["doubled"] for each in producers),
            "in_order": all(each["in_order"] for each in producers),
            "kills": kills,
            "trainer": self.grown("trainer_private_bytes", 0.0),
            "writer": self.grown("writer_private_bytes", self.young_s),
            "young_s": self.young_s,
            "samples": self.samples,
            "spool_peak_bytes": self.spool_peak_bytes,
            "finish_s": finish_s,
            "status": zoo.status(self.trainer.run_dir)["status"],
            "exit_code": self.trainer.process.returncode,
        }

    def watch(self, began: float, duration_s: float) -> list[dict[str, float]]:
        """Sample until the time is up; kill the writer at its moments, and see how long none is up then."""
        kills: list[dict[str, float]] = []
        coming = list(self.kill_at_s)
        sample_at_s = 0.0
        while (now_s := time.monotonic() - began) < duration_s:
            if self.trainer.process.poll() is not None:
                raise RuntimeError(f"the trainer has ended: {self.trainer.errors.read_text()}")
            self.spool_peak_bytes = max(self.spool_peak_bytes, sum(map(sampler.allocated_bytes, self.places)))
            if self.control.writer_pid != self.writer_pid:
                self.writer_pid, self.writer_since_s = self.control.writer_pid, now_s
                if kills:
                    kills[-1]["replaced_after_s"] = now_s - kills[-1]["at_s"]
            if now_s >= sample_at_s:
                sample_at_s = now_s + self.sample_interval_s
                self.sample(now_s)
            if coming and now_s >= coming[0]:
                coming.pop(0)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.writer_pid, signal.SIGKILL)
                    kills.append({"at_s": now_s})
            zoo.PAUSE.wait(SPOOL_INTERVAL_S)
        return kills

    def sample(self, now_s: float) -> None:
        """Look at the memory of the trainer, and of the writer if one is up."""
        found = {"at_s": now_s, "trainer_private_bytes": harness.private_bytes(psutil.Process(self.trainer.process.pid))}
        with contextlib.suppress(psutil.Error):
            writer = psutil.Process(self.writer_pid)
            if writer.status() != psutil.STATUS_ZOMBIE:
                found["writer_private_bytes"] = harness.private_bytes(writer)
                found["writer_age_s"] = now_s - self.writer_since_s
        self.samples.append(found)

    def grown(self, name: str, young_s: float) -> dict[str, Any]:
        """First, last and peak of what was sampled, and its slope over the second half."""
        samples = [each for each in self.samples if name in each]
        grown_up = [each for each in samples[len(samples) // 2 :] if each.get("writer_age_s", young_s) >= young_s]
        points = [(each["at_s"] / S_PER_HOUR, each[name] / 1e6) for each in (grown_up if young_s else samples[len(samples) // 2 :])]
        return {
            "first_bytes": samples[0][name],
            "last_bytes": samples[-1][name],
            "peak_bytes": max(each[name] for each in samples),
            "slope_mb_per_hour": slope(points),
            "slope_samples": len(points),
        }

    def stop(self) -> None:
        """Have the producers stop, and the trainer finish."""
        with self.shared.open("r+b") as file:
            file.write(b"\x01")
