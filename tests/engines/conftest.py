"""The engines that the tests need, from the dependency group ``engines``, and time for their imports."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

# The published viewer, and what its tests know of it.
sys.path.append(str(Path(__file__).resolve().parents[1] / "integration"))

LIMIT_S = 200
"""Importing torch takes seconds, and each spawned worker does it."""


@pytest.fixture
def run_engine(start_program):
    """Run a program that needs an engine to its good end; where the engine is missing, fail and say what to install."""

    def run(engine, source, *arguments):
        if importlib.util.find_spec(engine) is None:
            pytest.fail(f"{engine} is not installed. Install it with: pip install -e '.[cli,export]' --group engines")
        process = start_program(source, *arguments)
        out, err = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, f"exit code {process.returncode}: {out}{err}"
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run
