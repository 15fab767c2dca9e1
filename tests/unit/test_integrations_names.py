"""Metrics of frameworks as ``log()`` takes them, and what importing adapters costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import runicorn
from runicorn.errors import MissingPackageError
from runicorn.integrations import _names, _run


class OnDevice:
    """A value on a device, of so many elements: reading it would wait for the device."""

    def __init__(self, *shape):
        self.shape = shape

    def __getitem__(self, index):
        return OnDevice()

    def item(self):
        raise AssertionError("item() waits for the device")

    __float__ = __array__ = tolist = item


def test_plain_metrics_are_handed_over_as_they_are():
    """No copy."""
    metrics = {"loss": 1.0, "epoch": 2}
    assert _names.flat(metrics) is metrics


def test_names_become_texts_with_their_prefix():
    """Names of frameworks are not always texts."""
    assert _names.flat({0: 1.0, "b": "text"}, "test/") == {"test/0": 1.0, "test/b": "text"}


def test_a_metric_with_several_elements_becomes_one_for_each():
    """Per class, or gathered from the ranks."""
    assert _names.flat({"acc": np.array([0.5, 0.25]), "one": np.array([3.0])}) == {
        "acc/0": 0.5,
        "acc/1": 0.25,
        "one": np.array([3.0]),
    }


def test_values_on_a_device_are_not_read():
    """Of one element and of several."""
    found = _names.flat({"loss": OnDevice(), "acc": OnDevice(2), "logits": OnDevice(10_000), "grid": OnDevice(2, 2)})
    assert sorted(found) == ["acc/0", "acc/1", "grid", "logits", "loss"]


def test_long_texts_are_no_metrics():
    """They go into ``logs.txt``."""
    long = "x" * 201
    assert _names.without_long_texts({"a": 1, "b": long, "c": "short"}) == ({"a": 1, "c": "short"}, [f"b: {long}"])


def test_a_missing_framework_is_told_with_the_line_that_installs_it():
    """One line, which is an ImportError as well."""
    with pytest.raises(MissingPackageError, match=r"pip install frame-work$"):
        _run.needed("framework_that_nobody_has.sub", "frame-work")


FRAMEWORKS = {
    "torch",
    "lightning",
    "pytorch_lightning",
    "transformers",
    "accelerate",
    "keras",
    "xgboost",
    "lightgbm",
    "optuna",
    "numpy",
}


def test_importing_the_package_imports_no_framework_and_none_of_our_own_modules():
    """``import runicorn`` and ``import runicorn.integrations``."""
    program = "import sys, runicorn, runicorn.integrations; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    loaded = done.stdout.split()
    assert not FRAMEWORKS & set(loaded)
    assert [name for name in loaded if name.startswith("runicorn.")] == ["runicorn.integrations"]


def test_the_docstring_names_every_adapter():
    """So that ``help(runicorn.integrations)`` is a list."""
    from runicorn import integrations

    folder = Path(runicorn.__file__).parent / "integrations"
    adapters = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    assert {name for name in adapters if f"runicorn.integrations.{name}``" in integrations.__doc__} == adapters
