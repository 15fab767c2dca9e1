"""A run directory that fails on demand, for tests and the chaos benchmark where the real fault cannot be made.

``RUNICORN_STORAGE_FAULT`` names a file. While it exists, what the writer does to storage fails as its text says:
an errno's name (``ENOSPC``, ``EROFS``, ``EIO``), ``once`` behind it removes the file at the first failure;
``block`` holds every call until the file is gone, as a hanging disk does.
"""

from __future__ import annotations

import errno
import os
import time
from typing import Any

from runicorn.storage import directory_kinds, removal
from runicorn.storage.run_directory import RunDir

VARIABLE = "RUNICORN_STORAGE_FAULT"
_POLL_S = 0.005


class FaultyRunDir(RunDir):
    """The same seam as ``RunDir``."""

    def append(self, name: str, data: memoryview) -> int:
        """Append, or fail."""
        _fail()
        return super().append(name, data)

    def replace(self, name: str, content: dict[str, Any], *, sync: bool = True) -> None:
        """Replace, or fail."""
        _fail()
        super().replace(name, content, sync=sync)

    def write_media(self, path: str, content: bytes) -> None:
        """Write, or fail."""
        _fail()
        super().write_media(path, content)

    def link(self, name: str, source: str) -> None:
        """Link, or fail."""
        _fail()
        super().link(name, source)

    def sync(self) -> None:
        """Sync, or fail."""
        _fail()
        super().sync()


def _fail() -> None:
    path = os.environ[VARIABLE]
    text = _read(path)
    while text == ["block"]:
        time.sleep(_POLL_S)
        text = _read(path)
    if not text:
        return
    if text[1:] == ["once"]:
        with removal.parent_of(path, directory_kinds.FAULTS) as (directory, name):
            directory.remove(name)
    number = getattr(errno, text[0])
    raise OSError(number, f"{os.strerror(number)} (made by {VARIABLE})")


def _read(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().split()
    except FileNotFoundError:
        return []
