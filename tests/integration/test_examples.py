"""The programs in ``docs/examples``, run as they stand there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


@pytest.fixture
def run_example(tmp_path):
    """Run an example in a directory of its own, and return what it has printed; it warns of nothing."""

    def run(name):
        done = subprocess.run(
            [sys.executable, "-W", "error", str(EXAMPLES / name)],
            cwd=tmp_path,
            env={**os.environ, "RUNICORN_DIR": str(tmp_path / "storage")},
            text=True,
            capture_output=True,
            timeout=100,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


def test_each_example_has_a_test():
    """No example is here without a test below that names it."""
    tests = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES.iterdir() if f'"{path.name}"' not in tests] == []


def test_a_first_run_is_read_back(run_example):
    """The second example prints status, best metric and the values that the first one has logged."""
    run_example("first_run.py")
    newest, loss, *stages = run_example("read_back.py").splitlines()
    assert newest.split()[1:] == ["finished", "val_acc", str(1 - 1 / 300)]
    assert loss == f"300 values, the last one {1 / 300} at step 300"
    assert stages == [f"epoch_{n} {1 / (100 * n)}" for n in (1, 2, 3)]


def test_steps_go_on_in_a_resumed_run(run_example):
    """Ten steps and one more in a second session are eleven."""
    assert run_example("resume.py") == "the last step is 11\n"


def test_workers_log_into_one_run(run_example):
    """Each of three workers has logged its 100 values."""
    printed = run_example("workers.py")
    assert json.loads(printed.replace("'", '"')) == {f"loss/{number}": 100 for number in range(3)}


def test_switched_off_stores_nothing(run_example):
    """While tracking is switched off no run is stored."""
    assert run_example("switched_off.py") == "stored: []\n"
