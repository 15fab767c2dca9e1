r"""The format of a segment: an append-only file of frames, written by one process, read by another.

::

    0   8  magic b"RNCSEG2\n"; a segment without it is not valid yet
    8   8  u64, size of the file in bytes
    16  8  u64, generation of the writer that has opened it; the writer's, by pwrite
    24  1  state: 0 not opened, 1 followed by that writer, 2 stored and about to be removed; the writer's too
    25  1  1 if this is a copy of one that a writer had opened
    28  4  u32, one more than the number of the segment that its producer filled before; 0 = this is the first
    32  .. frames, one after the other, then zeros

    frame:  u32 length of the payload | u32 Adler-32 of the payload | payload
    seal:   u32 0xFFFFFFFF in the place of a length: no frame follows

The producer sees the writer's mark through its own mapping, so it knows without a system call what the writer
can lose no more, whatever happens to the file's name. The number of the one before tells the writer that a segment
has vanished before it was opened.

The first frame is a ``Hello``. Fewer than nine bytes at the end hold no frame, so a segment is sealed as
well when fewer are left. All numbers are little-endian.

The checksum settles two things: a producer that was killed in the middle of its copy (a torn frame, whose
``log()`` never returned), and a reader that sees the length before the payload (weak memory order, or a copy
under way). For both the question is "is a part of the payload still zero?". Adler-32 answers that for certain
up to 256 bytes (the sum of the bytes that are there is smaller) and costs half of CRC-32 at the length of a
usual record: ``bench/log_latency.py --parts`` has both.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import time
import zlib
from contextlib import suppress
from typing import NamedTuple

from runicorn.queue import mappings
from runicorn.storage import removal

MAGIC = b"RNCSEG2\n"
SEAL = 0xFFFFFFFF
HEADER_BYTES = 32
FRAME_HEADER_BYTES = 8
MIN_FRAME_BYTES = FRAME_HEADER_BYTES + 1

# zlib gives up the GIL for buffers above 5 KiB, and getting it back can take a thread switch interval.
_GIL_FREE_ABOVE_BYTES = 5 * 1024

_SPARE_BLOCK_BYTES = 256 * 1024

_TORN_PAUSE_S, _EMPTY_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 2.0, 30.0
"""How long a living producer's segment rests before a frame behind damage is searched for in it."""

FOLLOWED, STORED = 1, 2

_MARK_AT, _STATE_AT, _COPIED_AT, _BEFORE_AT = 16, 24, 25, 28
_header = struct.Struct("<8sQQB3xI")
_mark = struct.Struct("<QB")
_u32 = struct.Struct("<I")
_frame_header = struct.Struct("<II")
_seal_mark = struct.pack("<I", SEAL)

pack_frame_header = _frame_header.pack
unpack_frame_header = _frame_header.unpack_from
adler32 = zlib.adler32


def checksum(payload: bytes) -> int:
    """Adler-32 of the payload, summed in pieces so that the GIL stays with the caller."""
    if len(payload) <= _GIL_FREE_ABOVE_BYTES:
        return adler32(payload)
    total = 1
    view = memoryview(payload)
    for start in range(0, len(payload), _GIL_FREE_ABOVE_BYTES):
        total = adler32(view[start : start + _GIL_FREE_ABOVE_BYTES], total)
    return total


def frame(payload: bytes) -> bytes:
    """The payload with its length and checksum before it."""
    return pack_frame_header(len(payload), checksum(payload)) + payload


class Segment:
    """The writing end: a mapped file whose ``write`` is the push.

    ``mmap.write`` checks the bounds, copies and advances in one C call that keeps the GIL: nothing can come
    in between, neither a thread, nor a signal handler, nor a finaliser. It raises ``ValueError`` when full.
    """

    __slots__ = ("_map", "path", "size_bytes", "write")

    def __init__(self, path: str, mapped: mmap.mmap, size_bytes: int) -> None:
        self.path = path
        self.size_bytes = size_bytes
        self._map = mapped
        self.write = mapped.write

    def __del__(self) -> None:
        with suppress(Exception):  # an interpreter that ends may have taken anything away
            mappings.keep_if_not_ours(self._map, self.size_bytes)

    @classmethod
    def claim(cls, spare: str, path: str, hello: bytes, before: int | None = None) -> Segment | None:
        """Make a segment of the spare that the writer has prepared; None where there is none.

        Its pages are there and zeroed, so this costs a tenth of ``create``.

        Raises:
            OSError: no descriptor, no memory.
        """
        try:
            removal.rename_in_spool(spare, path)
        except FileNotFoundError:
            return None
        fd = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0))
        try:
            mapped = _map(fd, 0)
        finally:
            os.close(fd)
        return cls._begin(path, mapped, len(mapped), hello, before)

    @classmethod
    def create(cls, path: str, size_bytes: int, hello: bytes, before: int | None = None) -> Segment:
        """Make the file, reserve its pages, map it and write its header and first frame.

        The pages are reserved here, so that a full file system is an error now and not a SIGBUS later.

        Args:
            path: of the new file.
            size_bytes: of it.
            hello: the first payload.
            before: number of the segment that its producer has filled before; None for the first.

        Raises:
            OSError: no space, no descriptor, no memory; nothing is left behind.
            FileNotFoundError: the spool is gone.
        """
        return cls._begin(path, cls._map_new(path, size_bytes), size_bytes, hello, before)

    def copy_to(self, path: str) -> Segment:
        """Make the same under another name, for a writer that has not opened this one; this one is sealed.

        Raises:
            OSError: as ``create()``.
        """
        mapped = self._map_new(path, self.size_bytes)
        mapped[_BEFORE_AT:] = memoryview(self._map)[_BEFORE_AT:]
        mapped[8:_MARK_AT] = self._map[8:_MARK_AT]
        mapped[_COPIED_AT] = bool(self._map[_STATE_AT] or self._map[_COPIED_AT])
        mapped[:8] = MAGIC
        mapped.seek(self.size_bytes)
        return type(self)(path, mapped, self.size_bytes)

    @staticmethod
    def _map_new(path: str, size_bytes: int) -> mmap.mmap:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        fd = os.open(path, flags, 0o600)
        try:
            _reserve(fd, size_bytes)
            return _map(fd, size_bytes)
        except BaseException:
            # A signal handler may have ended the run meanwhile, and then raised: what it raised must get out.
            removal.remove_from_spool(path)
            raise
        finally:
            os.close(fd)

    @classmethod
    def _begin(cls, path: str, mapped: mmap.mmap, size_bytes: int, hello: bytes, before: int | None) -> Segment:
        # The magic makes the segment valid, so it is written last.
        mapped.seek(8)
        mapped.write(struct.pack("<Q", size_bytes))
        mapped[_BEFORE_AT:HEADER_BYTES] = _u32.pack(0 if before is None else before + 1)
        mapped.seek(HEADER_BYTES)
        mapped.write(frame(hello))
        mapped[:8] = MAGIC
        return cls(path, mapped, size_bytes)

    @property
    def name(self) -> str:
        """Of its file."""
        return os.path.basename(self.path)

    @property
    def number(self) -> int:
        """Which one of its producer's it is."""
        return number_of(self.path)

    @property
    def stored(self) -> bool:
        """Whether the writer needs it no more."""
        return self._map[_STATE_AT] == STORED

    def is_followed_by(self, generation: int) -> bool:
        """Whether a certain writer holds it open."""
        of, state = _mark.unpack_from(self._map, _MARK_AT)
        return bool(state) and of == generation

    def seal(self) -> None:
        """Fill what is left in one write, so that every later write fails; idempotent, never waits."""
        while True:
            left = self.size_bytes - self._map.tell()
            try:
                # Another thread may have written since tell(): then this raises, and we look again. It ends
                # because each such write makes the rest smaller.
                self._map.write(_seal_mark + bytes(left - 4) if left >= MIN_FRAME_BYTES else bytes(left))
            except ValueError:
                continue
            return


class Damage(NamedTuple):
    """A part of a segment in which no frame can be read, though frames follow it or it holds no rest of one."""

    start: int
    size_bytes: int


def number_of(path: str) -> int:
    """The number in a segment's name."""
    return int(path.rpartition("-")[2].partition(".")[0])


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
        """Whether the header is there; asked again at each look until it is."""
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

        Stops at a zero length, a wrong checksum (``torn`` is then true: look again, ``skip_damage``, or give up if the
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
        at = 0
        size = len(chunk)
        while size - at >= MIN_FRAME_BYTES:
            length, expected = unpack_frame_header(chunk, at)
            start = at + FRAME_HEADER_BYTES
            if length == 0:
                return at
            if length == SEAL:
                self.sealed = True
                return at
            if start + length > size:
                return at
            payload = chunk[start : start + length]
            if adler32(payload) != expected:
                self.torn = True
                return at
            payloads.append(payload)
            at = start + length
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


def make_spare(path: str, size_bytes: int) -> None:
    """Prepare a zeroed file for the next segment of a producer; none where there is not the space.

    Raises:
        OSError: there is no space; nothing is left behind.
    """
    temporary = f"{path}.new"
    removal.remove_from_spool(temporary)  # half made by a writer that was killed
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    fd = os.open(temporary, flags, 0o600)
    try:
        zeros = bytes(_SPARE_BLOCK_BYTES)
        for start in range(0, size_bytes, _SPARE_BLOCK_BYTES):
            os.write(fd, zeros[: size_bytes - start])
        if os.fstat(fd).st_size == size_bytes:  # else the last write was short: the next one would have failed
            removal.rename_in_spool(temporary, path)
        else:
            removal.remove_from_spool(temporary)
    except OSError:
        removal.remove_from_spool(temporary)
        raise
    finally:
        os.close(fd)


def _reserve(fd: int, size_bytes: int) -> None:
    if sys.platform == "linux":
        os.posix_fallocate(fd, 0, size_bytes)
        return
    # Not on macOS, nor on Windows: writing zeros reserves everywhere.
    zeros = bytes(min(size_bytes, 1 << 20))
    left = size_bytes
    while left:
        left -= os.write(fd, zeros[:left])


def _map(fd: int, size_bytes: int) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(fd, size_bytes)
    # Populated: a page fault in log() costs several times what the rest of it does.
    return mmap.mmap(
        fd, size_bytes, flags=mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0), **mappings.WITHOUT_DESCRIPTOR
    )
