"""Which runs have the same content, by its hash; they are read when somebody asks, for a while at a time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from runicorn.storage import run_files
from runicorn.viewer.kept_assets import entries_of, name_of_entry, sha256_of, stamp_of_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runicorn.viewer.changes import RunRow

READ_S = 0.5
_MOST_LISTED = 50
_MOST_ENTRIES = 5000
_SHORT = 200

Content = tuple[str, str, str]
"""Hash, kind and name."""


class ContentUsers:
    """What the runs of a viewer have kept, by its hash. May be used by several threads."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Any, list[Content]]] = {}
        self._lock = threading.Lock()

    def read(self, rows: Iterable[RunRow], most_s: float = READ_S) -> int:
        """Read runs that were not read, or have changed, for so many seconds at most; how many are left."""
        until = time.monotonic() + most_s
        left = 0
        with self._lock:
            for row in rows:
                run_dir = row.info.run_dir
                if time.monotonic() > until:
                    left += run_dir not in self._known
                    continue
                stamp = stamp_of_file(run_dir, run_files.ASSETS)
                if self._known.get(run_dir, (None,))[0] != stamp:
                    self._known[run_dir] = stamp, [] if stamp is None else _contents(run_dir)
        return left

    def others(self, rows: list[RunRow], own: RunRow, hashes: set[str]) -> dict[str, dict[str, Any]]:
        """Of each hash how many other runs have it, and some of them: key, and what it is there."""
        found: dict[str, dict[str, Any]] = {each: {"count": 0, "runs": []} for each in hashes}
        for row in rows:
            _, contents = self._known.get(row.info.run_dir, (None, []))
            if row.key == own.key or not contents:
                continue
            for sha256, (kind, name) in {sha256: (kind, name) for sha256, kind, name in reversed(contents)}.items():
                users = found.get(sha256)
                if users is None:
                    continue
                users["count"] += 1
                if len(users["runs"]) < _MOST_LISTED:
                    alias = row.cells.get("alias")
                    users["runs"].append({"key": row.key, "alias": alias, "kind": kind, "name": name})
        return found


def _contents(run_dir: str) -> list[Content]:
    found: list[Content] = []
    for kind, entry in entries_of(run_dir):
        sha256 = sha256_of(entry)
        if sha256 is not None and len(found) < _MOST_ENTRIES:
            found.append((sha256, kind, name_of_entry(entry, kind)[:_SHORT]))
    return found
