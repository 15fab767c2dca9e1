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
import zlib

from runicorn.queue import mappings
from runicorn.storage import modes, removal

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

    def let_go(self) -> None:
        """Before the last use of it ends: see that this closes no file of the program's.

        Not in a finaliser: what a signal handler raises in there, such as KeyboardInterrupt, is heard by nobody.
        """
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

        It has that name when it is whole: what a signal handler raises meanwhile leaves nothing that a writer takes up.

        Raises:
            OSError: as ``create()``.
        """
        temporary = f"{path}.new"
        removal.remove_from_spool(temporary)  # half made before such a signal
        mapped = self._map_new(temporary, self.size_bytes)
        mapped[_BEFORE_AT:] = memoryview(self._map)[_BEFORE_AT:]
        mapped[8:_MARK_AT] = self._map[8:_MARK_AT]
        mapped[_COPIED_AT] = bool(self._map[_STATE_AT] or self._map[_COPIED_AT])
        mapped[:8] = MAGIC
        mapped.seek(self.size_bytes)
        removal.rename_in_spool(temporary, path)
        return type(self)(path, mapped, self.size_bytes)

    @staticmethod
    def _map_new(path: str, size_bytes: int) -> mmap.mmap:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        fd = modes.open_file(path, flags, 0o600)
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
                # Another thread may have written since tell(): then this raises, and we try again. It ends
                # because each such write makes the rest smaller.
                self._map.write(_seal_mark + bytes(left - 4) if left >= MIN_FRAME_BYTES else bytes(left))
            except ValueError:
                continue
            return


def number_of(path: str) -> int:
    """The number in a segment's name."""
    return int(path.rpartition("-")[2].partition(".")[0])


def make_spare(path: str, size_bytes: int) -> None:
    """Prepare a zeroed file for the next segment of a producer; none where there is not the space.

    Raises:
        OSError: there is no space; nothing is left behind.
    """
    temporary = f"{path}.new"
    removal.remove_from_spool(temporary)  # half made by a writer that was killed
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    fd = modes.open_file(temporary, flags, 0o600)
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
