"""What ``finish()`` shows while it waits, and how long that is."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runicorn.queue.control_page import ControlPage

_SILENT_S = 1.0
_PROGRESS_EVERY_S = 0.5


class Deadline:
    """When a wait is given up."""

    def __init__(self, timeout_s: float) -> None:
        self._at = time.monotonic() + timeout_s if timeout_s else float("inf")

    def left_s(self) -> float:
        """How long it may still take; infinite if it may take for ever."""
        return self._at - time.monotonic()


class WaitNotice:
    """Silent for a second; then says what is waited for, on stderr, in one line on a terminal."""

    def __init__(self, control: ControlPage, deadline: Deadline) -> None:
        self._control = control
        self._deadline = deadline
        self._next_s = time.monotonic() + _SILENT_S
        self._shown = False

    def show(self, trouble: str = "") -> None:
        """Say it, if it is time to.

        Args:
            trouble: what is in the way, in words.
        """
        now = time.monotonic()
        if now < self._next_s:
            return
        self._next_s = now + _PROGRESS_EVERY_S
        terminal = _is_terminal()
        if self._shown and not terminal:
            return
        left_s = self._deadline.left_s()
        limit = "" if left_s == float("inf") else f", for {left_s:.0f} s at most"
        task = f"; {doing}" if (doing := self._control.task) else ""
        text = (
            f"runicorn: waiting until everything is stored{limit}: {self._control.stored_records:,} records are "
            f"stored, up to {self._control.spooled_bytes / 1e6:.1f} MB are not yet{task}{trouble} "
            "(Ctrl-C stops the waiting, not the storing)"
        )
        self._write(f"\r\x1b[K{text}" if terminal else f"{text}\n")
        self._shown = True

    def clear(self) -> None:
        """Take the line away again."""
        if self._shown and _is_terminal():
            self._write("\r\x1b[K")

    @staticmethod
    def _write(text: str) -> Any:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):  # closed, or none: then nobody is to be told
            return


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False
