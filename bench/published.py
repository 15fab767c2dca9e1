"""The published Runicorn 0.7.2 beside ours: the same program, run by each in turn, in an interpreter of its own.

It shares the name of the package under test, so it lives in a virtual environment in the user's cache folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import harness

VERSION = "0.7.2"
OURS, THEIRS = "ours", "0.7.2"
_TIMEOUT_S = 600.0


def interpreter(*packages: str) -> str:
    """A Python that has the published package, and others; made at the first call.

    Raises:
        subprocess.CalledProcessError: it cannot be installed here.
    """
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "runicorn-bench"
    caches.mkdir(parents=True, exist_ok=True)
    name = "-".join([VERSION, *sorted(packages), f"py{sys.version_info.major}.{sys.version_info.minor}"])
    environment = caches / name
    if not (environment / "complete").is_file():
        shutil.rmtree(environment, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, f"runicorn=={VERSION}", *packages], check=True)
        (environment / "complete").touch()  # last: an environment that was left half made has none
    return str(environment / "bin" / "python")


def compare(program: str, rounds: int, arguments: list[str], *packages: str, quick: bool) -> dict[str, list[Any]]:
    """Run a program by each package in turn; what it printed, read as JSON.

    Args:
        program: source; its first argument is a storage of its own, then come ``arguments``.
        rounds: how often.
        arguments: of the program.
        *packages: what the program imports beside.
        quick: ours alone: a smoke run installs nothing.
    """
    interpreters = {OURS: sys.executable}
    if not quick:
        interpreters[THEIRS] = interpreter(*packages)
    told: dict[str, list[Any]] = {name: [] for name in interpreters}
    without_ours = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    for _ in range(rounds):
        for name, python in interpreters.items():
            with harness.storage() as root, tempfile.TemporaryDirectory() as work:
                done = subprocess.run(
                    [python, "-c", program, root, *arguments],
                    check=True,
                    capture_output=True,
                    text=True,
                    cwd=work,
                    env=without_ours if name == THEIRS else None,
                    timeout=_TIMEOUT_S,
                )
            told[name].append(json.loads(done.stdout.splitlines()[-1]))
    return told


def middle(told: list[dict[str, float]], key: str) -> float:
    """The median of one figure over the rounds."""
    return harness.median([each[key] for each in told])
