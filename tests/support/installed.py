"""Frameworks that a test needs."""

import importlib
import warnings

import pytest


def needed(name, group="frameworks"):
    """The framework; where it is missing, fail and say what to install. What it warns of when imported is its own."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError as error:
        pytest.fail(f"{error}. Install it with: pip install -e '.[cli,export]' --group {group}", pytrace=False)
