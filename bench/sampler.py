"""Watch a run from outside, so that the watching costs the trainer nothing but a core now and then.

``throughput.py`` starts it. It samples until its standard input is closed, then prints the peaks as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys

import harness
import psutil

INTERVAL_S = 0.02
MOST_SAMPLES = 60_000


def main(trainer_pid: int, writer_pid: int, directories: list[str]) -> None:
    """Sample until standard input is closed."""
    trainer, writer = psutil.Process(trainer_pid), psutil.Process(writer_pid)
    peaks = {
        "samples": 0,
        "trainer_peak_private_bytes": 0,
        "writer_peak_rss_bytes": 0,
        "spool_peak_bytes": 0,
        "writer_cpu_s": 0.0,
    }
    print("ready", flush=True)
    for _ in range(MOST_SAMPLES):
        peaks["samples"] += 1
        sample(peaks, trainer, writer, directories)
        if select.select([sys.stdin], [], [], INTERVAL_S)[0]:
            break
    print(json.dumps(peaks), flush=True)


def sample(peaks: dict, trainer: psutil.Process, writer: psutil.Process, directories: list[str]) -> None:
    """Look once."""
    keep_highest(peaks, "trainer_peak_private_bytes", harness.private_bytes(trainer))
    keep_highest(peaks, "spool_peak_bytes", sum(map(allocated_bytes, directories)))
    with contextlib.suppress(psutil.Error):  # it is gone by the time that finish() returns
        keep_highest(peaks, "writer_peak_rss_bytes", writer.memory_info().rss)
        times = writer.cpu_times()
        keep_highest(peaks, "writer_cpu_s", times.user + times.system)


def keep_highest(peaks: dict, name: str, value: float) -> None:
    """Keep the highest value seen."""
    peaks[name] = max(peaks[name], value)


def allocated_bytes(directory: str) -> int:
    """Give the space that a directory's files take up; 0 where it is not there."""
    total = 0
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
