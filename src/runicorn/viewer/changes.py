"""The table of runs, with a version for each row, so that a page is told only what has changed."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any

from runicorn.reading.info import LOST
from runicorn.storage import statuses
from runicorn.viewer.presence import is_here, last_data_at, seen
from runicorn.viewer.scan import Scan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runicorn.reading import RunInfo

COLUMNS = (
    *("key", "id", "storage", "path", "alias", "status", "reason", "here", "created_at", "started_at", "ended_at"),
    *("duration_s", "last_data_at", "hostname", "pid", "last_step", "best_metric_name", "best_metric_value"),
    *("best_metric_step", "best_metric_mode", "tags", "notes", "group", "parent", "resumed", "damaged"),
)
_FRESH_S = 0.5
_MOST_REMOVED = 10_000
_KEY = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_NO_KEYS = {".", "..", "columns", "delete", "deleted", "restore", "tags"}
"""What stands where the key of a run would, in an address of the interface."""


class RunRow:
    """A run in the table.

    Attributes:
        key: that addresses it.
        info: what is known of it.
        cells: what a page is told, but for what changes with the clock alone.
        version: of the table when it has changed last.
    """

    def __init__(self, key: str, info: RunInfo, cells: dict[str, Any], version: int) -> None:
        self.key = key
        self.info = info
        self.cells = cells
        self.version = version

    def document(self, now: float) -> dict[str, Any]:
        """Its cells as they are now."""
        started, ended = self.info.started_at, self.info.ended_at
        duration_s = self.info.duration_s
        if self.info.status == statuses.RUNNING and started is not None and ended is None:
            duration_s = max(0.0, now - started)
        return {**self.cells, "duration_s": duration_s}


class RunTable:
    """The runs of some storages. May be used by several threads.

    Args:
        storages: their roots.
    """

    def __init__(self, storages: Iterable[str]) -> None:
        self.storages = list(storages)
        self._scans = [Scan(storage) for storage in self.storages]
        self._epoch = secrets.token_hex(4)
        self._version = 0
        self._rows: dict[str, RunRow] = {}
        self._keys: dict[str, str] = {}
        self._removed: dict[str, int] = {}
        self._lock = threading.Lock()
        self._looked_at = -_FRESH_S

    @property
    def version(self) -> str:
        """Of the table; any other text than one that it had means nothing."""
        return f"{self._epoch}.{self._version}"

    def refresh(self, oldest_s: float = _FRESH_S) -> None:
        """Look at the storages, if that was not done within so many seconds."""
        with self._lock:
            if time.monotonic() - self._looked_at >= oldest_s:
                self._refresh()
                self._looked_at = time.monotonic()

    def rows(self) -> list[RunRow]:
        """All rows, newest first."""
        with self._lock:
            rows = list(self._rows.values())
        return sorted(rows, key=lambda row: (row.info.created_at or 0.0, row.info.id), reverse=True)

    def find(self, key: str) -> RunRow | None:
        """The run of a key; searched in the storages if the table has none."""
        if key not in self._rows:
            self.refresh()
        return self._rows.get(key)

    def look_again(self, key: str) -> RunRow | None:
        """Read one run anew; None if it is not there any more."""
        row = self._rows.get(key)
        if row is None:
            return None
        info = seen(row.info, read_again=True)
        with self._lock:
            if info is None:
                self._remove(key)
                return None
            self._put(key, info, row.cells["storage"])
            return self._rows[key]

    def changed(self, key: str) -> RunRow | None:
        """Read one run anew after a change that was made here, so that no later look brings back what it was."""
        with self._lock:
            row = self._rows.get(key)
            if row is None:
                return None
            number = row.cells["storage"]
            stored = self._scans[number].read(row.info.run_dir)
            info = seen(stored) if stored is not None else None
            if info is None:
                self._remove(key)
                return None
            self._put(key, info, number)
            return self._rows[key]

    def since(self, version: str | None) -> tuple[list[RunRow], list[str], bool]:
        """Rows that have changed since a version, keys that have gone, and whether that is everything there is."""
        epoch, _, number = (version or "").partition(".")
        if epoch != self._epoch or not number.isdecimal() or len(number) > 18 or int(number) > self._version:
            return self.rows(), [], True
        since = int(number)
        with self._lock:
            if self._removed and since < min(self._removed.values()) and len(self._removed) >= _MOST_REMOVED:
                since = -1
            removed = [key for key, gone in self._removed.items() if gone > since]
        if since < 0:
            return self.rows(), [], True
        return [row for row in self.rows() if row.version > since], removed, False

    def _refresh(self) -> None:
        there = set()
        for number in range(len(self.storages)):
            for stored in self._scans[number].infos():
                key = self._key_of(stored, number)
                there.add(key)
                info = seen(stored) if stored.status == statuses.RUNNING else stored
                self._put(key, info or stored, number)
        for key in [key for key in self._rows if key not in there]:
            self._remove(key)

    def _put(self, key: str, info: RunInfo, storage: int) -> None:
        before = self._rows.get(key)
        if before is not None and before.info is info:
            return
        cells = _cells(key, info, storage)
        if before is not None and before.cells == cells:
            before.info = info
            return
        self._version += 1
        self._removed.pop(key, None)
        self._rows[key] = RunRow(key, info, cells, self._version)

    def _remove(self, key: str) -> None:
        row = self._rows.pop(key, None)
        if row is not None:
            self._keys.pop(row.info.run_dir, None)
            self._version += 1
            self._removed[key] = self._version
            while len(self._removed) > _MOST_REMOVED:
                del self._removed[next(iter(self._removed))]

    def _key_of(self, info: RunInfo, storage: int) -> str:
        key = self._keys.get(info.run_dir)
        if key is None:
            key = next(each for each in _candidates(info, storage) if each not in self._rows)
            self._keys[info.run_dir] = key
        return key


def plain_key(info: RunInfo) -> str:
    """The key of a run that has its id alone: text that stands in an address as it is."""
    if _KEY.fullmatch(info.id) and info.id not in _NO_KEYS:
        return info.id
    return "x-" + hashlib.sha256(os.fsencode(info.run_dir)).hexdigest()[:16]


def _candidates(info: RunInfo, storage: int) -> Iterator[str]:
    """Keys for a run, each of which may be taken."""
    name = plain_key(info)
    yield name
    yield f"{name}~{storage}"
    number = 2
    while True:
        yield f"{name}~{storage}.{number}"
        number += 1


def _cells(key: str, info: RunInfo, storage: int) -> dict[str, Any]:
    cells: dict[str, Any] = {name: getattr(info, name, None) for name in COLUMNS}
    is_open = info.status in {statuses.RUNNING, LOST}
    cells.update(
        key=key,
        storage=storage,
        reason=info.exit_reason,
        here=is_here(info) if is_open else True,
        last_data_at=last_data_at(info) if is_open or info.ended_at is None else info.ended_at,
        duration_s=None,
    )
    return cells


def columns(rows: list[RunRow], now: float) -> dict[str, list[Any]]:
    """Rows as columns."""
    documents = [row.document(now) for row in rows]
    return {name: [document[name] for document in documents] for name in COLUMNS}
