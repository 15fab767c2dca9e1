"""How far something is, on the terminal of who waits for it."""

from __future__ import annotations

import sys
import time
from typing import Any

_SHOWN_AFTER_S, _EVERY_S = 1.0, 0.2


class Progress:
    """Shown on stderr where that is a terminal, after a second; by rich where it is installed.

    Args:
        label: what is being written.
        total: how many there will be; None = not known.
    """

    def __init__(self, label: str, total: int | None) -> None:
        self._label = label
        self._total = total
        self._done = 0
        self._is_wanted = sys.stderr.isatty()
        self._next_at = time.monotonic() + _SHOWN_AFTER_S
        self._bar: Any = None
        self._is_plain = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._is_plain:
            sys.stderr.write("\n")

    def advance(self, count: int) -> None:
        """Some more are done."""
        self._done += count
        if not self._is_wanted or time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + _EVERY_S
        if self._bar is None and not self._is_plain:
            self._bar = _rich_bar(self._label, self._total)
            self._is_plain = self._bar is None
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self._done)
        else:
            of = "" if self._total is None else f" of {self._total:,}"
            sys.stderr.write(f"\r{self._label}: {self._done:,}{of}")
            sys.stderr.flush()


def _rich_bar(label: str, total: int | None) -> Any:
    try:
        from rich import progress
        from rich.console import Console
        from rich.markup import escape
    except ImportError:
        return None
    columns = (progress.TextColumn(escape(label)), progress.BarColumn(), progress.TextColumn("{task.completed:,}"))
    bar = progress.Progress(*columns, progress.TimeElapsedColumn(), console=Console(stderr=True), transient=True)
    bar.add_task("", total=total)
    bar.start()
    return bar
