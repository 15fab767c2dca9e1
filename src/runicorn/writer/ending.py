"""How a run ends: the last table of the design, as code."""

from __future__ import annotations

import os

from runicorn.writer.records import End

PROCESS_GONE = "process gone"


def without_goodbye(*, now: float, sigterm_mark: str, writer_got_sigterm: bool) -> End:
    """The end of a run whose owner is gone and has not said why.

    Args:
        now: wall clock, epoch seconds.
        sigterm_mark: path of the file where a SIGTERM that ended the owner has left its mark.
        writer_got_sigterm: the writer was sent SIGTERM before: a scheduler ends the job, us included.
    """
    if writer_got_sigterm or _is_marked(sigterm_mark):
        return End(now, "interrupted", "SIGTERM")
    return End(now, "failed", PROCESS_GONE)


def _is_marked(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except OSError:
        return False
