"""A file of lines, read on as it grows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from runicorn.reading.plain_files import DamagedError, open_inside

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK_BYTES = 256 * 1024
_LONGEST_LINE_BYTES = 64 * 1024 * 1024


class FollowedFile:
    """The lines of one file of a run: first the last ones that are there, then those that come.

    A line is shown when its newline is there. A file that is missing, or cannot be read, has no lines yet; one that
    was replaced, or is shorter than before, is read from its beginning.

    Args:
        run_dir: the run's directory.
        name: of the file.
        last: how many of the lines that are there come first; None = all.
    """

    def __init__(self, run_dir: str, name: str, last: int | None) -> None:
        self.name = name
        self._run_dir = run_dir
        self._at = 0
        self._rest = b""
        self._identity: tuple[int, int] | None = None
        if last is not None:
            self._skip_to(last)

    def new_lines(self) -> Iterator[bytes]:
        """The lines that have come since the last time, without their newlines."""
        try:
            with open_inside(self._run_dir, self.name) as file:
                status = os.fstat(file.fileno())
                identity = (status.st_dev, status.st_ino)
                if self._identity not in {None, identity} or status.st_size < self._at:
                    self._at, self._rest = 0, b""
                self._identity = identity
                file.seek(self._at)
                while self._at < status.st_size and (block := file.read(_BLOCK_BYTES)):
                    self._at += len(block)
                    *lines, rest = block.split(b"\n")
                    if lines:
                        lines[0] = self._rest + lines[0]
                        self._rest = b""
                    self._rest = (self._rest + rest)[-_LONGEST_LINE_BYTES:]
                    yield from lines
        except (OSError, DamagedError):  # as one that is not there
            return

    def rest(self) -> bytes:
        """The last line without its newline, of which nothing will come any more; empty where there is none."""
        rest, self._rest = self._rest, b""
        return rest

    def _skip_to(self, last: int) -> None:
        try:
            with open_inside(self._run_dir, self.name) as file:
                status = os.fstat(file.fileno())
                self._identity = (status.st_dev, status.st_ino)
                self._at = _start_of_last(file, status.st_size, last)
        except (OSError, DamagedError):
            return


def _start_of_last(file: BinaryIO, size: int, last: int) -> int:
    """Where the last so many whole lines begin; what is behind the last newline counts as none."""
    at, wanted = size, last + 1
    while at > 0:
        begin = max(0, at - _BLOCK_BYTES)
        file.seek(begin)
        block = file.read(at - begin)
        found = block.count(b"\n")
        if found < wanted:
            wanted -= found
            at = begin
            continue
        place = len(block)
        for _ in range(wanted):
            place = block.rindex(b"\n", 0, place)
        return begin + place + 1
    return 0
