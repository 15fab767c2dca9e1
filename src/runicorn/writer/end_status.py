"""How a run ends: the last table of the design, as code."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runicorn.queue.records import End
from runicorn.storage import statuses

if TYPE_CHECKING:
    from runicorn.writer.run_state import RunState

PROCESS_GONE = "process gone"
KILLED = f"killed by signal {getattr(signal, 'SIGKILL', 9):d}"
_MARK = b"(most recent call first)"
"""What faulthandler writes first; other bytes are damage, or somebody else's."""
_MARK_WITHIN_BYTES = 4096


def without_end(*, now: float, sigterm_mark: Mark, writer_got_sigterm: bool, exit_code: int | None) -> End:
    """The end of a run whose owner is gone and has not said why.

    Args:
        now: wall clock, epoch seconds.
        sigterm_mark: what a SIGTERM that ended the owner has left.
        writer_got_sigterm: the writer was sent SIGTERM before: a scheduler ends the job, us included.
        exit_code: of the owner, or minus the number of the signal that killed it; None = nobody can tell.
    """
    if writer_got_sigterm or sigterm_mark.is_set():
        return End(now, "interrupted", "SIGTERM")
    return End(now, "failed", PROCESS_GONE) if exit_code is None else End(now, *of_exit_code(exit_code))


def corrected(end: End, exit_code: int | None) -> End:
    """What ``atexit`` has told, with what the process's exit code says about it; the more telling reason is kept."""
    if not end.provisional or exit_code is None:
        return end
    status, reason = of_exit_code(exit_code)
    if end.status == status or (end.status == "interrupted" and exit_code):
        reason = end.reason if exit_code else None
        status = end.status
    return End(end.time, status, reason)


def of_exit_code(exit_code: int) -> tuple[str, str | None]:
    """Status and reason of a run whose process has ended so: its exit code, or minus the number of a signal."""
    if exit_code == 0:
        return "finished", None
    if exit_code > 0:
        return "failed", f"exit code {exit_code}"
    name = _INTERRUPTIONS.get(-exit_code)
    return ("interrupted", name) if name else ("failed", f"killed by signal {-exit_code}")


_INTERRUPTIONS: dict[int, str] = {signal.SIGINT: "SIGINT", signal.SIGTERM: "SIGTERM"}


def document(end: End, state: RunState, before: dict[str, Any], opened_at: float) -> dict[str, Any]:
    """The content of ``status.json`` of a run that has ended.

    Args:
        end: how it has ended.
        state: what the writer knows of this session.
        before: the content so far.
        opened_at: when this session began, epoch seconds.
    """
    status: dict[str, Any] = {"status": end.status}
    status["started_at"] = before.get("started_at", opened_at)
    status["ended_at"] = end.time
    if end.reason:
        status["exit_reason"] = end.reason
    last_step = max(
        (step for step in (before.get("last_step"), state.last_step) if isinstance(step, int)), default=None
    )
    if last_step is not None:
        status["last_step"] = last_step
    if state.dropped_records:
        status["lost_records"] = state.dropped_records
    if state.missing_values:
        status["lost_values"] = state.missing_values
    if state.damaged_bytes:
        status["damaged_bytes"] = state.damaged_bytes
    if state.troubles:
        status["storage_errors"] = state.troubles
    if state.remarks:
        status["remarks"] = state.remarks
    statuses.add_earlier_sessions(status, before)
    return status


def without_owner(state: RunState, *, now: float) -> End:
    """The end of a job whose rank 0 never called ``init()``: as its ranks ended, the worst of them."""
    missing = [rank for rank in state.ranks if rank not in state.left]
    if missing:
        return End(now, "failed", f"{PROCESS_GONE} (rank {missing[0]})")
    worst = max(state.left.values(), key=lambda end: _SEVERITY.index(end.status), default=None)
    if worst is None or worst.status == "finished":
        return End(now, "finished", "rank 0 never called init()")
    return End(now, worst.status, worst.reason)


_SEVERITY = ("finished", "interrupted", "failed")


class Mark:
    """The mark that a SIGTERM leaves, held open: somebody may remove its name before it is made.

    Args:
        path: of its file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        with suppress(OSError):
            self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0))

    def is_set(self) -> bool:
        """Whether it is there, in the file that was opened or in the one that has its name now."""
        with suppress(OSError):
            if self._fd >= 0 and _MARK in os.pread(self._fd, _MARK_WITHIN_BYTES, 0):
                return True
        with suppress(OSError), open(self._path, "rb") as file:
            return _MARK in file.read(_MARK_WITHIN_BYTES)
        return False

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
