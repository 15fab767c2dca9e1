"""The files of a run, opened for reading only: regular files inside its directory, whatever their names lead to."""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from typing import Any, BinaryIO, NamedTuple

import msgspec

_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a FIFO under a name of ours must not hold the reader up
    | getattr(os, "O_BINARY", 0)
)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a strict decoder raises: at what is no JSON, no UTF-8, or nested too deeply."""

_BEING_WRITTEN_S, _TRIES, _POLL_S = 1.0, 4, 0.003


class Problem(NamedTuple):
    """Something that could not be read: name of the file, byte offset in it, and why in words."""

    file: str
    offset: int
    reason: str


class DamagedError(Exception):
    """A file is there and cannot be read; the message says why."""


def open_inside(directory: str, name: str) -> BinaryIO:
    """Open a file of a directory, unbuffered; a link is followed only where it stays inside the directory.

    Raises:
        FileNotFoundError: it is not there.
        DamagedError: it is not a regular file, leads out of the directory, or may not be read.
    """
    path = os.path.join(directory, name)
    try:
        if _NOFOLLOW:
            try:
                fd = os.open(path, _FLAGS | _NOFOLLOW)
            except OSError as error:
                if error.errno not in {errno.ELOOP, errno.EMLINK}:
                    raise
                fd = os.open(_inside(directory, path), _FLAGS | _NOFOLLOW)
        else:
            fd = os.open(_inside(directory, path), _FLAGS)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedError(error.strerror or str(error)) from error
    try:
        regular = stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError as error:
        os.close(fd)
        raise DamagedError(error.strerror or str(error)) from error
    if not regular:
        os.close(fd)
        raise DamagedError("not a regular file")
    return os.fdopen(fd, "rb", buffering=0)


def is_inside(directory: str, path: str) -> bool:
    """Whether a path, with every link in it followed, is below a directory."""
    top = os.path.realpath(directory)
    real = os.path.realpath(path)
    try:
        return real != top and os.path.commonpath([top, real]) == top
    except ValueError:  # on another drive
        return False


def read_object(directory: str, name: str) -> dict[str, Any]:
    """The JSON object in a file; empty where the file is not there. Bare ``NaN`` and ``Infinity`` are read too.

    Raises:
        DamagedError: it cannot be read, or holds no JSON object.
    """
    for tries_left in reversed(range(_TRIES)):
        try:
            with open_inside(directory, name) as file:
                changed_at = os.fstat(file.fileno()).st_mtime
                content = file.read()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise DamagedError(error.strerror or str(error)) from error
        try:
            return decode_object(content)
        except ValueError as error:
            # Runicorn 0.7.2 truncates a file and writes it again: what is half there now may be whole in a moment.
            if not tries_left or abs(time.time() - changed_at) > _BEING_WRITTEN_S:
                raise DamagedError("not a JSON object" if content.strip() else "empty") from error
        time.sleep(_POLL_S)
    raise AssertionError("the last try returns or raises")


def decode_object(content: bytes) -> dict[str, Any]:
    """A JSON object, with bare ``NaN`` and infinities where it has them.

    Raises:
        ValueError: it is none.
    """
    try:
        return _decode(content)
    except UNREADABLE:
        try:
            found = json.loads(content)
        except RecursionError:
            raise ValueError("nested too deeply") from None
    if type(found) is not dict:
        raise ValueError("not an object")
    return found


def _inside(directory: str, path: str) -> str:
    if os.path.islink(path) and not is_inside(directory, path):
        raise DamagedError("a link that leads out of the run directory")
    return os.path.realpath(path)


_decode = msgspec.json.Decoder(dict[str, Any]).decode
