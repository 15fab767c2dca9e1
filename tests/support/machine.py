"""Helpers for tests of the machine's samples: programs that wait for samples, and a stand-in for a GPU driver."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from support import json_lines

PROLOGUE = """
import os, sys, time
import runicorn as rn

storage = sys.argv[1]


def burn(seconds):
    begun = time.process_time()
    while time.process_time() - begun < seconds:
        sum(range(1000))


def sampled(run, count=1):
    path = run.run_dir / "system.jsonl"
    for _ in range(6000):
        if path.exists() and path.read_bytes().count(b"\\n") >= count:
            return
        time.sleep(0.01)
    raise SystemExit("no sample")
"""


def samples(run_dir: Any, name: str = "system.jsonl") -> list[dict[str, Any]]:
    """The lines of a run's file of samples."""
    return json_lines(run_dir, name)


def the_run(storage: Path) -> Path:
    """The directory of the only run of a storage."""
    (run_dir,) = (path.parent for path in storage.rglob("meta.json"))
    return run_dir


def stand_in_driver(directory: Path, *flags: str) -> Path:
    """Compile the stand-in for NVIDIA's library into a directory for ``LD_LIBRARY_PATH``."""
    directory.mkdir(exist_ok=True)
    source, library = Path(__file__).parent / "nvml_stand_in.c", directory / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", *flags, "-o", library, source], check=True, timeout=100)
    return directory
