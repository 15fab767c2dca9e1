"""How a run ends: the last table of the design, as code."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runicorn.writer.records import End

if TYPE_CHECKING:
    from runicorn.writer.tally import Tally

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


def without_owner(tally: Tally, *, now: float) -> End:
    """The end of a job whose rank 0 never called ``init()``: as its ranks ended, the worst of them."""
    missing = [rank for rank in tally.ranks if rank not in tally.left]
    if missing:
        return End(now, "failed", f"{PROCESS_GONE} (rank {missing[0]})")
    worst = max(tally.left.values(), key=lambda end: _SEVERITY.index(end.status), default=None)
    if worst is None or worst.status == "finished":
        return End(now, "finished", "rank 0 never called init()")
    return End(now, worst.status, worst.reason)


_SEVERITY = ("finished", "interrupted", "failed")


def _is_marked(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except OSError:
        return False
