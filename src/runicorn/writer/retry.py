"""The files of a run as the writer reads and writes them: again and again, until it succeeds."""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from runicorn.queue.control_page import MISSING, ControlPage
from runicorn.queue.crash_points import crash_point
from runicorn.storage import last_lines, run_files
from runicorn.storage.escaping import escape
from runicorn.writer import reconcile
from runicorn.writer.assets import Assets
from runicorn.writer.run_state import RunState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runicorn.queue.blobs import Blobs
    from runicorn.storage.run_directory import RunDir
    from runicorn.writer.follow import Tail
    from runicorn.writer.plan import PlanFile


class RunFiles:
    """Every access is tried until it succeeds, and its trouble told; see ``Store``."""

    def __init__(
        self,
        run_id: str,
        run_dir: RunDir,
        names: run_files.Names,
        plan_file: PlanFile,
        tail: Tail,
        control: ControlPage,
        *,
        retry_max_s: float,
        patience: Callable[[float], bool],
        blobs: Blobs,
        opened_at: float,
    ) -> None:
        self.run_id = run_id
        self.names = names
        self.run_dir = run_dir
        self._plan_file = plan_file
        self._tail = tail
        self._control = control
        self._retry_max_s = retry_max_s
        self._patience = patience
        self._sequence = 0
        self._goes_on = False  # where another writer has stopped
        self._summary: dict[str, Any] = {}
        self._summary_changed = False
        self._set_by: dict[tuple[str, str], tuple[float, str]] = {}
        self._blobs = blobs
        self._opened_at = opened_at
        self._written_best: dict[str, Any] = {}
        self.state = RunState()
        self.assets = Assets(run_id, lambda: self.read_or_set_aside(names.assets))

    def _own_size_bytes(self, name: str) -> int:
        if name not in {self.names.logs, self.names.events} and not run_files.is_events_of_rank(name):
            return 0  # a name that no writer has put there
        return self.retry(lambda: self.run_dir.size_bytes(name))

    def _is_anything_stored_since(self, time_s: float) -> bool:
        names = (*self._own_events(), self.names.logs)
        return any(self.retry(lambda name=name: self.run_dir.changed_at(name)) > time_s for name in names)  # type: ignore[misc]

    def _rest(self, name: str, content: bytearray, size_before: int, surplus: list[str], *, whole: bool) -> memoryview:
        """What a file has not got of a batch; ``surplus`` takes its name if it has more than that."""
        fd = self.retry(lambda: self.run_dir.open_for_reading(name))
        if fd is None:
            return memoryview(content)
        try:
            there = _read_from(fd, size_before, len(content) + 1)
            if there.startswith(content) and len(there) > len(content):
                surplus.append(name)
            if content.startswith(there) or there.startswith(content):
                return memoryview(content)[len(there) :]
            if whole and name == self.names.logs:  # in another time zone, or language, text has other lines
                return memoryview(content)[len(there) :]
            lines = last_lines.lines_of(fd, os.fstat(fd).st_size, size_before)
            if name == self.names.logs:
                missing = reconcile.text_behind(content, list(lines))
            else:
                missing = reconcile.without(content, reconcile.Wanted(content).count_in(lines))
            return memoryview(reconcile.rest_of_torn(reconcile.torn_end(fd), missing))
        finally:
            os.close(fd)

    def _lines_there(self, name: str, content: bytearray, of_unknown: bytes) -> Counter[bytes]:
        wanted = reconcile.Wanted(content, of_unknown)
        found = Counter[bytes]()
        names = [name]
        if self.names.late and name != self.names.logs:
            # An earlier writer may have written into the files that a newer session has now.
            names += [each for each in self.retry(self.run_dir.names) if each.startswith("events.") and each != name]
        elif of_unknown:  # of which rank they are is not known either
            names += [each for each in self._own_events() if each != name]
        for each in names:
            with self._reading(each) as lines:
                found.update(wanted.count_in(lines))
        return found

    def _torn_end(self, name: str) -> bytes:
        fd = self.retry(lambda: self.run_dir.open_for_reading(name))
        if fd is None:
            return b""
        try:
            return reconcile.torn_end(fd)
        finally:
            os.close(fd)

    @contextmanager
    def _reading(self, name: str, start_bytes: int = 0) -> Iterator[Iterator[bytes]]:
        """The whole lines of a file, from ``start_bytes`` on; none if it is not there, or not so long."""
        fd = self.retry(lambda: self.run_dir.open_for_reading(name))
        if fd is None:
            yield iter(())
            return
        try:
            yield last_lines.lines_of(fd, os.fstat(fd).st_size, start_bytes)
        finally:
            os.close(fd)

    def _rest_beside_earlier(self, name: str, content: bytearray, sizes: dict[str, int]) -> memoryview:
        """The lines of a late batch that neither our own file has, nor one that an earlier writer has written into.

        Those have gone on by a newer session's lines, so that their lengths say nothing.
        """
        kind = os.path.splitext(name)[1]
        there = Counter[bytes]()
        for each in {name, *(planned for planned in sizes if planned.endswith(kind))}:
            there += self._lines_of(each, sizes.get(each, 0))
        self.retry(lambda: self.run_dir.end_torn_line(name))
        return memoryview(reconcile.without(content, there))

    def _lines_of(self, name: str, start_bytes: int) -> Counter[bytes]:
        fd = self.retry(lambda: self.run_dir.open_for_reading(name))
        if fd is None:
            return Counter()
        try:
            return Counter(last_lines.lines_of(fd, os.fstat(fd).st_size, start_bytes))
        finally:
            os.close(fd)

    def note(self, text: str) -> None:
        """Have something that is missing told in ``status.json``, and to the owner; once."""
        text = escape(text)
        if self._record(text):
            self._control.put_message(MISSING + text)

    def _record(self, text: str) -> bool:
        troubles = self.state.troubles
        if len(troubles) >= _MOST_TROUBLES or any(each["error"] == text and "until" not in each for each in troubles):
            return False
        troubles.append({"time": time.time(), "error": text})
        return True

    def write_assets(self) -> None:
        """Write ``assets.json`` where it has changed."""
        if self.assets.changed:
            self.retry(lambda: self.run_dir.replace(self.names.assets, self.assets.content))
            self.assets.changed = False

    def _own_events(self) -> list[str]:
        """The events files that this host's processes have written, those of earlier sessions included."""
        found = self.retry(self.run_dir.names)
        return [self.names.events, *(name for name in sorted(found) if self._is_of_our_rank(name))]

    def _is_of_our_rank(self, name: str) -> bool:
        if not run_files.is_events_of_rank(name):
            return False
        fd = self.retry(lambda: self.run_dir.open_for_reading(name))
        if fd is None:
            return False
        try:
            return last_lines.host_of(fd) == self.names.host
        finally:
            os.close(fd)

    def sync(self) -> None:
        """Make everything that was appended durable."""
        self.retry(self.run_dir.sync)

    def retry(self, action: Callable[[], _Result]) -> _Result:
        """Do something to storage until it succeeds; trouble is reported once, and recorded.

        Raises:
            GaveUpError: it has failed for so long that patience has run out.
        """
        since: float | None = None
        pause_s = _FIRST_RETRY_S
        while True:
            try:
                result = action()
            except OSError as error:
                if since is None:
                    since = time.monotonic()
                    self._report(error)
                if not self._patience(time.monotonic() - since):
                    raise GaveUpError(str(error)) from error
                self._control.beat()
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, self._retry_max_s)
            else:
                if since is not None and self.state.troubles:
                    self.state.troubles[-1]["until"] = time.time()
                while self.run_dir.kept_aside:
                    self.note(self.run_dir.kept_aside.pop())
                return result

    def _append(self, name: str, left: memoryview) -> None:
        while left:
            taken = self.retry(lambda left=left: self.run_dir.append(name, left))  # type: ignore[misc]
            crash_point("appending")
            left = left[taken:]

    def _report(self, error: OSError) -> None:
        # What fails in the run's directory is named relative to that; what fails in the spool, by its path.
        named = error.filename
        path = named if isinstance(named, str) and os.path.isabs(named) else self.run_dir.path
        text = escape(f"{error.strerror or error} ({path})")
        self._record(text)
        self._control.put_message(text)

    def read_or_set_aside(self, name: str) -> dict[str, Any]:
        """The content of a JSON file; one that cannot be read gets another name, and stays."""
        return self.retry(lambda: self.run_dir.read_or_keep_aside(name))


_Result = TypeVar("_Result")
_FIRST_RETRY_S = 0.05
_MOST_TROUBLES = 20


class GaveUpError(Exception):
    """Storing has failed for so long that nobody waits for it any more; the spool stays for a later writer."""


def _read_from(fd: int, start: int, most_bytes: int) -> bytes:
    os.lseek(fd, start, os.SEEK_SET)
    blocks = []
    while most_bytes > 0 and (block := os.read(fd, most_bytes)):
        blocks.append(block)
        most_bytes -= len(block)
    return b"".join(blocks)
