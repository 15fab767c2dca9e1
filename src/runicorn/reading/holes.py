"""Holes of a sparse file: they read as zeros, and are passed over if the system tells where they are."""

from __future__ import annotations

import errno
import os

_SEEK_DATA, _SEEK_HOLE = getattr(os, "SEEK_DATA", None), getattr(os, "SEEK_HOLE", None)
_MOST_STRETCHES = 10_000
_SMALL_BYTES = 64 * 1024 * 1024
"""Size of a file up to which its holes are read: that takes no time."""


def next_data(fd: int, at: int, stop: int) -> int:
    """The first offset from ``at`` on that is in no hole; ``stop`` if there is none before it."""
    return _sought(fd, at, stop, _SEEK_DATA, at)


def stretches(fd: int, stop: int) -> list[tuple[int, int]]:
    """The beginnings and ends of what was written, up to ``stop``; the last one takes in the rest if there are many."""
    if stop <= _SMALL_BYTES:
        return [(0, stop)]
    found: list[tuple[int, int]] = []
    at = next_data(fd, 0, stop)
    while at < stop:
        end = _sought(fd, at, stop, _SEEK_HOLE, stop)
        if len(found) == _MOST_STRETCHES or end <= at:
            end = stop
        found.append((at, end))
        at = next_data(fd, end, stop) if end < stop else stop
    return found


def _sought(fd: int, at: int, stop: int, what: int | None, otherwise: int) -> int:
    """Where the next data or hole is; ``otherwise`` if that cannot be known."""
    if what is None:
        return otherwise
    try:
        return min(os.lseek(fd, at, what), stop)
    except OSError as error:
        return stop if error.errno == errno.ENXIO else otherwise
