"""Small files in which the kernel tells numbers."""

from __future__ import annotations

import os

_MOST_BYTES = 1 << 16


def read(path: str) -> bytes:
    """The content of a file of the kernel; empty if it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError):
        return b""
    try:
        content = os.read(fd, _MOST_BYTES)
        while content and (more := os.read(fd, _MOST_BYTES)):
            content += more
    except OSError:  # a process has ended meanwhile
        return b""
    finally:
        os.close(fd)
    return content


def number(content: bytes) -> int | None:
    """A file that is one whole number; None if it is not."""
    text = content.strip()
    return int(text) if text.isdigit() else None


def fields(content: bytes) -> dict[bytes, int]:
    """Lines of a name and a number, whatever stands behind that (``MemTotal: 16 kB``); other lines are left out."""
    found = {}
    for line in content.splitlines():
        words = line.split()
        if len(words) > 1 and words[1].isdigit():
            found[words[0].rstrip(b":")] = int(words[1])
    return found


def percent(part: float, whole: float) -> float:
    """A share in percent; 0 of nothing."""
    return round(100 * part / whole, 2) if whole > 0 else 0.0
