"""What of a batch is in the run's files already, if the plan does not say so: the files themselves decide.

Event lines carry the time of their call, so each is known by itself. Lines of text may be alike. They are known by
their order, and by the events around them: a batch's text is written before its events, so all text before a stored
event of the same segment is stored. Of another segment's text that says nothing: files may have changed their names, so
that a later segment was read first.
"""

from __future__ import annotations

import bisect
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


class SegmentText(NamedTuple):
    """The lines of text of one segment; the first ``stored`` of them are in the file for certain."""

    lines: list[bytes]
    stored: int = 0


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


def text_of(steps: list[Step], there: dict[str, Counter[bytes]]) -> SegmentText:
    """The lines of text of one segment, and how many of them must be stored, by the events behind them."""
    lines: list[bytes] = []
    stored = 0
    left = {name: Counter(known) for name, known in there.items()}
    for step in steps:
        lines += step.text.split(b"\n")[:-1]
        events = step.events.split(b"\n")[:-1]
        if events and all(left.get(step.name, Counter())[line] > 0 for line in events):
            left[step.name].subtract(events)
            stored = len(lines)
    return SegmentText(lines, stored)


def missing_text(segments: list[SegmentText], there: Iterable[bytes]) -> bytes:
    """The lines that a file does not have, of segments whose lines are in it in their order, up to some line each."""
    found = [0] * len(segments)
    awaited: dict[bytes, list[int]] = {}
    for number, each in enumerate(segments):
        if each.lines:
            awaited.setdefault(each.lines[0], []).append(number)
    for line in there:
        numbers = awaited.get(line)
        if not numbers:
            continue
        number = numbers.pop(0)  # of segments that await the same line, the first: it was stored before the others
        found[number] += 1
        if found[number] < len(segments[number].lines):
            bisect.insort(awaited.setdefault(segments[number].lines[found[number]], []), number)
    rest = (each.lines[max(n, each.stored) :] for each, n in zip(segments, found, strict=True))
    return b"".join(line + b"\n" for lines in rest for line in lines)


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
