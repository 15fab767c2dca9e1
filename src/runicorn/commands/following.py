"""A file of lines, read on as it grows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runicorn.reading.long_lines import LONGEST_TEXT_BYTES, LineReader, start_of_last
from runicorn.reading.plain_files import DamagedError, open_inside

if TYPE_CHECKING:
    from collections.abc import Iterator


class FollowedFile:
    """The lines of one file of a run: first the last ones that are there, then those that come.

    A line is shown when its newline is there. A file that is missing, or cannot be read, has no lines yet; one that
    was replaced, or is shorter than before, is read from its beginning.

    Args:
        run_dir: the run's directory.
        name: of the file.
        last: how many of the lines that are there come first; None = all.
        longest_bytes: of a line; what a longer one has beyond that is left out.
    """

    def __init__(self, run_dir: str, name: str, last: int | None, longest_bytes: int = LONGEST_TEXT_BYTES) -> None:
        self.name = name
        self._run_dir = run_dir
        self._reader = LineReader(longest_bytes)
        self._identity: tuple[int, int] | None = None
        if last is not None:
            self._skip_to(last)

    def new_lines(self) -> Iterator[bytes]:
        """The lines that have come since the last time, without their newlines."""
        try:
            with open_inside(self._run_dir, self.name) as file:
                status = os.fstat(file.fileno())
                identity = (status.st_dev, status.st_ino)
                if self._identity not in {None, identity} or status.st_size < self._reader.at:
                    self._reader.restart()
                self._identity = identity
                yield from self._reader.lines(file, status.st_size)
        except (OSError, DamagedError):  # as one that is not there
            return

    def rest(self) -> bytes:
        """The last line without its newline, of which nothing will come any more; empty where there is none."""
        return self._reader.rest()

    def _skip_to(self, last: int) -> None:
        try:
            with open_inside(self._run_dir, self.name) as file:
                status = os.fstat(file.fileno())
                self._identity = (status.st_dev, status.st_ino)
                self._reader.restart(start_of_last(file, status.st_size, last))
        except (OSError, DamagedError):
            return
