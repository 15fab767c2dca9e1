"""The runs of a storage, scanned again and again: what has not changed costs one check of its directory, or none.

A file that appears, or is replaced, changes the time of its directory; a run's JSON files are replaced. So a directory
whose time is the same has the same files in it. Runs that go on are read each time; and now and then everything is
read anew, for what other programs write in place, and for layouts of earlier versions.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from runicorn.reading.cache import Cache
from runicorn.reading.directories import location_of
from runicorn.reading.index import Index
from runicorn.reading.info import RECYCLE, RunInfo, read_info
from runicorn.storage import paths, statuses

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALL_S = 120.0
_SETTLED_NS = 2_000_000_000
"""A directory may change again within the clock tick of its time: a younger one is read again."""
_AT_ONCE = 1000


class Scan:
    """The runs of one storage.

    Args:
        storage: its root.
    """

    def __init__(self, storage: str) -> None:
        self._storage = storage
        self._infos: dict[str, RunInfo] = {}
        self._times: dict[str, int] = {}
        self._folders: dict[str, int] = {}
        self._below: dict[str, set[str]] = {}
        self._turn = 0
        self._all_at = -_ALL_S

    def infos(self) -> list[RunInfo]:
        """Every run; the status is that of its file."""
        if time.monotonic() - self._all_at >= _ALL_S:
            self._look_at_all()
        else:
            self._look_at_folders()
            self._look_at_runs()
        return list(self._infos.values())

    def read(self, run_dir: str) -> RunInfo | None:
        """One run that is known, read anew; None if it is not there any more."""
        if run_dir in self._infos:
            self._read(run_dir)
        return self._infos.get(run_dir)

    def _look_at_all(self) -> None:
        self._all_at = time.monotonic()
        before = time.time_ns()
        self._infos = {info.run_dir: info for info in Index(self._storage, Cache.of_user()).infos(recycled=False)}
        self._times = {run_dir: _time_of(run_dir, before) for run_dir in self._infos}
        self._folders, self._below = {}, {}
        for run_dir in self._infos:
            self._note(run_dir)
        top = os.path.join(self._storage, paths.RUNS)
        if not os.path.islink(top):
            self._look_into(top)

    def _look_at_folders(self) -> None:
        for folder in list(self._folders):
            known = self._folders.get(folder)  # None: the folder above it has gone, or has another one of that name
            if known is not None and known != _time_of(folder, 0):
                del self._folders[folder]
                self._look_into(folder)

    def _look_into(self, folder: str) -> None:
        """Find the runs in a folder, and in those below it that were not searched."""
        run_dir = location_of(folder, "")
        top = os.path.join(self._storage, paths.RUNS)
        if run_dir is not None and folder != top:  # it was being made
            self._read(folder)
            return
        self._folders[folder] = _time_of(folder, time.time_ns())
        self._note(folder)
        there = set()
        for name in _directories(folder):
            path = os.path.join(folder, name)
            there.add(path)
            if path not in self._infos and path not in self._folders:
                self._look_into(path)
        for path in self._below.get(folder, set()) - there:
            self._forget(path)

    def _look_at_runs(self) -> None:
        ended = [run_dir for run_dir, info in self._infos.items() if info.status != statuses.RUNNING]
        live = [run_dir for run_dir, info in self._infos.items() if info.status == statuses.RUNNING]
        if len(ended) > _AT_ONCE:
            begin = self._turn % len(ended)
            self._turn = begin + _AT_ONCE
            ended = ended[begin : begin + _AT_ONCE]
        for run_dir in (*live, *ended):
            info = self._infos.get(run_dir)  # None: it was in one that has gone
            if info is not None and (
                info.status == statuses.RUNNING or self._times.get(run_dir) != _time_of(run_dir, 0)
            ):
                self._read(run_dir)

    def _read(self, run_dir: str) -> None:
        self._times[run_dir] = _time_of(run_dir, time.time_ns())
        location = location_of(run_dir, "")
        if location is None:
            self._forget(run_dir)
            return
        known = self._infos.get(run_dir)
        path = os.path.relpath(os.path.dirname(run_dir), os.path.join(self._storage, paths.RUNS))
        folder_path = known.path if known is not None else "" if path == os.curdir else path.replace(os.sep, "/")
        self._infos[run_dir] = read_info(run_dir, self._storage, folder_path)
        self._note(run_dir)

    def _note(self, path: str) -> None:
        """Know a run or a folder by the folder that it is in."""
        self._below.setdefault(os.path.dirname(path), set()).add(path)

    def _forget(self, path: str) -> None:
        for known in (self._infos, self._times, self._folders):
            known.pop(path, None)
        self._below.get(os.path.dirname(path), set()).discard(path)
        for below in self._below.pop(path, set()):
            self._forget(below)


def _directories(folder: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            yield from [each.name for each in entries if each.is_dir(follow_symlinks=False) and each.name != RECYCLE]
    except OSError:
        return


def _time_of(path: str, now_ns: int) -> int:
    """The time of a directory; as if it had none where it may change once more within a tick of the clock.

    Args:
        path: of it.
        now_ns: when the scan began; 0 = now.
    """
    try:
        found = os.stat(path, follow_symlinks=False).st_mtime_ns
    except OSError:
        return -2
    return -1 if now_ns and found > now_ns - _SETTLED_NS else found
