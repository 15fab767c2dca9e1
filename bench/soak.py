"""Does anything grow, get lost or fall behind when a run goes on for long and its writer dies every minute?

Four producers, the trainer and three children that it has forked, log 20,000 records a second in total, paced. Once a
minute, at a moment that the seed gives, the writer is killed by SIGKILL; the trainer's next call starts another. From
outside, the memory of the trainer and of the writer that serves just then is sampled every few seconds, and the spool
more often. At the end every line is read: each record must be there once, and in order for its producer.
"""

from __future__ import annotations

import contextlib
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
import support
from support import trainers

from runicorn.queue.control_page import ControlPage

if TYPE_CHECKING:
    import argparse

RECORDS_PER_S = 20_000
CHILDREN = 3
MINUTES, QUICK_MINUTES = 10.0, 5 / 60
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
            while trainers.STARTED:
                trainers.STARTED.pop().close()
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
        self.trainer = trainers.Trainer(root, SCRIPT, SOAK_SHARED=str(self.shared), PYTHONWARNINGS="ignore")
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
            "status": support.status(self.trainer.run_dir)["status"],
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
            support.PAUSE.wait(SPOOL_INTERVAL_S)
        return kills

    def sample(self, now_s: float) -> None:
        """Look at the memory of the trainer, and of the writer if one is up."""
        trainer = psutil.Process(self.trainer.process.pid)
        found = {"at_s": now_s, "trainer_private_bytes": harness.private_bytes(trainer)}
        with contextlib.suppress(psutil.Error):
            writer = psutil.Process(self.writer_pid)
            if writer.status() != psutil.STATUS_ZOMBIE:
                found["writer_private_bytes"] = harness.private_bytes(writer)
                found["writer_age_s"] = now_s - self.writer_since_s
                found["writer_since_s"] = self.writer_since_s
        self.samples.append(found)

    def grown(self, name: str, young_s: float) -> dict[str, Any]:
        """First, last and peak of what was sampled, and its slope over the second half."""
        samples = [each for each in self.samples if name in each]
        grown_up = [each for each in samples[len(samples) // 2 :] if each.get("writer_age_s", 0.0) >= young_s]
        lives: dict[float, list[tuple[float, float]]] = {}
        for each in grown_up:
            life = each.get("writer_since_s", 0.0) if young_s else 0.0
            lives.setdefault(life, []).append((each["at_s"] / S_PER_HOUR, each[name] / 1e6))
        return {
            "first_bytes": samples[0][name],
            "last_bytes": samples[-1][name],
            "peak_bytes": max(each[name] for each in samples),
            "slope_mb_per_hour": slope(list(lives.values())),
            "slope_samples": len(grown_up),
        }

    def stop(self) -> None:
        """Have the producers stop, and the trainer finish."""
        with self.shared.open("r+b") as file:
            file.write(b"\x01")


def slope(lives: list[list[tuple[float, float]]]) -> float:
    """Least squares of lines with one slope and an offset for each life; 0 where there are too few points."""
    products = spread = 0.0
    for points in lives:
        mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
        products += sum((x - mean_x) * (y - mean_y) for x, y in points)
        spread += sum((x - mean_x) ** 2 for x, _ in points)
    return products / spread if spread else 0.0


def count(events: pathlib.Path, logged: tuple[int, ...]) -> list[dict[str, Any]]:
    """Read every line, and tell for each producer what of its records is there."""
    decode = msgspec.json.Decoder(_Line).decode
    # A producer stops in its last call or after it: there is room for one more than have returned.
    seen = [bytearray(most + 2) for most in logged]
    stored, before, disorder, strange = ([0] * len(logged) for _ in range(4))
    with events.open("rb") as file:
        for line in file:
            data = decode(line).data
            i, producer = data.i, data.producer
            stored[producer] += 1
            if i != before[producer] + 1:
                disorder[producer] += i <= before[producer]
            before[producer] = i
            if 1 <= i < len(seen[producer]):
                seen[producer][i] = min(seen[producer][i] + 1, 255)
            else:
                strange[producer] += 1
    return [
        {
            "name": f"child {producer}" if producer else "trainer",
            "logged": most,
            "stored": stored[producer],
            "lost": seen[producer][1 : most + 1].count(0),
            "doubled": stored[producer] - (len(seen[producer]) - seen[producer].count(0)) + strange[producer],
            "in_order": disorder[producer] == 0,
        }
        for producer, most in enumerate(logged)
    ]


def tabulate(figures: dict[str, Any]) -> list[harness.Table]:
    """Make a table of records, one of memory, one of the rest."""
    return [_records(figures), _memory(figures), _rest(figures)]


def _records(figures: dict[str, Any]) -> harness.Table:
    rows = [
        [
            each["name"],
            *(f"{each[name]:,}" for name in ("logged", "stored", "lost", "doubled")),
            "yes" if each["in_order"] else "NO",
        ]
        for each in figures["producers"]
    ]
    stored = sum(each["stored"] for each in figures["producers"])
    rows.append(
        [
            "all",
            *(f"{number:,}" for number in (figures["records"], stored, figures["lost"], figures["doubled"])),
            "yes" if figures["in_order"] else "NO",
        ]
    )
    good = not figures["lost"] and not figures["doubled"] and figures["in_order"]
    return harness.Table(
        title=f"{figures['minutes']:.3g} minutes, {len(figures['kills'])} writers killed",
        columns=["producer", "logged", "stored", "lost", "doubled", "in order"],
        rows=rows,
        note=f"Targets: nothing lost, nothing doubled, in order: {'met' if good else 'missed'}. "
        f"{figures['records_per_s']:,.0f} records a second of {figures['target_records_per_s']:,} wanted; "
        f"seed {figures['seed']}.",
    )


def _memory(figures: dict[str, Any]) -> harness.Table:
    rows = [
        [
            name,
            *(f"{figures[name][size] / MIB:.1f}" for size in ("first_bytes", "last_bytes", "peak_bytes")),
            f"{figures[name]['slope_mb_per_hour']:+.2f}",
            str(figures[name]["slope_samples"]),
        ]
        for name in ("trainer", "writer")
    ]
    return harness.Table(
        title="Resident memory that is not shared, MiB",
        columns=["", "first", "last", "peak", "slope, MB/h", "samples of the slope"],
        rows=rows,
        note="The slope is by least squares over the second half. The writer is another one after each kill: its "
        "slope is the one within their lives, and the first "
        f"{figures['young_s']:g} s of each, while it catches up, are left out.",
    )


def _rest(figures: dict[str, Any]) -> harness.Table:
    replaced_s = [kill["replaced_after_s"] for kill in figures["kills"] if "replaced_after_s" in kill]
    rows = [
        ["largest spool, MiB", f"{figures['spool_peak_bytes'] / MIB:.1f}"],
        ["longest time without a writer, s", f"{max(replaced_s):.2f}" if replaced_s else "none was killed"],
        ["finish(), s", f"{figures['finish_s']:.2f}"],
        ["status", figures["status"]],
        ["exit code of the trainer", str(figures["exit_code"])],
        ["left in the spool's places", str(figures["leftovers"])],
    ]
    return harness.Table(title="The spool and the end", columns=["", "value"], rows=rows)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add those of this benchmark."""
    parser.add_argument("--minutes", type=float, help=f"how long ({MINUTES:g})")
    parser.add_argument("--seed", type=int, help="of the moments of the kills (random; it is printed)")


if __name__ == "__main__":
    harness.Bench(
        question="Does anything grow, get lost or fall behind while a run goes on and its writers die?",
        measure=measure,
        tabulate=tabulate,
        add_arguments=add_arguments,
    ).main()
