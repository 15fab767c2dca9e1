"""The directory of a run that is none: made in the temp directory when it is asked for, removed at exit if empty."""

from __future__ import annotations

import atexit
import os
import sys
import tempfile
from contextlib import suppress

from runicorn.storage import modes, removal
from runicorn.storage.directory_kinds import SCRATCH

_PREFIX = "runicorn_disabled_"

_made: list[tuple[int, str]] = []
"""The innermost directories made by this process, with its pid: a forked child leaves its parent's alone."""


def make(*parts: str) -> str:
    """Make a directory with one below it.

    Args:
        *parts: names of the directories below it, each in the one before.

    Returns:
        Its path.

    Raises:
        OSError: no temp directory can be written.
    """
    root = _make_root()
    if all(pid != os.getpid() for pid, _ in _made):
        atexit.register(_remove_empty)
        process = sys.modules.get("multiprocessing.process")
        if process is not None and process.parent_process() is not None:  # it may end past atexit
            from multiprocessing import util

            util.Finalize(None, _remove_empty, exitpriority=0)
    innermost = os.path.join(root, *parts)
    _made.append((os.getpid(), innermost))
    modes.make_directories(innermost)
    return root


def _make_root() -> str:
    try:
        root = tempfile.mkdtemp(prefix=_PREFIX)
    except FileNotFoundError:  # it was there when Python searched for it
        root = tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp" if os.path.isdir("/tmp") else os.getcwd())  # noqa: S108 - random
    modes.make_usable(root)
    return root


def _remove_empty() -> None:
    kept = []
    for pid, innermost in _made:
        if pid == os.getpid():
            left = _remove_upwards(innermost)
            if left is not None:
                kept.append(left)
    _made.clear()
    if kept and sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(f"runicorn: tracking was off; what was written into run.run_dir is in {', '.join(kept)}\n")


def _remove_upwards(directory: str) -> str | None:
    """Remove empty directories up to the one that we made first; that one if it stays."""
    while True:
        with suppress(OSError), removal.parent_of(directory, SCRATCH) as (parent, name):
            parent.remove_empty(name)  # unless something is in it, or it has gone
        if os.path.basename(directory).startswith(_PREFIX):
            return directory if os.path.isdir(directory) else None
        directory = os.path.dirname(directory)
