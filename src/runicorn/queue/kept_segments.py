"""The sealed segments of a process that are not stored yet, held by their mappings.

Names in shared memory can go at any time (systemd's RemoveIPC, a cluster's cleaner). What the writer has opened it
reads by descriptor; what it has not opened, only its producer has. The producer sees the writer's mark in the mapping
of each, and if the name of a segment without a mark is gone, it makes the same again in the overflow directory.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from runicorn.queue import spool, spool_address

if TYPE_CHECKING:
    from runicorn.queue.control_page import ControlPage
    from runicorn.queue.segment import Segment

_MOST, _MOST_WITHOUT_DESCRIPTORS, _LIMIT_SHARE = 512, 4096, 8


class KeptSegments:
    """Those of one producer, oldest first; under the lock of its queue.

    Args:
        address: of the spool.
        control: its page, where copies are accounted for.
    """

    def __init__(self, address: spool_address.Address, control: ControlPage) -> None:
        self._address = address
        self._control = control
        self._segments: list[Segment] = []
        self._newest = -1
        self._most = _most_kept()
        self._copying = False

    def add(self, segment: Segment) -> None:
        """Keep one that was sealed, until it is stored; those that are go now.

        Not at each check: that costs two system calls, and log() makes none between two segments.
        """
        if segment.number > self._newest:
            self._newest = segment.number
            self._keep_only([*(each for each in self._segments if not each.stored), segment])

    def is_out_of_reach(self, segment: Segment, generation: int | None) -> bool:
        """Whether a segment is not kept yet, and its name was gone before the writer of a generation opened it."""
        return segment.number > self._newest and not _is_held(segment, generation) and not os.path.lexists(segment.path)

    def copy_unreachable(self, generation: int | None) -> None:
        """Copy what no writer can have; no system call if the writer has opened all.

        Args:
            generation: of the writer that lives; None where there is none.
        """
        if self._copying:  # a signal handler in the middle of a copy
            return
        self._copying = True
        try:
            unheld = [each for each in self._segments if not (each.stored or _is_held(each, generation))]
            if unheld:
                names = _names(self._address.spool) | _names(self._address.overflow)
                for each in unheld:
                    if each.name not in names:
                        self._copy(each)
            if len(self._segments) > self._most:
                self._keep_only([each for each in self._segments if not each.stored])
            if len(self._segments) > self._most:
                self._let_go(generation)
        finally:
            self._copying = False

    def is_safe(self, generation: int | None) -> bool:
        """Whether a writer holds each open, or has stored it."""
        return all(each.stored or _is_held(each, generation) for each in self._segments)

    def is_stored(self) -> bool:
        """Whether all are stored; a producer's segments are stored in order, so those let go are as well."""
        return all(each.stored for each in self._segments)

    def spare_descriptors(self) -> None:
        """Keep the newest only: the program has no descriptor left."""
        self._keep_only(self._segments[-1:])

    def clear(self) -> None:
        """Keep none: the run has ended."""
        self._keep_only([])

    def _keep_only(self, segments: list[Segment]) -> None:
        kept = set(map(id, segments))
        gone = [each for each in self._segments if id(each) not in kept]
        self._segments = segments
        for each in gone:
            each.let_go()

    def _copy(self, segment: Segment) -> None:
        try:
            spool.open_overflow(self._address)
            copy = segment.copy_to(os.path.join(self._address.overflow, segment.name))
        except OSError:  # no room there either: it stays ours, and the next check tries again
            return
        self._control.add_made(spool.OVERFLOW, 0, copy.size_bytes)
        self._keep_only([copy if each is segment else each for each in self._segments])

    def _let_go(self, generation: int | None) -> None:
        # Each mapping costs a descriptor. What the writer holds open goes first, then what has its name.
        *older, newest = self._segments
        older.sort(key=lambda each: _is_held(each, generation))
        names = _names(self._address.spool) | _names(self._address.overflow)
        for each in older[self._most - 1 :]:
            if each.name not in names:  # the writer that holds it may die: then nobody has it
                self._copy(each)
        gone = {each.number for each in older[self._most - 1 :]}
        self._keep_only([each for each in self._segments if each.number not in gone or each is newest])


def _is_held(segment: Segment, generation: int | None) -> bool:
    return generation is not None and segment.is_followed_by(generation)


def _names(directory: str) -> set[str]:
    try:
        return set(os.listdir(directory))
    except OSError:
        return set()


def _most_kept() -> int:
    if sys.platform == "win32" or sys.version_info >= (3, 13):  # no descriptor for a mapping
        return _MOST_WITHOUT_DESCRIPTORS
    limit = os.sysconf("SC_OPEN_MAX")  # the soft limit; -1 = there is none. The module resource takes long to import
    return _MOST if limit < 0 else max(1, min(_MOST, limit // _LIMIT_SHARE))
