"""The files of a run, opened for reading only: regular files inside its directory, whatever their names lead to."""

from __future__ import annotations

import os
import time
from typing import Any, BinaryIO, NamedTuple

from runicorn.storage.plain_json import LinkError, UnfitFileError, object_in, open_regular

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
        try:
            fd = open_regular(path)
        except LinkError:
            fd = open_regular(_inside(directory, path))
        return os.fdopen(fd, "rb", buffering=0)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedError(error.strerror or str(error)) from error
    except UnfitFileError as error:
        raise DamagedError(str(error)) from error


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
        DamagedError: it cannot be read, is too large, or holds no JSON object.
    """
    for tries_left in reversed(range(_TRIES)):
        try:
            with open_inside(directory, name) as file:
                changed_at = os.fstat(file.fileno()).st_mtime
                return object_in(file.fileno())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise DamagedError(error.strerror or str(error)) from error
        except UnfitFileError as error:
            # Runicorn 0.7.2 truncates a file and writes it again: what is half there now may be whole in a moment.
            if not tries_left or abs(time.time() - changed_at) > _BEING_WRITTEN_S:
                raise DamagedError(str(error)) from error
        time.sleep(_POLL_S)
    raise AssertionError("the last try returns or raises")


def _inside(directory: str, path: str) -> str:
    if not is_inside(directory, path):
        raise DamagedError("a link that leads out of the run directory")
    return os.path.realpath(path)
