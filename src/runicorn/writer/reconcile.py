"""What of a batch is in the run's files already, if the plan does not say so: the files themselves decide.

Event lines carry the time of their call, so each is known by itself. Lines of text may be alike. They are known by
their order, and by the events around them: a batch's text is written before its events, so all text before a stored
event is stored.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from runicorn.writer import scan

if TYPE_CHECKING:
    from collections.abc import Iterable


class Step(NamedTuple):
    """What one record has become: lines in an events file, and lines of text; with their line ends."""

    name: str
    events: bytes
    text: bytes


def lines_there(fd: int, wanted: set[bytes], start_bytes: int) -> Counter[bytes]:
    """How often each wanted line is in a file from there on; of its other lines nothing is kept."""
    return Counter(line for line in scan.lines_of(fd, os.fstat(fd).st_size, start_bytes) if line in wanted)


def without(blob: bytes | bytearray, there: Counter[bytes]) -> bytes:
    """The lines of a blob that are not there already, in their order."""
    left = []
    for line in bytes(blob).split(b"\n")[:-1]:
        if there[line]:
            there[line] -= 1
        else:
            left.append(line + b"\n")
    return b"".join(left)


def text_in_doubt(steps: list[Step], there: dict[str, Counter[bytes]]) -> list[bytes]:
    """The lines of text of one producer of which no event says that they are stored."""
    stored = 0
    left = {name: Counter(lines) for name, lines in there.items()}
    for number, step in enumerate(steps, start=1):
        lines = step.events.split(b"\n")[:-1]
        if lines and all(left.get(step.name, Counter())[line] > 0 for line in lines):
            left[step.name].subtract(lines)
            stored = number
    return [line for step in steps[stored:] for line in step.text.split(b"\n")[:-1]]


def missing_text(producers: list[list[bytes]], there: Iterable[bytes]) -> bytes:
    """The lines that a file does not have, of producers whose lines are in it in their order, up to some line each."""
    found = [0] * len(producers)
    awaited: dict[bytes, list[int]] = {}
    for number, lines in enumerate(producers):
        if lines:
            awaited.setdefault(lines[0], []).append(number)
    for line in there:
        numbers = awaited.get(line)
        if not numbers:
            continue
        number = numbers.pop(0)
        found[number] += 1
        if found[number] < len(producers[number]):
            awaited.setdefault(producers[number][found[number]], []).append(number)
    return b"".join(line + b"\n" for lines, n in zip(producers, found, strict=True) for line in lines[n:])


def rest_of_torn(torn: bytes, missing: bytes) -> bytes:
    """What to append so that a last line without its end becomes whole, or is closed."""
    if not torn:
        return missing
    lines = [line + b"\n" for line in missing.split(b"\n")[:-1]]
    number = next((number for number, line in enumerate(lines) if line.startswith(torn)), None)
    if number is None:
        return b"\n" + missing
    return lines.pop(number)[len(torn) :] + b"".join(lines)


def torn_end(fd: int) -> bytes:
    """What stands behind the last line end of a file; of a very long one a part, which is no line's beginning."""
    size = os.fstat(fd).st_size
    start = max(0, size - (1 << 20))
    os.lseek(fd, start, os.SEEK_SET)
    return os.read(fd, size - start).rpartition(b"\n")[2]
