"""The samples of other trackers made anew by their own packages, and compared as the committed ones are.

``RUNICORN_PEERS`` names a directory with an environment for each tracker: ``tensorboard/bin/python``, ``wandb/...`` and
so on. Run by hand, ``pytest tests/peers``: these packages take more than 1 GB.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.peers, pytest.mark.timeout(400)]

TESTS = Path(__file__).resolve().parents[1] / "importing"
PEERS = os.environ.get("RUNICORN_PEERS", "")
TRACKERS = ["tensorboard", "wandb", "mlflow", "trackio", "swanlab", "sacred", "dvclive", "frameworks"]
LONGEST_S = 300


@pytest.mark.parametrize("tracker", TRACKERS)
def test_samples_made_now_equal_what_their_own_reader_returns(tracker, tmp_path):
    """A tracker's package writes its sample again, and the tests of the samples read that one."""
    python = Path(PEERS, tracker, "bin", "python")
    if not PEERS or not python.exists():
        pytest.skip(f"no environment of {tracker} in RUNICORN_PEERS")
    samples = tmp_path / "samples"
    shutil.copytree(TESTS / "samples", samples)
    shutil.rmtree(samples / tracker)
    subprocess.run([python, samples / f"make_{tracker}.py"], check=True, timeout=LONGEST_S, cwd=tmp_path)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-k", tracker]
    tests = [TESTS / "test_import_samples.py", TESTS / "test_import_others.py"]
    environment = {**os.environ, "RUNICORN_SAMPLES": str(samples)}
    subprocess.run([*command, *tests], check=True, timeout=LONGEST_S, env=environment)
