"""The published viewer, ready to start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from published_viewer import installed_viewer

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def viewer_python() -> Path:
    """Return the Python of the environment that holds the published package."""
    return installed_viewer()
