"""Files below a directory that others may have filled: opened part by part, so that no link is ever followed."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, BinaryIO

from runicorn.reading.plain_files import DamagedError, is_inside
from runicorn.storage.plain_json import LinkError, UnfitFileError, open_regular

if TYPE_CHECKING:
    from collections.abc import Generator

_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_BY_PARTS = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
_NO_FOLDER = {errno.ENOTDIR, errno.ELOOP, errno.EMLINK}
"""A link is no directory, if none is followed."""
_LINK = "it is a link, and links are not followed"
_PIECE_BYTES = 256 * 1024


def parts_below(top: str, path: str) -> list[str]:
    """The parts of a path as it is stored: relative to a directory, or absolute and below it.

    Raises:
        DamagedError: it leads out of the directory, or is no path.
    """
    if os.path.isabs(path):
        begin = top.rstrip(os.sep) + os.sep
        if not path.startswith(begin):
            raise DamagedError("it lies outside of the directory that it belongs to")
        path = path[len(begin) :]
    parts = [part for part in path.replace(os.sep, "/").split("/") if part not in {"", "."}]
    if not parts or ".." in parts or "\0" in path:
        raise DamagedError("it lies outside of the directory that it belongs to")
    return parts


def open_below(top: str, path: str) -> BinaryIO:
    """Open a regular file below a directory for reading, unbuffered; nothing is waited for.

    Args:
        top: the directory.
        path: of the file, as it is stored: relative to it, or absolute.

    Raises:
        FileNotFoundError: it is not there.
        DamagedError: it or a directory of it is a link, it is no regular file, or may not be read; says which.
    """
    parts = parts_below(top, path)
    try:
        return os.fdopen(_opened(top, parts), "rb", buffering=0)
    except FileNotFoundError:
        raise
    except LinkError as error:
        raise DamagedError(_LINK) from error
    except UnfitFileError as error:
        raise DamagedError("it is not a regular file") from error
    except (OSError, ValueError) as error:
        raise DamagedError(getattr(error, "strerror", None) or str(error)) from error


def status_below(top: str, path: str) -> os.stat_result:
    """What lies below a directory; nothing of it is opened, and no link is followed.

    Args:
        top: the directory.
        path: as it is stored; empty = the directory itself.

    Raises:
        FileNotFoundError: it is not there.
        DamagedError: a directory on the way to it is a link, or it cannot be looked at.
    """
    at = top
    try:
        status = os.stat(at, follow_symlinks=False)
        for part in parts_below(top, path) if path else []:
            if not stat.S_ISDIR(status.st_mode):
                raise DamagedError(_LINK)
            at = os.path.join(at, part)
            status = os.stat(at, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise DamagedError(getattr(error, "strerror", None) or str(error)) from error
    return status


def _opened(top: str, parts: list[str]) -> int:
    if not _BY_PARTS:
        path = os.path.join(top, *parts)
        if not is_inside(top, path):
            raise LinkError("a link")
        return open_regular(path)
    folder = os.open(top, _FOLDER)
    try:
        for part in parts[:-1]:
            try:
                below = os.open(part, _FOLDER, dir_fd=folder)
            except OSError as error:
                if error.errno in _NO_FOLDER:
                    raise LinkError("a link, or a file") from error
                raise
            folder, above = below, folder
            os.close(above)
        return open_regular(parts[-1], dir_fd=folder)
    finally:
        os.close(folder)


def pieces(file: BinaryIO, size: int) -> Generator[bytes, None, None]:
    """So many bytes of a file, a piece at a time; the file is closed in the end."""
    with file:
        while size > 0:
            piece = file.read(min(_PIECE_BYTES, size))
            if not piece:
                return
            size -= len(piece)
            yield piece
