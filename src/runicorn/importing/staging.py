"""The directories in which runs are made before they get their place, and the list of their names.

A name goes into the list before its directory is made, so a directory that is not in the list is not ours. Of a
directory in the list, only the files of a run are removed. If it has other files, they stay, and so does the directory.
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
    """Makes and removes directories. No other process may import into the storage meanwhile.

    Args:
        folder: the open directory that they are in.
    """

    def __init__(self, folder: Directory) -> None:
        self._folder = folder
        self._name = ""

    def make(self) -> str:
        """Make an empty directory; its name. It uses the last name of the list again if that is free.

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
        """Remove a directory that ``make()`` has made: the files of its run, and then itself if it is empty."""
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
        """The names in the list, without those that were cut."""
        names = [line.decode("ascii", "replace") for line in self._lines() or ()]
        return [name for name in names if self._folder.has_shape(name)]

    def _note(self, name: str) -> None:
        """Add a name to the list. If the file is not a list of ours, it stays as it is."""
        lines = self._lines()
        if lines is None:
            return
        fd = modes.open_file(self._folder.name(LIST), _APPEND, 0o600, at=self._folder.fd)
        try:
            # It begins with a newline, because a killed import may have cut the line before it.
            os.write(fd, b"\n".join([b"" if lines else _HEAD, name.encode(), b""]))
        finally:
            os.close(fd)

    def _lines(self) -> list[bytes] | None:
        """The lines of the list; empty if there is no list yet, None if the file is not a list of ours."""
        try:
            fd = plain_json.open_regular(self._folder.name(LIST), dir_fd=self._folder.fd)
        except FileNotFoundError:
            return []
        except plain_json.UnfitFileError:
            return None
        with os.fdopen(fd, "rb") as file:
            lines = file.read(_MOST_BYTES).splitlines()
        return lines if lines[:1] in ([], [_HEAD]) else None
