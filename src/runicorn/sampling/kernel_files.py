"""Small files in which the kernel tells numbers."""

from __future__ import annotations

from runicorn.host.memory_limit import read_kernel_file

read = read_kernel_file


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
