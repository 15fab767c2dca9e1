"""What tracking a run has cost, from what the writer knows anyway: nothing is added to ``log()`` for it."""

from __future__ import annotations

import time

import msgspec

KEY = "runicorn"
"""Where it stands in ``summary.json``."""

_MOST_BYTES = 1 << 48
"""No spool has as much: beyond, the control page is damaged."""


class Overhead(msgspec.Struct):
    """Part of the ``RunState``, so that a writer that follows another one counts on.

    Attributes:
        cpu_s: CPU seconds of the writers of this session, threads included.
        largest_backlog_bytes: the most room that the spool has taken, in whole segments.
    """

    cpu_s: float = 0.0
    largest_backlog_bytes: int = 0


class OverheadMeter:
    """Measures this process for an ``Overhead``; in a training process that stores by itself all of its threads count.

    Args:
        overhead: as the writer before has left it.
        own_process: this process does nothing else, so its start counts too.
    """

    def __init__(self, overhead: Overhead, *, own_process: bool) -> None:
        self._before_s = overhead.cpu_s - (0.0 if own_process else time.process_time())

    def read(self, overhead: Overhead, spooled_bytes: int) -> None:
        """Bring it up to date."""
        overhead.cpu_s = self._before_s + time.process_time()
        if spooled_bytes < _MOST_BYTES:
            overhead.largest_backlog_bytes = max(overhead.largest_backlog_bytes, spooled_bytes)
