"""The pidfd of a run's owner that it hands to the writer which it starts; loaded by both, so it is short."""

from __future__ import annotations

import os
import sys

HANDED_FD = 3
"""Where a writer that its run's owner has started finds the owner's pidfd."""

HANDED, NOT_HANDED = "owner", "-"


def open_own() -> int:
    """A pidfd of this process, to hand to the writer; -1 if there is none to be had."""
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return -1
    try:
        return os.pidfd_open(os.getpid())
    except OSError:
        return -1
