"""Files and directories in the archive that have their names only once they are whole.

Each directory on the way is opened in the one above it and no link is followed, so that an archive which others can
write, or which came from elsewhere, leads nowhere else.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from runicorn.host.identity import hostname
from runicorn.storage import modes
from runicorn.storage.directory_kinds import ARCHIVE
from runicorn.storage.removal import Directory

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEFT_OVER_S = 24 * 3600.0
_TAG_DIGITS = 12


class ArchiveFiles:
    """What one run's writer makes in an archive.

    Args:
        root: the archive's directory; made when it is needed. The user may have put a link there.
        run_id: of the run, which has one writer on this host.
    """

    def __init__(self, root: str, run_id: str) -> None:
        self._root = root
        self._tag = hashlib.sha256(f"{hostname()}\0{run_id}".encode("utf-8", "surrogatepass")).hexdigest()[:_TAG_DIGITS]
        self._swept: set[tuple[str, ...]] = set()

    @contextmanager
    def open(self, *folders: str) -> Iterator[Directory]:
        """A directory of the archive, made with those above it.

        Raises:
            NotOursError: a link or a file is on the way.
            OSError: it cannot be made or opened.
        """
        modes.make_directories(self._root)
        at = Directory(self._root, ARCHIVE)
        try:
            for name in folders:
                above, at = at, at.child(name, make=True)
                above.close()
            yield at
        finally:
            at.close()

    @contextmanager
    def new_file(self, *folders: str) -> Iterator[tuple[Directory, str, BinaryIO]]:
        """A file to write into, its name and the directory that it is in; gone at the end unless it was renamed."""
        with self.open(*folders) as directory:
            self._sweep_once(folders, directory)
            temporary = self.temporary()
            try:
                with os.fdopen(directory.new_file(temporary), "w+b") as out:
                    yield directory, temporary, out
            finally:
                with suppress(OSError):
                    directory.remove(temporary)

    @contextmanager
    def new_directory(self, *folders: str) -> Iterator[tuple[Directory, str, Directory]]:
        """The same with a directory to fill."""
        with self.open(*folders) as directory:
            self._sweep_once(folders, directory)
            temporary = self.temporary()
            try:
                with directory.make_child(temporary) as fresh:
                    yield directory, temporary, fresh
            finally:
                directory.remove_tree(temporary)

    def temporary(self) -> str:
        """A name for what is not whole yet; what has ours and was there before us is of a writer that was killed."""
        return f".{self._tag}-{os.urandom(6).hex()}.new"

    def _sweep_once(self, folders: tuple[str, ...], directory: Directory) -> None:
        if folders not in self._swept:
            self._swept.add(folders)
            with suppress(OSError):
                self._sweep(directory)

    def _sweep(self, directory: Directory) -> None:
        """Remove what writers that were killed have left half written: of this run at once, of others after a day."""
        for name in directory.names():
            if not (name.startswith(".") and directory.has_shape(name)):
                continue
            status = directory.status(name)
            if status is None:
                continue
            if name.startswith(f".{self._tag}-") or time.time() - status.st_mtime > _LEFT_OVER_S:
                with suppress(OSError):
                    if stat.S_ISDIR(status.st_mode):
                        directory.remove_tree(name)
                    else:
                        directory.remove(name)


@contextmanager
def below(directory: Directory, folders: list[str]) -> Iterator[Directory]:
    """A directory below one that is being filled, made with those above it."""
    if not folders:
        yield directory
        return
    with directory.child(folders[0], make=True) as child, below(child, folders[1:]) as last:
        yield last


def is_file(directory: Directory, name: str, size_bytes: int | None = None) -> bool:
    """Whether a regular file has that name, and that size."""
    status = directory.status(name)
    return status is not None and stat.S_ISREG(status.st_mode) and size_bytes in {None, status.st_size}


def exchange(directory: Directory, fresh: str, name: str) -> None:
    """Put a directory into the place of another one, which goes.

    Raises:
        OSError: it cannot be done; the one before stays.
    """
    old = f"{fresh}.old"
    try:
        directory.put_aside(name, old)
    except FileNotFoundError:
        directory.rename(fresh, name)
        return
    try:
        directory.rename(fresh, name)
    except OSError:
        directory.rename(old, name)
        raise
    directory.remove_tree(old)
