"""Directories and files that their owner can use, whatever the program's umask takes away.

The umask belongs to the program, for all its threads, so it is not changed. What it takes from the group and from
others stays taken. What it takes from the owner is given back: else we could not enter a directory that we have made.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress

_DIRECTORY, _FILE = stat.S_IRWXU, stat.S_IRUSR | stat.S_IWUSR


def make_directory(path: str, mode: int = 0o777, *, at: int | None = None) -> None:
    """Make a directory.

    Args:
        path: of it.
        mode: its mode, as far as the umask leaves it to others.
        at: descriptor of the directory that ``path`` is a name in.

    Raises:
        OSError: it cannot be made; it is there already.
    """
    os.mkdir(path, mode, dir_fd=at)
    make_usable(path, at=at)


def make_usable(path: str, *, at: int | None = None) -> None:
    """Give the owner of a directory or file that we have just made what it needs; leave links alone."""
    if sys.platform != "win32":
        made = os.stat(path, dir_fd=at, follow_symlinks=False)
        bits = _DIRECTORY if stat.S_ISDIR(made.st_mode) else _FILE
        if _lacks(made, bits) and not stat.S_ISLNK(made.st_mode) and made.st_uid == os.geteuid():
            os.chmod(path, stat.S_IMODE(made.st_mode) | bits, dir_fd=at)


def make_directories(path: str, mode: int = 0o777) -> None:
    """Make a directory, and those above it that are missing.

    Raises:
        OSError: one cannot be made.
    """
    if os.path.isdir(path):
        return
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        make_directories(parent)
    try:
        make_directory(path, mode)
    except FileExistsError:  # another process was faster; or a file is in the way
        if not os.path.isdir(path):
            raise


def open_file(path: str, flags: int, mode: int, *, at: int | None = None) -> int:
    """Open a file, and make it if ``flags`` say so; its descriptor.

    Raises:
        OSError: it cannot be opened or made.
    """
    fd = os.open(path, flags, mode, dir_fd=at)
    opened = os.fstat(fd)
    if sys.platform != "win32" and _lacks(opened, _FILE):
        with suppress(OSError):  # it was there, and is somebody else's
            os.fchmod(fd, stat.S_IMODE(opened.st_mode) | _FILE)
    return fd


def _lacks(found: os.stat_result, bits: int) -> bool:
    return found.st_mode & bits != bits
