"""The reading end of a segment: whole frames, and what is damaged."""

from __future__ import annotations

import mmap
import os
import struct
import time
from contextlib import suppress

import msgspec

from runicorn.queue.segment import (
    _EMPTY_PAUSE_S,
    _LONGEST_PAUSE_S,
    _MARK_AT,
    _STATE_AT,
    _TORN_PAUSE_S,
    FRAME_HEADER_BYTES,
    HEADER_BYTES,
    MAGIC,
    MIN_FRAME_BYTES,
    SEAL,
    _header,
    _mark,
    _seal_mark,
    adler32,
    unpack_frame_header,
)


class Damage(msgspec.Struct, frozen=True):
    """A part of a segment in which no frame can be read, though frames follow it or it holds no rest of one."""

    start: int
    size_bytes: int


class SegmentReader:
    """The reading end: follows a segment by descriptor, whatever happens to its name or its producer.

    Attributes:
        before: number of the segment that its producer filled before; None for the first, and if that is not known.
        has_lost_header: whether the header is damaged.
        damages: what has been passed over since they were taken.
        searched: whether a search behind ``position`` has found no frame.
    """

    CHUNK_BYTES = 256 * 1024

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size_bytes = 0
        self.before: int | None = None
        self.has_lost_header = False
        self.position = HEADER_BYTES
        self.sealed = False
        self.torn = False
        self.damages: list[Damage] = []
        self.searched = False
        self._bad_at = -1
        self._pause_s = 0.0
        self._due = 0.0

    @property
    def file_bytes(self) -> int:
        """Length of the file, which is there before the header says it."""
        return os.fstat(self._fd).st_size

    @property
    def valid(self) -> bool:
        """Whether the header is there; asked again at each scan until it is."""
        if self.size_bytes:
            return True
        head = os.pread(self._fd, HEADER_BYTES, 0)
        if len(head) < HEADER_BYTES:
            return False
        magic, size_bytes, _, _, before = _header.unpack(head)
        if magic != MAGIC:
            return False
        self.size_bytes = self.file_bytes
        self.before = before - 1 if before else None
        if size_bytes != self.size_bytes:  # it was when it was made
            self.damages.append(Damage(8, 8))
        return True

    def is_half_made(self) -> bool:
        """Whether its producer has not come to the end of its header, so that there is no record in it."""
        from runicorn.queue import resync

        if any(os.pread(self._fd, len(MAGIC), 0)):
            return False
        hello = self.read_first()
        start = HEADER_BYTES + (0 if hello is None else FRAME_HEADER_BYTES + len(hello))
        return resync.end_of_bytes(self._fd, start, self.file_bytes) == start

    def pass_over_header(self) -> bool:
        """Take a damaged header as read; False if the file has no room for frames."""
        self.size_bytes = self.file_bytes
        self.has_lost_header = True
        self.damages.append(Damage(0, min(HEADER_BYTES, self.size_bytes)))
        return self.size_bytes > HEADER_BYTES

    def mark(self, generation: int, state: int) -> bool:
        """Tell its producer that a writer has opened it, or stored it; False where that cannot be written now."""
        try:
            return os.pwrite(self._fd, _mark.pack(generation, state), _MARK_AT) == _mark.size
        except OSError:
            return False

    def was_opened(self) -> bool:
        """Whether a writer has opened it before, or the one that it is a copy of, and may have stored a part of it."""
        return any(os.pread(self._fd, 2, _STATE_AT))

    def free_pages(self) -> None:
        """Give the memory back of what is stored, although its producer may have it mapped still; not the header's."""
        remove = getattr(mmap, "MADV_REMOVE", None)
        if remove is None or self.size_bytes <= mmap.PAGESIZE:
            return
        with suppress(OSError, ValueError), mmap.mmap(self._fd, self.size_bytes) as mapped:
            mapped.madvise(remove, mmap.PAGESIZE)

    def read_first(self) -> bytes | None:
        """The first payload, None while it is not there; the position moves behind it if it stood before."""
        head = os.pread(self._fd, 4096, HEADER_BYTES)
        if len(head) < MIN_FRAME_BYTES:
            return None
        length, expected = unpack_frame_header(head, 0)
        payload = head[FRAME_HEADER_BYTES : FRAME_HEADER_BYTES + length]
        if not 0 < length == len(payload) or adler32(payload) != expected:
            return None
        self.position = max(self.position, HEADER_BYTES + FRAME_HEADER_BYTES + length)
        return payload

    def read(self, limit_bytes: int) -> list[bytes]:
        """The payloads that are complete from ``position`` on, about ``limit_bytes`` of them; advances.

        Stops at a zero length, a wrong checksum (``torn`` is then true: read again, ``skip_damage``, or give up if the
        producer is dead) or the seal.
        """
        payloads: list[bytes] = []
        self.torn = False
        end = self.position + limit_bytes
        while self.position < end and not self.sealed:
            left = self.size_bytes - self.position
            if left < MIN_FRAME_BYTES:
                self.sealed = True
                break
            chunk = os.pread(self._fd, min(self.CHUNK_BYTES, left), self.position)
            used = self._parse(chunk, payloads)
            if used == 0 and not self.sealed:
                used = self._read_large(chunk, payloads, self.size_bytes)
                if used == 0:
                    break
            self.position += used
            if self.sealed and self.size_bytes - self.position >= MIN_FRAME_BYTES and self._goes_on_behind_the_seal():
                self.sealed = False
                self.torn = True
                break
        return payloads

    def read_range(self, start: int, stop: int) -> list[bytes]:
        """The payloads between two positions that were read before: the same again after a crash.

        What has been damaged since, or was passed over then, is in ``damages``.
        """
        payloads: list[bytes] = []
        stop = min(stop, self.size_bytes)
        self.position = start
        while self.position < stop:
            chunk = os.pread(self._fd, min(self.CHUNK_BYTES, stop - self.position), self.position)
            used = self._parse(chunk, payloads) or self._read_large(chunk, payloads, stop)
            if used:
                self.position += used
            elif not self._skip_to_frame(stop):
                self.damages.append(Damage(self.position, stop - self.position))
                self.position = stop
        self.sealed = self.torn = False
        return payloads

    def all_payloads(self) -> list[bytes]:
        """Every payload that is whole; what was read, and what was damaged, stays as it is."""
        other = SegmentReader(self._fd)
        other.size_bytes = self.size_bytes
        return other.read_range(HEADER_BYTES, self.size_bytes)

    def frame_header(self, at: int) -> int:
        """The header of a frame as one number; 0 if there is none."""
        return int.from_bytes(os.pread(self._fd, FRAME_HEADER_BYTES, at), "little")

    def skip_damage(self, *, ended: bool) -> bool:
        """Go to the next whole frame, if what stands at ``position`` will never be one.

        A producer writes its frames in order. So one that is not whole, though a whole one follows it, is damaged if it
        is still not whole some time later.

        Args:
            ended: nothing is written any more.
        """
        if not (ended or self._is_due()):
            return False
        if self._skip_to_frame(self.size_bytes):
            return True
        self.searched = True
        if ended:
            self._judge_rest()
        return False

    def _is_due(self) -> bool:
        """Whether nothing has come for so long that it is worth a search; each time for twice as long."""
        now = time.monotonic()
        if self._bad_at != self.position:
            self._bad_at, self._pause_s = self.position, _TORN_PAUSE_S if self.torn else _EMPTY_PAUSE_S
            self._due = now + self._pause_s
            self.searched = False
        if now < self._due:
            return False
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self._due = now + self._pause_s
        return True

    def _skip_to_frame(self, stop: int) -> bool:
        from runicorn.queue import resync  # for a writer alone, and for damage alone

        found = resync.next_frame(self._fd, self.position, stop)
        if found is None:
            return False
        self.damages.append(Damage(self.position, found - self.position))
        self.position = found
        self.sealed = self.torn = False
        return True

    def _judge_rest(self) -> None:
        """Nothing more can come: what is left is nothing, a torn frame whose ``log()`` never returned, or damage."""
        from runicorn.queue import resync

        end = resync.end_of_bytes(self._fd, self.position, self.size_bytes)
        if end > self.position and not resync.looks_torn(self._fd, self.position, end, self.size_bytes):
            self.torn = False
            self.damages.append(Damage(self.position, end - self.position))
            self.position = end

    def _goes_on_behind_the_seal(self) -> bool:
        """Whether it was no seal but a damaged length: behind a seal there are zeros."""
        from runicorn.queue import resync

        start = self.position + len(_seal_mark)
        return start < self.size_bytes and resync.end_of_bytes(self._fd, start, self.size_bytes) > start

    def _parse(self, chunk: bytes, payloads: list[bytes]) -> int:
        """Append the whole frames of ``chunk``; return how many bytes they take."""
        at = look_at = 0
        size = len(chunk)
        while size - at >= MIN_FRAME_BYTES:
            if at >= look_at:
                first, at = at, _take_alike(chunk, at, payloads)
                look_at = at + (1 if at - first > _LONG_BYTES else _LONG_BYTES)
                continue
            length, expected = unpack_frame_header(chunk, at)
            start = at + FRAME_HEADER_BYTES
            end = start + length
            if not length or end > size:
                self.sealed |= length == SEAL
                return at
            payload = chunk[start:end]
            if adler32(payload) != expected:
                self.torn = True
                return at
            payloads.append(payload)
            at = end
        if self.size_bytes - self.position - at < MIN_FRAME_BYTES:
            self.sealed = True
        return at

    def _read_large(self, chunk: bytes, payloads: list[bytes], stop: int) -> int:
        """Read the one frame at ``position`` that is longer than a chunk; 0 if there is none."""
        if len(chunk) < MIN_FRAME_BYTES:
            return 0
        length: int
        length, expected = unpack_frame_header(chunk, 0)
        whole = FRAME_HEADER_BYTES + length
        if length in {0, SEAL} or whole <= len(chunk):
            return 0
        self.torn = True
        if whole > min(stop, self.file_bytes) - self.position:  # no producer writes that: it is damaged
            return 0
        from runicorn.queue import resync

        if resync.sum_of(self._fd, self.position + FRAME_HEADER_BYTES, length) != expected:
            return 0
        payloads.append(os.pread(self._fd, length, self.position + FRAME_HEADER_BYTES))
        self.torn = False
        if self.size_bytes - self.position - whole < MIN_FRAME_BYTES:
            self.sealed = True
        return whole

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)


_LONG_BYTES = 8192
"""After more than this of frames of one length, the next ones are tried together at once; else this much later."""


def _take_alike(chunk: bytes, at: int, payloads: list[bytes]) -> int:
    """Append the whole frames that are as long as the one at ``at``; return where they end.

    A training loop's mostly are, and ``iter_unpack`` takes half the time of one ``unpack_from`` a frame.
    """
    length = int.from_bytes(chunk[at : at + 4], "little")
    frame_bytes = FRAME_HEADER_BYTES + length
    count = (len(chunk) - at) // frame_bytes
    if not length or not count:
        return at
    found = len(payloads)
    for size, expected, payload in struct.iter_unpack(
        f"<II{length}s", memoryview(chunk)[at : at + count * frame_bytes]
    ):
        if size != length or adler32(payload) != expected:
            break
        payloads.append(payload)
    return at + (len(payloads) - found) * frame_bytes
