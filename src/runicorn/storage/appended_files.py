"""Open the files of a run that only grow: regular files, by a name that nobody else has, and by no link."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from runicorn.storage import modes
from runicorn.storage.removal import NotOursError

if TYPE_CHECKING:
    from collections.abc import Callable

    from runicorn.storage.removal import Directory

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT
_FLAGS |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_NO_FILE = {errno.ELOOP, errno.EMLINK, errno.EISDIR, errno.ENXIO}
_BLOCK_BYTES = 1 << 20


def open_alone(directory: Directory, name: str, temporary: str, keep_aside: Callable[[str], None]) -> int:
    """Open a file to append to it, and to read; made if it is not there.

    One that has a second name (a hard link) is copied first: by that it is somebody else's, a backup's or any file.

    Args:
        directory: where it is.
        name: of the file.
        temporary: a name that a copy of it may have for a moment.
        keep_aside: called with the name where what has it is no regular file, to give that another name.

    Raises:
        OSError: it cannot be opened, or not be copied.
    """
    fd = _open_regular(directory, name, keep_aside)
    if os.fstat(fd).st_nlink > 1:
        try:
            return copy(directory, name, temporary, fd)
        except OSError:
            os.close(fd)
            raise
    return fd


def _open_regular(directory: Directory, name: str, keep_aside: Callable[[str], None]) -> int:
    for last in (False, True):
        try:
            fd = modes.open_file(directory.name(name), _FLAGS, 0o666, at=directory.fd)
        except OSError as error:
            if last or error.errno not in _NO_FILE:
                raise
        else:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                return fd
            os.close(fd)
        keep_aside(name)
    raise NotOursError(errno.EPERM, "It was replaced, and is not a regular file", os.path.join(directory.path, name))


def copy(directory: Directory, name: str, temporary: str, fd: int) -> int:
    """Have an open file's content in a new file of its name; the descriptor of that, the given one is closed.

    Raises:
        OSError: it cannot be; the given one stays open, and what has the name stays.
    """
    fresh = modes.open_file(directory.name(temporary), _FLAGS | os.O_EXCL, 0o666, at=directory.fd)
    try:
        os.lseek(fd, 0, os.SEEK_SET)
        while block := os.read(fd, _BLOCK_BYTES):
            write_all(fresh, block)
        os.fsync(fresh)  # what it replaces may be on the disk
        directory.replace(temporary, name)
    except OSError:
        os.close(fresh)
        with suppress(OSError):
            directory.remove(temporary)
        raise
    os.close(fd)
    return fresh


def write_all(fd: int, content: bytes) -> None:
    """Write all of it, however short each write is.

    Raises:
        OSError: not all of it was written.
    """
    left = memoryview(content)
    while left:
        left = left[os.write(fd, left) :]
