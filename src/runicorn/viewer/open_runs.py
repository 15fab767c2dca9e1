"""The runs that a page shows: their events are read on, a bounded piece at a time, and kept as columns."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from runicorn.reading import sessions
from runicorn.reading.cache import Cache
from runicorn.reading.events import EventsFile
from runicorn.reading.levels import LevelStore
from runicorn.reading.loaded import events_files
from runicorn.reading.pace import NAME
from runicorn.reading.system_file import PREFIX, SystemFile, system_files
from runicorn.storage import run_files, statuses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runicorn.reading import RunInfo
    from runicorn.reading.part import Group, Header
    from runicorn.reading.plain_files import Problem

PACE = PREFIX + NAME
"""Is worked out, and not logged."""
_AT_ONCE_BYTES = 4 * 1024**2
_MOST_OPEN = 600
"""More than one page compares: to open a run again costs more than to keep it."""
_MOST_STAGES = 1000
_BREATH_S = 0.001
"""Between two pieces others get the lock."""


class OpenRun:
    """A run whose events are read. ``lock`` is held while its columns are read, and while they grow.

    Args:
        run_dir: the run's directory.
        cache: where columns are kept.

    Attributes:
        files: its events files, in their order.
        store: the levels of its columns.
        resumed: what ``meta.json`` says of its later sessions.
        is_live: whether somebody adds to it.
    """

    def __init__(self, run_dir: str, cache: Cache) -> None:
        self.run_dir = run_dir
        self.lock = threading.RLock()
        self.files: dict[str, EventsFile] = {}
        self.store = LevelStore()
        self.resumed: list[dict[str, Any]] = []
        self.is_complete = False
        self.is_live = False
        self._cache = cache
        self._stamps: tuple[Any, ...] = ()
        self._waiting = 0
        self._staged: dict[tuple[int, int], list[tuple[int, int, str]]] = {}

    @contextmanager
    def reading(self) -> Iterator[OpenRun]:
        """Hold its lock; who reads on in the background makes room."""
        self._waiting += 1
        try:
            with self.lock:
                yield self
        finally:
            self._waiting -= 1

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for the lock, or holds it to read columns."""
        return self._waiting > 0

    def read_on(self, most_bytes: int = _AT_ONCE_BYTES) -> bool:
        """Read about so many more bytes of what has come; whether there is more."""
        with self.lock:
            stamps = self._look()
            if stamps == self._stamps and self.is_complete:
                return False
            left, is_complete = most_bytes, True
            for file in self.files.values():
                if left <= 0:
                    is_complete = False
                    break
                before = file.end
                file.read(left)
                left -= max(0, file.end - before)
                is_complete = is_complete and not file.has_more
            self.is_complete = is_complete
            self._stamps = stamps
            if is_complete and not self.is_live:  # nobody adds to it: the cache has it
                for file in self.files.values():
                    file.let_go()
            return not self.is_complete

    def _look(self) -> tuple[Any, ...]:
        """See which files there are, and where their sessions begin; what tells whether anything has changed."""
        names, machines = events_files(self.run_dir), system_files(self.run_dir)
        self.resumed = sessions.entries(self.run_dir)
        before = self.files
        self.files = {name: self.files.get(name) or EventsFile(self.run_dir, name, self._cache) for name in names}
        sessions.tell(self.files, self.resumed)
        for name in machines:
            self.files[name] = before.get(name) or SystemFile(self.run_dir, name, self._cache)
        names += machines
        return tuple((name, _stamp(os.path.join(self.run_dir, name)), tuple(self.files[name].edges)) for name in names)

    @property
    def indexed(self) -> float:
        """How much of its events was read, 0 to 1."""
        if self.is_complete:
            return 1.0
        sizes = [_stamp(os.path.join(self.run_dir, name))[2] for name in self.files]
        read = sum(file.end for file in self.files.values())
        return min(0.999, read / max(1, sum(sizes)))

    @property
    def version(self) -> str:
        """Tells whether there is more to see: the identity of its files, and how far each was read."""
        parts = []
        for file in self.files.values():
            device, inode = file.identity or (0, 0)
            parts.append(f"{device:x}-{inode:x}-{file.end:x}")
        return ".".join(parts) or "0"

    @property
    def read_bytes(self) -> int:
        """How many bytes of its events were read."""
        return sum(file.end for file in self.files.values())

    def names(self) -> list[str]:
        """The names of its metrics, sorted."""
        found = {name for file in self.files.values() for name in file.names}
        main = self.files.get(run_files.EVENTS)
        if main is not None and main.names:
            found.add(PACE)
        return sorted(found)

    def has(self, name: str) -> bool:
        """Whether it has a metric of that name."""
        return any(name in file.names for file in self.files.values()) or (name == PACE and PACE in self.names())

    def ranks(self) -> list[int]:
        """The ranks that have logged numbers."""
        return sorted({origin[1] for origin in self._origins() if origin[1] is not None})

    def producers(self) -> list[str]:
        """The processes beside the owner that have logged numbers."""
        return sorted({origin[2] for origin in self._origins() if origin[2] is not None})

    def _origins(self) -> set[Any]:
        return {origin for file in self.files.values() for header in file.headers for origin in header.origins}

    def image_count(self) -> int:
        """How many images were logged."""
        return sum(len(header.images) for file in self.files.values() for header in file.headers)

    def problems(self, *, is_live: bool) -> list[Problem]:
        """What of its events could not be read."""
        return [each for file in self.files.values() for each in file.problems(is_live=is_live)]

    def problem_count(self, *, is_live: bool) -> int:
        """How many those are, those that are not listed included."""
        return sum(file.problem_count(is_live=is_live) for file in self.files.values())

    def stages(self) -> list[dict[str, Any]]:
        """Stretches of steps of the main file that have one stage, in the order in which they begin."""
        main = self.files.get(run_files.EVENTS)
        if main is None or not any(origin[0] is not None for header in main.headers for origin in header.origins):
            return []
        found = [
            stretch for header, groups in main.bare_groups(self._staged) for stretch in self._stages_of(header, groups)
        ]
        found.sort()
        stretches: list[dict[str, Any]] = []
        for first, last, stage in found:
            if stretches and stretches[-1]["stage"] == stage:
                stretches[-1]["to"] = max(stretches[-1]["to"], last)
            elif len(stretches) < _MOST_STAGES:
                stretches.append({"stage": stage, "from": first, "to": last})
        for one, following in pairwise(stretches):
            one["to"] = max(one["from"], min(one["to"], following["from"]))
        return stretches

    def _stages_of(self, header: Header, groups: list[Group]) -> list[tuple[int, int, str]]:
        """First step, last step and stage of each stretch of lines of a part that have one; remembered."""
        place = (header.start, header.end)
        if place not in self._staged:
            self._staged = {known: each for known, each in self._staged.items() if known[0] != header.start}
            self._staged[place] = [each for group in groups for each in _stages_in(header, group)]
        return self._staged[place]


class OpenRuns:
    """Opens runs, and reads large ones on in a thread of its own.

    Args:
        cache: where columns are kept.
    """

    def __init__(self, cache: Cache | None = None) -> None:
        self._cache = Cache.of_user() if cache is None else cache
        self._open: dict[str, OpenRun] = {}
        self._lock = threading.Lock()
        self._to_read: dict[str, OpenRun] = {}
        self._woken = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def get(self, info: RunInfo) -> OpenRun:
        """A run, opened if it is not; those that were not asked for the longest are closed."""
        with self._lock:
            found = self._open.pop(info.run_dir, None) or OpenRun(info.run_dir, self._cache)
            found.is_live = is_live(info)
            self._open[info.run_dir] = found
            while len(self._open) > _MOST_OPEN:
                del self._open[next(iter(self._open))]
        return found

    def read(self, info: RunInfo) -> OpenRun:
        """A run of which about 4 MiB more were read; if there is more, that is read in the background."""
        found = self.get(info)
        with found.reading():
            has_more = found.read_on()
        if has_more:
            self._read_in_background(found)
        return found

    def read_later(self, info: RunInfo) -> OpenRun:
        """A run as far as it was read; the rest is read in the background."""
        found = self.get(info)
        if not found.is_complete:
            self._read_in_background(found)
        return found

    def _read_in_background(self, run: OpenRun) -> None:
        with self._lock:
            self._to_read[run.run_dir] = run
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="runicorn-viewer-reader", daemon=True)
                self._thread.start()
        self._woken.set()

    def _work(self) -> None:
        while not self._is_closed:
            with self._lock:
                runs = list(self._to_read.values())
            if not runs:
                self._woken.clear()
                self._woken.wait(1.0)
                continue
            for run in runs:
                if run.is_wanted:
                    time.sleep(_BREATH_S)
                if not run.read_on():
                    with self._lock:
                        self._to_read.pop(run.run_dir, None)
                time.sleep(_BREATH_S)

    def close(self) -> None:
        """End the thread."""
        self._is_closed = True
        self._woken.set()


def _stages_in(header: Header, group: Group) -> Iterator[tuple[int, int, str]]:
    at = 0
    for number, count in zip(group.origins[::2], group.origins[1::2], strict=True):
        stage = header.origins[number][0]
        if stage is not None and count:
            yield group.steps[at], group.steps[at + count - 1], stage
        at += count


def is_live(info: RunInfo) -> bool:
    """Whether the last line of a file of a run may be half written."""
    return info.status == statuses.RUNNING


def _stamp(path: str) -> tuple[int, int, int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0, 0, 0
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
