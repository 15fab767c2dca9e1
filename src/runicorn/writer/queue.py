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

import errno
import os
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runicorn.locks import Lock, held_here
from runicorn.writer import spool
from runicorn.writer.crashpoints import crash_point
from runicorn.writer.kept import Kept
from runicorn.writer.records import Hello, Lost, encode
from runicorn.writer.segment import FRAME_HEADER_BYTES, HEADER_BYTES, Segment, frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from runicorn.writer.control import ControlPage

FAST_FILL_S = 1.0
RETRY_S = 0.1
_SMALL_SEGMENT_BYTES = 8 * 1024


class ClosedError(Exception):
    """The run has ended: nothing was stored."""


class SpoolFullError(Exception):
    """Both places of the spool are used up: the record was not stored; says why."""


def _always_full(_frame: bytes) -> Any:
    raise ValueError


class Queue:
    """The producing end in this process.

    Attributes:
        push: copies one frame into the current segment; ``ValueError`` = call ``push_slowly``.
        closed: ``closed[0]`` is 1 once the run takes no more records. Push first, look second: a record
            pushed before the look that found 0 is stored.
        joined: whether this process is not the run's owner.
        rank: of this process in a distributed job, or None.
        forked_here: whether this process was forked from the one that opened or joined the run.
        lost_records: records refused because the spool was full, and not yet reported to the writer.
    """

    __slots__ = (
        "__weakref__",
        "_address",
        "_grow_at",
        "_hello",
        "_kept",
        "_lock",
        "_made_at",
        "_next_number",
        "_old_locks",
        "_open",
        "_producer",
        "_retry_at",
        "_rotation",
        "_segment",
        "_size_bytes",
        "closed",
        "control",
        "forked_here",
        "joined",
        "lost_records",
        "push",
        "rank",
    )

    push: Callable[[bytes], Any]

    def __init__(self, address: spool.Address, control: ControlPage, *, joined: bool, rank: int | None) -> None:
        self._address = address
        self.control = control
        self.closed = control.closed
        self._begin(joined=joined, rank=rank)
        _queues.add(self)
        _register_fork_hook()

    def _begin(self, *, joined: bool, rank: int | None) -> None:
        self.joined = joined
        self.rank = rank
        self.forked_here = False
        self._hello = Hello(f"{self._address.host}-{os.getpid()}", joined, rank)
        self._producer = f"{os.getpid():x}.{os.urandom(4).hex()}"
        self._lock: Lock | None = None
        self._old_locks: list[Lock] = []
        self._rotation = threading.RLock()
        self._segment: Segment | None = None
        self._kept = Kept(self._address, self.control)
        self._grow_at = 0.0
        self._size_bytes = self._address.settings.segment_bytes
        self._made_at = 0.0
        self._next_number = 0
        self._retry_at = 0.0
        self._open = True
        self.lost_records = 0
        self.push = _always_full

    def appear(self) -> None:
        """Open a first segment now, so that the writer knows of this process before it logs.

        A small one that no budget refuses, where there is no room for the usual one.

        Raises:
            ClosedError: the run has ended.
            SpoolFullError: neither place takes even that.
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
                    new = self._make_exempt(0)
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

    def put_end(self, record: Any, refused: int = 0) -> None:
        """Push the owner's last record, into a small segment of its own that no budget refuses, and close.

        Args:
            record: that one.
            refused: as for ``report_lost()``.

        Raises:
            SpoolFullError: neither place takes even that.
        """
        with self._rotation:
            if not self._open:
                return
            self.report_lost(refused)
            with suppress(ClosedError):  # a signal handler has ended the run before us
                self._put_exempt(record)
            self.close()

    def put_end_again(self, record: Any) -> None:
        """Push the owner's last record once more, for a writer that may not have it: a second one changes nothing.

        Raises:
            ClosedError: the run has ended.
            SpoolFullError: neither place takes it.
        """
        with self._rotation:
            self._put_exempt(record)
            self.close()

    def report_lost(self, refused: int = 0) -> None:
        """Tell the writer how many records were not taken, where it does not know yet; no budget refuses that.

        Args:
            refused: how many values or calls of this process were refused for what they are.

        Raises:
            SpoolFullError: neither place takes even that.
        """
        with self._rotation:
            if (self.lost_records or refused) and self._open:
                self._put_exempt(Lost(self.lost_records, refused))
                self.lost_records = 0

    def close(self) -> None:
        """Take no more records from this process; the segment is sealed, so that the writer need not ask."""
        with self._rotation:
            self._open = False
            self.push = _always_full
            self.seal()

    def seal(self) -> None:
        """End the current segment, so that it is removed when it is stored; the next push opens another."""
        with self._rotation:
            segment = self._segment  # a signal handler may end the run meanwhile, and let it go
            if segment is not None:
                segment.seal()
                self._kept.add(segment)

    def look(self, *, alone: bool = False) -> None:
        """See to it that what was pushed can be had by a writer, also where somebody has removed its name.

        Args:
            alone: no writer lives, so none holds anything open.
        """
        with self._rotation:
            generation = None if alone else self.control.generation
            segment = self._segment
            if segment is not None and self._kept.is_out_of_reach(segment, generation):
                self.seal()
            self._kept.look(generation)

    def keep_named(self) -> None:
        """Follow the control page to a new file, and have a lock that the next writer finds.

        Raises:
            OSError: that cannot be had now.
        """
        with self._rotation:
            self.control.keep_named(os.path.join(self._address.spool, spool.CONTROL), make=False)
            self.closed = self.control.closed
            if self._segment is not None and not (self._segment.stored or self.control.done):
                self._note_made(self._segment)
            if self._lock is not None and not self.control.done and not self._has_named_lock():
                path = os.path.join(self._address.spool, self._producer + spool.LOCK_SUFFIX)
                self._old_locks.append(self._lock)
                self._lock = Lock.take(path, again=True, ours=True) or self._lock

    def _has_named_lock(self) -> bool:
        # No generator that is left early: what a signal handler raises while one is closed gets lost.
        for place in (self._address.spool, self._address.overflow):
            path = os.path.join(place, self._producer + spool.LOCK_SUFFIX)
            lock = held_here(path)
            if lock is not None and lock.renew(path):
                return True
        return False

    def is_safe(self) -> bool:
        """Whether the newest writer holds all open that is sealed, or has stored it."""
        return self._kept.is_safe(self.control.generation)

    def is_stored(self) -> bool:
        """Whether all that is sealed is stored."""
        return self._kept.is_stored()

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
            control: the page to look at from now on: that of an ended run.
        """
        self.close()
        self.release()
        self._segment = None
        self._kept = Kept(self._address, control)
        self.control, self.closed = control, control.closed

    def forked(self) -> None:
        """Become a producer of its own, in a child that ``fork()`` has just made."""
        rank = self._hello.rank
        was_open = self._open
        self._begin(joined=True, rank=rank)
        self.forked_here = True
        self._open = was_open

    def _put_exempt(self, record: Any) -> None:
        framed = frame(encode(record))
        while True:
            try:
                self.push(framed)
            except ValueError:
                old = self._segment
                self.seal()
                self._use(self._make_exempt(len(framed)), old, closed=True)
            else:
                return

    def _next_segment(self, old: Segment | None, frame_bytes: int) -> Segment:
        now = time.monotonic()
        if now < self._retry_at:
            self.lost_records += 1
            raise SpoolFullError("the spool was full a moment ago")
        if old is not None:
            self.seal()
            crash_point("sealed")
            # Before the next one can be seen: that it is there means that the writer can have this one.
            self._kept.look(self.control.generation)
            self._grow(now)
        self._made_at = now
        try:
            new = self._claim_spare(frame_bytes) or self._make(self._size_bytes, frame_bytes)
        except SpoolFullError:
            self._retry_at = now + RETRY_S
            self.lost_records += 1
            raise
        crash_point("rotated")
        if self.lost_records:
            lost, self.lost_records = self.lost_records, 0
            new.write(frame(encode(Lost(lost))))
        return new

    def _grow(self, now: float) -> None:
        # Opening a segment makes half a dozen system calls, and beside a busy thread each can cost a thread
        # switch interval: a process that fills segments fast gets larger ones.
        fast = now - self._made_at < FAST_FILL_S and now >= self._grow_at
        self._size_bytes = (
            min(self._size_bytes * 4, spool.largest_segment_bytes(self._address))
            if fast
            else min(self._size_bytes, self._address.settings.segment_bytes)
        )

    def _claim_spare(self, frame_bytes: int) -> Segment | None:
        if frame_bytes > self._address.settings.segment_bytes // 2 or self._lock is None:
            return None
        spare = os.path.join(self._address.spool, self._producer + spool.SPARE_SUFFIX)
        number, self._next_number = self._next_number, self._next_number + 1
        path = os.path.join(self._address.spool, f"{self._producer}-{number:08d}{spool.SEGMENT_SUFFIX}")
        try:
            segment = Segment.claim(spare, path, encode(self._hello), self._newest_number())
        except OSError:  # no descriptor left: then there is none for a new one either, and that says so
            return None
        if segment is not None:
            self._size_bytes = segment.size_bytes
            self._note_made(segment)
        return segment

    @property
    def _number(self) -> int:
        """By which the control page knows this producer."""
        return int(self._producer[-8:], 16)

    def _note_made(self, segment: Segment) -> None:
        """Before anything is pushed into it: if nobody ever sees its file, the writer knows what is missing."""
        self.control.note_made(self._number, os.getpid(), segment.number)

    def _newest_number(self) -> int | None:
        return None if self._segment is None else self._segment.number

    def _make(self, size_bytes: int, frame_bytes: int = 0) -> Segment:
        """Open this process's next segment in the first place that takes it, a smaller one if none takes that."""
        needed = frame_bytes + 1024
        usual = self._address.settings.segment_bytes
        sizes = sorted({max(size_bytes, needed), max(usual, needed)}, reverse=True)
        least = max(_SMALL_SEGMENT_BYTES, needed)
        places = (spool.PRIMARY, spool.OVERFLOW)
        tries = [(place, size) for place in places for size in sizes if size <= max(size_bytes, needed)]
        if least < tries[-1][1]:
            tries += [(place, least) for place in places]
        segment = self._make_first_of(tries, exempt=False)
        if segment.size_bytes < tries[0][1]:
            self._size_bytes = segment.size_bytes
            self._grow_at = time.monotonic() + FAST_FILL_S
        return segment

    def _make_exempt(self, frame_bytes: int) -> Segment:
        """Open a small one that no budget refuses."""
        size_bytes = _SMALL_SEGMENT_BYTES + frame_bytes
        return self._make_first_of([(spool.PRIMARY, size_bytes), (spool.OVERFLOW, size_bytes)], exempt=True)

    def _make_first_of(self, tries: list[tuple[int, int]], *, exempt: bool) -> Segment:
        hello = encode(self._hello)
        reasons: dict[str, None] = {}
        for place, size_bytes in tries:
            size_bytes = max(size_bytes, HEADER_BYTES + FRAME_HEADER_BYTES + len(hello))  # noqa: PLW2901
            directory = self._address.spool if place == spool.PRIMARY else self._address.overflow
            try:
                if not exempt and not spool.room_for(self._address, self.control, place, size_bytes):
                    reasons[f"{directory}: the budget is used up"] = None
                    continue
                segment = self._make_in(place, directory, size_bytes, hello)
            except OSError as error:
                # ENOSPC, EFBIG, EMFILE, ENOMEM, or the spool has gone by name: the next one may do.
                if error.errno in {errno.EMFILE, errno.ENFILE}:
                    self._kept.spare_descriptors()
                reasons[f"{directory}: {error.strerror or error}"] = None
                continue
            if place == spool.OVERFLOW and self.control.done:
                # The run has ended meanwhile and its spool was removed: it must not come back.
                spool.remove(self._address.overflow)
                raise ClosedError
            self.control.add_made(place, self._number, size_bytes)
            self._note_made(segment)
            return segment
        raise SpoolFullError("; ".join(reasons))

    def _make_in(self, place: int, directory: str, size_bytes: int, hello: bytes) -> Segment:
        number, self._next_number = self._next_number, self._next_number + 1
        if place == spool.OVERFLOW:
            spool.open_overflow(self._address)
        if self._lock is None:
            # Before the first segment is there to be seen: whoever sees it can ask whether we live.
            path = os.path.join(directory, self._producer + spool.LOCK_SUFFIX)
            # Again: a signal handler may have come this far while we did.
            self._lock = Lock.take(path, again=True, ours=True)
            if self._lock is None:
                raise BlockingIOError(errno.EAGAIN, "its lock is held by somebody", path)
        name = f"{self._producer}-{number:08d}{spool.SEGMENT_SUFFIX}"
        return Segment.create(os.path.join(directory, name), size_bytes, hello, self._newest_number())


_queues: weakref.WeakSet[Queue] = weakref.WeakSet()
_fork_hook_of: int | None = None


def _register_fork_hook() -> None:
    # At the first run, not at import. The hook of a parent is inherited, so once per process tree is enough.
    global _fork_hook_of  # noqa: PLW0603 - one hook per process tree, and nowhere else to note it
    if _fork_hook_of is None and hasattr(os, "register_at_fork"):
        _fork_hook_of = os.getpid()
        os.register_at_fork(after_in_child=_after_fork_in_child)


def _after_fork_in_child() -> None:
    # A child never touches its parent's segment: two processes with one offset would write over each other.
    for queue in list(_queues):
        queue.forked()
