"""The pidfd that a run's owner hands to the writer that it starts. Both load this module, so it is short."""

from __future__ import annotations

import os
import sys

HANDED_FD = 3
"""The descriptor of the owner's pidfd in a writer that the owner has started."""

HANDED, NOT_HANDED = "owner", "-"


def open_own() -> int:
    """A pidfd of this process, to hand to the writer; -1 if the system has none."""
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return -1
    try:
        return os.pidfd_open(os.getpid())
    except OSError:
        return -1
