"""The programs of ``docs/integrations.md``, run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import runicorn as rn

pytestmark = pytest.mark.timeout(240)
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "integrations.md").read_text(encoding="utf-8")
PROGRAMS = {
    re.search(r"runicorn\.integrations\.(\w+)", text).group(1): text
    for text in re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
}
EXPECTED = {
    "lightning": {"boring/one"},
    "transformers": {"gpt2-tiny"},
    "accelerate": {"my-project"},
    "keras": {"keras/one"},
    "xgboost": {"trees/xgboost"},
    "lightgbm": {"trees/lightgbm"},
    "optuna": {"search/study", "search/trials"},
    "tensorboard": {"runs/exp1"},
}


@pytest.mark.parametrize("adapter", EXPECTED)
def test_a_program_of_the_page_makes_its_runs(adapter, start_program, storage):
    """And all of them are finished, with what was logged."""
    process = start_program(PROGRAMS[adapter])
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, out + err
    assert "runicorn" not in err
    runs = rn.runs(storage=str(storage))
    assert {run.path for run in runs} == EXPECTED[adapter]
    assert {run.status for run in runs} == {"finished"}


def test_every_program_of_the_page_is_run():
    """None is added without its test."""
    assert PROGRAMS.keys() == EXPECTED.keys()
