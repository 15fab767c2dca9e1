"""Segments whose names were removed before a writer opened them, while their process lives and still maps them.

The process makes them again at its next call. If it makes no more calls, they are opened through its mapping, if the
system allows that (Linux, for root).
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from runicorn.queue.spool import SEGMENT_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

_DELETED = f"{SEGMENT_SUFFIX} (deleted)".encode()


def open_mapped(pid: int, directory: str, producer: str) -> Iterator[tuple[str, int]]:
    """Name and descriptor of each segment that a process maps and that has no name any more; none if not allowed.

    Args:
        pid: of the process.
        directory: where the segments were.
        producer: the beginning of their names.
    """
    start = os.fsencode(os.path.join(directory, producer)) + b"-"
    seen = set()
    for mapped, path in _mappings(pid):
        if path.startswith(start) and path.endswith(_DELETED) and path not in seen:
            seen.add(path)
            fd = _open(f"/proc/{pid}/map_files/{mapped}")
            if fd is not None:
                yield os.path.basename(os.fsdecode(path.removesuffix(b" (deleted)"))), fd


def _mappings(pid: int) -> Iterator[tuple[str, bytes]]:
    """Addresses and path of each."""
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return
    for line in lines:
        words = line.split(None, 5)
        if len(words) == 6:
            start, _, stop = words[0].partition(b"-")
            yield f"{int(start, 16):x}-{int(stop, 16):x}", words[5]


def _open(path: str) -> int | None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
        return fd
    os.close(fd)
    return None
