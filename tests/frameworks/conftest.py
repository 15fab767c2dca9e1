"""The frameworks of the dependency group ``frameworks``, on the CPU, and without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import runicorn

os.environ.update(
    {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false"}
)
os.environ.setdefault("KERAS_BACKEND", "torch")

SOURCES, TESTS = Path(runicorn.__file__).parents[1], Path(__file__).parents[1]
LIMIT_S = 200
"""Importing torch takes seconds, and each rank does it."""


@pytest.fixture(autouse=True)
def storage_of_own(monkeypatch, storage, tmp_path):
    """Adapters open their runs here, and frameworks write their files beside it."""
    monkeypatch.setenv("RUNICORN_DIR", str(storage))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def torchrun(tmp_path, storage):
    """Run a program in two ranks to its good end; it is given the storage as ``sys.argv[1]``."""

    def run(source):
        program = tmp_path / "program.py"
        program.write_text(source, encoding="utf-8")
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(program)]
        process = subprocess.Popen(
            [*command, str(storage)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (SOURCES, TESTS)))},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,
        )
        try:
            out, _ = process.communicate(timeout=LIMIT_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, 9)
                process.communicate()
        assert process.returncode == 0, out
        return out

    return run


@pytest.fixture
def short_directory():
    """Ray puts sockets into its directory, whose path may have a hundred characters."""
    directory = tempfile.mkdtemp(dir="/tmp")
    yield directory
    shutil.rmtree(directory, ignore_errors=True)
