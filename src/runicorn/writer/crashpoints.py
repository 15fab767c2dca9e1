"""Named moments at which a test can have the writer die: ``RUNICORN_CRASH_AT=<moment>[:<n-th time>]``.

The death is SIGKILL, so nothing is cleaned up; without the variable a moment costs one comparison.
"""

from __future__ import annotations

import os
import signal

_moment, _, _count = os.environ.get("RUNICORN_CRASH_AT", "").partition(":")
_left = int(_count or 1)


def crash_point(moment: str) -> None:
    """Die here, if this is the moment."""
    global _left  # noqa: PLW0603 - counts down over the process's life
    if moment != _moment:
        return
    _left -= 1
    if _left <= 0:
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
