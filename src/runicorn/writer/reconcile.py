"""What of a batch is in the run's files already, if the plan does not say so: the files themselves decide.

Event lines carry the time of their call, so each is known by itself. Lines of text may be alike. They are known by
their order, and by the events around them: a batch's text is written before its events, so all text before a stored
event of the same segment is stored. Of another segment's text that says nothing: files may have changed their names, so
that a later segment was read first.
"""

from __future__ import annotations

import bisect
import os
import re
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable


_LOST = b'"lost":['
# Compiled if they are needed: by a writer that goes on after a crash, or after trouble.
_CALL = rb'\{"ts":([^,]+),.*"global_step":(-?\d+),"time":'
_WRITTEN_BY = rb'(,"producer":"(?:[^"\\]|\\.)*")?(,"rank":-?\d+)?\}$'
_PRINTED = rb"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] "


class Step(msgspec.Struct, frozen=True):
    """What one record has become: lines in an events file, and lines of text; with their line ends."""

    name: str
    events: bytes
    text: bytes
    is_of_unknown: bool = False


class SegmentText(msgspec.Struct, frozen=True):
    """The lines of text of one segment; the first ``stored`` of them are in the file for certain."""

    lines: list[bytes]
    stored: int = 0


class Wanted:
    """Lines that are searched in a file: by all that is in them; if values are missing, by time and step of the call.

    A value may be missing because the record that brought it from its device was damaged after it had been stored. If
    it is not known who logged a line, the rest of the line is compared.

    Args:
        content: the lines, with their ends.
        of_unknown: those of them from segments that no longer say which process wrote them.
    """

    def __init__(self, content: bytes | bytearray, of_unknown: bytes = b"") -> None:
        self._lines = set(bytes(content).split(b"\n")[:-1])
        self._incomplete = {_call_of(line): line for line in self._lines if _LOST in line}
        self._of_unknown = {re.sub(_WRITTEN_BY, b"}", line): line for line in of_unknown.split(b"\n")[:-1]}

    def count_in(self, lines: Iterable[bytes]) -> Counter[bytes]:
        """How often each is there; of other lines nothing is kept."""
        found = Counter[bytes]()
        for line in lines:
            wanted = line if line in self._lines else self._alike(line)
            if wanted is not None:
                found[wanted] += 1
        return found

    def _alike(self, line: bytes) -> bytes | None:
        found = self._incomplete.get(_call_of(line)) if self._incomplete else None
        if found is None and self._of_unknown:
            found = self._of_unknown.get(re.sub(_WRITTEN_BY, b"}", line))
        return found


def _call_of(line: bytes) -> bytes | tuple[bytes, ...]:
    match = re.match(_CALL, line)
    return match.groups() if match is not None else line


def without(content: bytes | bytearray, there: Counter[bytes]) -> bytes:
    """The lines of a blob that are not there already, in their order."""
    left = []
    for line in bytes(content).split(b"\n")[:-1]:
        if there[line]:
            there[line] -= 1
        else:
            left.append(line + b"\n")
    return b"".join(left)


def events_of_unknown(segments: Iterable[list[Step]]) -> dict[str, bytes]:
    """By the name of a file: lines of events from segments that no longer say which process wrote them."""
    found: dict[str, bytes] = {}
    for step in (step for steps in segments for step in steps if step.is_of_unknown):
        found[step.name] = found.get(step.name, b"") + step.events
    return found


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


def text_behind(content: bytes | bytearray, there: list[bytes]) -> bytes:
    """The text of a batch that is not in a file, ``there`` being all that was written since the batch began.

    Text is written in order, so what is before a line that is there is there too, whatever it is by damage now.
    """
    lines = bytes(content).split(b"\n")[:-1]
    once = _once(Counter(lines), Counter(there))
    positions = {line: number for number, line in enumerate(lines) if line in once}
    last, position = max(((positions[line], n) for n, line in enumerate(there) if line in once), default=(-1, -1))
    return without(b"".join(line + b"\n" for line in lines[last + 1 :]), Counter(there[position + 1 :]))


def missing_text(segments: list[SegmentText], there: Iterable[bytes], known: Counter[bytes]) -> bytes:
    """The lines that a file does not have, of segments whose lines are in it in their order, up to some line each.

    Args:
        segments: in the order in which they were logged.
        there: the lines of the file.
        known: how often it has each of their lines.
    """
    found = [0] * len(segments)
    once = _once(Counter(line for each in segments for line in each.lines), known)
    # What is printed into one line comes as several records. Without one of them the line is another one: those behind
    # it are searched for, and it is stored itself, for a part of it may be missing.
    changed: list[bytes] = []
    beyond = {
        line: (number, position)
        for number, each in enumerate(segments)
        if any(re.match(_PRINTED, line) for line in each.lines)
        for position, line in enumerate(each.lines)
        if line in once
    }
    awaited: dict[bytes, list[int]] = {}

    def wait_for_next(number: int) -> None:
        if found[number] < len(segments[number].lines):
            bisect.insort(awaited.setdefault(segments[number].lines[found[number]], []), number)

    for number in range(len(segments)):
        wait_for_next(number)
    for line in there:
        numbers = awaited.get(line)
        if numbers:
            number = numbers.pop(0)  # of segments that await the same line, the first: it was stored before the others
            found[number] += 1
            wait_for_next(number)
        elif line in beyond and beyond[line][1] > found[beyond[line][0]]:
            number, position = beyond[line]
            text = segments[number]
            awaited[text.lines[found[number]]].remove(number)
            changed += [each for each in text.lines[max(text.stored, found[number]) : position] if not known[each]]
            found[number] = position + 1
            wait_for_next(number)
    rest = (each.lines[max(n, each.stored) :] for each, n in zip(segments, found, strict=True))
    return b"".join(line + b"\n" for lines in (changed, *rest) for line in lines)


def not_begun(lines: list[bytes], there: Iterable[bytes]) -> list[bytes]:
    """The lines that are not the beginning of a longer line of a file."""
    begun: set[bytes] = set()
    for stored in there:
        begun.update(line for line in lines if line and stored.startswith(line) and len(stored) > len(line))
    return [line for line in lines if line not in begun]


def _once(lines: Counter[bytes], there: Counter[bytes]) -> set[bytes]:
    return {line for line, count in lines.items() if count == 1 == there[line]}


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
