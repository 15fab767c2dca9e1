"""The directories in which runs are made before they get their place, and how those that were left are known again.

A directory's name goes into a list before the directory is made, so one that is not in the list is not ours. Of one
that is, only the files go that a run consists of: what somebody else has put there stays, and so does the directory.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from runicorn.storage import directory_kinds, modes, plain_json, run_files

if TYPE_CHECKING:
    from runicorn.storage.removal import Directory

LIST = "made-here"
_HEAD = b"Directories that runicorn import has made beside this file, and may remove:"
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_MOST_BYTES = 1 << 26


class StagingFolder:
    """Makes and removes directories, while this process alone may import into a storage.

    Args:
        folder: the open directory that they are in.
    """

    def __init__(self, folder: Directory) -> None:
        self._folder = folder
        self._name = ""

    def make(self) -> str:
        """Make an empty directory; its name. It is the last one in the list, unless something has that name still.

        Raises:
            OSError: it cannot be made.
        """
        self._name = self._name or (self._names() or [""])[-1]
        if not self._name or self._folder.status(self._name) is not None:
            name = os.urandom(8).hex()
            self._note(name)
            self._name = name
        modes.make_directory(self._folder.name(self._name), at=self._folder.fd)
        return self._name

    def remove(self, name: str) -> None:
        """Remove a directory that ``make()`` has made: the files of its run, and itself if it is empty then."""
        with suppress(OSError):
            with self._folder.child(name, directory_kinds.IMPORTED) as run:
                with suppress(OSError):
                    with run.child(run_files.MEDIA) as media:
                        media.remove_all()
                    run.remove_empty(run_files.MEDIA)
                run.remove_all()
            self._folder.remove_empty(name)

    def remove_left(self) -> None:
        """Remove what imports that were killed have left.

        Raises:
            OSError: the folder cannot be read.
        """
        there = set(self._folder.names())
        for name in self._names():
            if name in there:
                self.remove(name)

    def _names(self) -> list[str]:
        """The names in the list that are whole."""
        names = [line.decode("ascii", "replace") for line in self._lines() or ()]
        return [name for name in names if self._folder.has_shape(name)]

    def _note(self, name: str) -> None:
        """Put a name into the list; not into a file of that name which is no list of ours."""
        lines = self._lines()
        if lines is None:
            return
        fd = modes.open_file(self._folder.name(LIST), _APPEND, 0o600, at=self._folder.fd)
        try:
            # Behind a newline: a killed import may have cut the line before it.
            os.write(fd, b"\n".join([b"" if lines else _HEAD, name.encode(), b""]))
        finally:
            os.close(fd)

    def _lines(self) -> list[bytes] | None:
        """The lines of the list, none if it is not there yet; None if what has its name is something else."""
        try:
            fd = plain_json.open_regular(self._folder.name(LIST), dir_fd=self._folder.fd)
        except FileNotFoundError:
            return []
        except plain_json.UnfitFileError:
            return None
        with os.fdopen(fd, "rb") as file:
            lines = file.read(_MOST_BYTES).splitlines()
        return lines if lines[:1] in ([], [_HEAD]) else None
