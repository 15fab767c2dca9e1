"""A process's end of the queue: frames go into segments of its own, the writer tails them.

The push itself is ``Queue.push``, which *is* ``mmap.write`` of the current segment: no lock, no end offset, no
system call, nothing that gives up the GIL. It raises ``ValueError`` when the segment is full; everything that
is not that one copy (the first segment, the next one, the end of the run, a forked child) hangs on the same
exception, so the hot path tests no flag.

Locks: ``_rotation`` is held while a segment is sealed and the next one is opened, by nobody who touches a disk
(unless the spool itself lies on one). It is re-entrant, because a signal handler or a finaliser may call
``log()`` in the middle of a rotation on the same thread.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runicorn.host.locks import Lock, held_here
from runicorn.queue import spool
from runicorn.queue.crash_points import crash_point
from runicorn.queue.kept_segments import KeptSegments
from runicorn.queue.new_segments import (
    ClosedError,
    NewSegments,
    SpoolFullError,
    always_full,
)
from runicorn.queue.records import Dropped, encode
from runicorn.queue.segment import Segment, frame

if TYPE_CHECKING:
    from runicorn.queue.control_page import ControlPage

RETRY_S = 0.1


class Queue(NewSegments):
    """The producing end in this process.

    Attributes:
        push: copies one frame into the current segment; ``ValueError`` = call ``push_slowly``.
        closed: ``closed[0]`` is 1 once the run takes no more records. Push first, check second: a record
            pushed before the check that found 0 is stored.
        is_owner: whether this process is the run's owner.
        rank: of this process in a distributed job, or None.
        forked_here: whether this process was forked from the one that opened or joined the run.
        dropped_records: records refused because the spool was full, and not yet reported to the writer.
        checked_at, next_check_at: outside this span of the wall clock ``log()`` has the writer checked: a clock set
            back must not end the checks. Here and not in the session, for ``log()`` has the queue at hand.
    """

    __slots__ = ()

    def register(self) -> None:
        """Open a first segment now, so that the writer knows of this process before it logs.

        A small one that no budget refuses, where there is no room for the usual one.

        Raises:
            ClosedError: the run has ended.
            SpoolFullError: neither tier takes even that.
        """
        with self._rotation:
            while True:
                if not self._open or self.closed[0]:
                    raise ClosedError
                if self._segment is not None:
                    return
                try:
                    new = self._make(self._size_bytes)
                except SpoolFullError:
                    new = self._make_ignoring_budget(0)
                self._use(new, None)

    def put(self, record: Any) -> None:
        """Push a record that is not on the hot path.

        Raises:
            ClosedError: the run has ended.
            SpoolFullError: there is no room.
        """
        framed = frame(encode(record))
        try:
            self.push(framed)
        except ValueError:
            self.push_slowly(framed)
        if self.closed[0]:
            raise ClosedError

    def push_slowly(self, framed: bytes) -> None:
        """Push a frame that did not fit: seal the segment, open the next, push there.

        Raises:
            ClosedError: the run has ended.
            SpoolFullError: there is no room; the record is counted.
        """
        while True:
            # A spool that has been removed at the end of its run is not made again.
            if not self._open or self.closed[0]:
                raise ClosedError
            with self._rotation:
                try:
                    self.push(framed)
                except ValueError:
                    pass
                else:  # another thread has rotated while we waited
                    return
                old = self._segment
                self._use(self._next_segment(old, len(framed)), old)

    def _use(self, new: Segment, old: Segment | None, *, closed: bool = False) -> None:
        """Push into a new segment from now on, unless a signal handler has rotated, or begun to, while we did."""
        number = new.number
        # No call between the test and the stores, so no switch point: the handler has won, and what we opened is given
        # up. What is in use has the highest number of all, for the writer takes nothing more from those below.
        if self._segment is old and self._next_number == number + 1 and (self._open or closed):
            self._segment = new
            self.push = new.write
        else:
            new.seal()

    def push_end(self, record: Any, refused: int = 0) -> None:
        """Push the owner's last record, into a small segment of its own that no budget refuses, and close.

        Args:
            record: that one.
            refused: as for ``report_dropped()``.

        Raises:
            SpoolFullError: neither tier takes even that.
        """
        with self._rotation:
            if not self._open:
                return
            self.report_dropped(refused)
            with suppress(ClosedError):  # a signal handler has ended the run before us
                self._put_ignoring_budget(record)
            self.close()

    def push_end_again(self, record: Any) -> None:
        """Push the owner's last record once more, for a writer that may not have it: a second one changes nothing.

        Raises:
            ClosedError: the run has ended.
            SpoolFullError: neither tier takes it.
        """
        with self._rotation:
            self._put_ignoring_budget(record)
            self.close()

    def report_dropped(self, refused: int = 0) -> None:
        """Tell the writer how many records were not taken, where it does not know yet; no budget refuses that.

        Args:
            refused: how many values or calls of this process were refused for what they are.

        Raises:
            SpoolFullError: neither tier takes even that.
        """
        with self._rotation:
            if (self.dropped_records or refused) and self._open:
                self._put_ignoring_budget(Dropped(self.dropped_records, refused))
                self.dropped_records = 0

    def close(self) -> None:
        """Take no more records from this process; the segment is sealed, so that the writer need not ask."""
        with self._rotation:
            self._open = False
            self.push = always_full
            self.seal()

    def seal(self) -> None:
        """End the current segment, so that it is removed when it is stored; the next push opens another."""
        with self._rotation:
            segment = self._segment  # a signal handler may end the run meanwhile, and let it go
            if segment is not None:
                segment.seal()
                self._kept.add(segment)

    def copy_unreachable(self, *, alone: bool = False) -> None:
        """See to it that what was pushed can be had by a writer, also where somebody has removed its name.

        Args:
            alone: no writer lives, so none holds anything open.
        """
        with self._rotation:
            generation = None if alone else self.control.generation
            segment = self._segment
            if segment is not None and self._kept.is_out_of_reach(segment, generation):
                self.seal()
            self._kept.copy_unreachable(generation)

    def follow_name(self) -> None:
        """Follow the control page to a new file, and have a lock that the next writer finds.

        Raises:
            OSError: that cannot be had now.
        """
        with self._rotation:
            self.control.follow_name(os.path.join(self._address.spool, spool.CONTROL), make=False)
            self.closed = self.control.closed
            if self._segment is not None and not (self._segment.stored or self.control.done):
                self._note_made(self._segment)
            if self._lock is not None and not self.control.done and not self._has_named_lock():
                path = os.path.join(self._address.spool, self._producer + spool.LOCK_SUFFIX)
                self._old_locks.append(self._lock)
                self._lock = Lock.take(path, again=True, ours=True) or self._lock

    def _has_named_lock(self) -> bool:
        # No generator that is left early: what a signal handler raises while one is closed is dropped.
        for directory in (self._address.spool, self._address.overflow):
            path = os.path.join(directory, self._producer + spool.LOCK_SUFFIX)
            lock = held_here(path)
            if lock is not None and lock.renew(path):
                return True
        return False

    @property
    def produces(self) -> bool:
        """Whether this process has had a segment, and still holds its producer lock."""
        return self._lock is not None

    def is_safe(self) -> bool:
        """Whether the newest writer holds all open that is sealed, or has stored it."""
        return self._kept.is_safe(self.control.generation)

    def is_stored(self) -> bool:
        """Whether all that is sealed is stored."""
        return self._kept.is_stored()

    def release_if_closed(self) -> None:
        """Give up that lock unless this process takes records still."""
        if not self._open:
            self.release()

    def release(self) -> None:
        """Give up the lock that says that this process still produces; after ``close()``."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        while self._old_locks:
            self._old_locks.pop().release()

    def let_go(self, control: ControlPage) -> None:
        """Give back the mappings, each of which has a descriptor; after the run's end.

        They go when the last thread that is in the middle of a push has gone on.

        Args:
            control: the page to check from now on: that of an ended run.
        """
        self.close()
        self.release()
        if self._segment is not None:
            self._segment.let_go()
        self._segment = None
        self._kept.clear()
        self._kept = KeptSegments(self._address, control)
        self.control, self.closed = control, control.closed

    def _put_ignoring_budget(self, record: Any) -> None:
        framed = frame(encode(record))
        while True:
            try:
                self.push(framed)
            except ValueError:
                old = self._segment
                self.seal()
                self._use(self._make_ignoring_budget(len(framed)), old, closed=True)
            else:
                return

    def _next_segment(self, old: Segment | None, frame_bytes: int) -> Segment:
        now = time.monotonic()
        if now < self._retry_at:
            self.dropped_records += 1
            raise SpoolFullError("the spool was full a moment ago")
        if old is not None:
            self.seal()
            crash_point("sealed")
            # Before the next one can be seen: that it is there means that the writer can have this one.
            self._kept.copy_unreachable(self.control.generation)
            self._grow(now)
        self._made_at = now
        try:
            new = self._claim_spare(frame_bytes) or self._make(self._size_bytes, frame_bytes)
        except SpoolFullError:
            self._retry_at = now + RETRY_S
            self.dropped_records += 1
            raise
        crash_point("rotated")
        if self.dropped_records:
            dropped, self.dropped_records = self.dropped_records, 0
            new.write(frame(encode(Dropped(dropped))))
        return new
