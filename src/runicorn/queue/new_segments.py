"""How a process opens its segments: of what size, in which tier, under which lock."""

from __future__ import annotations

import errno
import os
import threading
import time
from _weakrefset import WeakSet  # weakref's, which takes init() 0.25 ms to import, and threading has this
from typing import TYPE_CHECKING, Any

from runicorn.host.locks import Lock
from runicorn.queue import spool, spool_address
from runicorn.queue.kept_segments import KeptSegments
from runicorn.queue.records import Hello, encode
from runicorn.queue.segment import FRAME_HEADER_BYTES, HEADER_BYTES, Segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from runicorn.queue.control_page import ControlPage

FAST_FILL_S = 1.0
_SMALL_SEGMENT_BYTES = 8 * 1024


class ClosedError(Exception):
    """The run has ended: nothing was stored."""


class SpoolFullError(Exception):
    """Both tiers of the spool are used up: the record was not stored; says why."""


def always_full(_frame: bytes) -> Any:
    """The push of a producer that has no segment."""
    raise ValueError


class NewSegments:
    """A producer, as far as it opens segments; see ``Queue``."""

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
        "checked_at",
        "closed",
        "control",
        "dropped_records",
        "forked_here",
        "is_owner",
        "next_check_at",
        "push",
        "rank",
    )

    push: Callable[[bytes], Any]

    def __init__(
        self, address: spool_address.Address, control: ControlPage, *, is_owner: bool, rank: int | None
    ) -> None:
        self._address = address
        self.control = control
        self.closed = control.closed
        self.checked_at = self.next_check_at = 0.0
        self._begin(is_owner=is_owner, rank=rank)
        _queues.add(self)
        _register_fork_hook()

    def _begin(self, *, is_owner: bool, rank: int | None) -> None:
        self.is_owner = is_owner
        self.rank = rank
        self.forked_here = False
        self._hello = Hello(f"{self._address.host}-{os.getpid()}", not is_owner, rank)
        self._producer = f"{os.getpid():x}.{os.urandom(4).hex()}"
        self._lock: Lock | None = None
        self._old_locks: list[Lock] = []
        self._rotation = threading.RLock()
        self._segment: Segment | None = None
        self._kept = KeptSegments(self._address, self.control)
        self._grow_at = 0.0
        self._size_bytes = self._address.settings.segment_bytes
        self._made_at = 0.0
        self._next_number = 0
        self._retry_at = 0.0
        self._open = True
        self.dropped_records = 0
        self.push = always_full

    def speak_for_owner(self) -> None:
        """Have the records of this process, which has joined, stand as the owner's own; before the first of them."""
        self._hello = Hello(self._hello.producer, not_owner=False, rank=self._hello.rank)

    def forked(self) -> None:
        """Become a producer of its own, in a child that ``fork()`` has just made."""
        rank = self._hello.rank
        was_open = self._open
        self._begin(is_owner=False, rank=rank)
        self.forked_here = True
        self._open = was_open

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
        """Open this process's next segment in the first tier that takes it, a smaller one if none takes that."""
        needed = frame_bytes + 1024
        usual = self._address.settings.segment_bytes
        sizes = sorted({max(size_bytes, needed), max(usual, needed)}, reverse=True)
        least = max(_SMALL_SEGMENT_BYTES, needed)
        tiers = (spool.PRIMARY, spool.OVERFLOW)
        tries = [(tier, size) for tier in tiers for size in sizes if size <= max(size_bytes, needed)]
        if least < tries[-1][1]:
            tries += [(tier, least) for tier in tiers]
        segment = self._make_first_of(tries, ignore_budget=False)
        if segment.size_bytes < tries[0][1]:
            self._size_bytes = segment.size_bytes
            self._grow_at = time.monotonic() + FAST_FILL_S
        return segment

    def _make_ignoring_budget(self, frame_bytes: int) -> Segment:
        """Open a small one that no budget refuses."""
        size_bytes = _SMALL_SEGMENT_BYTES + frame_bytes
        return self._make_first_of([(spool.PRIMARY, size_bytes), (spool.OVERFLOW, size_bytes)], ignore_budget=True)

    def _make_first_of(self, tries: list[tuple[int, int]], *, ignore_budget: bool) -> Segment:
        hello = encode(self._hello)
        reasons: dict[str, None] = {}
        for tier, size_bytes in tries:
            size_bytes = max(size_bytes, HEADER_BYTES + FRAME_HEADER_BYTES + len(hello))  # noqa: PLW2901
            directory = self._address.spool if tier == spool.PRIMARY else self._address.overflow
            try:
                if not ignore_budget and not spool.room_for(self._address, self.control, tier, size_bytes):
                    reasons[f"{directory}: the budget is used up"] = None
                    continue
                segment = self._make_in(tier, directory, size_bytes, hello)
            except OSError as error:
                # ENOSPC, EFBIG, EMFILE, ENOMEM, or the spool has gone by name: the next one may do.
                if error.errno in {errno.EMFILE, errno.ENFILE}:
                    self._kept.spare_descriptors()
                reasons[f"{directory}: {error.strerror or error}"] = None
                continue
            if tier == spool.OVERFLOW and self.control.done:
                # The run has ended meanwhile and its spool was removed: it must not come back.
                spool.remove(self._address.overflow)
                raise ClosedError
            self.control.add_made(tier, self._number, size_bytes)
            self._note_made(segment)
            return segment
        raise SpoolFullError("; ".join(reasons))

    def _make_in(self, tier: int, directory: str, size_bytes: int, hello: bytes) -> Segment:
        number, self._next_number = self._next_number, self._next_number + 1
        if tier == spool.OVERFLOW:
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


_queues: WeakSet[NewSegments] = WeakSet()
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
