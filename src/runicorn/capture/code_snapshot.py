"""The archive of the workspace: the same files give the same bytes.

The files were listed by the process that trains, some time ago. So each is checked again: what is no regular file
any more, or is reached through a symlink now, is not read.
"""

from __future__ import annotations

import os
import stat
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_BLOCK_BYTES = 1 << 20
_EARLIEST = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | _CLOEXEC
_STEPWISE = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")


class Zipped(msgspec.Struct, frozen=True):
    """What an archive holds.

    Attributes:
        count: number of files.
        total_bytes: of their contents.
        missing: paths that were listed and are not there as a whole: gone, unreadable, or no file any more.
    """

    count: int
    total_bytes: int
    missing: list[str]


def write_zip(
    root: str,
    files: Iterable[tuple[str, int]],
    out: BinaryIO,
    progress: Callable[[int], None] | None = None,
) -> Zipped:
    """Write the files of a workspace as a zip archive, in order of their paths.

    A file is stored with the length that it has when it is opened, which may be another one than was listed. What
    cannot be read is no error but missing, and that is everything where the root itself has gone; of a file whose
    reading fails half-way the archive holds the first half.

    Args:
        root: directory of the workspace.
        files: paths relative to it, with ``/``, and sizes in bytes.
        out: where the archive is written; it stays open.
        progress: is told how many bytes were read, block by block.

    Raises:
        OSError: the archive cannot be written; what ``out`` holds is none then.
    """
    count = total = 0
    missing = []
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, _Workspace(root) as workspace:
        for path, _ in sorted(files):
            with workspace.opened(path) as (fd, found):
                if fd is None or found is None:
                    missing.append(path)
                    continue
                stored = 0
                with archive.open(_entry(path, found), "w") as entry:
                    for block in _blocks(fd, found.st_size):
                        entry.write(block)
                        stored += len(block)
                        if progress is not None:
                            progress(len(block))
                if stored < found.st_size:
                    missing.append(path)
                count += 1
                total += stored
    return Zipped(count, total, missing)


def _entry(path: str, found: os.stat_result) -> zipfile.ZipInfo:
    """What the archive says of a file: nothing that differs between two copies of it."""
    entry = zipfile.ZipInfo(path, _EARLIEST)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = _UNIX
    mode = 0o755 if found.st_mode & stat.S_IXUSR else 0o644
    entry.external_attr = (stat.S_IFREG | mode) << 16
    # From this it is known whether the entry needs 64 bit.
    entry.file_size = found.st_size
    return entry


def _blocks(fd: int, size: int) -> Iterator[bytes]:
    """The content up to a size, so that a log that grows faster than we read has an end."""
    while size > 0:
        try:
            block = os.read(fd, min(size, _BLOCK_BYTES))
        except OSError:
            return
        if not block:
            return
        size -= len(block)
        yield block


class _Workspace:
    """Opens files below a root without following a symlink, and keeps the directories of the last one open."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._open: list[tuple[str, int]] = []

    def __enter__(self) -> _Workspace:
        return self

    def __exit__(self, *_: object) -> None:
        self._close_from(0)

    @contextmanager
    def opened(self, path: str) -> Iterator[tuple[int | None, os.stat_result | None]]:
        """A descriptor of a regular file and what it is; None twice where there is none."""
        fd = None
        found = None
        try:
            fd = self._open_file(path)
            found = os.fstat(fd)
        except (OSError, ValueError):  # the second for a name that no system takes
            found = None
        try:
            yield (fd, found) if found is not None and stat.S_ISREG(found.st_mode) else (None, None)
        finally:
            if fd is not None:
                os.close(fd)

    def _open_file(self, path: str) -> int:
        *directories, name = path.split("/")
        if not {"", ".", ".."}.isdisjoint((*directories, name)):
            raise ValueError(path)
        if not _STEPWISE:
            return self._open_checked(path)
        if not self._open:
            self._open.append(("", os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | _CLOEXEC)))
        known = 1
        while known <= len(directories) and known < len(self._open) and self._open[known][0] == directories[known - 1]:
            known += 1
        self._close_from(known)
        for directory in directories[known - 1 :]:
            flags = os.O_RDONLY | os.O_DIRECTORY | _NO_FOLLOW
            self._open.append((directory, os.open(directory, flags, dir_fd=self._open[-1][1])))
        return os.open(name, os.O_RDONLY | _NO_FOLLOW, dir_fd=self._open[-1][1])

    def _open_checked(self, path: str) -> int:
        """Where directories cannot be opened: what the system resolves the path to is the path itself."""
        real = os.path.realpath(self._root)
        at = os.path.join(real, *path.split("/"))
        if os.path.realpath(at) != at or not stat.S_ISREG(os.lstat(at).st_mode):
            raise ValueError(path)
        return os.open(at, os.O_RDONLY | _NO_FOLLOW)

    def _close_from(self, index: int) -> None:
        while len(self._open) > index:
            os.close(self._open.pop()[1])
