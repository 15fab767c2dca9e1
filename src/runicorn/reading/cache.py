"""A folder of files that can be made again: written beside and renamed, bounded, and gone at any moment.

::

    <cache directory>/runicorn-cache-<uid>/     this user's alone; nothing else in it is read or removed
        columns-1/<file>/<from>-<to>.part       numbers of an events file
        index-1/<32 hex>.msgpack                what is known of a storage's runs

Nobody is told when a file goes: who does not find one makes it again. So there are no locks, and
the folder may be removed while it is used.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from runicorn.storage import directory_kinds, modes, plain_json, removal
from runicorn.storage.removal import Directory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    _Found = tuple[float, int, tuple[str, ...]]

DIRECTORY, MOST_BYTES = "RUNICORN_CACHE_DIR", "RUNICORN_CACHE_MAX_BYTES"
_MOST_BYTES = 2 * 1024**3
_LOOK_AFTER_BYTES = 64 * 1024**2
_TEMPORARY = ".new-"
_OWN_FOLDER = f"runicorn-cache-{os.geteuid() if hasattr(os, 'geteuid') else 0}"
_FOLDER = re.compile(r"(?:columns|index)-[0-9]+|[0-9a-f]+-[0-9a-f]+-[0-9a-f]{32}")
_DEPTH = 2
_ABANDONED_S = 3600.0


class Cache:
    """The cache of this user.

    Args:
        directory: where its folder is, or is made; None = nothing is kept.
        most_bytes: how large it may become.
    """

    def __init__(self, directory: str | None, most_bytes: int = _MOST_BYTES) -> None:
        self.directory = directory
        self.most_bytes = most_bytes
        self._unlooked_bytes: int | None = None

    @classmethod
    def of_user(cls) -> Cache:
        """The folder and bound that the environment gives, else those of the platform."""
        given = os.environ.get(MOST_BYTES, "")
        return cls(_directory(), int(given) if given.isdecimal() else _MOST_BYTES)

    def path(self, *names: str) -> str | None:
        """Where a file of that name is, or would be; None where nothing is kept."""
        return None if self.directory is None else os.path.join(self.directory, _OWN_FOLDER, *names)

    def read(self, *names: str) -> bytes | None:
        """A file's content; None where there is none. It counts as used."""
        path = self.path(*names)
        if path is None:
            return None
        try:
            with os.fdopen(plain_json.open_regular(path), "rb") as file:
                if os.fstat(file.fileno()).st_size > self.most_bytes:  # not one that was kept here
                    return None
                content = file.read()
        except (OSError, plain_json.UnfitFileError):
            return None
        touch(path)
        return content

    def write(self, pieces: Sequence[bytes | memoryview], *names: str) -> bool:
        """Keep a file, whole or not at all; False where it cannot be kept, and nobody minds."""
        path = self.path(*names)
        size = sum(len(piece) if isinstance(piece, bytes) else piece.nbytes for piece in pieces)
        if path is None or size > self.most_bytes:
            return False
        self._make_room(size)
        try:
            with self._open(*names[:-1], make=True) as folder:
                _write(folder, names[-1], pieces)
        except OSError:
            return False
        return True

    def _open(self, *folders: str, make: bool = False) -> Directory:
        """The folder, or one below it, each opened in the one above it.

        Raises:
            OSError: it is not there, or is not this user's alone.
        """
        if make:
            modes.make_directories(self.directory or "", 0o700)
            with suppress(FileExistsError):
                modes.make_directory(self.path() or "", 0o700)
        at = Directory(self.path() or "", directory_kinds.CACHE)
        for name in folders:
            with at:
                at = at.child(name, make=make)
        return at

    def _make_room(self, size: int) -> None:
        """Remove what was used longest ago; called when this process begins to write, and then now and again."""
        if self._unlooked_bytes is not None and self._unlooked_bytes + size < min(
            _LOOK_AFTER_BYTES, self.most_bytes // 8
        ):
            self._unlooked_bytes += size
            return
        self._unlooked_bytes = size
        found: list[_Found] = []
        with suppress(OSError), self._open() as top:
            _collect(top, (), found.append)
        left = sum(size for _, size, _ in found) + size
        for used_at, file_bytes, names in sorted(found):
            abandoned = _TEMPORARY in names[-1] and time.time() - used_at > _ABANDONED_S
            if left > self.most_bytes or abandoned:
                left -= file_bytes
                self._remove(names)

    def _remove(self, names: tuple[str, ...]) -> None:
        with suppress(OSError), self._open(*names[:-1]) as folder:
            folder.remove(names[-1])
        if names[1:]:
            with suppress(OSError), self._open(*names[:-2]) as above:  # the last of its folder
                above.remove_empty(names[-2])


def _write(folder: Directory, name: str, pieces: Sequence[bytes | memoryview]) -> None:
    """Write a file whole, or not at all.

    Raises:
        OSError: it cannot be written; nothing is left.
    """
    temporary = f"{name}{_TEMPORARY}{os.getpid():x}-{os.urandom(4).hex()}"
    try:
        fd = folder.new_file(temporary, 0o600)
        try:
            for piece in pieces:
                left = memoryview(piece).cast("B")
                while left:
                    left = left[os.write(fd, left) :]
        finally:
            os.close(fd)
        folder.replace(temporary, name)
    except OSError:
        with suppress(OSError):
            folder.remove(temporary)
        raise


def _collect(folder: Directory, above: tuple[str, ...], found: Callable[[_Found], None]) -> None:
    """Every file of the cache in a folder and below it: when it was used, its size, its name from the top."""
    for name in folder.names():
        with suppress(OSError):
            status = folder.status(name)
            if status is None:
                continue
            names = (*above, name)
            if stat.S_ISREG(status.st_mode) and folder.has_shape(name):
                found((status.st_mtime, status.st_size, names))
            elif stat.S_ISDIR(status.st_mode) and len(above) < _DEPTH and _FOLDER.fullmatch(name):
                with folder.child(name) as below:
                    _collect(below, names, found)


def touch(path: str) -> None:
    """Note that a file was used: that is its modification time."""
    with suppress(OSError):
        os.utime(path)


def remove(path: str) -> None:
    """Remove a file that nobody will read again."""
    with suppress(OSError), removal.parent_of(path, directory_kinds.CACHE) as (folder, name):
        folder.remove(name)


def _directory() -> str | None:
    given = os.environ.get(DIRECTORY)
    if given is not None:
        return os.path.abspath(os.path.expanduser(given)) if given else None
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~")
        return os.path.join(local, "Runicorn", "Cache")
    if os.environ.get("XDG_CACHE_HOME"):
        return os.path.join(os.environ["XDG_CACHE_HOME"], "runicorn")
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Caches/runicorn")
    return os.path.expanduser("~/.cache/runicorn")
