"""The programs of ``docs/integrations.md``, run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import events, text_of

import runicorn as rn

pytestmark = pytest.mark.timeout(240)
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "integrations.md").read_text(encoding="utf-8")
RUN_HERE, NOT_RUN_HERE = PAGE.split("## Not run here")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
PROGRAMS = {
    section.partition("\n")[0]: block for section in RUN_HERE.split("\n## ") for block in BLOCK.findall(section)
}
EXPECTED = {
    "Lightning and Fabric": {"boring/one"},
    "Transformers and TRL": {"gpt2-tiny"},
    "Accelerate": {"my-project"},
    "Keras 3": {"keras/one"},
    "XGBoost": {"trees/xgboost"},
    "LightGBM": {"trees/lightgbm"},
    "Optuna": {"search/study", "search/trials"},
    "Ray Tune": {"search"},
    "Hydra": {"hydra/one"},
    "Ignite": {"ignite/one"},
    "Python's logging": {"logging/one"},
    "TensorBoard's SummaryWriter": {"runs/exp1"},
    "scikit-learn": {"sklearn/grid"},
    "A loop of JAX": {"jax/one"},
}
BEFORE = {
    "Hydra": "import sys; del sys.argv[1]\n",
    "Ray Tune": """
import ray, sys
ray.init(
    address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False,
    object_store_memory=80 * 2**20, _node_ip_address="127.0.0.1", _temp_dir=sys.argv[2],
)
""",
}


@pytest.mark.parametrize("section", EXPECTED)
def test_a_program_of_the_page_makes_its_runs(section, start_program, storage, short_directory):
    """And all of them are finished, with what was logged."""
    process = start_program(BEFORE.get(section, "") + PROGRAMS[section], *[short_directory] * (section == "Ray Tune"))
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, out + err
    assert "runicorn:" not in err
    assert "Runicorn" not in err
    runs = rn.runs(storage=str(storage))
    assert {run.path for run in runs} == EXPECTED[section]
    assert {run.status for run in runs} == {"finished"}
    for run in runs:
        assert run.path == "search/trials" or events(run.run_dir) or "a line" in text_of(run)


def test_every_program_of_the_page_is_run():
    """None is added without its test."""
    assert PROGRAMS.keys() == EXPECTED.keys()


def test_what_is_not_run_is_python_at_least():
    """It says so itself, and can be parsed."""
    blocks = BLOCK.findall(NOT_RUN_HERE)
    assert len(blocks) == 3
    for block in blocks:
        compile(block, "docs/integrations.md", "exec")


def test_every_call_that_the_page_names_is_there():
    """In the column of what to write instead of another tracker's calls."""
    table = PAGE.partition("## Coming from another tracker")[2]
    ours = " ".join(line.split("|")[2] for line in table.splitlines() if line.startswith("| ") and "---" not in line)
    for owner, name in re.findall(r"\b(run|rn)\.(\w+)\(", ours):
        assert callable(getattr(rn.Run if owner == "run" else rn, name))
    assert {"log", "log_config", "summary"} <= {name for _, name in re.findall(r"\b(run|rn)\.(\w+)\(", ours)}
