"""The bytes of images that a run has."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from runicorn.reading import plain_files

if TYPE_CHECKING:
    from runicorn.reading import LoadedRun

_MOST_IMAGE_BYTES = 256 * 1024 * 1024
_ENDING = re.compile(r"\.[A-Za-z0-9]{1,10}")


def ending_of(path: str | None) -> str:
    """The ending of an image's name, such as ``.png``; nothing if it has none that says a format."""
    ending = os.path.splitext(path or "")[1]
    return ending if _ENDING.fullmatch(ending) else ""


def content_of(run: LoadedRun, path: str | None) -> bytes:
    """The bytes of an image's file; none if it cannot be read."""
    if path is None:
        return b""
    try:
        with plain_files.open_inside(run.info.run_dir, path) as opened:
            return opened.read(min(os.fstat(opened.fileno()).st_size, _MOST_IMAGE_BYTES))
    except (OSError, plain_files.DamagedError):
        return b""
