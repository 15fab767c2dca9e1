"""A JSON object in a file of a run: of a regular file, of bounded size, read without waiting for anybody."""

from __future__ import annotations

import errno
import os
import stat
from typing import Any

import msgspec

MOST_BYTES = 64 * 1024 * 1024
"""Size of a JSON file of a run above which it is not read: what the SDK writes is far smaller."""

_READING = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a FIFO under a name of ours must not hold the reader up
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
)
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a strict decoder raises: at what is no JSON, no UTF-8, or nested too deeply."""

_LINK = {errno.ELOOP, errno.EMLINK}
_REFUSES_LINKS = hasattr(os, "O_NOFOLLOW")


class UnfitFileError(ValueError):
    """There is a file, and it does not hold a JSON object that can be read; the message says why."""


class LinkError(UnfitFileError):
    """There is a link in its place, and it was not followed."""


def read_object(path: str, *, dir_fd: int | None = None, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Read the JSON object in a file. A byte order mark, bare ``NaN`` and ``Infinity`` are taken too.

    Args:
        path: of the file; a link is not followed.
        dir_fd: descriptor of the directory that a relative path begins at.
        most_bytes: a larger file is not read.

    Raises:
        FileNotFoundError: it is not there.
        OSError: it cannot be opened or read.
        UnfitFileError: it is no regular file, is too large, or holds no JSON object.
    """
    fd = open_regular(path, dir_fd=dir_fd)
    try:
        return object_in(fd, most_bytes=most_bytes)
    finally:
        os.close(fd)


def open_regular(path: str, *, dir_fd: int | None = None) -> int:
    """Open a regular file for reading; a link is not followed, and nothing is waited for.

    Raises:
        FileNotFoundError: it is not there.
        OSError: it cannot be opened.
        LinkError: it is a link.
        UnfitFileError: it is no regular file.
    """
    if not _REFUSES_LINKS and os.path.islink(path):
        raise LinkError("a link")
    try:
        fd = os.open(path, _READING, dir_fd=dir_fd)
    except OSError as error:
        if error.errno in _LINK:
            raise LinkError("a link") from error
        if error.errno == errno.ENXIO:  # a socket
            raise UnfitFileError("not a regular file") from error
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise UnfitFileError("not a regular file")
    return fd


def object_in(fd: int, *, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Read the JSON object in an open regular file, from where its descriptor is.

    Raises:
        OSError: it cannot be read.
        UnfitFileError: it is too large, or holds no JSON object.
    """
    too_large = UnfitFileError(f"larger than {most_bytes:,} bytes")
    size_bytes = os.fstat(fd).st_size
    if size_bytes > most_bytes:
        raise too_large
    blocks: list[bytes] = []
    left = most_bytes + 1  # it may grow meanwhile
    # So much memory is taken before anything is read: no more than the file needs.
    while left and (block := os.read(fd, min(left, size_bytes + 1))):
        blocks.append(block)
        left -= len(block)
    if not left:
        raise too_large
    return decode_object(b"".join(blocks))


def decode_object(content: bytes) -> dict[str, Any]:
    """Decode a JSON object. A byte order mark, bare ``NaN`` and ``Infinity`` are taken too.

    Raises:
        UnfitFileError: it is none.
    """
    try:
        return _decode(content)
    except UNREADABLE:
        found = _decoded_leniently(content)
    except MemoryError:
        raise UnfitFileError("its content does not fit into memory") from None
    if type(found) is not dict:
        raise UnfitFileError("not a JSON object")
    return found


def _decoded_leniently(content: bytes) -> Any:
    import json  # here, for few files need it, and init() imports this

    try:
        return json.loads(content)
    except RecursionError:
        raise UnfitFileError("nested too deeply") from None
    except MemoryError:
        raise UnfitFileError("its content does not fit into memory") from None
    except ValueError:
        raise UnfitFileError("not a JSON object" if content.strip() else "empty") from None


_decode = msgspec.json.Decoder(dict[str, Any]).decode
