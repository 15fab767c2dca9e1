"""Runs that say ``running`` though nobody is left to end them: shown as lost at once, and ended when that is sure.

A run is ended only if it is this user's and of this machine, all of its locks were free at two checks some time apart,
and none of its files changed between them. Then a writer stores what the killed process has left in memory, and the
status says why: that is what ``runicorn recover`` does.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from runicorn.reading.info import LOST
from runicorn.settings import Settings
from runicorn.storage import statuses
from runicorn.viewer.presence import ask, opener_may_live, sizes

if TYPE_CHECKING:
    from runicorn.reading import RunInfo
    from runicorn.viewer.changes import RunRow, RunTable
    from runicorn.viewer.limits import Pace

_MOST_TOLD = 100
_WATCHED_FOR_S = 10.0
"""A run counts as watched for so long after a page has asked for it."""


class _Suspect(NamedTuple):
    since: float
    sizes: tuple[tuple[str, int, int], ...]


class Checker:
    """Looks at runs that are not ended; in a thread of its own once it is started.

    Args:
        table: of the runs.
        pace: how often it checks.
        ends: whether it ends lost runs; else it only shows them.

    Attributes:
        looked_at: when it has checked all runs, epoch seconds; None before.
        ended: keys of the runs that it has ended, or seen to.
        troubles: what has kept it from that, in words.
    """

    def __init__(self, table: RunTable, pace: Pace, *, ends: bool) -> None:
        self.looked_at: float | None = None
        self.ended: list[str] = []
        self.troubles: list[str] = []
        self._table = table
        self._pace = pace
        self._ends = ends
        self._suspects: dict[str, _Suspect] = {}
        self._watched: dict[str, float] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._woken = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._work, name="runicorn-viewer-checker", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop checking; the thread ends by itself."""
        self._closed = True
        self._woken.set()

    def watch(self, key: str) -> None:
        """Note that a page shows a run."""
        is_new = key not in self._watched
        self._watched[key] = time.monotonic()
        if is_new:
            self._woken.set()

    def about(self) -> dict[str, Any]:
        """What the page of problems tells of it."""
        return {
            "on": self._ends,
            "looked_at": self.looked_at,
            "ended": self.ended[-_MOST_TOLD:],
            "troubles": self.troubles[-_MOST_TOLD:],
        }

    def look(self, keys: list[str] | None = None) -> None:
        """Check some runs, or all that have not ended; end those that have been lost for long enough."""
        with self._lock:
            if keys is None:
                self._table.refresh()
                keys = [row.key for row in self._table.rows() if row.info.status in {statuses.RUNNING, LOST}]
                self.looked_at = time.time()
            for key in keys:
                row = self._table.look_again(key)
                if row is None or row.info.status != LOST or not self._ends:
                    self._suspects.pop(key, None)
                else:
                    self._suspect(row)

    def _work(self) -> None:
        next_of_all = time.monotonic()
        while not self._closed:
            now = time.monotonic()
            try:
                if now >= next_of_all:
                    next_of_all = now + self._pace.check_s
                    self.look()
                elif self._watched:
                    self._watched = {key: at for key, at in self._watched.copy().items() if now - at < _WATCHED_FOR_S}
                    self.look([key for key in self._watched.copy() if self._is_open(key)])
            except Exception as error:  # noqa: BLE001 - whatever it is, it may be gone at the next check
                self._tell(f"checking runs: {type(error).__name__}: {error}")
            self._wait(next_of_all)

    def _wait(self, until: float) -> None:
        """Wait until the next check is due; it is due at once if a page begins to show another run."""
        left_s = max(0.0, until - time.monotonic())
        if self._watched:
            time.sleep(min(self._pace.check_watched_s, left_s))
        else:
            self._woken.wait(left_s)
        self._woken.clear()

    def _is_open(self, key: str) -> bool:
        row = self._table.find(key)
        return row is not None and row.info.status in {statuses.RUNNING, LOST}

    def _suspect(self, row: RunRow) -> None:
        now, found = time.monotonic(), sizes(row.info)
        before = self._suspects.get(row.key)
        if before is None or before.sizes != found:
            self._suspects[row.key] = _Suspect(now, found)
            return
        if now - before.since < self._pace.end_after_s or not _may_be_ended(row.info):
            return
        del self._suspects[row.key]
        try:
            if _end(row.info):
                self.ended.append(row.key)
        except (OSError, ValueError, LookupError) as error:
            self._tell(f"{row.info.id}: lost, and not ended: {error}")
        self._table.look_again(row.key)

    def _tell(self, text: str) -> None:
        if text not in self.troubles[-_MOST_TOLD:]:
            self.troubles.append(text)


def _may_be_ended(info: RunInfo) -> bool:
    """Whether a lost run is one that we started here, of this user."""
    try:
        if hasattr(os, "geteuid") and os.stat(info.run_dir, follow_symlinks=False).st_uid != os.geteuid():
            return False
    except OSError:
        return False
    asked = ask(info)
    if not asked.has_pointer:  # of 0.7.2, or imported: nobody can be asked
        return False
    return asked.spool is not None or not opener_may_live(info)


def _end(info: RunInfo) -> bool:
    """Have a run stored and ended; whether anything was done."""
    from runicorn.managing.lost_runs import end_one
    from runicorn.session import adopt, writer_process

    settings = Settings.from_environment()
    asked = ask(info)
    if asked.spool is None:
        return end_one(info, settings) is not None
    for address in adopt.orphans(settings, None):
        with suppress(OSError):
            if os.path.samefile(address.run_dir, info.run_dir):
                # Another process does what `recover` does: it may take a while, and of several the lock lets one live.
                writer_process.launch(address.spool)
                return True
    return False
